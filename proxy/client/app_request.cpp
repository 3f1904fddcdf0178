// What an application's request is for, and who is to answer it.
#include "proxy/client/app_connection.h"

#include <utility>

#include "proxy/client/app_connections.h"
#include "proxy/client/forward.h"
#include "proxy/core/log.h"

namespace mssl::proxy {

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
    plan.named = site ? site : all_->sites_->find(wish.to);
    plan.site = turn_.site = std::move(site);
    plan.is_held = [transfers = all_->transfers_](const Resolution& r) { return transfers->holds(r); };
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

}  // namespace mssl::proxy
