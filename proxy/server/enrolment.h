// Who becomes a member (DESIGN 5): anybody, or who shows a token of the operator's file. The server takes the key and the proof of
// possession from the request, nothing else.
//
// Thread rules: any thread; enrol() may write a file when tokens are in use: call it in a worker.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "protocol/frame.h"
#include "proxy/core/config.h"
#include "proxy/server/realm.h"

namespace mssl::proxy {

class Enrolment {
public:
    // With enrol = "token": token_file has one token a line (empty lines and lines that begin with # are skipped). Each is good
    // for one member: the key that used it may come again with it, to renew or because the answer was lost, until the operator
    // takes it out of the file. state/used-tokens holds the SHA-256 of each used one and who used it, and is durable before a
    // certificate goes out.
    // Errors: io, malformed (a token longer than kMaxTokenBytes).
    static Result<std::shared_ptr<Enrolment>> open(const ServerConfig& config, CurrentRealm realm);
    // Takes over enrol, token_file and member_days; on an error everything stays as it is.
    Status reload(const ServerConfig& config);

    // The membership certificate for this request's key. exporter: 32 bytes of kEnrolExporter of this connection.
    // Errors: denied (no, unknown or used token), bad_signature (proof of possession), io, crypto.
    Result<Certificate> enrol(const Enrol& request, View exporter, WallTime now) { return enrol(*realm(), request, exporter, now); }
    // By this one's signer.
    Result<Certificate> enrol(const Realm& realm, const Enrol& request, View exporter, WallTime now);

    std::shared_ptr<const Realm> realm() const { return realm_.get(); }

    // A line of state/used-tokens.
    struct Used {
        Hash token;  // SHA-256
        Hash key;    // the member's id; zeros where an older version did not note it
    };

private:
    Enrolment(CurrentRealm realm, std::string used_path)
        : realm_(std::move(realm)), used_path_(std::move(used_path)) {}
    Status use_token(std::string_view token, const PublicKey& key);

    CurrentRealm realm_;
    std::string used_path_;
    std::mutex mutex_;  // of what follows
    bool tokens_needed_ = false;
    int days_ = 0;
    std::vector<Hash> tokens_;  // SHA-256 of each of the file
    std::vector<Used> used_;
};

}  // namespace mssl::proxy
