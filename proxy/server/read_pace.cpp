#include "proxy/server/read_pace.h"

#include <utility>

namespace mssl::proxy {

void ReadPace::given_to(std::uint64_t bytes) {
    if (bytes <= given_ || state_ == State::ended) return;
    const bool first = given_ == 0;
    given_ = bytes;
    if (state_ == State::free) {
        const MonoTime now = loop_.now();
        if (first || given_ - given_at_look_ >= kFast) {
            state_ = State::following;
        } else if (now - free_since_ >= kLook) {
            given_at_look_ = given_;
            free_since_ = now;
        }
    }
    if (near()) release();
}

void ReadPace::when_near(std::function<void()> go) {
    if (state_ != State::following || near()) return go();
    held_.push_back(std::move(go));
    if (!timer_.running()) {
        given_at_look_ = given_;
        timer_.start(kLook);
    }
    if (held_.size() == 1) wanting_();
}

void ReadPace::look() {
    const bool fast = given_ - given_at_look_ >= kFast;
    given_at_look_ = given_;
    if (fast && !held_.empty()) return timer_.start(kLook);
    if (fast) return;
    state_ = State::free;
    free_since_ = loop_.now();
    release();
}

void ReadPace::end() {
    state_ = State::ended;
    timer_.stop();
    release();
}

void ReadPace::release() {
    for (const auto& go : std::exchange(held_, {})) go();
}

}  // namespace mssl::proxy
