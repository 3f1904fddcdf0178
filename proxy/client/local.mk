libproxy_la_SOURCES += \
	proxy/client/banned.h \
	proxy/client/delivery.h \
	proxy/client/enroller.cpp \
	proxy/client/enroller.h \
	proxy/client/fetch.cpp \
	proxy/client/fetch.h \
	proxy/client/peer_link.cpp \
	proxy/client/peer_link.h \
	proxy/client/peer_server.cpp \
	proxy/client/peer_server.h \
	proxy/client/peer_session.cpp \
	proxy/client/peer_session.h \
	proxy/client/rate_limit.h \
	proxy/client/resolution.h \
	proxy/client/resolver.h \
	proxy/client/server_link.cpp \
	proxy/client/server_link.h \
	proxy/client/site.cpp \
	proxy/client/site.h \
	proxy/client/transfer.h \
	proxy/client/transfer_core.cpp \
	proxy/client/transfer_core.h \
	proxy/client/transfers.cpp \
	proxy/client/uploads.cpp \
	proxy/client/uploads.h \
	$(end_of_list)
