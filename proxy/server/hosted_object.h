// One shared object at the server (DESIGN 3 "From cold", 9): the tree and its signed heads, the bytes (spool, or the origin
// again), and the giving-out. Lives in its owner loop (LoopGroup::owner); the shared_ptr may be held anywhere, the methods marked
// "any thread" called from anywhere, the rest from the owner loop.
//
//   ┌─────────┐ first head ┌─────────┐ final head ┌──────────┐
//   │ opening │───────────▶│ hashing │───────────▶│ complete │
//   └─────────┘            └─────────┘            └──────────┘
//        └──── origin broke / changed / lied ──────────┴────────▶ withdrawn
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "protocol/frame.h"
#include "protocol/objects.h"
#include "protocol/spread.h"
#include "proxy/core/loop.h"
#include "proxy/server/realm.h"
#include "proxy/store/store.h"

namespace mssl::proxy {

// A member's handle on an object, as the object sees it. Implemented by member_session; called in the owner loop of the object,
// and must post to its own loop. All calls are harmless after the session has ended.
class ObjectTaker {
public:
    virtual ~ObjectTaker() = default;
    virtual void send_control(const ControlFrame& frame) = 0;  // frame's handle is already the taker's
    // data null when frame.length is 0. sent: run in the owner loop when the last chunk went to the kernel (or the session ended).
    virtual void send_block(const BlockFrame& frame, BlockData data, std::function<void()> sent) = 0;
    virtual MemberId member() const = 0;
    // The directory's view, from any thread: port 0 when it cannot be dialled, gone when it is left out (convicted).
    virtual PeerEntry entry() const = 0;
};

class HostedObject {
public:
    enum class State : std::uint8_t { opening, hashing, complete, withdrawn };
    virtual ~HostedObject() = default;

    // ── any thread ──
    virtual const ObjectId& id() const = 0;
    virtual Loop& loop() = 0;
    virtual State state() const = 0;
    virtual std::shared_ptr<const SignedManifest> manifest() const = 0;
    virtual std::shared_ptr<const SignedHead> head() const = 0;  // newest; null while opening
    // The realm whose signer signed both, and signs this object's tickets: Resolved names one signer for all three.
    virtual std::shared_ptr<const Realm> realm() const = 0;
    // All three as they are to be shown now, of one signer: of a complete object signed anew where the realm has another signer by now,
    // or the manifest ends.
    struct Vouched {
        std::shared_ptr<const SignedManifest> manifest;
        std::shared_ptr<const SignedHead> head;
        std::shared_ptr<const Realm> realm;
    };
    virtual Vouched vouched(WallTime now) = 0;
    // Runs `ready` in `where` once there is a first head, or with the reason why there will never be one.
    virtual void when_open(Loop& where, std::function<void(Status)> ready) = 0;
    // A requester is led here; none: the operator. While it is known to one member alone and nobody reads it, the read of the origin
    // ends after a while (Hosting::grace): what is asked for and not wanted costs the origin no whole read.
    // credentials: Authorization and Cookie of the request that the origin has just granted; of an object with access = restricted the
    // newest go with what is read again.
    virtual void shown_to(const std::optional<MemberId>& member, std::vector<HeaderField> credentials) = 0;
    // Bytes for a plain reader (publish, tests): progress of hashing in bytes.
    virtual std::uint64_t hashed_bytes() const = 0;

    // ── owner loop ──
    // Answers OPENED (what can be had now), HEAD, PEERS through the taker. The Handle is the taker's.
    virtual TakerId attach(std::shared_ptr<ObjectTaker> taker, Handle handle) = 0;
    virtual void detach(TakerId taker) = 0;
    virtual Status on_request(TakerId taker, const Request& request) = 0;
    virtual void on_cancel(TakerId taker, const Cancel& cancel) = 0;
    virtual void on_any(TakerId taker, const Any& any) = 0;
    virtual Status on_progress(TakerId taker, const Progress& progress) = 0;
    // The member's address became known or changed; or it is to be left out (convicted).
    virtual void on_entry_changed(TakerId taker) = 0;
    // Whether PEERS ever named this member to the taker: a report about a stranger counts for nothing.
    virtual bool named(TakerId taker, const MemberId& member) const = 0;
    // The taker's member says that this one lied: it is not told of it any more. Others are.
    virtual void leave_out(TakerId taker, const MemberId& member) = 0;

    // ── the cold read feeds it (owner loop) ──
    // In order; node is the block's hash, data the verified bytes. Signs heads at once for the first, then every 100 ms or 16 MiB.
    // A block out of order, or of another length than the manifest's, withdraws the object.
    virtual void append(BlockIndex block, BlockData data, std::uint32_t length, const Hash& node) = 0;
    // Runs `go` once the spool has less than kMaxSpoolBacklog to write, and a fast reader is near (ReadPace): at once, or later in the
    // owner loop. The cold read asks before it reads on, or an origin faster than the disk would fill the memory. Runs too when the
    // object is withdrawn.
    virtual void when_room(std::function<void()> go) = 0;
    virtual void withdraw(const Error& why) = 0;
};

// How long a manifest is good: far beyond what a store keeps. Signed anew when less than half is left.
inline constexpr std::int64_t kManifestSeconds = std::int64_t{365} * 86400;
inline bool is_ending(const Manifest& body, WallTime now) { return body.not_after.unix_seconds - now.unix_seconds < kManifestSeconds / 2; }
// As to be signed now.
inline void begin_validity(Manifest& body, WallTime now) {
    body.not_before = now;
    body.not_after = {now.unix_seconds + kManifestSeconds};
}

// Bytes that wait for the spool, over which the cold read pauses.
inline constexpr std::size_t kMaxSpoolBacklog = 16 * 1024 * 1024;

}  // namespace mssl::proxy
