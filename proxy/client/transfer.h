// One host's fetching of one object (DESIGN 2), for however many applications read it. Lives in its owner loop; readers are in
// any loop and ask block by block.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "protocol/objects.h"
#include "protocol/resolve.h"
#include "proxy/client/site.h"
#include "proxy/core/runtime.h"
#include "proxy/store/store.h"

namespace mssl::proxy {

// Bytes of one block that verified: what an application may be given.
struct VerifiedBytes {
    BlockData data;
    std::uint32_t length = 0;
    View view() const { return {data.get(), length}; }
};

// Parsed and verified Resolved: what a transfer starts from.
struct Resolution {
    std::shared_ptr<const SignedManifest> manifest;
    std::shared_ptr<const SignedTicket> ticket;
    std::shared_ptr<const SignedHead> head;
    Certificate signer;
    std::vector<HeaderField> fields;
};

// A reader's hold on a transfer: any thread that owns it; its end (destructor) removes the reader, and with the last reader the
// transfer stops within a second.
class TransferReader {
public:
    virtual ~TransferReader() = default;
    virtual Geometry geometry() const = 0;
    // done runs in the loop given to join(): the verified bytes of the block, as soon as it is verified; or why they will never come
    // (withdrawn, conflicting_head, unreachable after every source is gone). Several may be outstanding. After the reader's end no
    // callback runs any more.
    virtual void read(BlockIndex block, std::function<void(Result<VerifiedBytes>)> done) = 0;
    // Where the application is, in bytes: the planner's window begins here.
    virtual void position(std::uint64_t offset) = 0;
};

// All transfers of the client, by object id. Any thread.
class Transfers {
public:
    virtual ~Transfers() = default;
    // Joins the running transfer of this object or begins one (store first: what it holds is not fetched again).
    virtual void join(std::shared_ptr<Site> site, Resolution resolution, Loop& loop,
                      std::function<void(std::unique_ptr<TransferReader>)> done) = 0;
    // Snapshot for /status.json: one JSON object a transfer (bytes by source, peers, rejected, why it fell back).
    virtual void status(Loop& loop, std::function<void(std::string json_array)> done) = 0;
    static std::shared_ptr<Transfers> create(Runtime& runtime, std::shared_ptr<Store> store, const ClientConfig& config);
};

}  // namespace mssl::proxy
