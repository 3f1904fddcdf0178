# Planted defects: each check that tests/mutants/table names is turned off once, and the tests named there must notice.
# MUTANTS='ticket head' takes those whose name has one of these words.
mutant_link = $(LIBTOOL) --silent --tag=CXX $(AM_LIBTOOLFLAGS) $(LIBTOOLFLAGS) --mode=link $(CXXLD) \
	$(AM_CXXFLAGS) $(CXXFLAGS) $(AM_LDFLAGS) $(LDFLAGS)
if HAVE_CRITERION
if !TSAN
mutant_needs = tests/unit/unit-tests msslproxy mssl tests/e2e/liar
mutant_unit = $(tests_unit_unit_tests_OBJECTS) $(tests_unit_unit_tests_LDADD) $(LIBS)
endif
endif

.PHONY: check-mutants
check-mutants: $(mutant_needs)
	@srcdir='$(top_srcdir)' MUTANT_COMPILE='$(CXXCOMPILE)' MUTANT_LINK='$(mutant_link)' \
	MUTANT_UNIT='$(mutant_unit)' MUTANT_DAEMON='$(msslproxy_OBJECTS) $(msslproxy_LDADD) $(LIBS)' \
	$(top_srcdir)/tests/mutants/run

EXTRA_DIST += \
	tests/mutants/run \
	tests/mutants/table \
	$(end_of_list)
