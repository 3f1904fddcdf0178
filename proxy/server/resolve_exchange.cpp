#include "proxy/server/resolve_exchange.h"

#include <utility>

#include "proxy/core/log.h"

namespace mssl::proxy {

ResolveExchange::ResolveExchange(AnswerPort& port, std::shared_ptr<const FrontParts> parts, std::shared_ptr<const Origin> origin,
                                 RequestHead request, UrlRoot asked, const MemberId& member)
    : port_(&port), parts_(std::move(parts)), origin_(std::move(origin)), request_(std::move(request)),
      asked_(std::move(asked)), member_(member) {}

ResolveExchange::~ResolveExchange() { stop(); }

void ResolveExchange::begin() {
    const ShareRule* const rule = origin_->rule_for(request_.target);
    const bool restricted = rule != nullptr && rule->access == Access::restricted;
    std::string key = coalescing_key(asked_.url_of("/"), request_, restricted ? port_->stream().peer().ip_string() : "");
    const bool first = parts_->asks->join(key, port_->loop(), [alive = std::weak_ptr(self_)](const ResolveOutcome& outcome) {
        if (const auto self = alive.lock()) (*self)->on_outcome(outcome);
    });
    if (!first) return;
    ask_ = ResolveAsk::start(port_->loop(),
                             {parts_, origin_, asked_, rule, request_, port_->stream().peer(), std::move(key), member_},
                             this);
}

void ResolveExchange::stop() {
    port_ = nullptr;
    self_.reset();
    opening_.reset();
    if (ask_) std::exchange(ask_, nullptr)->leave();
    if (own_) own_->stop();
}

bool ResolveExchange::on_request_body(View piece) { return !own_ || own_->on_request_body(piece); }
void ResolveExchange::on_request_end() {
    if (own_) own_->on_request_end();
}
void ResolveExchange::on_room() {
    if (own_) own_->on_room();
    else if (ask_) ask_->resume();
}

// ── What it came to ──

void ResolveExchange::on_outcome(const ResolveOutcome& outcome) {
    ask_ = nullptr;
    if (!port_) return;
    if (!outcome.object) return put_own();
    std::vector<HeaderField> credentials;
    for (const HeaderField& f : request_.fields.items())
        if (iequals(f.name, "Authorization") || iequals(f.name, "Cookie")) credentials.push_back(f);
    outcome.object->shown_to(member_, std::move(credentials));
    // Whatever holds the first block up, the application does not wait for it longer than it would for an origin.
    opening_ = std::make_unique<Timer>(port_->loop(), [this] {
        log::warning("no first head in time: relayed", {{"url", log::redact(asked_.url_of(request_.target))}});
        put_own();
    });
    opening_->start(parts_->open_limit);
    outcome.object->when_open(port_->loop(),
                              [alive = std::weak_ptr(self_), object = outcome.object, fields = outcome.fields](const Status& open) {
                                  const auto self = alive.lock();
                                  if (!self || !(*self)->opening_) return;
                                  if (open) (*self)->answer(object, fields);
                                  else (*self)->put_own();
                              });
}

void ResolveExchange::answer(const std::shared_ptr<HostedObject>& object, const std::vector<HeaderField>& fields) {
    opening_.reset();
    if (!port_) return;
    const WallTime now = parts_->wall();
    const auto [manifest, head, realm] = object->vouched(now);
    const Result<SignedTicket> ticket = parts_->tickets->issue(*realm, member_, manifest->body, now);
    if (!head || !ticket) return put_own();
    const Bytes body = encode_resolved({manifest->der, ticket->der, head->der, realm->signer().to_der(), fields});
    if (body.size() > kMaxResolvedBytes) return put_own();
    add(port_->loop().counters().requests_shared);
    add(port_->loop().counters().tickets_issued);
    ResponseHead out;
    out.status = 200;
    out.reason = "OK";
    out.fields.add("Content-Type", std::string(kResolvedType));
    out.fields.add("Cache-Control", "no-store");
    out.body = BodyKind::length;
    out.length = body.size();
    port_->send_head(std::move(out));
    if (port_) port_->send_body(body);
    if (port_) port_->send_end();
}

void ResolveExchange::put_own() {
    opening_.reset();
    if (!port_) return;
    add(port_->loop().counters().requests_relayed);
    own_ = std::make_unique<ProxyExchange>(*port_, origin_, request_, asked_, !had_interim_);
    own_->begin();
}

void ResolveExchange::on_origin_failed(const Error& error) {
    ask_ = nullptr;
    if (!port_) return;
    const std::uint16_t status = status_for(error);
    port_->send_error(status, status == 504 ? "the origin did not answer in time" : "cannot reach the origin");
}

// ── The origin's own answer ──

void ResolveExchange::on_interim(ResponseHead head) {
    had_interim_ = true;
    if (port_) port_->send_head(forward_answer(std::move(head)));
}

void ResolveExchange::on_answer_head(ResponseHead head) {
    if (!port_) return;
    add(port_->loop().counters().requests_relayed);
    port_->send_head(forward_answer(std::move(head)));
}

bool ResolveExchange::on_answer_body(View piece) { return !port_ || port_->send_body(piece); }

void ResolveExchange::on_answer_end() {
    ask_ = nullptr;
    if (port_) port_->send_end();
}

void ResolveExchange::on_answer_broken(const Error&) {
    ask_ = nullptr;
    if (port_) port_->send_broken();
}

}  // namespace mssl::proxy
