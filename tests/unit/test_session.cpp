#include <criterion/criterion.h>

#include <algorithm>
#include <csignal>
#include <functional>
#include <map>
#include <memory>
#include <random>

#include "protocol/session.h"
#include "tests/unit/frame_samples.h"

using namespace mssl;
using namespace mssl::test;

namespace {

constexpr MonoTime at(std::int64_t us) { return MonoTime{Duration{us}}; }

class Owner : public SessionHandler {
public:
    void on_ready(const Hello& peer) override {
        ++ready;
        hello = peer;
    }
    Status on_frame(ControlFrame frame) override {
        if (answer) {
            if (Status s = answer(frame); !s) return s;
        }
        frames.push_back(std::move(frame));
        return {};
    }
    Result<Slot> slot(const DataHeader&, std::size_t payload_bytes) override {
        place.assign(payload_bytes, 0);
        return Slot(place);
    }
    Status on_data(const DataHeader& h, View payload) override {
        Bytes& block = blocks[{h.handle.v, h.block.v}];
        cr_assert_eq(block.size(), h.offset);
        block.insert(block.end(), payload.begin(), payload.end());
        return {};
    }
    void on_rtt(Duration d) override { rtts.push_back(d); }

    int ready = 0;
    Hello hello;
    std::function<Status(const ControlFrame&)> answer;
    std::vector<ControlFrame> frames;
    std::map<std::pair<std::uint32_t, std::uint32_t>, Bytes> blocks;
    Bytes place;
    std::vector<Duration> rtts;
};

struct Side {
    explicit Side(SessionRole role, const Hello& own = {}) : session(role, own, owner) {}
    // Places bytes as a socket would.
    Status feed(View input, MonoTime now = {}) {
        while (!input.empty()) {
            const MutableView place = session.prepare();
            const std::size_t n = std::min(place.size(), input.size());
            std::copy_n(input.begin(), n, place.begin());
            if (Status s = session.commit(n, now); !s) return s;
            input = input.subspan(n);
        }
        return {};
    }
    Status feed(const ControlFrame& frame, MonoTime now = {}) { return feed(encode_frame(frame), now); }
    Bytes drain() {
        Bytes out;
        while (std::optional<OutChunk> c = session.next_chunk()) {
            out.insert(out.end(), c->header.begin(), c->header.end());
            out.insert(out.end(), c->payload.begin(), c->payload.end());
        }
        return out;
    }
    void hello() {
        cr_assert(feed(Hello{}).has_value());
        drain();
    }
    Owner owner;
    Session session;
};

// What a stream of frames says, without a session's rules.
struct Tape : FrameSink {
    Status on_frame(ControlFrame frame) override {
        order.push_back(type_of(frame));
        frames.push_back(std::move(frame));
        return {};
    }
    Result<Slot> slot(const DataHeader&, std::size_t) override { return Slot{}; }
    Status on_data(const DataHeader&, View) override {
        order.push_back(FrameType::data);
        return {};
    }
    std::vector<FrameType> order;
    std::vector<ControlFrame> frames;
};
Tape read(View stream) {
    Tape tape;
    FrameParser parser(tape);
    cr_assert(parser.feed(stream).has_value());
    cr_assert(parser.at_boundary());
    return tape;
}
Errc error_sent(Side& side) {
    const Tape tape = read(side.drain());
    if (tape.frames.empty() || !std::holds_alternative<ErrorFrame>(tape.frames.back())) return Errc::ok;
    return std::get<ErrorFrame>(tape.frames.back()).code;
}

PayloadRef payload(std::uint32_t length, std::uint8_t seed = 1) {
    std::shared_ptr<std::uint8_t[]> data(new std::uint8_t[length]);
    for (std::uint32_t i = 0; i < length; ++i) data[i] = static_cast<std::uint8_t>(i * 31 + seed);
    return {Handle{1}, BlockIndex{0}, data, length};
}
BlockFrame block(std::uint32_t index, std::uint32_t length) {
    BlockFrame b;
    b.handle = Handle{1};
    b.block = BlockIndex{index};
    b.length = length;
    b.head_blocks = 1000;
    return b;
}
void send_block(Session& s, std::uint32_t index, std::uint32_t length) {
    s.send_block(block(index, length), payload(length, static_cast<std::uint8_t>(index)));
}

constexpr SessionRole kRoles[] = {SessionRole::member_to_server, SessionRole::server_to_member,
                                  SessionRole::member_to_member};
const char* name(SessionRole role) {
    switch (role) {
    case SessionRole::member_to_server: return "member to server";
    case SessionRole::server_to_member: return "server to member";
    case SessionRole::member_to_member: return "member to member";
    }
    return "";
}

// The table of mssl-protocol(7), SESSIONS, written a second time: what this role takes.
bool takes(SessionRole role, FrameType type) {
    using enum FrameType;
    const std::vector<FrameType> always{error, ping, pong};
    const std::vector<FrameType> by_server{enrol, announce, open, close, request, cancel, any, progress, renew, report};
    const std::vector<FrameType> by_member{enrolled, announced, opened, close, have, head, block,
                                           data, refuse, all_out, peers, ticket};
    const std::vector<FrameType> by_peer{open, opened, close, have, head, request, cancel, block, data, refuse};
    const auto in = [type](const std::vector<FrameType>& v) { return std::ranges::find(v, type) != v.end(); };
    switch (role) {
    case SessionRole::member_to_server: return in(always) || in(by_member);
    case SessionRole::server_to_member: return in(always) || in(by_server);
    case SessionRole::member_to_member: return in(always) || in(by_peer);
    }
    return false;
}
SessionRole opposite(SessionRole role) {
    switch (role) {
    case SessionRole::member_to_server: return SessionRole::server_to_member;
    case SessionRole::server_to_member: return SessionRole::member_to_server;
    case SessionRole::member_to_member: return SessionRole::member_to_member;
    }
    return role;
}

}  // namespace

// ── HELLO ──

Test(session, begins_with_hello_and_is_ready_after_the_peers) {
    for (SessionRole role : kRoles) {
        Side side(role);
        cr_assert(side.session.state() == Session::State::hello);
        const Tape tape = read(side.drain());
        cr_assert(tape.order == std::vector{FrameType::hello});
        cr_assert_eq(side.owner.ready, 0);
        Hello peer;
        peer.abilities = kAbilityPlain;
        peer.max_block_log2 = 17;
        cr_assert(side.feed(peer).has_value());
        cr_assert(side.session.state() == Session::State::ready);
        cr_assert_eq(side.owner.ready, 1);
        cr_assert(side.owner.hello == peer);
        cr_assert(side.session.peer_hello() == peer);
        cr_assert_eq(side.session.max_block_bytes(), 128U * 1024);
    }
}

Test(session, nothing_comes_before_hello) {
    std::vector<ControlFrame> frames;
    for (const FrameSample& s : frame_samples()) {
        if (!std::holds_alternative<Hello>(s.frame)) frames.push_back(s.frame);
    }
    for (SessionRole role : kRoles) {
        for (const ControlFrame& frame : frames) {
            Side side(role);
            cr_assert(side.feed(frame).code() == Errc::unexpected);
            cr_assert(side.session.state() == Session::State::closed);
            cr_assert(error_sent(side) == Errc::unexpected);
        }
        Side side(role);
        cr_assert(side.feed(data_frame({}, pattern(5))).code() == Errc::unexpected);
    }
}

Test(session, a_second_hello_is_unexpected) {
    for (SessionRole role : kRoles) {
        Side side(role);
        side.hello();
        cr_assert(side.feed(Hello{}).code() == Errc::unexpected);
        cr_assert(error_sent(side) == Errc::unexpected);
    }
}

Test(session, another_version_is_unsupported_and_told_so) {
    Hello other;
    other.version = kProtocolVersion + 1;
    Side side(SessionRole::server_to_member);
    cr_assert(side.feed(other).code() == Errc::unsupported);
    cr_assert(side.session.state() == Session::State::closed);
    const Tape tape = read(side.drain());
    cr_assert((tape.order == std::vector{FrameType::hello, FrameType::error}));
    cr_assert(std::get<ErrorFrame>(tape.frames.back()).code == Errc::unsupported);
}

Test(session, realms_are_equal_unless_one_has_none) {
    const RealmId none, one = filled<RealmId>(1), two = filled<RealmId>(2);
    const struct {
        RealmId own, peer;
        bool good;
    } cases[] = {{none, none, true}, {none, one, true}, {one, none, true}, {one, one, true}, {one, two, false}};
    for (const auto& c : cases) {
        Hello own, peer;
        own.realm = c.own;
        peer.realm = c.peer;
        Side side(SessionRole::member_to_member, own);
        const Status s = side.feed(peer);
        cr_assert(s.code() == (c.good ? Errc::ok : Errc::wrong_realm));
        cr_assert(error_sent(side) == (c.good ? Errc::ok : Errc::wrong_realm));
    }
}

// ── Who may send what ──

Test(session, takes_what_its_role_allows_and_ends_at_anything_else) {
    for (SessionRole role : kRoles) {
        for (const FrameSample& s : frame_samples()) {
            const FrameType type = type_of(s.frame);
            if (type == FrameType::pong || type == FrameType::error) continue;  // have tests of their own
            Side side(role);
            side.hello();
            const Status got = side.feed(s.frame);
            if (takes(role, type)) {
                cr_assert(got.has_value(), "%s, %s", name(role), s.name.c_str());
                cr_assert(side.session.state() == Session::State::ready);
                if (type != FrameType::ping)
                    cr_assert(side.owner.frames == std::vector{s.frame}, "%s, %s", name(role), s.name.c_str());
            } else {
                cr_assert(got.code() == Errc::unexpected, "%s, %s", name(role), s.name.c_str());
                cr_assert(side.session.state() == Session::State::closed);
                cr_assert(side.owner.frames.empty());
                cr_assert(error_sent(side) == Errc::unexpected);
            }
        }
    }
}

Test(session, sends_what_the_other_side_takes) {
    for (SessionRole role : kRoles) {
        for (const FrameSample& s : frame_samples()) {
            const FrameType type = type_of(s.frame);
            if (type == FrameType::hello || type == FrameType::error || type == FrameType::ping ||
                type == FrameType::pong || !takes(opposite(role), type))
                continue;
            Side side(role);
            side.hello();
            if (const BlockFrame* b = std::get_if<BlockFrame>(&s.frame)) {
                side.session.send_block(*b, payload(b->length));
            } else {
                side.session.send(s.frame);
            }
            const Tape tape = read(side.drain());
            cr_assert(tape.frames == std::vector{s.frame}, "%s, %s", name(role), s.name.c_str());
        }
    }
}

Test(session, to_send_what_the_role_forbids_terminates, .signal = SIGABRT) {
    Side side(SessionRole::member_to_member);
    side.session.send(Any{});
}

Test(session, a_member_serves_no_data_to_its_server, .signal = SIGABRT) {
    Side side(SessionRole::member_to_server);
    send_block(side.session, 0, 10);
}

// ── Data ──

Test(session, a_block_is_cut_into_records_without_a_copy) {
    for (std::uint32_t length : {1U, 16000U, 16384U, 65536U, kMaxBlockBytes}) {
        Side from(SessionRole::server_to_member), to(SessionRole::member_to_server);
        from.hello();
        to.hello();
        const PayloadRef p = payload(length);
        from.session.send_block(block(7, length), p);
        cr_assert_eq(from.session.queued_data(), length);
        std::size_t offset = 0;
        while (std::optional<OutChunk> c = from.session.next_chunk()) {
            cr_assert_leq(c->header.size() + c->payload.size(), kMaxRecordBytes);
            cr_assert(c->payload.data() == p.data.get() + offset);
            cr_assert(c->keep == p.data);
            offset += c->payload.size();
            cr_assert_eq(from.session.queued_data(), length - offset);
            cr_assert(to.feed(c->header).has_value());
            cr_assert(to.feed(c->payload).has_value());
        }
        cr_assert_eq(offset, length);
        cr_assert(!from.session.has_output());
        cr_assert((to.owner.blocks[{1, 7}] == Bytes(p.data.get(), p.data.get() + length)));
    }
}

Test(session, block_stands_directly_before_its_first_data) {
    Side side(SessionRole::server_to_member);
    side.hello();
    send_block(side.session, 1, 40000);
    send_block(side.session, 2, 10);
    side.session.send(AllOut{Handle{1}});
    const Tape tape = read(side.drain());
    using enum FrameType;
    cr_assert((tape.order == std::vector{all_out, FrameType::block, data, data, data, FrameType::block, data}));
}

Test(session, control_overtakes_queued_data) {
    Side side(SessionRole::member_to_member);
    side.hello();
    for (std::uint32_t i = 0; i < 4; ++i) send_block(side.session, i, kMaxBlockBytes);
    cr_assert_eq(side.session.queued_data(), 1024U * 1024);
    side.session.next_chunk();
    const Have have{Handle{2}, {{5, 1}}};
    side.session.send(have);
    std::optional<OutChunk> next = side.session.next_chunk();
    cr_assert(next.has_value());
    cr_assert(next->header == encode_frame(have));
    cr_assert(next->payload.empty());
}

Test(session, an_answer_of_nodes_alone_overtakes_data) {
    Side side(SessionRole::server_to_member), to(SessionRole::member_to_server);
    side.hello();
    to.hello();
    send_block(side.session, 1, kMaxBlockBytes);
    std::optional<OutChunk> first = side.session.next_chunk();
    BlockFrame nodes = block(9, 0);
    nodes.mask = 5;
    nodes.nodes = {filled<Hash>(1), filled<Hash>(2)};
    side.session.send_block(nodes, {});
    std::optional<OutChunk> next = side.session.next_chunk();
    cr_assert(next->header == encode_frame(nodes));
    // It is legal in the middle of another block.
    for (const OutChunk* c : {&*first, &*next}) {
        cr_assert(to.feed(c->header).has_value());
        cr_assert(to.feed(c->payload).has_value());
    }
    cr_assert(to.feed(side.drain()).has_value());
    cr_assert_eq((to.owner.blocks[{1, 1}].size()), kMaxBlockBytes);
}

Test(session, a_burst_of_control_shares_records) {
    Side side(SessionRole::member_to_member);
    side.hello();
    for (std::uint32_t i = 0; i < 2000; ++i) side.session.send(Have{Handle{i}, {{i, 1}}});
    std::size_t chunks = 0, frames = 0;
    while (std::optional<OutChunk> c = side.session.next_chunk()) {
        ++chunks;
        cr_assert_leq(c->header.size(), kMaxRecordBytes);
        frames += read(c->header).frames.size();
    }
    cr_assert_eq(frames, 2000U);
    cr_assert_leq(chunks, 3U);
}

Test(session, a_control_frame_larger_than_a_record_leaves_whole) {
    Side side(SessionRole::member_to_member);
    side.hello();
    const Opened opened{Handle{1}, kMaxBlocks, pattern(kMaxBitfieldBytes)};
    side.session.send(opened);
    side.session.send(Cancel{});
    cr_assert(side.session.next_chunk()->header == encode_frame(opened));
    cr_assert(side.session.next_chunk()->header == encode_frame(Cancel{}));
}

Test(session, drops_a_block_that_has_not_begun) {
    Side side(SessionRole::server_to_member);
    side.hello();
    for (std::uint32_t i = 0; i < 3; ++i) send_block(side.session, i, 20000);
    cr_assert(side.session.drop_block(Handle{1}, BlockIndex{1}));
    cr_assert(!side.session.drop_block(Handle{1}, BlockIndex{1}), "it is gone");
    cr_assert(!side.session.drop_block(Handle{2}, BlockIndex{0}), "another handle");
    cr_assert_eq(side.session.queued_data(), 40000U);
    side.session.next_chunk();
    cr_assert(!side.session.drop_block(Handle{1}, BlockIndex{0}), "it has begun");
    cr_assert(side.session.drop_block(Handle{1}, BlockIndex{2}));
    cr_assert_leq(side.session.queued_data(), 20000U);
    while (side.session.next_chunk()) {
    }
    cr_assert_eq(side.session.queued_data(), 0U);
}

Test(session, data_continues_its_block_or_ends_the_session) {
    const ControlFrame begun = block(3, 100);
    const struct {
        const char* why;
        std::vector<Bytes> stream;
    } cases[] = {
        {"no block", {data_frame({Handle{1}, BlockIndex{3}, 0}, pattern(10))}},
        {"another handle", {encode_frame(begun), data_frame({Handle{2}, BlockIndex{3}, 0}, pattern(10))}},
        {"another block", {encode_frame(begun), data_frame({Handle{1}, BlockIndex{4}, 0}, pattern(10))}},
        {"a gap", {encode_frame(begun), data_frame({Handle{1}, BlockIndex{3}, 1}, pattern(10))}},
        {"too much", {encode_frame(begun), data_frame({Handle{1}, BlockIndex{3}, 0}, pattern(101))}},
        {"twice the same",
         {encode_frame(begun), data_frame({Handle{1}, BlockIndex{3}, 0}, pattern(10)),
          data_frame({Handle{1}, BlockIndex{3}, 0}, pattern(10))}},
        {"more after the end",
         {encode_frame(begun), data_frame({Handle{1}, BlockIndex{3}, 0}, pattern(100)),
          data_frame({Handle{1}, BlockIndex{3}, 100}, pattern(1))}},
        {"a block inside another", {encode_frame(begun), encode_frame(block(4, 100))}},
    };
    for (const auto& c : cases) {
        Side side(SessionRole::member_to_member);
        side.hello();
        for (std::size_t i = 0; i + 1 < c.stream.size(); ++i) cr_assert(side.feed(c.stream[i]).has_value(), "%s", c.why);
        cr_assert(side.feed(c.stream.back()).code() == Errc::unexpected, "%s", c.why);
        cr_assert(error_sent(side) == Errc::unexpected, "%s", c.why);
    }
}

Test(session, blocks_larger_than_agreed_are_unsupported) {
    Hello small;
    small.max_block_log2 = 16;
    for (std::uint32_t length : {64U * 1024, 64U * 1024 + 1}) {
        Side side(SessionRole::member_to_server, small);
        side.hello();
        cr_assert_eq(side.session.max_block_bytes(), 64U * 1024);
        cr_assert(side.feed(block(0, length)).code() == (length > 64 * 1024 ? Errc::unsupported : Errc::ok));
    }
}

// ── PING ──

Test(session, answers_ping_and_measures_the_round_trip) {
    Side a(SessionRole::member_to_server), b(SessionRole::server_to_member);
    a.hello();
    b.hello();
    a.session.ping(at(1000));
    a.session.ping(at(2000));  // the first is still out
    cr_assert(b.feed(a.drain()).has_value());
    cr_assert(a.feed(b.drain(), at(31000)).has_value());
    cr_assert(a.owner.rtts == std::vector{Duration{30000}});
    cr_assert(a.owner.frames.empty() && b.owner.frames.empty());
    a.session.ping(at(40000));
    cr_assert(b.feed(a.drain()).has_value());
    cr_assert(a.feed(b.drain(), at(45000)).has_value());
    cr_assert(a.owner.rtts.size() == 2 && a.owner.rtts[1] == Duration{5000});
}

Test(session, a_pong_that_answers_nothing_is_unexpected) {
    Side unasked(SessionRole::member_to_member);
    unasked.hello();
    cr_assert(unasked.feed(Pong{0}).code() == Errc::unexpected);

    Side other(SessionRole::member_to_member);
    other.hello();
    other.session.ping(at(0));
    const Ping ping = std::get<Ping>(read(other.drain()).frames.at(0));
    cr_assert(other.feed(Pong{ping.cookie + 1}).code() == Errc::unexpected);
    cr_assert(other.owner.rtts.empty());
}

// ── The end ──

Test(session, an_error_of_the_peer_ends_it_without_an_answer) {
    Side side(SessionRole::member_to_server);
    side.hello();
    side.session.send(Announce{4434});
    cr_assert(side.feed(ErrorFrame{Errc::shutting_down, "maintenance"}).code() == Errc::shutting_down);
    cr_assert(side.session.state() == Session::State::closed);
    cr_assert_eq(side.session.peer_error()->text, "maintenance");
    cr_assert(!side.session.has_output());
    cr_assert(!side.session.next_chunk());
}

Test(session, an_error_of_the_owner_goes_to_the_peer_but_not_what_is_ours_alone) {
    const struct {
        Error error;
        Errc sent;
        std::string text;
    } cases[] = {{mssl::fail(Errc::bad_proof, "block 5"), Errc::bad_proof, "block 5"},
                 {mssl::fail(Errc::io, "/secret/path: permission denied"), Errc::busy, ""}};
    for (const auto& c : cases) {
        Side side(SessionRole::member_to_server);
        side.hello();
        side.owner.answer = [&c](const ControlFrame&) -> Status { return c.error; };
        cr_assert(side.feed(Have{}).code() == c.error.code);
        const Tape tape = read(side.drain());
        cr_assert((tape.frames == std::vector<ControlFrame>{ErrorFrame{c.sent, c.text}}));
    }
}

Test(session, fail_sends_error_last_and_drops_data) {
    Side side(SessionRole::server_to_member);
    side.hello();
    send_block(side.session, 0, 50000);
    side.session.next_chunk();
    side.session.send(AllOut{Handle{1}});
    side.session.fail(Errc::shutting_down, std::string(2 * kMaxTextBytes, 'x'));
    side.session.fail(Errc::busy, "too late");
    side.session.send(AllOut{Handle{2}});
    send_block(side.session, 1, 10);
    cr_assert_eq(side.session.queued_data(), 0U);
    const Tape tape = read(side.drain());
    cr_assert((tape.frames == std::vector<ControlFrame>{AllOut{Handle{1}},
                                                        ErrorFrame{Errc::shutting_down, std::string(kMaxTextBytes, 'x')}}));
    cr_assert(side.feed(Ping{1}).code() == Errc::closed);
}

Test(session, to_fail_inside_a_call_stops_the_reading) {
    Side side(SessionRole::member_to_server);
    side.hello();
    side.owner.answer = [&side](const ControlFrame&) -> Status {
        side.session.fail(Errc::bad_proof, "");
        return {};
    };
    Bytes two = encode_frame(Have{});
    two.insert(two.end(), two.begin(), two.begin() + static_cast<std::ptrdiff_t>(two.size()));
    cr_assert(!side.feed(two).has_value());
    cr_assert_eq(side.owner.frames.size(), 1U);
    cr_assert_eq(read(side.drain()).frames.size(), 1U);
}

Test(session, the_stream_may_end_only_between_frames) {
    Side side(SessionRole::member_to_member);
    side.hello();
    cr_assert(side.session.end().has_value());
    const Bytes frame = encode_frame(Cancel{});
    for (std::size_t i = 0; i + 1 < frame.size(); ++i) {
        cr_assert(side.feed(View(frame).subspan(i, 1)).has_value());
        cr_assert(side.session.end().code() == Errc::truncated, "after byte %zu", i);
    }
    cr_assert(side.feed(View(frame).last(1)).has_value());
    cr_assert(side.session.end().has_value());
}

Test(session, control_that_nobody_reads_is_bounded) {
    for (bool hello_written : {true, false}) {
        Side side(SessionRole::member_to_member);
        if (hello_written) {
            side.hello();
        } else {
            cr_assert(side.feed(Hello{}).has_value());
        }
        std::size_t pings = 0;
        while (side.feed(Ping{pings}).has_value()) {
            ++pings;
            cr_assert_leq(pings, Session::kMaxControlQueue / 12);
        }
        cr_assert_geq(pings, 1000U);
        cr_assert(side.session.state() == Session::State::closed);
        const Tape tape = read(side.drain());
        cr_assert_eq(tape.frames.size(), 2U);
        cr_assert(tape.order.front() == (hello_written ? FrameType::pong : FrameType::hello));
        cr_assert(std::get<ErrorFrame>(tape.frames.back()).code == Errc::busy);
    }
}

Test(session, control_that_is_read_has_no_bound) {
    Side side(SessionRole::member_to_member);
    side.hello();
    for (std::uint64_t i = 0; i < 2 * Session::kMaxControlQueue / 12; ++i) {
        cr_assert(side.feed(Ping{i}).has_value());
        if (i % 100 == 0) side.drain();
    }
}

// ── Two sides ──

Test(session, two_sides_understand_each_other_however_the_bytes_are_cut) {
    for (unsigned seed = 0; seed < 20; ++seed) {
        std::mt19937 rng(seed);
        const SessionRole role = seed % 2 == 0 ? SessionRole::member_to_member : SessionRole::member_to_server;
        Side a(role), b(opposite(role));
        std::vector<ControlFrame> sent;
        std::map<std::pair<std::uint32_t, std::uint32_t>, Bytes> blocks;
        Bytes to_a, to_b;
        std::size_t requests = 0;
        // a asks, b answers each request with a block.
        b.owner.answer = [&](const ControlFrame& frame) -> Status {
            const Request* r = std::get_if<Request>(&frame);
            if (r == nullptr) return {};
            const std::uint32_t length = 1 + static_cast<std::uint32_t>(rng() % kMaxBlockBytes);
            PayloadRef p = payload(length, static_cast<std::uint8_t>(r->block.v));
            blocks[{1, r->block.v}] = Bytes(p.data.get(), p.data.get() + length);
            b.session.send_block(block(r->block.v, length), p);
            b.session.send(Have{Handle{1}, {{r->block.v, 1}}});
            return {};
        };
        const auto move = [&rng](Side& from, Bytes& wire, Side& to, MonoTime now) {
            if (std::optional<OutChunk> c = from.session.next_chunk()) {
                wire.insert(wire.end(), c->header.begin(), c->header.end());
                wire.insert(wire.end(), c->payload.begin(), c->payload.end());
            }
            const std::size_t n = std::min<std::size_t>(wire.size(), rng() % 20000);
            cr_assert(to.feed(View(wire).first(n), now).has_value());
            wire.erase(wire.begin(), wire.begin() + static_cast<std::ptrdiff_t>(n));
            return from.session.has_output() || !wire.empty();
        };
        bool busy = true;
        for (std::int64_t t = 0; busy || requests < 12; ++t) {
            if (requests < 12 && rng() % 3 == 0) {
                const Request r{Handle{1}, BlockIndex{static_cast<std::uint32_t>(requests++)}, 1000, rng() % 1024, false};
                a.session.send(r);
                sent.push_back(r);
            }
            if (rng() % 8 == 0) a.session.ping(at(t));
            const bool forth = move(a, to_b, b, at(t)), back = move(b, to_a, a, at(t));
            busy = forth || back;
        }
        cr_assert(b.owner.frames == sent, "seed %u", seed);
        cr_assert(a.owner.blocks == blocks, "seed %u", seed);
        cr_assert_eq(a.owner.frames.size(), 24U, "12 BLOCK and 12 HAVE; seed %u", seed);
        cr_assert(!a.owner.rtts.empty());
    }
}

Test(session, garbage_always_ends_in_an_error) {
    for (unsigned seed = 0; seed < 300; ++seed) {
        std::mt19937 rng(seed);
        Side side(kRoles[seed % 3]);
        if (seed % 2 == 0) side.hello();
        Status s;
        for (int i = 0; i < 1024 && s; ++i) {
            Bytes noise(1024);
            for (std::uint8_t& byte : noise) byte = static_cast<std::uint8_t>(rng());
            s = side.feed(noise);
        }
        cr_assert(!s, "seed %u", seed);
        cr_assert(side.session.state() == Session::State::closed, "seed %u", seed);
        cr_assert(side.session.has_output(), "seed %u", seed);
    }
}
