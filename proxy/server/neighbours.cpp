#include "proxy/server/neighbours.h"

#include <algorithm>
#include <utility>

namespace mssl::proxy {
namespace {

// How near two members are: random, the same from both sides, and the same every time.
std::uint64_t distance(const MemberId& a, const MemberId& b) {
    std::uint64_t x = FixedBytesHash{}(a) ^ FixedBytesHash{}(b);
    // SplitMix64's finaliser: xor alone would let somebody with a chosen id be near to everyone he likes at once.
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
    return x ^ (x >> 31);
}

}  // namespace

void Neighbours::set(TakerId id, const PeerEntry& entry) { takers_[id.v].entry = entry; }

void Neighbours::remove(TakerId id) { takers_.erase(id.v); }

std::map<MemberId, PeerEntry> Neighbours::wanted(const Taker& taker) const {
    std::map<MemberId, PeerEntry> all;  // a member with several sessions is one
    std::vector<std::pair<std::uint64_t, const PeerEntry*>> near;
    near.reserve(takers_.size());
    const auto left_out = left_out_.find(taker.entry.member);
    for (const auto& [_, other] : takers_)
        if (!other.entry.gone && other.entry.member != taker.entry.member &&
            (left_out == left_out_.end() || std::ranges::find(left_out->second, other.entry.member) == left_out->second.end()))
            near.emplace_back(distance(taker.entry.member, other.entry.member), &other.entry);
    if (near.size() > kAll) {
        const auto end = near.begin() + kSome;
        std::nth_element(near.begin(), end, near.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
        near.erase(end, near.end());
    }
    for (const auto& [_, entry] : near) {
        const auto [it, added] = all.emplace(entry->member, *entry);
        if (!added && it->second.port == 0) it->second = *entry;
    }
    return all;
}

void Neighbours::leave_out(TakerId id, const MemberId& whom) {
    const auto found = takers_.find(id.v);
    if (found == takers_.end()) return;
    const MemberId& by = found->second.entry.member;
    if (left_out_.size() >= kMaxLeavingOut && !left_out_.contains(by)) left_out_.erase(left_out_.begin());
    std::vector<MemberId>& all = left_out_[by];
    if (std::ranges::find(all, whom) != all.end()) return;
    if (all.size() == kRemembered) all.erase(all.begin());
    all.push_back(whom);
}

std::vector<PeerEntry> Neighbours::changes(TakerId id) {
    const auto found = takers_.find(id.v);
    if (found == takers_.end()) return {};
    Taker& taker = found->second;
    std::map<MemberId, PeerEntry> now = wanted(taker);

    std::vector<PeerEntry> out;
    for (const auto& [member, entry] : taker.told) {
        if (now.contains(member)) continue;
        PeerEntry gone = entry;
        gone.gone = true;
        out.push_back(gone);
        if (taker.before.size() == kRemembered) taker.before.erase(taker.before.begin());
        taker.before.push_back(member);
    }
    for (const auto& [member, entry] : now) {
        const auto before = taker.told.find(member);
        if (before == taker.told.end() || before->second != entry) out.push_back(entry);
    }
    taker.told = std::move(now);
    return out;
}

bool Neighbours::named(TakerId id, const MemberId& member) const {
    const auto it = takers_.find(id.v);
    if (it == takers_.end()) return false;
    const Taker& taker = it->second;
    return taker.told.contains(member) || std::find(taker.before.begin(), taker.before.end(), member) != taker.before.end();
}

}  // namespace mssl::proxy
