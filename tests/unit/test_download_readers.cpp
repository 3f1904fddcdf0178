// Several applications read one object, at different places and paces: each gets its bytes, and memory stays bounded.
#include <criterion/criterion.h>

#include "tests/unit/download_fixture.h"

using namespace mssl;
using namespace mssl::test;

namespace {

constexpr std::uint64_t kBlock = kMinBlockBytes;

// How many other blocks came before this one, of all that is asked of everybody.
std::size_t blocks_before(Fixture& f, std::uint32_t block) {
    for (int guard = 0; guard < 10000; ++guard) {
        if (const auto at = std::ranges::find(f.ready, block); at != f.ready.end())
            return static_cast<std::size_t>(at - f.ready.begin());
        if (f.requests.empty()) f.pass(100ms);
        const auto due = f.take();
        for (const SendRequest& r : due) f.serve(r);
    }
    return f.ready.size() + 1;
}

DownloadLimits memory_only() {
    DownloadLimits limits;
    limits.window_bytes = 8 * kBlock;
    limits.hard_window_bytes = 16 * kBlock;
    return limits;
}

}  // namespace

Test(readers, one_that_paused_does_not_hold_up_another) {
    for (const bool from_server : {true, false}) {
        DownloadLimits limits;
        limits.window_bytes = 8 * kBlock;
        Fixture f(400 * kBlock, limits);
        f.head();
        f.download.set_readers(f.now, {0, 200 * kBlock});
        if (from_server)
            f.server(true);
        else
            f.peer(kPeer);
        for (std::uint32_t i = 200; i < 240; ++i) {
            const std::size_t had = f.ready.size();
            cr_assert_leq(blocks_before(f, i), had + 20, "block %u of the second reader", i);
            f.download.set_readers(f.now, {0, (i + std::uint64_t{1}) * kBlock});
            f.drain();
        }
    }
}

Test(readers, the_next_blocks_of_all_are_missed) {
    DownloadLimits limits;
    limits.window_bytes = 8 * kBlock;
    Fixture f(400 * kBlock, limits);
    f.head();
    f.download.set_readers(f.now, {0, 100 * kBlock, 200 * kBlock});
    f.server();
    f.download.add_source(f.now, kPeer, SourceKind::peer);  // has nothing yet: the server is asked for what is rare
    f.drain();
    for (int i = 0; i < 20; ++i) {
        f.pass(100ms);
        f.serve_all();
    }
    for (const std::uint32_t next : {0U, 100U, 200U})
        cr_assert(std::ranges::find(f.ready, next) != f.ready.end(), "nobody was asked for block %u", next);
}

Test(readers, without_a_store_nothing_is_fetched_that_no_reader_is_near) {
    for (const bool helped : {false, true}) {
        Fixture f(400 * kBlock, memory_only());
        f.head();
        f.download.set_readers(f.now, {200 * kBlock});
        f.server();
        if (helped) f.peer(kPeer);
        for (int i = 0; i < 50; ++i) {
            f.serve_all();
            f.pass(100ms);
        }
        cr_assert_eq(f.ready.size(), 16U);
        for (const std::uint32_t b : f.ready) cr_assert(b >= 200 && b < 216, "block %u", b);
    }
}

Test(readers, without_a_store_one_that_does_not_read_holds_up_no_other) {
    for (const bool helped : {false, true}) {
        Fixture f(400 * kBlock, memory_only());
        f.head();
        f.download.set_readers(f.now, {0, 200 * kBlock});
        f.server(true);
        if (helped) f.peer(kPeer);
        for (std::uint32_t i = 200; i < 300; ++i) {
            const std::size_t had = f.ready.size();
            cr_assert_leq(blocks_before(f, i), had + 40, "block %u of the second reader", i);
            f.download.set_readers(f.now, {0, (i + std::uint64_t{1}) * kBlock});
            f.drain();
        }
        // Nothing but what lies before one of them.
        for (const std::uint32_t b : f.ready) cr_assert(b < 16 || (b >= 200 && b < 316), "block %u", b);
        // What was read and dropped meanwhile comes again for who is behind.
        for (std::uint32_t b = 200; b < 300; ++b) f.download.forget(f.now, BlockIndex{b});
        f.ready.clear();
        f.download.set_readers(f.now, {195 * kBlock, 300 * kBlock});
        f.drain();
        cr_assert_leq(blocks_before(f, 205), 60u);
    }
}

Test(readers, blocks_on_their_way_to_the_disk_are_memory_in_use) {
    DownloadLimits limits;
    limits.max_memory = 8 * kBlock;
    Fixture f(100 * kBlock, limits);
    f.head();
    f.peer(kPeer);
    cr_assert(!f.requests.empty());
    while (f.ready.size() < 8) {
        cr_assert(!f.requests.empty());
        const auto due = f.take();
        for (const SendRequest& r : due) {
            f.serve(r);
            f.download.set_held(f.now, f.ready.size());
            f.drain();
        }
    }
    for (int i = 0; i < 20; ++i) {
        f.serve_all();
        f.download.set_held(f.now, f.ready.size());
        f.pass(100ms);
    }
    cr_assert_leq(f.ready.size(), 9u, "the disk takes nothing, so nothing is fetched");
    f.download.set_held(f.now, 0);
    f.drain();
    cr_assert(!f.requests.empty());
    f.serve_all();
    cr_assert(f.download.complete());
}

// What a range is read of while the server still gives every block once: with nobody to share with, it need not wait.
Test(readers, of_a_range_do_not_wait_for_the_blocks_below) {
    DownloadLimits limits;
    limits.window_bytes = 8 * kBlock;
    Fixture f(400 * kBlock, limits);
    f.head();
    f.download.set_readers(f.now, {200 * kBlock});
    f.server();
    cr_assert(!f.requests.empty());
    cr_assert_eq(f.requests.front().request.block.v, 200U);
    // One at the start is served by tokens, in order.
    Fixture g(400 * kBlock, limits);
    g.head();
    g.download.set_readers(g.now, {0});
    g.server();
    cr_assert(g.requests.empty() && !g.tokens.empty());
}
