// mssl_x25519 as libssl drives it, without libssl: both sides' keys by EVP, each in a library context of its own.
#include <criterion/criterion.h>
#include <fcntl.h>
#include <openssl/core_names.h>
#include <openssl/params.h>
#include <sys/stat.h>
#include <sys/file.h>
#include <sys/wait.h>

#include <fstream>
#include <set>
#include <thread>

#include "protocol/key_share.h"
#include "provider/reason.h"
#include "tests/unit/provider_fixture.h"

namespace mssl::test {
namespace {

using provider::Reason;

PkeyPtr generated(EVP_PKEY_CTX* context, View further = {}) {
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string("mssl-tlvs", const_cast<std::uint8_t*>(further.data()), further.size()),
        OSSL_PARAM_construct_end(),
    };
    EVP_PKEY* key = nullptr;
    if (EVP_PKEY_keygen_init(context) != 1 || (!further.empty() && EVP_PKEY_CTX_set_params(context, params) != 1) ||
        EVP_PKEY_keygen(context, &key) != 1)
        return nullptr;
    return PkeyPtr(key);
}

Bytes share_of(EVP_PKEY* key) {
    unsigned char* bytes = nullptr;
    const std::size_t length = EVP_PKEY_get1_encoded_public_key(key, &bytes);
    Bytes out(bytes, bytes + length);
    OPENSSL_free(bytes);
    return out;
}

// A client's key, and what it does with the server's share.
struct Client {
    explicit Client(const ProviderHost& host, View further = {}) : library(host.library()) {
        const PkeyCtxPtr context(EVP_PKEY_CTX_new_from_name(library, "mssl_x25519", nullptr));
        cr_assert(context != nullptr);
        cr_assert_eq(EVP_PKEY_keygen_init(context.get()), 1);
        cr_assert_eq(EVP_PKEY_CTX_set_group_name(context.get(), "mssl_x25519"), 1);
        own = generated(context.get(), further);
        cr_assert(own != nullptr, "%s", openssl_error(Errc::crypto, "generate").detail.c_str());
    }
    // As tls_parse_stoc_key_share: a copy of the own parameters, then the share.
    bool take(View share) {
        peer.reset(EVP_PKEY_new());
        return EVP_PKEY_copy_parameters(peer.get(), own.get()) == 1 &&
               EVP_PKEY_set1_encoded_public_key(peer.get(), share.data(), share.size()) == 1;
    }
    OSSL_LIB_CTX* library;
    PkeyPtr own;
    PkeyPtr peer;
};

// As tls_parse_ctos_key_share and tls_construct_stoc_key_share.
struct Server {
    explicit Server(const ProviderHost& host) : library(host.library()) {}
    bool take(View share) {
        const PkeyCtxPtr context(EVP_PKEY_CTX_new_from_name(library, "mssl_x25519", nullptr));
        EVP_PKEY* shell = nullptr;
        cr_assert(EVP_PKEY_paramgen_init(context.get()) == 1 && EVP_PKEY_paramgen(context.get(), &shell) == 1);
        peer.reset(shell);
        return EVP_PKEY_set1_encoded_public_key(shell, share.data(), share.size()) == 1;
    }
    bool answer(View further = {}) {
        const PkeyCtxPtr context(EVP_PKEY_CTX_new_from_pkey(library, peer.get(), nullptr));
        own = generated(context.get(), further);
        return own != nullptr;
    }
    OSSL_LIB_CTX* library;
    PkeyPtr peer;
    PkeyPtr own;
};

// Empty where they share nothing.
Bytes secret_of(OSSL_LIB_CTX* library, EVP_PKEY* own, EVP_PKEY* peer) {
    const PkeyCtxPtr context(EVP_PKEY_CTX_new_from_pkey(library, own, nullptr));
    std::size_t length = 0;
    if (EVP_PKEY_derive_init(context.get()) != 1 || EVP_PKEY_derive_set_peer(context.get(), peer) != 1 ||
        EVP_PKEY_derive(context.get(), nullptr, &length) != 1)
        return {};
    Bytes out(length);
    if (EVP_PKEY_derive(context.get(), out.data(), &length) != 1) return {};
    return out;
}
template <class Side>
Bytes secret_of(const Side& side) {
    return secret_of(side.library, side.own.get(), side.peer.get());
}

Bytes octets(EVP_PKEY* key, const char* name) {
    Bytes out(64);
    std::size_t length = 0;
    if (EVP_PKEY_get_octet_string_param(key, name, out.data(), out.size(), &length) != 1) return {};
    out.resize(length);
    return out;
}

// The reason of the newest error that is the provider's own.
bool refused_as(Reason reason) {
    bool found = false;
    while (const unsigned long error = ERR_get_error())
        found = found || ERR_GET_REASON(error) == static_cast<int>(reason);
    return found;
}

struct Files {
    Files() {
        char path[] = "/tmp/mssl-tokens-XXXXXX";
        cr_assert(mkdtemp(path) != nullptr);
        directory = path;
    }
    ~Files() {
        for (const std::string& f : made) unlink(f.c_str());
        rmdir(directory.c_str());
    }
    std::string write(const std::string& name, View bytes) {
        const std::string path = directory + "/" + name;
        std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(bytes.data()),
                                                    static_cast<std::streamsize>(bytes.size()));
        made.insert(path);
        return path;
    }
    std::string directory;
    std::set<std::string> made;
};

constexpr std::int64_t kFarAway = 4'000'000'000;  // in the year 2096

std::string auth_key_file(Files& files, const std::string& name = "auth.key", char digit = '3') {
    return "auth-key-file = " + files.write(name, as_view(std::string(64, digit) + "\n")) + "\n";
}

std::string token_file(Files& files, std::uint32_t count, std::int64_t expiry = kFarAway, std::uint8_t key_byte = 0x33,
                       const std::string& name = "tokens") {
    const Sealing sealing = *Sealing::fetch(nullptr);
    Secret auth;
    auth.bytes.fill(key_byte);
    const TokenKey key(sealing, auth);
    TokenFile file;
    file.realm.bytes.fill(0x21);
    file.membership.serial.bytes.fill(0x44);
    file.membership.expiry.unix_seconds = expiry;
    file.secret = *key.member_secret(file.membership);
    file.count = count;
    Bytes bytes = encode_token_file_header(file);
    for (std::uint32_t i = 0; i < count; ++i) {
        Writer random;
        random.u64(i);
        random.u64(0x6d73);
        const Token token = *key.make(file.membership, random.view());
        bytes.insert(bytes.end(), token.bytes.begin(), token.bytes.end());
    }
    return "token-file = " + files.write(name, bytes) + "\n";
}

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
    cr_assert_eq(answer.size(), kX25519Bytes + 4 + kHelloBytes + kSealBytes);
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
    // A point of small order: every secret would be zero (RFC 7748 §6.1).
    Bytes small_order = good;
    std::fill_n(small_order.begin(), kX25519Bytes, std::uint8_t{0});
    Server server(host);
    cr_assert(server.take(small_order));
    cr_assert(!server.answer());
}

Test(provider_group, a_member_is_known_and_its_secret_is_in_the_key) {
    Files files;
    const ProviderHost member(token_file(files, 3));
    const ProviderHost admits(auth_key_file(files) + "require = yes\n");
    std::set<Bytes> tokens;
    for (int i = 0; i < 3; ++i) {
        Client client(member);
        const Bytes offer = share_of(client.own.get());
        tokens.emplace(offer.end() - static_cast<std::ptrdiff_t>(kTokenBytes), offer.end());
        Server server(admits);
        cr_assert(server.take(offer), "%s", openssl_error(Errc::crypto, "take").detail.c_str());
        cr_assert(server.answer() && client.take(share_of(server.own.get())));
        cr_assert(!secret_of(client).empty() && secret_of(client) == secret_of(server));
        cr_assert(octets(server.peer.get(), "mssl-member") == Bytes(16, 0x44));
    }
    cr_assert_eq(tokens.size(), 3, "a token was used twice");
    Client without(member);
    cr_assert(!Server(admits).take(share_of(without.own.get())));
    cr_assert(refused_as(Reason::not_member));
}

// Who saw a token go by has no secret for it.
Test(provider_group, a_replayed_token_opens_nothing) {
    Files files;
    const ProviderHost member(token_file(files, 1));
    const ProviderHost admits(auth_key_file(files) + "require = yes\n");
    Client victim(member);
    const Bytes seen = share_of(victim.own.get());
    const ProviderHost thief_host;
    Client thief(thief_host, View(seen).last(4 + kTokenBytes));
    Server server(admits);
    cr_assert(server.take(share_of(thief.own.get())) && server.answer());
    cr_assert(!thief.take(share_of(server.own.get())), "a thief took an answer that accepts");
}

Test(provider_group, who_is_no_member_is_refused_and_where_it_is_not_required_served) {
    Files files;
    struct Row {
        const char* what;
        std::string client;
        Reason refused;
    };
    const std::string realm = "realm = " + std::string(64, '9') + "\n";
    const Row rows[] = {
        {"no token", "", Reason::not_member},
        {"expired", token_file(files, 2, 1'700'000'000, 0x33, "expired"), Reason::expired},
        {"of another realm", token_file(files, 2, kFarAway, 0x34, "other"), Reason::wrong_realm},
        {"a file that is not there", "token-file = /nonexistent/tokens\n", Reason::not_member},
        {"a file that is none", "token-file = " + files.write("junk", Bytes(1000, 'x')) + "\n", Reason::not_member},
    };
    const std::string key = auth_key_file(files);
    const ProviderHost requires_it(realm + key + "require = yes\n");
    const ProviderHost open_to_all(realm + key + "require = no\n");
    const ProviderHost knows_nothing;
    for (const Row& row : rows) {
        // A client does not send what it knows to have expired: what a server does about it is tried below.
        const ProviderHost host(row.client);
        Client client(host);
        cr_assert(!Server(requires_it).take(share_of(client.own.get())), "%s", row.what);
        cr_assert(refused_as(row.refused == Reason::expired ? Reason::not_member : row.refused), "%s", row.what);
        for (const ProviderHost* at : {&open_to_all, &knows_nothing}) {
            Client again(host);
            Server server(*at);
            cr_assert(server.take(share_of(again.own.get())) && server.answer(), "%s", row.what);
            cr_assert(again.take(share_of(server.own.get())), "%s", row.what);
            cr_assert(!secret_of(again).empty() && secret_of(again) == secret_of(server), "%s", row.what);
            cr_assert(octets(server.peer.get(), "mssl-member").empty(), "%s", row.what);
        }
    }
    const Sealing sealing = *Sealing::fetch(nullptr);
    Secret auth;
    auth.bytes.fill(0x33);
    const Token expired = *TokenKey(sealing, auth).make({MemberSerial{}, WallTime{1'700'000'000}}, Bytes(16, 1));
    Writer w;
    w.u16(2);
    w.var16(expired.view());
    Client late(knows_nothing, w.view());
    cr_assert(!Server(requires_it).take(share_of(late.own.get())));
    cr_assert(refused_as(Reason::expired));
}

Test(provider_group, a_token_is_taken_once_by_threads_and_processes) {
    constexpr int kTakers = 4, kEach = 25;
    Files files;
    const std::string parameters = token_file(files, 2 * kTakers * kEach);
    const ProviderHost host(parameters);
    int pipes[2];
    cr_assert_eq(pipe(pipes), 0);
    // Children of this very provider first, before there are threads; then threads, at the same time.
    std::vector<pid_t> children;
    for (int i = 0; i < kTakers; ++i) {
        const pid_t pid = fork();
        if (pid == 0) {
            for (int j = 0; j < kEach; ++j) {
                const Client client(host);
                const Bytes share = share_of(client.own.get());
                if (share.size() < kTokenBytes || write(pipes[1], share.data() + share.size() - kTokenBytes, kTokenBytes) < 0)
                    _exit(1);
            }
            _exit(0);
        }
        children.push_back(pid);
    }
    std::vector<std::vector<Bytes>> taken(kTakers);
    std::vector<std::thread> threads;
    for (int i = 0; i < kTakers; ++i)
        threads.emplace_back([&, i] {
            for (int j = 0; j < kEach; ++j) {
                const Bytes share = share_of(Client(host).own.get());
                taken[static_cast<std::size_t>(i)].emplace_back(share.end() - static_cast<std::ptrdiff_t>(kTokenBytes), share.end());
            }
        });
    for (std::thread& t : threads) t.join();
    std::set<Bytes> all;
    for (const auto& of : taken) all.insert(of.begin(), of.end());
    for (const pid_t pid : children) {
        int status = 0;
        cr_assert(waitpid(pid, &status, 0) == pid && status == 0);
    }
    close(pipes[1]);
    Bytes token(kTokenBytes);
    while (read(pipes[0], token.data(), token.size()) == static_cast<ssize_t>(token.size())) all.insert(token);
    close(pipes[0]);
    cr_assert_eq(all.size(), 2U * kTakers * kEach);
    const Bytes none = share_of(Client(host).own.get());
    cr_assert_eq(none.size(), kX25519Bytes + 4 + kHelloBytes, "all were taken");
}

Test(provider_group, a_token_file_that_somebody_holds_keeps_no_handshake) {
    Files files;
    const std::string parameters = token_file(files, 1);
    const ProviderHost host(parameters);
    const std::string path = parameters.substr(parameters.find('/'), parameters.find('\n') - parameters.find('/'));
    const int held = open(path.c_str(), O_RDWR | O_CLOEXEC);
    cr_assert(held >= 0 && flock(held, LOCK_EX) == 0);
    cr_assert_eq(share_of(Client(host).own.get()).size(), kX25519Bytes + 4 + kHelloBytes, "without a token");
    close(held);
    cr_assert_gt(share_of(Client(host).own.get()).size(), kTokenBytes + kX25519Bytes, "with one");
}

Test(provider_group, a_wrong_configuration_loads_nothing) {
    Files files;
    const std::string short_key = "auth-key-file = " + files.write("short", as_view("1234")) + "\n";
    for (const std::string& bad : {std::string("require = yes\n"), std::string("require = maybe\n"), std::string("realm = 12\n"),
                                   std::string("auth-key-file = /nonexistent\nrequire = yes\n"), short_key + "require = yes\n",
                                   auth_key_file(files), auth_key_file(files) + "requires = yes\n"}) {
        const ProviderHost host(bad);
        cr_assert(!host.is_loaded(), "%s", bad.c_str());
    }
    cr_assert(ProviderHost("require = no\n").is_loaded());
}

}  // namespace mssl::test
