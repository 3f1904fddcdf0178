// Resolve is the request (DESIGN 3; mssl-protocol(7), RESOLVE): the client proxy sends the application's own request over TLS,
// ALPN http/1.1, to the server's port with one field more; the answer is the origin's own, or a Resolved.
//
//   MSSL-Resolve: v=1; member=BASE64(DER); signer=BASE64(DER); proof=BASE64(64 bytes)   first request of a connection
//   MSSL-Resolve: v=1                                                                  later requests of it
//
// proof = Ed25519 by the member over "mssl/1 resolve" ‖ 0x00 ‖ 32 bytes of TLS exporter "EXPORTER-mssl-resolve": the ticket that
// comes back is for whom this connection's other end holds the key of. A server without a valid proof treats the request as any
// browser's. Answer when shared: 200, Content-Type application/mssl-resolved, and the body below. Fields that begin with "MSSL-"
// never pass from an application or an origin.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "protocol/bytes.h"
#include "protocol/identity.h"
#include "protocol/objects.h"

namespace mssl {

inline constexpr std::string_view kResolveField = "MSSL-Resolve";
inline constexpr std::string_view kResolvedType = "application/mssl-resolved";
inline constexpr std::string_view kResolveExporter = "EXPORTER-mssl-resolve";
inline constexpr std::string_view kEnrolExporter = "EXPORTER-mssl-enrol";

// body = version u8 (1) ‖ manifest var24 ‖ ticket var16 ‖ head var24 ‖ signer var16 ‖ n u16 ‖ n × (name var8 ‖ value var16)
struct Resolved {
    Bytes manifest_der, ticket_der, head_der, signer_der;
    // The end-to-end fields of the answer of now, all of them; where the origin said 304, those of before as it updates them (RFC 9111
    // §3.2). They stand in the manifest's place.
    std::vector<HeaderField> fields;
    bool operator==(const Resolved&) const = default;
};
inline constexpr std::size_t kMaxResolvedBytes = 256 * 1024;

Bytes encode_resolved(const Resolved& resolved);
Result<Resolved> decode_resolved(View body);  // malformed, too_large, unsupported

struct ResolveField {
    // All three, or none (later requests).
    std::optional<Certificate> member, signer;
    Signature proof;
};
// The value of the field. make: exporter is this connection's.
Result<std::string> make_resolve_field(const KeyPair& key, const Certificate& member, const Certificate& signer, View exporter);
std::string short_resolve_field();
Result<ResolveField> parse_resolve_field(std::string_view value);  // malformed, unsupported
// The proof holds under this connection's exporter. Says nothing about membership: RealmTrust::check_member does.
bool check_resolve_proof(const ResolveField& field, View exporter);

// The same construction for ENROL.
Result<Signature> sign_possession(const KeyPair& key, std::string_view domain, View exporter);
bool check_possession(const PublicKey& key, std::string_view domain, View exporter, const Signature& proof);

}  // namespace mssl
