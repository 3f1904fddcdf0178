// The one bounds-checked reader and writer. All integers are big-endian.
#pragma once

#include <string>
#include <string_view>

#include "protocol/result.h"
#include "protocol/types.h"

namespace mssl {

// Reads typed values from a view it does not own. The first failure sticks: later reads return zeros and
// empty views, so a decoder reads all its fields and checks finish() once.
// Thread rules: none shared; a Reader is a value.
class Reader {
public:
    explicit Reader(View input) : input_(input) {}

    std::uint8_t u8();
    std::uint16_t u16();
    std::uint32_t u24();
    std::uint32_t u32();
    std::uint64_t u64();
    // n bytes, pointing into the input.
    View raw(std::size_t n);
    // A length-prefixed view of at most max bytes: with more, fails with too_large.
    View var8(std::size_t max);
    View var16(std::size_t max);
    View var24(std::size_t max);
    std::string string16(std::size_t max);
    template <class F>
    F fixed() {
        View v = raw(F::size);
        return v.size() == F::size ? F::from(v) : F{};
    }
    std::size_t remaining() const { return failed_ ? 0 : input_.size() - at_; }
    // Marks the input as not what the syntax allows.
    void reject(Errc code, std::string_view why);
    bool failed() const { return failed_; }

    // Ok when nothing failed and every byte was read. what names the message for the error's detail.
    Status finish(std::string_view what) const;
    // Ok when nothing failed; bytes may remain.
    Status status(std::string_view what) const;

private:
    View input_;
    std::size_t at_ = 0;
    bool failed_ = false;
    Errc code_ = Errc::ok;
    std::string why_;
};

// Appends to a buffer of its own. var* with more bytes than the prefix can say terminates: lengths are
// checked where data enters.
class Writer {
public:
    void u8(std::uint8_t v);
    void u16(std::uint16_t v);
    void u24(std::uint32_t v);
    void u32(std::uint32_t v);
    void u64(std::uint64_t v);
    void raw(View v);
    void var8(View v);
    void var16(View v);
    void var24(View v);
    void string16(std::string_view v);
    template <class F>
    void fixed(const F& f) {
        raw(f.view());
    }
    std::size_t size() const { return out_.size(); }
    View view() const { return out_; }
    Bytes take() { return std::move(out_); }

private:
    Bytes out_;
};

std::string to_hex(View v);
// Exactly an even number of hexadecimal digits, either case; else malformed.
Result<Bytes> from_hex(std::string_view s);
std::string to_base64(View v);  // RFC 4648 §4, padded
Result<Bytes> from_base64(std::string_view s);

}  // namespace mssl
