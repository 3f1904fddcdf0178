// A member's connection until its ClientHello has said for which realm it comes. A host may be a member of several realms, and shows
// each peer its certificate of the peer's realm (realm_server_name(), mssl-protocol(7)).
//
// Thread rules: the loop that accepted it, which owns it until it is over.
#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "proxy/client/site.h"
#include "proxy/core/stream.h"

namespace mssl::proxy {

class PeerDoor final : public Disposable, private StreamHandler {
public:
    // The membership for a server name, which may be empty or of no realm that is known here; null: none at all.
    using Choose = std::function<std::shared_ptr<const Membership>(std::string_view server_name)>;
    // Whose handshake has begun with that membership's certificate.
    using Enter = std::function<void(std::unique_ptr<Stream> stream, std::shared_ptr<const Membership> membership)>;
    static void open(Loop& loop, Fd fd, Choose choose, Enter enter);

    ~PeerDoor() override;

private:
    PeerDoor(Loop& loop, Choose choose, Enter enter) : loop_(loop), choose_(std::move(choose)), enter_(std::move(enter)), deadline_(loop, [this] { over(); }) {}
    void on_open() override {}
    void on_readable() override;
    void on_writable() override {}
    void on_error(const Error&) override { over(); }
    void over() { loop_.release(this); }

    Loop& loop_;
    Choose choose_;
    Enter enter_;
    std::unique_ptr<Stream> stream_;
    Bytes first_;
    Timer deadline_;  // of the whole hello: who sends a byte now and then is nobody's guest
};

}  // namespace mssl::proxy
