#include "protocol/interception_ca.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>

#include "protocol/bytes.h"
#include "protocol/x509.h"

namespace mssl {
namespace {

constexpr std::int64_t kSecondsADay = 86400;
// Clocks of containers and virtual machines that share this host's trust may be behind.
constexpr std::int64_t kBeforeNow = 3600;
constexpr std::size_t kMaxLabel = 63, kMaxName = 253;  // RFC 1035 §2.3.4
constexpr std::size_t kMaxCommonName = 64;             // RFC 5280 appendix A.1, ub-common-name
constexpr char kOrganisation[] = "mSSL interception on this host";

using ConstraintsPtr = std::unique_ptr<NAME_CONSTRAINTS, Freer<NAME_CONSTRAINTS_free>>;

Result<PkeyPtr> make_key() {
    PkeyPtr key(EVP_EC_gen("P-256"));
    if (!key) return openssl_error(Errc::crypto, "making a P-256 key");
    return key;
}

// Constraints bind the kinds of names that they mention: without the addresses it could vouch for every address.
std::string constraints_for(const std::vector<std::string>& hosts) {
    std::string out = "critical";
    for (const std::string& host : hosts) out += ",permitted;DNS:" + host;
    return out + ",excluded;IP:0.0.0.0/0.0.0.0,excluded;IP:0:0:0:0:0:0:0:0/0:0:0:0:0:0:0:0";
}

struct Contents {
    std::string common_name, alternative_name;
    std::string basic_constraints, key_usage, constraints;
    std::int64_t not_before = 0, not_after = 0;
};

// issuer null: self-signed.
Result<X509Ptr> issue_certificate(const Contents& c, EVP_PKEY* subject_key, X509* issuer, EVP_PKEY* issuer_key) {
    ERR_clear_error();
    X509Ptr made(X509_new());
    X509* x = made.get();
    X509* by = issuer == nullptr ? x : issuer;
    if (!made || X509_set_version(x, X509_VERSION_3) != 1 || !set_random_serial(x) || !set_time(X509_getm_notBefore(x), c.not_before) ||
        !set_time(X509_getm_notAfter(x), c.not_after) || X509_set_pubkey(x, subject_key) != 1 ||
        !add_name(X509_get_subject_name(x), "O", kOrganisation) || !add_name(X509_get_subject_name(x), "CN", c.common_name) ||
        X509_set_issuer_name(x, X509_get_subject_name(by)) != 1 ||
        !add_extension(x, by, NID_basic_constraints, c.basic_constraints) || !add_extension(x, by, NID_key_usage, c.key_usage) ||
        !add_extension(x, by, NID_ext_key_usage, "serverAuth") || !add_extension(x, by, NID_subject_alt_name, c.alternative_name) ||
        !add_extension(x, by, NID_name_constraints, c.constraints) || !add_extension(x, by, NID_subject_key_identifier, "hash") ||
        !add_extension(x, by, NID_authority_key_identifier, issuer == nullptr ? "" : "keyid:always") ||
        X509_sign(x, issuer_key, EVP_sha256()) <= 0)
        return openssl_error(Errc::crypto, "making a certificate");
    return made;
}

// The whole of IPv4, or of IPv6: address and mask, all zero (RFC 5280 §4.2.1.10).
bool is_every_address(const GENERAL_SUBTREE* subtree, int address_bytes) {
    if (subtree->base->type != GEN_IPADD) return false;
    const ASN1_OCTET_STRING* ip = subtree->base->d.iPAddress;
    const unsigned char* data = ASN1_STRING_get0_data(ip);
    return ASN1_STRING_length(ip) == 2 * address_bytes && std::all_of(data, data + 2 * address_bytes, [](unsigned char b) { return b == 0; });
}

bool excludes_addresses(const NAME_CONSTRAINTS* constraints) {
    bool v4 = false, v6 = false;
    for (int i = 0; i < sk_GENERAL_SUBTREE_num(constraints->excludedSubtrees); ++i) {
        const GENERAL_SUBTREE* subtree = sk_GENERAL_SUBTREE_value(constraints->excludedSubtrees, i);
        v4 = v4 || is_every_address(subtree, 4);
        v6 = v6 || is_every_address(subtree, 16);
    }
    return v4 && v6;
}

std::string permitted_name(const GENERAL_SUBTREE* subtree) {
    if (subtree->base->type != GEN_DNS) return {};
    const ASN1_IA5STRING* name = subtree->base->d.dNSName;
    return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(name)), static_cast<std::size_t>(ASN1_STRING_length(name))};
}

}  // namespace

bool is_interceptable_host(std::string_view host) {
    if (host.empty() || host.size() > kMaxName || host.front() == '.' || host.back() == '.') return false;
    std::size_t label = 0;
    bool numeric = true;  // an IPv4 address is none, whatever it looks like (RFC 1123 §2.1: the last label is not all digits)
    for (const char c : host) {
        if (c == '.') {
            if (label == 0) return false;
            label = 0;
            numeric = true;
            continue;
        }
        const bool digit = c >= '0' && c <= '9';
        if (!digit && !(c >= 'a' && c <= 'z') && c != '-' && c != '_') return false;
        numeric = numeric && digit;
        if (++label > kMaxLabel) return false;
    }
    return !numeric;
}

Result<InterceptionCa> InterceptionCa::make(const std::vector<std::string>& hosts, WallTime now, int days) {
    if (hosts.empty() || hosts.size() > kMaxHosts) return fail(Errc::config, "hosts: 1 to " + std::to_string(kMaxHosts));
    if (days < 1 || days > kMaxDays) return fail(Errc::config, "days: 1 to " + std::to_string(kMaxDays));
    for (const std::string& host : hosts)
        if (!is_interceptable_host(host))
            return fail(Errc::config, "'" + host + "' is no host name in lower case; addresses cannot be intercepted, wildcards not written");
    Result<PkeyPtr> key = make_key();
    if (!key) return key.error();
    std::array<std::uint8_t, 4> number{};
    if (RAND_bytes(number.data(), static_cast<int>(number.size())) != 1) return openssl_error(Errc::crypto, "random bytes");
    Contents c;
    // Told from the one before it by those who have both.
    c.common_name = "mSSL interception CA " + to_hex(View(number));
    c.basic_constraints = "critical,CA:TRUE,pathlen:0";
    c.key_usage = "critical,keyCertSign";
    c.constraints = constraints_for(hosts);
    c.not_before = now.unix_seconds - kBeforeNow;
    c.not_after = now.unix_seconds + days * kSecondsADay;
    Result<X509Ptr> certificate = issue_certificate(c, key->get(), nullptr, key->get());
    if (!certificate) return certificate.error();
    InterceptionCa out;
    out.key_ = std::move(*key);
    out.certificate_ = std::move(*certificate);
    if (Status s = out.read(); !s) return s.error();
    return out;
}

Result<InterceptionCa> InterceptionCa::from_pem(std::string_view pem) {
    if (pem.size() > kMaxPemBytes) return fail(Errc::too_large, "interception CA");
    ERR_clear_error();
    const BioPtr for_key = bio_over(pem), for_certificate = bio_over(pem);
    InterceptionCa out;
    out.key_ = PkeyPtr(for_key ? PEM_read_bio_PrivateKey(for_key.get(), nullptr, no_password, nullptr) : nullptr);
    if (!out.key_) return openssl_error(Errc::malformed, "no private key in PEM");
    out.certificate_ = X509Ptr(for_certificate ? PEM_read_bio_X509(for_certificate.get(), nullptr, no_password, nullptr) : nullptr);
    if (!out.certificate_) return openssl_error(Errc::malformed, "no certificate in PEM");
    if (Status s = out.read(); !s) return s.error();
    return out;
}

Status InterceptionCa::read() {
    X509* x = certificate_.get();
    if (X509_check_private_key(x, key_.get()) != 1) {
        ERR_clear_error();
        return fail(Errc::bad_certificate, "the key is not the certificate's");
    }
    if (X509_check_ca(x) != 1 || !unix_time_of(X509_get0_notBefore(x), not_before_) || !unix_time_of(X509_get0_notAfter(x), not_after_))
        return fail(Errc::bad_certificate, "not the certificate of a certification authority");
    int critical = 0;
    const ConstraintsPtr constraints(static_cast<NAME_CONSTRAINTS*>(X509_get_ext_d2i(x, NID_name_constraints, &critical, nullptr)));
    if (!constraints || critical != 1) return fail(Errc::bad_certificate, "no critical name constraints: it could vouch for any site");
    for (int i = 0; i < sk_GENERAL_SUBTREE_num(constraints->permittedSubtrees); ++i) {
        std::string name = permitted_name(sk_GENERAL_SUBTREE_value(constraints->permittedSubtrees, i));
        if (!is_interceptable_host(name)) return fail(Errc::bad_certificate, "name constraints that permit something other than a host name");
        hosts_.push_back(std::move(name));
    }
    if (hosts_.empty()) return fail(Errc::bad_certificate, "name constraints that permit no host: it could vouch for any site");
    if (!excludes_addresses(constraints.get()))
        return fail(Errc::bad_certificate, "name constraints that do not exclude addresses: it could vouch for any of them");
    return {};
}

Result<std::string> InterceptionCa::to_pem() const {
    ERR_clear_error();
    const BioPtr out(BIO_new(BIO_s_secmem()));
    if (!out || PEM_write_bio_PKCS8PrivateKey(out.get(), key_.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1 ||
        PEM_write_bio_X509(out.get(), certificate_.get()) != 1)
        return openssl_error(Errc::crypto, "encoding the interception CA");
    return text_of(out.get());
}

std::string InterceptionCa::certificate_pem() const {
    const BioPtr out(BIO_new(BIO_s_mem()));
    if (!out || PEM_write_bio_X509(out.get(), certificate_.get()) != 1) return {};
    return text_of(out.get());
}

bool InterceptionCa::is_for(std::string_view host) const { return std::find(hosts_.begin(), hosts_.end(), host) != hosts_.end(); }

std::string InterceptionCa::subject() const {
    const BioPtr out(BIO_new(BIO_s_mem()));
    if (!out || X509_NAME_print_ex(out.get(), X509_get_subject_name(certificate_.get()), 0, XN_FLAG_RFC2253) < 0) return {};
    return text_of(out.get());
}

bool InterceptionCa::is_one(const X509* certificate) {
    const X509_NAME* name = X509_get_subject_name(certificate);
    const int at = X509_NAME_get_index_by_NID(name, NID_organizationName, -1);
    if (at < 0) return false;
    const ASN1_STRING* value = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at));
    const std::string_view organisation(reinterpret_cast<const char*>(ASN1_STRING_get0_data(value)),
                                        static_cast<std::size_t>(ASN1_STRING_length(value)));
    return organisation == kOrganisation;
}

Hash InterceptionCa::fingerprint() const {
    Hash out;
    unsigned size = 0;
    if (X509_digest(certificate_.get(), EVP_sha256(), out.bytes.data(), &size) != 1) std::terminate();  // of memory alone
    return out;
}

Result<InterceptionCa::Leaf> InterceptionCa::issue(const std::string& host, WallTime now) const {
    if (!is_for(host)) return fail(Errc::denied, "the interception CA may not vouch for " + host);
    if (now.unix_seconds >= not_after_.unix_seconds) return fail(Errc::expired, "the interception CA");
    Result<PkeyPtr> key = make_key();
    if (!key) return key.error();
    Contents c;
    // Longer ones stand in the alternative name alone, which is what counts (RFC 6125).
    if (host.size() <= kMaxCommonName) c.common_name = host;
    c.alternative_name = "DNS:" + host;
    c.basic_constraints = "critical,CA:FALSE";
    c.key_usage = "critical,digitalSignature";
    c.not_before = std::max(now.unix_seconds - kBeforeNow, not_before_.unix_seconds);
    c.not_after = std::min(now.unix_seconds + kLeafSeconds, not_after_.unix_seconds);
    Result<X509Ptr> certificate = issue_certificate(c, key->get(), certificate_.get(), key_.get());
    if (!certificate) return certificate.error();
    return Leaf{std::move(*key), std::move(*certificate), WallTime{c.not_after}};
}

}  // namespace mssl
