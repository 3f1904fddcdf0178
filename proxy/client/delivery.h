// A shared object on its way to one application: head and content of the answer as pieces to write, block after block while the
// rest is still arriving (DESIGN 3 "deliver"). Pull style: back-pressure is the caller's socket.
//
// Thread rules: the reader's loop.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "proxy/client/transfer.h"
#include "proxy/http/message.h"

namespace mssl::proxy {

// The fields that an application gets with the object: all of the answer of now (RFC 9111 §3.2), with Age where nobody was asked (§4).
Fields current_fields(const Resolution& resolution);

class Delivery {
public:
    enum class Next : std::uint8_t {
        piece,   // piece() is to be written; say consumed(n)
        wait,    // wake comes
        done,    // the answer is complete
        broken,  // content cannot go on: abort the connection (never a clean end); error() says why
    };
    // The answer that `request` (GET), whose preconditions the origin found to hold, gets from this object: 200, 206 or 416 (RFC 9110
    // §14). fields: of a 200, but for framing. keep_alive: whether the connection goes on after it. wake runs in loop, never inside
    // next().
    Delivery(Loop& loop, const RequestHead& request, const Manifest& manifest, Fields fields, std::unique_ptr<TransferReader> reader,
             bool keep_alive, std::function<void()> wake);
    ~Delivery();
    Delivery(const Delivery&) = delete;
    Delivery& operator=(const Delivery&) = delete;

    Next next();
    View piece() const;
    void consumed(std::size_t n);
    const std::optional<Error>& error() const { return error_; }
    std::uint16_t status() const { return status_; }
    std::uint64_t body_bytes() const { return sent_; }  // delivered so far
    // Nothing was consumed yet: another answer may still take this one's place.
    bool untouched() const { return !begun_; }

private:
    struct Ahead {
        BlockIndex block;
        std::optional<VerifiedBytes> bytes;
    };
    void ask_ahead();
    void arrived(BlockIndex block, Result<VerifiedBytes> bytes);

    Loop* loop_;
    std::unique_ptr<TransferReader> reader_;
    std::function<void()> wake_;
    std::string head_;
    std::size_t head_sent_ = 0;
    std::uint16_t status_ = 200;
    std::uint64_t at_ = 0, end_ = 0;  // bytes of the object still to send: [at_, end_)
    std::uint64_t sent_ = 0;
    std::uint64_t next_block_ = 0;
    std::deque<Ahead> ahead_;
    std::optional<Error> error_;
    bool waiting_ = false, begun_ = false;
};

}  // namespace mssl::proxy
