libproxy_la_SOURCES += \
	proxy/core/buffer_pool.h \
	proxy/core/counters.h \
	proxy/core/loop.h \
	proxy/core/net.h \
	proxy/core/stream.h \
	proxy/core/workers.h \
	$(end_of_list)
