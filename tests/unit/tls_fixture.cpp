#include "tests/unit/tls_fixture.h"

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#include <cstdio>
#include <fstream>
#include <memory>

namespace mssl::test {
namespace {

using FilePtr = std::unique_ptr<FILE, decltype([](FILE* f) { std::fclose(f); })>;

void must(bool ok) {
    if (!ok) std::abort();
}

void add_extension(X509* certificate, int nid, const std::string& value) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, certificate, certificate, nullptr, nullptr, 0);
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
    must(extension != nullptr && X509_add_ext(certificate, extension, -1) == 1);
    X509_EXTENSION_free(extension);
}

}  // namespace

TempDir::TempDir() {
    std::string pattern = (std::filesystem::temp_directory_path() / "mssl-test-XXXXXX").string();
    must(mkdtemp(pattern.data()) != nullptr);
    dir_ = pattern;
}

TempDir::~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(dir_, ignored);
}

std::string TempDir::write(const std::string& name, const std::string& text) const {
    const std::filesystem::path file = dir_ / name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << text;
    std::filesystem::permissions(file, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
    return file.string();
}

TestCertificate::TestCertificate(const TempDir& dir, const std::string& name, const std::string& alt_name,
                                 int from_days, int to_days)
    : certificate_file(dir.path(name + ".pem")), key_file(dir.path(name + ".key")) {
    const PkeyPtr key(EVP_EC_gen("P-256"));
    const X509Ptr x509(X509_new());
    must(key && x509);
    constexpr long kDay = 86400;
    X509_set_version(x509.get(), X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(x509.get()), 1);
    X509_gmtime_adj(X509_getm_notBefore(x509.get()), from_days * kDay);
    X509_gmtime_adj(X509_getm_notAfter(x509.get()), to_days * kDay);
    X509_set_pubkey(x509.get(), key.get());
    X509_NAME* subject = X509_get_subject_name(x509.get());
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
    X509_set_issuer_name(x509.get(), subject);
    add_extension(x509.get(), NID_basic_constraints, "critical,CA:TRUE");
    add_extension(x509.get(), NID_subject_alt_name, alt_name);
    must(X509_sign(x509.get(), key.get(), EVP_sha256()) > 0);
    const FilePtr c(std::fopen(certificate_file.c_str(), "w")), k(std::fopen(key_file.c_str(), "w"));
    must(c && k && PEM_write_X509(c.get(), x509.get()) == 1 &&
         PEM_write_PrivateKey(k.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) == 1);
    std::filesystem::permissions(key_file, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
}

}  // namespace mssl::test
