// The server's half of the daemon: one TLS port for members (mssl/1) and everybody else (http/1.1), in front of the origins.
//
//   Listener ─▶ Port (handshake, ALPN) ─┬─ mssl/1 ───▶ MemberSessions ─▶ HostedObject
//                                       └─ http/1.1 ─▶ Front ─▶ ResolveExchange, ProxyExchange ─▶ Origin
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "proxy/core/config.h"
#include "proxy/core/half.h"
#include "proxy/core/runtime.h"
#include "proxy/server/publisher.h"

namespace mssl::proxy {

// What a status page shows of one object.
struct HostedStatus {
    std::string id, url, state;
    std::uint64_t bytes = 0, hashed = 0;
};

class ServerSide final : public Half {
public:
    // The clock, and how often it is looked at whether the realm's signer must be renewed.
    struct Times {
        std::function<WallTime()> wall = wall_now;
        Duration look_at_realm = std::chrono::hours(1);
    };
    // config->server is there. Binds, reads the state directory, accepts once the loops run. Errors: what failed, for a person.
    // runtime outlives it. Before the loops run, in the thread of loop 0.
    static Result<std::unique_ptr<ServerSide>> start(Runtime& runtime, std::shared_ptr<const Config> config) {
        return start(runtime, std::move(config), Times{});
    }
    static Result<std::unique_ptr<ServerSide>> start(Runtime& runtime, std::shared_ptr<const Config> config, Times times);
    ~ServerSide() override;

    Status reload(std::shared_ptr<const Config> config) override;
    void drain(std::function<void()> done) override;

    // Any thread, while this is there.
    std::vector<HostedStatus> objects() const;
    std::vector<Address> addresses() const;
    std::shared_ptr<Publisher> publisher() const;

private:
    ServerSide();
    struct Impl;
    std::shared_ptr<Impl> impl_;
};

}  // namespace mssl::proxy
