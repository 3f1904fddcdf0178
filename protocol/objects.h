// The signed DER objects: manifest, head, ticket (DESIGN 5; syntax in mssl-protocol(7), DER OBJECTS).
//
// Each is SEQUENCE { type OID, body SEQUENCE, signer OCTET STRING, signature OCTET STRING } where the signature
// is Ed25519 over  domain tag ‖ 0x00 ‖ signer id ‖ DER(body), domain tag = "mssl/1 manifest" | "mssl/1 head" |
// "mssl/1 ticket". Read strictly (protocol/asn1.h), encoded again and compared: only DER passes.
//
// Thread rules: values.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "protocol/identity.h"
#include "protocol/merkle.h"

namespace mssl {

enum class Access : std::uint8_t { open = 0, restricted = 1 };
enum class Exchange : std::uint8_t { plain = 0, proof_of_service = 1, purchase = 2 };

// SHA-256 of the signer's raw key: names it in signed objects.
using SignerId = Hash;

// A growing head (DESIGN 3): the peaks of the first `leaves` leaves. Before the final head `leaves` is a multiple of
// the block's leaves. The final head covers the length; its last peak may be the node of a short last block.
struct Head {
    ObjectId object;
    std::uint64_t length = 0;
    std::uint32_t block_bytes = kMinBlockBytes;
    std::uint64_t leaves = 0;
    bool final_head = false;
    std::vector<Hash> peaks;  // block-level peaks, largest first; empty for the empty object

    std::uint64_t blocks() const;  // block_count of what it covers
    Geometry geometry() const { return {length, block_bytes}; }
    // Internal consistency: sizes, counts, limits. Every parsed Head has passed it.
    Status check() const;
    bool operator==(const Head&) const = default;
};

struct HeaderField {
    std::string name;   // as the origin wrote it
    std::string value;
    // The name is a token of at most 255 bytes (else too_large), the value cannot end the field. Every parsed field
    // has passed it.
    Status check() const;
    bool operator==(const HeaderField&) const = default;
};

// The strong validator that made this representation an object (RFC 9110 §8.8).
struct Validator {
    std::string etag;            // with quotes; empty when there is none
    std::int64_t last_modified = 0;  // unix seconds; 0 when not used
    bool operator==(const Validator&) const = default;
};

struct Manifest {
    ObjectId object;
    std::string url;  // scheme://host:port/path?query, byte-exact path and query
    Validator validator;
    std::vector<HeaderField> fields;  // end-to-end fields to replay
    std::uint64_t length = 0;
    std::uint32_t block_bytes = kMinBlockBytes;
    HashKind hash = HashKind::sha256;
    Access access = Access::open;
    Exchange exchange = Exchange::plain;
    std::uint64_t price = 0;  // units a MiB
    WallTime not_before, not_after;
    bool operator==(const Manifest&) const = default;

    Geometry geometry() const { return {length, block_bytes}; }
    // Limits and the syntax of URL, validator and fields. Every parsed Manifest has passed it.
    Status check() const;
    static constexpr std::size_t kMaxUrlBytes = 8192;
    static constexpr std::size_t kMaxFields = 64;
    static constexpr std::size_t kMaxFieldBytes = 16 * 1024;  // names and values of all fields together
    static constexpr std::size_t kMaxFieldNameBytes = 255;
    static constexpr std::size_t kMaxEtagBytes = 1024;  // longer ones: not shared
};

struct Ticket {
    GrantId grant;
    MemberId member;
    ObjectId object;
    Exchange exchange = Exchange::plain;
    std::uint64_t price = 0;
    WallTime not_before, not_after;
    bool operator==(const Ticket&) const = default;

    // not_before < not_after, both within what DER can say. Every parsed Ticket has passed it.
    Status check() const;
};

// The limit of any encoded object: the manifest's fields dominate.
inline constexpr std::size_t kMaxObjectDer = 64 * 1024;

// A signed object as it travels: the exact DER and what is in it.
template <class Body>
struct Signed {
    Body body;
    SignerId signer;
    Bytes der;
};
using SignedHead = Signed<Head>;
using SignedManifest = Signed<Manifest>;
using SignedTicket = Signed<Ticket>;

// Signs. Errors: malformed when body.check() fails, crypto.
Result<SignedHead> sign_head(const Head& body, const KeyPair& signer);
Result<SignedManifest> sign_manifest(const Manifest& body, const KeyPair& signer);
Result<SignedTicket> sign_ticket(const Ticket& body, const KeyPair& signer);

// Parses and verifies under signer's key: malformed, too_large, unsupported, wrong_realm (another signer id),
// bad_signature. Says nothing about times or holders.
Result<SignedHead> parse_head(View der, const PublicKey& signer);
Result<SignedManifest> parse_manifest(View der, const PublicKey& signer);
Result<SignedTicket> parse_ticket(View der, const PublicKey& signer);

// Parses without verifying, for `mssl show` and the fuzzers. Never used where a decision follows.
Result<SignedHead> inspect_head(View der);
Result<SignedManifest> inspect_manifest(View der);
Result<SignedTicket> inspect_ticket(View der);

// The provider's check before it serves (invariant 4): holder = member id of the TLS peer, object, and validity at
// now with kClockToleranceSeconds. Errors: wrong_holder, wrong_object, expired.
Status check_ticket(const Ticket& ticket, const MemberId& holder, const ObjectId& object, WallTime now);

}  // namespace mssl
