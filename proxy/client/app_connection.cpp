#include "proxy/client/app_connection.h"

#include <algorithm>
#include <utility>

#include "proxy/client/app_connections.h"
#include "proxy/client/forward.h"
#include "proxy/client/tunnel.h"
#include "proxy/core/log.h"

namespace mssl::proxy {
namespace {

constexpr int kReadsAtOnce = 16;

constexpr Duration kTick = std::chrono::seconds(1);
constexpr Duration kHeadTime = std::chrono::seconds(30);      // from a head's first byte to its last: then 408
constexpr Duration kIdleTime = std::chrono::seconds(75);      // between requests: as common servers keep connections
constexpr Duration kContentTime = std::chrono::seconds(60);   // content of a request that does not come: 408
constexpr Duration kStalledTime = std::chrono::seconds(120);  // output that the application does not take
// To the port of https who says nothing first speaks another protocol than TLS (SSH, say), and waits for the other side, where that is
// not connected yet and so cannot speak.
constexpr Duration kSilentTime = std::chrono::seconds(2);
constexpr Duration kHalfTunnelTime = std::chrono::minutes(10);  // a tunnel with one end closed, and silence
// An application that ended its direction may have gone: it is written to, or taken for gone (DESIGN 3: within a second).
constexpr Duration kGoneTime = std::chrono::milliseconds(800);

}  // namespace

AppConnection::AppConnection(AppConnections& all, Fd fd, std::shared_ptr<const WayIn> way)
    : all_(&all), loop_(&all.loop_), way_(std::move(way)), tick_(all.loop_, [this] { tick(); }) {
    switch (way_->config.mode) {
    case InterceptConfig::Mode::http_proxy:
    case InterceptConfig::Mode::forward: break;
    case InterceptConfig::Mode::redirect:
        if (Result<Address> to = original_destination(fd.get())) destination_.emplace(*to);
        break;
    case InterceptConfig::Mode::tproxy:
        if (Result<Address> to = transparent_destination(fd.get(), way_->config.listen)) destination_.emplace(*to);
        break;
    case InterceptConfig::Mode::socks5:
        socks_ = std::make_unique<SocksHandshake>();
        state_ = State::greeting;
        break;
    }
    if (destination_) state_ = State::hello;
    probe_when_silent(fd.get());
    StreamTimeouts timeouts;
    timeouts.idle = Duration::zero();  // tick() knows who is to move
    stream_ = Stream::accept(*loop_, std::move(fd), nullptr, *this, timeouts);
    read_at_ = wrote_at_ = loop_->now();
    tick_.start(kTick);
}

AppConnection::~AppConnection() {
    drop_answer();
    if (stream_) loop_->dispose(std::move(stream_));
}

void AppConnection::drain() {
    turn_.keep_alive = false;
    const bool idle = (state_ == State::waiting || state_ == State::hello) && !in_.parser().mid_message() && in_.empty();
    if (idle || state_ == State::greeting) finish();
}

// ── The application's bytes ──

void AppConnection::on_open() {
    if (over()) return;
    if (state_ == State::securing) {
        state_ = State::waiting;
        read_at_ = loop_->now();
        if (all_->draining_) return finish();
    }
    update_interest();
}

void AppConnection::on_readable() {
    for (int i = 0; i < kReadsAtOnce && !over() && state_ != State::ending; ++i) {
        const AppInput::Came came = in_.read(*stream_);
        if (came == AppInput::Came::bytes) read_at_ = loop_->now();
        // Of this direction alone: who asked and then ended still wants the answers.
        if (came == AppInput::Came::end) {
            wrote_at_ = loop_->now();
            look_for_its_end();
        }
        pump();
        if (came != AppInput::Came::bytes) return;
    }
}

void AppConnection::pump() {
    if (pumping_) {
        pump_again_ = true;
        return;
    }
    pumping_ = true;
    do {
        pump_again_ = false;
        while (!over() && step()) {}
    } while (pump_again_ && !over());
    pumping_ = false;
    if (!over()) update_interest();
}

// One event. False: nothing more to do for now.
bool AppConnection::step() {
    switch (state_) {
    case State::greeting: return step_greeting();
    case State::hello: return step_hello();
    case State::securing: return false;
    case State::tunnel: return step_tunnel();
    case State::ending:
    case State::over: return false;
    case State::answering:
        if (turn_.answer_over) return after_answer();
        if (turn_.request_over || turn_.request_paused) return false;
        break;
    case State::waiting: break;
    }
    const bool at_end = in_.at_end();
    return take_event(in_.next(), at_end);
}

bool AppConnection::take_event(const Result<HttpEvent>& event, bool at_end) {
    if (!event) {
        if (state_ == State::answering) {
            // What was forwarded of the content must not look whole.
            if (turn_.head_sent || at_end) return abort(), false;
            refuse(400, "malformed content: " + event.error().detail);
            return true;
        }
        if (at_end) return abort(), false;
        refuse(event.code() == Errc::too_large ? 431 : 400, "malformed request: " + event.error().detail);
        return true;
    }
    switch (*event) {
    case HttpEvent::need_more:
        if (at_end && state_ == State::waiting) finish();
        if (at_end && state_ == State::answering) abort();
        if (!over() && state_ == State::waiting && in_.parser().mid_message() && !std::exchange(in_head_, true))
            head_since_ = loop_->now();
        return false;
    case HttpEvent::head:
        in_head_ = false;
        begin_request();
        return true;
    case HttpEvent::body:
        if (answering_) turn_.request_paused = !answering_->request_body(in_.parser().body());
        return true;
    case HttpEvent::complete:
        turn_.request_over = true;
        if (answering_) answering_->request_end();
        return true;
    case HttpEvent::upgraded:
        // After CONNECT's head: its bytes wait for the tunnel.
        turn_.request_paused = true;
        return false;
    }
    return false;
}

bool AppConnection::step_tunnel() {
    if (turn_.answer_over && turn_.request_over) {
        flush();
        if (!over() && out_.empty()) {
            log_answer("ended");
            close();
        }
        return false;
    }
    if (turn_.request_paused || turn_.request_over) return false;
    if (!in_.empty()) {
        turn_.request_paused = !answering_->request_body(in_.take_all());
        return true;
    }
    if (!in_.ended()) return false;
    turn_.request_over = true;
    answering_->request_end();
    return true;
}

void AppConnection::request_room() {
    turn_.request_paused = false;
    pump();
}

// ── Between answers, and the end ──

bool AppConnection::after_answer() {
    log_answer("whole");
    drop_answer();
    flush();
    if (over()) return false;
    if (!turn_.keep_alive || !turn_.request_over || all_->draining_) {
        finish();
        return false;
    }
    state_ = State::waiting;
    read_at_ = loop_->now();
    in_.release();
    return true;
}

void AppConnection::queue(View bytes) {
    if (!over() && out_.put(*stream_, bytes)) wrote_at_ = loop_->now();
}

void AppConnection::flush() {
    if (over()) return;
    if (out_.flush(*stream_)) wrote_at_ = loop_->now();
    if (!out_.empty()) return;
    if (state_ == State::ending) close();
    else if (state_ == State::tunnel && turn_.answer_over) stream_->finish();
}

void AppConnection::on_writable() {
    if (over()) return;
    flush();
    if (over()) return;
    if (delivery_) return pump_delivery();
    if (turn_.starved && out_.waiting() <= kMaxOutput / 2) {
        turn_.starved = false;
        if (answering_) answering_->room();
    }
    if (!over()) pump();
}

void AppConnection::on_error(const Error& error) {
    if (over()) return;
    if (state_ == State::answering || state_ == State::tunnel) log_answer("application gone: " + error.to_string());
    // A program that does not trust the CA, or pins another certificate, says no more than that it does not like this one.
    if (state_ == State::securing)
        log::info("TLS with the application failed: it must trust this host's interception CA (mssl ca show)",
                  {{"host", secured_root_.authority.host}, {"why", error.to_string()}});
    close();
}

// What is queued goes out, then an orderly end.
void AppConnection::finish() {
    if (over() || state_ == State::ending) return;
    state_ = State::ending;
    flush();
    if (!over()) update_interest();
}

void AppConnection::abort() {
    if (over()) return;
    stream_->abort();
    close();
}

void AppConnection::close() {
    if (over()) return;
    // In a tunnel's place both ends were ended already.
    if (state_ == State::ending) stream_->finish();
    state_ = State::over;
    alive_.reset();
    tick_.stop();
    drop_answer();
    loop_->dispose(std::move(stream_));
    all_->remove(this);
}

void AppConnection::drop_answer() {
    if (delivery_) loop_->dispose(std::move(delivery_));
    relay_ = nullptr;
    if (!answering_) return;
    answering_->stop();
    loop_->dispose(std::move(answering_));
}

void AppConnection::update_interest() {
    stream_->want_read(!in_.ended() && state_ != State::ending && !in_.full());
}

void AppConnection::tick() {
    tick_.start(kTick);
    const MonoTime now = loop_->now();
    const bool pending = !out_.empty() || delivery_ != nullptr;
    switch (state_) {
    case State::greeting:
        if (now - read_at_ > kHeadTime) finish();
        return;
    case State::hello:
        if (in_head_ ? now - head_since_ > kHeadTime
                     : destination_->authority.port == default_port(Scheme::https) &&
                           now - read_at_ >= (answering_ ? kIdleTime : kSilentTime)) {
            pass_on();
            pump();
        } else if (now - read_at_ > kIdleTime) {
            finish();
        }
        return;
    case State::securing: return;  // the stream times the handshake
    case State::waiting:
        if (in_head_) {
            if (now - head_since_ > kHeadTime) {
                in_head_ = false;
                refuse(408, "the request took too long to arrive");
                pump();
            }
        } else if (now - read_at_ > kIdleTime) {
            finish();
        }
        return;
    case State::answering:
        if (delivery_ && in_.ended()) {
            if (turn_.unfed && now - std::max(*turn_.unfed, wrote_at_) >= kGoneTime)
                return on_error(fail(Errc::closed, "ended its direction"));
            look_for_its_end();
        }
        if (!out_.empty() && now - wrote_at_ > kStalledTime)
            return answer_broken(fail(Errc::timed_out, "the application reads nothing"));
        if (!turn_.request_over && !turn_.request_paused && !pending && now - read_at_ > kContentTime && answering_) {
            if (turn_.head_sent) return answer_broken(fail(Errc::timed_out, "content of the request"));
            refuse(408, "the content of the request took too long to arrive");
            pump();
        }
        return;
    case State::tunnel:
        if ((turn_.answer_over || turn_.request_over) && now - std::max(read_at_, wrote_at_) > kHalfTunnelTime) abort();
        return;
    case State::ending:
        if (now - wrote_at_ > kStalledTime) abort();
        return;
    case State::over: return;
    }
}

// The end of its direction alone does not say that an application is gone. Where there is something to write, the answer to that
// does; while its socket is full it would have been reset. Where there is nothing, time has to.
void AppConnection::look_for_its_end() {
    if (!delivery_ || !in_.ended() || !turn_.unfed) return;
    tick_.start(std::clamp(std::max(*turn_.unfed, wrote_at_) + kGoneTime - loop_->now(), Duration(1000), kTick));
}

void AppConnection::log_answer(std::string_view end) {
    if (turn_.how == "relayed") add(loop_->counters().requests_relayed);
    const std::string url = turn_.to.authority.host.empty() ? log::redact(turn_.target) : url_for_log(turn_.to, turn_.target);
    log::info("answer", {{"method", turn_.request.method},
                         {"url", url},
                         {"status", turn_.status},
                         {"bytes", delivery_ ? delivery_->delivery->body_bytes() : turn_.body_bytes},
                         {"how", turn_.how},
                         {"end", end}});
}

}  // namespace mssl::proxy
