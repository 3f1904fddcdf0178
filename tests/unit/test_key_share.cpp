// The TLVs of a key share, and tokens: what is taken, what is refused and as what.
#include <criterion/criterion.h>

#include <string>
#include <vector>

#include "protocol/key_share.h"

namespace mssl::test {
namespace {

Bytes tlv(std::uint16_t type, View value) {
    Writer w;
    w.u16(type);
    w.var16(value);
    return w.take();
}
Bytes joined(const std::vector<Bytes>& parts) {
    Bytes out;
    for (const Bytes& p : parts) out.insert(out.end(), p.begin(), p.end());
    return out;
}
Bytes hello_tlv() { return encode_tlvs({Hello{}, {}, {}}); }

Sealing sealing() {
    Result<Sealing> fetched = Sealing::fetch(nullptr);
    return *std::move(fetched);
}
Secret filled_secret(std::uint8_t v) {
    Secret s;
    s.bytes.fill(v);
    return s;
}
bool same(const ExchangeSecret& a, const ExchangeSecret& b) { return std::ranges::equal(a.view(), b.view()); }
const Bytes kRandom(16, 0x5a);
Membership membership() {
    Membership m;
    m.serial.bytes.fill(0x77);
    m.expiry.unix_seconds = 1'800'000'000;
    return m;
}

}  // namespace

Test(key_share, what_is_encoded_is_decoded) {
    Hello hello;
    hello.abilities = 0x80000001;
    hello.max_block_log2 = 16;
    hello.realm.bytes.fill(0x21);
    Token token;
    token.bytes.fill(0x42);
    const ShareTlvs from_client{hello, token, {}};
    const ShareTlvs from_server{hello, {}, true};
    cr_assert(*decode_tlvs(encode_tlvs(from_client), ShareSide::client) == from_client);
    cr_assert(*decode_tlvs(encode_tlvs(from_server), ShareSide::server) == from_server);
    const ShareTlvs from_other{hello, {}, false};
    cr_assert(*decode_tlvs(encode_tlvs(from_other), ShareSide::server) == from_other);
    // Whether a token was good does not show in the length.
    cr_assert_eq(encode_tlvs(from_other).size(), encode_tlvs(from_server).size());
    // Neither takes what is the other's to say.
    cr_assert_eq(decode_tlvs(encode_tlvs(from_client), ShareSide::server).code(), Errc::malformed);
    cr_assert_eq(decode_tlvs(encode_tlvs(from_server), ShareSide::client).code(), Errc::malformed);
}

Test(key_share, limits_and_malformed_input) {
    struct Row {
        const char* what;
        Bytes bytes;
        Errc code;
    };
    const Bytes hello = hello_tlv();
    const std::size_t room = kMaxTlvBytes - hello.size() - 4;
    Bytes other_version = hello;
    other_version[5] = 2;
    Bytes other_length = tlv(1, Bytes{0, 2, 9});
    Bytes other_hash = hello;
    other_hash[10] = 2;
    Bytes bad_block = hello;
    bad_block[11] = 19;
    const Row rows[] = {
        {"nothing", {}, Errc::malformed},
        {"one byte", {0}, Errc::malformed},
        {"hello alone", hello, Errc::ok},
        {"hello cut short", Bytes(hello.begin(), hello.end() - 1), Errc::malformed},
        {"a byte behind", joined({hello, {0}}), Errc::malformed},
        {"hello twice", joined({hello, hello}), Errc::malformed},
        {"hello a byte too long", tlv(1, Bytes(kHelloBytes + 1, 0)), Errc::ok},  // version 0: not ours to parse
        {"hello of version 1, a byte too long", tlv(1, joined({Bytes(hello.begin() + 4, hello.end()), {0}})), Errc::malformed},
        {"hello of one byte", tlv(1, Bytes{0}), Errc::malformed},
        {"hello with a block size that there is not", bad_block, Errc::malformed},
        {"hello of another version", other_version, Errc::ok},
        {"hello of another version and length", other_length, Errc::ok},
        {"hello with another hash", other_hash, Errc::ok},
        {"unknown type", joined({tlv(0x7fff, {}), hello, tlv(0x1234, Bytes(9))}), Errc::ok},
        {"unknown type twice", joined({hello, tlv(0x1234, {}), tlv(0x1234, {})}), Errc::ok},
        {"type 0 twice", joined({tlv(0, {}), hello, tlv(0, Bytes(3))}), Errc::ok},
        {"accepted, of a client", joined({hello, tlv(3, Bytes{1})}), Errc::malformed},
        {"unknown critical type", joined({hello, tlv(0x8004, {})}), Errc::unsupported},
        {"critical hello", joined({tlv(0x8001, {}), hello}), Errc::unsupported},
        {"token too short", joined({hello, tlv(2, Bytes(kTokenBytes - 1))}), Errc::malformed},
        {"token too long", joined({hello, tlv(2, Bytes(kTokenBytes + 1))}), Errc::malformed},
        {"token twice", joined({hello, tlv(2, Bytes(kTokenBytes)), tlv(2, Bytes(kTokenBytes))}), Errc::malformed},
        {"as long as may be", joined({hello, tlv(0x7000, Bytes(room))}), Errc::ok},
        {"a byte more", joined({hello, tlv(0x7000, Bytes(room + 1))}), Errc::too_large},
        {"a length beyond the end", joined({hello, {0x70, 0, 0xff, 0xff}}), Errc::malformed},
    };
    for (const Row& row : rows) {
        const Result<ShareTlvs> read = decode_tlvs(row.bytes, ShareSide::client);
        cr_assert_eq(read.code(), row.code, "%s: %s", row.what, std::string(errc_name(read.code())).c_str());
    }
    cr_assert(!decode_tlvs(other_version, ShareSide::client)->hello);
    cr_assert(!decode_tlvs(other_hash, ShareSide::client)->hello);
}

Test(key_share, every_byte_of_both_shares_goes_into_the_keys) {
    const Sealing s = sealing();
    const Secret dh = filled_secret(1);
    const Secret member = filled_secret(2);
    const Bytes client(40, 3);
    const Bytes server(80, 4);
    const Secret answer = *answer_key(s, dh, client, View(server).first(kX25519Bytes));
    const ExchangeSecret shared = *shared_secret(s, dh, &member, client, server);
    cr_assert(same(*shared_secret(s, dh, nullptr, client, server), dh));
    cr_assert(!same(shared, dh) && answer.bytes != dh.bytes && !same(shared, answer));
    for (std::size_t i = 0; i < client.size(); ++i) {
        Bytes other = client;
        other[i] ^= 1;
        cr_assert(answer_key(s, dh, other, View(server).first(kX25519Bytes))->bytes != answer.bytes);
        cr_assert(!same(*shared_secret(s, dh, &member, other, server), shared));
    }
    for (std::size_t i = 0; i < server.size(); ++i) {
        Bytes other = server;
        other[i] ^= 1;
        cr_assert(!same(*shared_secret(s, dh, &member, client, other), shared));
    }
    for (Secret* of : {const_cast<Secret*>(&dh), const_cast<Secret*>(&member)}) {
        of->bytes[31] ^= 1;
        cr_assert(!same(*shared_secret(s, dh, &member, client, server), shared));
        of->bytes[31] ^= 1;
    }
}

Test(token, opens_under_its_own_key_and_unchanged_alone) {
    const Sealing s = sealing();
    const TokenKey key(s, filled_secret(9));
    const TokenKey other(s, filled_secret(8));
    const Token token = *key.make(membership(), kRandom);
    cr_assert(*key.open(token) == membership());
    cr_assert_eq(other.open(token).code(), Errc::bad_signature);
    for (std::size_t i = 0; i < 8 * kTokenBytes; ++i) {
        Token flipped = token;
        flipped.bytes[i / 8] = static_cast<std::uint8_t>(flipped.bytes[i / 8] ^ 1U << i % 8);
        cr_assert_eq(key.open(flipped).code(), Errc::bad_signature, "bit %zu", i);
    }
}

Test(token, a_member_has_one_secret_and_tokens_that_nobody_else_can_link) {
    const Sealing s = sealing();
    const TokenKey key(s, filled_secret(9));
    const Token first = *key.make(membership(), kRandom);
    const Token second = *key.make(membership(), Bytes(16, 0x5b));
    for (std::size_t i = 0; i + 4 <= kTokenBytes; ++i)
        for (std::size_t j = 0; j + 4 <= kTokenBytes; ++j)
            cr_assert(i < 16 || !std::equal(first.bytes.begin() + static_cast<std::ptrdiff_t>(i),
                                            first.bytes.begin() + static_cast<std::ptrdiff_t>(i) + 4,
                                            second.bytes.begin() + static_cast<std::ptrdiff_t>(j)));
    const Secret secret = *key.member_secret(membership());
    Membership later = membership();
    ++later.expiry.unix_seconds;
    Membership other = membership();
    other.serial.bytes[15] ^= 1;
    cr_assert(key.member_secret(*key.open(second))->bytes == secret.bytes);
    cr_assert(key.member_secret(later)->bytes != secret.bytes);
    cr_assert(key.member_secret(other)->bytes != secret.bytes);
}

Test(token, a_file_is_read_as_written_or_refused) {
    TokenFile file;
    file.realm.bytes.fill(0x21);
    file.membership = membership();
    file.secret = filled_secret(7);
    file.count = kMaxTokens;
    file.next = kMaxTokens;
    file.reserved = kMaxTokens;
    file.boot.bytes.fill(0x55);
    const Bytes header = encode_token_file_header(file);
    cr_assert_eq(header.size(), kTokenFileHeader);
    const Result<TokenFile> read = decode_token_file_header(header);
    cr_assert(read && read->realm == file.realm && read->membership == file.membership &&
              read->secret.bytes == file.secret.bytes && read->count == file.count && read->next == file.next &&
              read->reserved == file.reserved && read->boot == file.boot);
    struct Row {
        std::size_t at;
        std::uint8_t byte;
        Errc code;
    };
    for (const Row& row : {Row{0, 'm', Errc::unsupported}, Row{7, '2', Errc::unsupported}, Row{56, 0xff, Errc::malformed},
                           Row{96, 0xff, Errc::too_large}, Row{100, 0xff, Errc::malformed}, Row{104, 0xff, Errc::malformed}, Row{107, 0, Errc::malformed}}) {
        Bytes changed = header;
        changed[row.at] = row.byte;
        cr_assert_eq(decode_token_file_header(changed).code(), row.code, "byte %zu", row.at);
    }
    for (std::size_t n = 0; n < header.size(); ++n)
        cr_assert_eq(decode_token_file_header(View(header).first(n)).code(), Errc::malformed, "%zu bytes", n);
}

Test(token, the_next_one_is_on_the_disk_before_it_is_used) {
    BootId now;
    now.bytes.fill(1);
    BootId before;
    before.bytes.fill(2);
    constexpr std::uint32_t kNone = 0xffffffff;
    struct Row {
        const char* what;
        std::uint32_t next, reserved;
        BootId boot, own;
        std::uint32_t index;
        bool sync;
        std::uint32_t reserved_then;
    };
    for (const Row& row : {Row{"the first", 0, 0, {}, now, 0, true, 32}, Row{"of a batch", 5, 32, now, now, 5, false, 32},
                           Row{"the last of a batch", 31, 32, now, now, 31, false, 32},
                           Row{"the next batch", 32, 32, now, now, 32, true, 160}, Row{"a rest", 288, 288, now, now, 288, true, 300},
                           Row{"the last", 299, 300, now, now, 299, false, 300}, Row{"after the last", 300, 300, now, now, kNone, false, 300},
                           Row{"after the machine went down", 5, 32, before, now, 32, true, 64},
                           Row{"with nothing left then", 297, 300, before, now, kNone, false, 300},
                           Row{"no boot's name", 5, 5, {}, {}, 5, true, 6}, Row{"none any more", 5, 32, now, {}, 32, true, 33},
                           Row{"none before", 6, 6, {}, now, 6, true, 38}}) {
        TokenFile file;
        file.count = 300;
        file.next = row.next;
        file.reserved = row.reserved;
        file.boot = row.boot;
        const std::optional<Taking> taking = take_next(file, row.own);
        cr_assert_eq(taking ? taking->index : kNone, row.index, "%s", row.what);
        cr_assert(!taking || (taking->sync == row.sync && file.next == row.index + 1 && file.boot == row.own), "%s", row.what);
        cr_assert_eq(file.reserved, row.reserved_then, "%s", row.what);
    }
}

Test(token, an_authentication_key_is_64_digits) {
    const std::string digits(64, 'a');
    cr_assert(read_auth_key(as_view(digits)) && read_auth_key(as_view(digits + "\n")));
    for (const std::string& bad : {std::string(), digits.substr(1), digits + "a", digits + "\n\n", std::string(64, 'x')})
        cr_assert_eq(read_auth_key(as_view(bad)).code(), Errc::malformed);
}

}  // namespace mssl::test
