#include "proxy/server/resolve_request.h"

#include <algorithm>

#include "proxy/http/semantics.h"
#include "proxy/server/proxy_exchange.h"

namespace mssl::proxy {
namespace {

bool has_other_preconditions(const Fields& f) {
    return f.count("If-Match") != 0 || f.count("If-Modified-Since") != 0 || f.count("If-Unmodified-Since") != 0;
}

// The strong entity tag of an answer, or nothing.
std::optional<std::string> strong_tag(const ResponseHead& answer) {
    const auto tags = parse_entity_tags(answer.fields, "ETag");
    if (!tags || tags->size() != 1 || tags->front().weak || tags->front().tag == "*") return std::nullopt;
    return tags->front().tag;
}

// Of a 304: what would forbid sharing if this were the 200 again.
std::optional<std::string> why_not_shared_any_more(const RequestHead& request, const ResponseHead& answer, Access access) {
    ResponseHead whole = answer;
    whole.status = 200;
    whole.body = BodyKind::length;
    whole.length = 1;
    whole.fields.set("ETag", "\"known\"");
    return why_not_shared(request, whole, access);
}

Judgement judge_304(const RequestHead& request, const ResolvePlan& plan, const ResponseHead& answer, const ShareRule& rule) {
    if (!plan.ours) return {Verdict::relay, "not modified, by the application's own condition", {}};
    if (!plan.ours->etag.empty()) {
        const bool named = answer.fields.count("ETag") != 0;
        const std::optional<std::string> tag = strong_tag(answer);
        if (tag && std::ranges::find(plan.theirs, *tag) != plan.theirs.end())
            return {Verdict::relay, "not modified, by the application's own condition", {}};
        if (named && tag != plan.ours->etag) return {Verdict::again, "304 for another entity tag", {}};
        if (!named && !plan.theirs.empty()) return {Verdict::again, "304 that does not say for which entity tag", {}};
    } else if (const std::string* date = answer.fields.find("Last-Modified");
               date == nullptr || parse_http_date(*date) != plan.ours->last_modified) {
        // To many an origin If-Modified-Since means "not newer": also what an older file put back in its place is (RFC 9110
        // §13.1.3).
        return {Verdict::again, "304 that does not repeat the date asked for", {}};
    }
    if (std::optional<std::string> why = why_not_shared_any_more(request, answer, rule.access))
        return {Verdict::again, *why, {}};
    return {Verdict::unmodified, {}, *plan.ours};
}

}  // namespace

ResolvePlan plan_resolve(const RequestHead& request, const std::optional<Validator>& known) {
    ResolvePlan plan;
    plan.ask = request;
    Fields& f = plan.ask.fields;
    plan.stripped_range = f.remove("Range") != 0;
    f.remove("If-Range");  // means nothing without Range (RFC 9110 §13.1.5)
    if (!known || has_other_preconditions(f)) return plan;

    if (f.count("If-None-Match") == 0) {
        if (!known->etag.empty()) f.add("If-None-Match", known->etag);
        else f.add("If-Modified-Since", format_http_date(known->last_modified));
        plan.ours = known;
        return plan;
    }
    // The union of both lists, where theirs is one that can be read.
    const auto theirs = parse_entity_tags(f, "If-None-Match");
    if (!theirs || theirs->empty() || known->etag.empty()) return plan;
    std::string all;
    for (const EntityTag& tag : *theirs) {
        if (tag.tag == "*" || tag.tag == known->etag) return plan;
        plan.theirs.push_back(tag.tag);
        all += (tag.weak ? "W/" : "") + tag.tag + ", ";
    }
    f.set("If-None-Match", all + known->etag);
    plan.ours = known;
    return plan;
}

Judgement judge(const RequestHead& request, const ResolvePlan& plan, const ResponseHead& answer, const ShareRule& rule,
                std::uint64_t spool_room) {
    if (answer.status == 304) return judge_304(request, plan, answer, rule);
    if (answer.status != 200) return {Verdict::relay, "status " + std::to_string(answer.status), {}};

    const Verdict otherwise = plan.stripped_range ? Verdict::again : Verdict::relay;
    if (std::optional<std::string> why = why_not_shared(request, answer, rule.access)) return {otherwise, *why, {}};
    if (answer.length == 0 || answer.length < rule.min_size) return {otherwise, "smaller than min-size", {}};
    if (!answer.fields.list_has("Accept-Ranges", "bytes") && answer.length > spool_room)
        return {otherwise, "the origin has no ranges and the spool no room", {}};
    // What only its asker may have cannot be read again once the asker is gone.
    if (rule.access == Access::restricted && answer.length > spool_room)
        return {otherwise, "restricted, and the spool has no room", {}};
    if (!can_answer_range(request.fields, answer.fields, *strong_validator(answer), answer.length)) return {Verdict::again, "its range", {}};
    return {Verdict::sharable, {}, *strong_validator(answer)};
}

std::vector<HeaderField> replayed_fields(const ResponseHead& answer) {
    Fields f = forward_answer(answer).fields;
    f.remove("Content-Length");
    f.remove("Content-Range");
    return f.items();
}

std::vector<HeaderField> updated_fields(const std::vector<HeaderField>& stored, const std::vector<HeaderField>& of_304) {
    Fields out;
    for (const HeaderField& f : stored) out.add(f.name, f.value);
    out.remove("Age");
    for (const HeaderField& f : of_304) out.remove(f.name);
    for (const HeaderField& f : of_304) out.add(f.name, f.value);
    return out.items();
}

std::string coalescing_key(std::string_view origin_url, const RequestHead& request, std::string_view asker) {
    return std::string(origin_url) + "\n" + std::string(asker) + "\n" + serialize(request);
}

}  // namespace mssl::proxy
