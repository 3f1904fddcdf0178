// SSL_CTX for each kind of connection (DESIGN 6). Built once a configuration; a reload builds new ones and swaps.
//
// Thread rules: building from one thread; the contexts are then shared read-only by all loops.
#pragma once

#include <string>

#include "protocol/identity.h"
#include "protocol/openssl.h"

namespace mssl::proxy {

inline constexpr std::string_view kAlpnMember = "mssl/1";
inline constexpr std::string_view kAlpnHttp = "http/1.1";

// The server's one port: web certificate; ALPN mssl/1 (then TLS 1.3 only, and a client certificate is asked for, checked
// against the realm by member_of()) or http/1.1 or none (TLS 1.2 allowed, no client certificate asked for).
Result<SslCtxPtr> make_server_context(const std::string& chain_pem_file, const std::string& key_pem_file);
// Set from ClientHello: true when the connection speaks mssl/1.
bool speaks_mssl(const SSL* ssl);
// Of a host that is intercepted (protocol/interception_ca.h): TLS 1.2 or 1.3, ALPN http/1.1 where the application offers any.
// key and leaf: references are taken. The CA is not sent: who trusts it has it.
Result<SslCtxPtr> make_leaf_context(EVP_PKEY* key, X509* leaf);

// Client → server, verified by the usual rules against ca_file (empty: the system's store); used for both ALPNs. A chain with an
// interception CA in it (InterceptionCa::is_one()) is refused, whoever trusts it.
// member: presented when the server asks; may be null.
struct MemberCredentials {
    Certificate certificate;
    Certificate signer;      // sent as the chain
    const KeyPair* key = nullptr;
};
Result<SslCtxPtr> make_client_context(const std::string& ca_file, const MemberCredentials* member);
// Client → any HTTPS server, as an application would reach it: TLS 1.2 or 1.3, verified as above.
Result<SslCtxPtr> make_origin_context(const std::string& ca_file);

// Member ↔ member: TLS 1.3 only, ALPN mssl/1, mutual; both directions of the same context kind. The chain is taken as it
// comes and judged by member_of() after the handshake, before a byte is acted on.
Result<SslCtxPtr> make_peer_context(const MemberCredentials& member, bool accepting);

// The peer's membership: its leaf and signer from the handshake, checked with trust at now. not_member when it showed no
// certificate; bad_certificate/expired otherwise.
struct PeerMembership {
    Certificate certificate;
    Certificate signer;
    MemberId id;
};
Result<PeerMembership> member_of(SSL* ssl, const RealmTrust& trust, WallTime now);
// Frees what the peer sent beside its leaf, which OpenSSL would keep to the connection's end: parsed it is 3 KiB. After
// member_of(), and for connections whose session nobody resumes.
void forget_chain(SSL* ssl);

}  // namespace mssl::proxy
