# The daemon. Everything but main is libproxy, so that tests link it; its rooms add to the list below.
noinst_LTLIBRARIES += libproxy.la
libproxy_la_SOURCES = \
	proxy/daemon.cpp \
	proxy/daemon.h \
	proxy/status_html.cpp \
	proxy/status_page.cpp \
	proxy/status_page.h \
	$(end_of_list)
libproxy_la_LIBADD = \
	libmsslproto.la \
	$(EVENT_LIBS) \
	$(SSL_LIBS) \
	$(SPDLOG_LIBS) \
	$(FMT_LIBS) \
	$(SQLITE_LIBS) \
	$(TOML_LIBS)

sbin_PROGRAMS += msslproxy
msslproxy_SOURCES = proxy/main.cpp
msslproxy_CPPFLAGS = $(AM_CPPFLAGS) -DMSSL_SYSCONFDIR='"$(sysconfdir)/mssl"'
msslproxy_LDADD = libproxy.la
