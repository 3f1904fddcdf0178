// A host with several addresses is reached by the first that answers, and one that swallows packets holds nobody up.
#include <criterion/criterion.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <optional>
#include <vector>

#include "proxy/core/dialer.h"
#include "tests/unit/stream_fixture.h"

using namespace mssl;
using namespace mssl::proxy;
using namespace mssl::test;

namespace {

constexpr Duration kLong = std::chrono::minutes(10), kShort = std::chrono::milliseconds(50);

// Listens on loopback. Full: connections to it neither succeed nor fail, as at a host behind a filter that drops.
struct Listening {
    explicit Listening(bool full) : fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        Address any = Address::parse("127.0.0.1:0").value();
        cr_assert_eq(bind(fd.get(), any.sa(), any.length()), 0);
        cr_assert_eq(listen(fd.get(), full ? 0 : 8), 0);
        sockaddr_storage own{};
        socklen_t length = sizeof own;
        getsockname(fd.get(), reinterpret_cast<sockaddr*>(&own), &length);
        at = Address::from(reinterpret_cast<sockaddr*>(&own), length);
        // Linux queues one more than it was told, and drops what comes then.
        for (int i = 0; full && i < 4; ++i) {
            queued.emplace_back(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
            (void)connect(queued.back().get(), at.sa(), at.length());
        }
    }
    Fd fd;
    Address at;
    std::vector<Fd> queued;
};

Address nobody() { return Listening(false).at; }

struct Dialling {
    Dialling(std::vector<Address> to, Duration each)
        : dialer(std::make_unique<Dialer>(loop, std::move(to), each, [this](Result<Fd> r) {
              result.emplace(std::move(r));
              dialer.reset();  // as its owner may
          })) {
        if (Status s = dialer->start(); !s) result.emplace(s.error());
    }
    const Result<Fd>& wait() {
        cr_assert(turn_until(loop, [&] { return result.has_value(); }));
        return *result;
    }
    Address reached() {
        const Result<Fd>& r = wait();
        cr_assert(r.has_value(), "%s", r.error().to_string().c_str());
        sockaddr_storage peer{};
        socklen_t length = sizeof peer;
        cr_assert_eq(getpeername(r->get(), reinterpret_cast<sockaddr*>(&peer), &length), 0);
        return Address::from(reinterpret_cast<sockaddr*>(&peer), length);
    }
    Loop loop{0};
    std::optional<Result<Fd>> result;
    std::unique_ptr<Dialer> dialer;
};

std::vector<Address> parsed(std::initializer_list<const char*> texts) {
    std::vector<Address> out;
    for (const char* text : texts) out.push_back(Address::parse(text).value());
    return out;
}

}  // namespace

Test(dialer, takes_the_first_where_all_answer) {
    const Listening a(false), b(false);
    cr_assert(Dialling({a.at, b.at}, kLong).reached() == a.at);
}

Test(dialer, goes_past_an_address_that_swallows_packets) {
    const Listening dead(true), good(false);
    cr_assert(Dialling({dead.at, good.at}, kLong).reached() == good.at);
    cr_assert(Dialling({dead.at, dead.at, nobody(), good.at}, kLong).reached() == good.at);
}

Test(dialer, goes_past_an_address_that_refuses) {
    const Listening good(false);
    cr_assert(Dialling({nobody(), good.at}, kLong).reached() == good.at);
}

Test(dialer, names_every_address_with_its_reason) {
    const Listening dead(true);
    const Address refuses = nobody();
    Dialling d({dead.at, refuses}, kShort);
    const Result<Fd>& r = d.wait();
    cr_assert(r.code() == Errc::unreachable);
    for (const std::string& part : {dead.at.to_string() + ": " + std::strerror(ETIMEDOUT), refuses.to_string() + ": " + std::strerror(ECONNREFUSED)})
        cr_assert_neq(r.error().detail.find(part), std::string::npos, "%s", r.error().detail.c_str());
    cr_assert(Dialling({}, kLong).wait().code() == Errc::unreachable);
}

Test(dialer, has_so_many_sockets_and_no_more) {
    const Listening dead(true);
    const auto open_descriptors = [] {
        std::size_t n = 0;
        for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) n += entry.exists() ? 1U : 0U;
        return n;
    };
    Dialling d(std::vector<Address>(100, dead.at), std::chrono::seconds(2));
    const std::size_t before = open_descriptors();
    std::size_t most = 0;
    cr_assert(turn_until(d.loop, [&] {
        most = std::max(most, open_descriptors());
        return d.result.has_value();
    }));
    cr_assert_leq(most, before + Dialer::kMaxAttempts - 1);
    const std::string& detail = d.result->error().detail;
    std::size_t named = 0;
    for (std::size_t at = detail.find(dead.at.to_string()); at != std::string::npos; at = detail.find(dead.at.to_string(), at + 1)) ++named;
    cr_assert_eq(named, Dialer::kMaxAddresses);
}

Test(dialer, lets_the_families_take_turns) {
    const struct {
        std::vector<Address> in, out;
    } rows[] = {
        {{}, {}},
        {parsed({"192.0.2.1:1"}), parsed({"192.0.2.1:1"})},
        {parsed({"[2001:db8::1]:1", "[2001:db8::2]:1", "192.0.2.1:1", "192.0.2.2:1"}),
         parsed({"[2001:db8::1]:1", "192.0.2.1:1", "[2001:db8::2]:1", "192.0.2.2:1"})},
        {parsed({"192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1", "[2001:db8::1]:1"}),
         parsed({"192.0.2.1:1", "[2001:db8::1]:1", "192.0.2.2:1", "192.0.2.3:1"})},
    };
    for (const auto& row : rows) cr_assert(interleaved(row.in) == row.out);
}
