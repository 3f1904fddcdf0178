// Characters and lists of HTTP (RFC 9110 §5.6, RFC 5234 B.1), for every file that reads heads.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mssl::proxy {

constexpr char ascii_lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
inline std::string ascii_lower(std::string_view s) {
    std::string out(s);
    for (char& c : out) c = ascii_lower(c);
    return out;
}
constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }
constexpr bool is_alpha(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
constexpr bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }
constexpr bool is_tchar(char c) {
    return is_alpha(c) || is_digit(c) || std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}
// What may stand in a field value: VCHAR, SP, HTAB, obs-text.
constexpr bool is_text(char c) {
    const auto u = static_cast<unsigned char>(c);
    return (u >= 0x20 && u != 0x7f) || u == '\t';
}
constexpr bool is_token(std::string_view s) {
    for (char c : s) {
        if (!is_tchar(c)) return false;
    }
    return !s.empty();
}
constexpr std::string_view trim(std::string_view s) {  // OWS
    while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
    while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
    return s;
}
// 1 … 19 decimal digits and nothing else (so the value is below 2^64), or nothing.
constexpr std::optional<std::uint64_t> parse_digits(std::string_view s) {
    if (s.empty() || s.size() > 19) return std::nullopt;
    std::uint64_t value = 0;
    for (char c : s) {
        if (!is_digit(c)) return std::nullopt;
        value = value * 10 + static_cast<std::uint64_t>(c - '0');
    }
    return value;
}
// Comma-separated, trimmed, empty elements dropped; commas in quoted strings do not separate (RFC 9110 §5.6.1, §5.6.4).
inline std::vector<std::string_view> split_list(std::string_view value) {
    std::vector<std::string_view> out;
    std::size_t start = 0;
    bool quoted = false;
    for (std::size_t i = 0; i <= value.size(); ++i) {
        if (i == value.size() || (value[i] == ',' && !quoted)) {
            const std::string_view element = trim(value.substr(start, i - start));
            if (!element.empty()) out.push_back(element);
            start = i + 1;
        } else if (value[i] == '"') {
            quoted = !quoted;
        } else if (quoted && value[i] == '\\' && i + 1 < value.size()) {
            ++i;
        }
    }
    return out;
}

}  // namespace mssl::proxy
