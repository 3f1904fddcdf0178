#include "proxy/http/semantics.h"

#include <algorithm>

#include "proxy/http/syntax.h"

namespace mssl::proxy {

namespace {

bool is_etagc(char c) {  // RFC 9110 §8.8.3: no escapes, no spaces
    const auto u = static_cast<unsigned char>(c);
    return u == 0x21 || (u >= 0x23 && u != 0x7f);
}

// Takes one entity-tag off the front of text.
std::optional<EntityTag> take_entity_tag(std::string_view& text) {
    EntityTag out;
    if (text.starts_with("W/")) {
        out.weak = true;
        text.remove_prefix(2);
    }
    if (!text.starts_with('"')) return std::nullopt;
    const std::size_t close = text.find('"', 1);
    if (close == std::string_view::npos) return std::nullopt;
    out.tag = text.substr(0, close + 1);
    if (!std::ranges::all_of(text.substr(1, close - 1), is_etagc)) return std::nullopt;
    text.remove_prefix(close + 1);
    return out;
}

// One field value: entity-tags between commas. split_list would take a backslash for an escape, which it is not in a tag.
bool take_list(std::string_view text, std::vector<EntityTag>& out) {
    for (;;) {
        text = trim(text);
        while (text.starts_with(',')) text = trim(text.substr(1));
        if (text.empty()) return true;
        std::optional<EntityTag> tag = take_entity_tag(text);
        if (!tag) return false;
        out.push_back(std::move(*tag));
        text = trim(text);
        if (!text.empty() && text.front() != ',') return false;
    }
}

}  // namespace

std::optional<std::vector<EntityTag>> parse_entity_tags(const Fields& fields, std::string_view name) {
    const std::vector<std::string_view> values = fields.all(name);
    std::vector<EntityTag> out;
    if (values.size() == 1 && trim(values[0]) == "*") {
        out.push_back({false, "*"});
        return out;
    }
    for (std::string_view value : values) {
        if (!take_list(value, out)) return std::nullopt;
    }
    return out;
}

namespace {

// The date of a field that counts only when it is there once and well-formed.
std::optional<std::int64_t> single_date(const Fields& fields, std::string_view name) {
    if (fields.count(name) != 1) return std::nullopt;
    return parse_http_date(*fields.find(name));
}

}  // namespace

std::optional<Validator> strong_validator(const ResponseHead& response) {
    if (const std::size_t tags = response.fields.count("ETag"); tags != 0) {
        // A weak or broken tag is the origin's word that equal dates do not mean equal bytes either.
        const std::optional<std::vector<EntityTag>> parsed = parse_entity_tags(response.fields, "ETag");
        if (tags != 1 || !parsed || parsed->size() != 1) return std::nullopt;
        const EntityTag& tag = parsed->front();
        if (tag.weak || tag.tag == "*") return std::nullopt;
        return Validator{tag.tag, 0};
    }
    const std::int64_t modified = strong_date(response.fields);
    if (modified == 0) return std::nullopt;
    return Validator{{}, modified};
}

std::int64_t strong_date(const Fields& response) {
    const std::optional<std::int64_t> modified = single_date(response, "Last-Modified");
    const std::optional<std::int64_t> date = single_date(response, "Date");
    // A second change within the second of the first would bear the same date; sixty allow for clocks that differ.
    constexpr std::int64_t settled = 60;
    return modified && date && *modified > 0 && *modified <= *date - settled ? *modified : 0;
}

// ── Sharing ──

namespace {

// "max-age=5" → "max-age". The qualified forms private="x" and no-cache="x" count as the unqualified ones, as RFC 9111
// §5.2.2 lets a cache do.
bool has_directive(const Fields& fields, std::string_view directive) {
    for (std::string_view value : fields.all("Cache-Control")) {
        for (std::string_view element : split_list(value)) {
            if (iequals(trim(element.substr(0, element.find('='))), directive)) return true;
        }
    }
    return false;
}

}  // namespace

std::optional<std::string> why_not_shared(const RequestHead& request, const ResponseHead& response, Access access) {
    if (request.method != "GET") return "method is not GET";
    if (response.status != 200) return "status is not 200";
    if (response.body != BodyKind::length) return "length is not known";
    if (response.length > kMaxObjectBytes) return "larger than any object";
    const Fields& f = response.fields;
    if (f.count("Content-Encoding") != 0) return "Content-Encoding";
    if (f.count("Set-Cookie") != 0) return "Set-Cookie";
    for (const std::string& name : f.list("Vary")) {
        if (!iequals(name, "Accept-Encoding")) return "Vary: " + name;
    }
    for (const char* directive : {"private", "no-store", "no-cache"}) {
        if (has_directive(f, directive)) return std::string("Cache-Control: ") + directive;
    }
    if (has_directive(request.fields, "no-store")) return "the request says no-store";
    if (request.fields.count("Authorization") != 0 && access != Access::restricted) {
        const bool allowed = has_directive(f, "public") || has_directive(f, "must-revalidate") || has_directive(f, "s-maxage");
        if (!allowed) return "Authorization without leave to share (RFC 9111 3.5)";
    }
    if (!strong_validator(response)) return "no strong validator";
    return std::nullopt;
}

// ── Preconditions and ranges ──

namespace {

bool matches(const EntityTag& tag, const Validator& validator, bool weakly) {
    if (tag.tag == "*") return true;
    return !validator.etag.empty() && tag.tag == validator.etag && (weakly || !tag.weak);
}

// Steps 1 to 4 of RFC 9110 §13.2.2: 200 to go on, 304 or 412.
std::uint16_t evaluate_preconditions(const Fields& request, const Validator& validator) {
    auto any_match = [&](std::string_view name, bool weakly) {
        const std::optional<std::vector<EntityTag>> tags = parse_entity_tags(request, name);
        return tags && std::ranges::any_of(*tags, [&](const EntityTag& t) { return matches(t, validator, weakly); });
    };
    if (request.count("If-Match") != 0) {
        if (!any_match("If-Match", false)) return 412;
    } else if (validator.last_modified != 0) {
        const std::optional<std::int64_t> since = single_date(request, "If-Unmodified-Since");
        if (since && validator.last_modified > *since) return 412;
    }
    if (request.count("If-None-Match") != 0) {
        if (any_match("If-None-Match", true)) return 304;
    } else if (validator.last_modified != 0) {
        const std::optional<std::int64_t> since = single_date(request, "If-Modified-Since");
        if (since && validator.last_modified <= *since) return 304;
    }
    return 200;
}

// Step 5: whether Range applies (RFC 9110 §13.1.5: strong comparison, a date exactly).
bool if_range_holds(const Fields& request, const Validator& validator, std::int64_t dated) {
    const std::size_t count = request.count("If-Range");
    if (count == 0) return true;
    if (count != 1) return false;
    const std::string_view value = trim(*request.find("If-Range"));
    if (value.starts_with('"') || value.starts_with("W/")) {
        std::string_view rest = value;
        const std::optional<EntityTag> tag = take_entity_tag(rest);
        return tag && rest.empty() && matches(*tag, validator, false);
    }
    const std::optional<std::int64_t> date = parse_http_date(value);
    return date && *date != 0 && (*date == validator.last_modified || *date == dated);
}

// Any number of digits (the grammar has no limit), stopping at the largest value.
std::optional<std::uint64_t> parse_position(std::string_view s) {
    if (s.empty() || !std::ranges::all_of(s, is_digit)) return std::nullopt;
    while (s.size() > 1 && s.front() == '0') s.remove_prefix(1);
    return s.size() > 19 ? UINT64_MAX : *parse_digits(s);
}

// RFC 9110 §14.2: what cannot be understood, and several ranges, get the whole.
RangeAnswer apply_range(std::string_view value, std::uint64_t length) {
    const RangeAnswer whole{200, 0, length};
    const std::size_t equals = value.find('=');
    if (equals == std::string_view::npos || !iequals(value.substr(0, equals), "bytes")) return whole;
    const std::vector<std::string_view> ranges = split_list(value.substr(equals + 1));
    if (ranges.size() != 1) return whole;
    const std::size_t dash = ranges[0].find('-');
    if (dash == std::string_view::npos) return whole;
    const std::string_view from = ranges[0].substr(0, dash), to = ranges[0].substr(dash + 1);

    if (from.empty()) {  // the last so many
        const std::optional<std::uint64_t> suffix = parse_position(to);
        if (!suffix) return whole;
        if (*suffix == 0) return {416, 0, 0};
        if (length == 0) return whole;  // satisfiable, but no Content-Range can say it
        const std::uint64_t count = std::min(*suffix, length);
        return {206, length - count, count};
    }
    const std::optional<std::uint64_t> first = parse_position(from);
    const std::optional<std::uint64_t> last = to.empty() ? std::optional<std::uint64_t>(UINT64_MAX) : parse_position(to);
    if (!first || !last || *last < *first) return whole;
    if (*first >= length) return {416, 0, 0};
    return {206, *first, std::min(*last, length - 1) - *first + 1};
}

}  // namespace

RangeAnswer answer_range(const Fields& request, const Validator& validator, std::uint64_t length, std::int64_t dated) {
    const std::uint16_t status = evaluate_preconditions(request, validator);
    return status == 200 ? answer_range_alone(request, validator, length, dated) : RangeAnswer{status, 0, 0};
}

bool asks_for_one_range(const Fields& request) {
    if (request.count("Range") != 1) return false;
    const std::string_view value = trim(*request.find("Range"));
    // Of a length that every position is below, what cannot be understood is the whole, and the rest is one range or none.
    // Of more digits than any object's positions have origins think differently: to one they are an error, to another the end.
    std::size_t digits = 0;
    for (char c : value) {
        digits = is_digit(c) ? digits + 1 : 0;
        if (digits > 18) return false;
    }
    return value.starts_with("bytes=") && value.find_first_of(" \t,") == std::string_view::npos &&
           apply_range(value, UINT64_MAX).status != 200;
}

RangeAnswer answer_range_alone(const Fields& request, const Validator& validator, std::uint64_t length, std::int64_t dated) {
    if (request.count("Range") != 1 || !if_range_holds(request, validator, dated)) return {200, 0, length};
    return apply_range(trim(*request.find("Range")), length);
}

bool can_answer_range(const Fields& request, const Fields& whole, const Validator& validator, std::uint64_t length) {
    if (request.count("Range") == 0) return true;
    if (whole.list_has("Accept-Ranges", "none")) return true;
    if (!whole.list_has("Accept-Ranges", "bytes") || !asks_for_one_range(request)) return false;
    const std::int64_t dated = strong_date(whole);
    const std::string *asked = request.find("If-Range"), *modified = whole.find("Last-Modified");
    if (asked != nullptr && modified != nullptr) {
        const std::optional<std::int64_t> date = parse_http_date(*asked);
        if (date && date == parse_http_date(*modified) && *date != dated && *date != validator.last_modified) return false;
    }
    return answer_range_alone(request, validator, length, dated).status != 416;
}

Result<ContentRange> parse_content_range(std::string_view value) {
    const Error bad = fail(Errc::malformed, "Content-Range");
    value = trim(value);
    const std::size_t space = value.find(' ');
    if (space == std::string_view::npos || !iequals(value.substr(0, space), "bytes")) return bad;
    value.remove_prefix(space + 1);
    const std::size_t dash = value.find('-');
    const std::size_t slash = value.find('/');
    if (dash == std::string_view::npos || slash == std::string_view::npos || slash < dash) return bad;
    const std::optional<std::uint64_t> first = parse_digits(value.substr(0, dash));
    const std::optional<std::uint64_t> last = parse_digits(value.substr(dash + 1, slash - dash - 1));
    const std::optional<std::uint64_t> length = parse_digits(value.substr(slash + 1));
    if (!first || !last || !length || *first > *last || *last >= *length) return bad;
    return ContentRange{*first, *last, *length};
}

}  // namespace mssl::proxy
