// The C++ and tests/vectors, which another implementation wrote, agree: key shares and handshake tokens.
#include <criterion/criterion.h>

#include <algorithm>

#include "protocol/key_share.h"
#include "tests/unit/vectors.h"

namespace mssl::test {
namespace {

Secret secret(const Vector& v, std::string_view key) {
    Secret out;
    std::ranges::copy(v.bytes(key), out.bytes.begin());
    return out;
}

ExchangeSecret exchange_secret(const Vector& v) {
    const Bytes bytes = v.bytes("dh");
    ExchangeSecret out;
    out.length = std::min(bytes.size(), ExchangeSecret::kMax);
    std::copy_n(bytes.begin(), out.length, out.bytes.begin());
    return out;
}

std::string answer_tlvs(const Vector& v) {
    const Result<ShareTlvs> read =
        decode_tlvs(v.bytes("bytes"), v.text("side") == "client" ? ShareSide::client : ShareSide::server);
    if (!read) return outcome(read.code());
    Writer hello;
    if (read->hello) put_hello(hello, *read->hello);
    return "ok hello=" + bytes_text(hello.view()) + " token=" + (read->token ? bytes_text(read->token->view()) : "-") +
           " accepted=" + (read->accepted.value_or(false) ? "1" : "0");
}

std::string answer(const Sealing& sealing, const Vector& v) {
    if (v.operation == "tlvs") return answer_tlvs(v);
    if (v.operation == "answer") {
        const Secret key = *answer_key(sealing, exchange_secret(v), v.bytes("client"), v.bytes("server_public"));
        const Bytes sealed = *sealing.seal(key, v.bytes("tlvs"));
        if (*sealing.open(key, sealed) != v.bytes("tlvs")) return "cannot open its own";
        return "ok sealed=" + to_hex(sealed);
    }
    if (v.operation == "shared") {
        const bool member = v.text("member") != "-";
        const Secret of = member ? secret(v, "member") : Secret();
        return "ok secret=" + to_hex(shared_secret(sealing, exchange_secret(v), member ? &of : nullptr, v.bytes("client"),
                                                   v.bytes("server"))
                                         ->view());
    }
    const TokenKey key(sealing, secret(v, "auth"));
    if (v.operation == "token") {
        const Membership membership{v.fixed<MemberSerial>("serial"), {static_cast<std::int64_t>(v.number("expiry"))}};
        return "ok token=" + to_hex(key.make(membership, v.bytes("r"))->view()) +
               " secret=" + to_hex(key.member_secret(membership)->view());
    }
    if (v.operation != "open") return "unknown operation";
    const Result<Membership> opened = key.open(v.fixed<Token>("token"));
    if (!opened) return outcome(opened.code());
    return "ok serial=" + opened->serial.hex() + " expiry=" + std::to_string(opened->expiry.unix_seconds);
}

}  // namespace

Test(vectors, key_shares) {
    const Sealing sealing = *Sealing::fetch(nullptr);
    hold_vectors("key_share", 100, [&](const Vector& v) { return answer(sealing, v); });
}

}  // namespace mssl::test
