libproxy_la_SOURCES += \
	proxy/server/catalog.cpp \
	proxy/server/catalog.h \
	proxy/server/catalog_files.cpp \
	proxy/server/catalog_files.h \
	proxy/server/dial_back.h \
	proxy/server/directory.h \
	proxy/server/enrolment.cpp \
	proxy/server/enrolment.h \
	proxy/server/hosted_object.h \
	proxy/server/hosting.h \
	proxy/server/member_session.h \
	proxy/server/origin.cpp \
	proxy/server/origin.h \
	proxy/server/range_reader.h \
	proxy/server/realm.cpp \
	proxy/server/realm.h \
	proxy/server/root_origin.cpp \
	proxy/server/root_origin.h \
	proxy/server/tickets.h \
	$(end_of_list)
