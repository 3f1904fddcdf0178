// mssl_x25519 as libssl drives it, without libssl: both sides' keys by EVP, each in a library context of its own.
#include <criterion/criterion.h>

#include "protocol/key_share.h"
#include "provider/x25519.h"
#include "tests/unit/provider_sides.h"

namespace mssl::test {
namespace {

Bytes tlv(std::uint16_t type, std::size_t length) {
    Writer w;
    w.u16(type);
    w.var16(Bytes(length, 0xaa));
    return w.take();
}

}  // namespace

Test(provider_group, both_sides_share_a_secret_and_read_each_others_hello) {
    const std::string realm(64, '2');
    const ProviderHost at_client;
    const ProviderHost at_server("realm = " + realm + "\n");
    Client client(at_client);
    Server server(at_server);
    cr_assert_eq(share_of(client.own.get()).size(), kX25519Bytes + 4 + kHelloBytes);
    cr_assert(server.take(share_of(client.own.get())) && server.answer());
    const Bytes answer = share_of(server.own.get());
    cr_assert_eq(answer.size(), kX25519Bytes + 4 + kHelloBytes + 4 + 1 + kSealBytes);
    cr_assert(client.take(answer), "%s", openssl_error(Errc::crypto, "take").detail.c_str());
    const Bytes secret = secret_of(server);
    cr_assert(secret.size() == 32 && secret_of(client) == secret);
    // What SSL_get_peer_tmp_key gives has the other's hello.
    cr_assert(to_hex(octets(client.peer.get(), "mssl-hello")).ends_with(realm));
    cr_assert(to_hex(octets(server.peer.get(), "mssl-hello")).ends_with(std::string(64, '0')));
    cr_assert(octets(server.peer.get(), "mssl-member").empty());
    // Nothing of the server's hello is to be seen on the wire.
    cr_assert_eq(to_hex(answer).find(std::string(16, '2')), std::string::npos);
}

Test(provider_group, two_handshakes_share_nothing) {
    const ProviderHost host;
    Client client(host);
    Client other(host);
    Server server(host);
    cr_assert(server.take(share_of(client.own.get())) && server.answer());
    const Bytes answer = share_of(server.own.get());
    cr_assert(!other.take(answer), "an answer to somebody else's offer");
    cr_assert(refused_as(Reason::mismatch));
    cr_assert(client.take(answer));
    cr_assert(secret_of(host.library(), other.own.get(), client.peer.get()).empty());
    cr_assert(secret_of(host.library(), client.own.get(), other.own.get()).empty());
    cr_assert(refused_as(Reason::mismatch));
}

Test(provider_group, a_flipped_bit_in_either_share_ends_the_handshake) {
    const ProviderHost host;
    Client client(host);
    const Bytes offer = share_of(client.own.get());
    Server server(host);
    cr_assert(server.take(offer) && server.answer());
    const Bytes answer = share_of(server.own.get());
    for (std::size_t i = 0; i < 8 * answer.size(); i += 3) {
        Bytes flipped = answer;
        flipped[i / 8] = static_cast<std::uint8_t>(flipped[i / 8] ^ 1U << i % 8);
        // The top bit of an X25519 public key counts for nothing (RFC 7748 §5), but for our seal it does.
        cr_assert(!client.take(flipped), "bit %zu of the answer", i);
    }
    for (std::size_t i = 0; i < 8 * offer.size(); i += 3) {
        Bytes flipped = offer;
        flipped[i / 8] = static_cast<std::uint8_t>(flipped[i / 8] ^ 1U << i % 8);
        Server misled(host);
        if (!misled.take(flipped) || !misled.answer()) continue;
        cr_assert(!client.take(share_of(misled.own.get())), "bit %zu of the offer", i);
    }
}

Test(provider_group, tlvs_are_taken_ignored_or_refused) {
    const ProviderHost host;
    struct Row {
        const char* what;
        Bytes further;
        Reason refused;  // internal: not at all
    };
    const Row rows[] = {
        {"none", {}, Reason::internal},
        {"unknown", tlv(0x1234, 3), Reason::internal},
        {"unknown of 16,000 bytes", tlv(0x7fff, 16000), Reason::internal},
        {"unknown critical", tlv(0x8123, 3), Reason::unknown_critical},
        {"one byte", Bytes{1}, Reason::malformed},
        {"that does not end", Bytes{0x12, 0x34, 0, 9, 1}, Reason::malformed},
        {"accepted, from a client", tlv(3, 0), Reason::malformed},
    };
    for (const Row& row : rows) {
        Client client(host, row.further);
        Server server(host);
        if (row.refused != Reason::internal) {
            cr_assert(!server.take(share_of(client.own.get())), "%s", row.what);
            cr_assert(refused_as(row.refused), "%s", row.what);
        } else {
            cr_assert(server.take(share_of(client.own.get())) && server.answer(), "%s", row.what);
            cr_assert(client.take(share_of(server.own.get())), "%s", row.what);
            cr_assert(!secret_of(client).empty() && secret_of(client) == secret_of(server), "%s", row.what);
        }
        // The same from the server; but "accepted" is a lie there.
        Client plain(host);
        Server says(host);
        cr_assert(says.take(share_of(plain.own.get())) && says.answer(row.further), "%s", row.what);
        ERR_clear_error();
        cr_assert_eq(plain.take(share_of(says.own.get())), row.refused == Reason::internal, "%s", row.what);
        cr_assert(row.refused == Reason::internal || refused_as(row.refused), "%s", row.what);
    }
}

Test(provider_group, shares_that_are_none_are_refused) {
    const ProviderHost host;
    Client client(host);
    const Bytes good = share_of(client.own.get());
    for (std::size_t n = 0; n < good.size(); ++n) {
        Server server(host);
        if (n != 0) cr_assert(!server.take(View(good).first(n)), "%zu bytes", n);
    }
    Bytes too_long = good;
    too_long.resize(kX25519Bytes + kMaxTlvBytes + 1);
    cr_assert(!Server(host).take(too_long));
}

// Every secret with such a point is zero (RFC 7748 §6.1). OpenSSL's own X25519 says which they are; the server has to know
// before it answers.
Test(provider_group, points_of_small_order_are_refused) {
    const ProviderHost host;
    Client client(host);
    const Bytes good = share_of(client.own.get());
    const Result<PkeyPtr> pair = provider::x25519_generate(host.library());
    for (const char* hex : {"0000000000000000000000000000000000000000000000000000000000000000",
                            "0100000000000000000000000000000000000000000000000000000000000000",
                            "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
                            "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
                            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
                            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
                            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"}) {
        for (const std::uint8_t top : {0, 0x80}) {
            Bytes point = *from_hex(hex);
            point[31] |= top;
            cr_assert_eq(provider::x25519_agree(host.library(), pair->get(), point).code(), Errc::malformed, "%s", hex);
            Bytes share = good;
            std::ranges::copy(point, share.begin());
            ERR_clear_error();
            cr_assert(!Server(host).take(share), "%s", hex);
            cr_assert(refused_as(Reason::malformed), "%s", hex);
            // A client learns it as early.
            Bytes answer(good.size());
            std::ranges::copy(point, answer.begin());
            cr_assert(!client.take(answer), "%s", hex);
        }
        // Its neighbours are points as others are.
        Bytes near = *from_hex(hex);
        near[5] ^= 1;
        cr_assert(provider::x25519_agree(host.library(), pair->get(), near), "%s", hex);
        cr_assert(!provider::x25519_has_small_order(near), "%s", hex);
    }
}

}  // namespace mssl::test
