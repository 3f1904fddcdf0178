// Who is who in a realm: realm certificate, signer, membership (DESIGN 5). Ed25519 and X.509.
//
// realm certificate (CA, self-signed) ─▶ signer certificates (short-lived; sign manifests, heads, tickets)
//                                     └▶ membership certificates are issued by a signer with CA:TRUE,pathlen:0
//
// Thread rules: KeyPair and Realm are immutable after construction; share by const reference or shared_ptr.
#pragma once

#include <memory>
#include <string>

#include "protocol/openssl.h"
#include "protocol/types.h"

namespace mssl {

// An Ed25519 key pair. The private half stays inside OpenSSL, which clears it on free.
class KeyPair {
public:
    static Result<KeyPair> generate();
    // PKCS #8 PEM without encryption; the file's mode is the caller's business.
    static Result<KeyPair> from_pem(std::string_view pem);
    // Secret: the caller clears it (OPENSSL_cleanse).
    Result<std::string> to_pem() const;
    PublicKey public_key() const;
    Result<Signature> sign(View message) const;
    EVP_PKEY* get() const { return key_.get(); }

private:
    explicit KeyPair(PkeyPtr key) : key_(std::move(key)) {}
    PkeyPtr key_;
};

// RFC 8032 verification. False on any failure.
bool verify_signature(const PublicKey& key, View message, const Signature& signature);

MemberId member_id_of(const PublicKey& key);  // SHA-256(raw key)
RealmId realm_id_of(const PublicKey& realm_key);

// A parsed X.509 certificate of ours (realm, signer or membership) with what we read out of it.
class Certificate {
public:
    // DER, at most kMaxCertificateBytes, one certificate and nothing behind it; Ed25519 keys only.
    static constexpr std::size_t kMaxCertificateBytes = 2048;  // ours are below 600
    static Result<Certificate> from_der(View der);
    static Result<Certificate> from_pem(std::string_view pem);
    Bytes to_der() const;
    std::string to_pem() const;
    PublicKey public_key() const { return key_; }
    MemberId member_id() const { return member_id_of(key_); }
    WallTime not_before() const { return not_before_; }
    WallTime not_after() const { return not_after_; }
    std::string subject() const;  // RFC 2253 one line
    X509* get() const { return x509_.get(); }  // owned by this

private:
    std::shared_ptr<X509> x509_;
    PublicKey key_;
    WallTime not_before_, not_after_;
};

// What everyone in a realm trusts.
struct RealmTrust {
    Certificate realm;
    RealmId id() const { return realm_id_of(realm.public_key()); }

    // The signer certificate: issued by the realm, CA:TRUE, within validity at now (kClockToleranceSeconds).
    Status check_signer(const Certificate& signer, WallTime now) const;
    // A membership certificate: issued by signer, which check_signer accepts; end entity, within validity.
    Status check_member(const Certificate& member, const Certificate& signer, WallTime now) const;
};

// The server name (RFC 6066) in the ClientHello of a member that connects to a member: "realm-", the first 16 bytes of the realm id in
// lower-case hexadecimal, ".mssl.invalid". It resolves to nothing and proves nothing; by it a host that is a member of several realms
// knows which of its certificates to show (mssl-protocol(7)).
std::string realm_server_name(const RealmId& realm);

// The server's side: makes certificates.
struct RealmAuthority {
    // A self-signed realm certificate, ten years from now.
    static Result<Certificate> make_realm(const KeyPair& realm_key, std::string_view name, WallTime now);
    // days ≤ 90.
    static Result<Certificate> make_signer(const KeyPair& realm_key, const Certificate& realm, const PublicKey& signer,
                                           WallTime now, int days);
    // The server takes the key and a proof of possession, nothing else (DESIGN 5): the subject is the member id.
    static Result<Certificate> make_member(const KeyPair& signer_key, const Certificate& signer, const PublicKey& member,
                                           WallTime now, int days);
};

}  // namespace mssl
