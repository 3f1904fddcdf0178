// How many origins are read for new objects at once: a request of 300 bytes must not be able to make any number of them. Whoever finds
// no place is answered as if nothing were shared: by the origin itself, for as long as it listens.
//
// Thread rules: any thread.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "protocol/types.h"

namespace mssl::proxy {

class ColdReads : public std::enable_shared_from_this<ColdReads> {
public:
    static constexpr std::size_t kMost = 64;
    // Of the pool, for each: as many blocks as are hashed at once.
    static constexpr std::size_t kBytesEach = 4 * 1024 * 1024;
    // One member's part of them.
    static constexpr std::size_t kPart = 4;

    // buffer_bytes: of the pool that they share.
    static std::shared_ptr<ColdReads> create(std::size_t buffer_bytes);

    // Held while the origin is read.
    using Place = std::shared_ptr<const void>;
    // Null: there is none, or this member has as many as it may.
    Place take(const MemberId& member);
    std::size_t most() const { return most_; }
    std::size_t most_a_member() const { return most_a_member_; }

private:
    explicit ColdReads(std::size_t most);
    void give_back(const MemberId& member);

    const std::size_t most_;
    const std::size_t most_a_member_;
    std::mutex mutex_;
    std::size_t taken_ = 0;
    std::unordered_map<MemberId, std::size_t, FixedBytesHash> by_member_;
};

}  // namespace mssl::proxy
