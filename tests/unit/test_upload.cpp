#include <criterion/criterion.h>

#include "protocol/upload.h"

using namespace mssl;

namespace {

constexpr std::uint64_t kBlocks = 7;
const Geometry kGeometry{kBlocks * kMinBlockBytes - 5, kMinBlockBytes};

struct Fixture {
    Fixture() {
        for (std::uint8_t i = 0; i < kBlocks; ++i) tree.append(hash_leaf(View{&i, 1}));
        have.set_all();
        upload.set_head_blocks(kBlocks);
    }
    Request request(std::uint32_t block, std::uint64_t nodes = 0, bool nodes_only = false) const {
        return {Handle{1}, BlockIndex{block}, kBlocks, nodes, nodes_only};
    }
    void queue(const Request& r) {
        const auto answer = upload.on_request(r, have);
        cr_assert(answer.has_value() && !answer->has_value());
    }
    BlockFrame next() {
        auto out = upload.next();
        cr_assert(out.has_value());
        cr_assert(std::holds_alternative<Upload::Job>(*out));
        return std::get<Upload::Job>(*out).frame;
    }
    MerkleTree tree;
    bool nodes_gone = false;
    Upload upload{kGeometry, [this](NodePosition p) { return nodes_gone ? std::nullopt : tree.node(p); }};
    Bitmap have{kBlocks};
};

}  // namespace

Test(upload, requests_are_served_first_in_first_out_with_their_lengths) {
    Fixture f;
    for (const std::uint32_t b : {6U, 0U, 3U}) f.queue(f.request(b));
    cr_assert_eq(f.upload.queued_bytes(), kGeometry.block_length(BlockIndex{6}) + 2 * kMinBlockBytes);
    for (const std::uint32_t b : {6U, 0U, 3U}) {
        const BlockFrame frame = f.next();
        cr_assert_eq(frame.block.v, b);
        cr_assert_eq(frame.length, kGeometry.block_length(BlockIndex{b}));
    }
    cr_assert(!f.upload.next().has_value());
}

Test(upload, nodes_go_ahead_of_payload_and_bring_none) {
    Fixture f;
    f.queue(f.request(0));
    f.queue(f.request(2, 3, true));
    const BlockFrame frame = f.next();
    cr_assert_eq(frame.block.v, 2U);
    cr_assert_eq(frame.length, 0U);
    cr_assert_eq(frame.nodes.size(), 2U);
    cr_assert(frame.nodes[0] == *f.tree.node({0, 3}));
    cr_assert(frame.nodes[1] == *f.tree.node({1, 0}));
}

Test(upload, what_breaks_the_protocol_is_an_error) {
    struct Row { std::uint32_t block; std::uint64_t head, nodes; };
    for (const Row& row : {Row{7, 7, 0}, Row{0, 8, 0}, Row{3, 3, 0}, Row{0, 7, 4}, Row{6, 7, 1}, Row{0, 0, 0}}) {
        Fixture f;
        const auto answer = f.upload.on_request({Handle{1}, BlockIndex{row.block}, row.head, row.nodes, false}, f.have);
        cr_assert_eq(answer.code(), Errc::malformed, "block %u head %llu", row.block, (unsigned long long)row.head);
    }
}

Test(upload, the_same_request_twice_is_an_error) {
    Fixture f;
    f.queue(f.request(1));
    cr_assert_eq(f.upload.on_request(f.request(1), f.have).code(), Errc::unexpected);
}

Test(upload, a_block_given_and_asked_for_is_sent_once_with_the_nodes_that_were_asked_for) {
    Fixture f;
    f.upload.give(BlockIndex{1}, false);
    f.queue(f.request(1, 3));
    cr_assert_eq(f.next().mask, 3U);
    cr_assert(!f.upload.next().has_value());
}

Test(upload, a_block_that_is_not_here_is_refused) {
    Fixture f;
    f.have.clear(BlockIndex{4});
    const auto answer = f.upload.on_request(f.request(4), f.have);
    cr_assert_eq((*answer)->code, Errc::no_such_block);
    f.upload = Upload(kGeometry, [](NodePosition) { return std::nullopt; });
    f.upload.set_head_blocks(4);  // the other side has a newer head
    cr_assert_eq((*f.upload.on_request(f.request(5), f.have))->code, Errc::no_such_block);
}

Test(upload, the_queue_is_bounded) {
    const std::uint64_t blocks = Upload::kMaxQueued + 1;
    Upload upload(Geometry{blocks * kMinBlockBytes, kMinBlockBytes}, [](NodePosition) { return std::nullopt; });
    upload.set_head_blocks(blocks);
    Bitmap have(blocks);
    have.set_all();
    for (std::uint32_t i = 0; i < Upload::kMaxQueued; ++i)
        cr_assert(!upload.on_request({Handle{}, BlockIndex{i}, blocks, 0, false}, have)->has_value());
    const auto last = upload.on_request({Handle{}, BlockIndex{Upload::kMaxQueued}, blocks, 0, false}, have);
    cr_assert_eq((*last)->code, Errc::busy);
}

Test(upload, a_cancelled_block_is_not_sent) {
    Fixture f;
    f.queue(f.request(1));
    f.queue(f.request(2));
    f.upload.on_cancel(BlockIndex{1});
    cr_assert_eq(f.next().block.v, 2U);
    f.queue(f.request(1));  // and may be asked for again
}

Test(upload, nodes_that_vanished_are_a_refusal_that_does_not_deny_the_block) {
    Fixture f;
    f.queue(f.request(0, 1));
    f.nodes_gone = true;
    cr_assert_eq(std::get<Refuse>(*f.upload.next()).code, Errc::busy);
}

Test(upload, a_block_given_with_its_path_verifies_from_the_peaks_alone) {
    Fixture f;
    for (std::uint32_t b = 0; b < kBlocks; ++b) {
        f.upload.give(BlockIndex{b}, true);
        const BlockFrame frame = f.next();
        NodeCache cache;
        cr_assert(cache.add_peaks(kBlocks, f.tree.peaks(kBlocks)).has_value());
        cr_assert(cache.verify(BlockIndex{b}, *f.tree.node({0, b}), frame.mask, frame.nodes).has_value(), "block %u", b);
    }
}
