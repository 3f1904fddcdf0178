# Scripts and data of tests/e2e, one a line, sorted.
EXTRA_DIST += \
	$(end_of_list)
