# Scripts and data of tests/bench, one a line, sorted.
EXTRA_DIST += \
	$(end_of_list)
