// One http/1.1 connection at the server: parsing, order, framing, back-pressure. What is answered is its exchange's business.
#pragma once

#include <optional>
#include <string>

#include "proxy/http/body_writer.h"
#include "proxy/http/parser.h"
#include "proxy/server/answerer.h"
#include "proxy/server/front.h"

namespace mssl::proxy {

class FrontConnection;

struct Front::Impl {
    Loop* loop;
    std::function<std::shared_ptr<const FrontParts>()> parts;
    std::vector<FrontConnection*> connections;  // adopted by the loop
    bool draining = false;
};

class FrontConnection final : public Disposable, private StreamHandler, private AnswerPort {
public:
    FrontConnection(Front::Impl& front, std::unique_ptr<Stream> stream);
    ~FrontConnection() override;
    void begin();
    // At once, whatever is being answered.
    void end_now();
    // Ends now when nothing is being answered, else after the answer.
    void drain();

private:
    enum class State : std::uint8_t { waiting, answering, tunnel, ending, over };

    // StreamHandler
    void on_open() override {}
    void on_readable() override;
    void on_writable() override;
    void on_error(const Error& error) override;
    // AnswerPort
    Loop& loop() override { return *front_->loop; }
    Stream& stream() override { return *stream_; }
    void send_head(ResponseHead head) override;
    bool send_body(View piece) override;
    void send_end() override;
    void send_broken() override;
    void send_error(std::uint16_t status, std::string_view text) override;
    void begin_tunnel() override;
    void request_room() override;

    void pump();
    bool step();
    void begin_request();
    std::unique_ptr<Answerer> choose_exchange();
    std::optional<MemberId> prove(const FrontParts& parts, std::string_view field);
    void refuse(std::uint16_t status, std::string_view text);
    void answer_here();
    void after_answer();
    void queue(View bytes);
    void flush();
    void finish();
    void close();
    void arm_timers();
    void drop_exchange();

    Front::Impl* front_;
    std::shared_ptr<FrontConnection*> self_ = std::make_shared<FrontConnection*>(this);  // for posted tasks that come too late
    std::unique_ptr<Stream> stream_;
    HttpParser parser_;
    Timer head_timer_;  // a head must be whole in time
    State state_ = State::waiting;

    Bytes in_;
    std::size_t in_at_ = 0;
    bool in_ended_ = false;       // the client ended its direction
    bool request_paused_ = false;
    bool request_over_ = false;

    RequestHead request_;
    std::unique_ptr<Answerer> exchange_;
    bool head_sent_ = false;
    bool answer_over_ = false;
    bool keep_alive_ = true;
    BodyWriter body_;

    Bytes out_;
    std::size_t out_at_ = 0;
    bool starved_ = false;        // the exchange waits for on_room()
    bool pumping_ = false;
    std::optional<MemberId> member_;  // proven on this connection
};

}  // namespace mssl::proxy
