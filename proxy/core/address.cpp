// Address, descriptors' addresses and name look-up.
#include <arpa/inet.h>
#include <linux/netfilter_ipv4.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "proxy/core/net.h"

namespace mssl::proxy {
namespace {

// linux/netfilter_ipv6/ip6_tables.h, which C++ does not compile under -Wpedantic.
constexpr int kIp6tSoOriginalDst = 80;

constexpr std::array<std::uint8_t, 12> kMappedPrefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

Address any_family(const in6_addr& ip, std::uint16_t port) {
    std::array<std::uint8_t, 16> bytes;
    std::memcpy(bytes.data(), &ip, bytes.size());
    return Address::from_bytes(bytes, port);
}

Result<std::uint16_t> parse_port(std::string_view text) {
    std::uint16_t port = 0;
    const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), port);
    if (ec != std::errc{} || end != text.data() + text.size())
        return fail(Errc::malformed, "port is not a number from 0 to 65535: " + std::string(text));
    return port;
}

bool numeric_v4(const std::string& host, in_addr& out) { return inet_pton(AF_INET, host.c_str(), &out) == 1; }
bool numeric_v6(const std::string& host, in6_addr& out) { return inet_pton(AF_INET6, host.c_str(), &out) == 1; }

std::array<std::uint8_t, 16> mapped(const in_addr& ip) {
    std::array<std::uint8_t, 16> bytes;
    std::copy(kMappedPrefix.begin(), kMappedPrefix.end(), bytes.begin());
    std::memcpy(bytes.data() + kMappedPrefix.size(), &ip, sizeof ip);
    return bytes;
}

// Without brackets; nothing when host is a name.
std::optional<Address> numeric(std::string host, std::uint16_t port) {
    if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
    in_addr v4{};
    in6_addr v6{};
    if (numeric_v4(host, v4)) return Address::from_bytes(mapped(v4), port);
    if (numeric_v6(host, v6)) return any_family(v6, port);
    return std::nullopt;
}

Result<std::vector<Address>> look_up(const std::string& host, std::uint16_t port) {
    addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_ADDRCONFIG;
    addrinfo* found = nullptr;
    if (const int rc = getaddrinfo(host.c_str(), nullptr, &hints, &found); rc != 0)
        return fail(Errc::unreachable,
                    host + ": " + (rc == EAI_SYSTEM ? std::strerror(errno) : gai_strerror(rc)));
    const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, &freeaddrinfo);
    std::vector<Address> out;
    for (const addrinfo* a = found; a != nullptr; a = a->ai_next) {
        Address address = Address::from(a->ai_addr, a->ai_addrlen);
        address.set_port(port);
        if (std::find(out.begin(), out.end(), address) == out.end()) out.push_back(address);
    }
    if (out.empty()) return fail(Errc::unreachable, host + ": has no address");
    return out;
}

Result<Address> address_of(int fd, int (*get)(int, sockaddr*, socklen_t*), const char* what) {
    sockaddr_storage ss{};
    socklen_t len = sizeof ss;
    if (get(fd, reinterpret_cast<sockaddr*>(&ss), &len) != 0)
        return fail(Errc::io, std::string(what) + ": " + std::strerror(errno));
    return Address::from(reinterpret_cast<sockaddr*>(&ss), len);
}

}  // namespace

Fd& Fd::operator=(Fd&& o) noexcept {
    if (this != &o) {
        if (fd_ >= 0) close(fd_);
        fd_ = o.release();
    }
    return *this;
}

Fd::~Fd() {
    if (fd_ >= 0) close(fd_);
}

// What a dual-stack socket reports as ::ffff:192.0.2.1 becomes 192.0.2.1: one form of one address.
Address Address::from(const sockaddr* sa, socklen_t len) {
    Address out;
    if (sa == nullptr || len < sizeof(sa_family_t)) return out;
    if (sa->sa_family == AF_INET6 && len >= sizeof(sockaddr_in6)) {
        sockaddr_in6 v6;
        std::memcpy(&v6, sa, sizeof v6);
        if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) return any_family(v6.sin6_addr, ntohs(v6.sin6_port));
    }
    out.length_ = std::min<socklen_t>(len, sizeof out.storage_);
    std::memcpy(&out.storage_, sa, out.length_);
    return out;
}

Result<Address> Address::parse(std::string_view text) {
    const std::size_t colon = text.rfind(':');
    if (colon == std::string_view::npos || colon == 0)
        return fail(Errc::malformed, "no port in address: " + std::string(text));
    const Result<std::uint16_t> port = parse_port(text.substr(colon + 1));
    if (!port) return port.error();
    const std::string host(text.substr(0, colon));
    const bool bracketed = host.front() == '[' && host.back() == ']';
    if (!bracketed && host.find(':') != std::string::npos)
        return fail(Errc::malformed, "an IPv6 address goes in brackets: " + std::string(text));
    const std::optional<Address> address = numeric(host, *port);
    if (!address || (bracketed && host.find(':') == std::string::npos))
        return fail(Errc::malformed, "not an IP address: " + std::string(text));
    return *address;
}

Address Address::from_bytes(const std::array<std::uint8_t, 16>& ip, std::uint16_t port) {
    Address out;
    if (std::equal(kMappedPrefix.begin(), kMappedPrefix.end(), ip.begin())) {
        sockaddr_in v4{};
        v4.sin_family = AF_INET;
        v4.sin_port = htons(port);
        std::memcpy(&v4.sin_addr, ip.data() + kMappedPrefix.size(), sizeof v4.sin_addr);
        std::memcpy(&out.storage_, &v4, sizeof v4);
        out.length_ = sizeof v4;
    } else {
        sockaddr_in6 v6{};
        v6.sin6_family = AF_INET6;
        v6.sin6_port = htons(port);
        std::memcpy(&v6.sin6_addr, ip.data(), ip.size());
        std::memcpy(&out.storage_, &v6, sizeof v6);
        out.length_ = sizeof v6;
    }
    return out;
}

std::array<std::uint8_t, 16> Address::ip_bytes() const {
    if (storage_.ss_family == AF_INET) {
        sockaddr_in v4;
        std::memcpy(&v4, &storage_, sizeof v4);
        return mapped(v4.sin_addr);
    }
    std::array<std::uint8_t, 16> bytes{};
    if (storage_.ss_family == AF_INET6) {
        sockaddr_in6 v6;
        std::memcpy(&v6, &storage_, sizeof v6);
        std::memcpy(bytes.data(), &v6.sin6_addr, bytes.size());
    }
    return bytes;
}

// sockaddr_in and sockaddr_in6 have the port at the same place (RFC 3493 §3.3 leaves it open; Linux does).
static_assert(offsetof(sockaddr_in, sin_port) == offsetof(sockaddr_in6, sin6_port));

std::uint16_t Address::port() const {
    if (storage_.ss_family != AF_INET && storage_.ss_family != AF_INET6) return 0;
    in_port_t port;
    std::memcpy(&port, reinterpret_cast<const char*>(&storage_) + offsetof(sockaddr_in, sin_port), sizeof port);
    return ntohs(port);
}

void Address::set_port(std::uint16_t port) {
    if (storage_.ss_family != AF_INET && storage_.ss_family != AF_INET6) return;
    const in_port_t wire = htons(port);
    std::memcpy(reinterpret_cast<char*>(&storage_) + offsetof(sockaddr_in, sin_port), &wire, sizeof wire);
}

bool Address::is_v4() const { return storage_.ss_family == AF_INET; }

bool Address::is_loopback() const {
    const auto ip = ip_bytes();
    if (is_v4()) return ip[12] == 127;
    return storage_.ss_family == AF_INET6 && std::memcmp(ip.data(), &in6addr_loopback, ip.size()) == 0;
}

bool Address::is_any() const {
    const auto ip = ip_bytes();
    return length_ != 0 && std::all_of(ip.begin() + (is_v4() ? 12 : 0), ip.end(), [](auto b) { return b == 0; });
}

std::string Address::to_string() const {
    if (length_ == 0) return "-";
    const std::string ip = ip_string();
    const std::string port = std::to_string(this->port());
    return is_v4() ? ip + ":" + port : "[" + ip + "]:" + port;
}

std::string Address::ip_string() const {
    char text[INET6_ADDRSTRLEN] = "-";
    const auto ip = ip_bytes();
    if (is_v4())
        inet_ntop(AF_INET, ip.data() + kMappedPrefix.size(), text, sizeof text);
    else if (storage_.ss_family == AF_INET6)
        inet_ntop(AF_INET6, ip.data(), text, sizeof text);
    return text;
}

bool Address::operator==(const Address& o) const {
    return (length_ == 0) == (o.length_ == 0) && ip_bytes() == o.ip_bytes() && port() == o.port();
}

Result<Address> local_address(int fd) { return address_of(fd, getsockname, "getsockname"); }

Result<Address> peer_address(int fd) { return address_of(fd, getpeername, "getpeername"); }

Result<Address> original_destination(int fd) {
    const Result<Address> local = local_address(fd);
    if (!local) return local.error();
    sockaddr_storage ss{};
    socklen_t len = sizeof ss;
    const int rc = local->is_v4() ? getsockopt(fd, SOL_IP, SO_ORIGINAL_DST, &ss, &len)
                                  : getsockopt(fd, SOL_IPV6, kIp6tSoOriginalDst, &ss, &len);
    if (rc != 0) return fail(Errc::unexpected, std::string("no original destination: ") + std::strerror(errno));
    const Address original = Address::from(reinterpret_cast<sockaddr*>(&ss), len);
    if (original == *local)
        return fail(Errc::unexpected, "connected to " + local->to_string() + " itself, not redirected to it");
    return original;
}

Result<Address> transparent_destination(int fd, const Address& listening) {
    const Result<Address> local = local_address(fd);
    // TPROXY leaves the port that the application asked for; who connected to the listener itself has the listener's.
    if (local && local->port() == listening.port())
        return fail(Errc::unexpected, "connected to " + local->to_string() + " itself, not sent to it by TPROXY");
    return local;
}

void resolve_name(Workers& workers, Loop& loop, const std::string& host, std::uint16_t port,
                  std::function<void(Result<std::vector<Address>>)> done) {
    if (const auto address = numeric(host, port)) {
        loop.post([done = std::move(done), address] { done(std::vector<Address>{*address}); });
        return;
    }
    // What done holds belongs to the loop, and is let go of there.
    const auto answer = std::make_shared<std::function<void(Result<std::vector<Address>>)>>(std::move(done));
    const bool taken = workers.offer([&workers, &loop, host, port, answer]() mutable {
        Result<std::vector<Address>> found = fail(Errc::cancelled, "ending");
        if (!workers.stopping()) found = look_up(host, port);
        loop.post([found = std::move(found), answer = std::move(answer)]() mutable { (*answer)(std::move(found)); });
    });
    if (!taken) loop.post([answer, host] { (*answer)(fail(Errc::busy, "too many names are being looked up, " + host + " is not")); });
}

}  // namespace mssl::proxy
