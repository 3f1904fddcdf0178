libproxy_la_SOURCES += \
	proxy/store/store.h \
	$(end_of_list)
