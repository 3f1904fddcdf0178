// The joint between catalog and hosted objects: what an object needs to be hosted, how it is made, how it is found.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "proxy/core/runtime.h"
#include "proxy/server/hosted_object.h"
#include "proxy/server/range_reader.h"
#include "proxy/server/realm.h"
#include "proxy/store/store.h"

namespace mssl::proxy {

// What must outlive a restart, and what must never come back. Implemented by Catalog. Any thread.
class ObjectKeeper {
public:
    virtual ~ObjectKeeper() = default;
    // The whole tree's block nodes and the final head: nodes durable first, then the head. The object uses (shows) its final head
    // only after done(ok). An error: the object may go on with it for this process; it takes a new id after a restart.
    virtual void keep(const ObjectId& id, const std::vector<Hash>& block_nodes, const SignedHead& final_head, Loop& loop,
                      std::function<void(Status)> done) = 0;
    // The object is withdrawn: its (URL, validator) is free again, its id recorded as never to be used.
    virtual void withdrawn(const ObjectId& id, const Error& why) = 0;
};

struct Hosting {
    Runtime& runtime;  // outlives all objects
    std::shared_ptr<const Realm> realm;
    std::shared_ptr<const SignedManifest> manifest;  // signed by realm's signer
    std::shared_ptr<Store> spool;                    // may be null, or broken: then re-read from the origin
    std::shared_ptr<RangeReader> source;
    std::weak_ptr<ObjectKeeper> keeper;
    // How long a new object that only one member knows is read on without a reader.
    Duration grace = std::chrono::seconds(30);
    // An origin that fails for so long, and in some tries, is not waited for any more.
    Duration failing = std::chrono::seconds(5);
    // Who signs once this realm's signer is not the current one any more; none: it always is.
    std::optional<CurrentRealm> today{};
};

// A new object: nothing hashed yet; append() feeds it. Any thread.
std::shared_ptr<HostedObject> host_new_object(Hosting hosting);
// A complete one from before a restart. nodes are its block nodes, checked here against final_head: malformed otherwise.
Result<std::shared_ptr<HostedObject>> host_known_object(Hosting hosting, std::shared_ptr<const SignedHead> final_head,
                                                        const std::vector<Hash>& nodes);

// For member sessions: the object of an id that may be opened now, or null. Any thread.
class ObjectFinder {
public:
    virtual ~ObjectFinder() = default;
    virtual std::shared_ptr<HostedObject> find(const ObjectId& id) = 0;
};

}  // namespace mssl::proxy
