#include "proxy/core/tls.h"

#include <openssl/err.h>

#include <algorithm>
#include <array>
#include <memory>
#include <vector>

#include "protocol/interception_ca.h"

namespace mssl::proxy {
namespace {

// RFC 7301 wire form, in order of preference.
constexpr std::array<unsigned char, 16> kServerAlpn = {6, 'm', 's', 's', 'l', '/', '1', 8, 'h', 't', 't', 'p', '/', '1', '.', '1'};
constexpr std::array<unsigned char, 7> kPeerAlpn = {6, 'm', 's', 's', 'l', '/', '1'};

// The chain is judged by member_of() once the handshake is over: it needs the realm, which TLS knows nothing of.
int accept_any_chain(int, X509_STORE_CTX*) { return 1; }

int no_verify_depth_trap(X509_STORE_CTX* store, void*) {
    // Proof of possession (CertificateVerify) is still TLS's; no chain is built, so that none can be too long or too odd.
    X509_STORE_CTX_set_error(store, X509_V_OK);
    return 1;
}

// The names in the hello's ALPN extension; empty when there is none or it is malformed (then TLS itself refuses it).
std::vector<std::string_view> offered(SSL* ssl) {
    const unsigned char* ext = nullptr;
    std::size_t size = 0;
    // RFC 7301 §3.1: two bytes of list length, then names with one byte of length each.
    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation, &ext, &size) != 1 || size < 2)
        return {};
    const std::size_t list = std::size_t{ext[0]} << 8 | ext[1];
    if (list != size - 2) return {};
    std::vector<std::string_view> names;
    for (std::size_t at = 2; at < size;) {
        const std::size_t length = ext[at++];
        if (length == 0 || length > size - at) return {};
        names.emplace_back(reinterpret_cast<const char*>(ext + at), length);
        at += length;
    }
    return names;
}

void ask_for_member(SSL* ssl) {
    SSL_set_verify(ssl, SSL_VERIFY_PEER, accept_any_chain);
    // Tickets would carry a membership past its revocation, and each would be a handshake not judged.
    SSL_set_num_tickets(ssl, 0);
    SSL_set_options(ssl, SSL_OP_NO_TICKET);
}

// One port, both worlds: what the client offers decides before anything is answered.
int on_client_hello(SSL* ssl, int* alert, void*) {
    const auto names = offered(ssl);
    if (std::find(names.begin(), names.end(), kAlpnMember) == names.end()) {
        // Clients of ours offer http/1.1 alone and keep their connections: a ticket would do nothing for them but make
        // OpenSSL hold on to 16 KiB of handshake buffer a connection. Browsers offer h2 as well and get theirs.
        if (names.size() == 1 && names[0] == kAlpnHttp) SSL_set_num_tickets(ssl, 0);
        return SSL_CLIENT_HELLO_SUCCESS;
    }
    if (SSL_set_min_proto_version(ssl, TLS1_3_VERSION) != 1) {
        *alert = SSL_AD_INTERNAL_ERROR;
        return SSL_CLIENT_HELLO_ERROR;
    }
    ask_for_member(ssl);
    return SSL_CLIENT_HELLO_SUCCESS;
}

int select_alpn(SSL*, const unsigned char** out, unsigned char* out_len, const unsigned char* in, unsigned in_len,
                void* wanted) {
    const auto* list = static_cast<const View*>(wanted);
    unsigned char* selected = nullptr;
    if (SSL_select_next_proto(&selected, out_len, list->data(), static_cast<unsigned>(list->size()), in, in_len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;  // RFC 7301 §3.2: no_application_protocol
    *out = selected;
    return SSL_TLSEXT_ERR_OK;
}

constexpr View kHttpAlpnView = View(kServerAlpn).subspan(7);
constexpr View kServerAlpnView{kServerAlpn};
constexpr View kPeerAlpnView{kPeerAlpn};

Result<SslCtxPtr> make_context(const SSL_METHOD* method, int least_version) {
    ERR_clear_error();
    SslCtxPtr ctx(SSL_CTX_new(method));
    if (!ctx || SSL_CTX_set_min_proto_version(ctx.get(), least_version) != 1)
        return openssl_error(Errc::crypto, "SSL_CTX_new");
    SSL_CTX_set_mode(ctx.get(), SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_options(ctx.get(), SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    return ctx;
}

// An interception CA that this host's programs were made to trust stands in the store that is used here too. It vouches for the
// proxy to applications; whoever has its key must not become the server, or the origin, to the proxy.
int refuse_interception(int ok, X509_STORE_CTX* store) {
    if (ok != 1 || !InterceptionCa::is_one(X509_STORE_CTX_get_current_cert(store))) return ok;
    X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REJECTED);
    return 0;
}

Result<SslCtxPtr> make_verifying_context(const std::string& ca_file, int least_version) {
    Result<SslCtxPtr> made = make_context(TLS_client_method(), least_version);
    if (!made) return made;
    SSL_CTX* ctx = made->get();
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, refuse_interception);
    const int loaded = ca_file.empty() ? SSL_CTX_set_default_verify_paths(ctx)
                                       : SSL_CTX_load_verify_locations(ctx, ca_file.c_str(), nullptr);
    if (loaded != 1)
        return openssl_error(Errc::crypto, ca_file.empty() ? "the system's trust store" : "ca " + ca_file);
    return made;
}

Status use_member(SSL_CTX* ctx, const MemberCredentials& member) {
    if (member.key == nullptr) return fail(Errc::internal, "membership without a key");
    if (SSL_CTX_use_certificate(ctx, member.certificate.get()) != 1 ||
        SSL_CTX_use_PrivateKey(ctx, member.key->get()) != 1 || SSL_CTX_check_private_key(ctx) != 1 ||
        SSL_CTX_add1_chain_cert(ctx, member.signer.get()) != 1)
        return openssl_error(Errc::crypto, "membership certificate");
    // Just leaf and signer: no chain is made up from a trust store.
    SSL_CTX_set_mode(ctx, SSL_MODE_NO_AUTO_CHAIN);
    return {};
}

Result<Certificate> certificate_of(X509* x509) {
    unsigned char* der = nullptr;
    const int size = i2d_X509(x509, &der);
    if (size <= 0) return openssl_error(Errc::bad_certificate, "certificate of the other side");
    const std::unique_ptr<unsigned char, decltype([](unsigned char* p) { OPENSSL_free(p); })> owner(der);
    Result<Certificate> out = Certificate::from_der({der, static_cast<std::size_t>(size)});
    if (!out) return fail(Errc::bad_certificate, "certificate of the other side: " + out.error().to_string());
    return out;
}

}  // namespace

Result<SslCtxPtr> make_server_context(const std::string& chain_pem_file, const std::string& key_pem_file) {
    Result<SslCtxPtr> made = make_context(TLS_server_method(), TLS1_2_VERSION);
    if (!made) return made;
    SSL_CTX* ctx = made->get();
    if (SSL_CTX_use_certificate_chain_file(ctx, chain_pem_file.c_str()) != 1)
        return openssl_error(Errc::crypto, "certificate " + chain_pem_file);
    if (SSL_CTX_use_PrivateKey_file(ctx, key_pem_file.c_str(), SSL_FILETYPE_PEM) != 1)
        return openssl_error(Errc::crypto, "private key " + key_pem_file);
    if (SSL_CTX_check_private_key(ctx) != 1)
        return openssl_error(Errc::crypto, "private key " + key_pem_file + " does not belong to " + chain_pem_file);
    static constexpr unsigned char kSessionContext[] = "msslproxy";
    SSL_CTX_set_session_id_context(ctx, kSessionContext, sizeof kSessionContext - 1);
    SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_client_hello_cb(ctx, on_client_hello, nullptr);
    SSL_CTX_set_alpn_select_cb(ctx, select_alpn, const_cast<View*>(&kServerAlpnView));
    SSL_CTX_set_cert_verify_callback(ctx, no_verify_depth_trap, nullptr);
    return made;
}

Result<SslCtxPtr> make_leaf_context(EVP_PKEY* key, X509* leaf) {
    Result<SslCtxPtr> made = make_context(TLS_server_method(), TLS1_2_VERSION);
    if (!made) return made;
    SSL_CTX* ctx = made->get();
    if (SSL_CTX_use_certificate(ctx, leaf) != 1 || SSL_CTX_use_PrivateKey(ctx, key) != 1 || SSL_CTX_check_private_key(ctx) != 1)
        return openssl_error(Errc::crypto, "certificate of an intercepted host");
    static constexpr unsigned char kSessionContext[] = "mssl-leaf";
    SSL_CTX_set_session_id_context(ctx, kSessionContext, sizeof kSessionContext - 1);
    SSL_CTX_set_mode(ctx, SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_set_alpn_select_cb(ctx, select_alpn, const_cast<View*>(&kHttpAlpnView));
    return made;
}

bool speaks_mssl(const SSL* ssl) {
    const unsigned char* name = nullptr;
    unsigned size = 0;
    SSL_get0_alpn_selected(ssl, &name, &size);
    return std::string_view(reinterpret_cast<const char*>(name), size) == kAlpnMember;
}

Result<SslCtxPtr> make_client_context(const std::string& ca_file, const MemberCredentials* member) {
    // Between mSSL parties it is TLS 1.3 always (DESIGN 6), for what is relayed too.
    Result<SslCtxPtr> made = make_verifying_context(ca_file, TLS1_3_VERSION);
    if (!made) return made;
    if (member != nullptr)
        if (Status s = use_member(made->get(), *member); !s) return s.error();
    return made;
}

Result<SslCtxPtr> make_origin_context(const std::string& ca_file) { return make_verifying_context(ca_file, TLS1_2_VERSION); }

Result<SslCtxPtr> make_peer_context(const MemberCredentials& member, bool accepting) {
    Result<SslCtxPtr> made = make_context(accepting ? TLS_server_method() : TLS_client_method(), TLS1_3_VERSION);
    if (!made) return made;
    SSL_CTX* ctx = made->get();
    if (Status s = use_member(ctx, member); !s) return s.error();
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, accept_any_chain);
    SSL_CTX_set_cert_verify_callback(ctx, no_verify_depth_trap, nullptr);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(ctx, 0);
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    if (accepting)
        SSL_CTX_set_alpn_select_cb(ctx, select_alpn, const_cast<View*>(&kPeerAlpnView));
    else if (SSL_CTX_set_alpn_protos(ctx, kPeerAlpn.data(), kPeerAlpn.size()) != 0)
        return openssl_error(Errc::crypto, "ALPN");
    return made;
}

Result<PeerMembership> member_of(SSL* ssl, const RealmTrust& trust, WallTime now) {
    const X509Ptr leaf(SSL_get1_peer_certificate(ssl));
    if (!leaf) return fail(Errc::not_member, "the other side showed no membership certificate");
    // A server's view of the chain is without the leaf, a client's with it (SSL_get_peer_cert_chain(3)).
    STACK_OF(X509)* chain = SSL_get_peer_cert_chain(ssl);
    const int signer_at = SSL_is_server(ssl) ? 0 : 1;
    if (sk_X509_num(chain) <= signer_at) return fail(Errc::bad_certificate, "the other side showed no signer certificate");
    Result<Certificate> certificate = certificate_of(leaf.get());
    if (!certificate) return certificate.error();
    Result<Certificate> signer = certificate_of(sk_X509_value(chain, signer_at));
    if (!signer) return signer.error();
    if (Status s = trust.check_signer(*signer, now); !s)
        return fail(s.code() == Errc::expired ? Errc::expired : Errc::bad_certificate, "signer: " + s.error().detail);
    if (Status s = trust.check_member(*certificate, *signer, now); !s)
        return fail(s.code() == Errc::expired ? Errc::expired : Errc::bad_certificate, "member: " + s.error().detail);
    const MemberId id = certificate->member_id();
    return PeerMembership{std::move(*certificate), std::move(*signer), id};
}

void forget_chain(SSL* ssl) {
    STACK_OF(X509)* chain = SSL_get_peer_cert_chain(ssl);
    while (sk_X509_num(chain) > 0) X509_free(sk_X509_pop(chain));
}

}  // namespace mssl::proxy
