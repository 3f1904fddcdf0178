libproxy_la_SOURCES += \
	proxy/client/site.h \
	proxy/client/transfer.h \
	$(end_of_list)
