#include "provider/group.h"

#include <openssl/core_names.h>
#include <openssl/params.h>
#include <openssl/prov_ssl.h>

#include <cstring>

namespace mssl::provider {
namespace {

struct Group {
    unsigned id;
    unsigned security_bits;
    int min_tls;
    int max_tls;   // 0: none
    int min_dtls;  // -1: not for DTLS
    int max_dtls;
};

OSSL_PARAM text(const char* key, const char* value) {
    return {key, OSSL_PARAM_UTF8_STRING, const_cast<char*>(value), std::strlen(value) + 1, 0};
}
OSSL_PARAM number(const char* key, unsigned& value) { return OSSL_PARAM_construct_uint(key, &value); }
OSSL_PARAM number(const char* key, int& value) { return OSSL_PARAM_construct_int(key, &value); }

}  // namespace

int get_capabilities(void*, const char* capability, OSSL_CALLBACK* callback, void* argument) noexcept {
    if (std::strcmp(capability, "TLS-GROUP") != 0) return 0;
    Group group{kX25519GroupId, kX25519SecurityBits, TLS1_3_VERSION, 0, -1, -1};
    const OSSL_PARAM params[] = {
        text(OSSL_CAPABILITY_TLS_GROUP_NAME, kX25519Group),
        text(OSSL_CAPABILITY_TLS_GROUP_NAME_INTERNAL, kX25519Group),
        text(OSSL_CAPABILITY_TLS_GROUP_ALG, kX25519Group),
        number(OSSL_CAPABILITY_TLS_GROUP_ID, group.id),
        number(OSSL_CAPABILITY_TLS_GROUP_SECURITY_BITS, group.security_bits),
        number(OSSL_CAPABILITY_TLS_GROUP_MIN_TLS, group.min_tls),
        number(OSSL_CAPABILITY_TLS_GROUP_MAX_TLS, group.max_tls),
        number(OSSL_CAPABILITY_TLS_GROUP_MIN_DTLS, group.min_dtls),
        number(OSSL_CAPABILITY_TLS_GROUP_MAX_DTLS, group.max_dtls),
        OSSL_PARAM_construct_end(),
    };
    return callback(params, argument);
}

}  // namespace mssl::provider
