#include "protocol/bytes.h"

#include <algorithm>
#include <exception>

namespace mssl {

namespace {

std::uint64_t big_endian(View v) {
    std::uint64_t out = 0;
    for (const std::uint8_t b : v) out = out << 8 | b;
    return out;
}

void put_big_endian(Bytes& out, std::uint64_t v, unsigned bytes) {
    for (unsigned shift = 8 * bytes; shift != 0; shift -= 8)
        out.push_back(static_cast<std::uint8_t>(v >> (shift - 8)));
}

void put_prefixed(Bytes& out, View v, unsigned prefix_bytes) {
    if (v.size() >> (8 * prefix_bytes) != 0) std::terminate();
    put_big_endian(out, v.size(), prefix_bytes);
    out.insert(out.end(), v.begin(), v.end());
}

constexpr std::string_view kBase64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

constexpr std::array<std::int8_t, 256> kBase64Values = [] {
    std::array<std::int8_t, 256> values{};
    values.fill(-1);
    for (std::size_t i = 0; i < kBase64.size(); ++i)
        values[static_cast<std::uint8_t>(kBase64[i])] = static_cast<std::int8_t>(i);
    return values;
}();

int hex_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

}  // namespace

std::uint8_t Reader::u8() { return static_cast<std::uint8_t>(big_endian(raw(1))); }
std::uint16_t Reader::u16() { return static_cast<std::uint16_t>(big_endian(raw(2))); }
std::uint32_t Reader::u24() { return static_cast<std::uint32_t>(big_endian(raw(3))); }
std::uint32_t Reader::u32() { return static_cast<std::uint32_t>(big_endian(raw(4))); }
std::uint64_t Reader::u64() { return big_endian(raw(8)); }

View Reader::raw(std::size_t n) {
    if (failed_) return {};
    if (n > input_.size() - at_) {
        reject(Errc::truncated, "ends too early");
        return {};
    }
    const View out = input_.subspan(at_, n);
    at_ += n;
    return out;
}

View Reader::var8(std::size_t max) {
    const std::size_t n = u8();
    if (n > max) reject(Errc::too_large, "field too long");
    return raw(n);
}

View Reader::var16(std::size_t max) {
    const std::size_t n = u16();
    if (n > max) reject(Errc::too_large, "field too long");
    return raw(n);
}

View Reader::var24(std::size_t max) {
    const std::size_t n = u24();
    if (n > max) reject(Errc::too_large, "field too long");
    return raw(n);
}

std::string Reader::string16(std::size_t max) {
    const View v = var16(max);
    return {v.begin(), v.end()};
}

void Reader::reject(Errc code, std::string_view why) {
    if (failed_) return;
    failed_ = true;
    code_ = code;
    why_ = "at byte " + std::to_string(at_) + ": ";
    why_ += why;
}

Status Reader::finish(std::string_view what) const {
    if (!failed_ && at_ != input_.size())
        return fail(Errc::malformed,
                    std::string(what) + ": " + std::to_string(input_.size() - at_) + " bytes too many");
    return status(what);
}

Status Reader::status(std::string_view what) const {
    if (failed_) return fail(code_, std::string(what) + ": " + why_);
    return {};
}

void Writer::u8(std::uint8_t v) { out_.push_back(v); }
void Writer::u16(std::uint16_t v) { put_big_endian(out_, v, 2); }
void Writer::u24(std::uint32_t v) {
    if (v >> 24 != 0) std::terminate();
    put_big_endian(out_, v, 3);
}
void Writer::u32(std::uint32_t v) { put_big_endian(out_, v, 4); }
void Writer::u64(std::uint64_t v) { put_big_endian(out_, v, 8); }
void Writer::raw(View v) { out_.insert(out_.end(), v.begin(), v.end()); }
void Writer::var8(View v) { put_prefixed(out_, v, 1); }
void Writer::var16(View v) { put_prefixed(out_, v, 2); }
void Writer::var24(View v) { put_prefixed(out_, v, 3); }
void Writer::string16(std::string_view v) { var16(as_view(v)); }

std::string to_hex(View v) {
    static constexpr char digits[] = "0123456789abcdef";
    std::string out;
    out.reserve(2 * v.size());
    for (const std::uint8_t b : v) {
        out.push_back(digits[b >> 4]);
        out.push_back(digits[b & 15]);
    }
    return out;
}

Result<Bytes> from_hex(std::string_view s) {
    if (s.size() % 2 != 0) return fail(Errc::malformed, "an odd number of hexadecimal digits");
    Bytes out;
    out.reserve(s.size() / 2);
    for (std::size_t i = 0; i < s.size(); i += 2) {
        const int high = hex_value(s[i]);
        const int low = hex_value(s[i + 1]);
        if (high < 0 || low < 0) return fail(Errc::malformed, "not a hexadecimal digit");
        out.push_back(static_cast<std::uint8_t>(high << 4 | low));
    }
    return out;
}

std::string to_base64(View v) {
    std::string out;
    out.reserve((v.size() + 2) / 3 * 4);
    for (std::size_t i = 0; i < v.size(); i += 3) {
        const std::size_t n = std::min<std::size_t>(3, v.size() - i);
        std::uint32_t group = 0;
        for (std::size_t j = 0; j < 3; ++j) group = group << 8 | (j < n ? v[i + j] : 0U);
        for (std::size_t j = 0; j < 4; ++j) out.push_back(j <= n ? kBase64[group >> (18 - 6 * j) & 63] : '=');
    }
    return out;
}

Result<Bytes> from_base64(std::string_view s) {
    if (s.size() % 4 != 0) return fail(Errc::malformed, "base64 whose length is no multiple of 4");
    std::size_t padding = 0;
    while (padding < 2 && padding < s.size() && s[s.size() - 1 - padding] == '=') ++padding;
    Bytes out;
    out.reserve(s.size() / 4 * 3);
    for (std::size_t i = 0; i < s.size(); i += 4) {
        const std::size_t digits = i + 4 == s.size() ? 4 - padding : 4;
        std::uint32_t group = 0;
        for (std::size_t j = 0; j < 4; ++j) {
            const std::int8_t value =
                j < digits ? kBase64Values[static_cast<std::uint8_t>(s[i + j])] : std::int8_t{0};
            if (value < 0) return fail(Errc::malformed, "not a base64 digit");
            group = group << 6 | static_cast<std::uint32_t>(value);
        }
        // RFC 4648 §3.5: bits that encode nothing must be zero, or one value would have many spellings.
        const std::uint32_t spare_bits = 8 * static_cast<std::uint32_t>(4 - digits);
        if ((group & ((1U << spare_bits) - 1)) != 0) return fail(Errc::malformed, "base64 with stray bits");
        for (std::size_t j = 0; j + 1 < digits; ++j)
            out.push_back(static_cast<std::uint8_t>(group >> (16 - 8 * j)));
    }
    return out;
}

}  // namespace mssl
