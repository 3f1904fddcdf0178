// Thousands of TLS handshakes of a member over mssl_x25519, in threads, after a fork and in children that are forked while
// threads take tokens, both ends in one process: none fails or waits for ever, nothing is left of them, and under
// ThreadSanitizer no two touch the same without order. A program of its own, because Criterion does not start under
// ThreadSanitizer.
#include <malloc.h>
#include <fcntl.h>
#include <openssl/core.h>
#include <openssl/provider.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "protocol/identity.h"
#include "tests/unit/provider_configuration.h"
#include "tests/unit/token_samples.h"

using namespace mssl;
using namespace mssl::test;

namespace {

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr int kHandshakes = 400;  // ten times slower; and LeakSanitizer counts better than we do
constexpr bool kCountsMemory = false;
#else
constexpr int kHandshakes = 10'000;
constexpr bool kCountsMemory = true;
#endif
// AddressSanitizer's allocator (GCC 12) holds none of its locks over fork(2): a child that is forked while a thread allocates may wait
// for that thread, which it does not have. There children are forked before and after the threads.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kForksAmidThreads = false;
#else
constexpr bool kForksAmidThreads = true;
#endif
constexpr int kThreads = 4;
constexpr int kForks = 40;
// Of a child that waits for what nobody will give it.
constexpr unsigned kChildSeconds = 60;
// What allocators and OpenSSL's caches may still take once everything has run once. One leaked key share a handshake
// would be a hundred times this.
constexpr std::size_t kSlack = 64 * 1024;

void check(bool good, const char* what) {
    if (good) return;
    std::fprintf(stderr, "handshakes: %s\n", openssl_error(Errc::crypto, what).detail.c_str());
    std::exit(1);
}

// What the configuration names, gone at the end.
class Files {
public:
    explicit Files(std::uint32_t tokens) {
        check(mkdtemp(directory_) != nullptr, "a directory");
        const std::string text = auth_key_text();
        write("auth.key", as_view(text));
        write("tokens", token_file_bytes(tokens));
        const std::string at = directory_;
        const std::string lines = provider_configuration("auth-key-file = " + at + "/auth.key\nrequire = yes\ntoken-file = " +
                                                         at + "/tokens\n");
        write("openssl.cnf", as_view(lines));
    }
    ~Files() {
        for (const char* name : {"auth.key", "tokens", "openssl.cnf"}) unlink(path(name).c_str());
        rmdir(directory_);
    }
    Files(const Files&) = delete;
    Files& operator=(const Files&) = delete;
    std::string path(const char* name) const { return std::string(directory_) + "/" + name; }

private:
    void write(const char* name, View bytes) const {
        const int fd = open(path(name).c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        check(fd >= 0 && ::write(fd, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()), name);
        close(fd);
    }
    char directory_[32] = "/tmp/mssl-handshakes-XXXXXX";
};

LibCtxPtr library_with_provider(const Files& files) {
    LibCtxPtr library(OSSL_LIB_CTX_new());
    check(OSSL_PROVIDER_add_builtin(library.get(), "mssl", OSSL_provider_init) == 1, "add");
    check(OSSL_LIB_CTX_load_config(library.get(), files.path("openssl.cnf").c_str()) == 1, "configuration");
    return library;
}

SslCtxPtr context(OSSL_LIB_CTX* library, const SSL_METHOD* method) {
    SslCtxPtr out(SSL_CTX_new_ex(library, nullptr, method));
    check(out && SSL_CTX_set1_groups_list(out.get(), "mssl_x25519") == 1, "context");
    check(SSL_CTX_set_min_proto_version(out.get(), TLS1_3_VERSION) == 1, "TLS 1.3");
    return out;
}

struct Ends {
    explicit Ends(const Files& files)
        : library(library_with_provider(files)), client(context(library.get(), TLS_client_method())),
          server(context(library.get(), TLS_server_method())) {
        const Result<KeyPair> key = KeyPair::generate();
        const Result<Certificate> certificate = RealmAuthority::make_realm(*key, "handshakes", WallTime{1'800'000'000});
        check(SSL_CTX_use_certificate(server.get(), certificate->get()) == 1 &&
                  SSL_CTX_use_PrivateKey(server.get(), key->get()) == 1,
              "certificate");
        SSL_CTX_set_num_tickets(server.get(), 0);
    }
    LibCtxPtr library;
    SslCtxPtr client;
    SslCtxPtr server;
};

// Bytes of what the other side's share says.
std::size_t said_by_peer(SSL* of, const char* name) {
    EVP_PKEY* peer = nullptr;
    std::uint8_t bytes[64];
    std::size_t length = 0;
    check(SSL_get_peer_tmp_key(of, &peer) == 1, "the other side's share");
    const PkeyPtr owned(peer);
    check(EVP_PKEY_get_octet_string_param(peer, name, bytes, sizeof bytes, &length) == 1, name);
    return length;
}

void handshake(const Ends& ends) {
    const SslPtr client(SSL_new(ends.client.get()));
    const SslPtr server(SSL_new(ends.server.get()));
    BIO* one = nullptr;
    BIO* other = nullptr;
    check(client && server && BIO_new_bio_pair(&one, 0, &other, 0) == 1, "connection");
    SSL_set_bio(client.get(), one, one);
    SSL_set_bio(server.get(), other, other);
    SSL_set_connect_state(client.get());
    SSL_set_accept_state(server.get());
    // Three flights: more turns than these means that it hangs.
    for (int turn = 0; turn < 8 && !(SSL_is_init_finished(client.get()) && SSL_is_init_finished(server.get())); ++turn) {
        for (SSL* side : {client.get(), server.get()}) {
            const int done = SSL_do_handshake(side);
            check(done == 1 || SSL_get_error(side, done) == SSL_ERROR_WANT_READ, "handshake");
        }
    }
    check(SSL_is_init_finished(client.get()) == 1 && SSL_is_init_finished(server.get()) == 1, "unfinished");
    check(said_by_peer(client.get(), "mssl-hello") == 40, "hello");
    check(said_by_peer(server.get(), "mssl-member") == MemberSerial::size, "a member");
}

void many(const Ends& ends, int count) {
    std::vector<std::thread> threads;
    for (int i = 0; i < kThreads; ++i)
        threads.emplace_back([&ends, count] {
            for (int j = 0; j < count / kThreads; ++j) handshake(ends);
        });
    for (std::thread& t : threads) t.join();
}

void in_child(const Ends& ends) {
    const pid_t child = fork();
    check(child >= 0, "fork");
    if (child == 0) {
        alarm(kChildSeconds);
        handshake(ends);
        _exit(0);
    }
    int status = 0;
    check(waitpid(child, &status, 0) == child && status == 0, "a handshake in a child");
}

// Each child is forked at any moment of the threads' handshakes, and takes of the same file. It has a library context that
// they do not use: OpenSSL's locks, other than ours, are lost to a child that is forked while a thread holds one.
void forked_meanwhile(const Ends& of_threads, const Ends& of_children) {
    in_child(of_children);
    if (!kForksAmidThreads) {
        many(of_threads, kHandshakes / 10);
        return in_child(of_children);
    }
    std::atomic<bool> ended = false;
    std::thread others([&] {
        many(of_threads, kHandshakes / 10);
        ended = true;
    });
    int children = 0;
    while (children < kForks && !ended) {
        in_child(of_children);
        ++children;
    }
    others.join();
    check(children >= 3, "hardly a fork while threads had handshakes");
}

std::size_t in_use() { return mallinfo2().uordblks; }

}  // namespace

int main() {
    const Files files(3 + kHandshakes + 2 * kHandshakes / 10 + 1 + kForks);
    for (int i = 0; i < 3; ++i) handshake(Ends(files));  // loads and unloads
    const Ends ends(files);
    many(ends, kHandshakes / 10);
    forked_meanwhile(ends, Ends(files));
    const std::size_t before = in_use();
    many(ends, kHandshakes);
    const std::size_t after = in_use();
    std::printf("%d handshakes in %d threads; %zu bytes in use before, %zu after\n", kHandshakes, kThreads, before, after);
    if (kCountsMemory && after > before + kSlack) {
        std::fprintf(stderr, "handshakes: memory grows\n");
        return 1;
    }
    return 0;
}
