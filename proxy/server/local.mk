libproxy_la_SOURCES += \
	proxy/server/enrolment.h \
	proxy/server/hosted_object.h \
	proxy/server/hosting.h \
	proxy/server/range_reader.h \
	proxy/server/realm.h \
	$(end_of_list)
