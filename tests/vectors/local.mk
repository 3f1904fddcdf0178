# Scripts and data of tests/vectors, one a line, sorted.
EXTRA_DIST += \
	$(end_of_list)
