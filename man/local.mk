# Manual pages in mdoc, one a line, sorted.
dist_man_MANS += \
	man/mssl-protocol.7 \
	man/mssl.1 \
	man/mssl.7 \
	man/msslproxy.8 \
	man/msslproxy.toml.5 \
	man/provider-mssl.7 \
	$(end_of_list)
