// Counters of one loop: written by the loop's thread, read by anyone (status, metrics). Monotone but for gauges.
#pragma once

#include <atomic>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace mssl::proxy {

// X(name, help)  — help becomes the HELP line of /metrics.
#define MSSL_COUNTERS(X)                                                     \
    X(connections_accepted, "connections accepted")                          \
    X(connections_open, "connections open now (gauge)")                      \
    X(accept_pauses, "times accepting paused for want of descriptors")       \
    X(requests, "requests of applications")                                  \
    X(requests_shared, "requests answered with a shared object")             \
    X(requests_relayed, "requests relayed as they are")                      \
    X(requests_refused, "requests answered 4xx by the proxy itself")         \
    X(fallbacks, "requests that went past the server to the origin")         \
    X(bytes_from_server, "object bytes received from the server, verified")  \
    X(bytes_from_peers, "object bytes received from peers, verified")        \
    X(bytes_from_store, "object bytes read from the local store")            \
    X(bytes_to_applications, "body bytes delivered to applications")         \
    X(bytes_to_peers, "object bytes sent to peers")                          \
    X(bytes_to_members, "object bytes sent to members by the server")        \
    X(bytes_from_origin, "body bytes read from origins")                     \
    X(blocks_rejected, "blocks that did not verify")                         \
    X(peers_cut, "peers cut for lying")                                      \
    X(tickets_issued, "tickets issued")                                      \
    X(tickets_refused, "tickets refused")                                    \
    X(members_enrolled, "members enrolled")                                  \
    X(manifests_withdrawn, "manifests withdrawn")                            \
    X(tls_handshakes, "TLS handshakes completed")                            \
    X(tls_failures, "TLS handshakes failed")

struct Counters {
#define X(name, help) std::atomic<std::uint64_t> name{0};
    MSSL_COUNTERS(X)
#undef X
    // name, help, value of each.
    struct Row {
        std::string_view name, help;
        std::uint64_t value;
    };
    std::vector<Row> rows() const {
        return {
#define X(name, help) Row{#name, help, name.load(std::memory_order_relaxed)},
            MSSL_COUNTERS(X)
#undef X
        };
    }
};

inline void add(std::atomic<std::uint64_t>& counter, std::uint64_t n = 1) {
    counter.fetch_add(n, std::memory_order_relaxed);
}
inline void sub(std::atomic<std::uint64_t>& counter, std::uint64_t n = 1) {
    counter.fetch_sub(n, std::memory_order_relaxed);
}

}  // namespace mssl::proxy
