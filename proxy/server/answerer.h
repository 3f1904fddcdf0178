// The seam inside the front: a connection of an http/1.1 client on one side, one request's way to its answer on the other.
//
// Thread rules: one loop. An answerer belongs to its connection, which destroys it after send_end(), send_broken() or when the client
// is gone; never inside a call from it.
#pragma once

#include <memory>
#include <string_view>

#include "proxy/core/stream.h"
#include "proxy/http/message.h"

namespace mssl::proxy {

// What an answerer sees of the connection.
class AnswerPort {
public:
    virtual ~AnswerPort() = default;
    virtual Loop& loop() = 0;
    virtual Stream& stream() = 0;
    // Any number of 1xx, then one final head, hop-by-hop fields already removed. Framed for what the client speaks.
    virtual void send_head(ResponseHead head) = 0;
    // Taken whole. false: no more until on_room().
    virtual bool send_body(View piece) = 0;
    virtual void send_end() = 0;
    // The answer cannot be completed: the client must not take what it has for whole.
    virtual void send_broken() = 0;
    // A whole short answer when no final head was sent, else send_broken().
    virtual void send_error(std::uint16_t status, std::string_view text) = 0;
    // After send_head of a 101: from here raw bytes both ways.
    virtual void begin_tunnel() = 0;
    // on_request_body() said false: more may come now.
    virtual void request_room() = 0;
};

class Answerer : public Disposable {
public:
    // The connection wants no more of it: no call into the port comes after this.
    virtual void stop() = 0;
    // Once, right after creation.
    virtual void begin() = 0;
    // false: no more until port.request_room(). In a tunnel: its bytes.
    virtual bool on_request_body(View piece) = 0;
    virtual void on_request_end() = 0;
    // The connection takes more of the answer again.
    virtual void on_room() = 0;
};

}  // namespace mssl::proxy
