#include <criterion/criterion.h>

#include <chrono>

#include "proxy/client/breaker.h"

using namespace mssl;
using namespace mssl::proxy;
using namespace std::chrono_literals;

namespace {

MonoTime at(Duration d) { return MonoTime{} + d; }

}  // namespace

Test(breaker, after_a_failure_that_took_time_requests_do_not_wait_again) {
    Breaker b;
    cr_assert(b.admit(at(0s)));
    b.failed(at(0s), at(10s));
    cr_assert_not(b.admit(at(10s)));
    cr_assert_not(b.admit(at(14s)));
}

Test(breaker, lets_one_try_after_a_pause) {
    Breaker b;
    b.failed(at(0s), at(10s));
    cr_assert(b.admit(at(15s)));
    cr_assert_not(b.admit(at(15s)));
    cr_assert_not(b.admit(at(19s)));
    // It never said what it found: its application went away.
    cr_assert(b.admit(at(20s)));
}

Test(breaker, pauses_longer_while_it_fails_but_not_for_ever) {
    Breaker b;
    b.failed(at(0s), at(10s));
    Duration now = 10s, longest = 0s;
    for (int i = 0; i < 10; ++i) {
        const Duration failed = now;
        while (!b.admit(at(now))) now += 1s;
        cr_assert_geq((now - failed).count(), longest.count());
        longest = now - failed;
        b.failed(at(now), at(now + 10s));
        now += 10s;
    }
    cr_assert_geq(longest.count(), Duration(20s).count());
    cr_assert_leq(longest.count(), Duration(60s).count());
}

Test(breaker, an_answer_opens_the_way_for_all) {
    Breaker b;
    b.failed(at(0s), at(10s));
    cr_assert(b.admit(at(15s)));
    b.succeeded(at(16s));
    cr_assert(b.admit(at(16s)));
    cr_assert(b.admit(at(16s)));
}

Test(breaker, a_refusal_at_once_costs_nothing_and_shuts_nothing) {
    Breaker b;
    b.failed(at(5s), at(5s + 10ms));
    cr_assert(b.admit(at(6s)));
}

Test(breaker, a_request_that_failed_while_others_were_answered_says_nothing) {
    Breaker b;
    b.succeeded(at(30s));
    b.failed(at(0s), at(60s));
    cr_assert(b.admit(at(60s)));
}

Test(breaker, requests_that_were_under_way_together_are_one_failure) {
    Breaker b;
    for (int i = 0; i < 20; ++i) b.failed(at(1s), at(11s));
    cr_assert(b.admit(at(16s)));
}
