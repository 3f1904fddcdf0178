// The http/1.1 side of the server's port (DESIGN 3): browsers and client proxies; everything is answered, in order, by an exchange.
//
//   ┌──────────┐ head ┌───────────┐ answer and request over ┌─────────┐ keep-alive, drained
//   │ waiting  │─────▶│ answering │────────────────────────▶│ between │──────────────────────▶ waiting
//   └──────────┘      └───────────┘                         └─────────┘
//        │ malformed, idle  │ 101: tunnel     broken: abort      │ close
//        ▼                  ▼                                    ▼
//     short answer, end  bytes both ways until both ended     finish
#pragma once

#include <functional>
#include <memory>

#include "proxy/core/runtime.h"
#include "proxy/core/stream.h"
#include "proxy/server/catalog.h"
#include "proxy/server/origin.h"
#include "proxy/server/realm.h"
#include "proxy/server/tickets.h"

namespace mssl::proxy {

class ColdReads;
class ResolveAsks;

// What requests are answered with: an immutable snapshot, replaced on reload; a request keeps the one it began with.
struct FrontParts {
    Runtime* runtime = nullptr;
    std::shared_ptr<const Origins> origins;
    std::shared_ptr<Catalog> catalog;
    std::shared_ptr<const Realm> realm;  // whose signer has no part in what is asked of it here
    std::function<WallTime()> wall = wall_now;
    std::shared_ptr<Tickets> tickets;
    std::shared_ptr<ResolveAsks> asks;
    std::shared_ptr<ColdReads> cold_reads;
    std::shared_ptr<Store> spool;  // may be null
    Duration open_limit = std::chrono::seconds(10);  // for an object's first head; then the request is relayed
    std::uint64_t spool_max = 0;  // objects of an origin without ranges must fit
};

// All http connections of one loop. Thread rules: that loop's.
class Front {
public:
    // parts: the current ones, asked at every request.
    Front(Loop& loop, std::function<std::shared_ptr<const FrontParts>()> parts);
    ~Front();
    Front(const Front&) = delete;
    Front& operator=(const Front&) = delete;
    // The stream is open, its handshake done, ALPN http/1.1 or none.
    void begin(std::unique_ptr<Stream> stream);
    // No further request: idle connections end now, the others after their answer.
    void drain();
    std::size_t open() const;

private:
    friend class FrontConnection;
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace mssl::proxy
