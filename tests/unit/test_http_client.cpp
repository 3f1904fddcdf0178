#include <criterion/criterion.h>
#include <unistd.h>

#include <functional>

#include "proxy/http/client.h"
#include "tests/unit/loop_thread.h"

using namespace mssl;
using namespace mssl::proxy;

namespace {

// A server of one thread that plays a script, connection by connection, with blocking sockets.
class Server {
public:
    using Script = std::function<void(int connection, unsigned number)>;
    explicit Server(Script script) : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
        sockaddr_in at{};
        at.sin_family = AF_INET;
        at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        if (::bind(fd_, reinterpret_cast<sockaddr*>(&at), sizeof at) != 0 || ::listen(fd_, 16) != 0) std::terminate();
        address = *local_address(fd_);
        thread_ = std::thread([this, script] {
            for (unsigned n = 0;; ++n) {
                const int c = ::accept(fd_, nullptr, nullptr);
                if (c < 0) return;
                script(c, n);
                ::close(c);
            }
        });
    }
    ~Server() {
        ::shutdown(fd_, SHUT_RDWR);
        thread_.join();
        ::close(fd_);
    }
    // Until text ends with what; what came, also when the client ended before.
    static std::string read_until(int c, std::string_view what) {
        std::string got;
        char byte = 0;
        while (!got.ends_with(what) && ::read(c, &byte, 1) == 1) got.push_back(byte);
        return got;
    }
    static std::string head(int c) { return read_until(c, "\r\n\r\n"); }
    static void say(int c, std::string_view text) { (void)!::send(c, text.data(), text.size(), MSG_NOSIGNAL); }
    static void wait_for_end(int c) {
        char rest[4096];
        while (::read(c, rest, sizeof rest) > 0) {
        }
    }
    Address address;

private:
    int fd_;
    std::thread thread_;
};

// What a client heard, as text: "100 200 body . " or an error's name.
struct Heard final : HttpClientHandler {
    std::string events, body;
    std::promise<void> over;
    bool ended = false;
    std::function<void()> head, upgraded, first_body, writable;
    std::vector<std::uint8_t> room;  // offered again and again
    std::size_t straight = 0;        // bytes that were read to it

    void note(std::string_view what) { events.append(events.empty() ? "" : " ").append(what); }
    void end(std::string_view what) {
        note(what);
        if (!std::exchange(ended, true)) over.set_value();
    }
    void on_response_head(ResponseHead h) override {
        note(std::to_string(h.status));
        if (head) head();
    }
    MutableView body_room() override { return room; }
    void on_body(View piece) override {
        if (piece.data() == room.data()) straight += piece.size();
        body.append(reinterpret_cast<const char*>(piece.data()), piece.size());
        if (first_body) std::exchange(first_body, nullptr)();
    }
    void on_complete() override { end("."); }
    void on_error(const Error& e) override { end(errc_name(e.code)); }
    void on_writable() override {
        if (writable) writable();
    }
    void on_upgraded() override {
        note("upgraded");
        if (upgraded) upgraded();
    }
};

RequestHead request(std::string method = "GET") {
    RequestHead r;
    r.method = std::move(method);
    r.target = "/";
    r.fields.add("Host", "a");
    return r;
}

// Loop, workers and pool; everything of the client happens in the loop.
struct House {
    LoopThread io;
    Workers workers{1};
    std::unique_ptr<HttpPool> pool = io.run([this] { return std::make_unique<HttpPool>(io.loop, workers); });
    ~House() {
        io.run([this] { pool.reset(); });
    }

    struct Exchange {
        explicit Exchange(House& h) : house(h) {}
        House& house;
        Heard heard;
        std::unique_ptr<HttpClient> client;
        ~Exchange() {
            house.io.run([this] { client.reset(); });
        }
        std::string wait() {
            if (heard.over.get_future().wait_for(std::chrono::minutes(1)) != std::future_status::ready) std::terminate();
            return house.io.run([this] { return heard.events; });
        }
    };
    std::unique_ptr<Exchange> start(const HttpEndpoint& to, RequestHead head, HttpTimeouts timeouts = {},
                                    const std::function<void(Exchange&)>& then = nullptr) {
        auto e = std::make_unique<Exchange>(*this);
        io.run([&] {
            e->client = HttpClient::start(*pool, to, std::move(head), e->heard, timeouts);
            if (then) then(*e);
        });
        return e;
    }
    std::size_t idle() {
        return io.run([this] { return pool->idle(); });
    }
};

HttpEndpoint at(const Server& s) {
    HttpEndpoint e;
    e.addresses = {s.address};
    return e;
}

constexpr std::string_view kHi = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

}  // namespace

Test(http_client, a_connection_is_used_again) {
    Server s([](int c, unsigned) {
        while (!Server::head(c).empty()) Server::say(c, kHi);
    });
    House h;
    for (int i = 0; i < 3; ++i) {
        auto e = h.start(at(s), request());
        cr_assert_eq(e->wait(), "200 .");
        cr_assert_eq(e->heard.body, "hi");
        cr_assert_eq(h.io.run([&] { return e->client->reused_connection(); }), i > 0);
        cr_assert_eq(h.idle(), 1u);
    }
}

Test(http_client, a_connection_is_not_used_again_when_the_answer_says_so_or_has_no_end) {
    for (std::string_view answer : {std::string_view("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi"),
                                    std::string_view("HTTP/1.1 200 OK\r\n\r\nhi"),
                                    std::string_view("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\n\r\n")}) {
        Server s([answer](int c, unsigned) {
            Server::head(c);
            Server::say(c, answer);
        });
        House h;
        auto e = h.start(at(s), request());
        cr_assert_eq(e->wait(), "200 .");
        cr_assert_eq(e->heard.body, "hi");
        cr_assert_eq(h.idle(), 0u);
    }
}

Test(http_client, a_get_is_repeated_once_when_the_reused_connection_was_dead) {
    Server s([](int c, unsigned) {
        Server::head(c);
        Server::say(c, kHi);
        Server::head(c);  // the second request is read, and the connection ends without an answer
    });
    House h;
    cr_assert_eq(h.start(at(s), request())->wait(), "200 .");
    auto again = h.start(at(s), request());
    cr_assert_eq(again->wait(), "200 .");
    cr_assert_eq(again->heard.body, "hi");
}

Test(http_client, a_post_is_never_repeated) {
    Server s([](int c, unsigned) {
        Server::head(c);
        Server::say(c, kHi);
        Server::head(c);
    });
    House h;
    cr_assert_eq(h.start(at(s), request())->wait(), "200 .");
    cr_assert_eq(h.start(at(s), request("POST"))->wait(), "reset");
}

Test(http_client, content_of_a_known_length_is_read_to_where_its_reader_wants_it) {
    std::string content(300000, 'x');
    for (std::size_t i = 0; i < content.size(); i += 7) content[i] = static_cast<char>('a' + i % 23);
    for (const std::size_t room : {std::size_t{1} << 10, std::size_t{65536}, std::size_t{262144}, content.size(), content.size() + 1}) {
        std::promise<void> head_is_read;
        Server s([&](int c, unsigned) {
            Server::head(c);
            Server::say(c, "HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n");
            head_is_read.get_future().wait();
            // With bytes that belong to no answer: they are not read to the room, and the connection is of no more use.
            Server::say(c, content + "HTTP/1.1 408 Late\r\n\r\n");
        });
        House h;
        auto e = h.start(at(s), request(), {}, [&](House::Exchange& x) {
            x.heard.room.resize(room);
            x.heard.head = [&] { head_is_read.set_value(); };
        });
        cr_assert_eq(e->wait(), "200 .", "room %zu", room);
        cr_assert(e->heard.body == content, "room %zu", room);
        cr_assert_eq(e->heard.straight, content.size(), "room %zu", room);
        cr_assert_eq(h.idle(), 0u);
    }
}

// A connection that is kept shows no end: the last bytes must be told of by themselves, wherever a run of reads was left.
Test(http_client, the_tail_of_content_comes_whatever_was_waited_for) {
    constexpr std::size_t kRoom = 1024;
    for (const std::size_t size : {kRoom + 1, 15 * kRoom + 500, 16 * kRoom + 500, 17 * kRoom + 500, 32 * kRoom + 1, 33 * kRoom + 500}) {
        std::promise<void> head_is_read;
        Server s([&](int c, unsigned) {
            Server::head(c);
            Server::say(c, "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(size) + "\r\n\r\n");
            head_is_read.get_future().wait();
            Server::say(c, std::string(size, 'x'));
            Server::wait_for_end(c);
        });
        House h;
        auto e = h.start(at(s), request(), {}, [&](House::Exchange& x) {
            x.heard.room.resize(kRoom);
            x.heard.head = [&] { head_is_read.set_value(); };
        });
        cr_assert_eq(e->wait(), "200 .", "%zu bytes", size);
        cr_assert_eq(e->heard.body.size(), size);
        h.io.run([&] { h.pool->close_idle(); });
    }
}

Test(http_client, what_trickles_in_is_progress_though_more_is_waited_for) {
    constexpr int kPieces = 8;
    Server s([](int c, unsigned) {
        Server::head(c);
        Server::say(c, "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n");
        for (int i = 0; i < kPieces; ++i) {
            std::this_thread::sleep_for(std::chrono::milliseconds(300));  // the pace of this server, well within the time it has
            Server::say(c, "x");
        }
    });
    House h;
    HttpTimeouts timeouts;
    timeouts.first_byte = timeouts.between = std::chrono::seconds(2);
    auto e = h.start(at(s), request(), timeouts, [&](House::Exchange& x) { x.heard.room.resize(65536); });
    cr_assert_eq(e->wait(), "200 .");
    cr_assert_eq(e->heard.body, std::string(kPieces, 'x'));
}

Test(http_client, an_answer_cut_short_is_an_error) {
    const struct {
        std::string_view answer, events;
    } rows[] = {
        {"", "reset"},
        {"HTTP/1.1 2", "truncated"},
        {"HTTP/1.1 100 C\r\n\r\n", "100 reset"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi", "200 truncated"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", "200 truncated"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\nhi\r\n", "200 malformed"},
        {"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", "malformed"},
        {"nonsense\r\n\r\n", "malformed"},
    };
    for (const auto& row : rows) {
        Server s([&row](int c, unsigned) {
            Server::head(c);
            Server::say(c, row.answer);
        });
        House h;
        cr_assert_eq(h.start(at(s), request())->wait(), row.events, "%s", row.answer.data());
        cr_assert_eq(h.idle(), 0u);
    }
}

Test(http_client, interim_answers_come_first) {
    Server s([](int c, unsigned) {
        Server::head(c);
        Server::say(c, "HTTP/1.1 100 C\r\n\r\nHTTP/1.1 103 E\r\nLink: x\r\n\r\n");
        Server::say(c, kHi);
        Server::wait_for_end(c);
    });
    House h;
    cr_assert_eq(h.start(at(s), request())->wait(), "100 103 200 .");
}

// Who passes them on cannot hold them back: they would wait in memory.
Test(http_client, interim_answers_without_an_end_are_an_error) {
    Server s([](int c, unsigned) {
        Server::head(c);
        const std::string hint = "HTTP/1.1 103 E\r\nLink: " + std::string(1000, 'x') + "\r\n\r\n";
        while (::send(c, hint.data(), hint.size(), MSG_NOSIGNAL) > 0) {
        }
    });
    House h;
    const std::string heard = h.start(at(s), request())->wait();
    cr_assert(heard.ends_with(" too_large"), "%s", heard.substr(heard.size() - std::min<std::size_t>(heard.size(), 40)).c_str());
    cr_assert_lt(heard.size() / 4, 300u, "of some 250 KiB");
}

Test(http_client, bodies_go_out_framed_and_large_ones_stop_and_go_on) {
    constexpr std::size_t size = 8u << 20;  // more than sockets hold
    for (BodyKind kind : {BodyKind::length, BodyKind::chunked}) {
        std::promise<std::size_t> arrived;
        std::promise<void> stopped;
        Server s([&](int c, unsigned) {
            Server::head(c);
            stopped.get_future().wait();  // reads only once the client was told to stop
            std::size_t n = 0;
            char buffer[65536];
            while (n < size) {
                const ssize_t got = ::read(c, buffer, sizeof buffer);
                if (got <= 0) break;
                for (ssize_t i = 0; i < got; ++i) n += buffer[i] == 'x';
            }
            arrived.set_value(n);
            Server::say(c, kHi);
            Server::wait_for_end(c);
        });
        House h;
        RequestHead r = request("POST");
        r.body = kind;
        r.length = size;
        std::size_t left = size;
        bool told = false;
        std::function<void(House::Exchange&)> send = [&](House::Exchange& e) {
            static const std::string piece(32768, 'x');
            while (left != 0) {
                left -= piece.size();
                if (e.client->write_body(as_view(piece))) continue;
                if (!std::exchange(told, true)) stopped.set_value();
                return;
            }
            e.client->end_body();
        };
        auto e = h.start(at(s), r, {}, [&](House::Exchange& x) {
            x.heard.writable = [&] { send(x); };
            send(x);
        });
        cr_assert_eq(e->wait(), "200 .");
        cr_assert(told);
        cr_assert_eq(arrived.get_future().get(), size);
        cr_assert_eq(h.idle(), 1u);
    }
}

Test(http_client, a_body_of_another_length_fails) {
    Server s([](int c, unsigned) { Server::wait_for_end(c); });
    for (std::string_view body : {"", "1234", "123456"}) {
        House h;
        RequestHead r = request("POST");
        r.body = BodyKind::length;
        r.length = 5;
        auto e = h.start(at(s), r, {}, [&](House::Exchange& x) {
            x.client->write_body(as_view(body));
            x.client->end_body();
        });
        cr_assert_eq(e->wait(), body.size() > 5 ? "too_large" : "truncated");
    }
}

Test(http_client, pausing_holds_the_rest_back) {
    constexpr std::size_t size = 1u << 20;
    Server s([](int c, unsigned) {
        Server::head(c);
        Server::say(c, "HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n" + std::string(size, 'x'));
        Server::wait_for_end(c);
    });
    House h;
    std::promise<void> begun;
    auto e = h.start(at(s), request(), {}, [&](House::Exchange& x) {
        x.heard.first_body = [&] {
            x.client->pause_reading(true);
            begun.set_value();
        };
    });
    begun.get_future().wait();
    const std::size_t held = h.io.run([&] { return e->heard.body.size(); });
    for (int i = 0; i < 100; ++i) cr_assert_eq(h.io.run([&] { return e->heard.body.size(); }), held);
    h.io.run([&] { e->client->pause_reading(false); });
    cr_assert_eq(e->wait(), "200 .");
    cr_assert_eq(e->heard.body.size(), size);
}

Test(http_client, an_upgrade_becomes_a_tunnel) {
    Server s([](int c, unsigned) {
        Server::head(c);
        Server::say(c, "HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nearly ");
        Server::say(c, Server::read_until(c, "!"));
    });
    House h;
    RequestHead r = request();
    r.upgrade = true;
    r.fields.add("Connection", "upgrade");
    r.fields.add("Upgrade", "x");
    auto e = h.start(at(s), r, {}, [&](House::Exchange& x) {
        x.heard.upgraded = [&] { x.client->write_body(as_view("echo!")); };
    });
    cr_assert_eq(e->wait(), "101 upgraded .");
    cr_assert_eq(e->heard.body, "early echo!");
}

Test(http_client, a_server_that_does_not_answer_times_out) {
    Server s([](int c, unsigned) { Server::wait_for_end(c); });
    House h;
    HttpTimeouts t;
    t.first_byte = std::chrono::milliseconds(20);
    cr_assert_eq(h.start(at(s), request(), t)->wait(), "timed_out");
}

Test(http_client, no_server_is_an_error) {
    Address nobody;
    {
        Server s([](int, unsigned) {});
        nobody = s.address;
    }
    House h;
    HttpEndpoint to;
    to.addresses = {nobody};
    const std::string events = h.start(to, request())->wait();
    cr_assert(events == "unreachable" || events == "reset", "%s", events.c_str());
}

Test(http_client, nothing_comes_after_an_abort_also_from_inside_a_callback) {
    Server s([](int c, unsigned) {
        Server::head(c);
        Server::say(c, kHi);
        Server::wait_for_end(c);
    });
    House h;
    std::promise<void> gone;
    auto e = h.start(at(s), request(), {}, [&](House::Exchange& x) {
        x.heard.first_body = [&] {
            x.client.reset();
            gone.set_value();
        };
    });
    gone.get_future().wait();
    cr_assert_eq(h.io.run([&] { return e->heard.events; }), "200");
    cr_assert_eq(h.idle(), 0u);
}

Test(http_client, an_idle_connection_that_speaks_is_thrown_away) {
    std::promise<void> spoke;
    Server s([&](int c, unsigned n) {
        Server::head(c);
        Server::say(c, kHi);
        if (n == 0) {
            Server::say(c, "HTTP/1.1 408 T\r\nContent-Length: 4\r\n\r\nevil");
            spoke.set_value();
        }
        Server::wait_for_end(c);
    });
    House h;
    cr_assert_eq(h.start(at(s), request())->wait(), "200 .");
    spoke.get_future().wait();
    auto e = h.start(at(s), request());
    cr_assert_eq(e->wait(), "200 .");
    cr_assert_eq(e->heard.body, "hi");
}
