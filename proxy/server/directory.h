// Who is there and where peers reach it (DESIGN 6, 9): the address that the server saw with the port that the member announced, listed
// after one dial back; and who was caught lying. All of it soft: a restart forgets it and members announce themselves again.
//
//   ┌──────┐ ANNOUNCE, dial back answers as that member ┌───────────┐
//   │ seen │───────────────────────────────────────────▶│ reachable │      two reporters in kReportMemory: convicted,
//   └──────┘◀───────────────────────────────────────────└───────────┘      for kConvictionTime, whatever else it is
//             dial back fails, or the last session ended
//
// Thread rules: any thread. Watchers run in the loop they named.
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "protocol/frame.h"
#include "proxy/core/loop.h"
#include "proxy/core/net.h"

namespace mssl::proxy {

class Directory {
public:
    // Dial-backs that one member can cause a minute: enough for a reconnect on every loop of it, useless to a reflector.
    static constexpr unsigned kDialsPerMinute = 6;
    // Reports of one member about another count this long …
    static constexpr Duration kReportMemory = std::chrono::hours(1);
    // … and so long a convicted one stays out: repetition costs membership (DESIGN 7), memory that rots once does not.
    static constexpr Duration kConvictionTime = std::chrono::hours(24);
    // Different members, in different networks (IPv4 /24, IPv6 /48), that must report the same one. One alone could be the liar.
    static constexpr std::size_t kReportersToConvict = 2;
    // Members with reports against them that are remembered; the oldest are forgotten beyond it.
    static constexpr std::size_t kMaxAccused = 4096;

    using WatchId = std::uint64_t;

    // A session of this member begins: changed runs in loop whenever entry() may have changed. Until unwatch().
    WatchId watch(const MemberId& member, Loop& loop, std::function<void()> changed);
    // With a member's last watch its address is forgotten; what it was convicted of is not.
    void unwatch(const MemberId& member, WatchId id);

    // Whether to dial this address for this member now: false when it is known to answer there already (reachable says so), or the
    // limit is reached. Counts as a dial when true.
    bool may_dial(const MemberId& member, const Address& at, MonoTime now);
    bool reachable(const MemberId& member, const Address& at) const;
    void set_reachable(const MemberId& member, const Address& at);
    void set_unreachable(const MemberId& member);

    // address and port when reachable, else port 0; gone when convicted.
    PeerEntry entry(const MemberId& member, MonoTime now) const;
    bool convicted(const MemberId& member, MonoTime now) const;
    // True when this report convicts. Codes that are no lie (a stall, a timeout) and reports about oneself count for nothing, nor does
    // any where identities are free: there two reporters may well be one. from: where the reporter is.
    bool report(const MemberId& by, const Address& from, const MemberId& about, Errc code, MonoTime now);
    // Whether an identity costs something (enrolment by token). Not so at first.
    void set_identities_cost(bool cost) { identities_cost_.store(cost, std::memory_order_relaxed); }

    std::size_t members() const;

private:
    struct Watch {
        Loop* loop;
        std::function<void()> changed;
    };
    struct Member {
        std::map<WatchId, Watch> watches;
        std::optional<Address> at;
        MonoTime minute{};
        unsigned dials = 0;
    };
    struct Accused {
        struct Reporter {
            MonoTime at;
            std::array<std::uint8_t, 16> network;
        };
        std::map<MemberId, Reporter> reporters;
        std::optional<MonoTime> convicted;
        MonoTime last{};
    };
    void tell(const MemberId& member) const;  // with mutex_ held
    bool convicted_locked(const MemberId& member, MonoTime now) const;
    void forget_old(MonoTime now);

    std::atomic<bool> identities_cost_{false};
    mutable std::mutex mutex_;
    std::unordered_map<MemberId, Member, FixedBytesHash> members_;
    std::unordered_map<MemberId, Accused, FixedBytesHash> accused_;
    WatchId next_watch_ = 1;
};

// Codes by which one side lied, as against being slow, busy or gone.
bool is_a_lie(Errc code);

}  // namespace mssl::proxy
