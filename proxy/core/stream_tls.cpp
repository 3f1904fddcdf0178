#include "proxy/core/stream_tls.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>

namespace mssl::proxy {
namespace {

// RFC 7301: names of 1 to 255 bytes.
constexpr std::size_t kMaxAlpn = 255;
// Four records. Given back whenever it is empty (SSL_MODE_RELEASE_BUFFERS).
constexpr std::size_t kReadAhead = 64 * 1024 + 4 * 256;

Result<SslPtr> make_ssl(SSL_CTX* ctx, int fd) {
    ERR_clear_error();
    SslPtr ssl(SSL_new(ctx));
    if (!ssl || SSL_set_fd(ssl.get(), fd) != 1) return openssl_error(Errc::crypto, "SSL_new");
    // No partial writes: with max_fragment_length they corrupt (findings), and a write is at most one record here anyway.
    SSL_clear_mode(ssl.get(), SSL_MODE_ENABLE_PARTIAL_WRITE);
    SSL_set_mode(ssl.get(), SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    // One system call for as many records as have come, instead of two for each.
    SSL_set_read_ahead(ssl.get(), 1);
    SSL_set_default_read_buffer_len(ssl.get(), kReadAhead);
    return ssl;
}

std::string without_brackets(const std::string& host) {
    if (host.size() > 2 && host.front() == '[' && host.back() == ']') return host.substr(1, host.size() - 2);
    return host;
}

bool set_name(SSL* ssl, const std::string& name) {
    X509_VERIFY_PARAM* param = SSL_get0_param(ssl);
    if (X509_VERIFY_PARAM_set1_ip_asc(param, name.c_str()) == 1) return true;  // RFC 6066 §3: no SNI for an address
    ERR_clear_error();
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    return SSL_set_tlsext_host_name(ssl, name.c_str()) == 1 && SSL_set1_host(ssl, name.c_str()) == 1;
}

bool set_alpn(SSL* ssl, const std::string& name) {
    std::array<unsigned char, kMaxAlpn + 1> wire;
    wire[0] = static_cast<unsigned char>(name.size());
    std::memcpy(wire.data() + 1, name.data(), name.size());
    return SSL_set_alpn_protos(ssl, wire.data(), static_cast<unsigned>(name.size() + 1)) == 0;
}

// Reasons that say: whoever answered does not hold the certificate it ought to.
bool is_certificate_reason(int reason) {
    return reason == SSL_R_CERTIFICATE_VERIFY_FAILED || reason == SSL_R_BAD_SIGNATURE ||
           reason == SSL_R_WRONG_CERTIFICATE_TYPE || reason == SSL_R_UNKNOWN_CERTIFICATE_TYPE;
}

std::string subject_of(X509* certificate) {
    BioPtr out(BIO_new(BIO_s_mem()));
    if (!out || X509_NAME_print_ex(out.get(), X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253) < 0) return {};
    char* text = nullptr;
    const long size = BIO_get_mem_data(out.get(), &text);
    return {text, static_cast<std::size_t>(size > 0 ? size : 0)};
}

Error certificate_error(const SSL* ssl) {
    std::string detail = "the certificate of ";
    const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    detail += name != nullptr ? name : "the other side";
    if (const long verdict = SSL_get_verify_result(ssl); verdict != X509_V_OK)
        detail += std::string(": ") + X509_verify_cert_error_string(verdict);
    else
        detail += ": its key did not sign the handshake";
    const X509Ptr shown(SSL_get1_peer_certificate(ssl));
    if (shown) detail += " (it showed one for " + subject_of(shown.get()) + ")";
    return fail(Errc::bad_certificate, std::move(detail));
}

// ── A socket whose first bytes were read already ──

struct Replayed {
    Bytes first;
    std::size_t at = 0;
    int fd = -1;
    bool ended = false;
};

int read_replayed(BIO* bio, char* into, int size) {
    auto* const r = static_cast<Replayed*>(BIO_get_data(bio));
    BIO_clear_retry_flags(bio);
    if (size <= 0) return 0;
    if (r->at < r->first.size()) {
        const std::size_t n = std::min(r->first.size() - r->at, static_cast<std::size_t>(size));
        std::memcpy(into, r->first.data() + r->at, n);
        r->at += n;
        if (r->at == r->first.size()) r->first = Bytes();
        if (r->first.empty()) r->at = 0;
        return static_cast<int>(n);
    }
    errno = 0;
    const ssize_t n = recv(r->fd, into, static_cast<std::size_t>(size), 0);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) BIO_set_retry_read(bio);
    r->ended = n == 0;
    return static_cast<int>(n);
}

long control_replayed(BIO* bio, int command, long, void*) {
    auto* const r = static_cast<Replayed*>(BIO_get_data(bio));
    switch (command) {
    case BIO_CTRL_EOF: return r->ended ? 1 : 0;
    case BIO_CTRL_PENDING: return static_cast<long>(r->first.size() - r->at);
    case BIO_CTRL_FLUSH: return 1;
    default: return 0;  // of OpenSSL's open set
    }
}

int destroy_replayed(BIO* bio) {
    delete static_cast<Replayed*>(BIO_get_data(bio));
    BIO_set_data(bio, nullptr);
    return 1;
}

// Null: no memory.
const BIO_METHOD* replayed_method() {
    static const std::unique_ptr<BIO_METHOD, Freer<BIO_meth_free>> method = [] {
        std::unique_ptr<BIO_METHOD, Freer<BIO_meth_free>> m(BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "replayed socket"));
        if (m && (BIO_meth_set_read(m.get(), read_replayed) != 1 || BIO_meth_set_ctrl(m.get(), control_replayed) != 1 ||
                  BIO_meth_set_destroy(m.get(), destroy_replayed) != 1))
            m.reset();
        return m;
    }();
    return method.get();
}

}  // namespace

Result<SslPtr> make_accepting_ssl(SSL_CTX* ctx, int fd, Bytes received) {
    Result<SslPtr> ssl = make_ssl(ctx, fd);
    if (!ssl) return ssl;
    SSL_set_accept_state(ssl->get());
    if (received.empty()) return ssl;
    BioPtr bio(replayed_method() != nullptr ? BIO_new(replayed_method()) : nullptr);
    if (!bio) return openssl_error(Errc::crypto, "BIO_new");
    BIO_set_data(bio.get(), std::make_unique<Replayed>(Replayed{std::move(received), 0, fd, false}).release());
    BIO_set_init(bio.get(), 1);
    SSL_set0_rbio(ssl->get(), bio.release());
    return ssl;
}

Result<SslPtr> make_connecting_ssl(const TlsClient& client, int fd) {
    Result<SslPtr> ssl = make_ssl(client.ctx, fd);
    if (!ssl) return ssl;
    SSL_set_connect_state(ssl->get());
    if (!client.host.empty() && !set_name(ssl->get(), without_brackets(client.host)))
        return openssl_error(Errc::crypto, "server name " + client.host);
    if (client.host.empty() && !client.sni.empty() && SSL_set_tlsext_host_name(ssl->get(), client.sni.c_str()) != 1)
        return openssl_error(Errc::crypto, "server name " + client.sni);
    if (client.alpn.size() > kMaxAlpn || (!client.alpn.empty() && !set_alpn(ssl->get(), client.alpn)))
        return openssl_error(Errc::crypto, "ALPN " + client.alpn);
    return ssl;
}

Error tls_error(const SSL* ssl, int ssl_error, int saved_errno) {
    const unsigned long last = ERR_peek_last_error();
    if (ssl_error == SSL_ERROR_ZERO_RETURN) {
        ERR_clear_error();
        return fail(Errc::closed, "TLS close_notify");
    }
    if (ssl_error == SSL_ERROR_SYSCALL) {
        ERR_clear_error();
        if (saved_errno == 0) return fail(Errc::truncated, "connection ended without TLS close_notify");
        return fail(saved_errno == ETIMEDOUT ? Errc::timed_out : Errc::reset, std::strerror(saved_errno));
    }
    const int reason = ERR_GET_LIB(last) == ERR_LIB_SSL ? ERR_GET_REASON(last) : 0;
    if (reason == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
        ERR_clear_error();
        return fail(Errc::truncated, "connection ended without TLS close_notify");
    }
    if (is_certificate_reason(reason)) {
        ERR_clear_error();
        return certificate_error(ssl);
    }
    if (reason == SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL || reason == SSL_R_NO_APPLICATION_PROTOCOL) {
        ERR_clear_error();
        return fail(Errc::unsupported, "no application protocol in common (ALPN)");
    }
    return openssl_error(Errc::crypto, "TLS");
}

}  // namespace mssl::proxy
