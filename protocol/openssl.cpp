#include "protocol/openssl.h"

#include <openssl/err.h>

namespace mssl {

Error openssl_error(Errc code, std::string_view doing) {
    std::string detail(doing);
    // The first entry is the cause and each later one a caller that failed with it; what follows these few says nothing new.
    constexpr int kReasonsShown = 3;
    int seen = 0;
    const char* data = nullptr;
    int flags = 0;
    while (const unsigned long entry = ERR_get_error_all(nullptr, nullptr, nullptr, &data, &flags)) {
        if (seen++ >= kReasonsShown) continue;
        detail += seen == 1 ? ": " : "; ";
        if (const char* reason = ERR_reason_error_string(entry))
            detail += reason;
        else
            detail += "error " + std::to_string(entry);
        if ((flags & ERR_TXT_STRING) != 0 && data != nullptr && *data != '\0') {
            detail += " (";
            detail += data;
            detail += ')';
        }
    }
    return Error{code, std::move(detail)};
}

}  // namespace mssl
