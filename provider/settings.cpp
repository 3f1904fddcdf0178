#include "provider/settings.h"

#include <openssl/params.h>

#include "protocol/bytes.h"
#include "protocol/token.h"
#include "provider/small_file.h"

namespace mssl::provider {
namespace {

// 64 digits and a newline.
constexpr std::size_t kAuthKeyFileBytes = 2 * Secret::size + 1;

Result<Secret> read_auth_key_file(const std::string& path) {
    const Result<FileBytes> text = read_small_file(path, kAuthKeyFileBytes);
    if (!text) return fail(Errc::config, "auth-key-file: " + text.error().detail);
    Result<Secret> key = read_auth_key(text->view());
    if (!key) return fail(Errc::config, "auth-key-file: " + path + ": " + key.error().detail);
    return key;
}

Result<RealmId> read_realm(std::string_view text) {
    const Result<Bytes> bytes = from_hex(text);
    if (!bytes || bytes->size() != RealmId::size)
        return fail(Errc::config, "realm: a realm's id is 64 hexadecimal digits");
    return RealmId::from(*bytes);
}

Result<bool> read_yes_no(std::string_view text) {
    if (text == "yes") return true;
    if (text == "no") return false;
    return fail(Errc::config, "require: yes or no");
}

}  // namespace

Result<Settings> read_settings(const OSSL_CORE_HANDLE* core, const OSSL_DISPATCH* in) {
    OSSL_FUNC_core_get_params_fn* get = nullptr;
    for (; in->function_id != 0; ++in)
        if (in->function_id == OSSL_FUNC_CORE_GET_PARAMS) get = OSSL_FUNC_core_get_params(in);
    char* realm = nullptr;
    char* auth_key_file = nullptr;
    char* require = nullptr;
    char* token_file = nullptr;
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_ptr("realm", &realm, 0),
        OSSL_PARAM_construct_utf8_ptr("auth-key-file", &auth_key_file, 0),
        OSSL_PARAM_construct_utf8_ptr("require", &require, 0),
        OSSL_PARAM_construct_utf8_ptr("token-file", &token_file, 0),
        OSSL_PARAM_construct_end(),
    };
    if (get == nullptr || get(core, params) != 1) return fail(Errc::internal, "the parameters of the module");

    Settings out;
    if (realm != nullptr) {
        const Result<RealmId> read = read_realm(realm);
        if (!read) return read.error();
        out.realm = *read;
    }
    if (auth_key_file != nullptr) {
        const Result<Secret> read = read_auth_key_file(auth_key_file);
        if (!read) return read.error();
        out.auth_key = *read;
    }
    if (require != nullptr) {
        const Result<bool> read = read_yes_no(require);
        if (!read) return read.error();
        out.require = *read;
    }
    if (out.require && !out.auth_key) return fail(Errc::config, "require: needs auth-key-file");
    // By its name mistyped, or forgotten, it would let everybody in.
    if (out.auth_key && require == nullptr) return fail(Errc::config, "auth-key-file: needs require, yes or no");
    if (token_file != nullptr) out.token_file = token_file;
    return out;
}

}  // namespace mssl::provider
