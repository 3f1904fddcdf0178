// HTTP dates (RFC 9110 §5.6.7). Written by hand: strptime knows locales and local time, and reads more than the grammar.
#include <array>
#include <cstdio>

#include "proxy/core/loop.h"
#include "proxy/http/message.h"
#include "proxy/http/syntax.h"

namespace mssl::proxy {

namespace {

constexpr std::array<std::string_view, 7> kDays = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                                   "Thursday", "Friday", "Saturday"};
constexpr std::array<std::string_view, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

// Reads left to right; the first mismatch sticks.
struct Cursor {
    std::string_view text;
    bool good = true;

    void literal(std::string_view s) {
        if (good && text.starts_with(s)) text.remove_prefix(s.size());
        else good = false;
    }
    int digits(std::size_t n) {
        if (!good || text.size() < n) {
            good = false;
            return 0;
        }
        const std::optional<std::uint64_t> v = parse_digits(text.substr(0, n));
        text.remove_prefix(n);
        good = v.has_value();
        return v ? static_cast<int>(*v) : 0;
    }
    int day_of_asctime() {  // two digits, or a space and one
        if (good && text.starts_with(' ')) {
            text.remove_prefix(1);
            return digits(1);
        }
        return digits(2);
    }
    unsigned month() {
        for (unsigned m = 0; good && m < kMonths.size(); ++m) {
            if (text.starts_with(kMonths[m])) {
                text.remove_prefix(3);
                return m + 1;
            }
        }
        good = false;
        return 1;
    }
    bool over() const { return good && text.empty(); }
};

struct Civil {
    int year = 1970;
    unsigned month = 1;
    int day = 1, hour = 0, minute = 0, second = 0;
};

void time_of_day(Cursor& c, Civil& t) {
    t.hour = c.digits(2);
    c.literal(":");
    t.minute = c.digits(2);
    c.literal(":");
    t.second = c.digits(2);
}

std::optional<std::int64_t> to_unix(const Civil& t) {
    const std::chrono::year_month_day date{std::chrono::year(t.year), std::chrono::month(t.month),
                                           std::chrono::day(static_cast<unsigned>(t.day))};
    if (!date.ok() || t.hour > 23 || t.minute > 59 || t.second > 60) return std::nullopt;  // 60: a leap second
    const auto days = std::chrono::sys_days(date).time_since_epoch().count();
    return std::int64_t{days} * 86400 + t.hour * 3600 + t.minute * 60 + t.second;
}

std::optional<std::int64_t> imf_fixdate(Cursor c) {  // "06 Nov 1994 08:49:37 GMT"
    Civil t;
    t.day = c.digits(2);
    c.literal(" ");
    t.month = c.month();
    c.literal(" ");
    t.year = c.digits(4);
    c.literal(" ");
    time_of_day(c, t);
    c.literal(" GMT");
    return c.over() ? to_unix(t) : std::nullopt;
}

std::optional<std::int64_t> rfc850(Cursor c) {  // "06-Nov-94 08:49:37 GMT"
    Civil t;
    t.day = c.digits(2);
    c.literal("-");
    t.month = c.month();
    c.literal("-");
    t.year = c.digits(2);
    c.literal(" ");
    time_of_day(c, t);
    c.literal(" GMT");
    if (!c.over()) return std::nullopt;
    // More than 50 years ahead means the most recent past year with these digits (RFC 9110 §5.6.7).
    t.year += 2000;
    std::optional<std::int64_t> unix_seconds = to_unix(t);
    constexpr std::int64_t fifty_years = std::int64_t{50} * 365 * 86400 + 12 * 86400;
    if (!unix_seconds || *unix_seconds > wall_now().unix_seconds + fifty_years) {
        t.year -= 100;
        unix_seconds = to_unix(t);
    }
    return unix_seconds;
}

std::optional<std::int64_t> asctime_date(Cursor c) {  // "Nov  6 08:49:37 1994"
    Civil t;
    t.month = c.month();
    c.literal(" ");
    t.day = c.day_of_asctime();
    c.literal(" ");
    time_of_day(c, t);
    c.literal(" ");
    t.year = c.digits(4);
    return c.over() ? to_unix(t) : std::nullopt;
}

}  // namespace

std::optional<std::int64_t> parse_http_date(std::string_view text) {
    for (std::string_view day : kDays) {
        const std::string_view short_day = day.substr(0, 3);
        if (text.starts_with(day) && text.substr(day.size()).starts_with(", ")) {
            return rfc850({text.substr(day.size() + 2)});
        }
        if (!text.starts_with(short_day)) continue;
        if (text.substr(3).starts_with(", ")) return imf_fixdate({text.substr(5)});
        if (text.substr(3).starts_with(" ")) return asctime_date({text.substr(4)});
    }
    return std::nullopt;
}

std::string format_http_date(std::int64_t unix_seconds) {
    // Years 1970 … 9999: what the four digits of IMF-fixdate can say.
    constexpr std::int64_t last = 253402300799;
    unix_seconds = unix_seconds < 0 ? 0 : unix_seconds > last ? last : unix_seconds;
    const std::chrono::sys_seconds when{std::chrono::seconds(unix_seconds)};
    const auto day = std::chrono::floor<std::chrono::days>(when);
    const std::chrono::year_month_day date{day};
    const std::chrono::hh_mm_ss clock{when - day};
    std::array<char, 64> out{};
    const int n = std::snprintf(out.data(), out.size(), "%.3s, %02u %.3s %04d %02d:%02d:%02d GMT",
                                kDays[std::chrono::weekday(day).c_encoding()].data(),
                                static_cast<unsigned>(date.day()),
                                kMonths[static_cast<unsigned>(date.month()) - 1].data(), static_cast<int>(date.year()),
                                static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
                                static_cast<int>(clock.seconds().count()));
    return {out.data(), static_cast<std::size_t>(n)};
}

}  // namespace mssl::proxy
