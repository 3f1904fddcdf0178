// The certification authority of one host, with which msslproxy there answers for the sites that it intercepts (mssl ca, DESIGN 12).
// It can vouch for these sites and for nothing else: a critical X.509 name constraint (RFC 5280 §4.2.1.10) says so, which
// those who trust it check. Whoever has its key can impersonate these sites, and only to this host's programs.
//
// Thread rules: immutable after construction; share by const reference or shared_ptr.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "protocol/openssl.h"
#include "protocol/types.h"

namespace mssl {

class InterceptionCa {
public:
    // In the directory that `mssl ca` keeps it in: to_pem(), and what programs are to trust.
    static constexpr const char* kKeyFile = "ca.key";
    static constexpr const char* kCertificateFile = "ca.pem";
    static constexpr std::size_t kMaxHosts = 256;
    static constexpr int kMaxDays = 3653;  // ten years
    static constexpr std::size_t kMaxPemBytes = 128 * 1024;  // kMaxHosts of the longest names take 87 KiB
    // How long a leaf is good for. It lives in the daemon's memory alone and is made again in time.
    static constexpr std::int64_t kLeafSeconds = 2 * 86400;

    // A new P-256 key and self-signed certificate. hosts: 1 to kMaxHosts lower-case DNS names, no addresses (there is no SNI for
    // them); days: 1 to kMaxDays. Errors: config (names what is wrong), crypto.
    static Result<InterceptionCa> make(const std::vector<std::string>& hosts, WallTime now, int days);
    // What to_pem() wrote. Errors: malformed, bad_certificate: not a CA, not the key's, or not constrained as make() does it: one
    // that could vouch for any name, or for addresses, is not used.
    static Result<InterceptionCa> from_pem(std::string_view pem);

    // PKCS #8 and certificate, in one piece so that the two cannot come apart. Secret: the caller clears it (OPENSSL_cleanse).
    Result<std::string> to_pem() const;
    std::string certificate_pem() const;
    // As the constraint has them, lower case.
    const std::vector<std::string>& hosts() const { return hosts_; }
    bool is_for(std::string_view host) const;  // exactly, lower case
    WallTime not_before() const { return not_before_; }
    WallTime not_after() const { return not_after_; }
    std::string subject() const;  // RFC 2253, one line
    // Whether certificate says that it is such a CA, of this host or of another. It says nothing about servers: only to
    // applications does a CA like this vouch for anybody.
    static bool is_one(const X509* certificate);
    Hash fingerprint() const;     // SHA-256 of the certificate's DER
    X509* certificate() const { return certificate_.get(); }  // owned by this

    struct Leaf {
        PkeyPtr key;
        X509Ptr certificate;
        WallTime not_after;
    };
    // A server's certificate for host with a P-256 key of its own, good from an hour ago for kLeafSeconds, within what this has left.
    // Errors: denied (is_for(host) does not hold), expired (this, at now), crypto.
    Result<Leaf> issue(const std::string& host, WallTime now) const;

private:
    InterceptionCa() = default;
    Status read();

    std::shared_ptr<EVP_PKEY> key_;
    std::shared_ptr<X509> certificate_;
    std::vector<std::string> hosts_;
    WallTime not_before_, not_after_;
};

// A DNS name as certificates have them, lower case, with no address and no wildcard among them.
bool is_interceptable_host(std::string_view host);

}  // namespace mssl
