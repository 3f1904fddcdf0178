#include <criterion/criterion.h>

#include <csignal>
#include <string>

#include "protocol/bytes.h"

using namespace mssl;

namespace {

Bytes bytes_of(std::initializer_list<int> values) {
    Bytes out;
    for (const int v : values) out.push_back(static_cast<std::uint8_t>(v));
    return out;
}

}  // namespace

Test(bytes, integers_are_big_endian) {
    Writer w;
    w.u8(0x01);
    w.u16(0x0203);
    w.u24(0x040506);
    w.u32(0x0708090a);
    w.u64(0x0b0c0d0e0f101112);
    Bytes expected;
    for (std::uint8_t i = 1; i <= 0x12; ++i) expected.push_back(i);
    cr_assert(w.take() == expected);
}

Test(bytes, what_the_writer_wrote_the_reader_reads) {
    const auto id = Hash::from(Bytes(32, 0x5a));
    Writer w;
    w.u8(0xff);
    w.u16(0xffff);
    w.u24(0xffffff);
    w.u32(0xffffffff);
    w.u64(0xffffffffffffffff);
    w.fixed(id);
    w.var8(bytes_of({1, 2, 3}));
    w.var16({});
    w.var24(Bytes(70000, 9));
    w.string16("häuser");
    w.raw(bytes_of({7}));

    Reader r(w.view());
    cr_assert_eq(r.u8(), 0xff);
    cr_assert_eq(r.u16(), 0xffff);
    cr_assert_eq(r.u24(), 0xffffffU);
    cr_assert_eq(r.u32(), 0xffffffffU);
    cr_assert_eq(r.u64(), 0xffffffffffffffffU);
    cr_assert(r.fixed<Hash>() == id);
    const View three = r.var8(3);
    cr_assert(Bytes(three.begin(), three.end()) == bytes_of({1, 2, 3}));
    cr_assert(r.var16(0).empty());
    cr_assert_eq(r.var24(70000).size(), 70000U);
    cr_assert_eq(r.string16(100), "häuser");
    cr_assert_eq(r.remaining(), 1U);
    cr_assert_eq(r.raw(1)[0], 7);
    cr_assert(r.finish("all"));
}

Test(bytes, every_field_that_is_cut_short_is_truncated) {
    using Read = void (*)(Reader&);
    const struct {
        const char* name;
        std::size_t needs;
        Read read;
    } rows[] = {
        {"u8", 1, [](Reader& r) { r.u8(); }},
        {"u16", 2, [](Reader& r) { r.u16(); }},
        {"u24", 3, [](Reader& r) { r.u24(); }},
        {"u32", 4, [](Reader& r) { r.u32(); }},
        {"u64", 8, [](Reader& r) { r.u64(); }},
        {"raw", 5, [](Reader& r) { r.raw(5); }},
        {"fixed", 32, [](Reader& r) { r.fixed<Hash>(); }},
        {"var8", 3, [](Reader& r) { r.var8(2); }},
        {"var16", 4, [](Reader& r) { r.var16(2); }},
        {"var24", 5, [](Reader& r) { r.var24(2); }},
        {"string16", 4, [](Reader& r) { r.string16(2); }},
    };
    for (const auto& row : rows) {
        Bytes input(row.needs, 0);
        const std::string name = row.name;
        if (name == "var8") input = bytes_of({2, 0, 0});
        if (name == "var16" || name == "string16") input = bytes_of({0, 2, 0, 0});
        if (name == "var24") input = bytes_of({0, 0, 2, 0, 0});
        for (std::size_t have = 0; have <= row.needs; ++have) {
            Reader r(View(input).first(have));
            row.read(r);
            const Status s = r.finish("field");
            if (have == row.needs)
                cr_assert(s, "%s of %zu bytes", row.name, have);
            else
                cr_assert(s.code() == Errc::truncated, "%s of %zu bytes", row.name, have);
        }
    }
}

Test(bytes, a_length_over_the_limit_is_too_large_even_when_the_bytes_are_there) {
    const Bytes input = bytes_of({3, 1, 2, 3});
    Reader r(input);
    cr_assert(r.var8(2).empty());
    cr_assert(r.status("f").code() == Errc::too_large);
    const Bytes long_prefix = bytes_of({0xff, 0xff, 0xff});
    Reader huge(long_prefix);
    huge.var24(16);
    cr_assert(huge.status("f").code() == Errc::too_large,
              "a length beyond the limit is told before the end is");
}

Test(bytes, the_first_failure_sticks_and_later_reads_give_nothing) {
    const Bytes input = bytes_of({1, 2, 3, 4});
    Reader r(input);
    r.u16();
    r.reject(Errc::unsupported, "version 258");
    cr_assert_eq(r.u8(), 0);
    cr_assert(r.raw(1).empty());
    cr_assert_eq(r.remaining(), 0U);
    cr_assert(r.failed());
    r.reject(Errc::malformed, "later");
    const Status s = r.finish("hello");
    cr_assert(s.code() == Errc::unsupported);
    cr_assert_eq(s.error().detail, "hello: at byte 2: version 258");
}

Test(bytes, finish_wants_every_byte_read_and_status_does_not) {
    const Bytes input = bytes_of({1, 2});
    Reader r(input);
    r.u8();
    cr_assert(r.status("x"));
    cr_assert(r.finish("x").code() == Errc::malformed);
    r.u8();
    cr_assert(r.finish("x"));
    cr_assert(Reader(View{}).finish("nothing"));
}

Test(bytes, a_prefix_takes_as_many_bytes_as_it_can_say) {
    Writer w;
    w.var8(Bytes(255));
    w.var16(Bytes(65535));
    cr_assert_eq(w.size(), 256U + 65537U);
}

Test(bytes, more_than_var8_can_say_ends_the_program, .signal = SIGABRT) { Writer().var8(Bytes(256)); }
Test(bytes, more_than_var16_can_say_ends_the_program, .signal = SIGABRT) { Writer().var16(Bytes(65536)); }
Test(bytes, more_than_var24_can_say_ends_the_program, .signal = SIGABRT) { Writer().var24(Bytes(1 << 24)); }
Test(bytes, more_than_u24_can_say_ends_the_program, .signal = SIGABRT) { Writer().u24(1 << 24); }

Test(bytes, hexadecimal_there_and_back) {
    cr_assert_eq(to_hex({}), "");
    cr_assert_eq(to_hex(bytes_of({0x00, 0x9f, 0xff})), "009fff");
    cr_assert(*from_hex("009fFF") == bytes_of({0x00, 0x9f, 0xff}));
    cr_assert(from_hex("")->empty());
    Bytes all(256);
    for (std::size_t i = 0; i < 256; ++i) all[i] = static_cast<std::uint8_t>(i);
    cr_assert(*from_hex(to_hex(all)) == all);
}

Test(bytes, what_is_not_hexadecimal_is_malformed) {
    for (const char* s : {"0", "abc", "0g", "g0", " 0", "0x", "00 ", "\xff\xff"})
        cr_assert(from_hex(s).code() == Errc::malformed, "%s", s);
}

// RFC 4648 section 10.
Test(bytes, base64_as_the_rfc_has_it) {
    const struct {
        const char* plain;
        const char* encoded;
    } rows[] = {{"", ""},
                {"f", "Zg=="},
                {"fo", "Zm8="},
                {"foo", "Zm9v"},
                {"foob", "Zm9vYg=="},
                {"fooba", "Zm9vYmE="},
                {"foobar", "Zm9vYmFy"}};
    for (const auto& row : rows) {
        const View plain = as_view(row.plain);
        cr_assert_eq(to_base64(plain), row.encoded);
        cr_assert(*from_base64(row.encoded) == Bytes(plain.begin(), plain.end()), "%s", row.encoded);
    }
    for (std::size_t n = 0; n < 300; ++n) {
        Bytes data(n);
        for (std::size_t i = 0; i < n; ++i) data[i] = static_cast<std::uint8_t>(i * 7 + n);
        cr_assert(*from_base64(to_base64(data)) == data, "%zu bytes", n);
    }
}

Test(bytes, base64_has_one_spelling_a_value) {
    for (const char* s : {"Zg=", "Zg", "Z", "Z===", "====", "Zh==", "Zm9=", "Zg==Zg==", "=Zg=", "Zm9v\n",
                          "Zm 9", "Zm-_", "Zg=g", "Zm9v====", "\xc3\xa4\xc3\xa4"})
        cr_assert(from_base64(s).code() == Errc::malformed, "%s", s);
}
