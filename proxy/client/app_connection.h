// One application's connection: requests parsed strictly, answered one at a time and in order (pipelined ones wait unread), by a
// Relay, a Tunnel, or a Delivery of a shared object.
//
//     greeting (SOCKS) ──asked──▶ hello, waiting for HTTP, or tunnel
//     hello ──TLS for a site that is intercepted──▶ securing ──handshake done──▶ waiting
//       │       (to an address that was asked for: connected first, as its answer says; dropped here)
//       ├──no TLS──▶ waiting for HTTP; to the port of https: tunnel
//       └──any other TLS──▶ answering by a tunnel, from the first byte on
//     waiting ──head──▶ answering ──answer and request over──▶ waiting (keep-alive) or ending
//        │                 │    └──101, CONNECT──▶ tunnel ──both ended──▶ over
//        │ malformed: 400  └──cannot be completed──▶ aborted (RST: never a clean end)
//        └──▶ ending (what is queued goes out) ──▶ over
//
// Thread rules: the loop that accepted it.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "proxy/client/answering.h"
#include "proxy/client/app_input.h"
#include "proxy/client/app_output.h"
#include "proxy/client/delivery.h"
#include "proxy/client/forwarded_site.h"
#include "proxy/client/intercept.h"
#include "proxy/client/relay.h"
#include "proxy/client/site_table.h"
#include "proxy/client/socks.h"
#include "proxy/core/config.h"
#include "proxy/http/body_writer.h"

namespace mssl::proxy {

class AppConnections;
struct WayIn;

class AppConnection final : public Disposable, private StreamHandler, private AnswerPort {
public:
    AppConnection(AppConnections& all, Fd fd, std::shared_ptr<const WayIn> way);
    ~AppConnection() override;
    void drain();

private:
    enum class State : std::uint8_t { greeting, hello, securing, waiting, answering, tunnel, ending, over };
    struct DeliveryHold final : Disposable {
        std::unique_ptr<Delivery> delivery;
    };
    // Output waiting over this: the relay is asked to stop until half of it is gone.
    static constexpr std::size_t kMaxOutput = 256 * 1024;

    // One request and its answer.
    struct Turn {
        RequestHead request;
        UrlRoot to;
        std::string target;
        std::optional<ForwardedSite> forwarded;
        std::shared_ptr<Site> site;
        bool request_over = false, request_paused = false;
        bool head_sent = false, answer_over = false, keep_alive = true;
        bool starved = false;               // answer_body() said stop
        std::optional<MonoTime> unfed;      // there is nothing of the object to write, since then
        bool to_a_proxy = false;            // the application knows that it speaks to one
        bool unasked = false;               // a tunnel that the application knows nothing of: it is told nothing
        bool looked_into = false;           // a tunnel whose first bytes may be for a site that is intercepted
        BodyWriter body;
        std::uint16_t status = 0;
        std::uint64_t body_bytes = 0;
        std::string_view how = "refused";   // for the log
    };

    void on_open() override;
    void on_readable() override;
    void on_writable() override;
    void on_error(const Error& error) override;

    void answer_head(ResponseHead head) override;
    bool answer_body(View piece) override;
    void answer_end() override;
    void answer_broken(const Error& why) override;
    void answer_failed(std::uint16_t status, std::string_view text, const Error& why) override;
    void answer_shared(Resolution resolution) override;
    void answer_tunnel() override;
    void request_room() override;
    void answered_by(std::string_view how) override { turn_.how = how; }

    void pump();
    bool step();
    bool step_greeting();
    void begin_asked();
    bool step_hello();
    void pass_on();
    void begin_unasked_tunnel();
    void begin_tunnel_turn();
    void fail_asked(SocksReply code);
    void begin_tunnel(Authority to);
    bool step_tunnel();
    bool take_event(const Result<HttpEvent>& event, bool at_end);
    void begin_request();
    std::variant<Wish, Refusal> judge_request();
    std::variant<Wish, Refusal> judge_forwarded();
    void begin_exchange(Wish wish);
    void begin_connect(Authority to);
    void check_host(Wish wish, std::shared_ptr<Site> site);
    void begin_relay(Wish wish, std::shared_ptr<Site> site);
    void begin_delivery(const Resolution& resolution, Result<std::unique_ptr<TransferReader>> reader);
    void pump_delivery();
    void delivery_failed(const Error& why);
    void refuse(std::uint16_t status, std::string_view text);
    void answer_text(std::uint16_t status, std::string_view text);
    bool after_answer();
    void queue(View bytes);
    void flush();
    void finish();
    void abort();
    void close();
    void drop_answer();
    void update_interest();
    void tick();
    void look_for_its_end();
    void log_answer(std::string_view end);
    bool over() const { return state_ == State::over; }

    AppConnections* all_;
    Loop* loop_;
    std::unique_ptr<Stream> stream_;
    const std::shared_ptr<const WayIn> way_;
    std::optional<Destination> destination_;  // where it was going, where the way in tells that
    std::unique_ptr<SocksHandshake> socks_;   // until its reply is sent
    std::shared_ptr<Site> secured_;           // whose TLS ends here; null: none does
    UrlRoot secured_root_;
    Timer tick_;
    State state_ = State::waiting;
    bool pumping_ = false, pump_again_ = false;

    AppInput in_;
    AppOutput out_;
    MonoTime read_at_, wrote_at_, head_since_;
    bool in_head_ = false;
    std::string checked_host_;  // leads to destination_

    Turn turn_;
    std::unique_ptr<Answering> answering_;
    Relay* relay_ = nullptr;    // answering_, when it is one
    std::unique_ptr<DeliveryHold> delivery_;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace mssl::proxy
