# Manual pages in mdoc, one a line, sorted.
dist_man_MANS += \
	man/mssl-protocol.7 \
	$(end_of_list)
