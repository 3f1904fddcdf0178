// Membership in mssl_x25519: whom a server admits, and the tokens by which a client shows that it is a member.
#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <fstream>
#include <set>
#include <thread>

#include "protocol/key_share.h"
#include "tests/unit/provider_sides.h"
#include "tests/unit/token_samples.h"

namespace mssl::test {
namespace {

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

std::string auth_key_file(Files& files) {
    return "auth-key-file = " + files.write("auth.key", as_view(auth_key_text())) + "\n";
}

std::string token_file(Files& files, std::uint32_t count, std::int64_t expiry = kFarAway,
                       std::uint8_t key_byte = kAuthKeyByte, const std::string& name = "tokens") {
    return "token-file = " + files.write(name, token_file_bytes(count, expiry, key_byte)) + "\n";
}

// The token of a share of a client that is a member's.
Bytes token_in(View share) {
    cr_assert_eq(share.size(), kX25519Bytes + 4 + kHelloBytes + 4 + kTokenBytes);
    const View token = share.last(kTokenBytes);
    return Bytes(token.begin(), token.end());
}

// How often fdatasync was called in this process, and what `reserved` stood in the file then.
struct Syncs {
    int count = 0;
    std::uint32_t reserved = 0;
} syncs;

}  // namespace
}  // namespace mssl::test

// In the place of libc's: whether something is on the disk cannot be seen otherwise.
extern "C" int fdatasync(int fd) {
    using namespace mssl;
    std::uint8_t state[8];
    if (pread(fd, state, sizeof state, static_cast<off_t>(kTokenFileState)) == static_cast<ssize_t>(sizeof state)) {
        ++test::syncs.count;
        Reader r(View(state).last(4));
        test::syncs.reserved = r.u32();
    }
    return static_cast<int>(syscall(SYS_fdatasync, fd));
}

namespace mssl::test {

Test(provider_membership, a_member_is_known_and_its_secret_is_in_the_key) {
    Files files;
    const ProviderHost member(token_file(files, 3));
    const ProviderHost admits(auth_key_file(files) + "require = yes\n");
    std::set<Bytes> tokens;
    for (int i = 0; i < 3; ++i) {
        Client client(member);
        const Bytes offer = share_of(client.own.get());
        tokens.insert(token_in(offer));
        Server server(admits);
        cr_assert(server.take(offer), "%s", openssl_error(Errc::crypto, "take").detail.c_str());
        cr_assert(server.answer() && client.take(share_of(server.own.get())));
        cr_assert(!secret_of(client).empty() && secret_of(client) == secret_of(server));
        cr_assert(octets(server.peer.get(), "mssl-member") == Bytes(16, kSerialByte));
    }
    cr_assert_eq(tokens.size(), 3, "a token was used twice");
    Client without(member);
    cr_assert(!Server(admits).take(share_of(without.own.get())));
    cr_assert(refused_as(Reason::not_member));
}

// Who saw a token go by has no secret for it.
Test(provider_membership, a_replayed_token_opens_nothing) {
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

Test(provider_membership, who_is_no_member_is_refused_and_where_it_is_not_required_served) {
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
    auth.bytes.fill(kAuthKeyByte);
    const Token expired = *TokenKey(sealing, auth).make({MemberSerial{}, WallTime{1'700'000'000}}, Bytes(16, 1));
    Writer w;
    w.u16(2);
    w.var16(expired.view());
    Client late(knows_nothing, w.view());
    cr_assert(!Server(requires_it).take(share_of(late.own.get())));
    cr_assert(refused_as(Reason::expired));
}

Test(provider_membership, a_token_is_taken_once_by_threads_and_processes) {
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
                taken[static_cast<std::size_t>(i)].push_back(token_in(share_of(Client(host).own.get())));
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

Test(provider_membership, a_token_file_that_somebody_holds_keeps_no_handshake) {
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

// The machine may go down at any moment: what was written and not synchronised is lost then.
Test(provider_membership, no_token_comes_twice_whatever_a_power_failure_leaves_of_the_file) {
    constexpr std::uint32_t kCount = 300;
    Files files;
    const std::string parameters = token_file(files, kCount);
    const std::string path = parameters.substr(parameters.find('/'), parameters.find('\n') - parameters.find('/'));
    const Bytes all = token_file_bytes(kCount);
    const ProviderHost host(parameters);
    const auto take = [&] {
        const Bytes token = token_in(share_of(Client(host).own.get()));
        for (std::uint32_t i = 0; i < kCount; ++i)
            if (std::equal(token.begin(), token.end(), all.begin() + static_cast<std::ptrdiff_t>(token_offset(i)))) return i;
        return kCount;
    };
    syncs = {};
    for (std::uint32_t i = 0; i < 40; ++i) {
        cr_assert_eq(take(), i, "token %u", i);
        cr_assert_lt(i, syncs.reserved, "token %u was used before the disk knew", i);
    }
    cr_assert_eq(syncs.count, 2, "%d waits for the disk", syncs.count);
    // What is left: the state of any moment since the last synchronisation, under a boot that is over.
    std::ifstream in(path, std::ios::binary);
    Bytes header(kTokenFileHeader);
    in.read(reinterpret_cast<char*>(header.data()), static_cast<std::streamsize>(header.size()));
    TokenFile left = *decode_token_file_header(header);
    left.boot.bytes[0] ^= 1;
    for (const std::uint32_t next : {32U, 33U, 40U, 160U}) {
        left.next = next;
        Bytes file = all;
        std::ranges::copy(encode_token_file_state(left), file.begin() + static_cast<std::ptrdiff_t>(kTokenFileState));
        files.write("tokens", file);
        cr_assert_eq(take(), kFirstBatch + kBatch, "after a power failure at %u", next);
        cr_assert_eq(take(), kFirstBatch + kBatch + 1);
    }
    cr_assert_eq(syncs.reserved, 2 * kFirstBatch + kBatch);
}

// Groups and protocols of the same configuration are applied only if the module loads (OpenSSL 3.0), so it does.
Test(provider_membership, a_wrong_configuration_makes_and_takes_no_share) {
    struct Row {
        std::string parameters;
        const char* said;
    };
    Files files;
    const std::string key = auth_key_file(files);
    const std::string short_key = "auth-key-file = " + files.write("short", as_view("1234")) + "\n";
    const ProviderHost good;
    const Client client(good);
    for (const Row& row : {Row{"require = yes\n", "require: needs"}, Row{"require = maybe\n", "require: yes or no"},
                           Row{"realm = 12\n", "realm:"}, Row{"auth-key-file = /nonexistent\nrequire = yes\n", "auth-key-file: /non"},
                           Row{"auth-key-file = /nonexistent\nrequire = no\n", "auth-key-file: /non"},
                           Row{short_key + "require = yes\n", "auth-key-file: /tmp"}, Row{key, "auth-key-file: needs"},
                           Row{key + "requires = yes\n", "auth-key-file: needs"}, Row{key + "require = Yes\n", "require: yes or no"}}) {
        const char* what = row.parameters.c_str();
        const ProviderHost host(row.parameters);
        cr_assert(host.is_loaded(), "%s", what);
        const auto said = [&] {
            const char* detail = nullptr;
            int flags = 0;
            const unsigned long error = ERR_get_error_all(nullptr, nullptr, nullptr, &detail, &flags);
            return ERR_GET_REASON(error) == static_cast<int>(Reason::bad_configuration) &&
                   std::string_view(detail).starts_with(row.said);
        };
        ERR_clear_error();
        cr_assert(!Server(host).take(share_of(client.own.get())), "%s", what);
        cr_assert(said(), "as a server: %s", what);
        ERR_clear_error();
        const PkeyCtxPtr context(EVP_PKEY_CTX_new_from_name(host.library(), "mssl_x25519", nullptr));
        cr_assert(generated(context.get()) == nullptr, "%s", what);
        cr_assert(said(), "as a client: %s", what);
    }
    cr_assert(ProviderHost("require = no\n").is_loaded());
}

}  // namespace mssl::test
