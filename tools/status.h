// Reading a daemon's /status.json.
#pragma once

#include "tools/http.h"
#include "tools/json.h"

namespace mssl::tools {

Result<Json> fetch_status(const Endpoint& at, const Waiting& waiting);

}  // namespace mssl::tools
