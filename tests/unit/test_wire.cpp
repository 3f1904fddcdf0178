#include <criterion/criterion.h>
#include <netinet/tcp.h>

#include "proxy/core/wire.h"
#include "tests/unit/stream_fixture.h"

using namespace mssl;
using namespace mssl::proxy;
using namespace mssl::test;

namespace {

constexpr std::uint32_t kBlock = 256 * 1024;

int corked(const Wire& wire) {
    int value = -1;
    socklen_t length = sizeof value;
    cr_assert_eq(getsockopt(const_cast<Wire&>(wire).stream().fd(), IPPROTO_TCP, TCP_CORK, &value, &length), 0);
    return value;
}

// The end that gives. Nothing comes but HELLO.
struct Giver final : WireHandler {
    explicit Giver(Loop& l) : loop(&l), wire(std::make_unique<Wire>(l, SessionRole::server_to_member, plain(), *this)) {}
    ~Giver() override {
        wire->abandon();
        loop->dispose(std::move(wire));
    }
    static Hello plain() {
        Hello hello;
        hello.abilities = kAbilityPlain;
        return hello;
    }
    void on_ready(const Hello&) override { ready = true; }
    Status on_frame(ControlFrame) override { return {}; }
    auto slot(const DataHeader& h, std::size_t n) -> decltype(std::declval<WireHandler&>().slot(h, n)) override {
        return fail(Errc::unexpected, "DATA");
    }
    Status on_data(const DataHeader&, View) override { return fail(Errc::unexpected, "DATA"); }
    void on_rtt(Duration) override {}
    void on_drained() override { was_corked = was_corked || corked(*wire) == 1; }
    void on_closed(const Error& why) override { closed = why; }

    Loop* loop;
    bool ready = false, was_corked = false;
    std::optional<Error> closed;
    std::unique_ptr<Wire> wire;
};

// What a member says first.
std::string hello_of_member() {
    struct Deaf final : SessionHandler {
        void on_ready(const Hello&) override {}
        Status on_frame(ControlFrame) override { return {}; }
        auto slot(const DataHeader& h, std::size_t n) -> decltype(std::declval<SessionHandler&>().slot(h, n)) override {
            return fail(Errc::unexpected, "DATA");
        }
        Status on_data(const DataHeader&, View) override { return {}; }
        void on_rtt(Duration) override {}
    } deaf;
    Session session(SessionRole::member_to_server, Giver::plain(), deaf);
    const std::optional<OutChunk> chunk = session.next_chunk();
    cr_assert(chunk.has_value());
    return {chunk->header.begin(), chunk->header.end()};
}

// A Wire, and a member that reads what it is given without looking at it.
struct Given {
    Given() : pair(true), giver(pair.loop) {
        cr_assert(pair.both_open());
        giver.wire->begin(std::move(pair.server.stream));
        pair.client.to_send = hello_of_member();
        pair.client.stream->want_write(true);
        cr_assert(turn_until(pair.loop, [&] { return giver.ready || giver.closed; }));
        cr_assert(giver.ready);
        pair.client.received.clear();
    }
    bool comes(std::size_t bytes) {
        return turn_until(pair.loop, [&] { return pair.client.received.size() >= bytes || giver.closed; }) && !giver.closed;
    }
    Pair pair;
    Giver giver;
};

}  // namespace

// A run of records leaves in whole segments; but nothing may wait in the kernel once the run is over, or the end of a block would be
// late by its 200 ms.
Test(wire, the_cork_is_out_when_the_run_of_records_is_over) {
    Given g;
    const std::shared_ptr<std::uint8_t[]> data(new std::uint8_t[kBlock]());
    BlockFrame block;
    block.handle = Handle{1};
    block.length = kBlock;
    for (std::uint32_t i = 0; i < 4; ++i) {
        block.block = BlockIndex{i};
        g.giver.wire->send_block(block, PayloadRef{block.handle, block.block, data, kBlock});
    }
    cr_assert(g.comes(4 * kBlock));
    cr_assert(g.giver.was_corked);
    cr_assert_eq(corked(*g.giver.wire), 0);
}

Test(wire, a_lone_control_frame_is_not_corked) {
    Given g;
    g.giver.wire->send(AllOut{Handle{1}});
    cr_assert(g.comes(1));
    cr_assert_not(g.giver.was_corked);
    cr_assert_eq(corked(*g.giver.wire), 0);
}
