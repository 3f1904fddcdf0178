// What members are answered that download from here.
#include <criterion/criterion.h>

#include "proxy/client/uploads.h"
#include "tests/unit/hosting_fixture.h"

using namespace mssl;
using namespace mssl::proxy;
using namespace mssl::proxy::test;

namespace {

constexpr std::uint32_t kBlocks = 5;

struct Downloader final : UploadTaker {
    void send_control(ControlFrame frame) override {
        if (const auto* r = std::get_if<Refuse>(&frame)) refused.push_back(r->code);
    }
    void send_block(BlockFrame frame, BlockData, std::function<void()> sent) override {
        blocks.push_back(frame.block.v);
        sent();
    }
    void fail(const Error&) override { ++failed; }
    MemberId member() const override { return member_number(1); }
    std::vector<Errc> refused;
    std::vector<std::uint32_t> blocks;
    unsigned failed = 0;
};

}  // namespace

// Heads reach members one after another (DESIGN 9: a cold start). A downloader forgets who answers no_such_block.
Test(uploads, what_is_here_is_served_to_who_knows_a_newer_head) {
    Engine engine;
    const Geometry geometry{std::uint64_t{kBlocks} * kMinBlockBytes, kMinBlockBytes};
    MerkleTree tree;
    Bitmap have(kBlocks);
    for (std::uint32_t i = 0; i < 3; ++i) {
        tree.append(node_of(geometry, BlockIndex{i}));
        have.set(BlockIndex{i});
    }
    auto taker = std::make_shared<Downloader>();
    Loop& loop = engine.loops.at(0);
    engine.run(loop, [&] {
        Uploads uploads(
            loop, geometry, std::make_shared<RateLimit>(0),
            [&](NodePosition p) { return p.level == 0 && p.index >= 3 ? std::nullopt : tree.node(p); },
            [&]() -> const Bitmap& { return have; },
            [&](BlockIndex b, std::function<void(Result<BlockData>)> done) { done(content(geometry, b)); });
        uploads.set_head({}, 3);
        const auto id = uploads.attach(taker, Handle{1}, {wall_now().unix_seconds + 600});
        uploads.on_request(id, Request{Handle{1}, BlockIndex{0}, kBlocks, 1, false});
        uploads.on_request(id, Request{Handle{1}, BlockIndex{2}, kBlocks, 1, false});
        uploads.on_request(id, Request{Handle{1}, BlockIndex{4}, kBlocks, 0, false});
    });
    cr_assert_eq(taker->failed, 0U);
    cr_assert_eq(taker->blocks, std::vector<std::uint32_t>{0}, "its path is complete here");
    cr_assert_eq(taker->refused, (std::vector<Errc>{Errc::busy, Errc::no_such_block}), "a node that is not here yet; not here");
}

// A downloader forgets who answers no_such_block; who is only short of memory keeps what it has.
Test(uploads, who_is_short_of_buffers_is_busy_and_does_not_deny_its_blocks) {
    Engine engine;
    const Geometry geometry{std::uint64_t{kBlocks} * kMinBlockBytes, kMinBlockBytes};
    MerkleTree tree;
    Bitmap have(kBlocks);
    for (std::uint32_t i = 0; i < kBlocks; ++i) {
        tree.append(node_of(geometry, BlockIndex{i}));
        have.set(BlockIndex{i});
    }
    auto taker = std::make_shared<Downloader>();
    Loop& loop = engine.loops.at(0);
    engine.run(loop, [&] {
        Uploads uploads(
            loop, geometry, std::make_shared<RateLimit>(0), [&](NodePosition p) { return tree.node(p); },
            [&]() -> const Bitmap& { return have; },
            [&](BlockIndex b, std::function<void(Result<BlockData>)> done) {
                done(b.v == 0 ? fail(Errc::busy, "no buffer for a block") : fail(Errc::bad_proof, "rotten"));
            });
        uploads.set_head({}, kBlocks);
        const auto id = uploads.attach(taker, Handle{1}, {wall_now().unix_seconds + 600});
        uploads.on_request(id, Request{Handle{1}, BlockIndex{0}, kBlocks, 0, false});
        uploads.on_request(id, Request{Handle{1}, BlockIndex{1}, kBlocks, 0, false});
    });
    cr_assert_eq(taker->refused, (std::vector<Errc>{Errc::busy, Errc::no_such_block}));
}
