// The TLS half of a Stream: making the SSL, and telling apart what ended it.
#pragma once

#include "proxy/core/stream.h"

namespace mssl::proxy {

// received: read from fd already; comes before what is read from it now.
Result<SslPtr> make_accepting_ssl(SSL_CTX* ctx, int fd, Bytes received = {});
// Sets SNI, the name or IP address to verify (RFC 6125, subjectAltName alone) and ALPN.
Result<SslPtr> make_connecting_ssl(const TlsClient& client, int fd);
// What ended an SSL call that returned ssl_error (not WANT_*): closed, truncated, reset, bad_certificate, unsupported, crypto.
// saved_errno: errno right after the call. Empties the error queue.
Error tls_error(const SSL* ssl, int ssl_error, int saved_errno);

}  // namespace mssl::proxy
