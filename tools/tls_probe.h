// TLS handshakes tried for what they agree on, as any program of this environment has them, or as a stranger would.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "protocol/key_share.h"
#include "protocol/openssl.h"
#include "tools/http.h"

namespace mssl::tools {

inline constexpr const ShareGroup* kOurGroups[] = {&kX25519, &kX25519MlKem768};
// Whether one of ours is among ids.
inline bool has_ours(const std::vector<std::uint16_t>& ids) {
    return std::ranges::any_of(kOurGroups, [&](const ShareGroup* ours) { return std::ranges::find(ids, ours->id) != ids.end(); });
}

// What a ClientHello says.
struct Offered {
    std::vector<std::uint16_t> groups;  // in order
    std::vector<std::uint16_t> shares;  // groups that it has a key share of
    std::optional<ShareTlvs> mssl;      // of a share of ours
};

// Who asks: a context with its library. Thread rules: one thread.
class Asker {
public:
    // As an unmodified program with this environment's configuration. Errors: crypto.
    static Result<Asker> as_configured();
    // As a program that reads no configuration. Errors: crypto.
    static Result<Asker> as_stranger();
    // The same with the module, without a token. module: a file, or a name to look for. Errors: crypto.
    static Result<Asker> as_no_member(const std::string& module);

    SSL_CTX* context() const { return context_.get(); }
    // Of the next handshakes. Errors: crypto where the library has none of them.
    Status take_groups(const char* list);
    Status take_version(int version);

private:
    Asker() = default;
    static Result<Asker> with(LibCtxPtr library);
    LibCtxPtr library_;  // null: the default one
    SslCtxPtr context_;
};

// What asker would say to a server, without one. Takes a token where it has some. Errors: crypto.
Result<Offered> offer_of(const Asker& asker);

struct Agreed {
    std::string version;
    std::string group;  // one of ours, or OpenSSL's name; empty: a key exchange without
    bool is_ours() const {
        return std::ranges::any_of(kOurGroups, [&](const ShareGroup* ours) { return group == ours->name; });
    }
};

// A handshake with the server at, as the name server_name, whose certificate is not looked at. Errors: unreachable, timed_out,
// crypto (the handshake failed; the alert is in the detail).
Result<Agreed> agree(const Asker& asker, const Endpoint& at, const std::string& server_name);

}  // namespace mssl::tools
