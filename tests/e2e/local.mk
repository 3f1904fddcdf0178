# Scripts and data of tests/e2e, one a line, sorted.
EXTRA_DIST += \
	tests/e2e/demo \
	tests/e2e/harness.py \
	$(end_of_list)
