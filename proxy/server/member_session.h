// The members' side of the server's port: connections with ALPN mssl/1 (DESIGN 6, mssl-protocol(7) SESSIONS).
//
//   ┌───────────┐ certificate judged: none ┌───────────┐ ENROL ┌──────────┐
//   │ handshake │─────────────────────────▶│ anonymous │──────▶│ ENROLLED │  (it comes back with a certificate)
//   └───────────┘                          └───────────┘       └──────────┘
//         │ this realm's                   ┌───────────┐ OPEN   ┌─────────┐ REQUEST, ANY … by post to the object's loop
//         └───────────────────────────────▶│  member   │───────▶│ handles │ until CLOSE of either side, or the connection's end
//                                          └───────────┘        └─────────┘
//
// What is wrong with one handle ends that handle (CLOSE with the reason); what is against the protocol ends the connection.
#pragma once

#include <functional>
#include <memory>

#include "proxy/core/runtime.h"
#include "proxy/core/stream.h"
#include "proxy/server/dial_back.h"
#include "proxy/server/directory.h"
#include "proxy/server/enrolment.h"
#include "proxy/server/hosting.h"
#include "proxy/server/realm.h"
#include "proxy/server/tickets.h"

namespace mssl::proxy {

// Shared by all sessions.
struct SessionParts {
    Runtime* runtime = nullptr;  // outlives the sessions
    std::function<std::shared_ptr<const Realm>()> realm;  // the current one; any thread
    std::function<WallTime()> wall = wall_now;
    std::shared_ptr<ObjectFinder> objects;
    std::shared_ptr<Enrolment> enrolment;
    std::shared_ptr<Tickets> tickets;
    std::shared_ptr<Directory> directory;
    std::shared_ptr<const DialBack> dial_back;
    Duration silence = std::chrono::seconds(30);  // of a member with blocks queued that it does not read
};

class MemberSession;

// All sessions of the process.
class MemberSessions {
public:
    // Handles of one session. A client has one session a loop and one handle a transfer.
    static constexpr std::size_t kMaxHandles = 1024;
    static constexpr Duration kPing = std::chrono::seconds(15);
    // Not a byte from the member in this long, while it was pinged: it is gone.
    static constexpr Duration kDead = std::chrono::seconds(45);
    // Without HELLO, or without ENROL when it has no certificate.
    static constexpr Duration kSilent = std::chrono::seconds(15);

    explicit MemberSessions(SessionParts parts);
    // When the loops have stopped, or after drain().
    ~MemberSessions();
    // The stream is open, its handshake done, ALPN mssl/1. In loop's thread.
    void begin(Loop& loop, std::unique_ptr<Stream> stream);
    // Every session says shutting_down and ends, once nothing is under way in it. Any thread.
    void drain();
    std::size_t open() const;

private:
    friend class MemberSession;
    struct PerLoop;
    struct Shared;
    std::shared_ptr<Shared> shared_;
};

}  // namespace mssl::proxy
