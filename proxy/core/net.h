// Addresses, descriptors, listeners and name look-up.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "protocol/result.h"
#include "proxy/core/loop.h"
#include "proxy/core/workers.h"

namespace mssl::proxy {

class Fd {
public:
    Fd() = default;
    explicit Fd(int fd) : fd_(fd) {}
    Fd(Fd&& o) noexcept : fd_(o.release()) {}
    Fd& operator=(Fd&& o) noexcept;
    ~Fd();
    int get() const { return fd_; }
    int release() {
        int f = fd_;
        fd_ = -1;
        return f;
    }
    explicit operator bool() const { return fd_ >= 0; }

private:
    int fd_ = -1;
};

// An IPv4 or IPv6 socket address. Compared by family, address and port; IPv4-mapped equals its IPv4.
class Address {
public:
    Address() = default;
    static Address from(const sockaddr* sa, socklen_t len);
    // "192.0.2.1:80", "[2001:db8::1]:80", "[::]:443". Port required.
    static Result<Address> parse(std::string_view text);
    // IPv6, or IPv4-mapped (RFC 4291 §2.5.5.2): PeerEntry's form.
    static Address from_bytes(const std::array<std::uint8_t, 16>& ip, std::uint16_t port);
    std::array<std::uint8_t, 16> ip_bytes() const;
    std::uint16_t port() const;
    void set_port(std::uint16_t port);
    bool is_v4() const;
    bool is_loopback() const;
    bool is_any() const;
    std::string to_string() const;  // parse()'s form
    std::string ip_string() const;  // without port or brackets
    const sockaddr* sa() const { return reinterpret_cast<const sockaddr*>(&storage_); }
    socklen_t length() const { return length_; }
    bool operator==(const Address& o) const;

private:
    sockaddr_storage storage_{};
    socklen_t length_ = 0;
};

Result<Address> local_address(int fd);
Result<Address> peer_address(int fd);
// SO_ORIGINAL_DST / IP6T_SO_ORIGINAL_DST of a redirected connection; `unexpected` when it equals the local address or
// is missing: a direct hit, which must be refused or it loops (findings).
Result<Address> original_destination(int fd);
// Of a connection that came by TPROXY to a listener at listening: its own address is the destination. `unexpected` for a
// direct hit, as above.
Result<Address> transparent_destination(int fd, const Address& listening);

// Accepts for the loop that has fewest open. On EMFILE/ENFILE/ENOBUFS/ENOMEM accepting pauses, a spare descriptor is spent on
// closing one waiting connection cleanly, and accepting resumes when descriptors are back.
//
// Thread rules: open, start, stop and destruction in loop 0, or while the loops do not run.
class Listener {
public:
    using Accepted = std::function<void(Loop&, Fd, const Address& peer)>;  // runs in that loop's thread
    enum class Kind : std::uint8_t { plain, transparent };  // transparent: IP_TRANSPARENT, for TPROXY; wants CAP_NET_ADMIN
    // Binds and listens now (errors at once), accepts from start() on. An fd of LISTEN_FDS with the same address is taken
    // over.
    static Result<std::unique_ptr<Listener>> open(LoopGroup& loops, const Address& at, Accepted accepted, Kind kind = Kind::plain);
    ~Listener();
    void start();
    void stop();  // stops accepting; the socket closes with the Listener
    Address address() const;

private:
    Listener();
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

// getaddrinfo in the pool (Runtime::names); done runs in loop: busy at once where too many wait. Answers are not cached.
// Numeric names answer without a worker.
void resolve_name(Workers& workers, Loop& loop, const std::string& host, std::uint16_t port,
                  std::function<void(Result<std::vector<Address>>)> done);

}  // namespace mssl::proxy
