#include "proxy/client/relay.h"

#include <utility>

#include "proxy/client/forward.h"
#include "proxy/core/log.h"

namespace mssl::proxy {
namespace {

bool is_safe_to_repeat(std::string_view method) { return method == "GET" || method == "HEAD" || method == "OPTIONS"; }

bool is_safe(std::string_view method) { return is_safe_to_repeat(method) || method == "TRACE"; }  // RFC 9110 §9.2.1

std::uint16_t status_for(const Error& why) { return why.code == Errc::timed_out ? 504 : 502; }

}  // namespace

Relay::Relay(AnswerPort& port, HttpPool& pool, OwnSockets& own, RelayPlan plan)
    : port_(&port), pool_(&pool), own_(&own), plan_(std::move(plan)) {}

Relay::~Relay() { stop(); }

void Relay::begin() {
    port_->answered_by("relayed");
    if (plan_.named) {
        url_ = plan_.to.url_of(plan_.request.target);
        // Whatever becomes of the answer: it may be lost, or be an error, and the resource another one.
        if (may_change()) forget();
    }
    if (!plan_.site) return begin_direct();
    if (std::optional<Resolution> known = fresh_answer()) {
        state_ = State::handed_over;
        return port_->answer_shared(*std::move(known));
    }
    if (!refuse_to_ask()) begin_asking();
}

bool Relay::may_change() const { return plan_.request.method != "GET" && !is_safe(plan_.request.method); }

void Relay::forget() { plan_.named->fresh_answers().forget(url_, pool_->loop().now()); }

// RFC 9111 §5.2.1.7.
bool Relay::refuse_to_ask() {
    const bool cacheable = plan_.request.method == "GET" || plan_.request.method == "HEAD";
    if (!cacheable || !stored_wish(plan_.request.fields).only_if_cached) return false;
    state_ = State::over;
    port_->answer_failed(504, "only-if-cached, and nothing that is fresh is stored of " + url_for_log(plan_.to, plan_.request.target),
                         fail(Errc::unreachable, "only-if-cached"));
    return true;
}

std::optional<Resolution> Relay::fresh_answer() const {
    const std::shared_ptr<const Membership> self = plan_.site->current();
    if (!self) return std::nullopt;
    std::optional<Resolution> known = plan_.site->fresh_answers().find(url_, self->trust.id(), plan_.request, {wall_now(), pool_->loop().now()});
    // An object of which something is missing may be had from nobody any more. Who asks learns that at once.
    if (known && !plan_.is_held(*known)) return std::nullopt;
    return known;
}

void Relay::begin_asking() {
    asked_ = FreshAnswers::Moment{wall_now(), pool_->loop().now()};
    state_ = State::via_site;
    port_->answered_by("relayed");
    resolver_ = Resolver::start(*pool_, plan_.site, plan_.to, plan_.request, *this);
}

void Relay::begin_direct() {
    state_ = State::direct;
    sent_ = false;
    client_ = HttpClient::start(*pool_, plan_.origin, plan_.request, *this);
    bool room = true;
    if (!kept_.empty()) room = client_->write_body(kept_);
    kept_ = {};
    if (plan_.request.body == BodyKind::none) return;
    if (request_ended_)
        client_->end_body();
    else if (room)
        port_->request_room();
}

bool Relay::request_body(View piece) {
    switch (state_) {
    case State::via_site:
        if (!sent_) kept_.insert(kept_.end(), piece.begin(), piece.end());
        return resolver_->write_body(piece);
    case State::direct: return client_->write_body(piece);
    case State::handed_over:
    case State::over: return true;
    }
    return true;
}

void Relay::request_end() {
    request_ended_ = true;
    if (state_ == State::via_site) resolver_->end_body();
    if (state_ == State::direct) client_->end_body();
}

void Relay::room() {
    if (state_ == State::via_site) resolver_->pause_reading(false);
    if (state_ == State::direct) client_->pause_reading(false);
}

void Relay::drop_upstream() {
    own_end_.reset();
    resolver_.reset();
    client_.reset();
}

void Relay::stop() {
    if (state_ == State::over) return;
    state_ = State::over;
    port_ = nullptr;
    drop_upstream();
}

void Relay::on_connection(Stream& stream, bool /*reused*/, RequestHead& /*head*/) {
    sent_ = true;
    kept_ = {};
    own_end_.emplace(*own_, stream.local());
}

void Relay::on_response_head(ResponseHead head) {
    if (state_ == State::over) return;
    if (head.status >= 200 || head.status == 101) answered_ = true;
    if (plan_.named) look_at_answer(head);
    port_->answer_head(forward_response(std::move(head), plan_.via));
}

// What an answer that is passed on says about one that is kept (RFC 9111 §4.3.4, §4.4).
void Relay::look_at_answer(const ResponseHead& head) {
    if (head.status < 200 || head.status >= 500) return;
    const std::string& method = plan_.request.method;
    const bool told = method == "GET" && head.status != 206 && head.status != 304 && head.status != 412 && head.status != 416;
    if (told || (may_change() && head.status < 400)) forget();
}

void Relay::on_body(View piece) {
    if (state_ == State::over) return;
    add(pool_->loop().counters().bytes_to_applications, piece.size());
    if (port_->answer_body(piece) || state_ == State::over) return;
    if (state_ == State::via_site) resolver_->pause_reading(true);
    if (state_ == State::direct) client_->pause_reading(true);
}

void Relay::on_complete() {
    if (state_ != State::over) port_->answer_end();
}

void Relay::on_writable() {
    if (state_ != State::over) port_->request_room();
}

void Relay::on_upgraded() {
    if (state_ == State::over) return;
    request_ended_ = false;
    port_->answer_tunnel();
}

void Relay::on_resolved(Resolution resolution) {
    if (state_ == State::over) return;
    state_ = State::handed_over;
    drop_upstream();
    plan_.site->fresh_answers().keep(url_, plan_.request, resolution, *asked_);
    port_->answer_shared(std::move(resolution));
}

// RFC 9110 §9.2.2: a request that may have been seen is repeated only where twice is as good as once.
bool Relay::may_repeat() const {
    return !sent_ || (plan_.request.body == BodyKind::none && is_safe_to_repeat(plan_.request.method));
}

void Relay::on_error(const Error& error) {
    if (state_ == State::over) return;
    if (answered_) return port_->answer_broken(error);
    if (state_ == State::via_site && may_repeat()) return fall_back(error);
    give_up(error);
}

void Relay::fall_back(const Error& why) {
    if (state_ == State::over) return;
    if (!asked_) {
        forget();
        if (!refuse_to_ask()) begin_asking();
        return;
    }
    const SiteConfig& site = plan_.site->config();
    if (!site.fallback_origin || why.code == Errc::bad_certificate) return give_up(why);
    add(pool_->loop().counters().fallbacks);
    log::warning("fallback to the origin", {{"url", url_for_log(plan_.to, plan_.request.target)},
                                            {"server", site.server},
                                            {"why", why.to_string()}});
    drop_upstream();
    port_->answered_by("fallback");
    begin_direct();
}

void Relay::give_up(const Error& why) {
    if (state_ == State::direct) {
        const std::string text = why.code == Errc::timed_out         ? " did not answer in time"
                                 : why.code == Errc::bad_certificate ? " is not who it should be, and nothing is fetched from it"
                                                                     : " cannot be reached";
        return port_->answer_failed(status_for(why), plan_.to.host_field() + text + " (" + why.to_string() + ")", why);
    }
    const SiteConfig& site = plan_.site->config();
    const std::string server = "the mSSL server " + site.server + " of " + site.host;
    if (why.code == Errc::bad_certificate)
        return port_->answer_failed(502, server + " is not who it should be (" + why.to_string() +
                                             "). Nothing is fetched past it. Check `ca` and `server` of this [[site]], and who "
                                             "answers at that address", why);
    const std::string advice = site.fallback_origin
                                   ? "The request may have reached it, so it is not repeated"
                                   : "Its [[site]] has fallback = \"none\", so the origin was not asked: start the server, or set "
                                     "fallback = \"origin\"";
    port_->answer_failed(status_for(why), "cannot reach " + server + " (" + why.to_string() + "). " + advice, why);
}

}  // namespace mssl::proxy
