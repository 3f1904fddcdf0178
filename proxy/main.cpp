// msslproxy(8): both halves of mSSL that move bytes, in one program.
//
// Who trusts whom
//
//   An application (curl, apt, a browser) trusts the program beside it: the *client*, which hands it no byte of a shared
//   object that does not verify against a head that the realm's server signed. The client trusts its *server* for what the
//   server signs and nobody else: peers may send garbage, lie or fall silent, and lose nothing but their own connection by
//   it. The server trusts the *origin* behind it for content alone, and notices when the origin's bytes change under the
//   same validator. Servers and clients prove themselves to each other by certificates (protocol/identity.h); a ticket says
//   who may fetch what from whom (protocol/objects.h).
//
// What runs where
//
//   main            reads the command line and the configuration, makes the loops, workers and buffers, and then is loop 0
//   Daemon          (daemon.h) owns the two halves and carries signals to them
//   ServerSide      (server/) in front of an origin: reverse proxy, hashing, manifests, tickets, directory
//   ClientSide      (client/) beside the applications: interception, resolving, transfers, serving peers
//   loops           (core/loop.h) one thread each; a connection, a transfer, a hosted object lives in one of them
//   workers         (core/workers.h) whatever would block a loop: disk, name look-up, hashing, signatures
//   protocol/       the protocol itself: no sockets, files, clock or threads; what it decides is carried out here
//
// The way of one download: client/intercept → http/parser → client/resolver → server/front → origin … and back as blocks
// through core/wire → protocol/session → protocol/download → store → the application.
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sysexits.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <set>
#include <thread>

#include "proxy/core/files.h"
#include "proxy/core/log.h"
#include "proxy/daemon.h"

using namespace mssl;
using namespace mssl::proxy;

namespace {

// Loops beyond this gain nothing before the disk or the wire is full.
constexpr unsigned kMaxAutomaticLoops = 4;
// A look-up that nobody answers keeps its thread for half a minute. Who finds so many waiting is told at once.
constexpr unsigned kNameThreads = 8;
constexpr std::size_t kMostNamesWaiting = 256;

int usage(std::FILE* to, int status) {
    std::fputs("usage: msslproxy [-htV] [-c file]\n"
               "  -c file  configuration (default " MSSL_SYSCONFDIR "/msslproxy.toml)\n"
               "  -t       check the configuration and exit\n"
               "  -V       version\n"
               "  -h       this help\n",
               to);
    return status;
}

int complain(const Error& error, int status) {
    std::fprintf(stderr, "msslproxy: %s\n", error.detail.empty() ? error.to_string().c_str() : error.detail.c_str());
    return status;
}

// A connection is a descriptor. Shells and service managers start programs with a soft limit of 1,024, for the sake of select(2),
// which nothing here uses; what an administrator means is the hard one.
void use_all_descriptors() {
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

// Two programs on one state would use each token once each, and take each other's half-kept files away. Held until the end.
Result<Fd> take_state(const std::string& directory) {
    if (Status s = make_directories(directory, 0700); !s) return s.error();
    const std::string path = directory + "/in-use";
    Fd lock(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!lock) return fail(Errc::io, path + ": " + std::strerror(errno));
    if (::flock(lock.get(), LOCK_EX | LOCK_NB) == 0) return lock;
    return fail(Errc::busy, errno == EWOULDBLOCK ? "another process uses the state in " + directory : path + ": " + std::strerror(errno));
}

int run(std::shared_ptr<const Config> config) {
    if (Status s = log::configure(config->log_level, config->log_file); !s) return complain(s.error(), EXIT_FAILURE);
    // Before threads and sockets: nothing may die of a peer that hangs up.
    signal(SIGPIPE, SIG_IGN);
    use_all_descriptors();
    const unsigned cores = std::max(1U, std::thread::hardware_concurrency());
    LoopGroup loops(config->threads != 0 ? config->threads : std::min(cores, kMaxAutomaticLoops));
    BufferPool buffers(config->buffer_memory);
    Workers workers(config->workers);
    Workers names(kNameThreads, kMostNamesWaiting);
    Runtime runtime{loops, workers, buffers, names};
    std::set<std::string> states;  // both halves may share one
    if (config->server) states.insert(config->server->state);
    if (config->client) states.insert(config->client->state);
    std::vector<Fd> taken;
    for (const std::string& state : states) {
        Result<Fd> lock = take_state(state);
        if (!lock) return complain(lock.error(), EXIT_FAILURE);
        taken.push_back(*std::move(lock));
    }
    Daemon daemon(runtime, std::move(config));
    if (Status s = daemon.start(); !s) return complain(s.error(), EXIT_FAILURE);
    daemon.run();
    return EXIT_SUCCESS;
}

}  // namespace

// Exit status: 0 orderly end, 1 cannot start, 2 wrong command line, 78 (EX_CONFIG) wrong configuration.
int main(int argc, char** argv) {
    constexpr int kUsageError = 2;
    std::string file = MSSL_SYSCONFDIR "/msslproxy.toml";
    bool check_only = false;
    for (int option; (option = getopt(argc, argv, "c:htV")) != -1;) {
        switch (option) {
        case 'c': file = optarg; break;
        case 't': check_only = true; break;
        case 'h': return usage(stdout, EXIT_SUCCESS);
        case 'V': std::puts("msslproxy " PACKAGE_VERSION); return EXIT_SUCCESS;
        default: return usage(stderr, kUsageError);
        }
    }
    if (optind != argc) return usage(stderr, kUsageError);

    Result<std::shared_ptr<const Config>> config = load_config(file);
    if (!config) return complain(config.error(), EX_CONFIG);
    if (check_only) {
        std::printf("%s: good\n", file.c_str());
        return EXIT_SUCCESS;
    }
    return run(std::move(*config));
}
