#include "proxy/client/fresh_answers.h"

#include <algorithm>

#include "proxy/http/semantics.h"

namespace mssl::proxy {
namespace {

std::string encodings_of(const RequestHead& request) {
    std::string out;
    for (const std::string& coding : request.fields.list("Accept-Encoding")) out.append(out.empty() ? "" : ",").append(coding);
    return out;
}

std::int64_t seconds_since(FreshAnswers::Moment then, FreshAnswers::Moment now) {
    const std::int64_t mono = std::chrono::duration_cast<std::chrono::seconds>(now.mono - then.mono).count();
    return std::max(mono, now.wall.unix_seconds - then.wall.unix_seconds);
}

}  // namespace

bool may_be_answered_fresh(const RequestHead& request) {
    if (request.method != "GET" || request.body != BodyKind::none || request.upgrade) return false;
    for (const char* name : {"Authorization", "Cookie", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"})
        if (request.fields.count(name) != 0) return false;
    return true;
}

void FreshAnswers::keep(const std::string& url, const RequestHead& request, const Resolution& answer, Moment asked) {
    Fields fields;
    fields.items() = answer.fields;
    const std::int64_t lifetime = freshness_lifetime(fields), age = age_on_arrival(fields, asked.wall.unix_seconds);
    const bool open = answer.manifest->body.access == Access::open;
    const bool fresh = open && may_be_answered_fresh(request) && !request.fields.list_has("Cache-Control", "no-store") && age < lifetime;
    const std::lock_guard lock(mutex_);
    if (forgotten_at_ && asked.mono <= *forgotten_at_) return;
    if (const auto old = by_url_.find(url); old != by_url_.end()) {
        if (asked.mono < old->second.asked.mono) return;
        erase(old);
    }
    if (!fresh) return;
    if (order_.size() >= kMaxAnswers) erase(by_url_.find(order_.front()));
    order_.push_back(url);
    by_url_.emplace(url, Entry{answer, encodings_of(request), lifetime, age, asked, std::prev(order_.end())});
}

std::optional<Resolution> FreshAnswers::find(const std::string& url, const RealmId& realm, const RequestHead& request, Moment now) {
    if (!may_be_answered_fresh(request)) return std::nullopt;
    const StoredWish wish = stored_wish(request.fields);
    const std::lock_guard lock(mutex_);
    const auto at = by_url_.find(url);
    if (at == by_url_.end()) return std::nullopt;
    const Entry& e = at->second;
    const std::int64_t age = e.age + seconds_since(e.asked, now);
    // No tolerance for clocks: this one only ends earlier than a peer would have it.
    if (e.answer.realm != realm || age >= e.lifetime || now.wall.unix_seconds >= e.answer.ticket->body.not_after.unix_seconds) {
        erase(at);
        return std::nullopt;
    }
    // Vary is within {Accept-Encoding} of whatever is shared.
    if (!is_fresh(wish, age, e.lifetime) || encodings_of(request) != e.encodings) return std::nullopt;
    const Manifest& m = e.answer.manifest->body;
    Fields whole;
    whole.items() = e.answer.fields;
    if (!can_answer_range(request.fields, whole, m.validator, m.length)) return std::nullopt;
    Resolution out = e.answer;
    out.age = age;
    return out;
}

void FreshAnswers::forget(const std::string& url, MonoTime now) {
    const std::lock_guard lock(mutex_);
    forgotten_at_ = now;
    if (const auto at = by_url_.find(url); at != by_url_.end()) erase(at);
}

void FreshAnswers::forget_all(MonoTime now) {
    const std::lock_guard lock(mutex_);
    forgotten_at_ = now;
    by_url_.clear();
    order_.clear();
}

void FreshAnswers::erase(std::unordered_map<std::string, Entry>::iterator at) {
    order_.erase(at->second.order);
    by_url_.erase(at);
}

}  // namespace mssl::proxy
