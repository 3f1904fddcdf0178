# mssl, the command-line tool: one file a verb, one a line, sorted.
bin_PROGRAMS += mssl
mssl_SOURCES = \
	tools/main.cpp \
	$(end_of_list)
mssl_LDADD = libmsslproto.la $(FMT_LIBS)
