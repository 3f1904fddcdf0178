// Certificates of a realm: what each check takes, and every way in which it must not.
#include <criterion/criterion.h>

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <string>
#include <utility>

#include "protocol/bytes.h"
#include "protocol/identity.h"

using namespace mssl;

namespace {

constexpr std::int64_t kDay = 86400;
constexpr WallTime kNow{1800000000};

WallTime after(std::int64_t seconds) { return {kNow.unix_seconds + seconds}; }

KeyPair new_key() { return std::move(KeyPair::generate()).value(); }

struct House {
    KeyPair realm_key = new_key(), signer_key = new_key(), member_key = new_key();
    Certificate realm = RealmAuthority::make_realm(realm_key, "a realm", kNow).value();
    Certificate signer =
        RealmAuthority::make_signer(realm_key, realm, signer_key.public_key(), kNow, 30).value();
    Certificate member =
        RealmAuthority::make_member(signer_key, signer, member_key.public_key(), kNow, 7).value();
    RealmTrust trust{realm};
};

bool has(Certificate c, const std::string& text) {
    const BioPtr bio(BIO_new(BIO_s_mem()));
    X509_print(bio.get(), c.get());
    char* data = nullptr;
    const long n = BIO_get_mem_data(bio.get(), &data);
    return std::string(data, static_cast<std::size_t>(n)).find(text) != std::string::npos;
}

// A certificate signed as it should be, with contents that RealmAuthority never writes.
struct Forgery {
    std::string name, constraints, usage, purposes;
};

Certificate forge(const Forgery& f, const KeyPair& issuer_key, const Certificate& issuer,
                  const KeyPair& subject) {
    const X509Ptr x(X509_new());
    X509_set_version(x.get(), X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(x.get()), 7);
    ASN1_TIME_set(X509_getm_notBefore(x.get()), kNow.unix_seconds);
    ASN1_TIME_set(X509_getm_notAfter(x.get()), kNow.unix_seconds + kDay);
    X509_set_pubkey(x.get(), subject.get());
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x.get()), "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>(f.name.c_str()), -1, -1, 0);
    X509_set_issuer_name(x.get(), X509_get_subject_name(issuer.get()));
    const std::pair<int, std::string> extensions[] = {{NID_basic_constraints, f.constraints},
                                                      {NID_key_usage, f.usage},
                                                      {NID_ext_key_usage, f.purposes},
                                                      {NID_subject_key_identifier, "hash"},
                                                      {NID_authority_key_identifier, "keyid:always"}};
    for (const auto& [nid, value] : extensions) {
        if (value.empty()) continue;
        X509V3_CTX ctx;
        X509V3_set_ctx(&ctx, issuer.get(), x.get(), nullptr, nullptr, 0);
        X509_EXTENSION* e = X509V3_EXT_conf_nid(nullptr, &ctx, nid, value.c_str());
        X509_add_ext(x.get(), e, -1);
        X509_EXTENSION_free(e);
    }
    X509_sign(x.get(), issuer_key.get(), nullptr);
    unsigned char* der = nullptr;
    const int n = i2d_X509(x.get(), &der);
    const Bytes copy(der, der + n);
    OPENSSL_free(der);
    return Certificate::from_der(copy).value();
}

}  // namespace

Test(identity, a_membership_with_other_contents_is_refused_though_the_signer_signed_it) {
    const House h;
    const std::string id = h.member.member_id().hex();
    const std::string ca = "critical,CA:FALSE", usage = "critical,digitalSignature",
                      purposes = "serverAuth,clientAuth";
    struct {
        const char* what;
        Forgery f;
        Errc expected;
    } const rows[] = {
        {"as it should be", {id, ca, usage, purposes}, Errc::ok},
        {"another name", {h.signer.member_id().hex(), ca, usage, purposes}, Errc::not_member},
        {"no purposes", {id, ca, usage, ""}, Errc::not_member},
        {"one purpose", {id, ca, usage, "clientAuth"}, Errc::not_member},
        {"more usages", {id, ca, "critical,digitalSignature,keyAgreement", purposes}, Errc::not_member},
        {"no usage", {id, ca, "", purposes}, Errc::not_member},
        {"a CA without its usage", {id, "critical,CA:TRUE", usage, purposes}, Errc::not_member},
        {"no constraints", {id, "", usage, purposes}, Errc::not_member},
        {"a CA",
         {id, "critical,CA:TRUE", "critical,digitalSignature,keyCertSign", purposes},
         Errc::not_member},
    };
    for (const auto& r : rows) {
        const Certificate c = forge(r.f, h.signer_key, h.signer, h.member_key);
        cr_assert(h.trust.check_member(c, h.signer, kNow).code() == r.expected, "%s", r.what);
    }
}

Test(identity, a_signer_with_other_contents_is_refused_though_the_realm_signed_it) {
    const House h;
    const std::string usage = "critical,digitalSignature,keyCertSign";
    struct {
        const char* what;
        Forgery f;
        Errc expected;
    } const rows[] = {
        {"as it should be", {"s", "critical,CA:TRUE,pathlen:0", usage, ""}, Errc::ok},
        {"any path length", {"s", "critical,CA:TRUE", usage, ""}, Errc::wrong_realm},
        {"a longer path", {"s", "critical,CA:TRUE,pathlen:1", usage, ""}, Errc::wrong_realm},
        {"no CA", {"s", "critical,CA:FALSE", "critical,digitalSignature", ""}, Errc::wrong_realm},
        {"signs no objects",
         {"s", "critical,CA:TRUE,pathlen:0", "critical,keyCertSign", ""},
         Errc::wrong_realm},
        {"signs lists too", {"s", "critical,CA:TRUE,pathlen:0", usage + ",cRLSign", ""}, Errc::wrong_realm},
    };
    for (const auto& r : rows) {
        const Certificate c = forge(r.f, h.realm_key, h.realm, h.signer_key);
        cr_assert(h.trust.check_signer(c, kNow).code() == r.expected, "%s", r.what);
    }
}

Test(identity, a_key_survives_pem_and_signs_the_same) {
    const KeyPair key = new_key();
    const std::string pem = key.to_pem().value();
    const KeyPair again = std::move(KeyPair::from_pem(pem)).value();
    cr_assert(key.public_key() == again.public_key());
    cr_assert(key.sign(as_view("x")).value() == again.sign(as_view("x")).value(), "Ed25519 is deterministic");
}

Test(identity, pem_that_is_no_ed25519_key_is_refused_without_asking_for_a_password) {
    const PkeyPtr other(EVP_PKEY_Q_keygen(nullptr, nullptr, "X25519"));
    const BioPtr bio(BIO_new(BIO_s_mem()));
    PEM_write_bio_PKCS8PrivateKey(bio.get(), other.get(), nullptr, nullptr, 0, nullptr, nullptr);
    char* data = nullptr;
    const long n = BIO_get_mem_data(bio.get(), &data);
    cr_assert(KeyPair::from_pem({data, static_cast<std::size_t>(n)}).code() == Errc::unsupported);

    const BioPtr locked(BIO_new(BIO_s_mem()));
    char word[] = "word";
    const KeyPair key = new_key();
    PEM_write_bio_PKCS8PrivateKey(locked.get(), key.get(), EVP_aes_256_cbc(), word, 4, nullptr, nullptr);
    const long m = BIO_get_mem_data(locked.get(), &data);
    cr_assert(KeyPair::from_pem({data, static_cast<std::size_t>(m)}).code() == Errc::malformed);
    cr_assert(KeyPair::from_pem("").code() == Errc::malformed);
    cr_assert(KeyPair::from_pem(std::string(20000, 'x')).code() == Errc::too_large);
}

// RFC 8032 section 7.1, TEST 2.
Test(identity, signatures_are_those_of_rfc_8032) {
    const auto key =
        PublicKey::from(*from_hex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"));
    auto signature =
        Signature::from(*from_hex("92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
                                  "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"));
    const Bytes message{0x72};
    cr_assert(verify_signature(key, message, signature));
    cr_assert_not(verify_signature(key, {}, signature));
    for (std::size_t bit = 0; bit < 512; ++bit) {
        signature.bytes[bit / 8] ^= static_cast<std::uint8_t>(1U << (bit % 8));
        cr_assert_not(verify_signature(key, message, signature), "bit %zu", bit);
        signature.bytes[bit / 8] ^= static_cast<std::uint8_t>(1U << (bit % 8));
    }
}

Test(identity, a_member_and_its_signer_are_accepted_in_their_realm) {
    const House h;
    cr_assert(h.trust.check_signer(h.signer, kNow).has_value());
    cr_assert(h.trust.check_member(h.member, h.signer, kNow).has_value());
    cr_assert(h.member.public_key() == h.member_key.public_key());
    cr_assert(h.member.subject() == "CN=" + h.member.member_id().hex());
    cr_assert(h.trust.id() == realm_id_of(h.realm_key.public_key()));
}

Test(identity, certificates_say_what_they_are_for) {
    const House h;
    cr_assert(has(h.realm, "CA:TRUE") && has(h.realm, "Certificate Sign, CRL Sign"));
    cr_assert(has(h.signer, "CA:TRUE, pathlen:0") && has(h.signer, "Digital Signature, Certificate Sign"));
    cr_assert(has(h.member, "CA:FALSE") &&
              has(h.member, "TLS Web Server Authentication, TLS Web Client Authentication"));
    for (const Certificate& c : {h.realm, h.signer, h.member}) {
        cr_assert(has(c, "Subject Key Identifier"));
        cr_assert(c.to_der().size() < 600);
    }
    const Certificate twin =
        RealmAuthority::make_member(h.signer_key, h.signer, h.member_key.public_key(), kNow, 7).value();
    cr_assert(ASN1_INTEGER_cmp(X509_get0_serialNumber(twin.get()), X509_get0_serialNumber(h.member.get())) !=
              0);
}

Test(identity, certificates_survive_der_and_pem) {
    const House h;
    for (const Certificate& c : {h.realm, h.signer, h.member}) {
        const Certificate der = Certificate::from_der(c.to_der()).value();
        cr_assert(der.to_der() == c.to_der());
        cr_assert(der.not_before() == kNow && der.not_after() == c.not_after());
        cr_assert(Certificate::from_pem(c.to_pem()).value().to_der() == c.to_der());
    }
    cr_assert(h.member.not_after() == after(7 * kDay));
}

Test(identity, any_flipped_bit_of_a_membership_is_refused) {
    const House h;
    Bytes der = h.member.to_der();
    for (std::size_t bit = 0; bit < der.size() * 8; ++bit) {
        der[bit / 8] ^= static_cast<std::uint8_t>(1U << (bit % 8));
        const Result<Certificate> c = Certificate::from_der(der);
        cr_assert(!c || !h.trust.check_member(*c, h.signer, kNow), "bit %zu", bit);
        der[bit / 8] ^= static_cast<std::uint8_t>(1U << (bit % 8));
    }
}

Test(identity, der_with_more_or_less_than_one_certificate_is_refused) {
    const House h;
    const Bytes der = h.member.to_der();
    Bytes more = der;
    more.push_back(0);
    cr_assert(Certificate::from_der(more).code() == Errc::malformed);
    for (std::size_t n = 0; n < der.size(); ++n)
        cr_assert(Certificate::from_der(View(der).first(n)).code() == Errc::malformed, "%zu bytes", n);
    cr_assert(Certificate::from_der(Bytes(Certificate::kMaxCertificateBytes + 1)).code() == Errc::too_large);
    cr_assert(Certificate::from_pem("").code() == Errc::malformed);
    cr_assert(Certificate::from_pem(h.member_key.to_pem().value()).code() == Errc::malformed);
}

Test(identity, ber_lengths_around_a_certificate_are_refused) {
    const House h;
    const Bytes der = h.member.to_der();
    cr_assert(der[1] == 0x82);
    Bytes ber = der;  // 30 82 xx xx → 30 83 00 xx xx
    ber[1] = 0x83;
    ber.insert(ber.begin() + 2, 0x00);
    cr_assert(Certificate::from_der(ber).code() == Errc::malformed);
}

Test(identity, another_realm_of_the_same_name_vouches_for_nobody) {
    const House ours, theirs;
    cr_assert(theirs.trust.check_signer(ours.signer, kNow).code() == Errc::wrong_realm);
    cr_assert(theirs.trust.check_member(ours.member, ours.signer, kNow).code() == Errc::wrong_realm);
    cr_assert(theirs.trust.check_member(ours.member, theirs.signer, kNow).code() == Errc::not_member);
}

Test(identity, another_signer_of_the_realm_vouches_only_for_its_own) {
    const House h;
    const KeyPair key = new_key();
    const Certificate second =
        RealmAuthority::make_signer(h.realm_key, h.realm, key.public_key(), kNow, 30).value();
    cr_assert(h.trust.check_signer(second, kNow).has_value());
    cr_assert(h.trust.check_member(h.member, second, kNow).code() == Errc::not_member);
}

Test(identity, no_certificate_takes_the_place_of_another) {
    const House h;
    cr_assert(h.trust.check_signer(h.realm, kNow).code() == Errc::wrong_realm, "the realm is no signer");
    cr_assert(h.trust.check_signer(h.member, kNow).code() == Errc::wrong_realm, "a member is no signer");
    cr_assert(h.trust.check_member(h.signer, h.signer, kNow).code() == Errc::not_member);
    cr_assert(h.trust.check_member(h.member, h.member, kNow).code() == Errc::wrong_realm);
    cr_assert(h.trust.check_member(h.member, h.realm, kNow).code() == Errc::wrong_realm);
    cr_assert(h.trust.check_member(Certificate{}, h.signer, kNow).code() == Errc::not_member);
    cr_assert(RealmTrust{}.check_signer(h.signer, kNow).code() == Errc::wrong_realm);
    // A realm's key signs no members and no signers of signers.
    const KeyPair key = new_key();
    const Certificate by_realm =
        RealmAuthority::make_member(h.realm_key, h.realm, key.public_key(), kNow, 7).value();
    cr_assert(h.trust.check_member(by_realm, h.signer, kNow).code() == Errc::not_member);
    const Certificate below =
        RealmAuthority::make_signer(h.signer_key, h.signer, key.public_key(), kNow, 7).value();
    cr_assert(h.trust.check_signer(below, kNow).code() == Errc::wrong_realm);
    cr_assert(h.trust.check_member(below, h.signer, kNow).code() == Errc::not_member, "a CA is no member");
}

Test(identity, validity_ends_after_the_tolerance_and_not_before) {
    const House h;
    struct {
        std::int64_t at;
        Errc member, signer;
    } const rows[] = {
        {-121, Errc::expired, Errc::expired},
        {-120, Errc::ok, Errc::ok},
        {0, Errc::ok, Errc::ok},
        {7 * kDay + 120, Errc::ok, Errc::ok},
        {7 * kDay + 121, Errc::expired, Errc::ok},
        {30 * kDay + 120, Errc::expired, Errc::ok},
        {30 * kDay + 121, Errc::expired, Errc::expired},
    };
    for (const auto& r : rows) {
        cr_assert(h.trust.check_member(h.member, h.signer, after(r.at)).code() == r.member, "member at %ld",
                  (long)r.at);
        cr_assert(h.trust.check_signer(h.signer, after(r.at)).code() == r.signer, "signer at %ld",
                  (long)r.at);
    }
}

Test(identity, a_certificate_ends_with_its_issuer) {
    const House h;
    const PublicKey key = h.member_key.public_key();
    const Certificate late =
        RealmAuthority::make_member(h.signer_key, h.signer, key, after(29 * kDay), 7).value();
    cr_assert(late.not_after() == h.signer.not_after());
    cr_assert(RealmAuthority::make_member(h.signer_key, h.signer, key, after(30 * kDay), 7).code() ==
              Errc::expired);
}

Test(identity, certificates_are_not_made_beyond_their_limits) {
    const House h;
    const PublicKey key = h.member_key.public_key();
    cr_assert(RealmAuthority::make_member(h.signer_key, h.signer, key, kNow, 0).code() == Errc::too_large);
    cr_assert(RealmAuthority::make_member(h.signer_key, h.signer, key, kNow, 91).code() == Errc::too_large);
    cr_assert(RealmAuthority::make_signer(h.realm_key, h.realm, key, kNow, 91).code() == Errc::too_large);
    cr_assert(RealmAuthority::make_signer(h.realm_key, h.realm, key, kNow, 90).has_value());
    cr_assert(RealmAuthority::make_member(h.member_key, h.signer, key, kNow, 7).code() ==
              Errc::bad_certificate);
    cr_assert(RealmAuthority::make_realm(h.realm_key, std::string(65, 'r'), kNow).code() == Errc::too_large);
    cr_assert(RealmAuthority::make_realm(h.realm_key, "", kNow).code() == Errc::too_large);
}
