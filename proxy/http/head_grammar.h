// A complete, scanned head through llhttp's grammar. llhttp.cpp implements it and is the only file that knows llhttp.
#pragma once

#include <string>
#include <string_view>

#include "proxy/http/head_scan.h"

namespace mssl::proxy {

struct RawHead {
    std::string method, target;  // of a request
    std::uint16_t status = 0;    // of a response
    std::string reason;
    Fields fields;  // values without surrounding white space
};

// head must have passed scan_head. malformed, with llhttp's reason, when its grammar disagrees.
Result<RawHead> parse_head_grammar(std::string_view head, HeadKind kind);

}  // namespace mssl::proxy
