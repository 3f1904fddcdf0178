// Thousands of TLS handshakes over mssl_x25519, in threads and after a fork, both ends in this process: none fails, nothing
// is left of them, and under ThreadSanitizer no two touch the same without order. A program of its own, because Criterion
// does not start under ThreadSanitizer.
#include <malloc.h>
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

using namespace mssl;

namespace {

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr int kHandshakes = 400;  // ten times slower; and LeakSanitizer counts better than we do
constexpr bool kCountsMemory = false;
#else
constexpr int kHandshakes = 10'000;
constexpr bool kCountsMemory = true;
#endif
constexpr int kThreads = 4;
// What allocators and OpenSSL's caches may still take once everything has run once. One leaked key share a handshake
// would be a hundred times this.
constexpr std::size_t kSlack = 64 * 1024;

void check(bool good, const char* what) {
    if (good) return;
    std::fprintf(stderr, "handshakes: %s\n", openssl_error(Errc::crypto, what).detail.c_str());
    std::exit(1);
}

struct ProviderUnload {
    void operator()(OSSL_PROVIDER* provider) const noexcept { OSSL_PROVIDER_unload(provider); }
};
using ProviderPtr = std::unique_ptr<OSSL_PROVIDER, ProviderUnload>;

LibCtxPtr library_with_provider() {
    LibCtxPtr library(OSSL_LIB_CTX_new());
    check(OSSL_PROVIDER_add_builtin(library.get(), "mssl", OSSL_provider_init) == 1, "add");
    return library;
}

ProviderPtr load(OSSL_LIB_CTX* library, const char* name) {
    ProviderPtr provider(OSSL_PROVIDER_load(library, name));
    check(provider != nullptr, name);
    return provider;
}

SslCtxPtr context(OSSL_LIB_CTX* library, const SSL_METHOD* method) {
    SslCtxPtr out(SSL_CTX_new_ex(library, nullptr, method));
    check(out && SSL_CTX_set1_groups_list(out.get(), "mssl_x25519") == 1, "context");
    check(SSL_CTX_set_min_proto_version(out.get(), TLS1_3_VERSION) == 1, "TLS 1.3");
    return out;
}

struct Ends {
    Ends() : library(library_with_provider()), standard(load(library.get(), "default")), mssl(load(library.get(), "mssl")), client(context(library.get(), TLS_client_method())),
             server(context(library.get(), TLS_server_method())) {
        const Result<KeyPair> key = KeyPair::generate();
        const Result<Certificate> certificate = RealmAuthority::make_realm(*key, "handshakes", WallTime{1'800'000'000});
        check(SSL_CTX_use_certificate(server.get(), certificate->get()) == 1 &&
                  SSL_CTX_use_PrivateKey(server.get(), key->get()) == 1,
              "certificate");
        SSL_CTX_set_num_tickets(server.get(), 0);
    }
    LibCtxPtr library;
    ProviderPtr standard, mssl;
    SslCtxPtr client;
    SslCtxPtr server;
};

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
    EVP_PKEY* peer = nullptr;
    std::uint8_t hello[64];
    std::size_t length = 0;
    check(SSL_get_peer_tmp_key(client.get(), &peer) == 1, "the server's share");
    const PkeyPtr owned(peer);
    check(EVP_PKEY_get_octet_string_param(peer, "mssl-hello", hello, sizeof hello, &length) == 1 && length == 40, "hello");
}

void many(const Ends& ends, int count) {
    std::vector<std::thread> threads;
    for (int i = 0; i < kThreads; ++i)
        threads.emplace_back([&ends, count] {
            for (int j = 0; j < count / kThreads; ++j) handshake(ends);
        });
    for (std::thread& t : threads) t.join();
}

void after_fork(const Ends& ends) {
    const pid_t child = fork();
    check(child >= 0, "fork");
    if (child == 0) {
        for (int i = 0; i < 10; ++i) handshake(ends);
        _exit(0);
    }
    int status = 0;
    check(waitpid(child, &status, 0) == child && status == 0, "a handshake after a fork");
}

std::size_t in_use() { return mallinfo2().uordblks; }

}  // namespace

int main() {
    for (int i = 0; i < 3; ++i) handshake(Ends());  // loads and unloads
    const Ends ends;
    many(ends, kHandshakes / 10);
    after_fork(ends);
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
