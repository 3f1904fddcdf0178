// What the service manager gives and wants (sd_notify(3), sd_listen_fds(3)), without libsystemd.
#pragma once

#include <string_view>

#include "proxy/core/net.h"

namespace mssl::proxy {

// Tells $NOTIFY_SOCKET, when there is one: "READY=1", "RELOADING=1\nMONOTONIC_USEC=…", "STOPPING=1", "STATUS=…".
// Thread rules: any thread.
void notify_service_manager(std::string_view state);

// The listening TCP socket among $LISTEN_FDS that is bound to this address; empty when there is none, or it was taken before.
// Thread rules: one thread at a time.
Fd take_inherited_listener(const Address& at);

}  // namespace mssl::proxy
