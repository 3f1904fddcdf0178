// The answer of an application's connection: relayed, our own, or a shared object.
#include "proxy/client/app_connection.h"

#include <utility>

#include "proxy/client/app_connections.h"
#include "proxy/client/forward.h"

namespace mssl::proxy {
namespace {

// Written in one callback of a delivery, so that a fast application does not starve the loop's others.
constexpr std::size_t kWriteAtOnce = 1 << 20;

}  // namespace

// ── A relayed answer ──

void AppConnection::answer_head(ResponseHead head) {
    if (state_ != State::answering || turn_.head_sent) return;
    if (head.status < 200 && head.status != 101) {
        if (turn_.request.minor == 0) return;  // RFC 9110 §15.2
        head.body = BodyKind::none;
        head.keep_alive = true;
        head.minor = 1;
        return queue(as_view(serialize(head)));
    }
    if (turn_.forwarded) turn_.forwarded->to_application(head.fields);
    turn_.head_sent = true;
    turn_.status = head.status;
    if (turn_.unasked) return;
    if (socks_) {
        socks_.reset();
        return queue(socks_reply(SocksReply::succeeded));
    }
    const bool connected = turn_.request.method == "CONNECT" && head.status < 300;
    // An answer before the whole request: what is left of it is not waited for.
    if (!turn_.request_over) turn_.keep_alive = false;
    if (head.body == BodyKind::chunked || head.body == BodyKind::until_close)
        head.body = turn_.request.minor == 0 ? BodyKind::until_close : BodyKind::chunked;
    if (head.body == BodyKind::until_close) turn_.keep_alive = false;
    // Our own version (RFC 9110 §2.5), but for an HTTP/1.0 application that asked for keep-alive and must see it granted.
    head.minor = turn_.request.minor == 0 && turn_.keep_alive ? 0 : 1;
    head.keep_alive = head.status == 101 || connected || turn_.keep_alive;
    turn_.body = BodyWriter(head.body, head.length);
    queue(as_view(serialize(head, true)));
}

bool AppConnection::answer_body(View piece) {
    if (state_ == State::hello) {  // who speaks first is no TLS server
        pass_on();
        pump();
        if (over()) return false;
    }
    if (state_ != State::tunnel) {
        if (state_ != State::answering || !turn_.head_sent) return true;
        const Result<BodyWriter::Frame> frame = turn_.body.frame(piece.size());
        if (!frame) return answer_broken(frame.error()), false;
        queue(as_view(frame->before));
        queue(piece);
        queue(as_view(frame->after));
    } else {
        queue(piece);
    }
    turn_.body_bytes += piece.size();
    if (over()) return false;
    turn_.starved = out_.waiting() > kMaxOutput;
    return !turn_.starved;
}

void AppConnection::answer_end() {
    if (state_ == State::hello) pass_on();
    if (state_ == State::tunnel) {
        turn_.answer_over = true;
        read_at_ = loop_->now();
        flush();
        return pump();
    }
    if (state_ != State::answering || turn_.answer_over) return;
    const Result<std::string_view> last = turn_.body.end();
    if (!last) return answer_broken(last.error());
    queue(as_view(*last));
    turn_.answer_over = true;
    pump();
}

void AppConnection::answer_broken(const Error& why) {
    if (over()) return;
    log_answer("broken: " + why.to_string());
    abort();
}

void AppConnection::answer_failed(std::uint16_t status, std::string_view text, const Error& why) {
    if (state_ != State::answering) return;
    if (turn_.head_sent || turn_.unasked) return answer_broken(why);
    if (socks_) return fail_asked(why.code == Errc::unreachable ? SocksReply::host_unreachable : SocksReply::general_failure);
    answer_text(status, text);
}

void AppConnection::answer_tunnel() {
    if (state_ != State::answering) return;
    state_ = turn_.looked_into ? State::hello : State::tunnel;
    read_at_ = loop_->now();
    turn_.request_over = turn_.request_paused = turn_.answer_over = false;
    pump();
}

// Returns with the answer queued; the connection closes after a status of ours, so that nothing that was misunderstood is read on.
void AppConnection::refuse(std::uint16_t status, std::string_view text) {
    add(loop_->counters().requests_refused);
    if (state_ == State::waiting) {  // no head was understood
        turn_ = {};
        state_ = State::answering;
    }
    turn_.keep_alive = false;
    drop_answer();
    answer_text(status, text);
}

void AppConnection::answer_text(std::uint16_t status, std::string_view text) {
    ResponseHead head;
    head.status = status;
    head.reason = reason_of(status);
    const std::string body = text.empty() ? std::string{} : "mSSL: " + std::string(text) + ".\n";
    if (!body.empty()) head.fields.add("Content-Type", "text/plain; charset=utf-8");
    head.body = BodyKind::length;
    head.length = body.size();
    if (turn_.request.method == "HEAD") {
        head.body = BodyKind::none;
        head.fields.add("Content-Length", std::to_string(body.size()));
    }
    if (turn_.request.method == "CONNECT") turn_.keep_alive = false;
    const bool with_content = head.body == BodyKind::length;
    answer_head(std::move(head));
    if (with_content && !body.empty()) answer_body(as_view(body));
    answer_end();
}

// ── A shared answer ──

void AppConnection::answer_shared(Resolution resolution) {
    turn_.how = resolution.age ? "fresh" : "shared";
    auto kept = std::make_shared<Resolution>(std::move(resolution));
    all_->transfers_->join(turn_.site, *kept, *loop_,
                           [this, alive = std::weak_ptr<bool>(alive_), kept](Result<std::unique_ptr<TransferReader>> reader) {
                               if (!alive.expired() && state_ == State::answering) begin_delivery(*kept, std::move(reader));
                           });
}

void AppConnection::begin_delivery(const Resolution& resolution, Result<std::unique_ptr<TransferReader>> reader) {
    if (!reader) return delivery_failed(reader.error());
    // An answer that does not say keep-alive is none to HTTP/1.0.
    if (turn_.request.minor == 0) turn_.keep_alive = false;
    Fields fields = current_fields(resolution);
    if (turn_.forwarded) turn_.forwarded->to_application(fields);
    if (turn_.to_a_proxy) fields.add("Via", "1.1 " + std::string(kViaName));
    delivery_ = std::make_unique<DeliveryHold>();
    delivery_->delivery = std::make_unique<Delivery>(*loop_, turn_.request, resolution.manifest->body, std::move(fields),
                                                     std::move(*reader), turn_.keep_alive, [this] { pump_delivery(); });
    turn_.status = delivery_->delivery->status();
    pump_delivery();
}

void AppConnection::delivery_failed(const Error& why) {
    if (delivery_) loop_->dispose(std::move(delivery_));
    if (relay_ == nullptr || turn_.head_sent) return answer_broken(why);
    relay_->fall_back(why);
}

void AppConnection::pump_delivery() {
    std::size_t written = 0;
    turn_.unfed.reset();
    while (delivery_ && !over()) {
        Delivery& d = *delivery_->delivery;
        switch (d.next()) {
        case Delivery::Next::wait:
            stream_->want_write(false);
            turn_.unfed = loop_->now();
            return look_for_its_end();
        case Delivery::Next::broken: {
            const Error why = d.error().value_or(fail(Errc::internal, "delivery"));
            if (d.untouched()) return delivery_failed(why);
            turn_.body_bytes = d.body_bytes();
            return answer_broken(why);
        }
        case Delivery::Next::done:
            turn_.body_bytes = d.body_bytes();
            add(loop_->counters().requests_shared);
            loop_->dispose(std::move(delivery_));
            turn_.head_sent = turn_.answer_over = true;
            pump();
            return;
        case Delivery::Next::piece: {
            // Something of ours first (a 100 that was relayed).
            if (!out_.empty()) return stream_->want_write(true);
            const Result<std::size_t> n = stream_->write(d.piece());
            if (!n) {  // want_write is set, or on_error comes
                // OpenSSL may hold a record of it that is half sent: nothing else can take its place.
                if (stream_->is_tls()) turn_.head_sent = true;
                return;
            }
            turn_.head_sent = true;
            wrote_at_ = loop_->now();
            written += *n;
            d.consumed(*n);
            if (written >= kWriteAtOnce) return stream_->want_write(true);
            break;
        }
        }
    }
}

}  // namespace mssl::proxy
