#include "proxy/server/directory.h"

#include <algorithm>
#include <set>

namespace mssl::proxy {

namespace {

// Members without a session are swept out once in so many arrivals.
constexpr Directory::WatchId kSweepEvery = 256;

// What one party usually has the whole of: an IPv4 /24, an IPv6 /48.
std::array<std::uint8_t, 16> network_of(const Address& address) {
    std::array<std::uint8_t, 16> out = address.ip_bytes();
    static constexpr std::array<std::uint8_t, 12> kMapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    const bool ipv4 = std::equal(kMapped.begin(), kMapped.end(), out.begin());
    std::fill(out.begin() + (ipv4 ? 15 : 6), out.end(), std::uint8_t{0});
    return out;
}

}  // namespace

bool is_a_lie(Errc code) {
    switch (code) {
    case Errc::malformed:
    case Errc::too_large:
    case Errc::unexpected:
    case Errc::bad_signature:
    case Errc::bad_proof:
    case Errc::conflicting_head:
    case Errc::wrong_object:
    case Errc::wrong_realm: return true;

    // Slow, full, gone or out of date: no honest side is above that. Local codes never cross the wire as reports.
    case Errc::ok:
    case Errc::unsupported:
    case Errc::not_member:
    case Errc::expired:
    case Errc::wrong_holder:
    case Errc::no_such_object:
    case Errc::no_such_block:
    case Errc::withdrawn:
    case Errc::busy:
    case Errc::denied:
    case Errc::shutting_down:
    case Errc::truncated:
    case Errc::again:
    case Errc::closed:
    case Errc::reset:
    case Errc::timed_out:
    case Errc::unreachable:
    case Errc::bad_certificate:
    case Errc::io:
    case Errc::no_space:
    case Errc::crypto:
    case Errc::config:
    case Errc::stalled:
    case Errc::cancelled:
    case Errc::internal: return false;
    }
    return false;
}

// ── Who is there ──

Directory::WatchId Directory::watch(const MemberId& member, Loop& loop, std::function<void()> changed) {
    const std::lock_guard lock(mutex_);
    const WatchId id = next_watch_++;
    if (id % kSweepEvery == 0)
        std::erase_if(members_, [now = mono_now()](const auto& m) {
            return m.second.watches.empty() && now - m.second.minute >= std::chrono::minutes(1);
        });
    members_[member].watches.emplace(id, Watch{&loop, std::move(changed)});
    return id;
}

void Directory::unwatch(const MemberId& member, WatchId id) {
    const std::lock_guard lock(mutex_);
    const auto it = members_.find(member);
    if (it == members_.end()) return;
    it->second.watches.erase(id);
    if (!it->second.watches.empty()) return;
    it->second.at.reset();
    // How often it was dialled lately outlives its sessions, or reconnecting would lift the limit.
    if (it->second.dials == 0) members_.erase(it);
}

void Directory::tell(const MemberId& member) const {
    const auto it = members_.find(member);
    if (it == members_.end()) return;
    for (const auto& [_, watch] : it->second.watches) watch.loop->post(watch.changed);
}

// ── Where it is ──

bool Directory::may_dial(const MemberId& member, const Address& at, MonoTime now) {
    const std::lock_guard lock(mutex_);
    const auto it = members_.find(member);
    if (it == members_.end() || it->second.at == at) return false;
    Member& m = it->second;
    if (m.dials == 0 || now - m.minute >= std::chrono::minutes(1)) {
        m.minute = now;
        m.dials = 0;
    }
    if (m.dials >= kDialsPerMinute) return false;
    ++m.dials;
    return true;
}

bool Directory::reachable(const MemberId& member, const Address& at) const {
    const std::lock_guard lock(mutex_);
    const auto it = members_.find(member);
    return it != members_.end() && it->second.at == at;
}

void Directory::set_reachable(const MemberId& member, const Address& at) {
    const std::lock_guard lock(mutex_);
    const auto it = members_.find(member);
    if (it == members_.end() || it->second.watches.empty() || it->second.at == at) return;
    it->second.at = at;
    tell(member);
}

void Directory::set_unreachable(const MemberId& member) {
    const std::lock_guard lock(mutex_);
    const auto it = members_.find(member);
    if (it == members_.end() || !it->second.at) return;
    it->second.at.reset();
    tell(member);
}

PeerEntry Directory::entry(const MemberId& member, MonoTime now) const {
    const std::lock_guard lock(mutex_);
    PeerEntry out;
    out.member = member;
    out.gone = convicted_locked(member, now);
    const auto it = members_.find(member);
    if (it == members_.end() || !it->second.at) return out;
    out.address = it->second.at->ip_bytes();
    out.port = it->second.at->port();
    return out;
}

std::size_t Directory::members() const {
    const std::lock_guard lock(mutex_);
    return static_cast<std::size_t>(
        std::count_if(members_.begin(), members_.end(), [](const auto& m) { return !m.second.watches.empty(); }));
}

// ── Who lied ──

bool Directory::convicted_locked(const MemberId& member, MonoTime now) const {
    const auto it = accused_.find(member);
    return it != accused_.end() && it->second.convicted && now - *it->second.convicted < kConvictionTime;
}

bool Directory::convicted(const MemberId& member, MonoTime now) const {
    const std::lock_guard lock(mutex_);
    return convicted_locked(member, now);
}

bool Directory::report(const MemberId& by, const Address& from, const MemberId& about, Errc code, MonoTime now) {
    if (!identities_cost_ || !is_a_lie(code) || by == about) return false;
    const std::lock_guard lock(mutex_);
    // Who lies about blocks lies about members.
    if (convicted_locked(by, now) || convicted_locked(about, now)) return false;
    if (accused_.size() >= kMaxAccused && !accused_.contains(about)) forget_old(now);
    Accused& accused = accused_[about];
    accused.last = now;
    std::erase_if(accused.reporters, [&](const auto& r) { return now - r.second.at >= kReportMemory; });
    accused.reporters[by] = {now, network_of(from)};
    std::set<std::array<std::uint8_t, 16>> networks;
    for (const auto& [_, reporter] : accused.reporters) networks.insert(reporter.network);
    if (networks.size() < kReportersToConvict) return false;
    accused.convicted = now;
    accused.reporters.clear();
    tell(about);
    return true;
}

// Room for one more: what has lapsed goes, else the one accused longest ago, the convicted last.
void Directory::forget_old(MonoTime now) {
    std::erase_if(accused_, [&](const auto& a) {
        return !convicted_locked(a.first, now) && now - a.second.last >= kReportMemory;
    });
    if (accused_.size() < kMaxAccused) return;
    const auto oldest = std::min_element(accused_.begin(), accused_.end(), [](const auto& a, const auto& b) {
        return std::pair(a.second.convicted.has_value(), a.second.last) < std::pair(b.second.convicted.has_value(), b.second.last);
    });
    accused_.erase(oldest);
}

}  // namespace mssl::proxy
