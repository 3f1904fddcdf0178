// The one read of an origin: what it waits for, and that it ends with the loops.
#include <criterion/criterion.h>

#include <algorithm>
#include <atomic>

#include "proxy/server/cold_read.h"
#include "proxy/server/read_pace.h"
#include "tests/unit/hosting_fixture.h"

using namespace mssl;
using namespace mssl::proxy;
using namespace mssl::proxy::test;

namespace {

constexpr std::uint64_t kBlock = kMinBlockBytes;

// A read of h's object in loop 0. What it waits for is seen in paused.
struct Reading {
    explicit Reading(Hosts& hosts) : h(hosts), loop(h.engine.loops.at(0)), object(h.fresh()) {
        read = h.engine.run(loop, [this] { return ColdRead::create(h.engine.runtime, loop, object, [this](bool p) { paused = p; }); });
    }
    void feed(std::uint32_t from, std::uint32_t to) {
        h.engine.run(loop, [&] {
            for (std::uint32_t i = from; i < to; ++i) {
                const BlockIndex b{i};
                read->feed({content(h.geometry, b).get(), h.geometry.block_length(b)});
            }
        });
    }
    // As an exchange does whose connection has gone.
    void let_go() {
        h.engine.run(loop, [this] {
            read->detach();
            read.reset();
        });
        object.reset();
    }

    Hosts& h;
    Loop& loop;
    std::shared_ptr<HostedObject> object;
    std::shared_ptr<ColdRead> read;
    std::atomic<bool> paused{false};
};

}  // namespace

Test(cold_read, hashes_what_it_is_fed_in_pieces_of_any_size) {
    Hosts h(3 * kBlock + 5);
    Reading r(h);
    Bytes whole;
    for (std::uint32_t i = 0; i < h.geometry.block_count(); ++i) {
        const BlockData block = content(h.geometry, BlockIndex{i});
        whole.insert(whole.end(), block.get(), block.get() + h.geometry.block_length(BlockIndex{i}));
    }
    h.engine.run(r.loop, [&] {
        std::size_t piece = 1;
        for (View rest = whole; !rest.empty(); piece = piece * 3 % 300'007) {
            const View now = rest.first(std::min(piece, rest.size()));
            r.read->feed(now);
            rest = rest.subspan(now.size());
        }
        r.read->finish();
    });
    cr_assert(h.eventually(*r.object, [&] { return r.object->state() == HostedObject::State::complete; }));
    cr_assert(r.object->head()->body == h.final_head());
}

Test(cold_read, waits_for_a_buffer_and_goes_on_when_there_is_one) {
    Hosts h(2 * kBlock);
    Reading r(h);
    std::vector<std::shared_ptr<std::uint8_t[]>> all;
    while (auto buffer = h.engine.buffers.get(kBlock, BufferPool::Use::cold_read)) all.push_back(std::move(buffer));
    r.feed(0, 2);
    h.engine.run(r.loop, [&] { r.read->finish(); });
    cr_assert_eq(r.object->hashed_bytes(), 0U);
    all.clear();
    cr_assert(h.eventually(*r.object, [&] { return r.object->state() == HostedObject::State::complete; }));
}

Test(cold_read, that_waits_for_a_buffer_ends_with_the_loop) {
    std::weak_ptr<HostedObject> object;
    std::weak_ptr<ColdRead> read;
    {
        Hosts h(2 * kBlock);
        std::vector<std::shared_ptr<std::uint8_t[]>> all;
        while (auto buffer = h.engine.buffers.get(kBlock, BufferPool::Use::cold_read)) all.push_back(std::move(buffer));
        Reading r(h);
        object = r.object;
        read = r.read;
        r.feed(0, 2);
        r.let_go();
        cr_assert_not(read.expired(), "it waits");
        h.engine.loops.stop_all();
    }
    cr_assert(read.expired() && object.expired());
}

Test(cold_read, that_is_held_back_for_its_reader_ends_with_the_loop) {
    std::weak_ptr<HostedObject> object;
    std::weak_ptr<ColdRead> read;
    {
        Hosts h(4 * ReadPace::kLead);
        Reading r(h);
        object = r.object;
        read = r.read;
        const auto enough = static_cast<std::uint32_t>(ReadPace::kLead / kBlock + ColdRead::kMaxInFlight + 1);
        r.feed(0, enough);
        cr_assert(h.eventually(*r.object, [&] { return r.object->hashed_bytes() == enough * kBlock; }));
        r.let_go();
        h.engine.loops.stop_all();
    }
    cr_assert(read.expired() && object.expired());
}
