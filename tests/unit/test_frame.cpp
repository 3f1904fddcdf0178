#include <criterion/criterion.h>

#include <algorithm>
#include <random>
#include <set>

#include "tests/unit/frame_samples.h"

using namespace mssl;
using namespace mssl::test;

namespace {

std::uint8_t wire_type(const ControlFrame& frame) { return static_cast<std::uint8_t>(type_of(frame)); }

Bytes body_of(const ControlFrame& frame) {
    const Bytes whole = encode_frame(frame);
    return {whole.begin() + kFrameHeaderBytes, whole.end()};
}

Bytes frame_with(std::uint8_t type, View body) {
    Writer w;
    w.u8(type);
    w.var24(body);
    return w.take();
}

// What a stream said, written down in one form, so that two ways of reading it can be compared.
class Recorder : public FrameSink {
public:
    Status on_frame(ControlFrame frame) override {
        frames.push_back(std::move(frame));
        return {};
    }
    Result<Slot> slot(const DataHeader&, std::size_t payload_bytes) override {
        if (discard) return Slot{};
        place.assign(payload_bytes, 0xee);
        return Slot(place);
    }
    Status on_data(const DataHeader& h, View payload) override {
        headers.push_back(h);
        payloads.emplace_back(payload.begin(), payload.end());
        last_payload = payload;
        return {};
    }
    bool discard = false;
    Bytes place;
    View last_payload;
    std::vector<ControlFrame> frames;
    std::vector<DataHeader> headers;
    std::vector<Bytes> payloads;
};

const ControlFrame& sample(const std::vector<FrameSample>& all, std::string_view name) {
    const auto it = std::ranges::find(all, name, &FrameSample::name);
    cr_assert(it != all.end(), "no sample %s", std::string(name).c_str());
    return it->frame;
}

Errc decode_code(FrameType type, View body) { return decode_frame(static_cast<std::uint8_t>(type), body).code(); }

}  // namespace

Test(frame, every_type_has_samples) {
    std::set<std::size_t> alternatives;
    for (const FrameSample& s : frame_samples()) alternatives.insert(s.frame.index());
    cr_assert_eq(alternatives.size(), std::variant_size_v<ControlFrame>);
}

Test(frame, each_comes_back_as_it_went) {
    for (const FrameSample& s : frame_samples()) {
        const Bytes whole = encode_frame(s.frame);
        cr_assert_eq(whole[0], wire_type(s.frame), "%s", s.name.c_str());
        Result<ControlFrame> back = decode_frame(whole[0], View(whole).subspan(kFrameHeaderBytes));
        cr_assert(back.has_value(), "%s: %s", s.name.c_str(), back ? "" : back.error().to_string().c_str());
        cr_assert(*back == s.frame, "%s", s.name.c_str());
    }
}

Test(frame, the_largest_sample_fills_its_limit_and_fits_a_control_body) {
    for (const FrameSample& s : frame_samples()) {
        const std::size_t size = body_of(s.frame).size();
        cr_assert_leq(size, max_frame_body(type_of(s.frame)), "%s", s.name.c_str());
        cr_assert_leq(size, kMaxControlBody, "%s", s.name.c_str());
        if (s.name.ends_with("-max"))
            cr_assert_eq(size, max_frame_body(type_of(s.frame)), "%s", s.name.c_str());
    }
}

Test(frame, integers_are_big_endian) {
    const Bytes expected{0x16, 0, 0, 8, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08};
    cr_assert(encode_frame(Cancel{Handle{0x01020304}, BlockIndex{0x05060708}}) == expected);
    const auto data = encode_data_header({Handle{1}, BlockIndex{2}, 3}, kMaxDataPayload);
    const Bytes data_expected{0x18, 0x00, 0x3f, 0xfc, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3};
    cr_assert(Bytes(data.begin(), data.end()) == data_expected);
}

Test(frame, every_truncation_is_malformed) {
    for (const FrameSample& s : frame_samples()) {
        const Bytes body = body_of(s.frame);
        // Of a large body the ends say as much as the middle.
        for (std::size_t n = 0; n < body.size(); n += n > 600 && n + 600 < body.size() ? 97 : 1) {
            Result<ControlFrame> r = decode_frame(wire_type(s.frame), View(body).first(n));
            cr_assert(r.code() == Errc::malformed, "%s cut to %zu of %zu", s.name.c_str(), n, body.size());
        }
    }
}

Test(frame, a_trailing_byte_is_refused) {
    for (const FrameSample& s : frame_samples()) {
        Bytes body = body_of(s.frame);
        body.push_back(0);
        const Errc code = decode_code(type_of(s.frame), body);
        cr_assert(code == Errc::malformed || code == Errc::too_large, "%s", s.name.c_str());
    }
}

Test(frame, a_body_over_its_limit_is_refused_before_it_is_read) {
    for (const FrameSample& s : frame_samples()) {
        Recorder sink;
        FrameParser parser(sink);
        Writer header;
        header.u8(wire_type(s.frame));
        header.u24(static_cast<std::uint32_t>(max_frame_body(type_of(s.frame)) + 1));
        cr_assert(parser.feed(header.view()).code() == Errc::too_large, "%s", s.name.c_str());
        cr_assert(parser.prepare().empty());
    }
}

Test(frame, what_the_schema_does_not_allow_is_refused) {
    const std::vector<FrameSample> all = frame_samples();
    const struct {
        const char* from;
        std::size_t offset;
        std::vector<std::uint8_t> bytes;
        Errc code;
        const char* why;
    } cases[] = {
        {"hello-min", 0, {0, 0}, Errc::unsupported, "version 0"},
        {"hello-min", 0, {0, 2}, Errc::unsupported, "version 2"},
        {"hello-min", 6, {0}, Errc::unsupported, "hash 0"},
        {"hello-min", 6, {2}, Errc::unsupported, "hash 2"},
        {"hello-min", 7, {15}, Errc::malformed, "blocks of 2^15"},
        {"hello-min", 7, {19}, Errc::malformed, "blocks of 2^19"},
        {"error-one", 0, {0}, Errc::malformed, "a failure that is none"},
        {"error-one", 0, {19}, Errc::malformed, "an unknown code"},
        {"error-one", 0, {0x40}, Errc::malformed, "a local code"},
        {"error-one", 0, {0xff}, Errc::malformed, "a code out of range"},
        {"error-one", 3, {'\n'}, Errc::malformed, "a line break in a text"},
        {"error-one", 3, {0x7f}, Errc::malformed, "a control character in a text"},
        {"announced-one", 0, {2}, Errc::malformed, "a boolean of 2"},
        {"announced-one", 0, {0xff}, Errc::malformed, "a boolean of 255"},
        {"announced-one", 3, {0x1b}, Errc::malformed, "an escape in an address"},
        {"opened-max", 4, {0, 0, 0, 1, 0, 0, 0, 1}, Errc::too_large, "2^32 + 1 blocks"},
        {"close-max", 4, {2}, Errc::malformed, "a boolean of 2"},
        {"close-max", 5, {0x40}, Errc::malformed, "a local code"},
        {"have-one", 10, {0, 0, 0, 0}, Errc::malformed, "an empty range"},
        {"have-one", 6, {0xff, 0xff, 0xff, 0xff, 0, 0, 0, 2}, Errc::malformed, "a range beyond 2^32"},
        {"have-last", 14, {0, 0, 0, 6}, Errc::malformed, "ranges that overlap"},
        {"have-last", 6, {0, 0, 1, 0}, Errc::malformed, "ranges that descend"},
        {"request-max", 8, {0, 0, 0, 1, 0, 0, 0, 1}, Errc::too_large, "2^32 + 1 blocks"},
        {"request-max", 16, {0, 0, 0, 1}, Errc::malformed, "level 32"},
        {"request-max", 16, {0x80, 0, 0, 0}, Errc::malformed, "level 63"},
        {"request-max", 24, {2}, Errc::malformed, "a boolean of 2"},
        {"block-max", 8, {0, 4, 0, 1}, Errc::too_large, "a block of 256 KiB + 1"},
        {"block-max", 12, {0, 0, 0, 1, 0, 0, 0, 1}, Errc::too_large, "2^32 + 1 blocks"},
        {"block-max", 20, {0, 0, 0, 1}, Errc::malformed, "level 32"},
        {"block-one", 24, {0, 0, 0, 3}, Errc::malformed, "fewer nodes than bits"},
        {"block-one", 24, {0, 0, 0, 0}, Errc::malformed, "more nodes than bits"},
        {"refuse-min", 8, {0}, Errc::malformed, "a failure that is none"},
        {"refuse-min", 8, {0x40}, Errc::malformed, "a local code"},
        {"any-max", 4, {65}, Errc::too_large, "65 tokens"},
        {"any-max", 5, {4}, Errc::malformed, "level 4"},
        {"any-max", 6, {2}, Errc::malformed, "a boolean of 2"},
        {"peers-one", 4, {0}, Errc::malformed, "fewer said than there are"},
        {"peers-one", 4, {2}, Errc::malformed, "more said than there are"},
        {"peers-one", 55, {2}, Errc::malformed, "a boolean of 2"},
        {"progress-max", 4, {0, 0, 0, 1, 0, 0, 0, 1}, Errc::too_large, "2^32 + 1 blocks"},
        {"report-min", 36, {0}, Errc::malformed, "a failure that is none"},
        {"report-min", 36, {0x40}, Errc::malformed, "a local code"},
    };
    for (const auto& c : cases) {
        const ControlFrame& frame = sample(all, c.from);
        Bytes body = body_of(frame);
        cr_assert_leq(c.offset + c.bytes.size(), body.size(), "%s, %s", c.from, c.why);
        std::ranges::copy(c.bytes, body.begin() + static_cast<std::ptrdiff_t>(c.offset));
        const Errc code = decode_code(type_of(frame), body);
        cr_assert(code == c.code, "%s, %s: %s", c.from, c.why, std::string(errc_name(code)).c_str());
    }
}

// One more than each limit on a length or a count, where the frame itself would be within another's bounds.
Test(frame, one_more_than_a_limit_is_refused) {
    const auto var16 = [](Bytes before, std::size_t n, Bytes after) {
        Writer w;
        w.raw(before);
        w.var16(pattern(n));
        w.raw(after);
        return w.take();
    };
    const auto var24 = [](Bytes before, std::size_t n) {
        Writer w;
        w.raw(before);
        w.var24(pattern(n));
        return w.take();
    };
    Writer have;
    have.u32(1);
    have.u16(kMaxHaveRanges + 1);
    for (std::uint32_t i = 0; i <= kMaxHaveRanges; ++i) {
        have.u32(2 * i);
        have.u32(1);
    }
    Writer peers;
    peers.u32(1);
    peers.u8(kMaxPeersPerFrame + 1);
    peers.raw(Bytes((kMaxPeersPerFrame + 1) * 51));
    constexpr std::size_t cert = Certificate::kMaxCertificateBytes;
    const struct {
        FrameType type;
        Bytes body;
    } cases[] = {
        {FrameType::error, var16({1}, kMaxTextBytes + 1, {})},
        {FrameType::announced, var16({1}, kMaxTextBytes + 1, {})},
        {FrameType::enrol, var16(Bytes(96), kMaxTokenBytes + 1, {})},
        {FrameType::enrolled, var16({}, cert + 1, {0, 0, 0, 0})},
        {FrameType::enrolled, var16({0, 0}, cert + 1, {0, 0})},
        {FrameType::enrolled, var16({0, 0, 0, 0}, cert + 1, {})},
        {FrameType::open, var16(Bytes(39), cert + 1, {})},
        {FrameType::open, var24(Bytes(36), kMaxObjectDer + 1)},
        {FrameType::head, var24(Bytes(4), kMaxObjectDer + 1)},
        {FrameType::ticket, var24(Bytes(4), kMaxObjectDer + 1)},
        {FrameType::opened, var24(Bytes(12), kMaxBitfieldBytes + 1)},
        {FrameType::progress, var24(Bytes(12), kMaxBitfieldBytes + 1)},
        {FrameType::have, have.take()},
        {FrameType::peers, peers.take()},
    };
    for (const auto& c : cases) {
        const Errc code = decode_code(c.type, c.body);
        cr_assert(code == Errc::too_large, "%s: %s", std::string(frame_name(c.type)).c_str(),
                  std::string(errc_name(code)).c_str());
    }
}

Test(frame, codes_of_this_side_alone_leave_as_busy) {
    cr_assert(wire_code(Errc::io) == Errc::busy);
    cr_assert(wire_code(Errc::internal) == Errc::busy);
    cr_assert(wire_code(Errc::ok) == Errc::busy);
    cr_assert(wire_code(Errc::truncated) == Errc::malformed);
    for (std::uint16_t code = 1; code <= static_cast<std::uint16_t>(Errc::shutting_down); ++code)
        cr_assert(wire_code(Errc{code}) == Errc{code}, "%u", code);
    const Bytes body = body_of(Refuse{Handle{1}, BlockIndex{2}, Errc::no_space});
    Result<ControlFrame> back = decode_frame(static_cast<std::uint8_t>(FrameType::refuse), body);
    cr_assert(back.has_value());
    cr_assert(std::get<Refuse>(*back).code == Errc::busy);
}

Test(frame, control_characters_leave_an_error_text_as_question_marks) {
    Result<ControlFrame> back = decode_frame(0x02, body_of(ErrorFrame{Errc::busy, "a\nb\x1b[0m\x7f"}));
    cr_assert(back.has_value());
    cr_assert_eq(std::get<ErrorFrame>(*back).text, "a?b?[0m?");
}

Test(frame, unknown_types_are_unexpected) {
    for (int type = 0; type < 256; ++type) {
        const auto byte = static_cast<std::uint8_t>(type);
        const bool known = frame_type(byte).has_value();
        if (!known || byte == static_cast<std::uint8_t>(FrameType::data))
            cr_assert(decode_frame(byte, Bytes(8)).code() == Errc::unexpected, "%d", type);
        if (known) continue;
        Recorder sink;
        FrameParser parser(sink);
        cr_assert(parser.feed(frame_with(byte, Bytes(8))).code() == Errc::unexpected, "%d", type);
    }
}

Test(frame, names_are_told_apart) {
    std::set<std::string_view> names;
    int known = 0;
    for (int type = 0; type < 256; ++type) {
        const std::optional<FrameType> t = frame_type(static_cast<std::uint8_t>(type));
        if (!t) continue;
        ++known;
        names.insert(frame_name(*t));
    }
    cr_assert_eq(names.size(), static_cast<std::size_t>(known));
    cr_assert_eq(static_cast<std::size_t>(known), std::variant_size_v<ControlFrame> + 1);
}

Test(parser, byte_by_byte_and_whole_say_the_same) {
    Bytes stream;
    for (const FrameSample& s : frame_samples()) {
        const Bytes one = encode_frame(s.frame);
        stream.insert(stream.end(), one.begin(), one.end());
        const Bytes data = data_frame({Handle{5}, BlockIndex{6}, 7}, pattern(1 + one.size() % kMaxDataPayload));
        stream.insert(stream.end(), data.begin(), data.end());
    }
    Recorder whole;
    FrameParser whole_parser(whole);
    cr_assert(whole_parser.feed(stream).has_value());
    cr_assert(whole_parser.at_boundary());

    Recorder bytewise;
    FrameParser parser(bytewise);
    for (std::uint8_t byte : stream) cr_assert(parser.feed({&byte, 1}).has_value());
    cr_assert(parser.at_boundary());

    Recorder random;
    FrameParser random_parser(random);
    std::mt19937 rng(20240611);
    for (View left = stream; !left.empty();) {
        const std::size_t n = std::min<std::size_t>(left.size(), 1 + rng() % 40000);
        cr_assert(random_parser.feed(left.first(n)).has_value());
        left = left.subspan(n);
    }

    cr_assert_eq(whole.frames.size(), frame_samples().size());
    for (const Recorder* other : {&bytewise, &random}) {
        cr_assert(whole.frames == other->frames);
        cr_assert(whole.headers == other->headers);
        cr_assert(whole.payloads == other->payloads);
    }
}

Test(parser, payload_is_read_straight_into_its_slot) {
    Recorder sink;
    FrameParser parser(sink);
    const Bytes payload = pattern(1000);
    const Bytes frame = data_frame({Handle{1}, BlockIndex{2}, 3}, payload);
    cr_assert(parser.feed(View(frame).first(16)).has_value());
    cr_assert(parser.prepare().data() == sink.place.data());
    cr_assert_eq(parser.prepare().size(), payload.size());
    cr_assert(parser.feed(View(frame).subspan(16, 400)).has_value());
    cr_assert(parser.prepare().data() == sink.place.data() + 400);
    cr_assert(!parser.at_boundary());
    cr_assert(parser.feed(View(frame).subspan(416)).has_value());
    cr_assert(sink.last_payload.data() == sink.place.data());
    cr_assert(sink.place == payload);
    cr_assert(parser.at_boundary());
}

Test(parser, a_payload_without_a_slot_is_read_and_thrown_away) {
    Recorder sink;
    sink.discard = true;
    FrameParser parser(sink);
    for (std::size_t n : {std::size_t{1}, kMaxDataPayload, std::size_t{17}})
        cr_assert(parser.feed(data_frame({Handle{1}, BlockIndex{2}, 3}, pattern(n))).has_value());
    cr_assert(parser.feed(encode_frame(Ping{9})).has_value());
    cr_assert_eq(sink.payloads.size(), 3U);
    for (const Bytes& p : sink.payloads) cr_assert(p.empty());
    cr_assert(sink.frames == std::vector<ControlFrame>{Ping{9}});
}

Test(parser, the_largest_payload_passes_and_one_byte_more_does_not) {
    Recorder sink;
    FrameParser parser(sink);
    cr_assert(parser.feed(data_frame({}, pattern(kMaxDataPayload))).has_value());
    cr_assert_eq(sink.payloads.at(0).size(), kMaxDataPayload);
    cr_assert(parser.feed(frame_with(0x18, pattern(kDataHeaderBytes + kMaxDataPayload + 1))).code() == Errc::too_large);
}

Test(parser, data_without_payload_is_malformed) {
    for (std::size_t n = 0; n <= kDataHeaderBytes; ++n) {
        Recorder sink;
        FrameParser parser(sink);
        cr_assert(parser.feed(frame_with(0x18, Bytes(n))).code() == Errc::malformed, "%zu", n);
    }
}

Test(parser, an_empty_body_is_malformed) {
    for (const FrameSample& s : frame_samples()) {
        Recorder sink;
        FrameParser parser(sink);
        cr_assert(parser.feed(frame_with(wire_type(s.frame), {})).code() == Errc::malformed, "%s", s.name.c_str());
    }
}

Test(parser, stays_failed) {
    Recorder sink;
    FrameParser parser(sink);
    cr_assert(!parser.feed(Bytes{0xff, 0, 0, 1}).has_value());
    cr_assert(parser.prepare().empty());
    cr_assert(!parser.feed(encode_frame(Ping{1})).has_value());
    cr_assert(sink.frames.empty());
    cr_assert(!parser.at_boundary());
}

Test(parser, an_error_of_the_sink_comes_out) {
    class Refusing : public Recorder {
        Status on_frame(ControlFrame) override { return fail(Errc::denied, "no"); }
        Result<Slot> slot(const DataHeader&, std::size_t) override { return fail(Errc::no_such_object, "no"); }
    };
    Refusing sink;
    FrameParser control(sink), data(sink);
    cr_assert(control.feed(encode_frame(Ping{1})).code() == Errc::denied);
    cr_assert(data.feed(data_frame({}, pattern(4))).code() == Errc::no_such_object);
}

Test(parser, garbage_never_crashes_and_ends_in_an_error) {
    for (unsigned seed = 0; seed < 300; ++seed) {
        std::mt19937 rng(seed);
        Recorder sink;
        FrameParser parser(sink);
        Status s;
        // 64 KiB of noise hold an illegal type with certainty: 25 of 256 are known.
        for (int i = 0; i < 4096 && s; ++i) {
            Bytes noise(16);
            for (std::uint8_t& b : noise) b = static_cast<std::uint8_t>(rng());
            s = parser.feed(noise);
        }
        // A length of up to 192 KiB may swallow it all: then the stream ends inside a frame.
        cr_assert(!s || !parser.at_boundary(), "seed %u", seed);
    }
}

// Every sample with each of its bits turned, one at a time: an error, or a frame that is encoded as it came.
Test(parser, a_turned_bit_is_noticed_or_means_what_it_says) {
    for (const FrameSample& s : frame_samples()) {
        Bytes body = body_of(s.frame);
        for (std::size_t bit = 0; bit < std::min<std::size_t>(body.size(), 300) * 8; ++bit) {
            body[bit / 8] ^= static_cast<std::uint8_t>(1U << (bit % 8));
            Result<ControlFrame> r = decode_frame(wire_type(s.frame), body);
            if (r) cr_assert(body_of(*r) == body, "%s bit %zu", s.name.c_str(), bit);
            body[bit / 8] ^= static_cast<std::uint8_t>(1U << (bit % 8));
        }
    }
}
