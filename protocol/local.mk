# The protocol itself: no sockets, files, clock, threads. Headers and sources, one a line, sorted.
noinst_LTLIBRARIES += libmsslproto.la
libmsslproto_la_SOURCES = \
	$(end_of_list)
libmsslproto_la_LIBADD = $(SSL_LIBS) $(IPSEC_MB_LIBS)

EXTRA_DIST += protocol/ORDER
