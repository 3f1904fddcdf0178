#include <criterion/criterion.h>

#include <cstring>
#include <vector>

#include "proxy/core/buffer_pool.h"

using namespace mssl;
using namespace mssl::proxy;

namespace {
constexpr std::size_t kKiB = 1024;
}

Test(buffer_pool, rounds_up_to_the_size_class) {
    struct Row {
        std::size_t asked, counted;
    };
    for (const Row row : {Row{0, 64}, Row{1, 64}, Row{64 * kKiB, 64}, Row{64 * kKiB + 1, 128}, Row{128 * kKiB, 128},
                          Row{128 * kKiB + 1, 256}, Row{256 * kKiB, 256}}) {
        BufferPool pool(kKiB * kKiB);
        const auto buffer = pool.get(row.asked);
        cr_assert(buffer != nullptr);
        std::memset(buffer.get(), 0xa5, row.counted * kKiB);
        cr_assert_eq(pool.in_use(), row.counted * kKiB, "%zu", row.asked);
    }
}

Test(buffer_pool, has_nothing_larger_than_a_block) {
    BufferPool pool(1 << 30);
    cr_assert(pool.get(256 * kKiB + 1) == nullptr);
    cr_assert_eq(pool.in_use(), 0U);
}

Test(buffer_pool, gives_nothing_over_its_limit_and_again_when_some_came_back) {
    BufferPool pool(128 * kKiB);
    auto a = pool.get(64 * kKiB);
    auto b = pool.get(64 * kKiB);
    cr_assert(a && b);
    cr_assert(pool.get(1) == nullptr);
    cr_assert_eq(pool.in_use(), 128 * kKiB);
    b.reset();
    cr_assert(pool.get(64 * kKiB + 1) == nullptr);
    cr_assert(pool.get(1) != nullptr);
}

Test(buffer_pool, counts_a_buffer_until_its_last_holder_let_go) {
    BufferPool pool(1 << 20);
    auto a = pool.get(1);
    auto b = a;
    a.reset();
    cr_assert_eq(pool.in_use(), 64 * kKiB);
    b.reset();
    cr_assert_eq(pool.in_use(), 0U);
}

Test(buffer_pool, uses_a_returned_buffer_again) {
    BufferPool pool(1 << 20);
    auto a = pool.get(1);
    const void* where = a.get();
    a.reset();
    cr_assert(pool.get(1).get() == where);
}

Test(buffer_pool, may_go_before_its_buffers) {
    std::shared_ptr<std::uint8_t[]> buffer;
    {
        BufferPool pool(1 << 20);
        buffer = pool.get(1);
    }
    buffer[0] = 1;
    cr_assert_eq(buffer[0], 1);
}

Test(buffer_pool, cached_blocks_are_for_whoever_asks) {
    BufferPool pool(1 << 20);
    ObjectId object;
    for (std::uint32_t i = 0; i < 8; ++i) pool.cache()->put(object, BlockIndex{i}, pool.get(1), 64 * kKiB);
    cr_assert_eq(pool.cache()->bytes(), 256 * kKiB, "a quarter at most");
    cr_assert(pool.cache()->find(object, BlockIndex{3}) == nullptr);
    cr_assert(pool.cache()->find(object, BlockIndex{4}) != nullptr);
    std::vector<std::shared_ptr<std::uint8_t[]>> all;
    for (int i = 0; i < 13; ++i) all.push_back(pool.get(1));
    cr_assert(all.back() != nullptr);
    cr_assert(pool.cache()->find(object, BlockIndex{5}) == nullptr, "the longest unused goes first");
    cr_assert(pool.cache()->find(object, BlockIndex{4}) != nullptr, "what was found is used");
    while (auto buffer = pool.get(1)) all.push_back(std::move(buffer));
    cr_assert_eq(all.size(), 16U);
    cr_assert_eq(pool.cache()->bytes(), 0U);
}

Test(buffer_pool, where_it_is_shared_each_use_keeps_a_quarter) {
    for (const auto& [greedy, other] : {std::pair{BufferPool::Use::transfer, BufferPool::Use::cold_read},
                                       std::pair{BufferPool::Use::cold_read, BufferPool::Use::transfer}}) {
        BufferPool pool(1 << 20);
        pool.share();
        std::vector<std::shared_ptr<std::uint8_t[]>> all, few;
        while (auto buffer = pool.get(1, greedy)) all.push_back(std::move(buffer));
        while (auto buffer = pool.get(1, other)) few.push_back(std::move(buffer));
        cr_assert_eq(all.size(), 12U);
        cr_assert_eq(few.size(), 4U);
        few.clear();
        cr_assert(pool.get(1, greedy) == nullptr);
        cr_assert(pool.get(1, other) != nullptr);
    }
}
