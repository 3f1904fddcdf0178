#include <criterion/criterion.h>

#include <set>

#include "proxy/server/hosted_object.h"
#include "tests/unit/hosting_fixture.h"

using namespace mssl;
using namespace mssl::proxy;
using namespace mssl::proxy::test;

namespace {

constexpr std::uint64_t kBlock = kMinBlockBytes;

// Every block that the taker got is the object's, and no BLOCK came before a head that covers it.
void check_log(const Hosts& h, const FakeTaker& t) {
    std::uint64_t covered = 0;
    for (const ControlFrame& f : t.log) {
        if (const auto* head = std::get_if<HeadFrame>(&f)) {
            const auto parsed = parse_head(head->head_der, h.realm->signer().public_key());
            cr_assert(parsed.has_value());
            cr_assert_geq(parsed->body.blocks(), covered, "heads only grow");
            covered = parsed->body.blocks();
        }
        if (const auto* block = std::get_if<BlockFrame>(&f)) cr_assert_lt(block->block.v, covered);
    }
    for (const auto& [i, bytes] : t.blocks) {
        cr_assert_eq(bytes.size(), h.geometry.block_length(BlockIndex{i}));
        cr_assert(std::equal(bytes.begin(), bytes.end(), content(h.geometry, BlockIndex{i}).get()));
    }
}

Request ask(const HostedObject& o, std::uint32_t block, std::uint64_t nodes = 0) {
    return {Handle{1}, BlockIndex{block}, o.head()->body.blocks(), nodes, false};
}

}  // namespace

Test(hosted_object, of_any_length_ends_in_the_head_of_its_tree) {
    for (const std::uint64_t length : {std::uint64_t{0}, std::uint64_t{1}, kBlock - 1, kBlock, kBlock + 1, 3 * kBlock - 1,
                                       3 * kBlock, 3 * kBlock + 1, 7 * kBlock + 5}) {
        Hosts h(length);
        const auto o = h.fresh();
        h.append(*o, 0, static_cast<std::uint32_t>(h.geometry.block_count()));
        cr_assert(h.eventually(*o, [&] { return o->state() == HostedObject::State::complete; }), "length %lu", length);
        cr_assert(o->head()->body == h.final_head(), "length %lu", length);
        cr_assert(h.keeper->kept_nodes == nodes_of(h.geometry));
        cr_assert_eq(o->hashed_bytes(), length);
    }
}

Test(hosted_object, signs_its_first_head_with_the_first_block) {
    Hosts h(8 * kBlock);
    const auto o = h.fresh();
    cr_assert_null(o->head());
    cr_assert_eq(o->state(), HostedObject::State::opening);
    h.append(*o, 0, 1);
    cr_assert_not_null(o->head());
    cr_assert_eq(o->head()->body.blocks(), 1);
    cr_assert(!o->head()->body.final_head);
    cr_assert_eq(o->state(), HostedObject::State::hashing);
}

Test(hosted_object, shows_what_was_hashed_within_its_time_though_no_more_comes) {
    Hosts h(8 * kBlock);
    const auto o = h.fresh();
    h.append(*o, 0, 3);
    cr_assert(h.eventually(*o, [&] { return o->head()->body.blocks() == 3; }));
}

Test(hosted_object, shows_its_final_head_only_when_the_tree_is_durable) {
    Hosts h(3 * kBlock);
    h.keeper->holds = true;
    const auto o = h.fresh();
    const auto [taker, id] = h.attach(*o, 1);
    h.append(*o, 0, 3);
    h.in(*o, [] {});
    cr_assert(!o->head()->body.final_head);
    cr_assert_eq(o->head()->body.blocks(), 2, "all but the last block do not wait for the disk");
    h.in(*o, [&] { h.keeper->held(); });
    cr_assert(h.eventually(*o, [&] { return o->head()->body.final_head; }));
    h.in(*o, [&] { check_log(h, *taker); });
}

Test(hosted_object, goes_on_when_the_tree_cannot_be_kept) {
    Hosts h(3 * kBlock);
    h.keeper->answer = fail(Errc::no_space);
    const auto o = h.fresh();
    h.append(*o, 0, 3);
    cr_assert(h.eventually(*o, [&] { return o->state() == HostedObject::State::complete; }));
}

Test(hosted_object, gives_each_block_once_to_those_who_ask_for_any) {
    Hosts h(20 * kBlock + 100);
    const auto o = h.fresh();
    const auto [a, a_id] = h.attach(*o, 1);
    const auto [b, b_id] = h.attach(*o, 2);
    h.in(*o, [&, a_id = a_id, b_id = b_id] {
        o->on_any(a_id, {Handle{1}, 64, 3, true});
        o->on_any(b_id, {Handle{2}, 64, 3, true});
    });
    h.append(*o, 0, 21);
    cr_assert(h.eventually(*o, [&, a = a, b = b] { return !a->all<AllOut>().empty() && !b->all<AllOut>().empty(); }));
    h.in(*o, [&, a = a, b = b] {
        cr_assert_eq(a->blocks.size() + b->blocks.size(), 21);
        cr_assert(!a->blocks.empty() && !b->blocks.empty());
        for (const auto& [i, n] : a->times) cr_assert(n == 1 && !b->times.contains(i));
        cr_assert_eq(a->all<AllOut>().size(), 1);
        check_log(h, *a);
        check_log(h, *b);
    });
}

Test(hosted_object, gives_no_more_blocks_than_there_are_tokens) {
    Hosts h(20 * kBlock);
    const auto o = h.fresh();
    const auto [a, id] = h.attach(*o, 1);
    h.in(*o, [&, id = id] { o->on_any(id, {Handle{1}, 3, 3, false}); });
    h.append(*o, 0, 20);
    cr_assert(h.eventually(*o, [&] { return o->state() == HostedObject::State::complete; }));
    h.in(*o, [a = a] { cr_assert_eq(a->blocks.size(), 3); });
}

Test(hosted_object, proves_the_first_block_given_when_asked_to) {
    Hosts h(9 * kBlock);
    const auto o = h.fresh();
    h.append(*o, 0, 9);
    cr_assert(h.eventually(*o, [&] { return o->state() == HostedObject::State::complete; }));
    const auto [a, id] = h.attach(*o, 1);
    h.in(*o, [&, a = a, id = id] {
        o->on_any(id, {Handle{1}, 2, 3, true});
        const auto blocks = a->all<BlockFrame>();
        cr_assert_eq(blocks.size(), 2);
        NodeCache cache;
        cr_assert(cache.add_peaks(9, o->head()->body.peaks).has_value());
        const BlockFrame& first = blocks[0];
        const Bytes& data = a->blocks.at(first.block.v);
        cr_assert(cache.verify(first.block, hash_block(data), first.mask, first.nodes).has_value());
        cr_assert_eq(blocks[1].mask, 0, "only the first");
    });
}

Test(hosted_object, leaves_in_a_session_only_what_is_about_to_go) {
    Hosts h(40 * kBlock);
    const auto o = h.fresh();
    h.append(*o, 0, 40);
    cr_assert(h.eventually(*o, [&] { return o->state() == HostedObject::State::complete; }));
    const auto [a, id] = h.attach(*o, 1);
    h.in(*o, [&, a = a, id = id] {
        a->holds = true;
        for (std::uint32_t i = 0; i < 20; ++i) cr_assert(o->on_request(id, ask(*o, i)).has_value());
        cr_assert_eq(a->blocks.size(), 2);
        std::size_t most = 0;
        while (!a->unsent.empty()) {
            most = std::max(most, a->unsent.size());
            const auto sent = a->unsent.front();
            a->unsent.erase(a->unsent.begin());
            sent();
        }
        cr_assert_eq(a->blocks.size(), 20);
        cr_assert_leq(most * kBlock, 512 * 1024);
    });
}

Test(hosted_object, keeps_serving_others_when_one_does_not_read) {
    Hosts h(10 * kBlock);
    const auto o = h.fresh();
    h.append(*o, 0, 10);
    cr_assert(h.eventually(*o, [&] { return o->state() == HostedObject::State::complete; }));
    const auto [dead, dead_id] = h.attach(*o, 1);
    const auto [alive, alive_id] = h.attach(*o, 2);
    h.in(*o, [&, dead = dead, dead_id = dead_id, alive = alive, alive_id = alive_id] {
        dead->holds = true;
        for (std::uint32_t i = 0; i < 10; ++i) cr_assert(o->on_request(dead_id, ask(*o, i)).has_value());
        for (std::uint32_t i = 0; i < 10; ++i) cr_assert(o->on_request(alive_id, ask(*o, i)).has_value());
        cr_assert_eq(alive->blocks.size(), 10);
        cr_assert_eq(dead->blocks.size(), 2);
        cr_assert(o->on_request(dead_id, {Handle{1}, BlockIndex{9}, 10, 1, true}).has_value());
        cr_assert_eq(dead->all<BlockFrame>().back().length, 0, "nodes do not wait behind payload");
        dead->unsent.clear();  // they hold the taker that holds them
    });
}

Test(hosted_object, cuts_who_asks_out_of_bounds_and_nobody_else) {
    Hosts h(8 * kBlock);
    const auto o = h.fresh();
    h.append(*o, 0, 8);
    cr_assert(h.eventually(*o, [&] { return o->state() == HostedObject::State::complete; }));
    const auto [bad, bad_id] = h.attach(*o, 1);
    const auto [good, good_id] = h.attach(*o, 2);
    h.in(*o, [&, bad = bad, bad_id = bad_id, good = good, good_id = good_id] {
        cr_assert_eq(o->on_request(bad_id, {Handle{1}, BlockIndex{8}, 8, 0, false}).code(), Errc::malformed);
        cr_assert_eq(o->on_request(bad_id, {Handle{1}, BlockIndex{0}, 9, 0, false}).code(), Errc::malformed);
        cr_assert_eq(o->on_request(bad_id, {Handle{1}, BlockIndex{0}, 8, 8, false}).code(), Errc::malformed);
        cr_assert_eq(o->on_progress(bad_id, {Handle{1}, 9, {}}).code(), Errc::malformed);
        cr_assert_eq(o->on_progress(bad_id, {Handle{1}, 1, Bytes(2, 0xff)}).code(), Errc::malformed);
        cr_assert(bad->blocks.empty());
        cr_assert(o->on_request(good_id, ask(*o, 7)).has_value());
        cr_assert_eq(good->blocks.size(), 1);
    });
}

Test(hosted_object, refuses_what_is_not_hashed_yet) {
    Hosts h(8 * kBlock);
    const auto o = h.fresh();
    h.append(*o, 0, 1);
    const auto [a, id] = h.attach(*o, 1);
    h.in(*o, [&, a = a, id = id] {
        cr_assert(o->on_request(id, {Handle{1}, BlockIndex{5}, 6, 0, false}).has_value());
        cr_assert_eq(a->all<Refuse>().size(), 1);
        cr_assert_eq(a->all<Refuse>()[0].code, Errc::no_such_block);
    });
}

// ── From the origin again ──

Test(hosted_object, reads_from_the_origin_again_what_is_neither_in_memory_nor_on_disk) {
    Hosts h(8 * kBlock + 17);
    const auto o = h.known(nodes_of(h.geometry)).value();
    const auto [a, id] = h.attach(*o, 1);
    h.in(*o, [&, id = id] {
        for (std::uint32_t i = 0; i < 9; ++i) cr_assert(o->on_request(id, ask(*o, i)).has_value());
    });
    cr_assert(h.eventually(*o, [a = a] { return a->blocks.size() == 9; }));
    h.in(*o, [&, a = a] {
        check_log(h, *a);
        cr_assert_leq(h.origin->reads, 8, "neighbours go in one request");
    });
}

Test(hosted_object, never_sends_bytes_of_an_origin_that_lies_and_withdraws) {
    Hosts h(4 * kBlock);
    h.origin->lies_about = 2;
    const auto o = h.known(nodes_of(h.geometry)).value();
    const auto [a, a_id] = h.attach(*o, 1);
    const auto [b, b_id] = h.attach(*o, 2);
    h.in(*o, [&, a_id = a_id] { cr_assert(o->on_request(a_id, ask(*o, 2)).has_value()); });
    cr_assert(h.eventually(*o, [&] { return o->state() == HostedObject::State::withdrawn; }));
    h.in(*o, [&, a = a, b = b] {
        for (const auto& t : {a, b}) {
            cr_assert(t->blocks.empty());
            cr_assert_eq(t->all<Close>().size(), 1);
            cr_assert_eq(t->all<Close>()[0].code, Errc::withdrawn);
            cr_assert(t->all<Close>()[0].by_provider);
        }
        cr_assert(h.keeper->withdrawn_for == std::vector<Errc>{Errc::withdrawn});
    });
    std::promise<Errc> late;
    o->when_open(o->loop(), [&](const Status& s) { late.set_value(s.code()); });
    cr_assert_eq(late.get_future().get(), Errc::withdrawn);
    const auto [c, c_id] = h.attach(*o, 3);
    h.in(*o, [c = c] { cr_assert_eq(c->all<Close>().size(), 1); });
}

Test(hosted_object, refuses_for_a_while_what_the_origin_does_not_answer) {
    Hosts h(4 * kBlock);
    h.origin->failure = fail(Errc::unreachable);
    const auto o = h.known(nodes_of(h.geometry)).value();
    const auto [a, id] = h.attach(*o, 1);
    h.in(*o, [&, id = id] { cr_assert(o->on_request(id, ask(*o, 2)).has_value()); });
    cr_assert(h.eventually(*o, [a = a] { return a->all<Refuse>().size() == 1; }));
    h.in(*o, [&, a = a, id = id] {
        cr_assert_eq(a->all<Refuse>()[0].code, Errc::busy);
        cr_assert_eq(o->state(), HostedObject::State::complete);
        h.origin->failure.reset();
        cr_assert(o->on_request(id, ask(*o, 2)).has_value());
    });
    cr_assert(h.eventually(*o, [a = a] { return a->blocks.size() == 1; }));
}

// DESIGN 3, never worse: who waits hears it, and who asks then is answered by the origin itself.
Test(hosted_object, sends_away_who_waits_for_an_origin_that_fails_and_fails) {
    Hosts h(8 * kBlock);
    h.origin->failure = fail(Errc::io, "the origin answers 503");
    h.failing = Duration::zero();
    const auto o = h.known(nodes_of(h.geometry)).value();
    const auto [a, a_id] = h.attach(*o, 1);
    const auto [b, b_id] = h.attach(*o, 2);
    const auto opens = [&] {
        std::promise<Errc> said;
        o->when_open(o->loop(), [&](const Status& s) { said.set_value(s.code()); });
        return said.get_future().get();
    };
    // Several blocks at once are one try.
    for (std::size_t tries = 1; tries < 3; ++tries) {
        h.in(*o, [&, id = a_id] {
            for (const std::uint32_t block : {2U, 4U}) cr_assert(o->on_request(id, ask(*o, block)).has_value());
        });
        cr_assert(h.eventually(*o, [&, a = a] { return a->all<Refuse>().size() == 2 * tries; }));
        h.in(*o, [a = a] { cr_assert(a->all<Close>().empty()); });
    }
    cr_assert_eq(opens(), Errc::ok);
    h.in(*o, [&, id = a_id] { cr_assert(o->on_request(id, ask(*o, 2)).has_value()); });
    cr_assert(h.eventually(*o, [a = a] { return a->all<Close>().size() == 1; }));
    h.in(*o, [&, a = a, b = b] {
        cr_assert_eq(a->all<Close>()[0].code, Errc::no_such_block);
        cr_assert(b->all<Close>().empty(), "who waits for nothing has nothing to hear");
        cr_assert_eq(o->state(), HostedObject::State::complete, "the origin may come back");
    });
    cr_assert_eq(opens(), Errc::io);
    h.in(*o, [&, id = b_id] {
        h.origin->failure.reset();
        cr_assert(o->on_request(id, ask(*o, 2)).has_value());
    });
    cr_assert(h.eventually(*o, [b = b] { return b->blocks.size() == 1; }));
    cr_assert_eq(opens(), Errc::ok);
}

Test(hosted_object, does_not_send_what_was_cancelled_while_it_was_read) {
    Hosts h(4 * kBlock);
    h.origin->holds = true;
    const auto o = h.known(nodes_of(h.geometry)).value();
    const auto [a, id] = h.attach(*o, 1);
    h.in(*o, [&, id = id] {
        cr_assert(o->on_request(id, ask(*o, 2)).has_value());
        cr_assert(o->on_request(id, ask(*o, 3)).has_value());
    });
    cr_assert(h.eventually(*o, [&] { return !h.origin->held.empty(); }));
    h.in(*o, [&, id = id] {
        o->on_cancel(id, {Handle{1}, BlockIndex{2}});
        for (const auto& go : h.origin->held) go();
    });
    cr_assert(h.eventually(*o, [a = a] { return a->blocks.contains(3); }));
    h.in(*o, [a = a] { cr_assert(!a->blocks.contains(2)); });
}

Test(hosted_object, reads_a_block_once_for_all_who_wait_for_it) {
    Hosts h(4 * kBlock);
    h.origin->holds = true;
    const auto o = h.known(nodes_of(h.geometry)).value();
    std::vector<std::shared_ptr<FakeTaker>> takers;
    for (std::uint8_t n = 1; n <= 5; ++n) {
        const auto [t, id] = h.attach(*o, n);
        takers.push_back(t);
        h.in(*o, [&, id = id] { cr_assert(o->on_request(id, ask(*o, 1)).has_value()); });
    }
    cr_assert(h.eventually(*o, [&] { return !h.origin->held.empty(); }));
    h.in(*o, [&] {
        cr_assert_eq(h.origin->reads, 1);
        h.origin->held[0]();
    });
    cr_assert(h.eventually(*o, [&] {
        return std::all_of(takers.begin(), takers.end(), [](const auto& t) { return t->blocks.size() == 1; });
    }));
}

Test(hosted_object, gives_from_its_spool_what_left_the_memory) {
    Hosts h(6 * kBlock + 1);
    const auto spool = Store::open(h.directory.path + "/spool", h.realm->trust().id(), std::uint64_t{1} << 30, h.engine.workers, h.engine.buffers);
    {
        const auto o = h.fresh(spool);
        h.append(*o, 0, 7);
        cr_assert(h.eventually(*o, [&] {
            const auto file = spool->find(o->id());
            return o->state() == HostedObject::State::complete && file && file->have().all();
        }));
    }
    const auto again = h.known(nodes_of(h.geometry), spool).value();
    const auto [a, id] = h.attach(*again, 1);
    // What arrives while the origin is away came from the spool; until a worker has opened that, requests are refused.
    h.engine.run(again->loop(), [&] { h.origin->failure = fail(Errc::unreachable); });
    std::size_t asked = 0;
    cr_assert(h.eventually(*again, [&, a = a, id = id] {
        if (a->blocks.size() + a->all<Refuse>().size() < asked) return false;
        for (std::uint32_t i = 0; i < 7; ++i) {
            if (a->blocks.contains(i)) continue;
            ++asked;
            (void)again->on_request(id, ask(*again, i));
        }
        return a->blocks.size() == 7;
    }));
    h.in(*again, [&, a = a] { check_log(h, *a); });
}

Test(hosted_object, does_not_believe_a_spool_with_other_nodes) {
    Hosts h(2 * kBlock);
    const auto spool = Store::open(h.directory.path + "/spool", h.realm->trust().id(), std::uint64_t{1} << 30, h.engine.workers, h.engine.buffers);
    Loop& loop = h.engine.loops.at(0);
    const auto planted = spool->create(h.manifest.object, h.geometry).value();
    const Geometry other(std::uint64_t{2} * kBlock, kMinBlockBytes);
    // Consistent in itself, and not the object.
    std::promise<void> written;
    planted->write(BlockIndex{0}, content(other, BlockIndex{1}), kBlock, node_of(other, BlockIndex{1}), loop,
                   [&](const Status&) { written.set_value(); });
    written.get_future().wait();
    const auto o = h.known(nodes_of(h.geometry), spool).value();
    const auto [a, id] = h.attach(*o, 1);
    // A worker judges it: asked before that, the origin would answer, whatever was believed.
    cr_assert(h.eventually(*o, [&] { return spool->find(h.manifest.object) != planted; }));
    h.in(*o, [&, id = id] { cr_assert(o->on_request(id, ask(*o, 0)).has_value()); });
    cr_assert(h.eventually(*o, [a = a] { return a->blocks.size() == 1; }));
    h.in(*o, [&, a = a] { check_log(h, *a); });
}

// ── Life ──

Test(hosted_object, is_not_made_of_nodes_that_are_not_the_heads) {
    Hosts h(3 * kBlock);
    auto nodes = nodes_of(h.geometry);
    nodes[1].bytes[0] ^= 1;
    cr_assert_eq(h.known(nodes).code(), Errc::malformed);
    nodes = nodes_of(h.geometry);
    nodes.pop_back();
    cr_assert_eq(h.known(nodes).code(), Errc::malformed);
}

Test(hosted_object, is_withdrawn_by_a_block_out_of_order) {
    Hosts h(3 * kBlock);
    const auto o = h.fresh();
    std::promise<Errc> opened;
    o->when_open(o->loop(), [&](const Status& s) { opened.set_value(s.code()); });
    h.append(*o, 1, 2);
    cr_assert_eq(o->state(), HostedObject::State::withdrawn);
    cr_assert_eq(opened.get_future().get(), Errc::withdrawn);
}

Test(hosted_object, tells_when_it_is_open) {
    Hosts h(3 * kBlock);
    const auto o = h.fresh();
    std::promise<Errc> before;
    o->when_open(o->loop(), [&](const Status& s) { before.set_value(s.code()); });
    h.append(*o, 0, 1);
    cr_assert_eq(before.get_future().get(), Errc::ok);
    std::promise<Errc> after;
    o->when_open(o->loop(), [&](const Status& s) { after.set_value(s.code()); });
    cr_assert_eq(after.get_future().get(), Errc::ok);
}

Test(hosted_object, names_members_to_each_other_and_leaves_out_the_convicted) {
    Hosts h(3 * kBlock);
    const auto o = h.fresh();
    const auto [a, a_id] = h.attach(*o, 1);
    const auto [b, b_id] = h.attach(*o, 2);
    h.in(*o, [&, b = b] {
        cr_assert_eq(b->all<Peers>().size(), 1, "who comes is told at once");
        cr_assert(b->all<Peers>()[0].peers[0].member == member_number(1));
    });
    cr_assert(h.eventually(*o, [a = a] { return a->all<Peers>().size() == 1; }));
    h.in(*o, [&, a_id = a_id, b = b, b_id = b_id] {
        cr_assert(o->named(a_id, member_number(2)));
        cr_assert(!o->named(a_id, member_number(9)));
        b->own.gone = true;
        o->on_entry_changed(b_id);
    });
    cr_assert(h.eventually(*o, [a = a] { return a->all<Peers>().size() == 2; }));
    h.in(*o, [&, a = a, a_id = a_id] {
        cr_assert(a->all<Peers>()[1].peers[0].gone);
        cr_assert(o->named(a_id, member_number(2)), "one that was named may still be reported");
    });
}

Test(hosted_object, gives_again_what_only_one_had_who_left) {
    Hosts h(4 * kBlock);
    const auto o = h.fresh();
    h.append(*o, 0, 4);
    cr_assert(h.eventually(*o, [&] { return o->state() == HostedObject::State::complete; }));
    const auto [a, a_id] = h.attach(*o, 1);
    const auto [b, b_id] = h.attach(*o, 2);
    h.in(*o, [&, a = a, a_id = a_id, b = b, b_id = b_id] {
        o->on_any(a_id, {Handle{1}, 4, 3, false});
        cr_assert_eq(a->blocks.size(), 4);
        o->on_any(b_id, {Handle{2}, 4, 3, false});
        cr_assert(b->blocks.empty());
        o->detach(a_id);
        cr_assert_eq(b->blocks.size(), 4);
        cr_assert_eq(b->all<AllOut>().size(), 2, "out, then not, then out again");
    });
}

Test(hosted_object, may_be_let_go_of_by_any_thread_in_the_middle_of_it) {
    Hosts h(64 * kBlock, 2);
    for (int round = 0; round < 20; ++round) {
        h.manifest.object.bytes.fill(static_cast<std::uint8_t>(round));
        auto o = h.fresh();
        const auto [a, id] = h.attach(*o, 1);
        h.in(*o, [&, id = id] { o->on_any(id, {Handle{1}, 64, 3, true}); });
        h.append(*o, 0, 30);
        o.reset();
    }
}

// ── Read for nobody ──

Test(hosted_object, is_read_on_only_while_somebody_reads_it) {
    Hosts h(8 * kBlock);
    h.grace = std::chrono::milliseconds(20);
    const auto o = h.fresh();
    const auto [a, id] = h.attach(*o, 1);
    o->shown_to(member_number(1), {});
    h.append(*o, 0, 2);
    h.in(*o, [&, id = id] {
        cr_assert_eq(o->state(), HostedObject::State::hashing);
        o->detach(id);
    });
    // The same member, however often it asks, is one.
    o->shown_to(member_number(1), {});
    cr_assert(h.eventually(*o, [&] { return o->state() == HostedObject::State::withdrawn; }));
    cr_assert(h.in(*o, [&] { return h.keeper->withdrawn_for; }) == std::vector<Errc>{Errc::cancelled});
}

Test(hosted_object, is_read_to_its_end_when_a_second_member_or_the_operator_was_told_of_it) {
    for (const std::optional<MemberId>& second : {std::optional(member_number(2)), std::optional<MemberId>()}) {
        Hosts h(8 * kBlock);
        h.grace = std::chrono::milliseconds(20);
        const auto o = h.fresh();
        const auto [a, id] = h.attach(*o, 1);
        o->shown_to(member_number(1), {});
        o->shown_to(second, {});
        h.append(*o, 0, 2);
        h.in(*o, [&, id = id] { o->detach(id); });
        // Longer than the grace, by the same loop's timers.
        std::promise<void> later;
        std::unique_ptr<Timer> timer;
        h.in(*o, [&] {
            timer = std::make_unique<Timer>(o->loop(), [&] { later.set_value(); });
            timer->start(std::chrono::milliseconds(60));
        });
        later.get_future().wait();
        h.in(*o, [&] {
            timer.reset();
            cr_assert_eq(o->state(), HostedObject::State::hashing);
        });
        h.append(*o, 2, 8);
        cr_assert(h.eventually(*o, [&] { return o->state() == HostedObject::State::complete; }));
    }
}
