#include "tests/sim/net.h"

namespace mssl::sim {

bool Clock::step() {
    if (events_.empty()) return false;
    const Event e = events_.top();
    events_.pop();
    now_ = e.when;
    e.what();
    return true;
}

End::End(Host& host, SessionRole role, SessionHandler& handler) : host_(&host), session_(role, Hello{}, handler) {}

void End::close() {
    if (!open_) return;
    open_ = false;
    Clock& clock = host_->clock();
    clock.after(Duration{0}, [this] {
        if (on_closed) on_closed();
    });
    clock.after(latency_, [other = other_] { other->close(); });
}

bool End::pop(Bytes& out) {
    if (!injected_.empty()) {
        out = std::move(injected_.front());
        injected_.erase(injected_.begin());
        return true;
    }
    const auto chunk = session_.next_chunk();
    if (!chunk) return false;
    out = chunk->header;
    out.insert(out.end(), chunk->payload.begin(), chunk->payload.end());
    return true;
}

void End::receive(const Bytes& bytes) {
    if (!open_) return;
    for (std::size_t at = 0; at < bytes.size() && open_;) {
        const MutableView to = session_.prepare();
        if (to.empty()) break;
        const std::size_t n = std::min(to.size(), bytes.size() - at);
        std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), n, to.begin());
        at += n;
        const Status s = session_.commit(n, host_->now());
        if (!s && open_ && !session_.peer_error()) broken_ = s.error();
        if (!s) close();
    }
    host_->pump();
}

void connect(Clock&, End& a, End& b, Duration latency) {
    a.other_ = &b;
    b.other_ = &a;
    a.latency_ = b.latency_ = latency;
    a.open_ = b.open_ = true;
    a.host().pump();
    b.host().pump();
}

std::size_t Host::queued() const {
    std::size_t sum = 0;
    for (const auto& e : ends_)
        if (e->open_) sum += e->session_.queued_data();
    return sum;
}

void Host::die() {
    dead_ = true;
    for (const auto& e : ends_) e->close();
}

void Host::pump() {
    if (sending_ || dead_) return;
    refill();
    if (sending_) return;  // refilling may have pumped
    for (std::size_t i = 0; i < ends_.size(); ++i) {
        turn_ = (turn_ + 1) % ends_.size();
        End* from = ends_[turn_].get();
        auto bytes = std::make_shared<Bytes>();
        if (!from->open_ || !from->pop(*bytes)) continue;
        sending_ = true;
        const Duration takes{static_cast<Duration::rep>(static_cast<double>(bytes->size()) / up_ * 1e6) + 1};
        clock_->after(takes, [this, from, bytes] {
            sending_ = false;
            clock_->after(from->latency_, [to = from->other_, bytes] { to->receive(*bytes); });
            pump();
        });
        return;
    }
}

}  // namespace mssl::sim
