// handshake-rate PEM GROUP COUNT: full TLS 1.3 handshakes by libssl as it is, both ends in this process, one after the other;
// prints their number, the seconds they took and the CPU-seconds. Modules come from OPENSSL_CONF, as for any program.
// PEM holds the server's certificate and key.
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "protocol/openssl.h"

using namespace mssl;

namespace {

void check(bool good, const char* what) {
    if (good) return;
    std::fprintf(stderr, "handshake-rate: %s\n", openssl_error(Errc::crypto, what).detail.c_str());
    std::exit(1);
}

SslCtxPtr context(const SSL_METHOD* method, const char* group) {
    SslCtxPtr out(SSL_CTX_new(method));
    check(out && SSL_CTX_set1_groups_list(out.get(), group) == 1, group);
    check(SSL_CTX_set_min_proto_version(out.get(), TLS1_3_VERSION) == 1, "TLS 1.3");
    return out;
}

void handshake(SSL_CTX* at_client, SSL_CTX* at_server) {
    const SslPtr client(SSL_new(at_client));
    const SslPtr server(SSL_new(at_server));
    BIO* one = nullptr;
    BIO* other = nullptr;
    check(client && server && BIO_new_bio_pair(&one, 0, &other, 0) == 1, "connection");
    SSL_set_bio(client.get(), one, one);
    SSL_set_bio(server.get(), other, other);
    SSL_set_connect_state(client.get());
    SSL_set_accept_state(server.get());
    // Three flights; more turns than these mean that it hangs.
    for (int turn = 0; turn < 8 && !(SSL_is_init_finished(client.get()) && SSL_is_init_finished(server.get())); ++turn)
        for (SSL* side : {client.get(), server.get()}) {
            const int done = SSL_do_handshake(side);
            check(done == 1 || SSL_get_error(side, done) == SSL_ERROR_WANT_READ, "handshake");
        }
    check(SSL_is_init_finished(client.get()) == 1 && SSL_is_init_finished(server.get()) == 1, "unfinished");
}

double seconds(clockid_t clock) {
    timespec t{};
    clock_gettime(clock, &t);
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
}

}  // namespace

int main(int argc, char** argv) {
    const int count = argc == 4 ? std::atoi(argv[3]) : 0;
    if (count < 1) {
        std::fprintf(stderr, "usage: handshake-rate PEM GROUP COUNT\n");
        return 2;
    }
    const SslCtxPtr client = context(TLS_client_method(), argv[2]);
    const SslCtxPtr server = context(TLS_server_method(), argv[2]);
    check(SSL_CTX_use_certificate_file(server.get(), argv[1], SSL_FILETYPE_PEM) == 1 &&
              SSL_CTX_use_PrivateKey_file(server.get(), argv[1], SSL_FILETYPE_PEM) == 1,
          argv[1]);
    SSL_CTX_set_num_tickets(server.get(), 0);
    for (int i = 0; i < count / 10 + 1; ++i) handshake(client.get(), server.get());  // fetches, and warms up
    const double begin = seconds(CLOCK_MONOTONIC);
    const double cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    for (int i = 0; i < count; ++i) handshake(client.get(), server.get());
    std::printf("%d %.6f %.6f\n", count, seconds(CLOCK_MONOTONIC) - begin, seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu);
    return 0;
}
