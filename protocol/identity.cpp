#include "protocol/identity.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <ctime>

#include "protocol/bytes.h"
#include "protocol/x509.h"

namespace mssl {
namespace {

constexpr int kRealmDays = 3652;  // ten years
constexpr int kMaxDays = 90;      // signers and members are short-lived: nothing of ours revokes them
constexpr std::int64_t kSecondsADay = 86400;
constexpr std::size_t kMaxNameBytes = 64;  // RFC 5280 appendix A.1, ub-common-name
constexpr std::size_t kMaxPemBytes = 16 * 1024;

struct FreeStackOnly {  // the certificates belong to others
    void operator()(STACK_OF(X509) * s) const noexcept { sk_X509_free(s); }
};
using BorrowedStack = std::unique_ptr<STACK_OF(X509), FreeStackOnly>;

Hash sha256(View v) {
    Hash out;
    SHA256(v.data(), v.size(), out.bytes.data());
    return out;
}

bool raw_public(const EVP_PKEY* key, PublicKey& out) {
    std::size_t n = PublicKey::size;
    return key != nullptr && EVP_PKEY_is_a(key, "ED25519") == 1 &&
           EVP_PKEY_get_raw_public_key(key, out.bytes.data(), &n) == 1 && n == PublicKey::size;
}

PkeyPtr pkey_of(const PublicKey& key) {
    return PkeyPtr(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, key.bytes.data(), PublicKey::size));
}

// Whether der is what DER encoding gives for this certificate. i2d_X509 alone would repeat the bytes of the
// signed part as they came.
bool is_der(View der) {
    const unsigned char* p = der.data();
    const X509Ptr scratch(d2i_X509(nullptr, &p, static_cast<long>(der.size())));
    if (!scratch || p != der.data() + der.size()) return false;
    unsigned char* tbs = nullptr;
    if (i2d_re_X509_tbs(scratch.get(), &tbs) <= 0) return false;
    OPENSSL_free(tbs);
    unsigned char* again = nullptr;
    const int n = i2d_X509(scratch.get(), &again);
    const bool same =
        n > 0 && static_cast<std::size_t>(n) == der.size() && std::memcmp(again, der.data(), der.size()) == 0;
    OPENSSL_free(again);
    return same;
}

std::string common_name(const X509* x) {
    const X509_NAME* name = X509_get_subject_name(x);
    if (X509_NAME_entry_count(name) != 1) return {};
    const X509_NAME_ENTRY* entry = X509_NAME_get_entry(name, 0);
    if (OBJ_obj2nid(X509_NAME_ENTRY_get_object(entry)) != NID_commonName) return {};
    const ASN1_STRING* s = X509_NAME_ENTRY_get_data(entry);
    return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(s)),
            static_cast<std::size_t>(ASN1_STRING_length(s))};
}

Status within_validity(const Certificate& c, WallTime now, std::string_view what) {
    if (before(c.not_before(), now))
        return fail(Errc::expired, std::string(what) + " is not valid yet");
    if (past(c.not_after(), now))
        return fail(Errc::expired, std::string(what) + " has expired");
    return {};
}

// The chain target → intermediate (may be null) → root, root alone trusted. Times are the caller's: the tolerance
// is ours, and OpenSSL has none.
Status verify_chain(X509* target, X509* intermediate, X509* root, Errc code, std::string_view what) {
    const X509StorePtr store(X509_STORE_new());
    const X509StoreCtxPtr ctx(X509_STORE_CTX_new());
    const BorrowedStack untrusted(sk_X509_new_null());
    if (!store || !ctx || !untrusted || X509_STORE_add_cert(store.get(), root) != 1 ||
        (intermediate != nullptr && sk_X509_push(untrusted.get(), intermediate) <= 0) ||
        X509_STORE_CTX_init(ctx.get(), store.get(), target, untrusted.get()) != 1)
        return openssl_error(Errc::crypto, "preparing to verify a certificate");
    X509_VERIFY_PARAM* param = X509_STORE_CTX_get0_param(ctx.get());
    X509_VERIFY_PARAM_set_flags(
        param, X509_V_FLAG_X509_STRICT | X509_V_FLAG_CHECK_SS_SIGNATURE | X509_V_FLAG_NO_CHECK_TIME);
    X509_VERIFY_PARAM_set_depth(param, intermediate == nullptr ? 0 : 1);
    const int ok = X509_verify_cert(ctx.get());
    const int why = X509_STORE_CTX_get_error(ctx.get());
    const int depth = sk_X509_num(X509_STORE_CTX_get0_chain(ctx.get()));
    ERR_clear_error();
    if (ok == 1 && depth == (intermediate == nullptr ? 2 : 3)) return {};
    return fail(code, std::string(what) + ": " +
                          (ok == 1 ? "not issued as it should be" : X509_verify_cert_error_string(why)));
}

struct Contents {
    std::string organisation;  // none when empty
    std::string common_name;
    const PublicKey* key = nullptr;
    std::int64_t not_before = 0, not_after = 0;
    std::string basic_constraints, key_usage, extended_key_usage;
};

// issuer null: self-signed.
Result<Certificate> issue(const Contents& r, const KeyPair& issuer_key, X509* issuer) {
    const X509Ptr made(X509_new());
    const PkeyPtr subject_key = pkey_of(*r.key);
    X509* x = made.get();
    X509* by = issuer == nullptr ? x : issuer;
    if (!made || !subject_key || X509_set_version(x, X509_VERSION_3) != 1 || !set_random_serial(x) ||
        !set_time(X509_getm_notBefore(x), r.not_before) || !set_time(X509_getm_notAfter(x), r.not_after) ||
        X509_set_pubkey(x, subject_key.get()) != 1 ||
        !add_name(X509_get_subject_name(x), "O", r.organisation) ||
        !add_name(X509_get_subject_name(x), "CN", r.common_name) ||
        X509_set_issuer_name(x, X509_get_subject_name(by)) != 1 ||
        !add_extension(x, by, NID_basic_constraints, r.basic_constraints) ||
        !add_extension(x, by, NID_key_usage, r.key_usage) ||
        !add_extension(x, by, NID_ext_key_usage, r.extended_key_usage) ||
        !add_extension(x, by, NID_subject_key_identifier, "hash") ||
        !add_extension(x, by, NID_authority_key_identifier, issuer == nullptr ? "" : "keyid:always") ||
        X509_sign(x, issuer_key.get(), nullptr) <= 0)
        return openssl_error(Errc::crypto, "making a certificate");
    unsigned char* der = nullptr;
    const int n = i2d_X509(x, &der);
    if (n <= 0) return openssl_error(Errc::crypto, "encoding a certificate");
    Result<Certificate> out = Certificate::from_der({der, static_cast<std::size_t>(n)});
    OPENSSL_free(der);
    return out;
}

// A certificate issued now for days, within what its issuer has left: it would be worth nothing after that.
Result<Certificate> issue_for_days(Contents r, const KeyPair& issuer_key, const Certificate& issuer,
                                   WallTime now, int days) {
    if (days < 1 || days > kMaxDays) return fail(Errc::too_large, "days of a certificate: 1 to 90");
    if (issuer.get() == nullptr || issuer_key.public_key() != issuer.public_key())
        return fail(Errc::bad_certificate, "the key is not that of the issuing certificate");
    r.not_before = now.unix_seconds;
    r.not_after = std::min(now.unix_seconds + days * kSecondsADay, issuer.not_after().unix_seconds);
    if (r.not_after <= r.not_before) return fail(Errc::expired, "the issuing certificate has expired");
    return issue(r, issuer_key, issuer.get());
}

}  // namespace

Result<KeyPair> KeyPair::generate() {
    PkeyPtr key(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
    if (!key) return openssl_error(Errc::crypto, "generating an Ed25519 key");
    return KeyPair(std::move(key));
}

Result<KeyPair> KeyPair::from_pem(std::string_view pem) {
    if (pem.size() > kMaxPemBytes) return fail(Errc::too_large, "private key");
    const BioPtr bio = bio_over(pem);
    PkeyPtr key(bio ? PEM_read_bio_PrivateKey(bio.get(), nullptr, no_password, nullptr) : nullptr);
    if (!key) return openssl_error(Errc::malformed, "reading a private key");
    if (EVP_PKEY_is_a(key.get(), "ED25519") != 1)
        return fail(Errc::unsupported, "a private key that is not Ed25519");
    return KeyPair(std::move(key));
}

Result<std::string> KeyPair::to_pem() const {
    // A memory BIO clears its buffer when it is freed.
    const BioPtr bio(BIO_new(BIO_s_mem()));
    if (!bio ||
        PEM_write_bio_PKCS8PrivateKey(bio.get(), key_.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1)
        return openssl_error(Errc::crypto, "writing a private key");
    return text_of(bio.get());
}

PublicKey KeyPair::public_key() const {
    PublicKey out;
    if (!raw_public(key_.get(), out)) std::terminate();  // every way to make a KeyPair has checked the type
    return out;
}

Result<Signature> KeyPair::sign(View message) const {
    const MdCtxPtr ctx(EVP_MD_CTX_new());
    Signature out;
    std::size_t n = Signature::size;
    if (!ctx || EVP_DigestSignInit(ctx.get(), nullptr, nullptr, nullptr, key_.get()) != 1 ||
        EVP_DigestSign(ctx.get(), out.bytes.data(), &n, message.data(), message.size()) != 1 ||
        n != Signature::size)
        return openssl_error(Errc::crypto, "signing");
    return out;
}

bool verify_signature(const PublicKey& key, View message, const Signature& signature) {
    const PkeyPtr pkey = pkey_of(key);
    const MdCtxPtr ctx(EVP_MD_CTX_new());
    const bool good = pkey && ctx &&
                      EVP_DigestVerifyInit(ctx.get(), nullptr, nullptr, nullptr, pkey.get()) == 1 &&
                      EVP_DigestVerify(ctx.get(), signature.bytes.data(), Signature::size, message.data(),
                                       message.size()) == 1;
    ERR_clear_error();
    return good;
}

MemberId member_id_of(const PublicKey& key) { return MemberId::from(sha256(key.view()).view()); }

std::string realm_server_name(const RealmId& realm) {
    // Half of it: a label has at most 63 characters (RFC 1035), and 128 bits tell realms apart.
    return "realm-" + to_hex(realm.view().first(16)) + ".mssl.invalid";
}

RealmId realm_id_of(const PublicKey& realm_key) { return RealmId::from(sha256(realm_key.view()).view()); }

Result<Certificate> Certificate::from_der(View der) {
    if (der.size() > kMaxCertificateBytes) return fail(Errc::too_large, "certificate");
    const unsigned char* p = der.data();
    X509Ptr x(d2i_X509(nullptr, &p, static_cast<long>(der.size())));
    if (!x) return openssl_error(Errc::malformed, "parsing a certificate");
    if (!is_der(der)) return fail(Errc::malformed, "a certificate that is not DER, or bytes behind it");
    if (X509_get_version(x.get()) != X509_VERSION_3 || X509_get_signature_nid(x.get()) != NID_ED25519)
        return fail(Errc::unsupported, "a certificate that is not X.509 v3 signed by Ed25519");
    Certificate out;
    if (!raw_public(X509_get0_pubkey(x.get()), out.key_)) {
        ERR_clear_error();
        return fail(Errc::unsupported, "a certificate whose key is not Ed25519");
    }
    if (!unix_time_of(X509_get0_notBefore(x.get()), out.not_before_) ||
        !unix_time_of(X509_get0_notAfter(x.get()), out.not_after_))
        return openssl_error(Errc::malformed, "validity of a certificate");
    // Reads the extensions now: OpenSSL would cache them at first use, under a lock.
    if (X509_check_purpose(x.get(), -1, 0) != 1)
        return openssl_error(Errc::malformed, "extensions of a certificate");
    out.x509_ = std::move(x);
    return out;
}

Result<Certificate> Certificate::from_pem(std::string_view pem) {
    if (pem.size() > kMaxPemBytes) return fail(Errc::too_large, "certificate");
    const BioPtr bio = bio_over(pem);
    char* name = nullptr;
    char* header = nullptr;
    unsigned char* data = nullptr;
    long n = 0;
    if (!bio || PEM_read_bio(bio.get(), &name, &header, &data, &n) != 1)
        return openssl_error(Errc::malformed, "reading a PEM certificate");
    const bool named = std::string_view(name) == PEM_STRING_X509;
    Result<Certificate> out = fail(Errc::malformed, "not a PEM CERTIFICATE");
    if (named) out = from_der({data, static_cast<std::size_t>(n)});
    OPENSSL_free(name);
    OPENSSL_free(header);
    OPENSSL_free(data);
    return out;
}

Bytes Certificate::to_der() const {
    unsigned char* der = nullptr;
    const int n = x509_ ? i2d_X509(x509_.get(), &der) : 0;
    Bytes out(der, der + std::max(n, 0));
    OPENSSL_free(der);
    return out;
}

std::string Certificate::to_pem() const {
    const BioPtr bio(BIO_new(BIO_s_mem()));
    if (!x509_ || !bio || PEM_write_bio_X509(bio.get(), x509_.get()) != 1) return {};
    return text_of(bio.get());
}

std::string Certificate::subject() const {
    const BioPtr bio(BIO_new(BIO_s_mem()));
    if (!x509_ || !bio ||
        X509_NAME_print_ex(bio.get(), X509_get_subject_name(x509_.get()), 0, XN_FLAG_RFC2253) < 0)
        return {};
    return text_of(bio.get());
}

Status RealmTrust::check_signer(const Certificate& signer, WallTime now) const {
    if (realm.get() == nullptr || signer.get() == nullptr) return fail(Errc::wrong_realm, "no certificate");
    if (Status s = verify_chain(signer.get(), nullptr, realm.get(), Errc::wrong_realm, "signer certificate");
        !s)
        return s;
    if (X509_check_ca(signer.get()) != 1 || X509_get_pathlen(signer.get()) != 0 ||
        X509_get_key_usage(signer.get()) != (KU_KEY_CERT_SIGN | KU_DIGITAL_SIGNATURE))
        return fail(Errc::wrong_realm, "signer certificate: not made to sign objects and members");
    if (Status s = within_validity(realm, now, "realm certificate"); !s) return s;
    return within_validity(signer, now, "signer certificate");
}

Status RealmTrust::check_member(const Certificate& member, const Certificate& signer, WallTime now) const {
    if (Status s = check_signer(signer, now); !s) return s;
    if (member.get() == nullptr) return fail(Errc::not_member, "no certificate");
    if (Status s = verify_chain(member.get(), signer.get(), realm.get(), Errc::not_member, "membership"); !s)
        return s;
    constexpr std::uint32_t purposes = XKU_SSL_SERVER | XKU_SSL_CLIENT;
    const std::uint32_t flags = X509_get_extension_flags(member.get());
    if ((flags & EXFLAG_BCONS) == 0 || (flags & EXFLAG_CA) != 0 || (flags & EXFLAG_XKUSAGE) == 0 ||
        X509_get_key_usage(member.get()) != KU_DIGITAL_SIGNATURE ||
        (X509_get_extended_key_usage(member.get()) & purposes) != purposes)
        return fail(Errc::not_member, "membership: not an end entity's certificate");
    if (common_name(member.get()) != member.member_id().hex())
        return fail(Errc::not_member, "membership: the subject is not the member id");
    return within_validity(member, now, "membership");
}

Result<Certificate> RealmAuthority::make_realm(const KeyPair& realm_key, std::string_view name,
                                               WallTime now) {
    if (name.empty() || name.size() > kMaxNameBytes)
        return fail(Errc::too_large, "name of a realm: 1 to 64 bytes");
    const PublicKey key = realm_key.public_key();
    Contents r;
    r.common_name = name;
    r.key = &key;
    r.not_before = now.unix_seconds;
    r.not_after = now.unix_seconds + kRealmDays * kSecondsADay;
    r.basic_constraints = "critical,CA:TRUE";
    r.key_usage = "critical,keyCertSign,cRLSign";
    return issue(r, realm_key, nullptr);
}

Result<Certificate> RealmAuthority::make_signer(const KeyPair& realm_key, const Certificate& realm,
                                                const PublicKey& signer, WallTime now, int days) {
    Contents r;
    r.organisation = "mSSL signer";
    r.common_name = member_id_of(signer).hex();
    r.key = &signer;
    r.basic_constraints = "critical,CA:TRUE,pathlen:0";
    r.key_usage = "critical,digitalSignature,keyCertSign";
    return issue_for_days(std::move(r), realm_key, realm, now, days);
}

Result<Certificate> RealmAuthority::make_member(const KeyPair& signer_key, const Certificate& signer,
                                                const PublicKey& member, WallTime now, int days) {
    Contents r;
    r.common_name = member_id_of(member).hex();
    r.key = &member;
    r.basic_constraints = "critical,CA:FALSE";
    r.key_usage = "critical,digitalSignature";
    r.extended_key_usage = "serverAuth,clientAuth";
    return issue_for_days(std::move(r), signer_key, signer, now, days);
}

}  // namespace mssl
