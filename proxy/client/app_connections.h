// The connections of applications in one loop, and what they share.
//
// Thread rules: that loop's.
#pragma once

#include <functional>
#include <memory>
#include <unordered_map>

#include "proxy/client/intercept.h"
#include "proxy/client/site_table.h"
#include "proxy/client/tls_gate.h"
#include "proxy/client/transfer.h"
#include "proxy/core/config.h"
#include "proxy/core/runtime.h"
#include "proxy/http/client.h"

namespace mssl::proxy {

class AppConnection;

// One [[intercept]] at run time; immutable, shared by the loops.
struct WayIn {
    InterceptConfig config;
    std::shared_ptr<SSL_CTX> origin_context;  // of forward to an https site
};

class AppConnections {
public:
    AppConnections(Runtime& runtime, Loop& loop, std::shared_ptr<SiteTable> sites, std::shared_ptr<Transfers> transfers,
                   std::shared_ptr<OwnSockets> own);
    ~AppConnections();
    AppConnections(const AppConnections&) = delete;
    AppConnections& operator=(const AppConnections&) = delete;

    void begin(Fd fd, std::shared_ptr<const WayIn> way);
    // No further request: idle connections end now, the others after their answer. done: when the last has ended.
    void drain(std::function<void()> done);
    std::size_t open() const { return connections_.size(); }
    Loop& loop() { return loop_; }

private:
    friend class AppConnection;
    void remove(AppConnection* connection);

    Runtime& runtime_;
    Loop& loop_;
    std::shared_ptr<SiteTable> sites_;
    const TlsGate gate_;
    std::shared_ptr<Transfers> transfers_;
    std::shared_ptr<OwnSockets> own_;
    HttpPool pool_;
    std::unordered_map<AppConnection*, std::unique_ptr<AppConnection>> connections_;
    std::function<void()> drained_;
    bool draining_ = false;
};

}  // namespace mssl::proxy
