#include "proxy/client/server_link.h"

#include "proxy/core/log.h"

namespace mssl::proxy {
namespace {

constexpr Duration kFirstBackoff = std::chrono::milliseconds(200);
constexpr Duration kMaxBackoff = std::chrono::seconds(10);
// RTT for the planner, and a dead server found within two of these.
constexpr Duration kPingEvery = std::chrono::seconds(5);
constexpr Duration kDeadAfter = std::chrono::seconds(15);

// The handle of a frame that is about one; nothing of the others.
struct HandleOf {
    template <class F>
    std::optional<Handle> operator()(const F& f) const {
        if constexpr (requires { f.handle; })
            return f.handle;
        else
            return std::nullopt;
    }
};

}  // namespace

ServerLink::ServerLink(Loop& loop, std::shared_ptr<Site> site, std::uint16_t peer_port)
    : loop_(&loop),
      site_(std::move(site)),
      peer_port_(peer_port),
      timer_(loop, [this] { tick(); }),
      backoff_(kFirstBackoff),
      random_(static_cast<unsigned>(loop.now().since_start.count()) ^ loop.number()) {}

ServerLink::~ServerLink() {
    *alive_ = false;
    drop_wire();
}

void ServerLink::drop_wire() {
    if (!wire_) return;
    wire_->abandon();
    loop_->dispose(std::move(wire_));
}

Handle ServerLink::attach(ServerLinkUser& user) {
    const Handle handle{next_handle_++};
    users_[handle] = &user;
    switch (state_) {
    case State::down: connect(); break;
    case State::up:
        loop_->post([this, alive = alive_, handle] {
            if (!*alive || state_ != State::up) return;
            if (ServerLinkUser* u = this->user(handle)) u->on_link_up();
        });
        break;
    case State::connecting:
    case State::waiting: break;
    }
    return handle;
}

void ServerLink::detach(Handle handle) {
    if (users_.erase(handle) != 0 && up()) wire_->send(Close{handle, false, Errc::ok});
}

void ServerLink::send(const ControlFrame& frame) {
    if (up()) wire_->send(frame);
}

ServerLinkUser* ServerLink::user(Handle handle) {
    const auto it = users_.find(handle);
    return it == users_.end() ? nullptr : it->second;
}

void ServerLink::connect() {
    state_ = State::connecting;
    site_->membership(*loop_, [this, alive = alive_](Result<std::shared_ptr<const Membership>> m) {
        if (!*alive) return;
        if (!m) return failed(m.error());
        membership_ = *m;
        site_->addresses(*loop_, [this, alive](Result<std::vector<Address>> to) {
            if (!*alive) return;
            if (!to) return failed(to.error());
            Hello hello;
            hello.abilities = kAbilityPlain;
            hello.realm = membership_->trust.id();
            WireHandler& handler = *this;
            wire_ = std::make_unique<Wire>(*loop_, SessionRole::member_to_server, hello, handler);
            const TlsClient tls{membership_->server_context.get(), site_->server_name(), std::string(kAlpnMember)};
            wire_->begin(Stream::connect(*loop_, std::move(*to), &tls, wire_->as_stream_handler()));
        });
    });
}

void ServerLink::on_ready(const Hello&) {
    state_ = State::up;
    backoff_ = kFirstBackoff;
    wire_->stream().set_idle_timeout(kDeadAfter);
    if (peer_port_ != 0) wire_->send(Announce{peer_port_});
    wire_->ping();
    timer_.start(kPingEvery);
    // A user may detach itself or another while it is told.
    std::vector<Handle> handles;
    for (const auto& [handle, _] : users_) handles.push_back(handle);
    for (const Handle handle : handles)
        if (ServerLinkUser* u = user(handle)) u->on_link_up();
}

void ServerLink::tick() {
    switch (state_) {
    case State::up:
        if (users_.empty()) {
            drop_wire();
            state_ = State::down;
            return;
        }
        wire_->ping();
        timer_.start(kPingEvery);
        return;
    case State::waiting:
        if (users_.empty())
            state_ = State::down;
        else
            connect();
        return;
    case State::down:
    case State::connecting: return;
    }
}

void ServerLink::on_closed(const Error& why) { failed(why); }

void ServerLink::failed(const Error& why) {
    drop_wire();
    state_ = State::waiting;
    log::info("server link down", {{"site", site_->config().host}, {"error", why.to_string()}});
    // Full jitter: after a server's restart its members do not come back in one wave.
    std::uniform_int_distribution<std::int64_t> jitter(backoff_.count() / 4, backoff_.count());
    timer_.start(Duration(jitter(random_)));
    backoff_ = std::min(backoff_ * 2, kMaxBackoff);
    std::vector<Handle> handles;
    for (const auto& [handle, _] : users_) handles.push_back(handle);
    for (const Handle handle : handles)
        if (ServerLinkUser* u = user(handle)) u->on_link_down(why);
}

Status ServerLink::on_frame(ControlFrame frame) {
    if (const auto* announced = std::get_if<Announced>(&frame)) {
        announced_ = announced->address;
        if (!announced->reachable)
            log::warning("peers cannot reach this host", {{"site", site_->config().host}, {"address", announced->address}});
        return {};
    }
    const std::optional<Handle> handle = std::visit(HandleOf{}, frame);
    if (!handle) return fail(Errc::unexpected, "a frame that is about no handle");
    // A handle that was closed a moment ago may still get frames.
    ServerLinkUser* u = user(*handle);
    return u == nullptr ? Status{} : u->on_link_frame(std::move(frame));
}

Result<Slot> ServerLink::slot(const DataHeader& h, std::size_t payload_bytes) {
    ServerLinkUser* u = user(h.handle);
    if (u == nullptr) return Slot{};
    return u->on_link_slot(h, payload_bytes);
}

Status ServerLink::on_data(const DataHeader& h, View payload) {
    ServerLinkUser* u = user(h.handle);
    return u == nullptr ? Status{} : u->on_link_data(h, payload);
}

void ServerLink::on_rtt(Duration rtt) {
    std::vector<Handle> handles;
    for (const auto& [handle, _] : users_) handles.push_back(handle);
    for (const Handle handle : handles)
        if (ServerLinkUser* u = user(handle)) u->on_link_rtt(rtt);
}

}  // namespace mssl::proxy
