#include "proxy/client/app_connections.h"

#include <utility>
#include <vector>

#include "proxy/client/app_connection.h"

namespace mssl::proxy {

AppConnections::AppConnections(Runtime& runtime, Loop& loop, std::shared_ptr<SiteTable> sites,
                               std::shared_ptr<Transfers> transfers, std::shared_ptr<OwnSockets> own)
    : runtime_(runtime),
      loop_(loop),
      sites_(std::move(sites)),
      gate_(sites_),
      transfers_(std::move(transfers)),
      own_(std::move(own)),
      pool_(loop, runtime.names) {}

AppConnections::~AppConnections() = default;

void AppConnections::begin(Fd fd, std::shared_ptr<const WayIn> way) {
    if (draining_) return;
    auto connection = std::make_unique<AppConnection>(*this, std::move(fd), std::move(way));
    AppConnection* key = connection.get();
    connections_.emplace(key, std::move(connection));
}

void AppConnections::remove(AppConnection* connection) {
    const auto it = connections_.find(connection);
    if (it == connections_.end()) return;
    loop_.dispose(std::move(it->second));
    connections_.erase(it);
    if (drained_ && connections_.empty()) std::exchange(drained_, nullptr)();
}

void AppConnections::drain(std::function<void()> done) {
    draining_ = true;
    pool_.close_idle();
    if (connections_.empty()) return done();
    drained_ = std::move(done);
    std::vector<AppConnection*> all;
    for (const auto& [key, owned] : connections_) all.push_back(key);
    for (AppConnection* c : all) c->drain();
}

}  // namespace mssl::proxy
