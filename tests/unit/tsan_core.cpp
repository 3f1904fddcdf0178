// Threads at work on what they share: mailboxes, workers, strands, buffers, the log. A plain program, because Criterion's do not
// start under ThreadSanitizer, which does the looking; without it the sums are still checked.
#include <atomic>
#include <cstdio>
#include <cstdlib>

#include "proxy/core/buffer_pool.h"
#include "proxy/core/log.h"
#include "proxy/core/net.h"

using namespace mssl::proxy;

namespace {

constexpr unsigned kLoops = 4;
constexpr int kRounds = 2000;

void must(bool ok, const char* what) {
    if (ok) return;
    std::fprintf(stderr, "tsan_core: %s\n", what);
    std::exit(1);
}

// A ball goes round the loops; each touches a counter that belongs to it alone. On its way it is sent through the pool.
struct Game {
    LoopGroup loops{kLoops};
    Workers workers{3};
    BufferPool buffers{std::size_t{8} << 20};
    int touched[kLoops] = {};
    std::atomic<int> left{static_cast<int>(kLoops)};

    void play(unsigned at, int round) {
        must(loops.at(at).in_loop(), "a task runs in its own loop");
        ++touched[at];
        if (round == kRounds) {
            if (--left == 0) loops.stop_all();
            return;
        }
        const unsigned next = (at + 1) % kLoops;
        auto block = buffers.get(1);
        must(block != nullptr, "the pool has buffers");
        block[0] = static_cast<std::uint8_t>(round);
        workers.submit(loops.at(next), [block] { return static_cast<int>(block[0]); },
                       [this, next, round](int seen) {
                           must(seen == (round & 0xff), "a block arrives as it was sent");
                           play(next, round + 1);
                       });
    }
};

void loops_workers_and_buffers() {
    Game game;
    for (unsigned i = 0; i < kLoops; ++i) game.loops.at(i).post([&game, i] { game.play(i, 0); });
    game.loops.run();
    int sum = 0;
    for (const int n : game.touched) sum += n;
    must(sum == static_cast<int>(kLoops) * (kRounds + 1), "every task ran once");
    must(game.buffers.in_use() == 0, "every buffer came back");
}

void a_strand_needs_no_lock() {
    long sum = 0;
    {
        Workers workers(4);
        Strand strand(workers);
        std::vector<std::thread> threads;
        for (int t = 0; t < 4; ++t)
            threads.emplace_back([&] {
                for (int i = 0; i < kRounds; ++i) strand.submit([&sum] { ++sum; });
            });
        for (auto& thread : threads) thread.join();
    }
    must(sum == 4L * kRounds, "every job of a strand ran once");
}

void a_listener_hands_out_to_all_loops() {
    LoopGroup loops(kLoops);
    std::atomic<int> taken{0};
    constexpr int kConnections = 64;
    auto listener = Listener::open(loops, *Address::parse("127.0.0.1:0"), [&](Loop& loop, Fd, const Address&) {
        add(loop.counters().requests);
        if (++taken == kConnections) loops.stop_all();
    });
    must(listener.has_value(), "listening on loopback");
    (*listener)->start();
    const Address at = (*listener)->address();
    std::thread clients([&] {
        for (int i = 0; i < kConnections; ++i) {
            const Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
            must(connect(fd.get(), at.sa(), at.length()) == 0, "connecting over loopback");
        }
    });
    loops.run();
    clients.join();
}

void the_log_is_reconfigured_while_it_is_written() {
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t)
        threads.emplace_back([] {
            for (int i = 0; i < 200; ++i) log::debug("tsan", {{"i", i}});
        });
    for (int i = 0; i < 20; ++i) {
        must(log::configure(log::Level::debug, i % 2 == 0 ? "/dev/null" : "").has_value(), "configuring the log");
        must(log::configure(log::Level::error, "/dev/null").has_value(), "configuring the log");
        log::reopen();
    }
    for (auto& thread : threads) thread.join();
}

}  // namespace

int main() {
    loops_workers_and_buffers();
    a_strand_needs_no_lock();
    a_listener_hands_out_to_all_loops();
    the_log_is_reconfigured_while_it_is_written();
    std::puts("tsan_core: done");
    return 0;
}
