libproxy_la_SOURCES += \
	proxy/core/address.cpp \
	proxy/core/buffer_pool.cpp \
	proxy/core/buffer_pool.h \
	proxy/core/config.h \
	proxy/core/counters.h \
	proxy/core/files.cpp \
	proxy/core/files.h \
	proxy/core/listener.cpp \
	proxy/core/log.cpp \
	proxy/core/log.h \
	proxy/core/loop.cpp \
	proxy/core/loop.h \
	proxy/core/net.h \
	proxy/core/runtime.h \
	proxy/core/service.cpp \
	proxy/core/service.h \
	proxy/core/stream.cpp \
	proxy/core/stream.h \
	proxy/core/stream_tls.cpp \
	proxy/core/stream_tls.h \
	proxy/core/tls.cpp \
	proxy/core/tls.h \
	proxy/core/wire.cpp \
	proxy/core/wire.h \
	proxy/core/workers.cpp \
	proxy/core/workers.h \
	$(end_of_list)
