#include "proxy/client/intercept.h"

#include <algorithm>

#include "proxy/client/forward.h"
#include "proxy/http/syntax.h"

namespace mssl::proxy {
namespace {

// RFC 9110 §7.6.2. True: this hop is the last.
Result<bool> count_hop(RequestHead& request) {
    if (request.method != "OPTIONS" && request.method != "TRACE") return false;
    const std::string* field = request.fields.find("Max-Forwards");
    if (field == nullptr) return false;
    const std::optional<std::uint64_t> left = parse_digits(*field);
    if (!left) return fail(Errc::malformed, "Max-Forwards");
    if (*left == 0) return true;
    request.fields.set("Max-Forwards", std::to_string(*left - 1));
    return false;
}

// RFC 9112 §3.2.4: OPTIONS for the server as a whole has no path in its absolute-form.
bool is_server_wide(const RequestHead& request) {
    if (request.method != "OPTIONS") return false;
    const std::size_t after_scheme = request.target.find("://");
    return after_scheme != std::string::npos && request.target.find_first_of("/?", after_scheme + 3) == std::string::npos;
}

}  // namespace

std::variant<Wish, Refusal> count_hops(RequestHead& request, Wish wish) {
    const Result<bool> last = count_hop(request);
    if (!last) return Refusal{400, "malformed Max-Forwards"};
    if (*last) wish.kind = Wish::Kind::answer;
    return wish;
}

std::variant<Wish, Refusal> judge_proxy_request(RequestHead& request) {
    Wish wish;
    if (request.method == "CONNECT") {
        Result<Authority> to = parse_authority(request.target, 0);
        if (!to || to->port == 0) return Refusal{400, "CONNECT wants host:port"};
        wish.kind = Wish::Kind::tunnel;
        wish.to.authority = std::move(*to);
        return wish;
    }
    if (request.target.starts_with('/') || request.target == "*")
        return Refusal{400, "this port is an HTTP proxy: ask with the whole URL (GET http://host/path), as programs do "
                            "when http_proxy names it"};
    Result<AbsoluteTarget> absolute = parse_absolute(request.target);
    if (!absolute) return Refusal{400, "malformed request target: " + absolute.error().detail};
    if (absolute->scheme != "http") return Refusal{400, "https through this proxy takes CONNECT"};
    wish.to.authority = std::move(absolute->authority);
    wish.target = is_server_wide(request) ? "*" : std::move(absolute->target);
    wish.host = wish.to.host_field();
    return count_hops(request, std::move(wish));
}

Destination::Destination(const Address& to) : address(to) {
    const std::string ip = to.ip_string();
    authority = {to.is_v4() ? ip : "[" + ip + "]", to.port()};
}

Destination::Destination(Authority to) : authority(std::move(to)) {
    if (Result<Address> numeric = Address::parse(authority.host + ":" + std::to_string(authority.port))) address = *numeric;
}

bool is_said_to_a_proxy(const RequestHead& request) {
    return request.method == "CONNECT" || (!request.target.starts_with('/') && request.target != "*");
}

std::variant<Wish, Refusal> judge_caught_request(RequestHead& request, const Authority& destination) {
    if (request.method == "CONNECT") return Refusal{400, "a tunnel asked of a server that is no proxy"};
    if (is_said_to_a_proxy(request)) return judge_proxy_request(request);
    Wish wish;
    wish.target = request.target;
    const std::string* host = request.fields.find("Host");
    if (host == nullptr || host->empty()) {
        // HTTP/1.0. What goes on is 1.1, which wants one.
        wish.to.authority = destination;
        wish.host = wish.to.host_field();
        return count_hops(request, std::move(wish));
    }
    Result<Authority> authority = parse_authority(*host, kHttpPort);
    if (!authority) return Refusal{400, "malformed Host: " + authority.error().detail};
    wish.to.authority = std::move(*authority);
    return count_hops(request, std::move(wish));
}

std::variant<Wish, Refusal> judge_secured_request(RequestHead& request, const UrlRoot& site) {
    if (request.method == "CONNECT") return Refusal{400, "a tunnel asked of a server that is no proxy"};
    Wish wish;
    wish.to = site;
    wish.target = request.target;
    if (is_said_to_a_proxy(request)) {
        const Result<AbsoluteTarget> absolute = parse_absolute(request.target);
        if (!absolute) return Refusal{400, "malformed request target: " + absolute.error().detail};
        if (absolute->root() != site) return Refusal{421, "this connection is to " + site.short_url_of("/")};
        wish.target = is_server_wide(request) ? "*" : absolute->target;
        wish.host = site.host_field();  // whatever Host says (RFC 9112 §3.2.2)
        return count_hops(request, std::move(wish));
    }
    const std::string* host = request.fields.find("Host");
    if (host == nullptr || host->empty()) {
        wish.host = site.host_field();
        return count_hops(request, std::move(wish));
    }
    const Result<Authority> authority = parse_authority(*host, default_port(site.scheme));
    if (!authority) return Refusal{400, "malformed Host: " + authority.error().detail};
    if (*authority != site.authority) return Refusal{421, "this connection is to " + site.short_url_of("/")};
    return count_hops(request, std::move(wish));
}

bool leads_to(const std::vector<Address>& resolved, const Address& destination) {
    return std::ranges::any_of(resolved, [&](const Address& a) { return a == destination; });
}

std::string without_brackets(const std::string& host) {
    return host.starts_with('[') && host.ends_with(']') ? host.substr(1, host.size() - 2) : host;
}

}  // namespace mssl::proxy
