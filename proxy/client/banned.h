// Peers that lied, for a while and for the whole host (invariant 3): not dialled, not served, not
// listened to; what runs with them ends.
//
// Thread rules: any thread.
#pragma once

#include <map>
#include <mutex>
#include <vector>

#include "protocol/result.h"
#include "protocol/types.h"

namespace mssl::proxy {

class BannedPeers {
public:
    // Long enough that a liar costs next to nothing, short enough for memory that rotted once.
    static constexpr Duration kBanTime = std::chrono::minutes(10);

    struct Entry {
        Errc why = Errc::internal;
        std::string detail;
        MonoTime until{};
    };
    void ban(const MemberId& member, Errc why, std::string detail, MonoTime now) {
        const std::lock_guard lock(mutex_);
        list_[member] = {why, std::move(detail), now + kBanTime};
    }
    bool contains(const MemberId& member, MonoTime now) const {
        const std::lock_guard lock(mutex_);
        const auto it = list_.find(member);
        return it != list_.end() && now < it->second.until;
    }
    std::map<MemberId, Entry> snapshot() const {
        const std::lock_guard lock(mutex_);
        return list_;
    }

private:
    mutable std::mutex mutex_;
    std::map<MemberId, Entry> list_;
};

}  // namespace mssl::proxy
