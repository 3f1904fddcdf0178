// What this host's interception CA vouches for, ready for handshakes: a certificate and key a site, made when it is first asked for,
// made again before it ends, and in memory alone.
//
// Thread rules: any thread.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "protocol/interception_ca.h"

namespace mssl::proxy {

class LeafCache {
public:
    // Reads its kKeyFile: blocking, at start and reload. Errors: no_such_object, io, malformed, bad_certificate.
    static Result<std::shared_ptr<LeafCache>> open(const std::string& directory);
    explicit LeafCache(InterceptionCa ca) : ca_(std::move(ca)) {}

    const InterceptionCa& ca() const { return ca_; }
    // For a TLS server that is host (make_leaf_context()). There are at most InterceptionCa::kMaxHosts of them.
    // Errors: denied (the CA is not for it), expired (the CA), crypto.
    Result<std::shared_ptr<SSL_CTX>> context_for(const std::string& host, WallTime now);
    // A line in the log, at most one an hour, when the CA has ended or will within kWarnDays.
    void warn_of_its_end(WallTime now);
    static constexpr int kWarnDays = 30;

private:
    struct Entry {
        std::shared_ptr<SSL_CTX> context;
        WallTime renew_at;
    };
    const InterceptionCa ca_;
    std::mutex mutex_;
    std::map<std::string, Entry> entries_;
    std::optional<WallTime> warned_;
};

}  // namespace mssl::proxy
