#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <malloc.h>

#include <array>

#include "tests/unit/stream_fixture.h"

using namespace mssl;
using namespace mssl::proxy;
using namespace mssl::test;

namespace {

std::string pattern(std::size_t size, unsigned seed) {
    std::string out(size, '\0');
    for (char& c : out) {
        seed = seed * 1664525U + 1013904223U;
        c = static_cast<char>(seed >> 24);
    }
    return out;
}

constexpr Duration kShort = std::chrono::milliseconds(50);

bool ended(const Side& side) { return side.error || side.read_end; }

Errc end_of(const Side& side) { return side.read_end ? side.read_end->code : side.error ? side.error->code : Errc::ok; }

}  // namespace

struct Sizes {
    bool tls;
    std::size_t bytes, write_size, read_size;
};

ParameterizedTestParameters(stream, carries_every_byte_both_ways_at_once) {
    static Sizes sizes[] = {
        {false, 1, 1, 1},           {false, 1 << 20, 65536, 4096}, {false, 100'001, 7, 13},
        {true, 1, 1, 1},            {true, 16383, 16383, 16384},   {true, 16384, 16384, 16384},
        {true, 16385, 16385, 1},    {true, 1 << 20, 16384, 16384}, {true, 1 << 20, 65536, 1000},
        {true, 100'001, 77, 16385}, {true, 3 << 20, 16384, 5},
    };
    return cr_make_param_array(Sizes, sizes, sizeof sizes / sizeof *sizes);
}

ParameterizedTest(Sizes* s, stream, carries_every_byte_both_ways_at_once) {
    Pair p(s->tls);
    for (Side* side : {&p.client, &p.server}) {
        side->to_send = pattern(s->bytes, side == &p.client ? 1 : 2);
        side->write_size = s->write_size;
        side->read_size = s->read_size;
        side->finish_when_sent = true;
    }
    p.connect();
    p.accept();
    cr_assert(turn_until(p.loop, [&] { return ended(p.client) && ended(p.server); }));
    cr_assert(p.server.received == p.client.to_send);
    cr_assert(p.client.received == p.server.to_send);
    cr_assert(end_of(p.client) == Errc::closed && end_of(p.server) == Errc::closed);
    cr_assert(!p.client.error && !p.server.error);
    cr_assert_eq(p.client.stream->bytes_in(), s->bytes);
    cr_assert_eq(p.client.stream->bytes_out(), s->bytes);
}

struct Kind {
    bool tls;
};
#define BOTH_KINDS(name)                                            \
    ParameterizedTestParameters(stream, name) {                     \
        static Kind kinds[] = {{false}, {true}};                    \
        return cr_make_param_array(Kind, kinds, 2);                 \
    }                                                               \
    ParameterizedTest(Kind* kind, stream, name)

BOTH_KINDS(reads_on_after_it_finished_writing) {
    Pair p(kind->tls);
    p.client.to_send = "request";
    p.client.finish_when_sent = true;
    p.connect();
    p.accept();
    cr_assert(turn_until(p.loop, [&] { return ended(p.server); }));
    cr_assert(p.server.received == "request");
    cr_assert(end_of(p.server) == Errc::closed);
    p.server.to_send = pattern(300'000, 3);
    p.server.finish_when_sent = true;
    p.server.stream->want_write(true);
    cr_assert(turn_until(p.loop, [&] { return ended(p.client); }));
    cr_assert(p.client.received == p.server.to_send);
    cr_assert(end_of(p.client) == Errc::closed);
}

BOTH_KINDS(says_reset_when_the_peer_aborts) {
    Pair p(kind->tls);
    cr_assert(p.both_open());
    p.server.stream->abort();
    cr_assert_not(p.server.stream->is_open());
    cr_assert(turn_until(p.loop, [&] { return p.client.error.has_value(); }));
    cr_assert(p.client.error->code == Errc::reset);
    cr_assert(end_of(p.client) == Errc::reset);
}

Test(stream, tells_an_end_without_close_notify_from_an_orderly_one) {
    Pair p(true);
    cr_assert(p.both_open());
    shutdown(p.server.stream->fd(), SHUT_WR);
    cr_assert(turn_until(p.loop, [&] { return p.client.error.has_value(); }));
    cr_assert(p.client.error->code == Errc::truncated);
}

Test(stream, takes_the_end_of_plain_tcp_for_orderly) {
    Pair p(false);
    cr_assert(p.both_open());
    shutdown(p.server.stream->fd(), SHUT_WR);
    cr_assert(turn_until(p.loop, [&] { return ended(p.client); }));
    cr_assert(end_of(p.client) == Errc::closed);
    cr_assert(!p.client.error);
}

BOTH_KINDS(delivers_all_although_the_sender_left_with_input_unread) {
    Pair p(kind->tls);
    cr_assert(p.both_open());
    p.server.stream->want_read(false);
    p.client.to_send = pattern(200'000, 4);
    p.client.stream->want_write(true);
    p.server.to_send = pattern(100'000, 5);
    p.server.stream->want_write(true);
    cr_assert(turn_until(p.loop, [&] { return p.server.sent == p.server.to_send.size(); }));
    p.server.stream->finish();
    p.server.stream.reset();
    cr_assert(turn_until(p.loop, [&] { return ended(p.client); }));
    cr_assert(p.client.received == p.server.to_send);
    cr_assert(end_of(p.client) == Errc::closed);
}

BOTH_KINDS(says_again_that_data_waits_when_reading_is_wanted_again) {
    Pair p(kind->tls);
    std::size_t calls = 0;
    p.server.when_readable = [&] {
        ++calls;
        std::uint8_t one = 0;
        cr_assert(p.server.stream->read({&one, 1}).has_value());
        p.server.received.push_back(static_cast<char>(one));
        p.server.stream->want_read(false);
    };
    p.client.to_send = "abc";
    p.connect();
    p.accept();
    for (std::size_t n = 1; n <= 3; ++n) {
        cr_assert(turn_until(p.loop, [&] { return calls == n; }));
        p.server.stream->want_read(true);
    }
    cr_assert(p.server.received == "abc");
}

BOTH_KINDS(goes_on_telling_while_a_handler_reads_a_little_at_a_time) {
    Pair p(kind->tls);
    p.server.when_readable = [&] {
        std::uint8_t some[3];
        const auto n = p.server.stream->read(some);
        if (n) p.server.received.append(reinterpret_cast<char*>(some), *n);
    };
    p.client.to_send = pattern(5000, 6);
    p.connect();
    p.accept();
    cr_assert(turn_until(p.loop, [&] { return p.server.received.size() == 5000; }));
    cr_assert(p.server.received == p.client.to_send);
}

// ── who is at the other end ──

struct BadCertificate {
    const char* alt_name;
    int from_days, to_days;
    bool trusted;
    const char* asked_for;
    const char* reason;
};

constexpr BadCertificate kBadCertificates[] = {
    {"DNS:other.example", -1, 1, true, "localhost", "hostname mismatch"},
    {"DNS:localhost", -1, 1, true, "127.0.0.1", "IP address mismatch"},
    {"DNS:localhost", -1, 1, false, "localhost", "self-signed certificate"},
    {"DNS:localhost", -3, -1, true, "localhost", "expired"},
    {"DNS:localhost", 1, 2, true, "localhost", "not yet valid"},
};

// Criterion's parameters cannot hold pointers.
ParameterizedTestParameters(stream, refuses_a_wrong_certificate_and_says_why) {
    static std::size_t indices[std::size(kBadCertificates)];
    for (std::size_t i = 0; i < std::size(indices); ++i) indices[i] = i;
    return cr_make_param_array(std::size_t, indices, std::size(indices));
}

ParameterizedTest(std::size_t* index, stream, refuses_a_wrong_certificate_and_says_why) {
    const BadCertificate* c = &kBadCertificates[*index];
    Pair p(true);
    const TestCertificate bad(p.dir, "bad", c->alt_name, c->from_days, c->to_days);
    p.server_ctx = std::move(*make_server_context(bad.certificate_file, bad.key_file));
    if (c->trusted) {
        p.client_ctx = std::move(*make_client_context(bad.certificate_file, nullptr));
        p.tls->ctx = p.client_ctx.get();
    }
    p.tls->host = c->asked_for;
    p.connect();
    p.accept();
    cr_assert(turn_until(p.loop, [&] { return p.client.error.has_value(); }));
    cr_assert(p.client.error->code == Errc::bad_certificate, "%s", p.client.error->to_string().c_str());
    cr_assert(p.client.error->detail.find(c->reason) != std::string::npos, "%s", p.client.error->detail.c_str());
    cr_assert_not(p.client.open);
}

ParameterizedTestParameters(stream, accepts_the_name_or_address_of_the_certificate) {
    static char names[][16] = {"localhost", "LOCALHOST", "127.0.0.1"};
    return cr_make_param_array(char[16], names, 3);
}

ParameterizedTest(char (*name)[16], stream, accepts_the_name_or_address_of_the_certificate) {
    Pair p(true);
    p.tls->host = *name;
    cr_assert(p.both_open());
    cr_assert(p.client.stream->alpn() == "http/1.1");
}

Test(stream, refuses_a_peer_that_does_not_speak_the_protocol) {
    Pair p(true);
    p.tls->alpn = "other/9";
    p.connect();
    p.accept();
    cr_assert(turn_until(p.loop, [&] { return p.client.error && p.server.error; }));
    cr_assert(p.client.error->code == Errc::unsupported, "%s", p.client.error->to_string().c_str());
    cr_assert(p.server.error->code == Errc::unsupported, "%s", p.server.error->to_string().c_str());
}

Test(stream, does_not_call_it_a_wrong_certificate_when_nobody_speaks_tls) {
    Pair p(true);
    p.connect();
    const Fd plain = p.take();
    cr_assert_gt(send(plain.get(), "HTTP/1.1 400 Bad Request\r\n\r\n", 28, 0), 0);
    cr_assert(turn_until(p.loop, [&] { return p.client.error.has_value(); }));
    cr_assert(p.client.error->code == Errc::crypto, "%s", p.client.error->to_string().c_str());
}

Test(stream, does_not_call_it_a_wrong_certificate_when_the_handshake_is_cut) {
    Pair p(true);
    p.connect();
    p.take();
    cr_assert(turn_until(p.loop, [&] { return p.client.error.has_value(); }));
    cr_assert(p.client.error->code == Errc::truncated || p.client.error->code == Errc::reset);
}

Test(stream, derives_the_same_exporter_at_both_ends) {
    Pair p(true);
    cr_assert(p.both_open());
    const auto a = p.client.stream->exporter("EXPORTER-test"), b = p.server.stream->exporter("EXPORTER-test");
    const auto other = p.server.stream->exporter("EXPORTER-other");
    cr_assert(a && b && other);
    cr_assert(*a == *b);
    cr_assert_not(*a == *other);
}

// ── connecting ──

Test(stream, names_every_address_that_could_not_be_reached) {
    Pair p(false);
    p.listening = Fd();
    p.connect({p.at, p.at});
    cr_assert_not(p.client.error.has_value());
    cr_assert(turn_until(p.loop, [&] { return p.client.error.has_value(); }));
    cr_assert(p.client.error->code == Errc::unreachable);
    cr_assert(p.client.error->detail.find(p.at.to_string()) != p.client.error->detail.rfind(p.at.to_string()));
}

Test(stream, reports_that_there_is_no_address_through_the_loop) {
    Pair p(false);
    p.client.stream = Stream::connect(p.loop, {}, nullptr, p.client);
    cr_assert_not(p.client.error.has_value());
    cr_assert(turn_until(p.loop, [&] { return p.client.error.has_value(); }));
    cr_assert(p.client.error->code == Errc::unreachable);
}

Test(stream, tries_the_next_address) {
    Pair p(true);
    const Pair gone(false);
    Address closed = gone.at;
    {
        Pair release(false);
        closed = release.at;
    }
    p.connect({closed, p.at});
    cr_assert(turn_until(p.loop, [&] {
        if (!p.server.stream && p.client.stream->fd() >= 0 && p.client.stream->peer() == p.at) p.accept();
        return p.client.open && p.server.open;
    }));
    cr_assert_not(p.client.error.has_value());
}

Test(stream, gives_up_a_handshake_that_does_not_come) {
    Pair p(true, {.connect = kShort});
    p.connect();
    const Fd silent = p.take();
    cr_assert(turn_until(p.loop, [&] { return p.client.error.has_value(); }));
    cr_assert(p.client.error->code == Errc::timed_out);
}

Test(stream, gives_up_a_client_that_does_not_begin_its_handshake) {
    Pair p(true, {.connect = kShort});
    p.tls.reset();
    p.connect();
    p.accept();
    cr_assert(turn_until(p.loop, [&] { return p.server.error.has_value(); }));
    cr_assert(p.server.error->code == Errc::timed_out);
}

BOTH_KINDS(ends_when_nothing_moves) {
    Pair p(kind->tls, {.idle = kShort});
    cr_assert(p.both_open());
    cr_assert(turn_until(p.loop, [&] { return p.client.error && p.server.error; }));
    cr_assert(p.client.error->code == Errc::timed_out || p.client.error->code == Errc::truncated);
    cr_assert(p.server.error->code == Errc::timed_out || p.server.error->code == Errc::truncated);
}

// ── letting go ──

enum class When { open, readable, writable, error };
struct Letting {
    bool tls;
    When when;
    bool at_once;  // destroyed in the callback; else given to Loop::dispose
};

ParameterizedTestParameters(stream, can_be_let_go_of_in_any_callback) {
    static Letting cases[16];
    std::size_t n = 0;
    for (const bool tls : {false, true})
        for (const When when : {When::open, When::readable, When::writable, When::error})
            for (const bool at_once : {false, true}) cases[n++] = {tls, when, at_once};
    return cr_make_param_array(Letting, cases, n);
}

ParameterizedTest(Letting* c, stream, can_be_let_go_of_in_any_callback) {
    Pair p(c->tls);
    auto victim = std::make_unique<Side>();
    bool gone = false;
    const auto let_go = [&] {
        if (c->at_once)
            victim->stream.reset();
        else
            p.loop.dispose(std::move(victim->stream));
        gone = true;
    };
    switch (c->when) {
    case When::open: victim->when_open = let_go; break;
    case When::readable: victim->when_readable = let_go; break;
    case When::writable:
        victim->to_send = "x";
        victim->when_writable = let_go;
        break;
    case When::error: victim->when_error = let_go; break;
    }
    p.client.to_send = pattern(100'000, 7);
    p.connect();
    victim->stream = Stream::accept(p.loop, p.take(), p.server_ctx.get(), *victim, {});
    cr_assert(turn_until(p.loop, [&] { return victim->open || gone; }));
    if (c->when == When::error) {
        cr_assert(turn_until(p.loop, [&] { return p.client.open; }));
        p.client.stream->abort();
    }
    cr_assert(turn_until(p.loop, [&] { return gone; }));
    // Nothing may reach the handler any more: its memory goes, and the sanitizers watch.
    Timer later(p.loop, [&] { gone = false; });
    later.start(kShort);
    p.loop.post([&] { victim.reset(); });
    cr_assert(turn_until(p.loop, [&] { return !gone; }));
}

BOTH_KINDS(survives_letting_go_after_finish_in_a_callback) {
    Pair p(kind->tls);
    p.server.when_open = [&] {
        cr_assert(p.server.stream->write(as_view("bye")).has_value());
        p.server.stream->finish();
        p.server.stream.reset();
    };
    p.connect();
    p.accept();
    cr_assert(turn_until(p.loop, [&] { return ended(p.client); }));
    cr_assert(p.client.received == "bye");
    cr_assert(end_of(p.client) == Errc::closed);
}

Test(stream, tells_an_error_found_in_a_call_through_the_loop) {
    Pair p(false);
    cr_assert(p.both_open());
    p.client.stream->want_read(false);
    p.server.stream->abort();
    Result<std::size_t> n = std::size_t{0};
    cr_assert(turn_until(p.loop, [&] {
        n = p.client.stream->write(as_view("x"));
        return !n;
    }));
    cr_assert(n.code() == Errc::reset);
    cr_assert_not(p.client.error.has_value());
    cr_assert(turn_until(p.loop, [&] { return p.client.error.has_value(); }));
    cr_assert(p.client.error->code == Errc::reset);
}

Test(stream, an_answer_that_came_before_input_was_refused_can_still_be_read) {
    Pair p(false);
    p.client.to_send = std::string(64 << 20, 'x');
    p.client.when_open = [&] { p.client.stream->want_write(true); };  // busy sending: it does not look
    p.client.when_error = [&] { p.client.drain(); };
    p.connect();
    {
        const Fd other = p.take();
        cr_assert(turn_until(p.loop, [&] { return p.client.sent > 0; }));
        cr_assert_eq(send(other.get(), "no", 2, MSG_NOSIGNAL), 2);
    }  // closed with unread input: a reset follows the answer
    cr_assert(turn_until(p.loop, [&] { return p.client.error.has_value(); }));
    cr_assert_eq(p.client.received, "no");
}

// OpenSSL takes many records from the socket at once; the socket then is silent about what is still to be read.
Test(stream, tells_of_records_that_were_read_ahead_though_the_socket_is_silent) {
    Pair p(true);
    p.client.to_send = pattern(40'000, 5);
    p.client.write_size = 100;
    p.server.when_readable = [&] {  // one small read a call, as one whose budget is used up
        std::array<std::uint8_t, 30> buffer{};
        if (const auto n = p.server.stream->read(buffer))
            p.server.received.append(reinterpret_cast<const char*>(buffer.data()), *n);
    };
    p.connect();
    p.accept();
    cr_assert(turn_until(p.loop, [&] { return p.server.received.size() == p.client.to_send.size(); }));
    cr_assert(p.server.received == p.client.to_send);
    cr_assert_not(ended(p.server));
}

// Half a record lies in OpenSSL's buffer: nothing can be read until the socket brings the rest, and nobody is told to try meanwhile.
Test(stream, waits_quietly_for_the_rest_of_a_record_that_was_read_ahead) {
    Pair p(true);
    int told = 0;
    p.server.when_readable = [&] {
        ++told;
        p.server.drain();
    };
    cr_assert(p.both_open());
    p.server.stream->want_read(true);
    p.client.stream->want_read(true);
    cr_assert(p.client.stream->write(as_view("whole")).has_value());
    cr_assert(turn_until(p.loop, [&] { return p.server.received == "whole"; }));

    SSL* const ssl = p.client.stream->ssl();
    BIO* const record = BIO_new(BIO_s_mem());
    SSL_set0_wbio(ssl, record);  // owns it
    cr_assert(p.client.stream->write(as_view("in two parts")).has_value());
    char* bytes = nullptr;
    const auto size = static_cast<std::size_t>(BIO_get_mem_data(record, &bytes));
    cr_assert_eq(send(p.client.stream->fd(), bytes, 10, MSG_NOSIGNAL), 10);
    const int before = told;
    cr_assert(turn_until(p.loop, [&] { return told > before; }));
    for (int i = 0; i < 100; ++i) event_base_loop(p.loop.base(), EVLOOP_NONBLOCK);
    cr_assert_eq(told, before + 1, "told %d times of half a record", told - before);
    cr_assert_eq(send(p.client.stream->fd(), bytes + 10, size - 10, MSG_NOSIGNAL), static_cast<ssize_t>(size - 10));
    cr_assert(turn_until(p.loop, [&] { return p.server.received == "wholein two parts"; }));
}

Test(stream, refuses_to_write_after_finish) {
    Pair p(true);
    cr_assert(p.both_open());
    p.client.stream->finish();
    cr_assert(p.client.stream->write(as_view("x")).code() == Errc::closed);
}

#if defined(__SANITIZE_ADDRESS__)
#define NO_MALLINFO true
#else
#define NO_MALLINFO false
#endif

// DESIGN 4 and the findings: 16.6 KiB of it are OpenSSL's.
Test(stream, an_idle_tls_connection_stays_small, .disabled = NO_MALLINFO) {
    constexpr int kPairs = 100;
    Pair p(true);
    std::vector<std::unique_ptr<Side>> sides;
    int open = 0;
    const auto add_pair = [&] {
        for (int i = 0; i < 2; ++i) {
            sides.push_back(std::make_unique<Side>());
            Side* side = sides.back().get();
            side->when_open = [side, &open] {
                side->stream->want_read(true);
                ++open;
            };
            if (i == 0)
                side->stream = Stream::connect(p.loop, {p.at}, &*p.tls, *side, {});
            else
                side->stream = Stream::accept(p.loop, p.take(), p.server_ctx.get(), *side, {});
        }
        cr_assert(turn_until(p.loop, [&] { return open == static_cast<int>(sides.size()); }));
    };
    // Both directions carry more than is read ahead at once: what was needed for that is given back.
    const auto add_used_pair = [&] {
        add_pair();
        Side& one = *sides[sides.size() - 2];
        Side& two = *sides[sides.size() - 1];
        for (Side* side : {&one, &two}) {
            side->to_send = std::string(300'000, 'x');
            side->stream->want_write(true);
        }
        cr_assert(turn_until(p.loop, [&] {
            return one.received.size() == two.to_send.size() && two.received.size() == one.to_send.size();
        }));
        for (Side* side : {&one, &two}) {
            for (std::string* all : {&side->received, &side->to_send}) std::string().swap(*all);
            side->sent = 0;
        }
    };
    add_used_pair();
    const std::size_t before = mallinfo2().uordblks;
    for (int i = 0; i < kPairs; ++i) add_used_pair();
    const std::size_t each = (mallinfo2().uordblks - before) / (2 * kPairs);
    cr_assert_lt(each, 24U * 1024, "%zu bytes a connection", each);
}

Test(stream, takes_up_tls_with_what_was_read_already) {
    for (const std::size_t first : {std::size_t{1}, std::size_t{5}, std::size_t{100}, std::size_t{0}}) {  // 0: all that comes at once
        Pair p(true);
        Bytes read;
        bool secured = false;
        p.connect();
        p.server.stream = Stream::accept(p.loop, p.take(), nullptr, p.server, p.timeouts);
        p.server.when_readable = [&] {
            if (secured) return p.server.drain();
            Bytes buffer(first == 0 ? 16384 : first - read.size());
            const auto n = p.server.stream->read(buffer);
            if (!n) return;
            read.insert(read.end(), buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(*n));
            if (first != 0 && read.size() < first) return;
            secured = true;
            p.server.stream->start_tls(p.server_ctx.get(), read);
        };
        p.client.to_send = "from the client";
        p.server.to_send = std::string(100'000, 's');
        p.server.when_open = [&] {
            p.server.stream->want_read(true);
            p.server.stream->want_write(secured);
        };
        cr_assert(turn_until(p.loop, [&] {
            return (p.client.received.size() == p.server.to_send.size() && p.server.received == p.client.to_send) || p.client.error || p.server.error;
        }), "%zu", first);
        cr_assert(!p.client.error && !p.server.error, "%zu: %s", first, (p.client.error ? *p.client.error : *p.server.error).to_string().c_str());
        cr_assert(p.server.stream->is_tls() && p.server.stream->alpn() == "http/1.1");
        p.client.stream->finish();
        cr_assert(turn_until(p.loop, [&] { return p.server.read_end || p.server.error; }));
        cr_assert(p.server.read_end && p.server.read_end->code == Errc::closed, "%zu", first);
    }
}

Test(stream, tells_of_a_socket_that_ends_within_what_was_read_already) {
    Pair p(false);
    Bytes read(5);
    bool secured = false;
    const SslCtxPtr ctx = std::move(*make_server_context(p.certificate.certificate_file, p.certificate.key_file));
    p.client.to_send = std::string("\x16\x03\x01\x02\x00\x01", 6);
    p.client.finish_when_sent = true;
    p.connect();
    p.accept();
    p.server.when_readable = [&] {
        if (secured || !p.server.stream->read(read)) return;
        secured = true;
        p.server.stream->start_tls(ctx.get(), read);
    };
    cr_assert(turn_until(p.loop, [&] { return p.server.error.has_value(); }));
    cr_assert(p.server.error->code == Errc::truncated, "%s", p.server.error->to_string().c_str());
}
