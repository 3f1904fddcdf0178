// A ClientHello is read however it is cut into records and however its bytes arrive; what is none is told from the first byte that says so.
#include <criterion/criterion.h>

#include "protocol/bytes.h"
#include "proxy/client/client_hello.h"

using namespace mssl;
using namespace mssl::proxy;

namespace {

constexpr std::size_t kRecord = 16384;

Bytes extension(std::uint16_t type, const Bytes& content) {
    Writer w;
    w.u16(type);
    w.var16(content);
    return w.take();
}

Bytes name_list(std::initializer_list<std::pair<int, std::string_view>> names) {
    Writer list;
    for (const auto& [type, name] : names) {
        list.u8(static_cast<std::uint8_t>(type));
        list.string16(name);
    }
    Writer w;
    w.var16(list.view());
    return w.take();
}

Bytes server_name(std::string_view name) { return extension(0, name_list({{0, name}})); }

Bytes alpn(std::initializer_list<std::string_view> names) {
    Writer list;
    for (const std::string_view name : names) list.var8(View(reinterpret_cast<const std::uint8_t*>(name.data()), name.size()));
    Writer w;
    w.var16(list.view());
    return extension(16, w.take());
}

Bytes padding(std::size_t n) { return extension(21, Bytes(n)); }

Bytes together(std::initializer_list<Bytes> parts) {
    Bytes out;
    for (const Bytes& part : parts) out.insert(out.end(), part.begin(), part.end());
    return out;
}

// extensions null: none, as before TLS 1.2's extensions.
Bytes message(const Bytes* extensions, std::size_t session_id = 32) {
    Writer body;
    body.u16(0x0303);
    body.raw(Bytes(32, 7));
    body.var8(Bytes(session_id));
    body.var16(Bytes{0x13, 0x01, 0x13, 0x02});
    body.var8(Bytes{0});
    if (extensions != nullptr) body.var16(*extensions);
    Writer w;
    w.u8(1);
    w.var24(body.view());
    return w.take();
}

Bytes records(const Bytes& message, std::size_t most = kRecord) {
    Writer w;
    for (std::size_t at = 0; at < message.size(); at += most) {
        w.u8(22);
        w.u16(0x0301);
        w.var16(View(message).subspan(at, std::min(most, message.size() - at)));
    }
    return w.take();
}

Bytes hello(const Bytes& extensions, std::size_t most = kRecord) { return records(message(&extensions), most); }

}  // namespace

Test(client_hello, says_where_it_wants_to_go_and_what_it_speaks_however_it_is_cut) {
    const Bytes extensions = together({padding(3), server_name("Files.Example.ORG"), alpn({"h2", "http/1.1"})});
    for (const std::size_t most : {std::size_t{1}, std::size_t{2}, std::size_t{3}, std::size_t{4}, std::size_t{5}, std::size_t{40}, kRecord}) {
        Bytes wire = hello(extensions, most);
        const std::size_t whole = wire.size();
        wire.insert(wire.end(), {20, 3, 3, 0, 1, 1});  // what follows is no part of it
        for (std::size_t n = 0; n <= wire.size(); ++n) {
            const Result<ClientHello> r = read_client_hello(View(wire).first(n));
            if (n < whole) {
                cr_assert(r.code() == Errc::truncated, "%zu of %zu, records of %zu: %s", n, whole, most, errc_name(r.code()).data());
                continue;
            }
            cr_assert(r.has_value(), "%zu of %zu", n, whole);
            cr_assert_eq(r->server_name, "files.example.org");
            cr_assert(r->has_alpn && r->offers("h2") && r->offers("http/1.1") && !r->offers("http/1"));
        }
    }
}

Test(client_hello, may_be_longer_than_a_record_and_not_longer_than_the_limit) {
    const Bytes name = server_name("files.example.org");
    const std::size_t rest = message(&name).size() + 4;  // and the padding's own header
    for (const std::size_t size : {kRecord - 1, kRecord, kRecord + 1, 2 * kRecord - 1, kMaxClientHelloBytes}) {
        const Bytes wire = hello(together({padding(size - rest), name}));
        const Result<ClientHello> r = read_client_hello(wire);
        cr_assert(r.has_value() && r->server_name == "files.example.org", "%zu", size);
        cr_assert(read_client_hello(View(wire).first(wire.size() - 1)).code() == Errc::truncated, "%zu", size);
    }
    const Bytes wire = hello(together({padding(kMaxClientHelloBytes + 1 - rest), name}));
    cr_assert(read_client_hello(wire).code() == Errc::too_large);
    cr_assert(read_client_hello(View(wire).first(9)).code() == Errc::too_large, "once its length is known");
}

Test(client_hello, need_not_have_a_name) {
    const Bytes none;
    for (const Bytes& wire : {records(message(nullptr)), hello(none), hello(alpn({"h2"})), hello(extension(0, name_list({{1, "files.example.org"}})))}) {
        const Result<ClientHello> r = read_client_hello(wire);
        cr_assert(r.has_value() && r->server_name.empty());
    }
    for (const char* odd : {"", ".", "a..b", "a.", "192.0.2.1", "a b", "a/b", "a\nb", "[::1]", "b\xc3\xbc.example"}) {
        const Result<ClientHello> r = read_client_hello(hello(server_name(odd)));
        cr_assert(r.has_value() && r->server_name.empty(), "'%s'", odd);
    }
    cr_assert_not(read_client_hello(hello(none))->has_alpn);
}

Test(client_hello, what_two_readers_could_read_in_two_ways_is_none) {
    const Bytes name = server_name("a.example");
    Bytes cut = name, longer = name;
    cut.pop_back();
    longer.push_back(0);
    const struct {
        const char* what;
        Bytes wire;
    } rows[] = {
        {"two server_name extensions", hello(together({name, server_name("b.example")}))},
        {"two host names", hello(extension(0, name_list({{0, "a.example"}, {0, "b.example"}})))},
        {"two ALPN extensions", hello(together({alpn({"h2"}), alpn({"http/1.1"})}))},
        {"an empty protocol", hello(alpn({"h2", ""}))},
        {"an extension that ends early", hello(cut)},
        {"bytes after the last extension", hello(longer)},
        {"a server_name list that is shorter than its extension", hello(extension(0, together({name_list({{0, "a.example"}}), Bytes{0}})))},
        {"a session id over 32 bytes", records(message(&name, 33))},
        {"an empty record", together({Bytes{22, 3, 1, 0, 0}, hello(name)})},
        {"a record over 16 KiB", Bytes{22, 3, 1, 0x40, 1}},
        {"another message", records(Bytes{2, 0, 0, 0})},
        {"another record in its middle", together({Bytes{22, 3, 1, 0, 1, 1}, Bytes{23, 3, 3, 0, 1, 0}})},
    };
    for (const auto& row : rows) cr_assert(read_client_hello(row.wire).code() == Errc::malformed, "%s", row.what);
    Bytes tail = message(&name);
    tail.push_back(0);
    tail[3] = static_cast<std::uint8_t>(tail[3] + 1);
    cr_assert(read_client_hello(records(tail)).code() == Errc::malformed, "bytes after the extensions");
}

Test(client_hello, something_else_is_told_at_once) {
    for (const std::uint8_t first : {'G', 'S', '\x05', '\x15', '\0', '\x7f'}) {
        const Bytes bytes = {first};
        cr_assert(read_client_hello(bytes).code() == Errc::malformed);
        cr_assert_not(is_tls(bytes));
    }
    cr_assert(read_client_hello(Bytes{22, 2}).code() == Errc::malformed, "no TLS has this version");
    cr_assert(is_tls(Bytes{22, 3}));
    cr_assert_not(is_tls(Bytes{22}));
}
