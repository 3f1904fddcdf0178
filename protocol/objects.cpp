#include "protocol/objects.h"

#include <algorithm>
#include <charconv>

#include "protocol/asn1.h"
#include "protocol/oid.h"

namespace mssl {
namespace {

// 2^30 blocks have at most 31 peaks (protocol/types.h).
constexpr std::size_t kMaxPeaks = 31;

SignerId signer_id_of(const PublicKey& key) { return SignerId::from(member_id_of(key).view()); }

// ── The three bodies: write and read side by side, in the order of protocol/mssl.asn1. ──

template <class Body>
struct Syntax;

template <>
struct Syntax<Head> {
    static constexpr std::string_view kName = "head";
    static constexpr std::string_view kDomain = "mssl/1 head";
    static constexpr const oid::Oid& kOid = oid::kHead;

    static void write(DerWriter& w, const Head& h) {
        w.octets(h.object.view());
        w.integer(h.length);
        w.integer(h.block_bytes);
        w.integer(h.leaves);
        w.boolean(h.final_head);
        w.sequence([&] {
            for (const Hash& p : h.peaks) w.octets(p.view());
        });
    }
    static Head read(DerReader& r) {
        Head h;
        h.object = r.fixed<ObjectId>();
        h.length = r.integer();
        h.block_bytes = static_cast<std::uint32_t>(std::min<std::uint64_t>(r.integer(), UINT32_MAX));
        h.leaves = r.integer();
        h.final_head = r.boolean();
        r.sequence([&] {
            while (r.more() && h.peaks.size() < kMaxPeaks) h.peaks.push_back(r.fixed<Hash>());
        });
        return h;
    }
};

template <>
struct Syntax<Manifest> {
    static constexpr std::string_view kName = "manifest";
    static constexpr std::string_view kDomain = "mssl/1 manifest";
    static constexpr const oid::Oid& kOid = oid::kManifest;

    static void write(DerWriter& w, const Manifest& m) {
        w.octets(m.object.view());
        w.ia5(m.url);
        w.sequence([&] {
            w.octets(m.validator.etag);
            w.integer(static_cast<std::uint64_t>(m.validator.last_modified));
        });
        w.sequence([&] {
            for (const HeaderField& f : m.fields) {
                w.sequence([&] {
                    w.ia5(f.name);
                    w.octets(f.value);
                });
            }
        });
        w.integer(m.length);
        w.integer(m.block_bytes);
        w.enumerated(static_cast<std::uint8_t>(m.hash));
        w.enumerated(static_cast<std::uint8_t>(m.access));
        w.enumerated(static_cast<std::uint8_t>(m.exchange));
        w.integer(m.price);
        w.time(m.not_before.unix_seconds);
        w.time(m.not_after.unix_seconds);
    }
    static Manifest read(DerReader& r) {
        Manifest m;
        m.object = r.fixed<ObjectId>();
        m.url = r.ia5(Manifest::kMaxUrlBytes);
        r.sequence([&] {
            m.validator.etag = r.octet_text(Manifest::kMaxEtagBytes);
            m.validator.last_modified =
                static_cast<std::int64_t>(std::min<std::uint64_t>(r.integer(), INT64_MAX));
        });
        r.sequence([&] {
            while (r.more() && m.fields.size() < Manifest::kMaxFields) {
                r.sequence([&] {
                    HeaderField f;
                    f.name = r.ia5(Manifest::kMaxFieldNameBytes);
                    f.value = r.octet_text(Manifest::kMaxFieldBytes);
                    m.fields.push_back(std::move(f));
                });
            }
            if (r.more()) r.reject(Errc::too_large, "number of header fields");
        });
        m.length = r.integer();
        m.block_bytes = static_cast<std::uint32_t>(std::min<std::uint64_t>(r.integer(), UINT32_MAX));
        m.hash = static_cast<HashKind>(r.enumerated(static_cast<std::uint8_t>(HashKind::sha256)));
        if (m.hash != HashKind::sha256) r.reject(Errc::unsupported, "hash");
        m.access = static_cast<Access>(r.enumerated(static_cast<std::uint8_t>(Access::restricted)));
        m.exchange = static_cast<Exchange>(r.enumerated(static_cast<std::uint8_t>(Exchange::purchase)));
        m.price = r.integer();
        m.not_before.unix_seconds = r.time();
        m.not_after.unix_seconds = r.time();
        return m;
    }
};

template <>
struct Syntax<Ticket> {
    static constexpr std::string_view kName = "ticket";
    static constexpr std::string_view kDomain = "mssl/1 ticket";
    static constexpr const oid::Oid& kOid = oid::kTicket;

    static void write(DerWriter& w, const Ticket& t) {
        w.octets(t.grant.view());
        w.octets(t.member.view());
        w.octets(t.object.view());
        w.enumerated(static_cast<std::uint8_t>(t.exchange));
        w.integer(t.price);
        w.time(t.not_before.unix_seconds);
        w.time(t.not_after.unix_seconds);
    }
    static Ticket read(DerReader& r) {
        Ticket t;
        t.grant = r.fixed<GrantId>();
        t.member = r.fixed<MemberId>();
        t.object = r.fixed<ObjectId>();
        t.exchange = static_cast<Exchange>(r.enumerated(static_cast<std::uint8_t>(Exchange::purchase)));
        t.price = r.integer();
        t.not_before.unix_seconds = r.time();
        t.not_after.unix_seconds = r.time();
        return t;
    }
};

// ── What they have in common: Signed of protocol/mssl.asn1. ──

template <class Body>
Bytes encode_body(const Body& body) {
    DerWriter w;
    w.sequence([&] { Syntax<Body>::write(w, body); });
    return w.take();
}

Bytes encode_signed(View type, View body, const SignerId& signer, const Signature& signature) {
    DerWriter w;
    w.sequence([&] {
        w.oid(type);
        w.raw(body);
        w.octets(signer.view());
        w.octets(signature.view());
    });
    return w.take();
}

// A signature of one type says nothing about another, nor under another signer's name.
Bytes signed_message(std::string_view domain, const SignerId& signer, View body) {
    Bytes out;
    out.reserve(domain.size() + 1 + SignerId::size + body.size());
    out.insert(out.end(), domain.begin(), domain.end());
    out.push_back(0);
    out.insert(out.end(), signer.bytes.begin(), signer.bytes.end());
    out.insert(out.end(), body.begin(), body.end());
    return out;
}

template <class Body>
Result<Signed<Body>> sign(const Body& body, const KeyPair& key) {
    if (Status s = body.check(); !s) return s.error();
    Signed<Body> out{body, signer_id_of(key.public_key()), {}};
    const Bytes der = encode_body(body);
    const Result<Signature> signature = key.sign(signed_message(Syntax<Body>::kDomain, out.signer, der));
    if (!signature) return signature.error();
    out.der = encode_signed(Syntax<Body>::kOid, der, out.signer, *signature);
    if (out.der.size() > kMaxObjectDer) return fail(Errc::too_large, std::string(Syntax<Body>::kName));
    return out;
}

template <class Body>
struct Parsed {
    Signed<Body> object;
    View body_der;
    Signature signature;
};

template <class Body>
Result<Parsed<Body>> read(View der) {
    constexpr std::string_view name = Syntax<Body>::kName;
    if (der.size() > kMaxObjectDer) return fail(Errc::too_large, std::string(name));
    Parsed<Body> out;
    DerReader outer(der);
    outer.sequence([&] {
        const View type = outer.oid();
        if (!outer.failed() && !std::ranges::equal(type, Syntax<Body>::kOid))
            outer.reject(Errc::unsupported, "an object of another type or version");
        out.body_der = outer.whole(DerTag::sequence);
        out.object.signer = outer.fixed<SignerId>();
        out.signature = outer.fixed<Signature>();
    });
    if (Status s = outer.finish(name); !s) return s.error();
    DerReader inner(out.body_der);
    inner.sequence([&] { out.object.body = Syntax<Body>::read(inner); });
    if (Status s = inner.finish(name); !s) return s.error();
    if (Status s = out.object.body.check(); !s) return s.error();
    const Bytes again =
        encode_signed(Syntax<Body>::kOid, encode_body(out.object.body), out.object.signer, out.signature);
    if (!std::ranges::equal(again, der)) return fail(Errc::malformed, std::string(name) + ": not DER");
    out.object.der.assign(der.begin(), der.end());
    return out;
}

template <class Body>
Result<Signed<Body>> inspect(View der) {
    Result<Parsed<Body>> p = read<Body>(der);
    if (!p) return std::move(p).error();
    return std::move(p->object);
}

template <class Body>
Result<Signed<Body>> parse(View der, const PublicKey& signer) {
    Result<Parsed<Body>> p = read<Body>(der);
    if (!p) return std::move(p).error();
    if (p->object.signer != signer_id_of(signer))
        return fail(Errc::wrong_realm, std::string(Syntax<Body>::kName) + " of another signer");
    if (!verify_signature(signer, signed_message(Syntax<Body>::kDomain, p->object.signer, p->body_der),
                          p->signature))
        return fail(Errc::bad_signature, std::string(Syntax<Body>::kName));
    return std::move(p->object);
}

// ── Syntax of what is inside ──

Status check_sizes(std::uint64_t length, std::uint32_t block_bytes) {
    if (length > kMaxObjectBytes) return fail(Errc::too_large, "length of the object");
    // Smaller blocks than these would let an index grow beyond what stores and bitmaps are bounded for.
    if (block_bytes != Geometry::for_length(length).block_bytes())
        return fail(Errc::malformed, "block size is not the one of this length");
    return {};
}

Status check_validity(WallTime not_before, WallTime not_after) {
    if (not_before.unix_seconds < 0 || not_after.unix_seconds > kMaxDerTime || not_before >= not_after)
        return fail(Errc::malformed, "validity");
    return {};
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
bool is_visible(char c) { return c > 0x20 && c < 0x7f; }

// RFC 9110 §5.6.2
bool is_token(std::string_view s) {
    return !s.empty() && std::ranges::all_of(s, [](char c) {
        return is_digit(c) || is_lower(c) || is_upper(c) ||
               std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
    });
}

// RFC 9110 §8.8.3, strong: DQUOTE *etagc DQUOTE
bool is_strong_etag(std::string_view s) {
    if (s.size() < 2 || s.front() != '"' || s.back() != '"') return false;
    return std::ranges::all_of(s.substr(1, s.size() - 2), [](char c) {
        return (is_visible(c) && c != '"') || static_cast<unsigned char>(c) >= 0x80;
    });
}

// A reg-name or IPv4 address in lower case, or an IPv6 address in brackets.
bool is_host(std::string_view s) {
    if (s.size() > 2 && s.front() == '[' && s.back() == ']')
        return std::ranges::all_of(s.substr(1, s.size() - 2), [](char c) {
            return is_digit(c) || (c >= 'a' && c <= 'f') || c == ':' || c == '.';
        });
    return !s.empty() && std::ranges::all_of(s, [](char c) {
        return is_digit(c) || is_lower(c) || c == '.' || c == '-' || c == '_';
    });
}

// 1 … 65535 without leading zeros.
bool is_port(std::string_view s) {
    if (s.empty() || s.size() > 5 || s.front() == '0' || !std::ranges::all_of(s, is_digit)) return false;
    unsigned v = 0;
    std::from_chars(s.data(), s.data() + s.size(), v);
    return v <= 65535;
}

// scheme://host:port/path?query. One spelling for one resource: it is part of the object's key.
Status check_url(std::string_view url) {
    if (url.size() > Manifest::kMaxUrlBytes) return fail(Errc::too_large, "URL");
    std::string_view rest = url;
    if (rest.starts_with("http://"))
        rest.remove_prefix(7);
    else if (rest.starts_with("https://"))
        rest.remove_prefix(8);
    else
        return fail(Errc::malformed, "URL: scheme");
    const std::size_t slash = rest.find('/');
    if (slash == std::string_view::npos) return fail(Errc::malformed, "URL: no path");
    const std::string_view authority = rest.substr(0, slash);
    const std::string_view target = rest.substr(slash);
    const std::size_t colon = authority.rfind(':');
    if (colon == std::string_view::npos || !is_host(authority.substr(0, colon)) ||
        !is_port(authority.substr(colon + 1)))
        return fail(Errc::malformed, "URL: lower-case host and explicit port");
    if (!std::ranges::all_of(target, [](char c) { return is_visible(c) && c != '#'; }))
        return fail(Errc::malformed, "URL: a character that no request target has");
    return {};
}

Status check_fields(const std::vector<HeaderField>& fields) {
    if (fields.size() > Manifest::kMaxFields) return fail(Errc::too_large, "number of header fields");
    std::size_t total = 0;
    for (const HeaderField& f : fields) {
        total += f.name.size() + f.value.size();
        if (total > Manifest::kMaxFieldBytes) return fail(Errc::too_large, "header fields");
        if (Status status = f.check(); !status) return status;
    }
    return {};
}

}  // namespace

Status HeaderField::check() const {
    if (name.size() > Manifest::kMaxFieldNameBytes) return fail(Errc::too_large, "name of a header field");
    if (!is_token(name)) return fail(Errc::malformed, "name of a header field");
    if (value.find_first_of(std::string_view("\r\n\0", 3)) != std::string::npos)
        return fail(Errc::malformed, "value of a header field");
    return {};
}

std::uint64_t Head::blocks() const {
    const std::uint64_t per_block = std::max<std::uint64_t>(1, block_bytes / kLeafBytes);
    return leaves / per_block + (leaves % per_block != 0 ? 1 : 0);
}

Status Head::check() const {
    if (Status s = check_sizes(length, block_bytes); !s) return s;
    const Geometry g = geometry();
    if (final_head ? leaves != g.leaf_count()
                   : leaves == 0 || leaves >= g.leaf_count() || leaves % g.leaves_per_block() != 0)
        return fail(Errc::malformed, "number of leaves that a head covers");
    if (peaks.size() != peak_positions(blocks()).size()) return fail(Errc::malformed, "number of peaks");
    return {};
}

Status Manifest::check() const {
    if (Status s = check_url(url); !s) return s;
    if (validator.etag.size() > kMaxEtagBytes) return fail(Errc::too_large, "ETag");
    if (validator.etag.empty() ? validator.last_modified == 0 : !is_strong_etag(validator.etag))
        return fail(Errc::malformed, "no strong validator");
    if (validator.last_modified < 0 || validator.last_modified > kMaxDerTime)
        return fail(Errc::malformed, "Last-Modified");
    if (Status s = check_fields(fields); !s) return s;
    if (Status s = check_sizes(length, block_bytes); !s) return s;
    if (hash != HashKind::sha256) return fail(Errc::unsupported, "hash");
    if (access > Access::restricted || exchange > Exchange::purchase)
        return fail(Errc::unsupported, "access or exchange");
    return check_validity(not_before, not_after);
}

Status Ticket::check() const {
    if (exchange > Exchange::purchase) return fail(Errc::unsupported, "exchange");
    return check_validity(not_before, not_after);
}

Result<SignedHead> sign_head(const Head& body, const KeyPair& signer) { return sign(body, signer); }
Result<SignedManifest> sign_manifest(const Manifest& body, const KeyPair& signer) {
    return sign(body, signer);
}
Result<SignedTicket> sign_ticket(const Ticket& body, const KeyPair& signer) { return sign(body, signer); }

Result<SignedHead> parse_head(View der, const PublicKey& signer) { return parse<Head>(der, signer); }
Result<SignedManifest> parse_manifest(View der, const PublicKey& signer) {
    return parse<Manifest>(der, signer);
}
Result<SignedTicket> parse_ticket(View der, const PublicKey& signer) { return parse<Ticket>(der, signer); }

Result<SignedHead> inspect_head(View der) { return inspect<Head>(der); }
Result<SignedManifest> inspect_manifest(View der) { return inspect<Manifest>(der); }
Result<SignedTicket> inspect_ticket(View der) { return inspect<Ticket>(der); }

Status check_ticket(const Ticket& ticket, const MemberId& holder, const ObjectId& object, WallTime now) {
    if (ticket.member != holder) return fail(Errc::wrong_holder, "ticket of another member");
    if (ticket.object != object) return fail(Errc::wrong_object, "ticket for another object");
    if (before(ticket.not_before, now)) return fail(Errc::expired, "ticket is not valid yet");
    if (past(ticket.not_after, now)) return fail(Errc::expired, "ticket has expired");
    return {};
}

}  // namespace mssl
