// What an application's connection says before its first request: SOCKS, a TLS ClientHello, CONNECT.
#include "proxy/client/app_connection.h"

#include <utility>

#include "proxy/client/app_connections.h"
#include "proxy/client/tunnel.h"
#include "proxy/core/log.h"

namespace mssl::proxy {

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
    const bool tls = all_->gate_.may_be_intercepted(*destination_);
    if ((tls && !destination_->address) || destination_->authority.port == kHttpPort || all_->sites_->find(UrlRoot{Scheme::http, destination_->authority})) {
        socks_.reset();
        queue(socks_reply(SocksReply::succeeded));
        if (!over()) state_ = tls ? State::hello : State::waiting;
        return;
    }
    turn_ = {};
    turn_.to.authority = destination_->authority;
    turn_.looked_into = tls;
    begin_tunnel_turn();
}

// A tunnel that no request asked for; turn_ says the rest.
void AppConnection::begin_tunnel_turn() {
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
    // This proxy's own connection would be answered by it, and be relayed by another, and so on: it ends there.
    if (judged.kind != Kind::terminate || all_->own_->contains(stream_->peer())) return pass_on(), !over();
    // What we said in the clear, and it has not read yet, would end up within TLS.
    if (!out_.empty()) return false;
    drop_answer();
    turn_ = {};
    in_.restart();
    secured_ = std::move(judged.site);
    secured_root_ = {Scheme::https, {std::move(judged.host), port}};
    state_ = State::securing;
    const View hello = in_.take_all();
    stream_->start_tls(judged.context.get(), Bytes(hello.begin(), hello.end()));
    in_.release();
    return false;
}

// Not ours to look into: on to where it was going, with what came of it.
void AppConnection::pass_on() {
    in_head_ = false;
    if (!answering_) return begin_unasked_tunnel();
    state_ = State::tunnel;
}

// What came of it waits in in_, and goes first.
void AppConnection::begin_unasked_tunnel() {
    if (all_->own_->contains(stream_->peer())) {
        log::warning("this proxy's own connection was sent back to it: the rule of the packet filter must exempt its user",
                     {{"destination", destination_->authority.host}});
        return abort();
    }
    turn_ = {};
    turn_.unasked = true;
    turn_.to = {Scheme::https, destination_->authority};
    begin_tunnel_turn();
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

// A tunnel to an intercepted site is answered at once: whether that can be reached is the site's business. One to an address may be
// to anybody, who is connected to first, and has the word if that is who speaks first.
void AppConnection::begin_connect(Authority to) {
    Destination destination(to);
    const bool may_be = all_->gate_.may_be_intercepted(destination);
    if (!may_be || destination.address) {
        turn_.looked_into = may_be;
        if (may_be) destination_ = std::move(destination);
        return begin_tunnel(std::move(to));
    }
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

}  // namespace mssl::proxy
