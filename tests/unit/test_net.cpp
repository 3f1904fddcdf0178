#include <criterion/criterion.h>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <thread>

#include "proxy/core/service.h"
#include "tests/unit/stream_fixture.h"

using namespace mssl;
using namespace mssl::proxy;
using namespace mssl::test;

namespace {

Address address(const char* text) { return *Address::parse(text); }

Fd connect_to(const Address& at) {
    Fd fd(socket(at.sa()->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    cr_assert_eq(::connect(fd.get(), at.sa(), at.length()), 0);
    return fd;
}

}  // namespace

Test(address, is_written_as_it_is_read) {
    for (const char* text : {"192.0.2.1:80", "0.0.0.0:0", "255.255.255.255:65535", "[::]:443", "[2001:db8::1]:80", "[::1]:1"}) {
        const auto parsed = Address::parse(text);
        cr_assert(parsed.has_value(), "%s", text);
        cr_assert(parsed->to_string() == text, "%s", parsed->to_string().c_str());
    }
}

Test(address, refuses_what_is_not_one) {
    for (const char* text : {"", ":", ":80", "192.0.2.1", "192.0.2.1:", "192.0.2.1:65536", "192.0.2.1:-1", "192.0.2.1:8x",
                             "192.0.2.1: 80", "192.0.2.256:80", "2001:db8::1:80", "[2001:db8::1]", "[192.0.2.1]:80",
                             "[::1:80", "::1]:80", "localhost:80", "[]:80", "192.0.2.1:80 "})
        cr_assert(Address::parse(text).code() == Errc::malformed, "%s", text);
}

Test(address, ipv4_mapped_equals_its_ipv4) {
    cr_assert(address("[::ffff:192.0.2.1]:80") == address("192.0.2.1:80"));
    cr_assert(address("[::ffff:192.0.2.1]:80").is_v4());
    cr_assert_not(address("192.0.2.1:80") == address("192.0.2.1:81"));
    cr_assert_not(address("192.0.2.1:80") == address("192.0.2.2:80"));
    cr_assert_not(address("[::]:80") == address("0.0.0.0:80"));
    cr_assert_not(Address() == address("[::]:0"));
}

Test(address, goes_through_its_sixteen_bytes) {
    for (const char* text : {"192.0.2.1:80", "[2001:db8::1]:65535", "[::]:0"}) {
        const Address a = address(text);
        cr_assert(Address::from_bytes(a.ip_bytes(), a.port()) == a, "%s", text);
    }
    const auto bytes = address("192.0.2.1:80").ip_bytes();
    const std::array<std::uint8_t, 16> expected = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1};
    cr_assert(bytes == expected);
}

Test(address, knows_loopback_and_any) {
    cr_assert(address("127.0.0.1:1").is_loopback() && address("127.9.9.9:1").is_loopback() && address("[::1]:1").is_loopback());
    cr_assert_not(address("192.0.2.1:1").is_loopback() || address("[2001:db8::1]:1").is_loopback());
    cr_assert(address("0.0.0.0:1").is_any() && address("[::]:1").is_any());
    cr_assert_not(address("127.0.0.1:1").is_any() || address("[::1]:1").is_any() || Address().is_any());
}

Test(address, changes_its_port_alone) {
    for (const char* text : {"192.0.2.1:80", "[2001:db8::1]:80"}) {
        Address a = address(text);
        a.set_port(443);
        cr_assert_eq(a.port(), 443);
        a.set_port(80);
        cr_assert(a == address(text));
    }
}

Test(fd, closes_once_and_moves) {
    int raw = -1;
    {
        Fd a(open("/dev/null", O_RDONLY | O_CLOEXEC));
        raw = a.get();
        Fd b(std::move(a));
        cr_assert_not(static_cast<bool>(a));
        b = Fd(b.release());
        cr_assert_eq(b.get(), raw);
    }
    cr_assert_eq(fcntl(raw, F_GETFD), -1);
}

Test(redirect, a_direct_hit_is_refused) {
    Pair p(false);
    const Fd client = connect_to(p.at);
    const Fd accepted = p.take();
    cr_assert(original_destination(accepted.get()).code() == Errc::unexpected);
}

// ── names ──

namespace {

Result<std::vector<Address>> resolved(const std::string& host) {
    Workers workers(1);
    Loop loop(0);
    std::optional<Result<std::vector<Address>>> answer;
    resolve_name(workers, loop, host, 8080, [&](Result<std::vector<Address>> r) {
        cr_assert(loop.in_loop());
        answer = std::move(r);
        loop.stop();
    });
    cr_assert_not(answer.has_value());
    loop.run();
    return std::move(*answer);
}

}  // namespace

Test(resolve_name, takes_numbers_as_they_are) {
    for (const auto& [text, expected] : {std::pair("192.0.2.7", "192.0.2.7:8080"), std::pair("2001:db8::7", "[2001:db8::7]:8080"),
                                         std::pair("[2001:db8::7]", "[2001:db8::7]:8080")}) {
        const auto found = resolved(text);
        cr_assert(found && found->size() == 1 && (*found)[0] == address(expected), "%s", text);
    }
}

// Names whose servers do not answer must not fill memory, nor a queue that grows by the hour.
Test(resolve_name, says_busy_where_too_many_wait) {
    Loop loop(0);
    std::mutex door;
    std::unique_lock shut(door);
    Workers workers(1, 2);
    std::atomic<bool> taken{false};
    workers.submit([&] {
        taken = true;
        const std::lock_guard wait(door);
    });
    while (!taken) std::this_thread::yield();
    int busy = 0, found = 0;
    const auto count = [&](Result<std::vector<Address>> r) {
        if (!r && r.code() == Errc::busy) ++busy;
        if (r) ++found;
        if (busy == 1) shut = {};  // the one that does not answer gives up
        if (busy + found == 4) loop.stop();
    };
    resolve_name(workers, loop, "192.0.2.7", 80, count);
    while (workers.offer([] {})) {}
    resolve_name(workers, loop, "localhost", 80, count);
    resolve_name(workers, loop, "localhost", 80, count);
    resolve_name(workers, loop, "2001:db8::7", 80, count);  // a number needs no place
    loop.run();
    cr_assert_eq(busy, 2);
    cr_assert_eq(found, 2);
}

Test(resolve_name, finds_localhost) {
    const auto found = resolved("localhost");
    cr_assert(found && !found->empty());
    for (const Address& a : *found) cr_assert(a.is_loopback() && a.port() == 8080);
}

Test(resolve_name, names_the_host_that_does_not_exist) {
    const auto found = resolved("no-such-host.invalid");
    cr_assert(found.code() == Errc::unreachable);
    cr_assert(found.error().detail.find("no-such-host.invalid") != std::string::npos);
}

// ── listener ──

namespace {

// Three loops behind a listener; what comes becomes a Stream.
struct Reception {
    explicit Reception(bool keep_them) : keep(keep_them) {
        nobody.when_open = [] {};
        listener = std::move(*Listener::open(loops, address("127.0.0.1:0"), [this](Loop& loop, Fd fd, const Address& peer) {
            if (!loop.in_loop() || !peer.is_loopback() || (fcntl(fd.get(), F_GETFL) & O_NONBLOCK) == 0) ++wrong;
            auto stream = Stream::accept(loop, std::move(fd), nullptr, nobody, {});
            if (keep) kept[loop.number()].push_back(std::move(stream));
            stream.reset();
            ++taken;
        }));
        listener->start();
    }
    // One connection after another.
    void take(int count) {
        std::thread visitor([&] {
            for (int i = 1; i <= count; ++i) {
                clients.push_back(connect_to(listener->address()));
                while (taken < i) std::this_thread::yield();
            }
            loops.stop_all();
        });
        loops.run();
        visitor.join();
    }
    std::uint64_t of(unsigned loop) { return loops.at(loop).counters().connections_accepted.load(); }

    LoopGroup loops{3};
    bool keep;
    Side nobody;
    std::atomic<int> wrong{0}, taken{0};
    std::array<std::vector<std::unique_ptr<Stream>>, 3> kept;
    std::vector<Fd> clients;
    std::unique_ptr<Listener> listener;
};

}  // namespace

Test(listener, hands_each_connection_to_the_loop_that_has_fewest_in_its_thread) {
    Reception r(true);
    r.take(9);
    cr_assert_eq(r.wrong.load(), 0);
    for (unsigned i = 0; i < 3; ++i) cr_assert_eq(r.of(i), 3U, "loop %u has %lu", i, static_cast<unsigned long>(r.of(i)));
}

// Where the last one's connections to servers wait to be used again.
Test(listener, hands_one_connection_after_another_to_the_same_loop) {
    Reception r(false);
    r.take(9);
    cr_assert_eq(r.wrong.load(), 0);
    cr_assert_eq(r.of(0), 9U);
}

Test(listener, says_at_once_when_an_address_is_taken) {
    LoopGroup loops(1);
    auto first = Listener::open(loops, address("127.0.0.1:0"), {});
    cr_assert(first.has_value());
    const Address at = (*first)->address();
    const auto second = Listener::open(loops, at, {});
    cr_assert(second.code() == Errc::io);
    cr_assert(second.error().detail.find(at.to_string()) != std::string::npos, "%s", second.error().detail.c_str());
}

Test(listener, an_ipv6_any_takes_ipv4_too) {
    LoopGroup loops(1);
    bool v4 = false;
    auto listener = Listener::open(loops, address("[::]:0"), [&](Loop& loop, Fd, const Address& peer) {
        v4 = peer.is_v4();
        loop.stop();
    });
    if (!listener) cr_skip_test("no IPv6 here");
    (*listener)->start();
    Address at = address("127.0.0.1:0");
    at.set_port((*listener)->address().port());
    const Fd client = connect_to(at);
    loops.run();
    cr_assert(v4);
}

Test(listener, accepts_nothing_once_stopped) {
    LoopGroup loops(1);
    auto listener = Listener::open(loops, address("127.0.0.1:0"), [](Loop&, Fd, const Address&) { cr_assert(false, "accepted"); });
    (*listener)->start();
    (*listener)->stop();
    const Fd client = connect_to((*listener)->address());
    Timer end(loops.at(0), [&] { loops.stop_all(); });
    end.start(std::chrono::milliseconds(30));
    loops.run();
}

// UBSan needs a pipe to look at an object, and takes having no descriptor left for a broken object.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kNoDescriptorsConfuseSanitizer = true;
#else
constexpr bool kNoDescriptorsConfuseSanitizer = false;
#endif

// All clients wait in the kernel's queue before the process runs out of descriptors.
Test(listener, pauses_without_descriptors_and_goes_on_when_they_are_back, .disabled = kNoDescriptorsConfuseSanitizer) {
    constexpr std::size_t kClients = 6;
    LoopGroup loops(1);
    Loop& loop = loops.at(0);
    std::vector<Fd> accepted;
    auto listener = Listener::open(loops, address("127.0.0.1:0"),
                                   [&](Loop&, Fd fd, const Address&) { accepted.push_back(std::move(fd)); });
    cr_assert(listener.has_value());
    std::vector<Fd> clients;
    for (std::size_t i = 0; i < kClients; ++i) clients.push_back(connect_to((*listener)->address()));

    rlimit before{};
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    const Fd next_free(dup(clients.back().get()));
    const rlimit none{static_cast<rlim_t>(next_free.get() + 1), before.rlim_max};
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    (*listener)->start();
    cr_assert(turn_until(loop, [&] { return loop.counters().accept_pauses.load() == 1; }));
    // Who waited first was closed, so that it need not wait for nothing.
    char byte = 0;
    cr_assert_leq(recv(clients[0].get(), &byte, 1, 0), 0);
    cr_assert(accepted.empty());

    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    cr_assert(turn_until(loop, [&] { return accepted.size() == kClients - 1; }));
    cr_assert_eq(loop.counters().accept_pauses.load(), 1U);
}

// ── the service manager ──

Test(service, takes_over_an_inherited_socket_once) {
    Pair p(false);
    constexpr int kAt = 150;
    cr_assert_eq(dup2(p.listening.get(), kAt), kAt);
    p.listening = Fd();
    setenv("LISTEN_FDS", "200", 1);
    setenv("LISTEN_PID", std::to_string(getpid() + 1).c_str(), 1);
    cr_assert_not(static_cast<bool>(take_inherited_listener(p.at)));
    setenv("LISTEN_PID", std::to_string(getpid()).c_str(), 1);
    Address other = p.at;
    other.set_port(static_cast<std::uint16_t>(p.at.port() ^ 1));
    cr_assert_not(static_cast<bool>(take_inherited_listener(other)));
    LoopGroup loops(1);
    const auto listener = Listener::open(loops, p.at, {});
    cr_assert(listener.has_value(), "bound again instead of taken over");
    cr_assert((*listener)->address() == p.at);
    cr_assert_not(static_cast<bool>(take_inherited_listener(p.at)));
}

Test(service, tells_the_manager) {
    const TempDir dir;
    const std::string path = dir.path("notify");
    const Fd manager(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un at{};
    at.sun_family = AF_UNIX;
    cr_assert_lt(path.size(), sizeof at.sun_path);
    std::memcpy(at.sun_path, path.c_str(), path.size() + 1);
    cr_assert_eq(bind(manager.get(), reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
    setenv("NOTIFY_SOCKET", path.c_str(), 1);
    notify_service_manager("READY=1");
    char got[32] = {};
    cr_assert_eq(recv(manager.get(), got, sizeof got, 0), 7);
    cr_assert_str_eq(got, "READY=1");
    unsetenv("NOTIFY_SOCKET");
    notify_service_manager("READY=1");
    cr_assert_eq(recv(manager.get(), got, sizeof got, 0), -1);
}
