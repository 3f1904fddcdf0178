libproxy_la_SOURCES += \
	proxy/store/disk.cpp \
	proxy/store/disk.h \
	proxy/store/local_object.cpp \
	proxy/store/local_object.h \
	proxy/store/map_format.cpp \
	proxy/store/map_format.h \
	proxy/store/store.cpp \
	proxy/store/store.h \
	$(end_of_list)
