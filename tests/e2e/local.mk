# Scripts and data of tests/e2e, one a line, sorted.
check_PROGRAMS += tests/e2e/liar
tests_e2e_liar_SOURCES = tests/e2e/liar.cpp
tests_e2e_liar_LDADD = libproxy.la

EXTRA_DIST += \
	tests/e2e/demo \
	tests/e2e/harness.py \
	$(end_of_list)
