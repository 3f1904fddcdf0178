# mssl.so, the OpenSSL provider, is built here once it exists: an LTLIBRARY with -module -avoid-version -shared, below
# $(libdir)/ossl-modules (not where libcrypto looks: an installation must stay inside its prefix; the manual says how).
