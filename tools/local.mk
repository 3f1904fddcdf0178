# mssl, the command-line tool: one file a verb, one a line, sorted. All but main.cpp is a library, for the unit tests.
noinst_LTLIBRARIES += libtools.la
libtools_la_SOURCES = \
	tools/ca.cpp \
	tools/capture.cpp \
	tools/capture.h \
	tools/child.cpp \
	tools/child.h \
	tools/cli.cpp \
	tools/cli.h \
	tools/command.cpp \
	tools/command.h \
	tools/describe.cpp \
	tools/describe.h \
	tools/doctor.cpp \
	tools/envelope.cpp \
	tools/envelope.h \
	tools/files.cpp \
	tools/files.h \
	tools/get.cpp \
	tools/hash.cpp \
	tools/http.cpp \
	tools/http.h \
	tools/intercept.cpp \
	tools/interrupt.cpp \
	tools/interrupt.h \
	tools/json.cpp \
	tools/json.h \
	tools/listening.cpp \
	tools/listening.h \
	tools/member.cpp \
	tools/openssl_setup.cpp \
	tools/openssl_setup.h \
	tools/partial.cpp \
	tools/partial.h \
	tools/progress.cpp \
	tools/progress.h \
	tools/publish.cpp \
	tools/routing.cpp \
	tools/routing.h \
	tools/show.cpp \
	tools/status.cpp \
	tools/status.h \
	tools/text.cpp \
	tools/text.h \
	tools/tls_probe.cpp \
	tools/tls_probe.h \
	tools/transfer_view.cpp \
	tools/transfer_view.h \
	tools/url.cpp \
	tools/url.h \
	tools/verbs.h \
	$(end_of_list)
libtools_la_CPPFLAGS = $(AM_CPPFLAGS) -DMSSL_SBINDIR='"$(sbindir)"' -DMSSL_MODULESDIR='"$(modulesdir)"'

bin_PROGRAMS += mssl
mssl_SOURCES = \
	tools/main.cpp \
	$(end_of_list)
mssl_LDADD = libtools.la libmsslproto.la
