#include "proxy/server/resolve_ask.h"

#include <utility>

#include "proxy/core/log.h"
#include "proxy/http/semantics.h"
#include "proxy/server/proxy_exchange.h"

namespace mssl::proxy {

// ── Who asks the same ──

bool ResolveAsks::join(const std::string& key, Loop& loop, Waiter waiter) {
    const std::lock_guard lock(mutex_);
    const auto [at, first] = waiting_.try_emplace(key);
    if (!first) at->second.push_back({&loop, std::move(waiter)});
    return first;
}

void ResolveAsks::finish(const std::string& key, const ResolveOutcome& outcome) {
    std::vector<Waiting> all;
    {
        const std::lock_guard lock(mutex_);
        const auto at = waiting_.find(key);
        if (at == waiting_.end()) return;
        all = std::move(at->second);
        waiting_.erase(at);
    }
    for (Waiting& w : all) w.loop->post([waiter = std::move(w.waiter), outcome] { waiter(outcome); });
}

// ── The question ──

ResolveAsk* ResolveAsk::start(Loop& loop, Question question, ResolveLeader* leader) {
    std::unique_ptr<ResolveAsk> ask(new ResolveAsk(loop, std::move(question), leader));
    ResolveAsk* raw = ask.get();
    loop.adopt(std::move(ask));
    raw->begin();
    return raw;
}

ResolveAsk::ResolveAsk(Loop& loop, Question question, ResolveLeader* leader)
    : loop_(&loop), question_(std::move(question)), leader_(leader), url_(question_.asked.url_of(question_.request.target)) {}

ResolveAsk::~ResolveAsk() {
    if (cold_) cold_->detach();
}

void ResolveAsk::begin() {
    const std::shared_ptr<HostedObject> known = question_.parts->catalog->newest(url_);
    const bool ours = known && question_.parts->asks->encodings().leads(known->id(), question_.request.fields);
    plan_ = plan_resolve(question_.request, ours ? std::optional(known->manifest()->body.validator) : std::nullopt);
    exchange_ = question_.origin->start(*loop_, forward_request(plan_.ask, question_.client, question_.asked.scheme), *this);
}

void ResolveAsk::leave() {
    leader_ = nullptr;
    if (state_ == State::relaying) end();
}

void ResolveAsk::resume() {
    if (exchange_) exchange_->pause_reading(false);
}

void ResolveAsk::on_response_head(ResponseHead head) {
    if (state_ != State::asking) return;
    if (head.status < 200) {
        if (leader_) leader_->on_interim(std::move(head));
        return;
    }
    const FrontParts& parts = *question_.parts;
    const bool spool = parts.spool && parts.spool->health().has_value();
    Judgement j = judge(question_.request, plan_, head, *question_.rule, spool ? parts.spool_max : 0);
    switch (j.verdict) {
    case Verdict::unmodified: return unmodified(j.validator, head);
    case Verdict::sharable: return sharable(j.validator, std::move(head));
    case Verdict::relay:
        log::debug("not shared", {{"url", log::redact(url_)}, {"why", j.why}});
        return relay(std::move(head));
    case Verdict::again:
        log::debug("not shared", {{"url", log::redact(url_)}, {"why", j.why}});
        settle({});
        return end();
    }
}

void ResolveAsk::unmodified(const Validator& validator, const ResponseHead& answer) {
    // Withdrawn or evicted meanwhile: null, and everybody asks again without it.
    std::shared_ptr<HostedObject> object = question_.parts->catalog->find(url_, validator);
    if (!object) {
        settle({});
        return end();
    }
    const Manifest& m = object->manifest()->body;
    Fields fields;
    fields.items() = updated_fields(m.fields, replayed_fields(answer));
    if (can_answer_range(question_.request.fields, fields, validator, m.length)) settle({object, std::move(fields.items())});
    else settle({});
    end();
}

void ResolveAsk::sharable(const Validator& validator, ResponseHead answer) {
    const auto not_shared = [&](const std::string& why) {
        log::debug("not shared", {{"url", log::redact(url_)}, {"why", why}});
        if (!plan_.stripped_range) return relay(std::move(answer));
        settle({});
        end();
    };
    const ShareRule& rule = *question_.rule;
    Catalog::Draft draft{url_, validator, replayed_fields(answer), answer.length, rule.access, rule.exchange, rule.price};
    if (question_.member && !question_.parts->catalog->find(url_, validator)) {
        place_ = question_.parts->cold_reads->take(*question_.member);
        if (!place_) return not_shared("as many new objects are being read as may be");
    }
    Result<Catalog::Registered> registered = question_.parts->catalog->find_or_add(draft, question_.parts->wall());
    if (!registered) return not_shared(registered.error().to_string());
    const std::shared_ptr<HostedObject> object = registered->object;
    if (object->manifest()->body.length != answer.length) {
        // One strong validator for two representations: nothing that was made from it can be relied upon.
        object->loop().post([object] { object->withdraw(fail(Errc::withdrawn, "the origin says another length")); });
        return not_shared("the object of this validator has another length");
    }
    question_.parts->asks->encodings().learn(object->id(), question_.request.fields);
    if (!registered->is_new) {
        settle({object, replayed_fields(answer)});
        return end();
    }
    log::info("object begun", {{"object", object->id().hex()}, {"url", log::redact(url_)}, {"bytes", answer.length}});
    state_ = State::feeding;
    cold_ = ColdRead::create(*question_.parts->runtime, *loop_, object, [this](bool paused) {
        if (exchange_) exchange_->pause_reading(paused);
    });
    settle({object, replayed_fields(answer)});
}

void ResolveAsk::relay(ResponseHead answer) {
    question_.parts->asks->finish(question_.key, {});
    settled_ = true;
    if (leader_ == nullptr) return end();
    state_ = State::relaying;
    leader_->on_answer_head(std::move(answer));
}

void ResolveAsk::on_body(View piece) {
    add(loop_->counters().bytes_from_origin, piece.size());
    switch (state_) {
    case State::feeding:
        cold_->feed(piece);
        if (cold_->over()) end();
        return;
    case State::relaying:
        if (leader_ && !leader_->on_answer_body(piece) && exchange_) exchange_->pause_reading(true);
        return;
    case State::asking:
    case State::over: return;
    }
}

void ResolveAsk::on_complete() {
    if (state_ == State::feeding) cold_->finish();
    if (state_ == State::relaying && leader_) std::exchange(leader_, nullptr)->on_answer_end();
    end();
}

void ResolveAsk::on_error(const Error& error) {
    if (state_ == State::over) return;
    log::warning("origin failed", {{"url", log::redact(url_)}, {"why", error.to_string()}});
    ResolveLeader* leader = std::exchange(leader_, nullptr);
    switch (state_) {
    case State::asking:
        settle({});
        if (leader) leader->on_origin_failed(error);
        break;
    case State::feeding: cold_->fail(error); break;
    case State::relaying:
        if (leader) leader->on_answer_broken(error);
        break;
    case State::over: break;
    }
    end();
}

// The leader and all who wait; once.
void ResolveAsk::settle(const ResolveOutcome& outcome) {
    if (std::exchange(settled_, true)) return;
    question_.parts->asks->finish(question_.key, outcome);
    if (ResolveLeader* leader = std::exchange(leader_, nullptr)) leader->on_outcome(outcome);
}

void ResolveAsk::end() {
    if (state_ == State::over) return;
    state_ = State::over;
    if (!std::exchange(settled_, true)) question_.parts->asks->finish(question_.key, {});
    if (cold_) cold_->detach();
    exchange_.reset();
    loop_->release(this);
}

}  // namespace mssl::proxy
