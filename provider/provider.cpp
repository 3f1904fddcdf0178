#include "provider/provider.h"

#include <openssl/core_names.h>
#include <openssl/params.h>
#include <openssl/provider.h>

#include <array>

#include "provider/digest.h"
#include "provider/group.h"
#include "provider/kdf.h"
#include "provider/key.h"
#include "provider/store.h"

namespace mssl::provider {

std::unique_ptr<Provider> Provider::make(const OSSL_CORE_HANDLE* core, const OSSL_DISPATCH* in) {
    std::unique_ptr<Provider> made(new Provider(core, in));
    Result<Settings> settings = read_settings(core, in);
    if (settings)
        made->settings_ = *std::move(settings);
    else
        made->configured_ = settings.error();
    made->library_.reset(OSSL_LIB_CTX_new_child(core, in));
    if (!made->library_) {
        made->errors().raise(Reason::internal, "no child library context");
        return nullptr;
    }
    return made;
}

Provider::~Provider() { delete sealing_.load(); }

Result<const Sealing*> Provider::sealing() const {
    if (const Sealing* there = sealing_.load(std::memory_order_acquire)) return there;
    Result<Sealing> fetched = Sealing::fetch(library());
    if (!fetched) return fetched.error();
    auto made = std::make_unique<const Sealing>(*std::move(fetched));
    const Sealing* expected = nullptr;
    // Of two threads that fetch at once, one throws its own away.
    if (!sealing_.compare_exchange_strong(expected, made.get(), std::memory_order_acq_rel)) return expected;
    return static_cast<const Sealing*>(made.release());
}

Hello Provider::hello() const {
    Hello out;
    out.realm = settings_.realm;
    return out;
}

namespace {

// What is wrong with the module's parameters; not set where nothing is (provider-mssl(7), FOR APPLICATIONS).
constexpr const char* kErrorParam = "mssl-error";

void teardown(void* context) noexcept { delete static_cast<Provider*>(context); }

const OSSL_PARAM* gettable_params(void*) noexcept {
    static const OSSL_PARAM params[] = {
        OSSL_PARAM_utf8_ptr(OSSL_PROV_PARAM_NAME, nullptr, 0),
        OSSL_PARAM_utf8_ptr(OSSL_PROV_PARAM_VERSION, nullptr, 0),
        OSSL_PARAM_utf8_ptr(OSSL_PROV_PARAM_BUILDINFO, nullptr, 0),
        OSSL_PARAM_int(OSSL_PROV_PARAM_STATUS, nullptr),
        OSSL_PARAM_utf8_ptr(kErrorParam, nullptr, 0),
        OSSL_PARAM_END,
    };
    return params;
}

int get_params(void* context, OSSL_PARAM params[]) noexcept {
    const Status& configured = static_cast<const Provider*>(context)->configured();
    struct Text {
        const char* key;
        const char* value;
    };
    for (const Text& text : {Text{OSSL_PROV_PARAM_NAME, "mSSL provider"}, Text{OSSL_PROV_PARAM_VERSION, PACKAGE_VERSION},
                             Text{OSSL_PROV_PARAM_BUILDINFO, PACKAGE_STRING " for " OPENSSL_VERSION_TEXT}}) {
        OSSL_PARAM* p = OSSL_PARAM_locate(params, text.key);
        if (p != nullptr && OSSL_PARAM_set_utf8_ptr(p, text.value) != 1) return 0;
    }
    OSSL_PARAM* status = OSSL_PARAM_locate(params, OSSL_PROV_PARAM_STATUS);
    if (status != nullptr && OSSL_PARAM_set_int(status, configured ? 1 : 0) != 1) return 0;
    OSSL_PARAM* error = OSSL_PARAM_locate(params, kErrorParam);
    return error == nullptr || configured || OSSL_PARAM_set_utf8_ptr(error, configured.error().detail.c_str()) == 1 ? 1 : 0;
}

const OSSL_ALGORITHM* query_operation(void*, int operation, int* no_cache) noexcept {
    *no_cache = 0;
    switch (operation) {
    case OSSL_OP_DIGEST: return digests();
    case OSSL_OP_KEM: return key_encapsulations();
    case OSSL_OP_KDF: return key_derivations();
    case OSSL_OP_KEYMGMT: return key_managements();
    case OSSL_OP_STORE: return stores();
    case OSSL_OP_KEYEXCH: return key_exchanges();
    default: return nullptr;  // an operation that is not ours
    }
}

const OSSL_ITEM* get_reason_strings(void*) noexcept { return reason_strings(); }

}  // namespace

const OSSL_DISPATCH* provider_functions() noexcept {
    static const OSSL_DISPATCH functions[] = {
        {OSSL_FUNC_PROVIDER_TEARDOWN, as_function(teardown)},
        {OSSL_FUNC_PROVIDER_GETTABLE_PARAMS, as_function(gettable_params)},
        {OSSL_FUNC_PROVIDER_GET_PARAMS, as_function(get_params)},
        {OSSL_FUNC_PROVIDER_QUERY_OPERATION, as_function(query_operation)},
        {OSSL_FUNC_PROVIDER_GET_CAPABILITIES, as_function(get_capabilities)},
        {OSSL_FUNC_PROVIDER_GET_REASON_STRINGS, as_function(get_reason_strings)},
        {0, nullptr},
    };
    return functions;
}

}  // namespace mssl::provider
