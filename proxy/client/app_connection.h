// One application's connection: requests parsed strictly, answered one at a time and in order (pipelined ones wait unread), by a
// Relay, a Tunnel, or a Delivery of a shared object.
//
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
#include <unordered_map>

#include "proxy/client/answering.h"
#include "proxy/client/delivery.h"
#include "proxy/client/intercept.h"
#include "proxy/client/relay.h"
#include "proxy/client/site_table.h"
#include "proxy/core/config.h"
#include "proxy/http/body_writer.h"
#include "proxy/http/client.h"
#include "proxy/http/parser.h"

namespace mssl::proxy {

class AppConnection;

// What the connections of one loop share. Thread rules: that loop's, but for what is const or says otherwise.
class AppConnections {
public:
    AppConnections(Runtime& runtime, Loop& loop, std::shared_ptr<SiteTable> sites, std::shared_ptr<Transfers> transfers,
                   std::shared_ptr<OwnSockets> own);
    ~AppConnections();
    AppConnections(const AppConnections&) = delete;
    AppConnections& operator=(const AppConnections&) = delete;

    void begin(Fd fd, InterceptConfig::Mode mode);
    // No further request: idle connections end now, the others after their answer. done: when the last has ended.
    void drain(std::function<void()> done);
    std::size_t open() const { return connections_.size(); }
    Loop& loop() { return loop_; }

private:
    friend class AppConnection;
    void remove(AppConnection* connection);

    Runtime& runtime_;
    Loop& loop_;
    std::shared_ptr<SiteTable> sites_;
    std::shared_ptr<Transfers> transfers_;
    std::shared_ptr<OwnSockets> own_;
    HttpPool pool_;
    std::unordered_map<AppConnection*, std::unique_ptr<AppConnection>> connections_;
    std::function<void()> drained_;
    bool draining_ = false;
};

class AppConnection final : public Disposable, private StreamHandler, private AnswerPort {
public:
    AppConnection(AppConnections& all, Fd fd, InterceptConfig::Mode mode);
    ~AppConnection() override;
    void drain();

private:
    enum class State : std::uint8_t { waiting, answering, tunnel, ending, over };
    struct DeliveryHold;

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
    void answered_by(std::string_view how) override { how_ = how; }

    void read_input();
    void pump();
    bool step();
    bool step_tunnel();
    bool take_event(const Result<HttpEvent>& event, bool at_end);
    void begin_request();
    void begin_exchange(Wish wish);
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
    void log_answer(std::string_view end);
    bool over() const { return state_ == State::over; }

    AppConnections* all_;
    Loop* loop_;
    std::unique_ptr<Stream> stream_;
    const InterceptConfig::Mode mode_;
    std::optional<Address> destination_;  // of a redirected connection
    HttpParser parser_{HttpParser::Kind::request};
    Timer tick_;
    State state_ = State::waiting;
    bool pumping_ = false, pump_again_ = false;

    Bytes in_;
    std::size_t in_begin_ = 0, in_end_ = 0;
    bool in_ended_ = false;
    MonoTime read_at_, wrote_at_, head_since_;
    bool in_head_ = false;

    RequestHead request_;
    Authority authority_;
    std::string target_;
    bool request_over_ = false, request_paused_ = false;
    std::shared_ptr<Site> site_;
    std::string checked_host_;  // leads to destination_ (redirect)

    std::unique_ptr<Answering> answering_;
    Relay* relay_ = nullptr;    // answering_, when it is one
    std::unique_ptr<DeliveryHold> delivery_;
    bool head_sent_ = false, answer_over_ = false, keep_alive_ = true, starved_ = false;
    BodyWriter body_;
    std::uint16_t status_ = 0;
    std::uint64_t body_bytes_ = 0;
    std::string_view how_;

    Bytes out_;
    std::size_t out_at_ = 0;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace mssl::proxy
