// Members that come to download from here (DESIGN 6): TLS 1.3, both sides show membership; then OPEN with a ticket, which alone says
// what may be had (invariant 4). A session lives in the loop that accepted it; what it asks for is served in the object's loop.
//
// Thread rules: start from loop 0; sessions in their loops.
#pragma once

#include <memory>
#include <vector>

#include "proxy/client/peer_session.h"
#include "proxy/client/site.h"
#include "proxy/client/transfer.h"
#include "proxy/core/net.h"

namespace mssl::proxy {

class PeerServer {
public:
    // Binds now. sites: whose memberships may be shown. A peer is shown that of the realm which its ClientHello names, or else the
    // first; none while no site is enrolled.
    static Result<std::unique_ptr<PeerServer>> open(Runtime& runtime, const Address& at, std::vector<std::shared_ptr<Site>> sites,
                                                    std::shared_ptr<Transfers> transfers, const PeerLimits& limits = {});
    ~PeerServer();
    void start();
    void stop();  // no new sessions
    Address address() const;
    void set_sites(std::vector<std::shared_ptr<Site>> sites);  // reload

private:
    PeerServer();
    struct Impl;
    std::shared_ptr<Impl> impl_;
};

}  // namespace mssl::proxy
