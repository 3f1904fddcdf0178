// What an application's request is for, judged from its head and from how its connection came here.
//
// Thread rules: pure, but for OwnSockets (any thread).
#pragma once

#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <variant>

#include "proxy/core/net.h"
#include "proxy/http/message.h"

namespace mssl::proxy {

inline constexpr std::uint16_t kHttpPort = 80;  // of "http" where no port is written (RFC 9110 §4.2.1)

struct Wish {
    enum class Kind : std::uint8_t {
        exchange,  // a request to forward
        tunnel,    // CONNECT: bytes both ways, opaque
        answer,    // the proxy itself is the last recipient (Max-Forwards: 0, RFC 9110 §7.6.2)
    };
    Kind kind = Kind::exchange;
    UrlRoot to;            // what the request is for
    std::string target;    // origin-form, or "*"
    std::string host;      // Host to send; empty: as it came
};

struct Refusal {
    std::uint16_t status = 400;
    std::string text;
};

// On an http-proxy port: absolute-form, whose authority prevails over Host (RFC 9112 §3.2.2), and CONNECT. Decrements
// Max-Forwards.
std::variant<Wish, Refusal> judge_proxy_request(RequestHead& request);
// Where an application's connection was going, as its way in tells: to an address (redirect, tproxy), or to what SOCKS named.
struct Destination {
    explicit Destination(const Address& to);
    explicit Destination(Authority to);
    Authority authority;
    std::optional<Address> address;  // null: a name
};

// On a connection that was caught on its way: origin-form, or absolute-form, which a server accepts too (RFC 9112 §3.2.2).
// authority is what the request says, and is not to be believed before it was checked against destination (CVE-2009-0801);
// where it says nothing it is the destination.
std::variant<Wish, Refusal> judge_caught_request(RequestHead& request, const Authority& destination);
// On a connection whose TLS ends here, for site: origin-form, or absolute-form by https. Host is the site's, or it is 421: the
// certificate was shown for no other (RFC 9110 §7.4).
std::variant<Wish, Refusal> judge_secured_request(RequestHead& request, const UrlRoot& site);
// Only who was told of a proxy asks like this.
bool is_said_to_a_proxy(const RequestHead& request);
// Max-Forwards (RFC 9110 §7.6.2): decremented, or at 0 the wish is one to answer here.
std::variant<Wish, Refusal> count_hops(RequestHead& request, Wish wish);

// Whether one of the addresses that Host's name has is the one that the application connected to.
bool leads_to(const std::vector<Address>& resolved, const Address& destination);

// "[2001:db8::1]" → "2001:db8::1", as look-ups want it.
std::string without_brackets(const std::string& host);

// Our own ends of connections to origins. A redirected connection that comes from one of them is our own, sent back by a
// redirect rule that does not exempt this program: answering it would go round for ever.
class OwnSockets {
public:
    void add(const Address& local) {
        const std::lock_guard lock(mutex_);
        set_.insert(local.to_string());
    }
    void remove(const Address& local) {
        const std::lock_guard lock(mutex_);
        const auto it = set_.find(local.to_string());
        if (it != set_.end()) set_.erase(it);
    }
    bool contains(const Address& address) const {
        const std::lock_guard lock(mutex_);
        return set_.contains(address.to_string());
    }

private:
    mutable std::mutex mutex_;
    std::multiset<std::string> set_;
};

// One of them, as long as this lives; own outlives it.
class OwnEnd {
public:
    OwnEnd(OwnSockets& own, const Address& local) : own_(own), local_(local) { own_.add(local_); }
    ~OwnEnd() { own_.remove(local_); }
    OwnEnd(const OwnEnd&) = delete;
    OwnEnd& operator=(const OwnEnd&) = delete;

private:
    OwnSockets& own_;
    const Address local_;
};

}  // namespace mssl::proxy
