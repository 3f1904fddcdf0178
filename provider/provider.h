// One loaded instance of the provider: what the module's entry point makes for each library context that loads it, and
// every operation's context points to.
//
// Thread rules: immutable once made, but for what sealing() fetches; any thread.
#pragma once

#include <atomic>

#include "protocol/hello.h"
#include "protocol/openssl.h"
#include "protocol/sealing.h"
#include "provider/reason.h"
#include "provider/settings.h"

namespace mssl::provider {

class Provider {
public:
    // Null after raising what was wrong; wrong parameters are not (configured()). core and in stay valid as long as the instance (provider(7)).
    static std::unique_ptr<Provider> make(const OSSL_CORE_HANDLE* core, const OSSL_DISPATCH* in);
    ~Provider();

    const Errors& errors() const { return errors_; }
    const Settings& settings() const { return settings_; }
    // What is wrong with the parameters, if anything is. No key share is made or taken then: OpenSSL 3.0 goes on without a
    // module that does not load, with its default groups, and a server that was to admit members only would admit all.
    const Status& configured() const { return configured_; }
    // A child of the context that loaded us: algorithms come from the providers that the application activated.
    OSSL_LIB_CTX* library() const { return library_.get(); }
    // HKDF and its companions, of library(). Not fetched when the module is loaded, for the default provider may be
    // activated after us. Errors: crypto.
    Result<const Sealing*> sealing() const;
    // What this side says of itself. No ability: a program that nobody changed takes no frames.
    Hello hello() const;

private:
    Provider(const OSSL_CORE_HANDLE* core, const OSSL_DISPATCH* in) : errors_(core, in) {}

    Errors errors_;
    Settings settings_;
    Status configured_;
    LibCtxPtr library_;
    mutable std::atomic<const Sealing*> sealing_ = nullptr;  // owned; no lock, which a fork could leave taken
};

// The functions that the core calls with a Provider* as context (provider-base(7)).
const OSSL_DISPATCH* provider_functions() noexcept;

}  // namespace mssl::provider
