#include "provider/group.h"

#include <openssl/core_names.h>
#include <openssl/params.h>
#include <openssl/prov_ssl.h>

#include <cstring>

#include "provider/hybrid.h"
#include "provider/provider.h"

namespace mssl::provider {
namespace {

// What the core is told of a group.
struct Told {
    unsigned id;
    unsigned security_bits;
    unsigned is_kem;
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

int tell(const Group& group, OSSL_CALLBACK* callback, void* argument) {
    Told told{group.share->id, static_cast<unsigned>(group.security_bits), group.is_kem ? 1U : 0U, TLS1_3_VERSION, 0, -1, -1};
    const OSSL_PARAM params[] = {
        text(OSSL_CAPABILITY_TLS_GROUP_NAME, group.share->name),
        text(OSSL_CAPABILITY_TLS_GROUP_NAME_INTERNAL, group.share->name),
        text(OSSL_CAPABILITY_TLS_GROUP_ALG, group.share->name),
        number(OSSL_CAPABILITY_TLS_GROUP_ID, told.id),
        number(OSSL_CAPABILITY_TLS_GROUP_SECURITY_BITS, told.security_bits),
        number(OSSL_CAPABILITY_TLS_GROUP_IS_KEM, told.is_kem),
        number(OSSL_CAPABILITY_TLS_GROUP_MIN_TLS, told.min_tls),
        number(OSSL_CAPABILITY_TLS_GROUP_MAX_TLS, told.max_tls),
        number(OSSL_CAPABILITY_TLS_GROUP_MIN_DTLS, told.min_dtls),
        number(OSSL_CAPABILITY_TLS_GROUP_MAX_DTLS, told.max_dtls),
        OSSL_PARAM_construct_end(),
    };
    return callback(params, argument);
}

}  // namespace

int get_capabilities(void* provider, const char* capability, OSSL_CALLBACK* callback, void* argument) noexcept {
    if (std::strcmp(capability, "TLS-GROUP") != 0) return 0;
    if (tell(kX25519Keys, callback, argument) != 1) return 0;
    // Now, not when the module was loaded: the default provider may be activated after it.
    if (!hybrid_there(static_cast<const Provider*>(provider)->library())) return 1;
    return tell(kHybridKeys, callback, argument);
}

}  // namespace mssl::provider
