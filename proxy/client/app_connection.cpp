#include "proxy/client/app_connection.h"

#include <algorithm>
#include <utility>

#include "proxy/client/forward.h"
#include "proxy/client/tunnel.h"
#include "proxy/core/log.h"

namespace mssl::proxy {
namespace {

// Read ahead of what is taken: a piece of content, or pipelined requests that wait unread.
constexpr std::size_t kInputBytes = 64 * 1024;
constexpr int kReadsAtOnce = 16;
// Output waiting over this: the relay is asked to stop until half of it is gone.
constexpr std::size_t kMaxOutput = 256 * 1024;
// Written in one callback of a delivery, so that a fast application does not starve the loop's others.
constexpr std::size_t kWriteAtOnce = 1 << 20;

constexpr Duration kTick = std::chrono::seconds(1);
constexpr Duration kHeadTime = std::chrono::seconds(30);      // from a head's first byte to its last: then 408
constexpr Duration kIdleTime = std::chrono::seconds(75);      // between requests: as common servers keep connections
constexpr Duration kContentTime = std::chrono::seconds(60);   // content of a request that does not come: 408
constexpr Duration kStalledTime = std::chrono::seconds(120);  // output that the application does not take
constexpr Duration kHalfTunnelTime = std::chrono::minutes(10);  // a tunnel with one end closed, and silence
// An application that ended its direction may have gone: it is written to, or taken for gone (DESIGN 3: within a second).
constexpr Duration kGoneTime = std::chrono::milliseconds(800);

}  // namespace

struct AppConnection::DeliveryHold final : Disposable {
    std::unique_ptr<Delivery> delivery;
};

AppConnection::AppConnection(AppConnections& all, Fd fd, InterceptConfig::Mode mode)
    : all_(&all), loop_(&all.loop_), mode_(mode), tick_(all.loop_, [this] { tick(); }) {
    if (mode_ == InterceptConfig::Mode::redirect) {
        if (Result<Address> to = original_destination(fd.get())) destination_ = *to;
    }
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
    keep_alive_ = false;
    if (state_ == State::waiting && !parser_.mid_message() && in_begin_ == in_end_) finish();
}

// ── The application's bytes ──

void AppConnection::on_open() {
    if (!over()) update_interest();
}

void AppConnection::on_readable() {
    for (int i = 0; i < kReadsAtOnce && !over(); ++i) {
        const std::size_t had = in_end_ - in_begin_;
        read_input();
        if (over()) return;
        const bool more = in_end_ - in_begin_ > had;
        pump();
        if (!more || in_ended_) return;
    }
}

// At most one read.
void AppConnection::read_input() {
    if (in_ended_ || state_ == State::ending) return;
    if (in_.empty()) in_.resize(kInputBytes);
    if (in_begin_ != 0) {
        std::copy(in_.begin() + static_cast<std::ptrdiff_t>(in_begin_), in_.begin() + static_cast<std::ptrdiff_t>(in_end_),
                  in_.begin());
        in_end_ -= in_begin_;
        in_begin_ = 0;
    }
    if (in_end_ == in_.size()) return;
    const Result<std::size_t> n = stream_->read(MutableView(in_).subspan(in_end_));
    if (n) {
        in_end_ += *n;
        read_at_ = loop_->now();
    } else if (n.code() == Errc::closed) {
        // Of this direction alone: who asked and then ended still wants the answers.
        in_ended_ = true;
        wrote_at_ = loop_->now();
    }
    // again; or on_error comes.
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
    case State::tunnel: return step_tunnel();
    case State::ending:
    case State::over: return false;
    case State::answering:
        if (answer_over_) return after_answer();
        if (request_over_ || request_paused_) return false;
        break;
    case State::waiting: break;
    }
    const View input = View(in_).subspan(in_begin_, in_end_ - in_begin_);
    std::size_t used = 0;
    const bool at_end = input.empty() && in_ended_;
    const Result<HttpEvent> event = at_end ? parser_.end() : parser_.feed(input, used);
    in_begin_ += used;
    return take_event(event, at_end);
}

bool AppConnection::take_event(const Result<HttpEvent>& event, bool at_end) {
    if (!event) {
        if (state_ == State::answering) {
            // What was forwarded of the content must not look whole.
            if (head_sent_ || at_end) return abort(), false;
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
        if (!over() && state_ == State::waiting && parser_.mid_message() && !std::exchange(in_head_, true))
            head_since_ = loop_->now();
        return false;
    case HttpEvent::head:
        in_head_ = false;
        begin_request();
        return true;
    case HttpEvent::body:
        if (answering_) request_paused_ = !answering_->request_body(parser_.body());
        return true;
    case HttpEvent::complete:
        request_over_ = true;
        if (answering_) answering_->request_end();
        return true;
    case HttpEvent::upgraded:
        // After CONNECT's head: its bytes wait for the tunnel.
        request_paused_ = true;
        return false;
    }
    return false;
}

bool AppConnection::step_tunnel() {
    if (answer_over_ && request_over_) {
        flush();
        if (!over() && out_at_ == out_.size()) {
            log_answer("ended");
            close();
        }
        return false;
    }
    if (request_paused_ || request_over_) return false;
    if (in_begin_ != in_end_) {
        const View piece = View(in_).subspan(in_begin_, in_end_ - in_begin_);
        in_begin_ = in_end_;
        request_paused_ = !answering_->request_body(piece);
        return true;
    }
    if (!in_ended_) return false;
    request_over_ = true;
    answering_->request_end();
    return true;
}

void AppConnection::request_room() {
    request_paused_ = false;
    pump();
}

// ── A request ──

void AppConnection::begin_request() {
    request_ = parser_.request();
    state_ = State::answering;
    request_over_ = request_paused_ = false;
    head_sent_ = answer_over_ = starved_ = false;
    status_ = 0;
    body_bytes_ = 0;
    how_ = "refused";
    authority_ = {};
    target_ = request_.target;
    keep_alive_ = request_.keep_alive && !all_->draining_;
    read_at_ = wrote_at_ = loop_->now();
    add(loop_->counters().requests);

    if (request_.body == BodyKind::none && request_.method != "CONNECT") {
        std::size_t used = 0;
        const Result<HttpEvent> end = parser_.feed({}, used);
        request_over_ = end && *end == HttpEvent::complete;
    }
    if (mode_ == InterceptConfig::Mode::redirect) {
        if (!destination_)
            return refuse(400, "this port takes redirected connections alone, and this one came straight to it");
        if (all_->own_->contains(stream_->peer()))
            return refuse(508, "this proxy's own connection was redirected back to it: the redirect rule must exempt the user "
                               "that msslproxy runs as");
    }
    std::variant<Wish, Refusal> judged = mode_ == InterceptConfig::Mode::redirect
                                             ? judge_redirected_request(request_, *destination_)
                                             : judge_proxy_request(request_);
    if (const Refusal* refusal = std::get_if<Refusal>(&judged)) return refuse(refusal->status, refusal->text);
    begin_exchange(std::move(std::get<Wish>(judged)));
}

void AppConnection::begin_exchange(Wish wish) {
    authority_ = wish.authority;
    target_ = wish.target;
    switch (wish.kind) {
    case Wish::Kind::tunnel:
        answering_ = std::make_unique<Tunnel>(static_cast<AnswerPort&>(*this), *loop_, all_->runtime_.workers,
                                              std::move(wish.authority));
        answering_->begin();
        return;
    case Wish::Kind::answer:
        how_ = "answered";
        if (request_.method == "TRACE") return refuse(405, "TRACE ends here");
        answer_text(200, "");
        return;
    case Wish::Kind::exchange: break;
    }
    std::shared_ptr<Site> site = all_->sites_->find(wish.authority);
    if (!site || mode_ != InterceptConfig::Mode::redirect) return begin_relay(std::move(wish), std::move(site));
    check_host(std::move(wish), std::move(site));
}

// CVE-2009-0801: a Host that does not lead where the application connected to could make it, and everybody after it, read
// another site's bytes. Such a request goes to where it was going, and nothing is shared.
void AppConnection::check_host(Wish wish, std::shared_ptr<Site> site) {
    if (wish.authority.port != destination_->port()) return begin_relay(std::move(wish), nullptr);
    if (wish.authority.host == checked_host_) return begin_relay(std::move(wish), std::move(site));
    request_paused_ = true;
    const std::string host = wish.authority.host;
    resolve_name(all_->runtime_.workers, *loop_, without_brackets(host), wish.authority.port,
                 [this, alive = std::weak_ptr<bool>(alive_), wish = std::move(wish), site = std::move(site)](
                     Result<std::vector<Address>> found) mutable {
                     if (alive.expired() || over()) return;
                     if (found && leads_to(*found, *destination_)) {
                         checked_host_ = wish.authority.host;
                     } else {
                         log::info("host does not lead to the destination: not shared",
                                   {{"host", wish.authority.host}, {"destination", destination_->to_string()}});
                         site = nullptr;
                     }
                     request_paused_ = false;
                     begin_relay(std::move(wish), std::move(site));
                     pump();
                 });
}

void AppConnection::begin_relay(Wish wish, std::shared_ptr<Site> site) {
    RelayPlan plan;
    plan.via = mode_ == InterceptConfig::Mode::http_proxy;
    plan.request = forward_request(request_, std::move(wish.target), wish.host, plan.via);
    plan.authority = wish.authority;
    plan.site = site_ = std::move(site);
    plan.origin.host = without_brackets(wish.authority.host);
    plan.origin.port = wish.authority.port;
    if (destination_) {
        plan.origin.addresses = {*destination_};
        plan.origin.host = destination_->ip_string();
        plan.origin.port = destination_->port();
    }
    auto relay = std::make_unique<Relay>(static_cast<AnswerPort&>(*this), all_->pool_, *all_->own_, std::move(plan));
    relay_ = relay.get();
    answering_ = std::move(relay);
    answering_->begin();
}

// ── A relayed answer ──

void AppConnection::answer_head(ResponseHead head) {
    if (state_ != State::answering || head_sent_) return;
    if (head.status < 200 && head.status != 101) {
        if (request_.minor == 0) return;  // RFC 9110 §15.2
        head.body = BodyKind::none;
        head.keep_alive = true;
        head.minor = 1;
        return queue(as_view(serialize(head)));
    }
    head_sent_ = true;
    status_ = head.status;
    const bool connected = request_.method == "CONNECT" && head.status < 300;
    // An answer before the whole request: what is left of it is not waited for.
    if (!request_over_) keep_alive_ = false;
    if (head.body == BodyKind::chunked || head.body == BodyKind::until_close)
        head.body = request_.minor == 0 ? BodyKind::until_close : BodyKind::chunked;
    if (head.body == BodyKind::until_close) keep_alive_ = false;
    // Our own version (RFC 9110 §2.5), but for an HTTP/1.0 application that asked for keep-alive and must see it granted.
    head.minor = request_.minor == 0 && keep_alive_ ? 0 : 1;
    head.keep_alive = head.status == 101 || connected || keep_alive_;
    body_ = BodyWriter(head.body, head.length);
    queue(as_view(serialize(head, true)));
}

bool AppConnection::answer_body(View piece) {
    if (state_ != State::tunnel) {
        if (state_ != State::answering || !head_sent_) return true;
        const Result<BodyWriter::Frame> frame = body_.frame(piece.size());
        if (!frame) return answer_broken(frame.error()), false;
        queue(as_view(frame->before));
        queue(piece);
        queue(as_view(frame->after));
    } else {
        queue(piece);
    }
    body_bytes_ += piece.size();
    if (over()) return false;
    starved_ = out_.size() - out_at_ > kMaxOutput;
    return !starved_;
}

void AppConnection::answer_end() {
    if (state_ == State::tunnel) {
        answer_over_ = true;
        read_at_ = loop_->now();
        flush();
        return pump();
    }
    if (state_ != State::answering || answer_over_) return;
    const Result<std::string_view> last = body_.end();
    if (!last) return answer_broken(last.error());
    queue(as_view(*last));
    answer_over_ = true;
    pump();
}

void AppConnection::answer_broken(const Error& why) {
    if (over()) return;
    log_answer("broken: " + why.to_string());
    abort();
}

void AppConnection::answer_failed(std::uint16_t status, std::string_view text, const Error& why) {
    if (state_ != State::answering) return;
    if (head_sent_) return answer_broken(why);
    answer_text(status, text);
}

void AppConnection::answer_tunnel() {
    if (state_ != State::answering) return;
    state_ = State::tunnel;
    request_over_ = request_paused_ = answer_over_ = false;
    pump();
}

// Returns with the answer queued; the connection closes after a status of ours, so that nothing that was misunderstood is read on.
void AppConnection::refuse(std::uint16_t status, std::string_view text) {
    add(loop_->counters().requests_refused);
    if (state_ == State::waiting) {  // no head was understood
        request_ = {};
        authority_ = {};
        target_.clear();
        state_ = State::answering;
        head_sent_ = answer_over_ = false;
        body_bytes_ = 0;
        how_ = "refused";
    }
    keep_alive_ = false;
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
    if (request_.method == "HEAD") {
        head.body = BodyKind::none;
        head.fields.add("Content-Length", std::to_string(body.size()));
    }
    if (request_.method == "CONNECT") keep_alive_ = false;
    const bool with_content = head.body == BodyKind::length;
    answer_head(std::move(head));
    if (with_content && !body.empty()) answer_body(as_view(body));
    answer_end();
}

// ── A shared answer ──

void AppConnection::answer_shared(Resolution resolution) {
    how_ = "shared";
    auto kept = std::make_shared<Resolution>(std::move(resolution));
    all_->transfers_->join(site_, *kept, *loop_,
                           [this, alive = std::weak_ptr<bool>(alive_), kept](Result<std::unique_ptr<TransferReader>> reader) {
                               if (!alive.expired() && state_ == State::answering) begin_delivery(*kept, std::move(reader));
                           });
}

void AppConnection::begin_delivery(const Resolution& resolution, Result<std::unique_ptr<TransferReader>> reader) {
    if (!reader) return delivery_failed(reader.error());
    // An answer that does not say keep-alive is none to HTTP/1.0.
    if (request_.minor == 0) keep_alive_ = false;
    const std::string via = mode_ == InterceptConfig::Mode::http_proxy ? "1.1 " + std::string(kViaName) : std::string{};
    delivery_ = std::make_unique<DeliveryHold>();
    delivery_->delivery = std::make_unique<Delivery>(*loop_, request_, resolution, std::move(*reader), keep_alive_, via, [this] {
        pump_delivery();
    });
    status_ = delivery_->delivery->status();
    pump_delivery();
}

void AppConnection::delivery_failed(const Error& why) {
    if (delivery_) loop_->dispose(std::move(delivery_));
    if (relay_ == nullptr || head_sent_) return answer_broken(why);
    relay_->fall_back(why);
}

void AppConnection::pump_delivery() {
    std::size_t written = 0;
    while (delivery_ && !over()) {
        Delivery& d = *delivery_->delivery;
        switch (d.next()) {
        case Delivery::Next::wait: stream_->want_write(false); return;
        case Delivery::Next::broken: {
            const Error why = d.error().value_or(fail(Errc::internal, "delivery"));
            if (d.untouched()) return delivery_failed(why);
            body_bytes_ = d.body_bytes();
            return answer_broken(why);
        }
        case Delivery::Next::done:
            body_bytes_ = d.body_bytes();
            add(loop_->counters().requests_shared);
            loop_->dispose(std::move(delivery_));
            head_sent_ = answer_over_ = true;
            pump();
            return;
        case Delivery::Next::piece: {
            // Something of ours first (a 100 that was relayed).
            if (out_at_ != out_.size()) return stream_->want_write(true);
            const Result<std::size_t> n = stream_->write(d.piece());
            if (!n) return;  // want_write is set, or on_error comes
            head_sent_ = true;
            wrote_at_ = loop_->now();
            written += *n;
            d.consumed(*n);
            if (written >= kWriteAtOnce) return stream_->want_write(true);
            break;
        }
        }
    }
}

// ── Between answers, and the end ──

bool AppConnection::after_answer() {
    log_answer("whole");
    drop_answer();
    flush();
    if (over()) return false;
    if (!keep_alive_ || !request_over_ || all_->draining_) {
        finish();
        return false;
    }
    state_ = State::waiting;
    read_at_ = loop_->now();
    if (in_begin_ == in_end_) in_ = {}, in_begin_ = in_end_ = 0;  // an idle connection holds no buffer
    return true;
}

void AppConnection::queue(View bytes) {
    if (over()) return;
    while (out_at_ == out_.size() && !bytes.empty()) {
        const Result<std::size_t> n = stream_->write(bytes);
        if (!n) break;
        wrote_at_ = loop_->now();
        bytes = bytes.subspan(*n);
    }
    if (out_at_ == out_.size()) out_.clear(), out_at_ = 0;
    out_.insert(out_.end(), bytes.begin(), bytes.end());
    if (!out_.empty()) stream_->want_write(true);
}

void AppConnection::flush() {
    while (!over() && out_at_ != out_.size()) {
        const Result<std::size_t> n = stream_->write(View(out_).subspan(out_at_));
        if (!n) return;
        wrote_at_ = loop_->now();
        out_at_ += *n;
    }
    if (over()) return;
    out_.clear();
    out_at_ = 0;
    stream_->want_write(false);
    if (state_ == State::ending) close();
    else if (state_ == State::tunnel && answer_over_) stream_->finish();
}

void AppConnection::on_writable() {
    if (over()) return;
    flush();
    if (over()) return;
    if (delivery_) return pump_delivery();
    if (starved_ && out_.size() - out_at_ <= kMaxOutput / 2) {
        starved_ = false;
        if (answering_) answering_->room();
    }
    if (!over()) pump();
}

void AppConnection::on_error(const Error& error) {
    if (over()) return;
    if (state_ == State::answering || state_ == State::tunnel) log_answer("application gone: " + error.to_string());
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
    stream_->want_read(!in_ended_ && state_ != State::ending && (in_.empty() || in_end_ - in_begin_ < in_.size()));
}

void AppConnection::tick() {
    tick_.start(kTick);
    const MonoTime now = loop_->now();
    const bool pending = out_at_ != out_.size() || delivery_ != nullptr;
    switch (state_) {
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
        if (delivery_ && in_ended_ && now - wrote_at_ > kGoneTime) return on_error(fail(Errc::closed, "ended its direction"));
        if (out_at_ != out_.size() && now - wrote_at_ > kStalledTime)
            return answer_broken(fail(Errc::timed_out, "the application reads nothing"));
        if (!request_over_ && !request_paused_ && !pending && now - read_at_ > kContentTime && answering_) {
            if (head_sent_) return answer_broken(fail(Errc::timed_out, "content of the request"));
            refuse(408, "the content of the request took too long to arrive");
            pump();
        }
        return;
    case State::tunnel:
        if ((answer_over_ || request_over_) && now - std::max(read_at_, wrote_at_) > kHalfTunnelTime) abort();
        return;
    case State::ending:
        if (now - wrote_at_ > kStalledTime) abort();
        return;
    case State::over: return;
    }
}

void AppConnection::log_answer(std::string_view end) {
    if (how_ == "relayed") add(loop_->counters().requests_relayed);
    const std::string url = authority_.host.empty() ? log::redact(target_) : url_for_log(authority_, target_);
    log::info("answer", {{"method", request_.method},
                         {"url", url},
                         {"status", status_},
                         {"bytes", delivery_ ? delivery_->delivery->body_bytes() : body_bytes_},
                         {"how", how_},
                         {"end", end}});
}

// ── All of a loop ──

AppConnections::AppConnections(Runtime& runtime, Loop& loop, std::shared_ptr<SiteTable> sites,
                               std::shared_ptr<Transfers> transfers, std::shared_ptr<OwnSockets> own)
    : runtime_(runtime),
      loop_(loop),
      sites_(std::move(sites)),
      transfers_(std::move(transfers)),
      own_(std::move(own)),
      pool_(loop, runtime.workers) {}

AppConnections::~AppConnections() = default;

void AppConnections::begin(Fd fd, InterceptConfig::Mode mode) {
    if (draining_) return;
    auto connection = std::make_unique<AppConnection>(*this, std::move(fd), mode);
    AppConnection* key = connection.get();
    connections_.emplace(key, std::move(connection));
}

void AppConnections::remove(AppConnection* connection) {
    const auto it = connections_.find(connection);
    if (it == connections_.end()) return;
    loop_.dispose(std::move(it->second));
    connections_.erase(it);
    if (drained_ && connections_.empty()) std::exchange(drained_, nullptr)();
}

void AppConnections::drain(std::function<void()> done) {
    draining_ = true;
    pool_.close_idle();
    if (connections_.empty()) return done();
    drained_ = std::move(done);
    std::vector<AppConnection*> all;
    for (const auto& [key, owned] : connections_) all.push_back(key);
    for (AppConnection* c : all) c->drain();
}

}  // namespace mssl::proxy
