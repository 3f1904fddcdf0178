# The protocol itself: no sockets, files, clock, threads. Headers and sources, one a line, sorted. Its lowest layer (ORDER)
# is a library of its own, because libtool puts all of a library into a module, and mssl.so is loaded by strangers.
noinst_LTLIBRARIES += libmsslbase.la libmsslproto.la
libmsslbase_la_SOURCES = \
	protocol/bytes.cpp \
	protocol/bytes.h \
	protocol/hello.cpp \
	protocol/hello.h \
	protocol/key_share.cpp \
	protocol/key_share.h \
	protocol/leaf_hash.cpp \
	protocol/leaf_hash.h \
	protocol/merkle.cpp \
	protocol/merkle.h \
	protocol/openssl.cpp \
	protocol/openssl.h \
	protocol/result.cpp \
	protocol/result.h \
	protocol/seal_key.cpp \
	protocol/seal_key.h \
	protocol/sealing.cpp \
	protocol/sealing.h \
	protocol/token.cpp \
	protocol/token.h \
	protocol/tree_builder.cpp \
	protocol/tree_builder.h \
	protocol/types.h \
	$(end_of_list)
libmsslbase_la_LIBADD = $(CRYPTO_LIBS) $(IPSEC_MB_LIBS)

libmsslproto_la_SOURCES = \
	protocol/asn1.cpp \
	protocol/asn1.h \
	protocol/bitmap.cpp \
	protocol/bitmap.h \
	protocol/download.h \
	protocol/download_events.cpp \
	protocol/download_impl.h \
	protocol/download_plan.cpp \
	protocol/download_verify.cpp \
	protocol/frame.cpp \
	protocol/frame.h \
	protocol/frame_codec.cpp \
	protocol/identity.cpp \
	protocol/identity.h \
	protocol/interception_ca.cpp \
	protocol/interception_ca.h \
	protocol/objects.cpp \
	protocol/objects.h \
	protocol/oid.h \
	protocol/picker.cpp \
	protocol/picker.h \
	protocol/possession.cpp \
	protocol/possession.h \
	protocol/resolve.cpp \
	protocol/resolve.h \
	protocol/restored.cpp \
	protocol/restored.h \
	protocol/session.cpp \
	protocol/session.h \
	protocol/source.cpp \
	protocol/source.h \
	protocol/spread.cpp \
	protocol/spread.h \
	protocol/tracker.cpp \
	protocol/tracker.h \
	protocol/upload.cpp \
	protocol/upload.h \
	protocol/x509.cpp \
	protocol/x509.h \
	$(end_of_list)
libmsslproto_la_LIBADD = libmsslbase.la $(SSL_LIBS)

EXTRA_DIST += protocol/ORDER
EXTRA_DIST += protocol/mssl.asn1
