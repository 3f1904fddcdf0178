// A TCP connection to a host that may have several addresses, not all of which answer (RFC 8305 section 5, "Happy Eyeballs").
//
// The addresses are tried in the order given, but with the families taking turns: the next as soon as one fails, or when it has not
// connected for kAttemptDelay. The first to connect is taken and the others are dropped, so an address that swallows packets
// costs a quarter of a second and not the whole connect timeout.
//
// Thread rules: one loop.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "proxy/core/loop.h"
#include "proxy/core/net.h"

namespace mssl::proxy {

class Dialer {
public:
    // RFC 8305 section 5 recommends it.
    static constexpr Duration kAttemptDelay = std::chrono::milliseconds(250);
    // Under way at once: a name with hundreds of addresses that swallow packets is no reason for hundreds of sockets.
    static constexpr std::size_t kMaxAttempts = 4;
    // Tried in all: what comes after those has never answered anybody.
    static constexpr std::size_t kMaxAddresses = 16;
    using Done = std::function<void(Result<Fd>)>;

    // each: how long one address may take. done: once, from the loop and never from inside start(); the Dialer may be
    // destroyed in it. Result: a connected, non-blocking socket; or unreachable, whose detail names every address with its reason.
    Dialer(Loop& loop, std::vector<Address> to, Duration each, Done done);
    // Errors: as done's, where no attempt is under way at all; done does not come then.
    Status start();

private:
    struct Attempt {
        Dialer* dialer = nullptr;
        Address to;
        Fd fd;
        EventPtr writable;
        std::unique_ptr<Timer> deadline;
    };
    void next();
    bool begin(const Address& to);
    void connected(Attempt* attempt);
    void failed(Attempt* attempt, const char* why);
    void note(const Address& to, const char* why);
    bool over() const { return attempts_.empty() && at_ == to_.size(); }
    void finish(Result<Fd> result);

    Loop& loop_;
    std::vector<Address> to_;
    std::size_t at_ = 0;  // of the next to be tried
    const Duration each_;
    Done done_;
    Timer delay_;
    std::vector<std::unique_ptr<Attempt>> attempts_;  // under way
    std::string failures_;
};

// Each family's addresses in their order, the families in turn, that of the first address first (RFC 8305 section 4).
std::vector<Address> interleaved(std::vector<Address> addresses);

}  // namespace mssl::proxy
