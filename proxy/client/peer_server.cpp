#include "proxy/client/peer_server.h"

#include <atomic>
#include <mutex>

#include "proxy/client/peer_door.h"

namespace mssl::proxy {

namespace {

// Connections that have not said for whom they come: beyond it new ones end at once, so that strangers take no descriptors from the
// applications. A member's takes a round trip.
constexpr int kMaxDoors = 256;

}  // namespace

struct PeerServer::Impl {
    std::shared_ptr<Transfers> transfers;
    std::shared_ptr<PeerCount> count = std::make_shared<PeerCount>();
    PeerLimits limits;
    std::mutex mutex;
    std::vector<std::shared_ptr<Site>> sites;
    std::unique_ptr<Listener> listener;
    std::atomic<int> doors{0};

    // Until it is let go of; null: there are as many as may be.
    static std::shared_ptr<void> door(const std::shared_ptr<Impl>& impl) {
        if (impl->doors.fetch_add(1) >= kMaxDoors) {
            --impl->doors;
            return nullptr;
        }
        return {impl.get(), [impl](void*) { --impl->doors; }};
    }
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
            const auto open = weak.lock();
            std::shared_ptr<void> door = open ? Impl::door(open) : nullptr;
            if (!door) return;
            PeerDoor::open(
                loop, std::move(fd),
                [weak](std::string_view server_name) {
                    const auto impl = weak.lock();
                    return impl ? impl->membership(server_name) : nullptr;
                },
                [weak, &loop, door = std::move(door)](std::unique_ptr<Stream> stream, std::shared_ptr<const Membership> membership) {
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
