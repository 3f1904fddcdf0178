#include <criterion/criterion.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <functional>
#include <thread>

#include "proxy/core/loop.h"
#include "proxy/core/net.h"
#include "proxy/core/workers.h"

using namespace mssl;
using namespace mssl::proxy;

namespace {

struct Noted : Disposable {
    explicit Noted(std::vector<int>& n, int w) : notes(n), what(w) {}
    ~Noted() override { notes.push_back(what); }
    std::vector<int>& notes;
    int what;
};

}  // namespace

Test(loop, runs_tasks_in_posting_order_in_its_own_thread) {
    Loop loop(3);
    std::vector<int> seen;
    for (int i = 0; i < 100; ++i) loop.post([&, i] { seen.push_back(loop.in_loop() ? i : -1); });
    loop.post([&] { loop.stop(); });
    cr_assert_not(loop.in_loop());
    loop.run();
    cr_assert_eq(loop.number(), 3U);
    cr_assert_eq(seen.size(), 100U);
    for (int i = 0; i < 100; ++i) cr_assert_eq(seen[static_cast<std::size_t>(i)], i);
}

Test(loop, a_task_posted_by_a_task_runs) {
    Loop loop(0);
    loop.post([&] { loop.post([&] { loop.stop(); }); });
    loop.run();
}

// Work that goes on by posting must not keep sockets waiting: what is ready has its turn between two such tasks.
Test(loop, a_chain_of_posts_lets_sockets_have_their_turn) {
    Loop loop(0);
    std::array<int, 2> ends{};
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    const Fd mine(ends[0]), other(ends[1]);
    const EventPtr readable(event_new(
        loop.base(), mine.get(), EV_READ,
        [](evutil_socket_t, short, void* l) { static_cast<Loop*>(l)->stop(); }, &loop));
    cr_assert_eq(event_add(readable.get(), nullptr), 0);
    int rounds = 0;
    std::function<void()> again = [&] {
        if (++rounds == 3) cr_assert_eq(send(other.get(), "x", 1, MSG_NOSIGNAL), 1);
        cr_assert_lt(rounds, 100'000);
        loop.post(again);
    };
    loop.post(again);
    loop.run();
    cr_assert_geq(rounds, 3);
}

// The loop's own posts and those of other threads share the mailbox: whoever finds it empty wakes the loop for all.
Test(loop, own_posts_and_those_of_others_all_run) {
    constexpr int kEach = 20'000;
    Loop loop(0);
    int own = 0, others = 0;
    const auto end = [&] {
        if (own == kEach && others == kEach) loop.stop();
    };
    std::function<void()> again = [&] {
        if (++own < kEach) loop.post(again);
        end();
    };
    loop.post(again);
    std::thread other([&] {
        for (int i = 0; i < kEach; ++i)
            loop.post([&] {
                ++others;
                end();
            });
    });
    loop.run();
    other.join();
    cr_assert_eq(own, kEach);
    cr_assert_eq(others, kEach);
}

Test(loop, keeps_unrun_what_is_posted_after_stop_until_it_is_emptied) {
    Loop loop(0);
    loop.stop();
    loop.run();
    const auto token = std::make_shared<int>(0);
    bool ran = false;
    loop.post([&ran, token] { ran = true; });
    // What it holds may belong to a thread that still runs: not destroyed here and now.
    cr_assert_eq(token.use_count(), 2);
    cr_assert(loop.empty());
    cr_assert_eq(token.use_count(), 1);
    cr_assert_not(loop.empty());
    cr_assert_not(ran);
}

Test(loop, destroys_with_itself_what_was_never_run) {
    const auto token = std::make_shared<int>(0);
    {
        Loop loop(0);
        loop.post([token] {});
    }
    cr_assert_eq(token.use_count(), 1);
}

// As a connection of one loop that is the last to hold a transfer of another.
Test(loop, of_a_group_may_hold_what_refers_to_another_until_the_end) {
    struct Held final : Disposable {
        Held(Loop& a, std::shared_ptr<int> b) : other(a), token(std::move(b)) {}
        ~Held() override {
            other.post([t = token] {});
        }
        Loop& other;
        std::shared_ptr<int> token;
    };
    const auto token = std::make_shared<int>(0);
    {
        LoopGroup loops(3);
        for (unsigned from = 0; from < 3; ++from)
            for (unsigned to = 0; to < 3; ++to) loops.at(from).adopt(std::make_unique<Held>(loops.at(to), token));
    }
    cr_assert_eq(token.use_count(), 1);
}

Test(loop, buries_after_the_callback_and_before_the_next) {
    Loop loop(0);
    std::vector<int> notes;
    loop.post([&] {
        loop.dispose(std::make_unique<Noted>(notes, 1));
        notes.push_back(0);
    });
    loop.post([&] {
        notes.push_back(2);
        loop.stop();
    });
    loop.run();
    cr_assert(notes == (std::vector<int>{0, 1, 2}));
}

// Two events are ready in the same round; the first lets go of the second, whose callback must not come.
Test(loop, an_event_that_is_already_active_does_not_reach_what_was_disposed_of) {
    Loop loop(0);
    bool reached = false;
    struct Owner : Disposable {
        Owner(Loop& l, bool& r) : timer(l, [&r] { r = true; }) { timer.start(Duration{0}); }
        Timer timer;
    };
    std::unique_ptr<Owner> owner;
    Timer first(loop, [&] { loop.dispose(std::move(owner)); });
    Timer last(loop, [&] { loop.stop(); });
    loop.post([&] {
        first.start(Duration{0});
        owner = std::make_unique<Owner>(loop, reached);
        last.start(std::chrono::milliseconds(20));
    });
    loop.run();
    cr_assert_not(reached);
}

Test(loop, keeps_what_it_adopted_until_it_is_released) {
    std::vector<int> notes;
    {
        Loop loop(0);
        auto a = std::make_unique<Noted>(notes, 1);
        Disposable* released = a.get();
        loop.adopt(std::move(a));
        loop.adopt(std::make_unique<Noted>(notes, 2));
        loop.post([&] { loop.release(released); });
        loop.post([&] {
            cr_assert(notes == std::vector<int>{1});
            loop.stop();
        });
        loop.run();
    }
    cr_assert(notes == (std::vector<int>{1, 2}));
}

Test(timer, never_fires_before_its_time) {
    Loop loop(0);
    const MonoTime begin = loop.now();
    Duration took{};
    Timer timer(loop, [&] {
        took = loop.now() - begin;
        loop.stop();
    });
    timer.start(std::chrono::milliseconds(20));
    cr_assert(timer.running());
    loop.run();
    cr_assert_geq(took.count(), 20'000);
    cr_assert_not(timer.running());
}

Test(timer, does_not_fire_once_stopped) {
    Loop loop(0);
    Timer stopped(loop, [] { cr_assert(false, "fired"); });
    Timer end(loop, [&] { loop.stop(); });
    stopped.start(std::chrono::milliseconds(1));
    end.start(std::chrono::milliseconds(20));
    stopped.stop();
    loop.run();
}

Test(timer, may_restart_itself_in_its_callback) {
    Loop loop(0);
    int fired = 0;
    std::unique_ptr<Timer> timer;
    timer = std::make_unique<Timer>(loop, [&] {
        if (++fired < 3)
            timer->start(Duration{1});
        else
            loop.stop();
    });
    timer->start(Duration{1});
    loop.run();
    cr_assert_eq(fired, 3);
}

Test(timer, may_be_destroyed_in_its_callback) {
    Loop loop(0);
    std::unique_ptr<Timer> timer;
    const auto token = std::make_shared<int>(7);
    int seen = 0;
    timer = std::make_unique<Timer>(loop, [&seen, &timer, &loop, token] {
        timer.reset();
        seen = *token;  // the callback's own captures are alive still
        loop.stop();
    });
    timer->start(Duration{1});
    loop.run();
    cr_assert_eq(seen, 7);
}

Test(loop_group, runs_each_loop_in_its_own_thread) {
    for (const unsigned n : {1U, 2U, 4U}) {
        LoopGroup loops(n);
        std::atomic<unsigned> ran{0};
        for (unsigned i = 0; i < n; ++i)
            loops.at(i).post([&, i] {
                cr_assert(loops.at(i).in_loop());
                if (++ran == n) loops.stop_all();
            });
        loops.run();
        cr_assert_eq(ran.load(), n);
    }
}

Test(loop_group, gives_an_id_always_to_the_same_loop) {
    LoopGroup loops(3);
    ObjectId id;
    id.bytes[0] = 5;
    cr_assert_eq(&loops.owner(id), &loops.at(5));
}

Test(workers, give_their_results_to_the_loop) {
    Loop loop(0);
    Workers workers(3);
    int left = 50;
    long sum = 0;
    for (int i = 0; i < 50; ++i)
        workers.submit(loop, [i] { return i; },
                       [&](int result) {
                           cr_assert(loop.in_loop());
                           sum += result;
                           if (--left == 0) loop.stop();
                       });
    loop.run();
    cr_assert_eq(sum, 49 * 50 / 2);
}

Test(workers, finish_what_is_queued_before_they_go) {
    std::atomic<int> ran{0};
    {
        Workers workers(2);
        Strand strand(workers);
        for (int i = 0; i < 100; ++i) {
            workers.submit([&] { ++ran; });
            strand.submit([&] { ++ran; });
        }
    }
    cr_assert_eq(ran.load(), 200);
}

Test(workers, run_at_once_what_comes_after_they_were_stopped) {
    Workers workers(2);
    Strand strand(workers);
    workers.stop();
    std::vector<int> seen;
    workers.submit([&] {
        seen.push_back(1);
        strand.submit([&] { seen.push_back(2); });
    });
    cr_assert_eq(seen.size(), 2U);
}

Test(strand, runs_jobs_one_after_another_in_order) {
    std::vector<int> seen;  // without a lock: the strand is one
    {
        Workers workers(4);
        Strand strand(workers);
        for (int i = 0; i < 1000; ++i) strand.submit([&seen, i] { seen.push_back(i); });
    }
    cr_assert_eq(seen.size(), 1000U);
    for (int i = 0; i < 1000; ++i) cr_assert_eq(seen[static_cast<std::size_t>(i)], i);
}
