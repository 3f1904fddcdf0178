#include "proxy/server/front_connection.h"

#include <algorithm>
#include <utility>

#include "proxy/core/log.h"
#include "proxy/http/semantics.h"
#include "proxy/http/syntax.h"
#include "proxy/server/proxy_exchange.h"
#include "proxy/server/resolve_exchange.h"

namespace mssl::proxy {
namespace {

constexpr std::size_t kReadBytes = 64 * 1024;
// Read ahead of what the exchange takes: one read of a request's content, or pipelined requests that wait.
constexpr std::size_t kMaxInput = 128 * 1024;
// Above it the exchange is asked to stop, below half of it to go on.
constexpr std::size_t kMaxOutput = 256 * 1024;
constexpr std::size_t kRecordBytes = 16 * 1024;
constexpr Duration kHeadTime = std::chrono::seconds(30);   // from a head's first byte to its last
constexpr Duration kIdleTime = std::chrono::seconds(75);   // between requests: longer than clients keep connections
// In X-Forwarded-For, which every server adds a hop to: a loop ends here before it has all descriptors.
constexpr std::size_t kMaxHops = 32;
constexpr Duration kStalledTime = std::chrono::seconds(120);  // with output that the client does not take

std::string_view reason_of(std::uint16_t status) {
    switch (status) {
    case 400: return "Bad Request";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 421: return "Misdirected Request";
    case 431: return "Request Header Fields Too Large";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 508: return "Loop Detected";
    default: return "Error";
    }
}

}  // namespace

FrontConnection::FrontConnection(Front::Impl& front, std::unique_ptr<Stream> stream)
    : front_(&front), stream_(std::move(stream)), parser_(HttpParser::Kind::request), head_timer_(*front.loop, [this] {
          if (state_ != State::waiting) return;
          if (parser_.mid_message() || in_at_ != in_.size())
              refuse(408, "the request took too long to arrive");
          else
              finish();
      }) {}

FrontConnection::~FrontConnection() = default;

void FrontConnection::begin() {
    stream_->set_handler(*this);
    stream_->want_read(true);
    arm_timers();
}

void FrontConnection::drain() {
    keep_alive_ = false;
    if (state_ == State::waiting && !parser_.mid_message() && in_at_ == in_.size()) finish();
}

// ── The client's bytes ──

void FrontConnection::on_readable() {
    // One scratch a thread: what an idle connection holds is what came and was not taken.
    thread_local Bytes scratch(kReadBytes);
    while (state_ != State::over && !in_ended_ && in_.size() - in_at_ < kMaxInput) {
        if (in_at_ != 0) {
            in_.erase(in_.begin(), in_.begin() + static_cast<std::ptrdiff_t>(in_at_));
            in_at_ = 0;
        }
        const Result<std::size_t> n = stream_->read(scratch);
        if (!n) {
            if (n.code() == Errc::again) break;
            if (n.code() != Errc::closed && n.code() != Errc::truncated) return on_error(n.error());
            // An end of this direction alone: who asked and then ended still wants its answers.
            in_ended_ = true;
            break;
        }
        in_.insert(in_.end(), scratch.begin(), scratch.begin() + static_cast<std::ptrdiff_t>(*n));
        pump();
        if (state_ == State::ending) in_.clear(), in_at_ = 0;
    }
    if (state_ == State::over) return;
    stream_->want_read(!in_ended_ && in_.size() - in_at_ < kMaxInput);
    pump();
}

void FrontConnection::pump() {
    if (pumping_) return;  // an exchange that answers inside its begin()
    pumping_ = true;
    while (step()) {}
    pumping_ = false;
    if (state_ != State::over) {
        stream_->want_read(!in_ended_ && in_.size() - in_at_ < kMaxInput);
        flush();
    }
}

// One event of the parser. False: nothing more to do for now.
bool FrontConnection::step() {
    if (state_ == State::ending || state_ == State::over) return false;
    if (state_ == State::tunnel) {
        if (request_paused_ || !exchange_) return false;
        const View piece = View(in_).subspan(in_at_);
        if (!piece.empty()) {
            in_at_ = in_.size();
            request_paused_ = !exchange_->on_request_body(piece);
            return true;
        }
        if (in_ended_ && !request_over_) {
            request_over_ = true;
            exchange_->on_request_end();
        }
        return false;
    }
    if (state_ == State::answering && answer_over_) {
        after_answer();
        return true;
    }
    if (state_ == State::answering && (request_over_ || request_paused_)) return false;

    const View input = View(in_).subspan(in_at_);
    std::size_t consumed = 0;
    const bool at_end = input.empty() && in_ended_;
    const Result<HttpEvent> event = at_end ? parser_.end() : parser_.feed(input, consumed);
    in_at_ += consumed;
    if (!event) {
        if (state_ == State::answering) {
            // Its content is broken: whoever takes it upstream must not take it for whole.
            drop_exchange();
            if (head_sent_) send_broken();
            else refuse(400, "malformed content");
        } else if (at_end) {
            close();
        } else {
            refuse(event.code() == Errc::too_large ? 431 : 400, "malformed request: " + event.error().detail);
        }
        return false;
    }
    switch (*event) {
    case HttpEvent::need_more:
        if (at_end && state_ == State::waiting) finish();
        return false;
    case HttpEvent::head: begin_request(); return true;
    case HttpEvent::body:
        if (exchange_) request_paused_ = !exchange_->on_request_body(parser_.body());
        return true;
    case HttpEvent::complete:
        request_over_ = true;
        if (exchange_) exchange_->on_request_end();
        return true;
    case HttpEvent::upgraded: return false;
    }
    return false;
}

void FrontConnection::begin_request() {
    head_timer_.stop();
    request_ = parser_.request();
    state_ = State::answering;
    request_over_ = false;
    request_paused_ = false;
    head_sent_ = false;
    answer_over_ = false;
    // HTTP/1.0's keep-alive is not worth its rules: such a client gets one answer, of our own version (RFC 9110 §2.5).
    keep_alive_ = request_.keep_alive && request_.minor != 0 && !front_->draining;
    starved_ = false;
    add(front_->loop->counters().requests);
    arm_timers();
    exchange_ = choose_exchange();
    if (exchange_) exchange_->begin();
}

std::unique_ptr<Answerer> FrontConnection::choose_exchange() {
    std::shared_ptr<const FrontParts> parts = front_->parts();
    if (request_.method == "CONNECT") return refuse(501, "this server is no forward proxy"), nullptr;
    UrlRoot asked;  // by https only in absolute-form: a member's application speaks what its request says, not what the member speaks
    if (!request_.target.starts_with('/') && request_.target != "*") {
        Result<AbsoluteTarget> absolute = parse_absolute(request_.target);
        if (!absolute) return refuse(400, "malformed request target"), nullptr;
        // RFC 9112 §3.2.2: it prevails over Host.
        asked.scheme = absolute->root().scheme;
        request_.fields.set("Host", absolute->root().host_field());
        request_.target = std::move(absolute->target);
    }
    const std::string* host = request_.fields.find("Host");
    if (host == nullptr) return refuse(400, "no Host"), nullptr;
    const Result<Authority> authority = parse_authority(*host, 0);
    if (!authority) return refuse(400, "malformed Host"), nullptr;
    asked.authority = *authority;
    const std::uint16_t own_port = stream_->local().port();
    if (asked.scheme == Scheme::https && asked.authority.port == 0) asked.authority.port = default_port(Scheme::https);
    std::shared_ptr<const Origin> origin = asked.scheme == Scheme::https ? parts->origins->find(asked, own_port)
                                                                         : parts->origins->find(*authority, own_port);
    if (!origin) return refuse(421, "no [[origin]] is configured for this host"), nullptr;

    std::optional<MemberId> member;
    if (request_.fields.count(kResolveField) == 1) member = prove(*parts, *request_.fields.find(kResolveField));
    std::vector<HeaderField>& fields = request_.fields.items();
    std::erase_if(fields, [](const HeaderField& f) { return is_mssl_field(f.name); });

    if (request_.fields.list("X-Forwarded-For").size() >= kMaxHops) return refuse(508, "an [[origin]] leads back here"), nullptr;
    if (hops_left(request_) == 0U) return answer_here(), nullptr;
    // Several ranges, or what is none, each origin answers in its own way.
    const bool range = request_.fields.count("Range") == 0 || asks_for_one_range(request_.fields);
    const bool resolvable = member && request_.method == "GET" && request_.body == BodyKind::none && !request_.upgrade && range &&
                            origin->rule_for(request_.target) != nullptr;
    AnswerPort& port = *this;
    if (asked.scheme == Scheme::http) asked = origin->http_root();
    if (resolvable) return std::make_unique<ResolveExchange>(port, parts, std::move(origin), request_, std::move(asked), *member);
    add(front_->loop->counters().requests_relayed);
    if (stream_->is_tls() && !member) asked.scheme = Scheme::https;
    return std::make_unique<ProxyExchange>(port, std::move(origin), request_, std::move(asked));
}

// Whose request it is: proven once a connection, remembered for its later ones.
std::optional<MemberId> FrontConnection::prove(const FrontParts& parts, std::string_view value) {
    const Result<ResolveField> field = parse_resolve_field(value);
    if (!field) return std::nullopt;
    if (!field->member) return member_;
    const Result<Hash> exporter = stream_->exporter(kResolveExporter);
    if (!exporter || !field->signer || !check_resolve_proof(*field, exporter->view())) return std::nullopt;
    if (Status s = parts.realm->trust().check_member(*field->member, *field->signer, parts.wall()); !s) {
        log::debug("resolve without a valid membership", {{"peer", stream_->peer().ip_string()}, {"why", s.error().to_string()}});
        return std::nullopt;
    }
    member_ = field->member->member_id();
    return member_;
}

// RFC 9110 §7.6.2: it was to go no further. What TRACE would send back may hold what the asker's other programs do not show it.
void FrontConnection::answer_here() {
    if (request_.method == "TRACE") return refuse(405, "TRACE ends here");
    ResponseHead head;
    head.status = 200;
    head.reason = "OK";
    head.body = BodyKind::length;
    send_head(std::move(head));
    send_end();
}

void FrontConnection::request_room() {
    request_paused_ = false;
    front_->loop->post([alive = std::weak_ptr<FrontConnection*>(self_)] {
        if (const auto self = alive.lock()) (*self)->pump();
    });
}

// ── The answer ──

void FrontConnection::refuse(std::uint16_t status, std::string_view text) {
    add(front_->loop->counters().requests_refused);
    keep_alive_ = false;
    if (state_ == State::waiting) {  // no head was understood
        request_ = {};
        state_ = State::answering;
        head_sent_ = false;
        answer_over_ = false;
    }
    request_over_ = true;
    send_error(status, text);
    after_answer();
}

void FrontConnection::send_error(std::uint16_t status, std::string_view text) {
    if (head_sent_) return send_broken();
    ResponseHead head;
    head.status = status;
    head.reason = reason_of(status);
    head.fields.add("Content-Type", "text/plain");
    const std::string body = "mSSL: " + std::string(text) + "\n";
    head.body = BodyKind::length;
    head.length = body.size();
    if (request_.method == "HEAD") {
        head.body = BodyKind::none;
        head.fields.add("Content-Length", std::to_string(body.size()));
    }
    const bool with_body = head.body == BodyKind::length;
    send_head(std::move(head));
    if (with_body) send_body(as_view(body));
    send_end();
}

void FrontConnection::send_head(ResponseHead head) {
    if (state_ != State::answering || head_sent_) return;
    const bool interim = head.status < 200 && head.status != 101;
    if (interim) {
        if (request_.minor == 0) return;  // RFC 9110 §15.2
        head.body = BodyKind::none;
        head.keep_alive = true;
        queue(as_view(serialize(head)));
        flush();
        return;
    }
    head_sent_ = true;
    std::erase_if(head.fields.items(), [](const HeaderField& f) { return is_mssl_field(f.name); });
    // An answer before the whole request: what is left of it is not waited for.
    if (!request_over_ && request_.body != BodyKind::none) keep_alive_ = false;
    if (head.body == BodyKind::chunked || head.body == BodyKind::until_close)
        head.body = request_.minor == 0 ? BodyKind::until_close : BodyKind::chunked;
    if (head.body == BodyKind::until_close) keep_alive_ = false;
    head.minor = 1;
    head.keep_alive = head.status == 101 || keep_alive_;
    body_ = BodyWriter(head.body, head.length);
    queue(as_view(serialize(head, true)));
}

bool FrontConnection::send_body(View piece) {
    if (state_ == State::tunnel) {
        queue(piece);
    } else if (state_ == State::answering && head_sent_) {
        const Result<BodyWriter::Frame> frame = body_.frame(piece.size());
        if (!frame) {
            send_broken();
            return false;
        }
        queue(as_view(frame->before));
        queue(piece);
        queue(as_view(frame->after));
    } else {
        return true;
    }
    flush();
    starved_ = out_.size() - out_at_ > kMaxOutput;
    return !starved_;
}

void FrontConnection::send_end() {
    if (state_ == State::tunnel) {
        drop_exchange();
        finish();
        return;
    }
    if (state_ != State::answering || answer_over_) return;
    const Result<std::string_view> last = body_.end();
    if (!last) return send_broken();
    queue(as_view(*last));
    answer_over_ = true;
    front_->loop->post([alive = std::weak_ptr<FrontConnection*>(self_)] {
        if (const auto self = alive.lock()) (*self)->pump();
    });
}

void FrontConnection::after_answer() {
    if (!answer_over_ || state_ != State::answering) return;
    drop_exchange();
    flush();
    if (state_ == State::over) return;
    if (!keep_alive_ || !request_over_) {
        finish();
        return;
    }
    state_ = State::waiting;
    // Between requests, which may be for long, a connection holds no buffer ("= {}" would keep the capacity).
    if (in_at_ == in_.size()) in_ = Bytes(), in_at_ = 0;
    if (out_at_ == out_.size()) out_ = Bytes(), out_at_ = 0;
    arm_timers();
}

void FrontConnection::send_broken() {
    if (state_ == State::over) return;
    stream_->abort();
    close();
}

void FrontConnection::begin_tunnel() {
    if (state_ != State::answering) return;
    state_ = State::tunnel;
    request_over_ = false;
    request_paused_ = false;
    arm_timers();
    request_room();
}

// ── Output ──

void FrontConnection::queue(View bytes) {
    if (state_ == State::over) return;
    // Whole records of a large piece go out without a copy when nothing waits before them.
    while (out_at_ == out_.size() && bytes.size() >= kRecordBytes) {
        const Result<std::size_t> n = stream_->write(bytes.first(kRecordBytes));
        if (!n) break;
        bytes = bytes.subspan(*n);
    }
    if (out_at_ == out_.size()) {
        out_.clear();
        out_at_ = 0;
    }
    out_.insert(out_.end(), bytes.begin(), bytes.end());
}

void FrontConnection::flush() {
    while (state_ != State::over && out_at_ != out_.size()) {
        const std::size_t size = std::min(out_.size() - out_at_, kRecordBytes);
        const Result<std::size_t> n = stream_->write(View(out_).subspan(out_at_, size));
        if (!n) {
            // Other errors come through on_error.
            if (n.code() == Errc::again) stream_->want_write(true);
            return;
        }
        out_at_ += *n;
        if (out_at_ > kMaxOutput) {
            out_.erase(out_.begin(), out_.begin() + static_cast<std::ptrdiff_t>(out_at_));
            out_at_ = 0;
        }
    }
    if (state_ == State::over) return;
    stream_->want_write(false);
    if (state_ == State::ending) close();
}

void FrontConnection::on_writable() {
    flush();
    if (state_ == State::over || !starved_ || out_.size() - out_at_ > kMaxOutput / 2) return;
    starved_ = false;
    if (exchange_) exchange_->on_room();
}

void FrontConnection::on_error(const Error&) { close(); }

// What is queued goes out, then an orderly end.
void FrontConnection::finish() {
    if (state_ == State::over) return;
    state_ = State::ending;
    head_timer_.stop();
    flush();
}

void FrontConnection::close() {
    if (state_ == State::over) return;
    Loop& loop = *front_->loop;
    if (state_ == State::ending && out_at_ == out_.size()) stream_->finish();
    state_ = State::over;
    self_.reset();
    head_timer_.stop();
    stream_->want_read(false);
    stream_->want_write(false);
    drop_exchange();
    std::erase(front_->connections, this);  // the last use of front_, which may go before this
    loop.release(this);
}

void FrontConnection::end_now() {
    stream_->abort();
    close();
}

void FrontConnection::drop_exchange() {
    // Perhaps inside one of its calls: its destruction waits for the end of the callback.
    if (!exchange_) return;
    exchange_->stop();
    front_->loop->dispose(std::move(exchange_));
}

void FrontConnection::arm_timers() {
    switch (state_) {
    case State::waiting:
        stream_->set_idle_timeout(kIdleTime);
        head_timer_.start(parser_.mid_message() || in_at_ != in_.size() ? kHeadTime : kIdleTime);
        return;
    case State::answering:
    case State::tunnel:
        // How long an origin may think is the origin's timeout.
        stream_->set_idle_timeout(state_ == State::tunnel ? Duration{0} : kStalledTime * 8);
        head_timer_.stop();
        return;
    case State::ending:
    case State::over: return;
    }
}

// ── All of a loop ──

Front::Front(Loop& loop, std::function<std::shared_ptr<const FrontParts>()> parts)
    : impl_(std::make_unique<Impl>(Impl{&loop, std::move(parts), {}, false})) {}

Front::~Front() {
    while (!impl_->connections.empty()) impl_->connections.back()->end_now();
}

void Front::begin(std::unique_ptr<Stream> stream) {
    auto connection = std::make_unique<FrontConnection>(*impl_, std::move(stream));
    FrontConnection* raw = connection.get();
    impl_->loop->adopt(std::move(connection));
    impl_->connections.push_back(raw);
    raw->begin();
}

void Front::drain() {
    impl_->draining = true;
    const std::vector<FrontConnection*> all = impl_->connections;
    for (FrontConnection* c : all) c->drain();
}

std::size_t Front::open() const { return impl_->connections.size(); }

}  // namespace mssl::proxy
