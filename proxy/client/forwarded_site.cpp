#include "proxy/client/forwarded_site.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "proxy/http/syntax.h"

namespace mssl::proxy {
namespace {

// RFC 6761 §6.3: names that never leave the host.
bool is_localhost(std::string_view host) { return host == "localhost" || host.ends_with(".localhost"); }

bool is_of_this_host(const Authority& host, const Address& local) {
    if (is_localhost(host.host)) return true;
    // What is no address is a name, and a name is whoever's zone it stands in.
    const Result<Address> address = Address::parse(host.host + ":" + std::to_string(local.port()));
    return address && (*address == local || address->is_loopback());
}

// What follows the authority of url, if that is root's: "/path", "?query", "#fragment" or nothing.
std::optional<std::string_view> rest_under(std::string_view url, const UrlRoot& root) {
    std::string_view rest = url;
    const std::size_t scheme = url.find("://");
    if (scheme != std::string_view::npos && url.substr(0, scheme).find_first_of("/?#") == std::string_view::npos) {
        if (!iequals(url.substr(0, scheme), root.scheme == Scheme::https ? "https" : "http")) return std::nullopt;
        rest.remove_prefix(scheme + 3);
    } else if (url.starts_with("//")) {  // RFC 3986 §4.2: the scheme is that of what was asked for
        rest.remove_prefix(2);
    } else {
        return std::nullopt;
    }
    const std::size_t end = std::min(rest.find_first_of("/?#"), rest.size());
    const Result<Authority> authority = parse_authority(rest.substr(0, end), default_port(root.scheme));
    if (!authority || *authority != root.authority) return std::nullopt;
    return rest.substr(end);
}

std::string without_domain_and_secure(std::string_view cookie) {
    std::string out;
    for (std::size_t at = 0; at <= cookie.size();) {
        const std::size_t end = std::min(cookie.find(';', at), cookie.size());
        const std::string_view part = cookie.substr(at, end - at);
        const std::string_view name = trim(part.substr(0, part.find('=')));
        // The first part is the cookie itself, whatever it is called.
        if (at == 0 || (!iequals(name, "Domain") && !iequals(name, "Secure"))) {
            if (at != 0) out += ';';
            out += part;
        }
        at = end + 1;
    }
    return out;
}

}  // namespace

std::variant<ForwardedSite, Refusal> ForwardedSite::of(const RequestHead& request, const UrlRoot& site, const Address& local) {
    const std::string* host = request.fields.find("Host");
    // HTTP/1.0. No browser leaves it out.
    if (host == nullptr || host->empty()) return ForwardedSite(site, local.to_string());
    const Result<Authority> authority = parse_authority(*host, default_port(Scheme::http));
    if (!authority) return Refusal{400, "malformed Host: " + authority.error().detail};
    if (!is_of_this_host(*authority, local))
        return Refusal{421, "this port stands for " + site.short_url_of("/") + " and is asked for as http://" + local.to_string() +
                                "/, by this address or localhost: other names are refused, or any web page could read the site here"};
    return ForwardedSite(site, *host);
}

std::variant<Wish, Refusal> ForwardedSite::judge(RequestHead& request) const {
    if (request.method == "CONNECT") return Refusal{400, "a tunnel asked of a port that is no proxy, but stands for " + site_.short_url_of("/")};
    std::string target = request.target;
    if (is_said_to_a_proxy(request)) {
        const Result<AbsoluteTarget> absolute = parse_absolute(request.target);
        const Result<Authority> used = parse_authority(used_, default_port(Scheme::http));
        if (!absolute || absolute->scheme != "http" || !used || absolute->authority != *used)
            return Refusal{400, "this port is no proxy, but stands for " + site_.short_url_of("/") + ": name it as the host, as in http://" +
                                    used_ + "/"};
        target = absolute->target;
    }
    Wish wish;
    wish.to = site_;
    wish.target = std::move(target);
    wish.host = site_.host_field();
    return count_hops(request, std::move(wish));
}

void ForwardedSite::to_site(Fields& fields) const {
    const Result<Authority> used = parse_authority(used_, default_port(Scheme::http));
    if (!used) return;
    for (HeaderField& f : fields.items()) {
        if (!iequals(f.name, "Origin") && !iequals(f.name, "Referer")) continue;
        if (const auto rest = rest_under(f.value, {Scheme::http, *used})) f.value = site_.short_url_of(*rest);
    }
}

void ForwardedSite::to_application(Fields& fields) const {
    for (HeaderField& f : fields.items()) {
        if (iequals(f.name, "Location") || iequals(f.name, "Content-Location")) {
            if (const auto rest = rest_under(f.value, site_)) f.value = "http://" + used_ + std::string(*rest);
        } else if (iequals(f.name, "Set-Cookie")) {
            f.value = without_domain_and_secure(f.value);
        }
    }
}

}  // namespace mssl::proxy
