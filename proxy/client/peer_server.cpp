#include "proxy/client/peer_server.h"

#include <mutex>

namespace mssl::proxy {

struct PeerServer::Impl {
    std::shared_ptr<Transfers> transfers;
    std::shared_ptr<PeerCount> count = std::make_shared<PeerCount>();
    PeerLimits limits;
    std::mutex mutex;
    std::vector<std::shared_ptr<Site>> sites;
    std::unique_ptr<Listener> listener;

    std::shared_ptr<const Membership> membership() {
        const std::lock_guard lock(mutex);
        for (const auto& site : sites)
            if (auto m = site->current()) return m;
        return nullptr;
    }
};

PeerServer::PeerServer() = default;
PeerServer::~PeerServer() = default;

Result<std::unique_ptr<PeerServer>> PeerServer::open(Runtime& runtime, const Address& at,
                                                     std::vector<std::shared_ptr<Site>> sites,
                                                     std::shared_ptr<Transfers> transfers, const PeerLimits& limits) {
    std::unique_ptr<PeerServer> out(new PeerServer);
    out->impl_ = std::make_shared<Impl>();
    out->impl_->transfers = std::move(transfers);
    out->impl_->sites = std::move(sites);
    out->impl_->limits = limits;
    Result<std::unique_ptr<Listener>> listener =
        Listener::open(runtime.loops, at, [weak = std::weak_ptr(out->impl_)](Loop& loop, Fd fd, const Address&) {
            const auto impl = weak.lock();
            if (!impl) return;
            // Not enrolled anywhere yet: nothing to show, nothing to serve.
            if (auto membership = impl->membership()) 
                PeerSession::start(loop, std::move(fd), std::move(membership), impl->transfers, impl->count, impl->limits);
        });
    if (!listener) return listener.error();
    out->impl_->listener = std::move(*listener);
    return out;
}

void PeerServer::start() { impl_->listener->start(); }
void PeerServer::stop() { impl_->listener->stop(); }
Address PeerServer::address() const { return impl_->listener->address(); }

void PeerServer::set_sites(std::vector<std::shared_ptr<Site>> sites) {
    const std::lock_guard lock(impl_->mutex);
    impl_->sites = std::move(sites);
}

}  // namespace mssl::proxy
