libproxy_la_SOURCES += \
	proxy/http/body_writer.cpp \
	proxy/http/body_writer.h \
	proxy/http/chunked.cpp \
	proxy/http/chunked.h \
	proxy/http/client.cpp \
	proxy/http/client.h \
	proxy/http/connection.cpp \
	proxy/http/connection.h \
	proxy/http/date.cpp \
	proxy/http/freshness.cpp \
	proxy/http/freshness.h \
	proxy/http/head_grammar.h \
	proxy/http/head_scan.cpp \
	proxy/http/head_scan.h \
	proxy/http/llhttp.cpp \
	proxy/http/message.cpp \
	proxy/http/message.h \
	proxy/http/parser.cpp \
	proxy/http/parser.h \
	proxy/http/semantics.cpp \
	proxy/http/semantics.h \
	proxy/http/syntax.h \
	$(end_of_list)

# llhttp's own C sources, compiled here where the system has no library of it: copied first, because objects
# are made beside their source.
if BUILD_LLHTTP
noinst_LTLIBRARIES += libllhttp.la
libproxy_la_LIBADD += libllhttp.la
nodist_libllhttp_la_SOURCES = \
	proxy/http/llhttp-api.c \
	proxy/http/llhttp-http.c \
	proxy/http/llhttp-llhttp.c
libllhttp_la_CFLAGS = $(AM_CFLAGS) -w
CLEANFILES += $(nodist_libllhttp_la_SOURCES)

proxy/http/llhttp-api.c: $(LLHTTP_DIR)/api.c
	$(AM_V_GEN)$(MKDIR_P) $(@D) && cp $(LLHTTP_DIR)/api.c $@
proxy/http/llhttp-http.c: $(LLHTTP_DIR)/http.c
	$(AM_V_GEN)$(MKDIR_P) $(@D) && cp $(LLHTTP_DIR)/http.c $@
proxy/http/llhttp-llhttp.c: $(LLHTTP_DIR)/llhttp.c
	$(AM_V_GEN)$(MKDIR_P) $(@D) && cp $(LLHTTP_DIR)/llhttp.c $@
else
libproxy_la_LIBADD += $(LLHTTP_LIBS)
endif
