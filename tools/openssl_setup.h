// What the OpenSSL configuration that this environment's programs read says of mSSL (provider-mssl(7), ACTIVATION).
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "protocol/result.h"

namespace mssl::tools {

struct OpensslSetup {
    std::string file;      // OPENSSL_CONF, or the system's
    bool module_named = false;  // "mssl" among the providers
    std::string module_section;
    std::string module_file;  // its "module"; empty: looked for by name
    // The rest of its section, as in the file.
    std::vector<std::pair<std::string, std::string>> parameters;
    std::string groups;  // of all programs' TLS connections; empty: OpenSSL's own

    bool has(std::string_view parameter) const;
};

// Errors: config, with the file, and the line where that is known.
Result<OpensslSetup> read_openssl_setup();

}  // namespace mssl::tools
