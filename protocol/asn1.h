// The part of DER (ITU-T X.690) that protocol/mssl.asn1 uses, read strictly and written.
//
// Own code rather than OpenSSL's ASN1_SEQUENCE templates: d2i takes BER, so every object would have to be encoded
// again to be trusted, each INTEGER is an allocation, and the templates' macros do not compile without warnings. What
// is left is one tag, one length and seven primitive types; all bounds are checked in one place, element().
//
// Tags are single bytes, lengths definite and minimal, INTEGER and ENUMERATED non-negative and minimal, BOOLEAN 0x00
// or 0xff, GeneralizedTime YYYYMMDDHHMMSSZ.
//
// Thread rules: values.
#pragma once

#include <string>
#include <string_view>

#include "protocol/bytes.h"
#include "protocol/result.h"
#include "protocol/types.h"

namespace mssl {

enum class DerTag : std::uint8_t {
    boolean = 0x01,
    integer = 0x02,
    octets = 0x04,
    oid = 0x06,
    enumerated = 0x0a,
    ia5_string = 0x16,
    generalized_time = 0x18,
    sequence = 0x30,
};

// 9999-12-31T23:59:59Z: the last second that a GeneralizedTime can say.
inline constexpr std::int64_t kMaxDerTime = 253402300799;

// Reads values from a view it does not own. The first failure sticks: later reads give zeros and empty views, so a
// decoder reads all its fields and checks finish() once.
class DerReader {
public:
    explicit DerReader(View input) : input_(input), end_(input.size()) {}

    // Reads the elements of a SEQUENCE with inside(); more than it reads is malformed.
    template <class F>
    void sequence(F&& inside) {
        const View content = element(DerTag::sequence);
        if (failed()) return;
        const std::size_t outer_end = end_;
        end_ = at_;
        at_ -= content.size();
        inside();
        if (!failed() && at_ != end_) reject(Errc::malformed, "more elements than the syntax has");
        at_ = end_;
        end_ = outer_end;
    }
    // Elements are left in the innermost sequence.
    bool more() const { return !failed() && at_ < end_; }

    std::uint64_t integer();
    // 0 … max; more is `unsupported`: a value of a later version.
    std::uint8_t enumerated(std::uint8_t max);
    bool boolean();
    // Longer than max is too_large. Views point into the input.
    View octets(std::size_t max);
    template <class F>
    F fixed() {
        const View v = octets(F::size);
        if (v.size() == F::size) return F::from(v);
        reject(Errc::malformed, "length of an OCTET STRING");
        return F{};
    }
    std::string octet_text(std::size_t max);
    std::string ia5(std::size_t max);
    // Unix seconds, 0 … kMaxDerTime.
    std::int64_t time();
    // Content octets.
    View oid();
    // The next element with tag and length, whatever is inside.
    View whole(DerTag tag);

    void reject(Errc code, std::string_view why);
    bool failed() const { return code_ != Errc::ok; }
    // Ok when nothing failed and every byte was read.
    Status finish(std::string_view what) const;

private:
    View element(DerTag tag);
    std::uint64_t unsigned_number(DerTag tag);
    std::uint8_t next();

    View input_;
    std::size_t at_ = 0;
    std::size_t end_;
    Errc code_ = Errc::ok;
    std::string why_;
};

// Appends to a buffer of its own.
class DerWriter {
public:
    // A SEQUENCE of what inside() writes here.
    template <class F>
    void sequence(F&& inside) {
        const std::size_t begin = out_.size();
        inside();
        insert_header(begin, DerTag::sequence);
    }
    void integer(std::uint64_t v) { number(DerTag::integer, v); }
    void enumerated(std::uint8_t v) { number(DerTag::enumerated, v); }
    void boolean(bool v);
    void octets(View v) { element(DerTag::octets, v); }
    void octets(std::string_view v) { octets(as_view(v)); }
    void ia5(std::string_view v) { element(DerTag::ia5_string, as_view(v)); }
    // 0 … kMaxDerTime; beyond it terminates: times are checked where data enters.
    void time(std::int64_t unix_seconds);
    void oid(View content) { element(DerTag::oid, content); }
    // Elements encoded elsewhere.
    void raw(View v) { out_.insert(out_.end(), v.begin(), v.end()); }
    Bytes take() { return std::move(out_); }

private:
    void element(DerTag tag, View content);
    void number(DerTag tag, std::uint64_t v);
    void insert_header(std::size_t begin, DerTag tag);

    Bytes out_;
};

}  // namespace mssl
