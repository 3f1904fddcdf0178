// What /status.json says of a daemon (msslproxy(8)), for people. Pure.
#pragma once

#include <string>
#include <string_view>

#include "tools/json.h"
#include "tools/url.h"

namespace mssl::tools {

// The whole page as a table. No control characters but newlines.
std::string status_text(const Json& status);

// The transfer of this URL among status' transfers, whose URLs lack the query; null when there is none.
const Json& transfer_of(const Json& status, const Url& url);

// "server 40 %, peers 60 %"; empty before the first byte.
std::string sources_text(const Json& transfer);

}  // namespace mssl::tools
