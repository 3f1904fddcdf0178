// The realm at the server (DESIGN 5): created at first start in the state directory, keys 0600; the signer is renewed long before it
// ends. Thread rules: immutable snapshot behind a shared_ptr; CurrentRealm is where a newer one appears; every method from any thread.
#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "protocol/identity.h"
#include "protocol/objects.h"

namespace mssl::proxy {

class Realm {
public:
    // Reads or creates realm.key, realm.pem, signer.key, signer.pem (fsync, rename; directory 0700). An existing realm whose key is
    // absent (kept offline) works until its signer ends. Errors: io, malformed, bad_certificate.
    static Result<std::shared_ptr<Realm>> open(const std::string& state_directory, WallTime now);

    // The same realm with another signer, or null when this one is to go on: a new one is made when less than half of its time is left,
    // one that the operator put there is taken. Blocking. Errors: as of open; no_such_object when it is time and the realm's key is
    // kept offline.
    Result<std::shared_ptr<const Realm>> renewed(const std::string& state_directory, WallTime now) const;

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

// The realm as it is now, for all who sign: copies speak of the same one.
class CurrentRealm {
public:
    CurrentRealm(std::shared_ptr<const Realm> first) : state_(std::make_shared<State>()) { set(std::move(first)); }
    CurrentRealm(std::shared_ptr<Realm> first) : CurrentRealm(std::shared_ptr<const Realm>(std::move(first))) {}
    std::shared_ptr<const Realm> get() const {
        const std::lock_guard lock(state_->mutex);
        return state_->realm;
    }
    void set(std::shared_ptr<const Realm> realm) {
        const std::lock_guard lock(state_->mutex);
        std::swap(state_->realm, realm);
    }

private:
    struct State {
        std::mutex mutex;
        std::shared_ptr<const Realm> realm;
    };
    std::shared_ptr<State> state_;
};

}  // namespace mssl::proxy
