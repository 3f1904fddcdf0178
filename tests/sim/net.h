// Virtual time, hosts with an uplink each, and connections between sessions. Everything is deterministic: events at the
// same instant run in the order in which they were made.
#pragma once

#include <functional>
#include <memory>
#include <queue>
#include <random>
#include <vector>

#include "protocol/session.h"

namespace mssl::sim {

class Clock {
public:
    MonoTime now() const { return now_; }
    void at(MonoTime when, std::function<void()> what) { events_.push({std::max(when, now_), next_++, std::move(what)}); }
    void after(Duration d, std::function<void()> what) { at(now_ + d, std::move(what)); }
    // One event; false when there is none.
    bool step();

private:
    struct Event {
        MonoTime when;
        std::uint64_t order;
        std::function<void()> what;
        bool operator<(const Event& o) const { return std::tie(o.when, o.order) < std::tie(when, order); }
    };
    MonoTime now_{};
    std::uint64_t next_ = 0;
    std::priority_queue<Event> events_;
};

class Host;

// One end of a connection: a real session, and what becomes of its bytes.
class End {
public:
    End(Host& host, SessionRole role, SessionHandler& handler);
    Host& host() { return *host_; }
    Session& session() { return session_; }
    bool open() const { return open_; }
    // Bytes that the session would never send; they go before what it has queued.
    void inject(Bytes raw) { injected_.push_back(std::move(raw)); }
    // Ends the connection on both sides; each owner hears of it once, later.
    void close();
    // What the other side did to break the protocol, as far as the session saw it.
    const std::optional<Error>& broken() const { return broken_; }
    std::function<void()> on_closed;

private:
    friend class Host;
    friend void connect(Clock&, End&, End&, Duration latency);
    void receive(const Bytes& bytes);
    bool pop(Bytes& out);
    Host* host_;
    Session session_;
    End* other_ = nullptr;
    Duration latency_{};
    bool open_ = false;
    std::optional<Error> broken_;
    std::vector<Bytes> injected_;
};

// Joins two ends; each sends HELLO from now on.
void connect(Clock& clock, End& a, End& b, Duration latency);

class Host {
public:
    // Rates in bytes a second.
    Host(Clock& clock, double up) : clock_(&clock), up_(up) {}
    virtual ~Host() = default;
    Host(const Host&) = delete;
    Host& operator=(const Host&) = delete;

    Clock& clock() { return *clock_; }
    MonoTime now() const { return clock_->now(); }
    double up() const { return up_; }
    // Sends, if the uplink is free and anybody has something to say.
    void pump();
    // Everything it was part of ends.
    void die();
    bool dead() const { return dead_; }

protected:
    // The uplink is about to run dry: queue more.
    virtual void refill() = 0;
    std::size_t queued() const;
    std::vector<std::unique_ptr<End>> ends_;

private:
    friend class End;
    Clock* clock_;
    double up_;
    bool sending_ = false;
    bool dead_ = false;
    std::size_t turn_ = 0;
};

}  // namespace mssl::sim
