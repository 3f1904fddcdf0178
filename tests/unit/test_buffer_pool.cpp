#include <criterion/criterion.h>

#include <cstring>

#include "proxy/core/buffer_pool.h"

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
