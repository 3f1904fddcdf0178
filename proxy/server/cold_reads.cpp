#include "proxy/server/cold_reads.h"

#include <algorithm>

namespace mssl::proxy {

ColdReads::ColdReads(std::size_t most) : most_(most), most_a_member_(std::max<std::size_t>(2, most / kPart)) {}

std::shared_ptr<ColdReads> ColdReads::create(std::size_t buffer_bytes) {
    return std::shared_ptr<ColdReads>(new ColdReads(std::clamp<std::size_t>(buffer_bytes / kBytesEach, kPart, kMost)));
}

ColdReads::Place ColdReads::take(const MemberId& member) {
    {
        const std::lock_guard lock(mutex_);
        if (taken_ >= most_) return nullptr;
        std::size_t& own = by_member_[member];
        if (own >= most_a_member_) return nullptr;
        ++own;
        ++taken_;
    }
    return {this, [self = shared_from_this(), member](const void*) { self->give_back(member); }};
}

void ColdReads::give_back(const MemberId& member) {
    const std::lock_guard lock(mutex_);
    --taken_;
    const auto own = by_member_.find(member);
    if (--own->second == 0) by_member_.erase(own);
}

}  // namespace mssl::proxy
