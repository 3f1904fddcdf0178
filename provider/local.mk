# mssl.so, the OpenSSL provider: one file a kind of operation, one a line, sorted. All of it is a library,
# for the unit tests, which load it as a provider built in.
noinst_LTLIBRARIES += libmsslprovider.la
libmsslprovider_la_SOURCES = \
	provider/digest.cpp \
	provider/digest.h \
	provider/exchange.cpp \
	provider/fd.h \
	provider/group.cpp \
	provider/group.h \
	provider/hybrid.cpp \
	provider/hybrid.h \
	provider/kdf.cpp \
	provider/kdf.h \
	provider/kem.cpp \
	provider/key.cpp \
	provider/key.h \
	provider/keymgmt.cpp \
	provider/module.cpp \
	provider/provider.cpp \
	provider/provider.h \
	provider/reason.cpp \
	provider/reason.h \
	provider/settings.cpp \
	provider/settings.h \
	provider/share.cpp \
	provider/share.h \
	provider/small_file.cpp \
	provider/small_file.h \
	provider/store.cpp \
	provider/store.h \
	provider/tokens.cpp \
	provider/tokens.h \
	provider/x25519.cpp \
	provider/x25519.h \
	$(end_of_list)
libmsslprovider_la_LIBADD = libmsslbase.la

modules_LTLIBRARIES += mssl.la
mssl_la_SOURCES =
# So that the C++ compiler links.
nodist_EXTRA_mssl_la_SOURCES = none.cpp
mssl_la_LIBADD = libmsslprovider.la
# Never unmapped: threads that end after the provider was unloaded still have contexts of ours to free.
mssl_la_LDFLAGS = $(AM_LDFLAGS) -module -avoid-version -shared -no-undefined -Wl,-z,nodelete \
	-Wl,--version-script=$(srcdir)/provider/mssl.map
EXTRA_mssl_la_DEPENDENCIES = $(srcdir)/provider/mssl.map
EXTRA_DIST += provider/mssl.map
