#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <vector>

#include "proxy/core/log.h"
#include "proxy/core/net.h"
#include "proxy/core/service.h"

namespace mssl::proxy {
namespace {

// Connections taken at one readiness, before other events of the loop get their turn.
constexpr int kAcceptBatch = 64;
// The kernel lowers it to net.core.somaxconn.
constexpr int kBacklog = 4096;
constexpr Duration kProbeForDescriptors = std::chrono::milliseconds(100);

Fd open_spare() { return Fd(open("/dev/null", O_RDONLY | O_CLOEXEC)); }

bool out_of_resources(int error) {
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

Error io_error(const std::string& what) { return fail(Errc::io, what + ": " + std::strerror(errno)); }

// Lets connections to any address in, as TPROXY sends them (ip(7)).
Status make_transparent(int fd, const Address& at) {
    const int on = 1;
    const int rc = at.is_v4() ? setsockopt(fd, SOL_IP, IP_TRANSPARENT, &on, sizeof on)
                              : setsockopt(fd, SOL_IPV6, IPV6_TRANSPARENT, &on, sizeof on);
    if (rc == 0) return {};
    if (errno == EPERM)
        return fail(Errc::io, "listen on " + at.to_string() + " for TPROXY: not permitted; the daemon needs CAP_NET_ADMIN "
                              "(AmbientCapabilities= in its unit)");
    return io_error("IP_TRANSPARENT for " + at.to_string());
}

Result<Fd> bind_and_listen(const Address& at, Listener::Kind kind) {
    Fd fd(socket(at.sa()->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd) return io_error("socket for " + at.to_string());
    const int on = 1, off = 0;
    if (setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0) return io_error("SO_REUSEADDR");
    // "[::]:443" is meant for both families, whatever net.ipv6.bindv6only says.
    if (!at.is_v4() && setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) != 0)
        return io_error("IPV6_V6ONLY");
    if (kind == Listener::Kind::transparent)
        if (Status s = make_transparent(fd.get(), at); !s) return s.error();
    if (bind(fd.get(), at.sa(), at.length()) != 0) return io_error("bind to " + at.to_string());
    if (listen(fd.get(), kBacklog) != 0) return io_error("listen on " + at.to_string());
    return fd;
}

}  // namespace

//   accepting ──EMFILE…──▶ paused ──descriptors are back──▶ accepting        (stop(): stopped, for good)
struct Listener::Impl {
    // What posted connections share with the Listener, so that none reaches a callback whose Listener is gone.
    struct Delivery {
        explicit Delivery(Accepted a, unsigned count) : accepted(std::move(a)), under_way(count) {}
        Accepted accepted;
        std::vector<std::atomic<std::uint64_t>> under_way;  // a loop: posted, not yet begun
        std::atomic<bool> alive{true};
    };

    Impl(LoopGroup& group, Fd listening, Accepted callback)
        : loops(group), fd(std::move(listening)), spare(open_spare()), delivery(std::make_shared<Delivery>(std::move(callback), group.size())) {}
    ~Impl() { delivery->alive = false; }

    void arm() {
        if (stopped) return;
        readable.reset(event_new(
            loops.at(0).base(), fd.get(), EV_READ | EV_PERSIST,
            [](evutil_socket_t, short, void* self) { static_cast<Impl*>(self)->accept_some(); }, this));
        if (!readable) std::terminate();
        event_add(readable.get(), nullptr);
    }

    void accept_some() {
        for (int i = 0; i < kAcceptBatch; ++i) {
            sockaddr_storage ss{};
            socklen_t len = sizeof ss;
            Fd connection(accept4(fd.get(), reinterpret_cast<sockaddr*>(&ss), &len, SOCK_NONBLOCK | SOCK_CLOEXEC));
            if (connection) {
                hand_out(std::move(connection), Address::from(reinterpret_cast<sockaddr*>(&ss), len));
                continue;
            }
            if (errno == EAGAIN || errno == EWOULDBLOCK) return;
            if (out_of_resources(errno)) {
                pause(errno);
                return;
            }
            // The others concern one connection that is gone already (accept(2)).
        }
    }

    void hand_out(Fd connection, const Address& peer) {
        Loop& loop = least_busy();
        add(loop.counters().connections_accepted);
        ++delivery->under_way[loop.number()];
        loop.post([&loop, d = delivery, peer, shared = std::make_shared<Fd>(std::move(connection))] {
            --d->under_way[loop.number()];
            if (d->alive) d->accepted(loop, std::move(*shared), peer);
        });
    }

    // The first of those with the fewest: what a lone connection left behind (connections to servers, that cost a handshake) is
    // where the next one can use it.
    Loop& least_busy() {
        const auto burden = [this](unsigned i) {
            return loops.at(i).counters().connections_open.load(std::memory_order_relaxed) + delivery->under_way[i];
        };
        unsigned best = 0;
        for (unsigned i = 1; i < loops.size(); ++i)
            if (burden(i) < burden(best)) best = i;
        return loops.at(best);
    }

    void pause(int why) {
        add(loops.at(0).counters().accept_pauses);
        log::warning("accepting paused", {{"why", std::strerror(why)}});
        // One of those who wait learns at once that it waits in vain.
        if (spare) {
            spare = Fd();
            const Fd refused(accept4(fd.get(), nullptr, nullptr, SOCK_CLOEXEC));
        }
        spare = open_spare();
        readable.reset();
        probe.start(kProbeForDescriptors);
    }

    // Resumes when there is room for the spare and one more.
    void try_again() {
        if (stopped) return;
        if (!spare) spare = open_spare();
        if (!spare || !open_spare()) {
            probe.start(kProbeForDescriptors);
            return;
        }
        log::info("accepting resumed");
        arm();
    }

    LoopGroup& loops;
    Fd fd;
    Fd spare;
    std::shared_ptr<Delivery> delivery;
    EventPtr readable;
    Timer probe{loops.at(0), [this] { try_again(); }};
    bool stopped = false;
};

Listener::Listener() = default;

Listener::~Listener() = default;

Result<std::unique_ptr<Listener>> Listener::open(LoopGroup& loops, const Address& at, Accepted accepted, Kind kind) {
    Fd fd = take_inherited_listener(at);
    if (!fd) {
        Result<Fd> bound = bind_and_listen(at, kind);
        if (!bound) return bound.error();
        fd = std::move(*bound);
    }
    std::unique_ptr<Listener> out(new Listener);
    out->impl_ = std::make_unique<Impl>(loops, std::move(fd), std::move(accepted));
    return out;
}

void Listener::start() {
    if (!impl_->readable) impl_->arm();
}

void Listener::stop() {
    impl_->stopped = true;
    impl_->probe.stop();
    impl_->readable.reset();
}

Address Listener::address() const {
    const Result<Address> bound = local_address(impl_->fd.get());
    return bound ? *bound : Address();
}

}  // namespace mssl::proxy
