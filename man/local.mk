# Manual pages in mdoc, one a line, sorted.
dist_man_MANS += \
	$(end_of_list)
