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
// Output waiting over this: the relay is asked to stop until half of it is gone.
constexpr std::size_t kMaxOutput = 256 * 1024;
// Written in one callback of a delivery, so that a fast application does not starve the loop's others.
constexpr std::size_t kWriteAtOnce = 1 << 20;

constexpr Duration kTick = std::chrono::seconds(1);
constexpr Duration kHeadTime = std::chrono::seconds(30);      // from a head's first byte to its last: then 408
constexpr Duration kIdleTime = std::chrono::seconds(75);      // between requests: as common servers keep connections
constexpr Duration kContentTime = std::chrono::seconds(60);   // content of a request that does not come: 408
constexpr Duration kStalledTime = std::chrono::seconds(120);  // output that the application does not take
// To the port of https who says nothing first speaks another protocol than TLS (SSH, say), and waits for the other side.
constexpr Duration kSilentTime = std::chrono::seconds(2);
constexpr Duration kHalfTunnelTime = std::chrono::minutes(10);  // a tunnel with one end closed, and silence
// An application that ended its direction may have gone: it is written to, or taken for gone (DESIGN 3: within a second).
constexpr Duration kGoneTime = std::chrono::milliseconds(800);

}  // namespace

struct AppConnection::DeliveryHold final : Disposable {
    std::unique_ptr<Delivery> delivery;
};

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

// ── SOCKS ──

bool AppConnection::step_greeting() {
    Bytes reply;
    const std::size_t used = socks_->take(in_.rest(), reply);
    in_.skip(used);
    if (!reply.empty()) queue(reply);
    if (over()) return false;
    switch (socks_->state()) {
    case SocksHandshake::State::greeting:
    case SocksHandshake::State::request:
        if (used == 0 && in_.ended()) finish();
        return used != 0 && !over();
    case SocksHandshake::State::refused:
        add(loop_->counters().requests_refused);
        log::info("SOCKS refused", {{"why", socks_->why()}});
        finish();
        return false;
    case SocksHandshake::State::asked: begin_asked(); return !over();
    }
    return false;
}

// What goes to port 80, or to a site, is HTTP and treated as if it had been redirected here. The rest is a tunnel.
void AppConnection::begin_asked() {
    destination_.emplace(socks_->destination());
    if (all_->gate_.may_be_intercepted(*destination_)) {
        socks_.reset();
        queue(socks_reply(SocksReply::succeeded));
        if (!over()) state_ = State::hello;
        return;
    }
    if (destination_->authority.port == kHttpPort || all_->sites_->find(UrlRoot{Scheme::http, destination_->authority})) {
        socks_.reset();
        queue(socks_reply(SocksReply::succeeded));
        if (!over()) state_ = State::waiting;
        return;
    }
    turn_ = {};
    turn_.to.authority = destination_->authority;
    turn_.request.method = "CONNECT";  // as it is logged
    turn_.request_paused = true;
    state_ = State::answering;
    add(loop_->counters().requests);
    begin_tunnel(destination_->authority);
}

// ── TLS ──

bool AppConnection::step_hello() {
    using Kind = TlsGate::Judgement::Kind;
    const std::uint16_t port = destination_->authority.port;
    TlsGate::Judgement judged = all_->gate_.judge(in_.rest(), in_.ended() || in_.full(), port, wall_now());
    if (judged.kind == Kind::undecided) {
        if (!in_.empty() && !std::exchange(in_head_, true)) head_since_ = loop_->now();
        return false;
    }
    in_head_ = false;
    if (judged.kind == Kind::plain && port != default_port(Scheme::https) && way_->config.mode != InterceptConfig::Mode::http_proxy) {
        state_ = State::waiting;
        return true;
    }
    if (judged.kind != Kind::terminate) return begin_unasked_tunnel(), !over();
    secured_ = std::move(judged.site);
    secured_root_ = {Scheme::https, {std::move(judged.host), port}};
    state_ = State::securing;
    const View hello = in_.take_all();
    stream_->start_tls(judged.context.get(), Bytes(hello.begin(), hello.end()));
    in_.release();
    return false;
}

// What came of it waits in in_, and goes first.
void AppConnection::begin_unasked_tunnel() {
    if (all_->own_->contains(stream_->peer())) {
        log::warning("this proxy's own connection was sent back to it: the rule of the packet filter must exempt its user",
                     {{"destination", destination_->authority.host}});
        return abort();
    }
    in_head_ = false;
    turn_ = {};
    turn_.unasked = true;
    turn_.to = {Scheme::https, destination_->authority};
    turn_.request.method = "CONNECT";  // as it is logged
    turn_.request_paused = true;
    state_ = State::answering;
    add(loop_->counters().requests);
    begin_tunnel(destination_->authority);
}

void AppConnection::begin_tunnel(Authority to) {
    answering_ = std::make_unique<Tunnel>(static_cast<AnswerPort&>(*this), *loop_, all_->runtime_.names, *all_->own_, std::move(to));
    answering_->begin();
}

void AppConnection::fail_asked(SocksReply code) {
    socks_.reset();
    log_answer("refused");
    queue(socks_reply(code));
    finish();
}

void AppConnection::request_room() {
    turn_.request_paused = false;
    pump();
}

// ── A request ──

void AppConnection::begin_request() {
    turn_ = {};
    turn_.request = in_.parser().request();
    turn_.target = turn_.request.target;
    state_ = State::answering;
    turn_.keep_alive = turn_.request.keep_alive && !all_->draining_;
    read_at_ = wrote_at_ = loop_->now();
    add(loop_->counters().requests);

    if (turn_.request.body == BodyKind::none && turn_.request.method != "CONNECT")
        turn_.request_over = in_.ends_without_content();
    std::variant<Wish, Refusal> judged = judge_request();
    if (const Refusal* refusal = std::get_if<Refusal>(&judged)) return refuse(refusal->status, refusal->text);
    begin_exchange(std::move(std::get<Wish>(judged)));
}

std::variant<Wish, Refusal> AppConnection::judge_request() {
    using Mode = InterceptConfig::Mode;
    const bool proxy_port = way_->config.mode == Mode::http_proxy;
    if (secured_) return judge_secured_request(turn_.request, secured_root_);
    if (way_->config.mode == Mode::forward) return judge_forwarded();
    // Who came straight to a port for caught connections, and asks as one asks a proxy, is answered as by one. On this host
    // alone: such a port may be open to others, and is not to become their proxy.
    const bool mistaken = !proxy_port && !destination_ && is_said_to_a_proxy(turn_.request) && stream_->peer().is_loopback();
    turn_.to_a_proxy = proxy_port || mistaken;
    if (turn_.to_a_proxy) return judge_proxy_request(turn_.request);
    if (!destination_)
        return Refusal{400, "this port takes connections that the packet filter sends to it, and this one came straight to it, or "
                            "its destination was lost: REDIRECT must happen in the network namespace of msslproxy"};
    if (all_->own_->contains(stream_->peer()))
        return Refusal{508, "this proxy's own connection was sent back to it: the rule of the packet filter must exempt the user "
                            "that msslproxy runs as"};
    return judge_caught_request(turn_.request, destination_->authority);
}

std::variant<Wish, Refusal> AppConnection::judge_forwarded() {
    if (all_->own_->contains(stream_->peer())) return Refusal{508, "`to` of this [[intercept]] leads back to it"};
    const InterceptConfig& c = way_->config;
    const UrlRoot site{c.to_https ? Scheme::https : Scheme::http, {c.to_host, c.to_port}};
    std::variant<ForwardedSite, Refusal> forwarded = ForwardedSite::of(turn_.request, site, stream_->local());
    if (const Refusal* refusal = std::get_if<Refusal>(&forwarded)) return *refusal;
    turn_.forwarded = std::get<ForwardedSite>(std::move(forwarded));
    turn_.forwarded->to_site(turn_.request.fields);
    return turn_.forwarded->judge(turn_.request);
}

void AppConnection::begin_exchange(Wish wish) {
    turn_.to = wish.to;
    turn_.target = wish.target;
    switch (wish.kind) {
    case Wish::Kind::tunnel: return begin_connect(std::move(wish.to.authority));
    case Wish::Kind::answer:
        turn_.how = "answered";
        if (turn_.request.method == "TRACE") return refuse(405, "TRACE ends here");
        answer_text(200, "");
        return;
    case Wish::Kind::exchange: break;
    }
    std::shared_ptr<Site> site = secured_ ? secured_ : all_->sites_->find(wish.to);
    if (!site || turn_.to_a_proxy || turn_.forwarded || secured_) return begin_relay(std::move(wish), std::move(site));
    check_host(std::move(wish), std::move(site));
}

// A tunnel that may carry TLS for an intercepted site is answered at once: what it carries says where it goes.
void AppConnection::begin_connect(Authority to) {
    Destination destination(to);
    if (!all_->gate_.may_be_intercepted(destination)) return begin_tunnel(std::move(to));
    ResponseHead head;
    head.status = 200;
    head.reason = "Connection established";
    answer_head(std::move(head));
    if (over()) return;
    destination_ = std::move(destination);
    turn_ = {};
    in_.restart();
    state_ = State::hello;
}

// CVE-2009-0801: a Host that does not lead where the application connected to could make it, and everybody after it, read
// another site's bytes. Such a request goes to where it was going, and nothing is shared.
void AppConnection::check_host(Wish wish, std::shared_ptr<Site> site) {
    if (wish.to.authority.port != destination_->authority.port) return begin_relay(std::move(wish), nullptr);
    if (wish.to.authority.host == checked_host_ || wish.to.authority == destination_->authority)
        return begin_relay(std::move(wish), std::move(site));
    if (!destination_->address) return begin_relay(std::move(wish), nullptr);
    turn_.request_paused = true;
    const std::string host = wish.to.authority.host;
    resolve_name(all_->runtime_.names, *loop_, without_brackets(host), wish.to.authority.port,
                 [this, alive = std::weak_ptr<bool>(alive_), wish = std::move(wish), site = std::move(site)](
                     Result<std::vector<Address>> found) mutable {
                     if (alive.expired() || over()) return;
                     if (found && leads_to(*found, *destination_->address)) {
                         checked_host_ = wish.to.authority.host;
                     } else {
                         log::info("host does not lead to the destination: not shared",
                                   {{"host", wish.to.authority.host}, {"destination", destination_->address->to_string()}});
                         site = nullptr;
                     }
                     turn_.request_paused = false;
                     begin_relay(std::move(wish), std::move(site));
                     pump();
                 });
}

void AppConnection::begin_relay(Wish wish, std::shared_ptr<Site> site) {
    RelayPlan plan;
    plan.via = turn_.to_a_proxy;
    plan.request = forward_request(turn_.request, std::move(wish.target), wish.host, plan.via);
    plan.to = wish.to;
    plan.site = turn_.site = std::move(site);
    plan.origin.host = without_brackets(wish.to.authority.host);
    plan.origin.port = wish.to.authority.port;
    if (destination_) {
        plan.origin.host = without_brackets(destination_->authority.host);
        plan.origin.port = destination_->authority.port;
        if (destination_->address) plan.origin.addresses = {*destination_->address};
    }
    if (wish.to.scheme == Scheme::https) {
        plan.origin_context = plan.site ? plan.site->origin_context() : way_->origin_context;
        plan.origin.tls = plan.origin_context.get();
        plan.origin.tls_name = without_brackets(wish.to.authority.host);
        plan.origin.alpn_optional = true;
        if (!plan.origin_context) return refuse(500, "no trust store for this site");
    }
    auto relay = std::make_unique<Relay>(static_cast<AnswerPort&>(*this), all_->pool_, *all_->own_, std::move(plan));
    relay_ = relay.get();
    answering_ = std::move(relay);
    answering_->begin();
}

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
    state_ = State::tunnel;
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
    turn_.how = "shared";
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
                     : destination_->authority.port == default_port(Scheme::https) && now - read_at_ >= kSilentTime) {
            begin_unasked_tunnel();
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
