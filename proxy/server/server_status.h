// What the server half tells the status page: "objects", and POST /publish.
#pragma once

#include "proxy/core/status.h"
#include "proxy/server/server_side.h"

namespace mssl::proxy {

// side outlives the loops' running.
void report_server(StatusSources& to, const ServerSide& side);

}  // namespace mssl::proxy
