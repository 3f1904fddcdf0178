// The module's parameters, as they stand in its section of openssl.cnf (provider-mssl(7), PARAMETERS).
#pragma once

#include <openssl/core.h>
#include <openssl/core_dispatch.h>

#include <optional>
#include <string>

#include "protocol/sealing.h"

namespace mssl::provider {

struct Settings {
    RealmId realm;                   // "realm"; zeros: none
    std::optional<Secret> auth_key;  // "auth-key-file": who has it admits members
    bool require = false;            // "require": refuse who is no member
    std::string token_file;          // "token-file": empty: not a member
};

// Reads the parameters, and the authentication key's file. in: the core's dispatch table. Errors: config, with the
// parameter's name; internal.
Result<Settings> read_settings(const OSSL_CORE_HANDLE* core, const OSSL_DISPATCH* in);

}  // namespace mssl::provider
