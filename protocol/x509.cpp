#include "protocol/x509.h"

#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <array>
#include <chrono>
#include <ctime>

namespace mssl {
namespace {

constexpr std::size_t kSerialBytes = 16;

using ExtensionPtr = std::unique_ptr<X509_EXTENSION, Freer<X509_EXTENSION_free>>;
using BignumPtr = std::unique_ptr<BIGNUM, Freer<BN_free>>;

}  // namespace

BioPtr bio_over(std::string_view text) {
    return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

std::string text_of(BIO* bio) {
    char* data = nullptr;
    const long n = BIO_get_mem_data(bio, &data);
    return n > 0 ? std::string(data, static_cast<std::size_t>(n)) : std::string();
}

int no_password(char*, int, int, void*) { return -1; }

bool unix_time_of(const ASN1_TIME* t, WallTime& out) {
    std::tm tm{};
    if (t == nullptr || ASN1_TIME_to_tm(t, &tm) != 1) return false;
    using namespace std::chrono;
    const sys_days day = year{tm.tm_year + 1900} / (tm.tm_mon + 1) / tm.tm_mday;
    const auto at = day + hours{tm.tm_hour} + minutes{tm.tm_min} + seconds{tm.tm_sec};
    out.unix_seconds = at.time_since_epoch().count();
    return true;
}

bool add_extension(X509* x, X509* issuer, int nid, const std::string& value) {
    if (value.empty()) return true;
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, x, nullptr, nullptr, 0);
    const ExtensionPtr e(X509V3_EXT_conf_nid(nullptr, &ctx, nid, value.c_str()));
    return e && X509_add_ext(x, e.get(), -1) == 1;
}

bool add_name(X509_NAME* name, const char* field, const std::string& value) {
    return value.empty() || X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8,
                                                       reinterpret_cast<const unsigned char*>(value.data()),
                                                       static_cast<int>(value.size()), -1, 0) == 1;
}

bool set_random_serial(X509* x) {
    std::array<unsigned char, kSerialBytes> raw{};
    if (RAND_bytes(raw.data(), static_cast<int>(raw.size())) != 1) return false;
    raw[0] |= 0x40;  // never zero, and one length less or more says nothing
    const BignumPtr number(BN_bin2bn(raw.data(), static_cast<int>(raw.size()), nullptr));
    return number && BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(x)) != nullptr;
}

bool set_time(ASN1_TIME* t, std::int64_t unix_seconds) {
    return ASN1_TIME_set(t, static_cast<std::time_t>(unix_seconds)) != nullptr;
}

}  // namespace mssl
