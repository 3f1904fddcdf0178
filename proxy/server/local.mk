libproxy_la_SOURCES += \
	proxy/server/hosted_object.h \
	proxy/server/realm.h \
	$(end_of_list)
