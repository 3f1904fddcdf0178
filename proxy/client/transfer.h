// The transfers of this host (DESIGN 2: one host's fetching of one object, for however many applications that read it). Each lives
// in its object's owner loop; readers are in any loop and ask block by block.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "proxy/client/banned.h"
#include "proxy/client/rate_limit.h"
#include "proxy/client/resolution.h"
#include "proxy/client/site.h"
#include "proxy/client/uploads.h"
#include "proxy/core/runtime.h"
#include "proxy/store/store.h"

namespace mssl::proxy {

// Bytes of one block that verified: what an application may be given.
struct VerifiedBytes {
    BlockData data;
    std::uint32_t length = 0;
    View view() const { return {data.get(), length}; }
};

// A reader's hold on a transfer; belongs to the loop given to join(). Its end removes the reader; without readers a transfer stops
// within a second.
class TransferReader {
public:
    virtual ~TransferReader() = default;
    virtual Geometry geometry() const = 0;
    // done: the verified bytes of the block as soon as there are any; or why there will never be (withdrawn, conflicting_head,
    // unreachable after every source is gone). Several may be outstanding. After the reader's end no callback runs any more.
    virtual void read(BlockIndex block, std::function<void(Result<VerifiedBytes>)> done) = 0;
    // Where the application is, in bytes: the planner's window begins here, and what lies before may be dropped.
    virtual void position(std::uint64_t offset) = 0;
};

struct PeerStatus {
    MemberId member;
    std::string address;
    std::uint64_t bytes = 0;
    double rate = 0;  // bytes a second
    std::uint64_t rejected = 0;
    std::uint32_t stalls = 0;  // how often it was passed over for being silent or far too slow
};

struct TransferStatus {
    ObjectId object;
    std::string url;  // redacted
    std::string state;  // "fetching", "seeding", "failed"
    std::uint64_t length = 0;
    std::uint64_t verified = 0;  // bytes
    std::uint64_t from_server = 0, from_peers = 0, from_store = 0, to_peers = 0;
    std::uint64_t rejected_blocks = 0;
    std::size_t readers = 0, takers = 0;
    bool stored = false;
    std::vector<PeerStatus> peers;
    std::vector<std::string> cut;  // "member: why" of peers that lied
    std::string last_error;        // why it fell back or failed
};

// Any thread.
class Transfers {
public:
    virtual ~Transfers() = default;
    // Joins the running transfer of this object or begins one (what the store holds is not fetched again). done runs in loop.
    virtual void join(std::shared_ptr<Site> site, Resolution resolution, Loop& loop,
                      std::function<void(Result<std::unique_ptr<TransferReader>>)> done) = 0;
    // Whether the store has all of its object. Any thread.
    virtual bool holds(const Resolution& resolution) const = 0;
    // The loop that an object's transfer lives in.
    virtual Loop& owner_of(const ObjectId& object) = 0;
    // A member wants to download this object of this realm from here; its ticket was checked, by a signer of the realm. done runs in
    // loop: how to reach the uploads.
    virtual void attach_upload(const RealmId& realm, const ObjectId& object, std::shared_ptr<UploadTaker> taker, Handle handle,
                               WallTime ticket_end, Loop& loop, std::function<void(Result<std::shared_ptr<UploadPlace>>)> done) = 0;
    virtual void status(Loop& loop, std::function<void(std::vector<TransferStatus>)> done) = 0;
    virtual const BannedPeers& banned() const = 0;
    virtual RateLimit& upload_limit() = 0;
    // peer_port: what is announced to servers; 0 when nothing listens.
    static std::shared_ptr<Transfers> create(Runtime& runtime, std::shared_ptr<StoreDirectory> store, const ClientConfig& config,
                                             std::uint16_t peer_port);
};

}  // namespace mssl::proxy
