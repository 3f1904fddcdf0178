// How far the one read of an origin runs ahead of who downloads what it brings (DESIGN 3 "From cold").
//
// A block that is given while memory has it costs nothing more; one that has left it is read from the spool and hashed again. So the
// read follows a reader that is fast, some way ahead. Who is slow, or gone, throttles nothing: it is waited for once, for kLook.
//
//        ┌───────────┐  held back for kLook, in which less than kFast was given  ┌──────┐
//   ────▶│ following │──────────────────────────────────────────────────────────▶│ free │
//        └───────────┘◀──────────────────────────────────────────────────────────└──────┘
//              the first block is given, or kFast within kLook
//
// Thread rules: one loop.
#pragma once

#include <functional>
#include <vector>

#include "proxy/core/loop.h"

namespace mssl::proxy {

class ReadPace {
public:
    // What was read and not given, and as much that was given since, is less than BlockCache keeps.
    static constexpr std::uint64_t kLead = 8 << 20;
    static constexpr Duration kLook = std::chrono::milliseconds(300);
    // Half a Gbit/s. Below that hashing a second time is a small part of a processor.
    static constexpr std::uint64_t kFast = (std::uint64_t{64} << 20) * 3 / 10;

    // wanting: called when the read is held back, in case that the reader lacks only a head for what was read.
    ReadPace(Loop& loop, std::function<void()> wanting) : loop_(loop), wanting_(std::move(wanting)), timer_(loop, [this] { look(); }) {}

    // Bytes from the object's beginning that were read; that are before the end of the furthest block that anybody was given.
    void read_to(std::uint64_t bytes) { read_ = bytes; }
    void given_to(std::uint64_t bytes);
    // Runs go when the read may go on: at once, or later in the loop.
    void when_near(std::function<void()> go);
    // Nothing is held back any more.
    void end();

private:
    enum class State : std::uint8_t { free, following, ended };
    bool near() const { return read_ <= given_ + kLead; }
    void look();
    void release();

    Loop& loop_;
    std::function<void()> wanting_;
    Timer timer_;
    State state_ = State::following;
    std::uint64_t read_ = 0, given_ = 0;
    std::uint64_t given_at_look_ = 0;  // following: when the timer was started; free: at free_since_
    MonoTime free_since_{};
    std::vector<std::function<void()>> held_;
};

}  // namespace mssl::proxy
