// The one symbol of mssl.so, which libcrypto calls once for each library context that loads the module (provider(7);
// core.h declares it).
#include "provider/provider.h"

extern "C" int OSSL_provider_init(const OSSL_CORE_HANDLE* core, const OSSL_DISPATCH* in, const OSSL_DISPATCH** out,
                                  void** context) {
    using namespace mssl::provider;
    return guarded(Errors(core, in), [&] {
        std::unique_ptr<Provider> made = Provider::make(core, in);
        if (!made) return 0;
        *out = provider_functions();
        *context = made.release();
        return 1;
    });
}
