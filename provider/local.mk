# mssl.so, the OpenSSL provider, is built here once it exists.
