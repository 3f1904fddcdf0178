// The configuration of a program that uses the provider.
#pragma once

#include <string>

namespace mssl::test {

// An openssl.cnf that activates the default provider and ours. parameters: lines of our section.
inline std::string provider_configuration(const std::string& parameters) {
    return "openssl_conf = init\n[init]\nproviders = all\n[all]\ndefault = d\nmssl = m\n"
           "[d]\nactivate = 1\n[m]\nactivate = 1\n" + parameters;
}

}  // namespace mssl::test
