// The seam between an application's connection and what answers one request on it.
//
// Thread rules: one loop. The connection owns what answers and disposes of it through the loop, so either may call the other
// at any moment; after stop() no call comes out of it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "proxy/client/resolution.h"
#include "proxy/core/loop.h"
#include "proxy/http/message.h"

namespace mssl::proxy {

// What the connection takes. Heads are already as the application shall see them, but for framing and Connection.
class AnswerPort {
public:
    virtual ~AnswerPort() = default;
    // Any number of 1xx, then one that is final.
    virtual void answer_head(ResponseHead head) = 0;
    // Taken whole. false: no more until room(). In a tunnel: its bytes.
    virtual bool answer_body(View piece) = 0;
    // Of a tunnel: this direction alone.
    virtual void answer_end() = 0;
    // Something was sent, and it cannot be completed: the application must not take it for whole.
    virtual void answer_broken(const Error& why) = 0;
    // Nothing was sent: a short text of our own. text says what failed and what to do.
    virtual void answer_failed(std::uint16_t status, std::string_view text, const Error& why) = 0;
    // A shared object answers; the connection fetches it, and comes back through Relay::fall_back() when it cannot.
    virtual void answer_shared(Resolution resolution) = 0;
    // From here raw bytes both ways.
    virtual void answer_tunnel() = 0;
    // request_body() said false: more may come now.
    virtual void request_room() = 0;
    // "relayed", "fallback", "tunnel": for the log.
    virtual void answered_by(std::string_view how) = 0;
};

class Answering : public Disposable {
public:
    // Once, when the connection is ready to be called.
    virtual void begin() = 0;
    // false: taken, but no more until request_room().
    virtual bool request_body(View piece) = 0;
    virtual void request_end() = 0;
    virtual void room() = 0;
    // The application is gone, or its answer is over. Idempotent.
    virtual void stop() = 0;
};

}  // namespace mssl::proxy
