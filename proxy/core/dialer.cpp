#include "proxy/core/dialer.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace mssl::proxy {

std::vector<Address> interleaved(std::vector<Address> addresses) {
    if (addresses.empty()) return addresses;
    const auto family = addresses.front().sa()->sa_family;
    const auto other = std::stable_partition(addresses.begin(), addresses.end(), [&](const Address& a) { return a.sa()->sa_family == family; });
    std::vector<Address> out;
    out.reserve(addresses.size());
    for (auto a = addresses.begin(), b = other; a != other || b != addresses.end();) {
        if (a != other) out.push_back(*a++);
        if (b != addresses.end()) out.push_back(*b++);
    }
    return out;
}

Dialer::Dialer(Loop& loop, std::vector<Address> to, Duration each, Done done)
    : loop_(loop), to_(interleaved(std::move(to))), each_(each), done_(std::move(done)), delay_(loop, [this] { next(); }) {
    if (to_.size() > kMaxAddresses) to_.resize(kMaxAddresses);
}

Status Dialer::start() {
    next();
    if (!over()) return {};
    return fail(Errc::unreachable, failures_.empty() ? "no address to connect to" : failures_);
}

// Begins the next attempt that can be begun at all.
void Dialer::next() {
    delay_.stop();
    while (at_ < to_.size() && attempts_.size() < kMaxAttempts && !begin(to_[at_++])) {}
    if (at_ < to_.size() && attempts_.size() < kMaxAttempts) delay_.start(kAttemptDelay);
}

bool Dialer::begin(const Address& to) {
    auto made = std::make_unique<Attempt>();
    Attempt* const attempt = made.get();
    attempt->dialer = this;
    attempt->to = to;
    attempt->fd = Fd(socket(to.sa()->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!attempt->fd || (::connect(attempt->fd.get(), to.sa(), to.length()) != 0 && errno != EINPROGRESS)) {
        note(to, std::strerror(errno));
        return false;
    }
    attempt->deadline = std::make_unique<Timer>(loop_, [this, attempt] { failed(attempt, std::strerror(ETIMEDOUT)); });
    attempt->writable.reset(event_new(
        loop_.base(), attempt->fd.get(), EV_WRITE,
        [](evutil_socket_t, short, void* self) {
            auto* const ready = static_cast<Attempt*>(self);
            ready->dialer->connected(ready);
        },
        attempt));
    if (!attempt->writable || event_add(attempt->writable.get(), nullptr) != 0) std::terminate();
    attempt->deadline->start(each_);
    attempts_.push_back(std::move(made));
    return true;
}

void Dialer::connected(Attempt* attempt) {
    int why = 0;
    socklen_t length = sizeof why;
    if (getsockopt(attempt->fd.get(), SOL_SOCKET, SO_ERROR, &why, &length) != 0) why = errno;
    if (why != 0) return failed(attempt, std::strerror(why));
    finish(std::move(attempt->fd));
}

void Dialer::failed(Attempt* attempt, const char* why) {
    note(attempt->to, why);
    std::erase_if(attempts_, [&](const auto& a) { return a.get() == attempt; });
    next();
    if (over()) finish(fail(Errc::unreachable, failures_));
}

void Dialer::note(const Address& to, const char* why) {
    if (!failures_.empty()) failures_ += "; ";
    failures_ += to.to_string() + ": " + why;
}

void Dialer::finish(Result<Fd> result) {
    delay_.stop();
    attempts_.clear();
    const Done done = std::move(done_);
    done(std::move(result));
}

}  // namespace mssl::proxy
