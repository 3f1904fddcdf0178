// Whom of an object's members each of them is told about (DESIGN 9, PEERS): all others while they are few, else a stable random
// handful, the same from both sides. Remembers what was told, so that only changes cross the wire.
//
// Thread rules: one owner, one thread. Memory: at most kAll + kRemembered ids a taker.
#pragma once

#include <map>
#include <unordered_map>
#include <vector>

#include "protocol/frame.h"
#include "protocol/spread.h"

namespace mssl::proxy {

class Neighbours {
public:
    // Up to here everybody knows everybody …
    static constexpr std::size_t kAll = 24;
    // … and beyond it this many: a random graph of this degree is connected, and no member is in more than a few dozen lists.
    static constexpr std::size_t kSome = 16;
    // Members named before and gone since, about whom a report still counts.
    static constexpr std::size_t kRemembered = 64;
    // Members that had others left out, and how many each; beyond it one of them is forgotten.
    static constexpr std::size_t kMaxLeavingOut = 1024;

    // A taker comes, or its entry changed. gone: it is told about others, and others nothing about it.
    void set(TakerId id, const PeerEntry& entry);
    void remove(TakerId id);
    // What this taker is to be told now: entries new or changed, and gone ones. Counts as told.
    std::vector<PeerEntry> changes(TakerId id);
    bool named(TakerId id, const MemberId& member) const;
    // This taker's member is not told of whom any more, in whatever session.
    void leave_out(TakerId id, const MemberId& whom);

private:
    struct Taker {
        PeerEntry entry;
        std::map<MemberId, PeerEntry> told;
        std::vector<MemberId> before;  // oldest first
    };
    std::map<MemberId, PeerEntry> wanted(const Taker& taker) const;

    std::unordered_map<std::uint64_t, Taker> takers_;
    std::map<MemberId, std::vector<MemberId>> left_out_;  // by whom; oldest first
};

}  // namespace mssl::proxy
