# How tests run. A .tap script speaks TAP; everything else speaks by its exit status (77: skipped).
TEST_EXTENSIONS = .tap
TAP_LOG_DRIVER = env AM_TAP_AWK='$(AWK)' $(SHELL) $(top_srcdir)/build-aux/tap-driver.sh

# Sanitizers stop the program at the first finding, with a stack; leaks count as failures.
AM_TESTS_ENVIRONMENT = \
	ASAN_OPTIONS='abort_on_error=0:detect_leaks=1:strict_string_checks=1:'"$$ASAN_OPTIONS"; \
	UBSAN_OPTIONS='print_stacktrace=1:halt_on_error=1:'"$$UBSAN_OPTIONS"; \
	TSAN_OPTIONS='halt_on_error=1:second_deadlock_stack=1:'"$$TSAN_OPTIONS"; \
	LSAN_OPTIONS='suppressions=$(abs_top_srcdir)/tests/lsan.supp:print_suppressions=0:'"$$LSAN_OPTIONS"; \
	export ASAN_OPTIONS UBSAN_OPTIONS TSAN_OPTIONS LSAN_OPTIONS;

test_cxxflags = $(AM_CXXFLAGS) -Wno-conversion

# SIM_TESTS, FUZZ_TESTS: plain programs, filled in by their rooms. THREAD_TESTS: those of them that mean
# something under ThreadSanitizer; Criterion's programs do not start under it, so there only these run.
SIM_TESTS =
FUZZ_TESTS =
THREAD_TESTS =

if FUZZERS
noinst_PROGRAMS += $(FUZZ_TESTS)
else
if TSAN
check_PROGRAMS += $(THREAD_TESTS)
TESTS += $(THREAD_TESTS)
else
check_PROGRAMS += $(SIM_TESTS) $(FUZZ_TESTS)
TESTS += \
	tests/check-includes \
	tests/summary-works \
	$(SIM_TESTS) \
	$(FUZZ_TESTS)
endif
endif

EXTRA_DIST += \
	tests/check-includes \
	tests/facades \
	tests/lsan.supp \
	tests/stages.bash \
	tests/summary \
	tests/summary-works \
	$(end_of_list)
