// CONNECT (RFC 9110 §9.3.6): bytes both ways, unread, each direction ended by itself.
//
//     looking up ──▶ connecting ──▶ open ──▶ over
//
// Thread rules: as Answering.
#pragma once

#include <memory>

#include "proxy/client/answering.h"
#include "proxy/client/intercept.h"
#include "proxy/core/stream.h"

namespace mssl::proxy {

class Tunnel final : public Answering, private StreamHandler {
public:
    Tunnel(AnswerPort& port, Loop& loop, Workers& workers, OwnSockets& own, Authority to);
    ~Tunnel() override;

    void begin() override;
    bool request_body(View piece) override;
    void request_end() override;
    void room() override;
    void stop() override;

private:
    enum class State : std::uint8_t { looking_up, connecting, open, over };

    void connect(Result<std::vector<Address>> addresses);
    void on_open() override;
    void on_readable() override;
    void on_writable() override;
    void on_error(const Error& error) override;
    void failed(const Error& why);

    AnswerPort* port_;
    Loop* loop_;
    Workers* workers_;
    OwnSockets* own_;
    Authority to_;
    std::optional<OwnEnd> own_end_;
    State state_ = State::looking_up;
    std::unique_ptr<Stream> stream_;
    Bytes waiting_;            // of the application, not yet taken by the socket
    std::size_t waiting_at_ = 0;
    bool sent_end_ = false, received_end_ = false;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

// Keep-alive probes: a tunnel may be silent for hours, a host that vanished must not hold it for ever.
void probe_when_silent(int fd);

}  // namespace mssl::proxy
