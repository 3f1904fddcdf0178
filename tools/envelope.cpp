#include "tools/envelope.h"

#include <algorithm>
#include <array>
#include <optional>

#include "protocol/bytes.h"
#include "protocol/oid.h"

namespace mssl::tools {
namespace {

constexpr std::string_view kBegin = "-----BEGIN ";
constexpr std::string_view kEnd = "-----END ";
constexpr std::string_view kDashes = "-----";
constexpr std::array kKinds = {Kind::manifest, Kind::head, Kind::ticket, Kind::certificate};

// Where the type's OID stands: SEQUENCE, its length in one to four octets, OBJECT IDENTIFIER, its length.
constexpr std::size_t kFarthestOid = 1 + 4 + 2;

bool has_oid(View der, const oid::Oid& id) {
    const View front = der.first(std::min(der.size(), kFarthestOid + id.size()));
    return std::search(front.begin(), front.end(), id.begin(), id.end()) != front.end();
}

std::optional<Kind> kind_of(View der) {
    if (der.empty() || der[0] != 0x30) return std::nullopt;  // SEQUENCE
    if (has_oid(der, oid::kManifest)) return Kind::manifest;
    if (has_oid(der, oid::kHead)) return Kind::head;
    if (has_oid(der, oid::kTicket)) return Kind::ticket;
    return Kind::certificate;
}

Result<Enveloped> open_armour(std::string_view label, std::string_view body) {
    const auto kind =
        std::find_if(kKinds.begin(), kKinds.end(), [&](Kind k) { return kind_label(k) == label; });
    if (kind == kKinds.end()) {
        const bool secret = label.find("PRIVATE KEY") != std::string_view::npos;
        return fail(Errc::unsupported, secret ? "a private key, which is not shown"
                                              : "armour with a label that is none of mSSL's: " + std::string(label));
    }
    std::string base64;
    for (const char c : body)
        if (c != '\n' && c != '\r' && c != ' ' && c != '\t') base64 += c;
    Result<Bytes> der = from_base64(base64);
    if (!der) return fail(Errc::malformed, "the armour of a " + std::string(label) + " is not base64");
    if (kind_of(*der) != *kind)
        return fail(Errc::malformed, "the armour says " + std::string(label) + ", its content is something else");
    return Enveloped{*kind, std::move(*der)};
}

// A server keeps in its state: version (u8), signer's certificate (var16), signed object (var24).
constexpr std::uint8_t kCatalogVersion = 1;

std::optional<std::vector<Enveloped>> open_catalog_file(View file) {
    if (file.empty() || file[0] != kCatalogVersion) return std::nullopt;
    Reader reader(file.subspan(1));
    const View signer = reader.var16(kMaxEnvelopeBytes);
    const View object = reader.var24(kMaxEnvelopeBytes);
    const auto kind = kind_of(object);
    if (!reader.finish("catalog file") || !kind || kind_of(signer) != Kind::certificate) return std::nullopt;
    return std::vector<Enveloped>{{Kind::certificate, Bytes(signer.begin(), signer.end())},
                                  {*kind, Bytes(object.begin(), object.end())}};
}

}  // namespace

std::string_view kind_name(Kind kind) {
    switch (kind) {
    case Kind::manifest: return "manifest";
    case Kind::head: return "head";
    case Kind::ticket: return "ticket";
    case Kind::certificate: return "certificate";
    }
    return "";
}

std::string_view kind_label(Kind kind) {
    switch (kind) {
    case Kind::manifest: return "MSSL MANIFEST";
    case Kind::head: return "MSSL HEAD";
    case Kind::ticket: return "MSSL TICKET";
    case Kind::certificate: return "CERTIFICATE";
    }
    return "";
}

Result<std::vector<Enveloped>> open_envelope(View file) {
    std::string_view text(reinterpret_cast<const char*>(file.data()), file.size());
    std::vector<Enveloped> out;
    // DER begins with SEQUENCE, which is the digit 0 of ASCII: a text that begins with armour never does.
    if (const auto kind = kind_of(file); kind && text.find(kBegin) == std::string_view::npos) {
        out.push_back({*kind, Bytes(file.begin(), file.end())});
        return out;
    }
    if (auto pair = open_catalog_file(file)) return std::move(*pair);
    for (;;) {
        const std::size_t begin = text.find(kBegin);
        if (begin == std::string_view::npos) break;
        text.remove_prefix(begin + kBegin.size());
        const std::size_t label_end = text.find(kDashes);
        const std::string_view label = text.substr(0, std::min(label_end, text.find('\n')));
        if (label_end == std::string_view::npos || label.size() != label_end)
            return fail(Errc::malformed, "armour whose first line does not end");
        text.remove_prefix(label_end + kDashes.size());
        const std::string last = std::string(kEnd) + std::string(label) + std::string(kDashes);
        const std::size_t end = text.find(last);
        if (end == std::string_view::npos)
            return fail(Errc::malformed, "the armour of a " + std::string(label) + " does not end");
        Result<Enveloped> one = open_armour(label, text.substr(0, end));
        if (!one) return one.error();
        out.push_back(std::move(*one));
        text.remove_prefix(end + last.size());
    }
    if (out.empty()) return fail(Errc::malformed, "neither DER nor armour of an mSSL object");
    return out;
}

}  // namespace mssl::tools
