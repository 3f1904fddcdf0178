#include "tools/tls_probe.h"

#include <openssl/err.h>
#include <openssl/provider.h>
#include <poll.h>

#include <algorithm>

namespace mssl::tools {
namespace {

constexpr std::chrono::seconds kPatience{10};
// Of an extension of a ClientHello (RFC 8446 §4.2).
constexpr std::size_t kMaxExtension = 65535;
constexpr const char* kPlainGroups = "X25519:P-256:P-384:P-521";

// The one group or share list of an extension (RFC 8446 §4.2.7, §4.2.8).
void read_groups(View extension, std::vector<std::uint16_t>& to) {
    Reader outer(extension);
    Reader r(outer.var16(kMaxExtension));
    while (r.remaining() != 0) to.push_back(r.u16());
}

void read_shares(View extension, Offered& to) {
    Reader outer(extension);
    Reader r(outer.var16(kMaxExtension));
    while (r.remaining() != 0) {
        const std::uint16_t group = r.u16();
        const View share = r.var16(kMaxExtension);
        if (r.failed()) return;
        to.shares.push_back(group);
        for (const ShareGroup* ours : kOurGroups) {
            if (group != ours->id || share.size() < ours->client_public) continue;
            if (const Result<ShareTlvs> tlvs = decode_tlvs(share.subspan(ours->client_public), ShareSide::client)) to.mssl = *tlvs;
        }
    }
}

View extension_of(SSL* server, unsigned type) {
    const unsigned char* data = nullptr;
    std::size_t length = 0;
    return SSL_client_hello_get0_ext(server, type, &data, &length) == 1 ? View(data, length) : View();
}

int read_client_hello(SSL* server, int*, void* argument) noexcept {
    auto* to = static_cast<Offered*>(argument);
    read_groups(extension_of(server, TLSEXT_TYPE_supported_groups), to->groups);
    read_shares(extension_of(server, TLSEXT_TYPE_key_share), *to);
    return SSL_CLIENT_HELLO_ERROR;  // all is known that was asked for
}

bool is_address(const std::string& host) {
    return host.starts_with('[') || host.find_first_not_of("0123456789.") == std::string::npos;
}

}  // namespace

Result<Asker> Asker::with(LibCtxPtr library) {
    Asker made;
    made.library_ = std::move(library);
    ERR_clear_error();
    made.context_.reset(SSL_CTX_new_ex(made.library_.get(), nullptr, TLS_client_method()));
    if (!made.context_) return openssl_error(Errc::crypto, "a TLS context");
    SSL_CTX_set_verify(made.context_.get(), SSL_VERIFY_NONE, nullptr);
    return made;
}

Result<Asker> Asker::as_configured() { return with(nullptr); }

Result<Asker> Asker::as_stranger() {
    LibCtxPtr library(OSSL_LIB_CTX_new());
    if (!library) return openssl_error(Errc::crypto, "a library context");
    Result<Asker> made = with(std::move(library));
    if (!made) return made;
    // What the configuration says of all contexts, it says of this one too.
    if (SSL_CTX_set_min_proto_version(made->context(), 0) != 1 || SSL_CTX_set_max_proto_version(made->context(), 0) != 1 ||
        SSL_CTX_set_cipher_list(made->context(), "DEFAULT") != 1)
        return openssl_error(Errc::crypto, "protocols and ciphers");
    if (Status s = made->take_groups(kPlainGroups); !s) return s.error();
    return made;
}

Result<Asker> Asker::as_no_member(const std::string& module) {
    LibCtxPtr library(OSSL_LIB_CTX_new());
    // They stay as long as the context that they are loaded into.
    if (!library || OSSL_PROVIDER_load(library.get(), "default") == nullptr ||
        OSSL_PROVIDER_load(library.get(), module.c_str()) == nullptr)
        return openssl_error(Errc::crypto, module);
    Result<Asker> made = with(std::move(library));
    if (!made) return made;
    if (Status s = made->take_groups(kX25519.name); !s) return s.error();
    return made;
}

Status Asker::take_groups(const char* list) {
    if (SSL_CTX_set1_groups_list(context_.get(), list) != 1) return openssl_error(Errc::crypto, list);
    return {};
}

Status Asker::take_version(int version) {
    if (SSL_CTX_set_min_proto_version(context_.get(), version) != 1 ||
        SSL_CTX_set_max_proto_version(context_.get(), version) != 1)
        return openssl_error(Errc::crypto, "a version of TLS");
    return {};
}

Result<Offered> offer_of(const Asker& asker) {
    Offered offered;
    const SslCtxPtr listener(SSL_CTX_new(TLS_server_method()));
    if (!listener) return openssl_error(Errc::crypto, "a TLS context");
    SSL_CTX_set_client_hello_cb(listener.get(), read_client_hello, &offered);
    const SslPtr client(SSL_new(asker.context()));
    const SslPtr server(SSL_new(listener.get()));
    BIO* one = nullptr;
    BIO* other = nullptr;
    if (!client || !server || BIO_new_bio_pair(&one, kMaxExtension, &other, kMaxExtension) != 1)
        return openssl_error(Errc::crypto, "a TLS connection");
    SSL_set_bio(client.get(), one, one);
    SSL_set_bio(server.get(), other, other);
    ERR_clear_error();
    const int said = SSL_connect(client.get());
    if (SSL_get_error(client.get(), said) != SSL_ERROR_WANT_READ) return openssl_error(Errc::crypto, "a ClientHello");
    (void)SSL_accept(server.get());
    ERR_clear_error();
    return offered;
}

Result<Agreed> agree(const Asker& asker, const Endpoint& at, const std::string& server_name) {
    Waiting waiting;
    waiting.patience = kPatience;
    const Result<Fd> socket = connect_to(at, waiting);
    if (!socket) return socket.error();
    const SslPtr ssl(SSL_new(asker.context()));
    if (!ssl || SSL_set_fd(ssl.get(), socket->get()) != 1 ||
        (!is_address(server_name) && SSL_set_tlsext_host_name(ssl.get(), server_name.c_str()) != 1))
        return openssl_error(Errc::crypto, "a TLS connection");
    ERR_clear_error();
    for (int done = 0; (done = SSL_connect(ssl.get())) != 1;) {
        const int error = SSL_get_error(ssl.get(), done);
        if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE)
            return openssl_error(Errc::crypto, ERR_peek_error() == 0 ? "the server closed the connection" : "handshake");
        if (Status s = wait_for(socket->get(), error == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, waiting); !s) return s.error();
    }
    Agreed agreed;
    agreed.version = SSL_get_version(ssl.get());
    const auto negotiated = static_cast<int>(SSL_get_negotiated_group(ssl.get()));
    for (const ShareGroup* ours : kOurGroups)
        if (negotiated == (TLSEXT_nid_unknown | ours->id)) agreed.group = ours->name;
    // A group of libssl's own has a name there.
    if (agreed.group.empty() && negotiated != 0)
        if (const char* name = SSL_group_to_name(ssl.get(), negotiated)) agreed.group = name;
    ERR_clear_error();
    return agreed;
}

}  // namespace mssl::tools
