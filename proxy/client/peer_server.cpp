#include "proxy/client/peer_server.h"

#include <mutex>

#include "proxy/client/peer_door.h"

namespace mssl::proxy {

struct PeerServer::Impl {
    std::shared_ptr<Transfers> transfers;
    std::shared_ptr<PeerCount> count = std::make_shared<PeerCount>();
    PeerLimits limits;
    std::mutex mutex;
    std::vector<std::shared_ptr<Site>> sites;
    std::unique_ptr<Listener> listener;

    std::shared_ptr<const Membership> membership(std::string_view server_name) {
        const std::lock_guard lock(mutex);
        std::shared_ptr<const Membership> first;
        for (const auto& site : sites) {
            auto m = site->current();
            if (m && realm_server_name(m->trust.id()) == server_name) return m;
            if (!first) first = std::move(m);
        }
        return first;
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
            PeerDoor::open(
                loop, std::move(fd),
                [weak](std::string_view server_name) {
                    const auto impl = weak.lock();
                    return impl ? impl->membership(server_name) : nullptr;
                },
                [weak, &loop](std::unique_ptr<Stream> stream, std::shared_ptr<const Membership> membership) {
                    if (const auto impl = weak.lock())
                        PeerSession::start(loop, std::move(stream), std::move(membership), impl->transfers, impl->count, impl->limits);
                });
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
