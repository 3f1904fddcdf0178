// The realm at the server (DESIGN 5): created at first start in the state directory, keys 0600; the signer is renewed long before it
// ends. Thread rules: immutable snapshot behind a shared_ptr; renew() swaps it; every method from any thread.
#pragma once

#include <memory>
#include <string>

#include "protocol/identity.h"
#include "protocol/objects.h"

namespace mssl::proxy {

class Realm {
public:
    // Reads or creates realm.key, realm.pem, signer.key, signer.pem (fsync, rename; directory 0700). An existing realm whose key is
    // absent (kept offline) works until its signer ends. Errors: io, malformed, bad_certificate.
    static Result<std::shared_ptr<Realm>> open(const std::string& state_directory, WallTime now);

    const RealmTrust& trust() const { return trust_; }
    const Certificate& signer() const { return signer_; }
    const KeyPair& signer_key() const { return *signer_key_; }
    SignerId signer_id() const;
    // A membership certificate of days for this key.
    Result<Certificate> enrol(const PublicKey& key, WallTime now, int days) const;

private:
    Realm(RealmTrust trust, Certificate signer, std::shared_ptr<const KeyPair> key)
        : trust_(std::move(trust)), signer_(std::move(signer)), signer_key_(std::move(key)) {}
    RealmTrust trust_;
    Certificate signer_;
    std::shared_ptr<const KeyPair> signer_key_;
};

}  // namespace mssl::proxy
