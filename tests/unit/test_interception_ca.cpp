// The CA of interception vouches for its hosts and for nothing else, in the eyes of whoever verifies with it.
#include <criterion/criterion.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "protocol/interception_ca.h"
#include "protocol/x509.h"
#include "proxy/client/leaf_cache.h"
#include "tests/unit/tls_fixture.h"

using namespace mssl;
using namespace mssl::proxy;
using namespace mssl::test;

namespace {

constexpr WallTime kNow{1'800'000'000};
constexpr std::int64_t kDay = 86400;
const std::vector<std::string> kHosts = {"files.example.org", "mirror.example.org"};

InterceptionCa make(const std::vector<std::string>& hosts = kHosts, int days = 30) {
    Result<InterceptionCa> ca = InterceptionCa::make(hosts, kNow, days);
    cr_assert(ca.has_value(), "%s", ca.error().to_string().c_str());
    return std::move(*ca);
}

// As a TLS client does (SSL_set1_host): X509_V_OK, or why not.
int verify(X509* leaf, X509* root, const char* host, WallTime at) {
    const X509StorePtr store(X509_STORE_new());
    const X509StoreCtxPtr ctx(X509_STORE_CTX_new());
    X509_STORE_add_cert(store.get(), root);
    X509_STORE_CTX_init(ctx.get(), store.get(), leaf, nullptr);
    X509_VERIFY_PARAM* param = X509_STORE_CTX_get0_param(ctx.get());
    X509_VERIFY_PARAM_set_purpose(param, X509_PURPOSE_SSL_SERVER);
    X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_X509_STRICT | X509_V_FLAG_CHECK_SS_SIGNATURE);
    X509_VERIFY_PARAM_set_time(param, at.unix_seconds);
    X509_VERIFY_PARAM_set1_host(param, host, 0);
    X509_verify_cert(ctx.get());
    return X509_STORE_CTX_get_error(ctx.get());
}

// What whoever stole the CA's key would make, with no regard to InterceptionCa::issue().
X509Ptr forged(const InterceptionCa& ca, const std::string& alternative_name) {
    const std::string pem = *ca.to_pem();
    const BioPtr bio = bio_over(pem);
    const PkeyPtr key(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_password, nullptr));
    X509Ptr x(X509_new());
    X509_set_version(x.get(), X509_VERSION_3);
    set_random_serial(x.get());
    set_time(X509_getm_notBefore(x.get()), kNow.unix_seconds - kDay);
    set_time(X509_getm_notAfter(x.get()), kNow.unix_seconds + kDay);
    X509_set_pubkey(x.get(), key.get());
    X509_set_issuer_name(x.get(), X509_get_subject_name(ca.certificate()));
    add_extension(x.get(), ca.certificate(), NID_subject_alt_name, "critical," + alternative_name);
    add_extension(x.get(), ca.certificate(), NID_subject_key_identifier, "hash");
    add_extension(x.get(), ca.certificate(), NID_authority_key_identifier, "keyid:always");
    X509_sign(x.get(), key.get(), EVP_sha256());
    return x;
}

}  // namespace

Test(interception_ca, vouches_for_its_hosts) {
    const InterceptionCa ca = make();
    for (const std::string& host : kHosts) {
        const Result<InterceptionCa::Leaf> leaf = ca.issue(host, kNow);
        cr_assert(leaf.has_value(), "%s", leaf.error().to_string().c_str());
        cr_assert_eq(verify(leaf->certificate.get(), ca.certificate(), host.c_str(), kNow), X509_V_OK);
        cr_assert_neq(verify(leaf->certificate.get(), ca.certificate(), "other.example.org", kNow), X509_V_OK);
        cr_assert_eq(X509_check_private_key(leaf->certificate.get(), leaf->key.get()), 1);
        cr_assert_eq(leaf->not_after.unix_seconds, kNow.unix_seconds + InterceptionCa::kLeafSeconds);
        cr_assert_eq(verify(leaf->certificate.get(), ca.certificate(), host.c_str(), WallTime{leaf->not_after.unix_seconds + 1}),
                     X509_V_ERR_CERT_HAS_EXPIRED);
    }
    for (const char* other : {"example.org", "x.files.example.org", "FILES.example.org", ""})
        cr_assert(ca.issue(other, kNow).code() == Errc::denied, "%s", other);
}

Test(interception_ca, its_key_in_wrong_hands_vouches_for_no_other) {
    const InterceptionCa ca = make();
    cr_assert_eq(verify(forged(ca, "DNS:files.example.org").get(), ca.certificate(), "files.example.org", kNow), X509_V_OK);
    for (const char* name : {"bank.example", "example.org", "files.example.org.bank.example", "xfiles.example.org", "*.example.org"})
        cr_assert_eq(verify(forged(ca, std::string("DNS:") + name).get(), ca.certificate(), name, kNow), X509_V_ERR_PERMITTED_VIOLATION, "%s",
                     name);
    for (const char* name : {"IP:192.0.2.1", "IP:2001:db8::1"})
        cr_assert_eq(verify(forged(ca, name).get(), ca.certificate(), nullptr, kNow), X509_V_ERR_EXCLUDED_VIOLATION, "%s", name);
    const X509Ptr both = forged(ca, "DNS:files.example.org,DNS:bank.example");
    cr_assert_eq(verify(both.get(), ca.certificate(), "bank.example", kNow), X509_V_ERR_PERMITTED_VIOLATION);
}

Test(interception_ca, a_leaf_does_not_outlive_it) {
    const InterceptionCa ca = make(kHosts, 1);
    cr_assert_eq(ca.issue(kHosts[0], kNow)->not_after.unix_seconds, kNow.unix_seconds + kDay);
    cr_assert(ca.issue(kHosts[0], WallTime{kNow.unix_seconds + kDay - 1}).has_value());
    cr_assert(ca.issue(kHosts[0], WallTime{kNow.unix_seconds + kDay}).code() == Errc::expired);
}

Test(interception_ca, is_read_back_as_it_was_written) {
    const InterceptionCa ca = make();
    const Result<InterceptionCa> again = InterceptionCa::from_pem(*ca.to_pem());
    cr_assert(again.has_value(), "%s", again.error().to_string().c_str());
    cr_assert(again->hosts() == kHosts && again->not_after() == ca.not_after() && again->fingerprint() == ca.fingerprint());
    const Result<InterceptionCa::Leaf> leaf = again->issue(kHosts[1], kNow);
    cr_assert_eq(verify(leaf->certificate.get(), ca.certificate(), kHosts[1].c_str(), kNow), X509_V_OK);
    cr_assert_eq(ca.certificate_pem().find("PRIVATE"), std::string::npos);
    cr_assert(InterceptionCa::is_one(ca.certificate()));
}

Test(interception_ca, one_that_is_not_constrained_is_not_used) {
    const InterceptionCa ca = make(), other = make();
    cr_assert(InterceptionCa::from_pem("").code() == Errc::malformed);
    cr_assert(InterceptionCa::from_pem(ca.certificate_pem()).code() == Errc::malformed, "no key");
    const std::string pem = *ca.to_pem();
    cr_assert(InterceptionCa::from_pem(pem.substr(0, pem.find("-----BEGIN CERT"))).code() == Errc::malformed, "no certificate");
    cr_assert(InterceptionCa::from_pem(pem.substr(0, pem.find("-----BEGIN CERT")) + other.certificate_pem()).code() == Errc::bad_certificate,
              "another's certificate");
    // As `openssl req -x509` makes one, without constraints.
    const TempDir dir;
    const TestCertificate plain(dir, "plain", "DNS:files.example.org");
    std::string both;
    for (const std::string& file : {plain.key_file, plain.certificate_file}) {
        std::FILE* f = std::fopen(file.c_str(), "r");
        char text[4096];
        both.append(text, std::fread(text, 1, sizeof text, f));
        std::fclose(f);
    }
    cr_assert(InterceptionCa::from_pem(both).code() == Errc::bad_certificate);
}

Test(interception_ca, one_that_could_vouch_for_addresses_is_not_used) {
    const char* const v4 = ",excluded;IP:0.0.0.0/0.0.0.0";
    const char* const v6 = ",excluded;IP:0:0:0:0:0:0:0:0/0:0:0:0:0:0:0:0";
    const struct {
        std::string constraints;
        bool used;
    } rows[] = {{std::string(v4) + v6, true}, {v4, false}, {v6, false}, {"", false}, {std::string(",excluded;IP:10.0.0.0/255.0.0.0") + v6, false}};
    for (const auto& row : rows) {
        const PkeyPtr key(EVP_EC_gen("P-256"));
        X509Ptr x(X509_new());
        X509_set_version(x.get(), X509_VERSION_3);
        set_random_serial(x.get());
        set_time(X509_getm_notBefore(x.get()), kNow.unix_seconds);
        set_time(X509_getm_notAfter(x.get()), kNow.unix_seconds + kDay);
        X509_set_pubkey(x.get(), key.get());
        cr_assert(add_name(X509_get_subject_name(x.get()), "CN", "x"));
        X509_set_issuer_name(x.get(), X509_get_subject_name(x.get()));
        cr_assert(add_extension(x.get(), x.get(), NID_basic_constraints, "critical,CA:TRUE,pathlen:0"));
        cr_assert(add_extension(x.get(), x.get(), NID_name_constraints, "critical,permitted;DNS:files.example.org" + row.constraints));
        cr_assert_gt(X509_sign(x.get(), key.get(), EVP_sha256()), 0);
        const BioPtr pem(BIO_new(BIO_s_mem()));
        PEM_write_bio_PKCS8PrivateKey(pem.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr);
        PEM_write_bio_X509(pem.get(), x.get());
        const Result<InterceptionCa> read = InterceptionCa::from_pem(text_of(pem.get()));
        cr_assert_eq(read.has_value(), row.used, "'%s'", row.constraints.c_str());
        cr_assert_not(InterceptionCa::is_one(x.get()), "not one of ours");
    }
}

Test(interception_ca, the_largest_that_is_made_is_read_back) {
    std::vector<std::string> hosts;
    for (std::size_t i = 0; i < InterceptionCa::kMaxHosts; ++i) {
        const std::string label(63, static_cast<char>('a' + i % 26));
        hosts.push_back(label + "." + label + "." + label + "." + std::string(61, static_cast<char>('a' + i / 26)));
        cr_assert_eq(hosts.back().size(), 253U);
    }
    const InterceptionCa ca = make(hosts);
    const Result<InterceptionCa> again = InterceptionCa::from_pem(*ca.to_pem());
    cr_assert(again.has_value(), "%s", again.error().to_string().c_str());
    cr_assert(again->hosts() == hosts);
}

Test(interception_ca, takes_host_names_alone) {
    for (const char* bad : {"", "*.example.org", "192.0.2.1", "::1", "[::1]", "Files.example.org", "a b", "a,DNS:b", "a.", ".a", "a..b", "files.1"})
        cr_assert(InterceptionCa::make({bad}, kNow, 1).code() == Errc::config, "'%s'", bad);
    cr_assert(InterceptionCa::make({}, kNow, 1).code() == Errc::config);
    cr_assert(InterceptionCa::make(kHosts, kNow, 0).code() == Errc::config);
    cr_assert(InterceptionCa::make(kHosts, kNow, InterceptionCa::kMaxDays + 1).code() == Errc::config);
    const std::string label(63, 'a');
    const std::string longest = label + "." + label + "." + label + "." + std::string(61, 'b');
    cr_assert_eq(longest.size(), 253U);
    const InterceptionCa ca = make({longest});
    cr_assert_eq(verify(ca.issue(longest, kNow)->certificate.get(), ca.certificate(), longest.c_str(), kNow), X509_V_OK);
    cr_assert(InterceptionCa::make({longest + "b"}, kNow, 1).code() == Errc::config);
    cr_assert(InterceptionCa::make({std::string(64, 'a')}, kNow, 1).code() == Errc::config);
    cr_assert(InterceptionCa::make(std::vector<std::string>(InterceptionCa::kMaxHosts + 1, "a"), kNow, 1).code() == Errc::config);
}

Test(leaf_cache, makes_a_leaf_once_and_again_before_it_ends) {
    LeafCache cache(make());
    const auto at = [](std::int64_t later) { return WallTime{kNow.unix_seconds + later}; };
    const auto first = cache.context_for(kHosts[0], kNow);
    cr_assert(first.has_value(), "%s", first.error().to_string().c_str());
    cr_assert(cache.context_for(kHosts[0], at(InterceptionCa::kLeafSeconds / 2 - 1))->get() == first->get());
    cr_assert(cache.context_for(kHosts[1], kNow)->get() != first->get());
    const auto second = cache.context_for(kHosts[0], at(InterceptionCa::kLeafSeconds / 2));
    cr_assert(second->get() != first->get());
    cr_assert(cache.context_for(kHosts[0], at(30 * kDay)).code() == Errc::expired);
    cr_assert(cache.context_for("other.example.org", kNow).code() == Errc::denied);
}
