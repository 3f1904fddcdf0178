#include "tools/describe.h"

#include <openssl/x509v3.h>

#include <algorithm>

#include "protocol/bytes.h"
#include "tools/text.h"

namespace mssl::tools {
namespace {

std::string_view access_name(Access access) {
    switch (access) {
    case Access::open: return "open";
    case Access::restricted: return "restricted";
    }
    return "";
}

std::string_view exchange_name(Exchange exchange) {
    switch (exchange) {
    case Exchange::plain: return "plain";
    case Exchange::proof_of_service: return "proof-of-service";
    case Exchange::purchase: return "purchase";
    }
    return "";
}

void put_geometry(Json& out, const Geometry& g) {
    out.put("length", g.length());
    out.put("block_bytes", g.block_bytes());
    out.put("blocks", g.block_count());
}

template <class Body>
void put_signature(Json& out, const Signed<Body>& object) {
    out.put("signer", object.signer.hex());
    out.put("der_bytes", std::uint64_t{object.der.size()});
}

Json of(const SignedHead& head) {
    Json out = Json::object();
    out.put("kind", "head");
    out.put("object", head.body.object.hex());
    put_geometry(out, head.body.geometry());
    out.put("leaves", head.body.leaves);
    out.put("final", head.body.final_head);
    if (head.body.final_head)
        out.put("root", (head.body.peaks.empty() ? empty_root() : fold_peaks(head.body.peaks)).hex());
    Json::Array peaks;
    for (const Hash& peak : head.body.peaks) peaks.emplace_back(peak.hex());
    out.put("peaks", std::move(peaks));
    put_signature(out, head);
    return out;
}

Json of(const SignedManifest& manifest) {
    const Manifest& m = manifest.body;
    Json out = Json::object();
    out.put("kind", "manifest");
    out.put("object", m.object.hex());
    out.put("url", m.url);
    if (!m.validator.etag.empty()) out.put("etag", m.validator.etag);
    if (m.validator.last_modified != 0) out.put("last_modified", iso_time({m.validator.last_modified}));
    put_geometry(out, m.geometry());
    out.put("hash", "sha256");
    out.put("access", std::string(access_name(m.access)));
    out.put("exchange", std::string(exchange_name(m.exchange)));
    out.put("price", m.price);
    out.put("not_before", iso_time(m.not_before));
    out.put("not_after", iso_time(m.not_after));
    Json::Array fields;
    for (const HeaderField& f : m.fields) fields.emplace_back(f.name + ": " + f.value);
    out.put("fields", std::move(fields));
    put_signature(out, manifest);
    return out;
}

Json of(const SignedTicket& ticket) {
    const Ticket& t = ticket.body;
    Json out = Json::object();
    out.put("kind", "ticket");
    out.put("grant", t.grant.hex());
    out.put("member", t.member.hex());
    out.put("object", t.object.hex());
    out.put("exchange", std::string(exchange_name(t.exchange)));
    out.put("price", t.price);
    out.put("not_before", iso_time(t.not_before));
    out.put("not_after", iso_time(t.not_after));
    put_signature(out, ticket);
    return out;
}

enum class Role : std::uint8_t { realm, signer, member };

// By what makes them so (mssl-protocol(7), CERTIFICATES), not by names.
Role role_of(const Certificate& c) {
    const std::uint32_t flags = X509_get_extension_flags(c.get());
    if ((flags & EXFLAG_CA) == 0) return Role::member;
    return (flags & EXFLAG_SI) != 0 ? Role::realm : Role::signer;
}

Json of(const Certificate& c) {
    Json out = Json::object();
    out.put("kind", "certificate");
    const Role role = role_of(c);
    switch (role) {
    case Role::realm:
        out.put("role", "realm");
        out.put("realm", realm_id_of(c.public_key()).hex());
        break;
    case Role::signer:
        out.put("role", "signer");
        out.put("signer", c.member_id().hex());
        break;
    case Role::member:
        out.put("role", "member");
        out.put("member", c.member_id().hex());
        break;
    }
    out.put("subject", c.subject());
    out.put("public_key", c.public_key().hex());
    const ASN1_INTEGER* serial = X509_get0_serialNumber(c.get());
    out.put("serial", to_hex({ASN1_STRING_get0_data(serial), static_cast<std::size_t>(ASN1_STRING_length(serial))}));
    out.put("not_before", iso_time(c.not_before()));
    out.put("not_after", iso_time(c.not_after()));
    out.put("der_bytes", std::uint64_t{c.to_der().size()});
    return out;
}

template <class T>
Result<Json> described(const Result<T>& object) {
    if (!object) return object.error();
    return of(*object);
}

Status check_validity(WallTime from, WallTime to, WallTime now) {
    if (before(from, now)) return fail(Errc::expired, "not valid before " + iso_time(from));
    if (past(to, now)) return fail(Errc::expired, "not valid after " + iso_time(to));
    return {};
}

template <class T>
Status signed_and_valid(const Result<Signed<T>>& object, WallTime now) {
    if (!object) return object.error();
    if constexpr (!std::is_same_v<T, Head>)
        return check_validity(object->body.not_before, object->body.not_after, now);
    return {};
}

Status verify_certificate(const Certificate& c, const Verifier& by) {
    switch (role_of(c)) {
    case Role::realm:
        if (c.to_der() != by.trust.realm.to_der())
            return fail(Errc::wrong_realm, "another realm's certificate than the one to verify under");
        if (X509_verify(c.get(), X509_get0_pubkey(c.get())) != 1)
            return openssl_error(Errc::bad_signature, "the realm certificate is not signed by its own key");
        return check_validity(c.not_before(), c.not_after(), by.now);
    case Role::signer: return by.trust.check_signer(c, by.now);
    case Role::member:
        if (by.signer == nullptr) return fail(Errc::malformed, "a membership needs --signer to be verified");
        return by.trust.check_member(c, *by.signer, by.now);
    }
    return fail(Errc::internal);
}

}  // namespace

Result<Json> describe(const Enveloped& object) {
    switch (object.kind) {
    case Kind::manifest: return described(inspect_manifest(object.der));
    case Kind::head: return described(inspect_head(object.der));
    case Kind::ticket: return described(inspect_ticket(object.der));
    case Kind::certificate: return described(Certificate::from_der(object.der));
    }
    return fail(Errc::internal);
}

Status verify(const Enveloped& object, const Verifier& by) {
    if (object.kind == Kind::certificate) {
        const Result<Certificate> c = Certificate::from_der(object.der);
        return c ? verify_certificate(*c, by) : Status(c.error());
    }
    if (by.signer == nullptr)
        return fail(Errc::malformed, "a " + std::string(kind_name(object.kind)) + " needs --signer to be verified");
    if (Status s = by.trust.check_signer(*by.signer, by.now); !s)
        return fail(s.error().code, "the signer's certificate: " + s.error().detail);
    const PublicKey key = by.signer->public_key();
    switch (object.kind) {
    case Kind::manifest: return signed_and_valid(parse_manifest(object.der, key), by.now);
    case Kind::head: return signed_and_valid(parse_head(object.der, key), by.now);
    case Kind::ticket: return signed_and_valid(parse_ticket(object.der, key), by.now);
    case Kind::certificate: break;
    }
    return fail(Errc::internal);
}

}  // namespace mssl::tools
