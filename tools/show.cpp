// mssl show: an object of mSSL for people, or as JSON for programs.
#include <cstdio>
#include <ctime>

#include "tools/describe.h"
#include "tools/files.h"
#include "tools/text.h"
#include "tools/verbs.h"

namespace mssl::tools {
namespace {

constexpr int kIndent = 2;

std::string in_words(std::string key) {
    for (char& c : key)
        if (c == '_') c = ' ';
    return key;
}

void print_text(const Json& object) {
    for (const auto& [key, value] : object.members()) {
        const std::string name = in_words(key);
        if (value.items().empty() && value.plain() == "[]") {
            std::printf("%-14s none\n", name.c_str());
        } else if (!value.items().empty()) {
            const char* label = name.c_str();
            for (const Json& item : value.items()) {
                std::printf("%-14s %s\n", label, printable(item.plain()).c_str());
                label = "";
            }
        } else {
            std::printf("%-14s %s\n", name.c_str(), printable(value.plain()).c_str());
        }
    }
}

Result<Certificate> read_certificate(const std::string& file) {
    const Result<Bytes> bytes = read_small_file(file, kMaxEnvelopeBytes);
    if (!bytes) return bytes.error();
    const Result<std::vector<Enveloped>> inside = open_envelope(*bytes);
    if (!inside) return fail(inside.code(), file + ": " + inside.error().detail);
    if (inside->size() != 1 || inside->front().kind != Kind::certificate)
        return fail(Errc::malformed, file + ": expected one certificate");
    Result<Certificate> out = Certificate::from_der(inside->front().der);
    if (!out) return fail(out.code(), file + ": " + out.error().to_string());
    return out;
}

// Whom to verify under, when that is asked for. Owns the signer's certificate.
struct Authority {
    std::optional<Certificate> realm;
    std::optional<Certificate> signer;
    WallTime now;
};

Result<Authority> read_authority(const ShowOptions& options) {
    Authority out;
    out.now = options.at.value_or(WallTime{std::time(nullptr)});
    if (options.realm.empty()) return out;
    Result<Certificate> realm = read_certificate(options.realm);
    if (!realm) return realm.error();
    out.realm = std::move(*realm);
    if (options.signer.empty()) return out;
    Result<Certificate> signer = read_certificate(options.signer);
    if (!signer) return signer.error();
    out.signer = std::move(*signer);
    return out;
}

void complain(const std::string& file, const std::string& why) {
    std::fprintf(stderr, "mssl show: %s: %s\n", printable(file).c_str(), printable(why).c_str());
}

int show_one(const Enveloped& object, const ShowOptions& options, const Authority& authority, bool first) {
    Result<Json> described = describe(object);
    if (!described) {
        complain(options.file, "not a good " + std::string(kind_name(object.kind)) + ": " + described.error().to_string());
        return kFailed;
    }
    int status = kDone;
    std::string why;
    if (authority.realm) {
        const Verifier by{RealmTrust{*authority.realm}, authority.signer ? &*authority.signer : nullptr, authority.now};
        const Status verified = verify(object, by);
        described->put("verified", verified.has_value());
        described->put("verified_for", iso_time(authority.now));
        described->put("realm_verified_under", by.trust.id().hex());
        if (!verified) {
            status = kFailed;
            why = verified.error().to_string();
            described->put("not_verified_because", why);
        }
    }
    if (options.json) {
        std::printf("%s\n", described->dump(kIndent).c_str());
    } else {
        if (!first) std::printf("\n");
        print_text(*described);
    }
    if (status != kDone) complain(options.file, "does not verify: " + why);
    return status;
}

}  // namespace

int run(const ShowOptions& options) {
    const Result<Bytes> bytes = read_small_file(options.file, kMaxEnvelopeBytes);
    if (!bytes) {
        std::fprintf(stderr, "mssl show: %s\n", printable(bytes.error().detail).c_str());
        return kFailed;
    }
    const Result<std::vector<Enveloped>> inside = open_envelope(*bytes);
    if (!inside) {
        complain(options.file, inside.error().detail);
        return kFailed;
    }
    const Result<Authority> authority = read_authority(options);
    if (!authority) {
        std::fprintf(stderr, "mssl show: %s\n", printable(authority.error().detail).c_str());
        return kFailed;
    }
    int status = kDone;
    // Without --signer a certificate that stands before what it signed does: under the realm it is a signer or nothing.
    Authority with = *authority;
    for (const Enveloped& object : *inside) {
        if (options.signer.empty() && object.kind == Kind::certificate)
            if (Result<Certificate> certificate = Certificate::from_der(object.der); certificate)
                with.signer = std::move(*certificate);
        const int one = show_one(object, options, with, &object == &inside->front());
        if (one != kDone) status = one;
    }
    return status;
}

}  // namespace mssl::tools
