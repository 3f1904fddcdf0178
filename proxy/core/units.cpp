// Sizes, rates and durations as people write them, and globs.
#include <array>
#include <charconv>
#include <limits>

#include "proxy/core/config.h"

namespace mssl::proxy {
namespace {

struct Unit {
    std::string_view name;
    std::uint64_t factor;
};

constexpr std::array kSizes = {
    Unit{"B", 1},
    Unit{"kB", 1000},
    Unit{"MB", 1'000'000},
    Unit{"GB", 1'000'000'000},
    Unit{"TB", 1'000'000'000'000},
    Unit{"KiB", std::uint64_t{1} << 10},
    Unit{"MiB", std::uint64_t{1} << 20},
    Unit{"GiB", std::uint64_t{1} << 30},
    Unit{"TiB", std::uint64_t{1} << 40},
};
// Factors are bits a second; parse_rate divides.
constexpr std::array kRates = {
    Unit{"bit", 1},
    Unit{"kbit", 1000},
    Unit{"Mbit", 1'000'000},
    Unit{"Gbit", 1'000'000'000},
    Unit{"B", 8},
    Unit{"kB", 8'000},
    Unit{"MB", 8'000'000},
    Unit{"GB", 8'000'000'000},
    Unit{"KiB", std::uint64_t{8} << 10},
    Unit{"MiB", std::uint64_t{8} << 20},
    Unit{"GiB", std::uint64_t{8} << 30},
};
constexpr std::array kDurations = {
    Unit{"ms", 1'000},
    Unit{"s", 1'000'000},
    Unit{"min", 60'000'000},
    Unit{"h", 3'600'000'000},
    Unit{"d", 86'400'000'000},
};

template <std::size_t N>
std::string names(const std::array<Unit, N>& units) {
    std::string out;
    for (const Unit& unit : units) out += (out.empty() ? "" : ", ") + std::string(unit.name);
    return out;
}

template <std::size_t N>
Result<std::uint64_t> parse_with(const std::array<Unit, N>& units, std::string_view text) {
    std::uint64_t number = 0;
    const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (ec != std::errc{}) return fail(Errc::malformed, "expected a whole number with a unit (" + names(units) + ")");
    std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
    while (!unit.empty() && unit.front() == ' ') unit.remove_prefix(1);
    if (unit.empty() && number == 0) return std::uint64_t{0};
    for (const Unit& known : units) {
        if (unit != known.name) continue;
        if (number > std::numeric_limits<std::int64_t>::max() / known.factor)
            return fail(Errc::too_large, "larger than any that can be meant");
        return number * known.factor;
    }
    return fail(Errc::malformed, "expected a unit: one of " + names(units));
}

}  // namespace

Result<std::uint64_t> parse_size(std::string_view text) { return parse_with(kSizes, text); }

Result<std::uint64_t> parse_rate(std::string_view text) {
    if (text.ends_with("/s")) text.remove_suffix(2);
    Result<std::uint64_t> bits = parse_with(kRates, text);
    if (!bits) return bits;
    // 0 means no limit: "1bit" must not become it.
    return *bits == 0 ? 0 : std::max<std::uint64_t>(1, *bits / 8);
}

Result<Duration> parse_duration(std::string_view text) {
    const Result<std::uint64_t> us = parse_with(kDurations, text);
    if (!us) return us.error();
    return Duration(static_cast<std::int64_t>(*us));
}

// Goes back to the latest '*' alone: an earlier one could match no more than that one does.
bool glob_match(std::string_view glob, std::string_view path) {
    std::size_t g = 0, p = 0;
    std::size_t star = std::string_view::npos, star_path = 0;
    while (p < path.size()) {
        if (g < glob.size() && glob[g] == '*') {
            star = g++;
            star_path = p;
        } else if (g < glob.size() && (glob[g] == '?' || glob[g] == path[p])) {
            ++g;
            ++p;
        } else if (star != std::string_view::npos) {
            g = star + 1;
            p = ++star_path;
        } else {
            return false;
        }
    }
    while (g < glob.size() && glob[g] == '*') ++g;
    return g == glob.size();
}

}  // namespace mssl::proxy
