#include "tools/text.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>
#include <numeric>

namespace mssl::tools {
namespace {

template <class... Args>
std::string formatted(const char* format, Args... args) {
    std::array<char, 96> out{};
    const int n = std::snprintf(out.data(), out.size(), format, args...);
    return std::string(out.data(), static_cast<std::size_t>(std::clamp(n, 0, static_cast<int>(out.size()) - 1)));
}

// Length of the well-formed UTF-8 sequence that text begins with (RFC 3629 §4), 0 when it is none.
std::size_t utf8_length(std::string_view text) {
    const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
    const auto tail = [&](std::size_t i) { return (byte(i) & 0xC0U) == 0x80U; };
    const unsigned a = byte(0);
    const unsigned b = byte(1);
    if (a < 0x80) return 1;
    // U+0080 … U+009F are control characters too.
    if (a >= 0xC2 && a <= 0xDF) return tail(1) && !(a == 0xC2 && b < 0xA0) ? 2 : 0;
    if (a >= 0xE0 && a <= 0xEF)
        return tail(1) && tail(2) && !(a == 0xE0 && b < 0xA0) && !(a == 0xED && b > 0x9F) ? 3 : 0;
    if (a >= 0xF0 && a <= 0xF4)
        return tail(1) && tail(2) && tail(3) && !(a == 0xF0 && b < 0x90) && !(a == 0xF4 && b > 0x8F) ? 4 : 0;
    return 0;
}

// Insertions, deletions, substitutions and swapped neighbours, each one edit (optimal string alignment).
std::size_t edit_distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> before_last(b.size() + 1);
    std::vector<std::size_t> last(b.size() + 1);
    std::vector<std::size_t> row(b.size() + 1);
    std::iota(last.begin(), last.end(), std::size_t{0});
    for (std::size_t i = 1; i <= a.size(); ++i) {
        row[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0U : 1U)});
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = std::min(row[j], before_last[j - 2] + 1);
        }
        std::swap(before_last, last);
        std::swap(last, row);
    }
    return last[b.size()];
}

}  // namespace

std::string size_text(std::uint64_t bytes) {
    static constexpr std::array<const char*, 5> units = {"KiB", "MiB", "GiB", "TiB", "PiB"};
    if (bytes < 1024) return std::to_string(bytes) + " B";
    double value = static_cast<double>(bytes) / 1024;
    std::size_t unit = 0;
    // What %.1f would print as 1024.0 belongs to the next unit.
    while (value >= 1023.95 && unit + 1 < units.size()) {
        value /= 1024;
        ++unit;
    }
    return formatted("%.1f %s", value, units[unit]);
}

std::string rate_text(double bytes_a_second) {
    // Beyond what a double can say exactly, and below nothing, there is no rate.
    const double sane = std::clamp(bytes_a_second, 0.0, 1e15);
    return size_text(static_cast<std::uint64_t>(sane)) + "/s";
}

std::string duration_text(double seconds) {
    constexpr double kDay = 86400;
    if (!(seconds >= 0) || seconds > 365 * kDay) return "?";
    const auto whole = static_cast<unsigned long>(seconds + 0.5);
    if (whole < 60) return formatted("%lu s", whole);
    if (whole < 3600) return formatted("%lu:%02lu", whole / 60, whole % 60);
    if (seconds < 2 * kDay) return formatted("%lu:%02lu:%02lu", whole / 3600, whole / 60 % 60, whole % 60);
    return formatted("%lu days", whole / 86400);
}

std::string iso_time(WallTime time) {
    const std::time_t t = time.unix_seconds;
    std::tm parts{};
    if (gmtime_r(&t, &parts) == nullptr) return "?";
    std::array<char, 48> out{};
    const std::size_t n = std::strftime(out.data(), out.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
    return std::string(out.data(), n);
}

std::optional<WallTime> parse_iso_time(std::string_view text) {
    const std::string copy(text);
    std::tm parts{};
    const char* end = strptime(copy.c_str(), "%Y-%m-%dT%H:%M:%SZ", &parts);
    if (end == nullptr || *end != '\0') return std::nullopt;
    const WallTime time{timegm(&parts)};
    // strptime takes single digits, spaces and the 31st of February.
    if (iso_time(time) != text) return std::nullopt;
    return time;
}

std::string printable(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    while (!text.empty()) {
        const auto c = static_cast<unsigned char>(text.front());
        const std::size_t n = c < 0x20 || c == 0x7F ? 0 : utf8_length(text);
        if (n == 0)
            out += formatted("\\x%02x", static_cast<unsigned>(c));
        else
            out += text.substr(0, n);
        text.remove_prefix(std::max<std::size_t>(n, 1));
    }
    return out;
}

std::string_view nearest_word(std::string_view text, const std::vector<std::string_view>& words) {
    std::string_view best;
    // A third of the word wrong is a slip; more is another word.
    std::size_t distance = std::max<std::size_t>(1, text.size() / 3) + 1;
    for (const std::string_view word : words) {
        const std::size_t d = edit_distance(text, word);
        if (d < distance) {
            distance = d;
            best = word;
        }
    }
    return best;
}

}  // namespace mssl::tools
