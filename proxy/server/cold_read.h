// The one read of the origin that feeds the hashing of a new object and everybody who waits (DESIGN 3 "From cold").
//
//   body pieces ─▶ block buffers ─▶ hash_block in workers, several at once ─▶ in order again ─▶ HostedObject::append
//    (exchange's loop)                                                        (the object's owner loop)
//
// Throttled by the buffers, the hashing and the spool, and by no reader that is slow (HostedObject::when_room).
//
// Thread rules: the exchange's loop. It lives on by itself until what was fed is appended, or the loop ends.
#pragma once

#include <functional>
#include <map>
#include <memory>

#include "proxy/core/runtime.h"
#include "proxy/server/hosted_object.h"

namespace mssl::proxy {

class ColdRead final : public std::enable_shared_from_this<ColdRead> {
public:
    // Blocks between the origin and append(): keeps every worker of a usual pool busy, costs 4 MiB at most.
    static constexpr std::size_t kMaxInFlight = 16;

    // pause: stop or go on reading the origin; called in loop, only on a change, until finish(), fail() or detach().
    static std::shared_ptr<ColdRead> create(Runtime& runtime, Loop& loop, std::shared_ptr<HostedObject> object,
                                            std::function<void(bool)> pause);
    // Where the block that is being filled goes on: what is read to there and fed next is not copied. Empty: there is no buffer for it.
    MutableView room();
    // All of it is taken (else copied once, into a block buffer, as far as there are buffers).
    void feed(View piece);
    // The origin's body is over: fewer bytes than the object's length withdraw it.
    void finish();
    // The origin broke: the object is withdrawn.
    void fail(const Error& why);
    // pause is not called any more.
    void detach() { pause_ = nullptr; }
    // Withdrawn, or broken: nothing that is fed counts any more.
    bool over() const;

private:
    ColdRead(Runtime& runtime, Loop& loop, std::shared_ptr<HostedObject> object, std::function<void(bool)> pause);
    void take(View piece);
    bool ensure_buffer();
    struct Retry;
    void retry_later();
    void retry(Retry* due);
    void submit_block();
    void arrived(BlockIndex block, BlockData data, std::uint32_t length, const Hash& node);
    void block_done();
    void update_pause();

    Runtime runtime_;
    Loop* loop_;
    std::shared_ptr<HostedObject> object_;
    std::function<void(bool)> pause_;
    Geometry geometry_;

    std::shared_ptr<std::uint8_t[]> buffer_;
    std::uint32_t filled_ = 0;
    std::uint64_t fed_ = 0;       // bytes in submitted blocks and buffer_
    std::uint64_t block_ = 0;     // that buffer_ is
    Bytes stash_;                 // what came while there was no buffer
    std::size_t in_flight_ = 0;
    bool retrying_ = false;       // for a buffer
    bool paused_ = false;
    bool finished_ = false;
    bool broken_ = false;

    // Owner loop.
    struct Hashed {
        BlockData data;
        std::uint32_t length;
        Hash node;
    };
    std::map<std::uint32_t, Hashed> hashed_;
    std::uint32_t next_ = 0;
};

}  // namespace mssl::proxy
