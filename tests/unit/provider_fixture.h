// The provider, built into this program, in a library context of its own beside the default one: as many as a test wants,
// each as a program of its own would have it.
#pragma once

#include <criterion/criterion.h>
#include <openssl/core.h>
#include <openssl/err.h>
#include <openssl/provider.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "protocol/openssl.h"
#include "tests/unit/provider_configuration.h"

namespace mssl::test {

class ProviderHost {
public:
    // parameters: lines of the module's section of openssl.cnf.
    explicit ProviderHost(const std::string& parameters = {}) : library_(OSSL_LIB_CTX_new()) {
        cr_assert_eq(OSSL_PROVIDER_add_builtin(library_.get(), "mssl", OSSL_provider_init), 1);
        char path[] = "/tmp/mssl-provider-XXXXXX";
        const int fd = mkstemp(path);
        cr_assert_geq(fd, 0);
        const std::string text = provider_configuration(parameters);
        cr_assert_eq(write(fd, text.data(), text.size()), static_cast<ssize_t>(text.size()));
        close(fd);
        cr_assert_eq(OSSL_LIB_CTX_load_config(library_.get(), path), 1);
        unlink(path);
    }
    OSSL_LIB_CTX* library() const { return library_.get(); }
    bool is_loaded() const { return OSSL_PROVIDER_available(library_.get(), "mssl") == 1; }

private:
    LibCtxPtr library_;
};

}  // namespace mssl::test
