// What the provider says when it refuses: reasons in OpenSSL's error queue, where programs log them
// ("…:mssl::no membership:…", provider-mssl(7), DIAGNOSTICS).
#pragma once

#include <openssl/core.h>
#include <openssl/core_dispatch.h>

#include <cstdint>
#include <exception>

#include "protocol/result.h"

namespace mssl::provider {

// Numbers are this module's own; 0 is none in OpenSSL.
enum class Reason : std::uint32_t {
    internal = 1,       // a failure of OpenSSL below us, or no memory
    bad_configuration,  // a parameter of the module
    too_large,          // beyond a limit
    finished,           // an operation on what is done already
    malformed,          // a key share
    unknown_critical,   // a TLV in a key share that nobody may ignore
    mismatch,           // keys that do not belong together; a server's share that is none for this client's
    not_member,         // membership is required
    expired,            // membership is required, and the token's has ended
    wrong_realm,        // membership is required, and the client names another realm
    bad_uri,            // none of a store
    unreadable,         // a file of a store
    bad_parameter,      // of a key derivation: missing, or of the wrong length
};

// For OSSL_FUNC_PROVIDER_GET_REASON_STRINGS; ends with an item of zeros.
const OSSL_ITEM* reason_strings() noexcept;

// Raises errors through the core's functions, which know this provider's name.
class Errors {
public:
    Errors() = default;
    // From the core's dispatch table; what it lacks is not called.
    Errors(const OSSL_CORE_HANDLE* core, const OSSL_DISPATCH* in) noexcept;
    // The reason that an error of the layers below stands for, with its detail. Returns 0.
    int raise(const Error& error, const char* file = __builtin_FILE(), int line = __builtin_LINE(),
              const char* function = __builtin_FUNCTION()) const noexcept;
    // Puts reason, and detail where it is not null, on the calling thread's queue. Returns 0, as what failed does.
    int raise(Reason reason, const char* detail = nullptr, const char* file = __builtin_FILE(),
              int line = __builtin_LINE(), const char* function = __builtin_FUNCTION()) const noexcept;

private:
    const OSSL_CORE_HANDLE* core_ = nullptr;
    OSSL_FUNC_core_new_error_fn* new_error_ = nullptr;
    OSSL_FUNC_core_set_error_debug_fn* set_error_debug_ = nullptr;
    OSSL_FUNC_core_vset_error_fn* vset_error_ = nullptr;
};

// A dispatch table holds functions of every type as one; the core casts them back (core_dispatch.h).
template <class F>
auto as_function(F* function) noexcept {
    return reinterpret_cast<void (*)(void)>(function);
}

// Runs body, which returns 1 or 0: an exception ends here, for the callers are C.
template <class Body>
int guarded(const Errors& errors, Body body) noexcept {
    try {
        return body();
    } catch (const std::exception& e) {
        return errors.raise(Reason::internal, e.what());
    } catch (...) {
        return errors.raise(Reason::internal);
    }
}

// What body makes, a std::unique_ptr, for a caller that is to own it; null where it is null, or for an exception.
template <class Body>
auto made_by(const Errors& errors, Body body) noexcept {
    decltype(body().release()) made = nullptr;
    guarded(errors, [&] {
        made = body().release();
        return made != nullptr ? 1 : 0;
    });
    return made;
}

}  // namespace mssl::provider
