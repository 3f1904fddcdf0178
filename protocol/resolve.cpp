#include "protocol/resolve.h"

namespace mssl {
namespace {

constexpr std::uint8_t kResolvedVersion = 1;
constexpr std::string_view kResolveDomain = "mssl/1 resolve";
constexpr std::size_t kMaxTicketDer = 4096;  // ours are below 300 bytes
constexpr std::size_t kMaxResolvedFields = 128;
// Two certificates and a signature in base64, with room.
constexpr std::size_t kMaxFieldValue = 2 * (Certificate::kMaxCertificateBytes * 4 / 3 + 4) + 256;

Bytes possession_message(std::string_view domain, View exporter) {
    Writer w;
    w.raw(as_view(domain));
    w.u8(0);
    w.raw(exporter);
    return w.take();
}

std::string_view trim(std::string_view s) {
    while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
    while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
    return s;
}

Result<Certificate> certificate_of(std::string_view base64) {
    Result<Bytes> der = from_base64(base64);
    if (!der) return std::move(der).error();
    return Certificate::from_der(*der);
}

}  // namespace

Bytes encode_resolved(const Resolved& resolved) {
    Writer w;
    w.u8(kResolvedVersion);
    w.var24(resolved.manifest_der);
    w.var16(resolved.ticket_der);
    w.var24(resolved.head_der);
    w.var16(resolved.signer_der);
    w.u16(static_cast<std::uint16_t>(resolved.fields.size()));
    for (const HeaderField& f : resolved.fields) {
        w.var8(as_view(f.name));
        w.var16(as_view(f.value));
    }
    return w.take();
}

Result<Resolved> decode_resolved(View body) {
    if (body.size() > kMaxResolvedBytes) return fail(Errc::too_large, "resolved answer");
    Reader r(body);
    const std::uint8_t version = r.u8();
    if (!r.failed() && version != kResolvedVersion) return fail(Errc::unsupported, "version of a resolved answer");
    Resolved out;
    const auto copy = [](View v) { return Bytes(v.begin(), v.end()); };
    out.manifest_der = copy(r.var24(kMaxObjectDer));
    out.ticket_der = copy(r.var16(kMaxTicketDer));
    out.head_der = copy(r.var24(kMaxObjectDer));
    out.signer_der = copy(r.var16(Certificate::kMaxCertificateBytes));
    const std::size_t n = r.u16();
    if (n > kMaxResolvedFields) r.reject(Errc::too_large, "fields of a resolved answer");
    for (std::size_t i = 0; i < n && !r.failed(); ++i) {
        const View name = r.var8(255);
        const View value = r.var16(Manifest::kMaxFieldBytes);
        if (r.failed()) break;
        HeaderField field{std::string(name.begin(), name.end()), std::string(value.begin(), value.end())};
        if (Status s = field.check(); !s) return s.error();
        out.fields.push_back(std::move(field));
    }
    if (Status s = r.finish("resolved answer"); !s) return s.error();
    return out;
}

Result<std::string> make_resolve_field(const KeyPair& key, const Certificate& member, const Certificate& signer,
                                       View exporter) {
    Result<Signature> proof = sign_possession(key, kResolveDomain, exporter);
    if (!proof) return std::move(proof).error();
    return "v=1; member=" + to_base64(member.to_der()) + "; signer=" + to_base64(signer.to_der()) +
           "; proof=" + to_base64(proof->view());
}

std::string short_resolve_field() { return "v=1"; }

Result<ResolveField> parse_resolve_field(std::string_view value) {
    if (value.size() > kMaxFieldValue) return fail(Errc::too_large, "MSSL-Resolve");
    ResolveField out;
    bool version = false;
    bool proof = false;
    for (bool more = true; more;) {
        const std::size_t semicolon = value.find(';');
        const std::string_view part = trim(value.substr(0, semicolon));
        more = semicolon != std::string_view::npos;
        if (more) value.remove_prefix(semicolon + 1);
        const std::size_t equals = part.find('=');
        if (equals == std::string_view::npos) return fail(Errc::malformed, "MSSL-Resolve: no '='");
        const std::string_view name = part.substr(0, equals);
        const std::string_view text = part.substr(equals + 1);
        if (name == "v" && !version) {
            if (text != "1") return fail(Errc::unsupported, "MSSL-Resolve: version");
            version = true;
        } else if ((name == "member" && !out.member) || (name == "signer" && !out.signer)) {
            Result<Certificate> c = certificate_of(text);
            if (!c) return std::move(c).error();
            (name == "member" ? out.member : out.signer) = std::move(c).value();
        } else if (name == "proof" && !proof) {
            Result<Bytes> raw = from_base64(text);
            if (!raw) return std::move(raw).error();
            if (raw->size() != Signature::size) return fail(Errc::malformed, "MSSL-Resolve: length of the proof");
            out.proof = Signature::from(*raw);
            proof = true;
        } else {
            return fail(Errc::malformed, "MSSL-Resolve: unknown or repeated parameter");
        }
    }
    if (!version) return fail(Errc::malformed, "MSSL-Resolve: no version");
    if (out.member.has_value() != out.signer.has_value() || out.member.has_value() != proof)
        return fail(Errc::malformed, "MSSL-Resolve: member, signer and proof go together");
    return out;
}

bool check_resolve_proof(const ResolveField& field, View exporter) {
    return field.member && check_possession(field.member->public_key(), kResolveDomain, exporter, field.proof);
}

Result<Signature> sign_possession(const KeyPair& key, std::string_view domain, View exporter) {
    return key.sign(possession_message(domain, exporter));
}

bool check_possession(const PublicKey& key, std::string_view domain, View exporter, const Signature& proof) {
    return verify_signature(key, possession_message(domain, exporter), proof);
}

}  // namespace mssl
