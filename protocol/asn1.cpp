#include "protocol/asn1.h"

#include <array>
#include <chrono>
#include <cstdio>

namespace mssl {
namespace {

// Four length octets say more than any object of ours may have; longer forms are refused unread.
constexpr unsigned kMaxLengthOctets = 4;
constexpr std::size_t kTimeChars = 15;  // YYYYMMDDHHMMSSZ

// Two or four decimal digits; -1 when they are not.
int digits(View text, std::size_t at, std::size_t n) {
    int v = 0;
    for (std::size_t i = at; i < at + n; ++i) {
        if (text[i] < '0' || text[i] > '9') return -1;
        v = v * 10 + (text[i] - '0');
    }
    return v;
}

}  // namespace

void DerReader::reject(Errc code, std::string_view why) {
    if (failed()) return;
    code_ = code;
    why_ = why;
}

std::uint8_t DerReader::next() {
    if (failed()) return 0;
    if (at_ >= end_) {
        reject(Errc::malformed, "DER ends too early");
        return 0;
    }
    return input_[at_++];
}

// X.690 §8.1, §10.1: one tag byte, definite length in the fewest octets, content within the enclosing element.
View DerReader::element(DerTag tag) {
    if (next() != static_cast<std::uint8_t>(tag))
        reject(Errc::malformed, "another DER tag than the syntax has");
    std::uint64_t length = next();
    if (length >= 0x80) {
        const unsigned octets = static_cast<unsigned>(length & 0x7f);
        if (octets == 0 || octets > kMaxLengthOctets) {
            reject(Errc::malformed, "DER length form");
            return {};
        }
        length = 0;
        for (unsigned i = 0; i < octets; ++i) length = length << 8 | next();
        if (length < 0x80 || length >> (8 * (octets - 1)) == 0)
            reject(Errc::malformed, "DER length is not minimal");
    }
    if (!failed() && length > end_ - at_) reject(Errc::malformed, "DER length goes beyond what encloses it");
    if (failed()) return {};
    const View content = input_.subspan(at_, static_cast<std::size_t>(length));
    at_ += content.size();
    return content;
}

View DerReader::whole(DerTag tag) {
    const std::size_t begin = at_;
    element(tag);
    return failed() ? View{} : input_.subspan(begin, at_ - begin);
}

// X.690 §8.3: two's complement in the fewest octets. Up to 64 bits, with an octet of zeros before a set top bit.
std::uint64_t DerReader::unsigned_number(DerTag tag) {
    const View v = element(tag);
    if (failed()) return 0;
    if (v.empty() || v[0] >= 0x80 || (v.size() > 1 && v[0] == 0 && v[1] < 0x80)) {
        reject(Errc::malformed, "a number that is empty, negative or not minimal");
        return 0;
    }
    if (v.size() > 9 || (v.size() == 9 && v[0] != 0)) {
        reject(Errc::too_large, "a number of more than 64 bits");
        return 0;
    }
    std::uint64_t out = 0;
    for (const std::uint8_t b : v) out = out << 8 | b;
    return out;
}

std::uint64_t DerReader::integer() { return unsigned_number(DerTag::integer); }

std::uint8_t DerReader::enumerated(std::uint8_t max) {
    const std::uint64_t v = unsigned_number(DerTag::enumerated);
    if (v <= max) return static_cast<std::uint8_t>(v);
    reject(Errc::unsupported, "an ENUMERATED value that this version does not know");
    return 0;
}

bool DerReader::boolean() {
    const View v = element(DerTag::boolean);
    if (!failed() && (v.size() != 1 || (v[0] != 0 && v[0] != 0xff))) reject(Errc::malformed, "BOOLEAN");
    return !failed() && v[0] != 0;
}

View DerReader::octets(std::size_t max) {
    const View v = element(DerTag::octets);
    if (v.size() > max) reject(Errc::too_large, "OCTET STRING");
    return failed() ? View{} : v;
}

std::string DerReader::octet_text(std::size_t max) {
    const View v = octets(max);
    return {v.begin(), v.end()};
}

std::string DerReader::ia5(std::size_t max) {
    const View v = element(DerTag::ia5_string);
    if (v.size() > max) reject(Errc::too_large, "IA5String");
    for (const std::uint8_t b : v)
        if (b >= 0x80) reject(Errc::malformed, "IA5String");
    return failed() ? std::string() : std::string(v.begin(), v.end());
}

std::int64_t DerReader::time() {
    const View v = element(DerTag::generalized_time);
    if (failed()) return 0;
    if (v.size() != kTimeChars || v[kTimeChars - 1] != 'Z') {
        reject(Errc::malformed, "GeneralizedTime");
        return 0;
    }
    using namespace std::chrono;
    const int y = digits(v, 0, 4), mo = digits(v, 4, 2), d = digits(v, 6, 2);
    const int h = digits(v, 8, 2), mi = digits(v, 10, 2), s = digits(v, 12, 2);
    if (y < 1970 || mo < 1 || d < 1 || h < 0 || h > 23 || mi < 0 || mi > 59 || s < 0 || s > 59) {
        reject(Errc::malformed, "GeneralizedTime");
        return 0;
    }
    const year_month_day date{year{y}, month{static_cast<unsigned>(mo)}, day{static_cast<unsigned>(d)}};
    if (!date.ok()) reject(Errc::malformed, "GeneralizedTime: no such day");
    return failed() ? 0 : (sys_days{date} + hours{h} + minutes{mi} + seconds{s}).time_since_epoch().count();
}

View DerReader::oid() { return element(DerTag::oid); }

Status DerReader::finish(std::string_view what) const {
    if (failed()) return fail(code_, std::string(what) + ": " + why_);
    if (at_ != input_.size()) return fail(Errc::malformed, std::string(what) + ": bytes behind the object");
    return {};
}

void DerWriter::insert_header(std::size_t begin, DerTag tag) {
    std::size_t length = out_.size() - begin;
    std::array<std::uint8_t, 2 + sizeof length> header{};
    std::size_t at = header.size();
    if (length < 0x80) {
        header[--at] = static_cast<std::uint8_t>(length);
    } else {
        std::uint8_t octets = 0;
        for (; length != 0; length >>= 8, ++octets) header[--at] = static_cast<std::uint8_t>(length);
        header[--at] = static_cast<std::uint8_t>(0x80 | octets);
    }
    header[--at] = static_cast<std::uint8_t>(tag);
    out_.insert(out_.begin() + static_cast<std::ptrdiff_t>(begin),
                header.begin() + static_cast<std::ptrdiff_t>(at), header.end());
}

void DerWriter::element(DerTag tag, View content) {
    const std::size_t begin = out_.size();
    raw(content);
    insert_header(begin, tag);
}

void DerWriter::number(DerTag tag, std::uint64_t v) {
    std::array<std::uint8_t, 9> octets{};
    std::size_t at = octets.size();
    do {
        octets[--at] = static_cast<std::uint8_t>(v);
        v >>= 8;
    } while (v != 0);
    if (octets[at] >= 0x80) --at;  // else it would read as negative
    element(tag, View(octets).subspan(at));
}

void DerWriter::boolean(bool v) {
    const std::uint8_t content = v ? 0xff : 0x00;
    element(DerTag::boolean, {&content, 1});
}

void DerWriter::time(std::int64_t unix_seconds) {
    if (unix_seconds < 0 || unix_seconds > kMaxDerTime) std::terminate();
    using namespace std::chrono;
    const sys_seconds at{seconds{unix_seconds}};
    const sys_days midnight = floor<days>(at);
    const year_month_day date{midnight};
    const hh_mm_ss clock{at - midnight};
    std::array<char, 64> text{};
    const int n =
        std::snprintf(text.data(), text.size(), "%04d%02u%02u%02d%02d%02dZ", static_cast<int>(date.year()),
                      static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                      static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
                      static_cast<int>(clock.seconds().count()));
    element(DerTag::generalized_time, as_view({text.data(), static_cast<std::size_t>(n)}));
}

}  // namespace mssl
