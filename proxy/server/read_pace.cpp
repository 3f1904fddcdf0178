#include "proxy/server/read_pace.h"

#include <utility>

namespace mssl::proxy {

void ReadPace::given_to(std::uint64_t bytes) {
    if (bytes <= given_ || state_ == State::ended) return;
    const bool first = given_ == 0;
    given_ = bytes;
    if (first || near()) state_ = State::following;
    if (near()) release();
}

void ReadPace::when_near(std::function<void()> go) {
    if (state_ != State::following || near()) return go();
    held_.push_back(std::move(go));
    if (timer_.running()) return;
    given_at_look_ = given_;
    timer_.start(kLook);
}

void ReadPace::look() {
    if (held_.empty()) return;
    if (given_ - given_at_look_ >= kFast) {
        given_at_look_ = given_;
        return timer_.start(kLook);
    }
    state_ = State::free;
    release();
}

void ReadPace::end() {
    state_ = State::ended;
    release();
}

void ReadPace::release() {
    timer_.stop();
    for (const auto& go : std::exchange(held_, {})) go();
}

}  // namespace mssl::proxy
