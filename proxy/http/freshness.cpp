#include "proxy/http/freshness.h"

#include <algorithm>

#include "proxy/http/syntax.h"

namespace mssl::proxy {
namespace {

// RFC 9111 §1.2.2: more is no different from this.
constexpr std::int64_t kMaxSeconds = std::int64_t{1} << 31;

// delta-seconds, also between quotes (§5.2).
std::optional<std::int64_t> parse_seconds(std::string_view text) {
    text = trim(text);
    if (text.size() >= 2 && text.front() == '"' && text.back() == '"') text = text.substr(1, text.size() - 2);
    if (text.empty() || !std::ranges::all_of(text, is_digit)) return std::nullopt;
    const std::optional<std::uint64_t> value = parse_digits(text);
    return value && *value < static_cast<std::uint64_t>(kMaxSeconds) ? static_cast<std::int64_t>(*value) : kMaxSeconds;
}

struct Directive {
    std::size_t count = 0;
    std::optional<std::int64_t> seconds;  // of the first
};

Directive directive(const Fields& fields, std::string_view name) {
    Directive out;
    for (const std::string& element : fields.list("Cache-Control")) {
        const std::size_t equals = element.find('=');
        if (!iequals(trim(std::string_view(element).substr(0, equals)), name)) continue;
        if (out.count++ == 0 && equals != std::string::npos) out.seconds = parse_seconds(std::string_view(element).substr(equals + 1));
    }
    return out;
}

std::optional<std::int64_t> single_date(const Fields& fields, std::string_view name) {
    return fields.count(name) == 1 ? parse_http_date(*fields.find(name)) : std::nullopt;
}

}  // namespace

std::int64_t freshness_lifetime(const Fields& answer) {
    for (const char* name : {"no-cache", "no-store", "private"})
        if (directive(answer, name).count != 0) return 0;
    for (const char* name : {"s-maxage", "max-age"}) {
        const Directive d = directive(answer, name);
        if (d.count != 0) return d.count == 1 ? d.seconds.value_or(0) : 0;
    }
    const std::optional<std::int64_t> expires = single_date(answer, "Expires"), date = single_date(answer, "Date");
    return expires && date ? std::clamp<std::int64_t>(*expires - *date, 0, kMaxSeconds) : 0;
}

std::int64_t age_on_arrival(const Fields& answer, std::int64_t received) {
    std::int64_t age = 0;
    if (const std::string* said = answer.find("Age")) age = parse_seconds(*said).value_or(kMaxSeconds);
    if (const std::optional<std::int64_t> date = single_date(answer, "Date")) age = std::max(age, received - *date);
    return age;
}

StoredWish stored_wish(const Fields& request) {
    StoredWish out;
    const auto seconds = [&](std::string_view name) -> std::optional<std::int64_t> {
        const Directive d = directive(request, name);
        if (d.count == 0) return std::nullopt;
        if (d.count > 1 || !d.seconds) out.ask = true;
        return d.seconds;
    };
    out.ask = directive(request, "no-cache").count != 0 || directive(request, "no-store").count != 0;
    if (request.count("Cache-Control") == 0 && request.list_has("Pragma", "no-cache")) out.ask = true;
    out.only_if_cached = directive(request, "only-if-cached").count != 0;
    out.max_age = seconds("max-age");
    out.min_fresh = seconds("min-fresh");
    return out;
}

bool is_fresh(const StoredWish& wish, std::int64_t age, std::int64_t lifetime) {
    if (wish.ask || (wish.max_age && age >= *wish.max_age)) return false;
    return age + wish.min_fresh.value_or(0) < lifetime;
}

}  // namespace mssl::proxy
