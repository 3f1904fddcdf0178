#include "proxy/client/tunnel.h"

#include <netinet/tcp.h>

#include "proxy/client/forward.h"
#include "proxy/client/intercept.h"

namespace mssl::proxy {
namespace {

constexpr std::size_t kReadBytes = 64 * 1024;
// Reads in one callback, so that one fast tunnel does not starve the loop's other connections.
constexpr int kReadsAtOnce = 8;
constexpr int kSilentSeconds = 120;

}  // namespace

void probe_when_silent(int fd) {
    const int on = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &kSilentSeconds, sizeof kSilentSeconds);
}

Tunnel::Tunnel(AnswerPort& port, Loop& loop, Workers& workers, OwnSockets& own, Authority to)
    : port_(&port), loop_(&loop), workers_(&workers), own_(&own), to_(std::move(to)) {}

Tunnel::~Tunnel() { stop(); }

void Tunnel::begin() {
    port_->answered_by("tunnel");
    resolve_name(*workers_, *loop_, without_brackets(to_.host), to_.port,
                 [this, alive = std::weak_ptr<bool>(alive_)](Result<std::vector<Address>> addresses) {
                     if (!alive.expired() && state_ == State::looking_up) connect(std::move(addresses));
                 });
}

void Tunnel::connect(Result<std::vector<Address>> addresses) {
    if (!addresses) return failed(addresses.error());
    state_ = State::connecting;
    StreamTimeouts timeouts;
    timeouts.idle = Duration::zero();
    stream_ = Stream::connect(*loop_, std::move(*addresses), nullptr, *this, timeouts);
}

void Tunnel::on_open() {
    if (state_ != State::connecting) return;
    state_ = State::open;
    own_end_.emplace(*own_, stream_->local());
    probe_when_silent(stream_->fd());
    stream_->want_read(true);
    ResponseHead head;
    head.status = 200;
    head.reason = "Connection established";
    port_->answer_head(std::move(head));
    if (port_) port_->answer_tunnel();
}

void Tunnel::on_readable() {
    if (state_ != State::open) return;
    // One scratch a thread: a tunnel, which may be silent for hours, holds no buffer of its own.
    thread_local Bytes scratch(kReadBytes);
    for (int i = 0; i < kReadsAtOnce && state_ == State::open; ++i) {
        const Result<std::size_t> n = stream_->read(scratch);
        if (n) {
            if (port_->answer_body(View(scratch).first(*n)) || state_ != State::open) continue;
            stream_->want_read(false);
            return;
        }
        if (n.code() == Errc::closed) {
            received_end_ = true;
            stream_->want_read(false);
            port_->answer_end();
        }
        return;  // again; or on_error comes
    }
}

void Tunnel::room() {
    if (state_ == State::open && !received_end_) stream_->want_read(true);
}

bool Tunnel::request_body(View piece) {
    if (state_ != State::open || sent_end_) return true;
    while (waiting_.empty() && !piece.empty()) {
        const Result<std::size_t> n = stream_->write(piece);
        if (!n) break;
        piece = piece.subspan(*n);
    }
    waiting_.insert(waiting_.end(), piece.begin(), piece.end());
    return waiting_.empty();
}

// Comes only when nothing waits: request_room() is said no earlier.
void Tunnel::request_end() {
    sent_end_ = true;
    if (state_ == State::open) stream_->finish();
}

void Tunnel::on_writable() {
    if (state_ != State::open) return;
    while (waiting_at_ < waiting_.size()) {
        const Result<std::size_t> n = stream_->write(View(waiting_).subspan(waiting_at_));
        if (!n) return;
        waiting_at_ += *n;
    }
    stream_->want_write(false);
    waiting_ = Bytes();
    waiting_at_ = 0;
    port_->request_room();
}

void Tunnel::on_error(const Error& error) {
    if (state_ != State::over) failed(error);
}

void Tunnel::failed(const Error& why) {
    if (state_ == State::open) return port_->answer_broken(why);
    const std::string where = to_.host + ":" + std::to_string(to_.port);
    const std::uint16_t status = why.code == Errc::timed_out ? 504 : 502;
    port_->answer_failed(status, where + " cannot be reached (" + why.to_string() + ")", why);
}

void Tunnel::stop() {
    if (state_ == State::over) return;
    state_ = State::over;
    port_ = nullptr;
    own_end_.reset();
    if (!stream_) return;
    if (!(sent_end_ && received_end_)) stream_->abort();
    loop_->dispose(std::move(stream_));
}

}  // namespace mssl::proxy
