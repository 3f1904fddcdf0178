#include "proxy/server/realm.h"

#include <openssl/crypto.h>

#include "proxy/core/files.h"

namespace mssl::proxy {
namespace {

constexpr std::size_t kMaxPemBytes = 16 * 1024;  // ours are below 1 KiB
// A signer lives as long as make_signer allows and is replaced at half of it: memberships (days) and tickets (minutes) that it
// issued end well before it does.
constexpr int kSignerDays = 90;
constexpr std::int64_t kRenewBeforeSeconds = 45 * 86400;

// Secret text, cleared when it goes.
struct SecretText {
    std::string text;
    explicit SecretText(std::string t) : text(std::move(t)) {}
    SecretText(const SecretText&) = delete;
    SecretText& operator=(const SecretText&) = delete;
    ~SecretText() { OPENSSL_cleanse(text.data(), text.size()); }
};

Result<KeyPair> read_key(const std::string& path) {
    Result<std::string> pem = read_text_file(path, kMaxPemBytes);
    if (!pem) return pem.error();
    const SecretText secret(std::move(pem).value());
    Result<KeyPair> key = KeyPair::from_pem(secret.text);
    if (!key) return fail(Errc::malformed, path + ": " + key.error().detail);
    return key;
}

Status write_key(const std::string& path, const KeyPair& key) {
    Result<std::string> pem = key.to_pem();
    if (!pem) return pem.error();
    const SecretText secret(std::move(pem).value());
    return write_file_durably(path, as_view(secret.text), 0600);
}

Result<Certificate> read_certificate(const std::string& path) {
    Result<std::string> pem = read_text_file(path, kMaxPemBytes);
    if (!pem) return pem.error();
    Result<Certificate> certificate = Certificate::from_pem(*pem);
    if (!certificate) return fail(Errc::malformed, path + ": " + certificate.error().detail);
    return certificate;
}

Status write_certificate(const std::string& path, const Certificate& certificate) {
    return write_file_durably(path, as_view(certificate.to_pem()), 0644);
}

// Key first: a certificate without its key cannot be repaired, a key without a certificate is simply used for a new one.
Result<Certificate> create_realm(const std::string& directory, WallTime now) {
    const std::string key_path = directory + "/realm.key";
    Result<KeyPair> key = read_key(key_path);
    if (!key && key.code() != Errc::no_such_object) return key.error();
    if (!key) {
        key = KeyPair::generate();
        if (!key) return key.error();
        if (Status s = write_key(key_path, *key); !s) return s.error();
    }
    Result<Certificate> realm = RealmAuthority::make_realm(*key, "mSSL realm", now);
    if (!realm) return realm;
    if (Status s = write_certificate(directory + "/realm.pem", *realm); !s) return s.error();
    return realm;
}

struct Signer {
    Certificate certificate;
    std::shared_ptr<const KeyPair> key;
};

Result<Signer> read_signer(const std::string& directory, const RealmTrust& trust, WallTime now) {
    Result<Certificate> certificate = read_certificate(directory + "/signer.pem");
    if (!certificate) return certificate.error();
    Result<KeyPair> key = read_key(directory + "/signer.key");
    if (!key) return key.error();
    if (key->public_key() != certificate->public_key())
        return fail(Errc::bad_certificate, directory + "/signer.pem does not belong to signer.key");
    if (Status s = trust.check_signer(*certificate, now); !s) return s.error();
    return Signer{*std::move(certificate), std::make_shared<const KeyPair>(*std::move(key))};
}

Result<Signer> create_signer(const std::string& directory, const Certificate& realm, const KeyPair& realm_key, WallTime now) {
    Result<KeyPair> key = KeyPair::generate();
    if (!key) return key.error();
    Result<Certificate> certificate = RealmAuthority::make_signer(realm_key, realm, key->public_key(), now, kSignerDays);
    if (!certificate) return certificate.error();
    // A crash between the two leaves a pair that does not match; read_signer refuses it and a new one is made.
    if (Status s = write_key(directory + "/signer.key", *key); !s) return s.error();
    if (Status s = write_certificate(directory + "/signer.pem", *certificate); !s) return s.error();
    return Signer{*std::move(certificate), std::make_shared<const KeyPair>(*std::move(key))};
}

bool is_ending(const Certificate& signer, WallTime now) {
    return signer.not_after().unix_seconds - now.unix_seconds < kRenewBeforeSeconds;
}

// The signer to go on with: the one that is there, or a new one when its time has come. Without the realm's key the one that is
// there, as long as it is good.
Result<Signer> current_signer(const std::string& directory, const RealmTrust& trust, WallTime now) {
    Result<Signer> signer = read_signer(directory, trust, now);
    if (signer && !is_ending(signer->certificate, now)) return signer;
    Result<KeyPair> realm_key = read_key(directory + "/realm.key");
    if (!realm_key) return realm_key.code() == Errc::no_such_object ? std::move(signer) : realm_key.error();
    if (realm_key->public_key() != trust.realm.public_key())
        return fail(Errc::bad_certificate, directory + "/realm.key does not belong to realm.pem");
    return create_signer(directory, trust.realm, *realm_key, now);
}

}  // namespace

Result<std::shared_ptr<Realm>> Realm::open(const std::string& state_directory, WallTime now) {
    if (Status s = make_directories(state_directory, 0700); !s) return s.error();
    Result<Certificate> realm = read_certificate(state_directory + "/realm.pem");
    if (!realm && realm.code() == Errc::no_such_object) realm = create_realm(state_directory, now);
    if (!realm) return realm.error();
    RealmTrust trust{*realm};
    Result<Signer> signer = current_signer(state_directory, trust, now);
    if (!signer) return signer.error();
    return std::shared_ptr<Realm>(new Realm(std::move(trust), signer->certificate, signer->key));
}

Result<std::shared_ptr<const Realm>> Realm::renewed(const std::string& state_directory, WallTime now) const {
    Result<Signer> signer = current_signer(state_directory, trust_, now);
    if (!signer) return signer.error();
    if (signer->certificate.public_key() != signer_.public_key())
        return std::shared_ptr<const Realm>(new Realm(trust_, signer->certificate, signer->key));
    if (is_ending(signer_, now))
        return fail(Errc::no_such_object, state_directory + "/realm.key is not there to sign a new signer");
    return std::shared_ptr<const Realm>();
}

SignerId Realm::signer_id() const { return Hash::from(member_id_of(signer_.public_key()).view()); }

Result<Certificate> Realm::enrol(const PublicKey& key, WallTime now, int days) const {
    return RealmAuthority::make_member(*signer_key_, signer_, key, now, days);
}

}  // namespace mssl::proxy
