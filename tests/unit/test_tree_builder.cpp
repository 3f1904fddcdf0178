#include <criterion/criterion.h>

#include <csignal>
#include <random>

#include "protocol/tree_builder.h"
#include "tests/unit/naive_merkle.h"

using namespace mssl;

Test(tree_builder, spans_of_any_size_give_the_rfc_root) {
    const std::vector<std::size_t> lengths = naive::lengths();
    const Bytes data = naive::data(lengths.back());
    std::mt19937 random(7);
    for (const std::size_t length : lengths) {
        const View part = View(data).first(length);
        const Hash root = naive::root(part);
        for (const std::uint32_t block_bytes : {64U * 1024, 128U * 1024, 256U * 1024}) {
            for (const std::size_t most : {std::size_t{5000}, std::size_t{300000}, length + 1}) {
                TreeBuilder builder(block_bytes);
                for (View rest = part; !rest.empty();) {
                    const std::size_t n =
                        std::min<std::size_t>(rest.size(), most > length ? length : random() % most);
                    builder.feed(rest.first(n));
                    rest = rest.subspan(n);
                }
                builder.finish();
                cr_assert_eq(builder.length(), length);
                cr_assert_eq(builder.tree().block_count(), Geometry(length, block_bytes).block_count());
                cr_assert(builder.tree().root() == root, "%zu bytes in blocks of %u", length, block_bytes);
            }
        }
    }
}

Test(tree_builder, the_tree_grows_as_soon_as_a_block_is_whole) {
    const Bytes data = naive::data(2 * kMinBlockBytes + 1);
    TreeBuilder builder(kMinBlockBytes);
    builder.feed(View(data).first(kMinBlockBytes - 1));
    cr_assert_eq(builder.tree().block_count(), 0U);
    builder.feed(View(data).subspan(kMinBlockBytes - 1, 1));
    cr_assert_eq(builder.tree().block_count(), 1U);
    cr_assert(builder.tree().root() == naive::root(View(data).first(kMinBlockBytes)));
    builder.feed(View(data).subspan(kMinBlockBytes));
    cr_assert_eq(builder.tree().block_count(), 2U, "the rest is no block yet");
    builder.finish();
    cr_assert(builder.take().root() == naive::root(data));
}

Test(tree_builder, nothing_fed_is_the_empty_object) {
    TreeBuilder builder(kMinBlockBytes);
    builder.feed({});
    builder.finish();
    cr_assert(builder.tree().root() == empty_root());
}

Test(tree_builder, feeding_after_the_end_ends_the_program, .signal = SIGABRT) {
    TreeBuilder builder(kMinBlockBytes);
    builder.finish();
    builder.feed({});
}

Test(tree_builder, finishing_twice_ends_the_program, .signal = SIGABRT) {
    TreeBuilder builder(kMinBlockBytes);
    builder.finish();
    builder.finish();
}

Test(tree_builder, a_block_size_that_is_no_power_of_two_ends_the_program, .signal = SIGABRT) {
    TreeBuilder{96 * 1024};
}
Test(tree_builder, a_block_of_one_leaf_ends_the_program, .signal = SIGABRT) { TreeBuilder{kLeafBytes}; }
