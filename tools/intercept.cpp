// mssl intercept: connections of applications that know of no proxy are brought to msslproxy, and left alone again.
#include <arpa/inet.h>
#include <netdb.h>
#include <poll.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>

#include "tools/capture.h"
#include "tools/command.h"
#include "tools/files.h"
#include "tools/interrupt.h"
#include "tools/listening.h"
#include "tools/routing.h"
#include "tools/text.h"
#include "tools/verbs.h"

namespace mssl::tools {
namespace {

const Argv kApply = {"nft", "-f", "-"};
const Argv kList = {"nft", "-n", "-j", "list", "table", "inet", "mssl"};
const Argv kTables = {"nft", "-j", "list", "tables", "inet"};

void say(std::string_view kind, const std::string& text) {
    // Several lines of a program stay several lines.
    for (std::size_t at = 0; at <= text.size();) {
        const std::size_t end = std::min(text.find('\n', at), text.size());
        std::fprintf(stderr, "mssl intercept: %s%s\n", std::string(kind).c_str(), printable(text.substr(at, end - at)).c_str());
        at = end + 1;
    }
}

int give_up(const Error& error, const InterceptOptions& options) {
    std::string why = error.detail;
    const auto says = [&](const char* words) { return why.find(words) != std::string::npos; };
    if (says("no program 'nft'")) why += ": install nftables";
    if (says("no program 'ip'")) why += ": install iproute2";
    if (says("Operation not permitted") && geteuid() != 0)
        why += "\nThe packet filter is root's: run this as root, or with CAP_NET_ADMIN among the ambient capabilities.";
    else if (says("Operation not permitted"))
        why += "\nThe network namespace belongs to somebody else, or another program owns the table inet mssl.";
    if (options.tproxy && (says("No such file or directory") || says("not supported")))
        why += "\n--tproxy needs a kernel with nft_tproxy and nf_conntrack; without it, REDIRECT does for TCP of this host.";
    say("", why);
    return error.code == Errc::config ? kUsage : kFailed;
}

Result<std::uint32_t> uid_of(const std::string& user) {
    std::uint32_t uid = 0;
    const auto [end, ec] = std::from_chars(user.data(), user.data() + user.size(), uid);
    if (ec == std::errc() && end == user.data() + user.size()) return uid;
    if (const passwd* entry = getpwnam(user.c_str()); entry != nullptr) return entry->pw_uid;
    return fail(Errc::config, "there is no user '" + user + "' here; who does msslproxy run as? --user NAME, or its uid");
}

std::string user_text(std::uint32_t uid) {
    const passwd* entry = getpwuid(uid);
    return "uid " + std::to_string(uid) + (entry != nullptr ? " (" + std::string(entry->pw_name) + ")" : "");
}

// "192.0.2.0/24", "2001:db8::1": true when it is one, and then it is in the capture.
bool add_address(const std::string& text, Capture& capture) {
    const std::size_t slash = text.find('/');
    const std::string address = text.substr(0, slash);
    unsigned char raw[16];
    const bool v4 = inet_pton(AF_INET, address.c_str(), raw) == 1;
    if (!v4 && inet_pton(AF_INET6, address.c_str(), raw) != 1) return false;
    if (slash != std::string::npos) {
        unsigned length = 0;
        const auto [end, ec] = std::from_chars(text.data() + slash + 1, text.data() + text.size(), length);
        if (ec != std::errc() || end != text.data() + text.size() || length > (v4 ? 32U : 128U)) return false;
    }
    (v4 ? capture.hosts4 : capture.hosts6).push_back(text);
    return true;
}

Status add_host(const std::string& host, Capture& capture) {
    capture.everywhere = false;
    if (add_address(host, capture)) return {};
    if (host.find('/') != std::string::npos)
        return fail(Errc::config, "--host: found '" + host + "', expected a name, an address, or an address/length");
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* list = nullptr;
    const int rc = getaddrinfo(host.c_str(), nullptr, &hints, &list);
    if (rc != 0) return fail(Errc::unreachable, "--host: " + host + ": " + gai_strerror(rc));
    const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(list, &freeaddrinfo);
    for (const addrinfo* a = list; a != nullptr; a = a->ai_next) {
        char text[NI_MAXHOST];
        if (getnameinfo(a->ai_addr, a->ai_addrlen, text, sizeof text, nullptr, 0, NI_NUMERICHOST) != 0) continue;
        add_address(std::string(text).substr(0, std::strcspn(text, "%")), capture);
    }
    return {};
}

// Where lo has no ::1 a packet of IPv6 cannot be brought in over it.
bool lo_has_ipv6() {
    const Result<Bytes> bytes = read_small_file("/proc/net/if_inet6", std::size_t{1} << 20);
    return bytes && std::string(bytes->begin(), bytes->end()).find("00000000000000000000000000000001 ") != std::string::npos;
}

Result<Capture> wanted(const InterceptOptions& options) {
    Capture out;
    out.tproxy = options.tproxy;
    out.forwarded = options.forwarded;
    out.port = options.port;
    out.destination_ports = options.destination_ports;
    std::sort(out.destination_ports.begin(), out.destination_ports.end());
    out.destination_ports.erase(std::unique(out.destination_ports.begin(), out.destination_ports.end()),
                                out.destination_ports.end());
    const Result<std::uint32_t> uid = uid_of(options.user);
    if (!uid) return uid.error();
    out.exempt_uid = *uid;
    for (const std::string& host : options.hosts)
        if (Status s = add_host(host, out); !s) return s.error();
    out.ipv6 = !options.tproxy || lo_has_ipv6();
    return out;
}

struct Plan {
    std::vector<Step> steps;
    // Routes of an earlier --tproxy, of no use any more and no harm. Its table needs them until it is replaced.
    std::vector<Step> tidy;
};

Result<Plan> plan_on(const Capture& capture) {
    Plan out;
    Result<std::vector<Step>> routes = capture.tproxy ? steps_to_route(capture.ipv6) : steps_to_unroute();
    if (!routes) return routes.error();
    (capture.tproxy ? out.steps : out.tidy) = std::move(*routes);
    // Last of what may fail: this alone is atomic by itself.
    out.steps.push_back({kApply, ruleset_on(capture), {}});
    return out;
}

Result<std::vector<Step>> steps_off() {
    Result<std::vector<Step>> steps = steps_to_unroute();
    if (steps) steps->insert(steps->begin(), Step{kApply, ruleset_off(), {}});
    return steps;
}

// What sh would do as well.
void print_steps(const std::vector<Step>& steps) {
    for (const Step& step : steps) {
        std::printf("%s", shell_line(step.argv).c_str());
        if (step.input.empty())
            std::printf("\n");
        else
            std::printf(" <<'END'\n%sEND\n", step.input.c_str());
    }
}

void warn_of_no_listener(const Capture& capture) {
    const Listening there = listening_on(capture.port);
    const std::string port = std::to_string(capture.port);
    const char* end = " is refused until msslproxy does ([[intercept]] in msslproxy.toml)";
    if (!there.ipv4 && !there.ipv6)
        say("warning: ", "nobody listens on port " + port + ": what is intercepted" + end);
    else if (!there.ipv6 && capture.ipv6)
        say("warning: ", "nobody listens on port " + port + " in IPv6: what of it is intercepted" + end);
    else if (!there.ipv4)
        say("warning: ", "nobody listens on port " + port + " in IPv4: what of it is intercepted" + end);
}

// One that fails keeps none of the others from being undone.
int take_each(const std::vector<Step>& steps, const InterceptOptions& options) {
    int status = kDone;
    for (const Step& step : steps)
        if (const Status s = take_steps({step}); !s) status = give_up(s.error(), options);
    return status;
}

int off(const InterceptOptions& options) {
    const Result<std::vector<Step>> steps = steps_off();
    if (!steps) return give_up(steps.error(), options);
    if (options.dry_run) {
        print_steps(*steps);
        return kDone;
    }
    return take_each(*steps, options);
}

int on(const InterceptOptions& options) {
    const Result<Capture> capture = wanted(options);
    if (!capture) return give_up(capture.error(), options);
    const Result<Plan> plan = plan_on(*capture);
    if (!plan) return give_up(plan.error(), options);
    if (options.dry_run) {
        print_steps(plan->steps);
        print_steps(plan->tidy);
        return kDone;
    }
    // A signal waits until all is done, or all is undone.
    Interrupt interrupt;
    if (const Status s = take_steps(plan->steps); !s) {
        const int status = give_up(s.error(), options);
        if (s.error().detail.find("could not be undone") == std::string::npos) say("", "Nothing was changed.");
        return status;
    }
    const int tidied = take_each(plan->tidy, options);
    if (!capture->ipv6) say("", "lo has no IPv6 address: IPv6 is not intercepted");
    warn_of_no_listener(*capture);
    if (!options.foreground) {
        interrupt.die_if_interrupted();
        return tidied;
    }
    std::printf("mssl intercept: on, until interrupted\n");
    std::fflush(stdout);
    pollfd signal{interrupt.descriptor(), POLLIN, 0};
    while (poll(&signal, 1, -1) < 0) {
    }
    InterceptOptions undo = options;
    undo.action = InterceptOptions::Action::off;
    const int undone = off(undo);
    if (undone == kDone) interrupt.die_if_interrupted();
    return undone;
}

// The table as it is; nothing when there is none.
Result<std::optional<Capture>> current() {
    const Result<Finished> tables = run_command(kTables);
    if (!tables) return tables.error();
    if (tables->status != 0) return failure_of(kTables, *tables);
    const Result<Json> names = Json::parse(tables->out);
    if (!names) return names.error();
    const auto& items = (*names)["nftables"].items();
    if (std::none_of(items.begin(), items.end(), [](const Json& item) { return item["table"]["name"].text() == "mssl"; }))
        return std::optional<Capture>();
    const Result<Finished> table = run_command(kList);
    if (!table) return table.error();
    if (table->status != 0) return failure_of(kList, *table);
    const Result<Json> listed = Json::parse(table->out);
    if (!listed) return listed.error();
    Result<Capture> capture = read_table(*listed);
    if (!capture) return capture.error();
    return std::optional<Capture>(std::move(*capture));
}

Json json_of(const Capture& c, const std::vector<std::string>& missing) {
    Json out = Json::object();
    out.put("on", true);
    out.put("mode", c.tproxy ? "tproxy" : "redirect");
    out.put("port", std::uint64_t{c.port});
    Json::Array ports;
    for (const std::uint16_t port : c.destination_ports) ports.emplace_back(std::uint64_t{port});
    out.put("destination_ports", std::move(ports));
    if (!c.everywhere) {
        Json::Array hosts;
        for (const auto* list : {&c.hosts4, &c.hosts6})
            for (const std::string& host : *list) hosts.emplace_back(host);
        out.put("hosts", std::move(hosts));
    }
    out.put("exempt_uid", std::uint64_t{c.exempt_uid});
    out.put("forwarded", c.forwarded);
    out.put("connections", c.connections);
    out.put("quic_refused", c.refuses_quic());
    Json::Array commands;
    for (const std::string& line : missing) commands.emplace_back(line);
    out.put("missing", std::move(commands));
    return out;
}

void print_text(const Capture& c, const std::vector<std::string>& missing) {
    std::string ports;
    for (const std::uint16_t port : c.destination_ports) ports += (ports.empty() ? "" : ", ") + std::to_string(port);
    std::string hosts;
    for (const auto* list : {&c.hosts4, &c.hosts6})
        for (const std::string& host : *list) hosts += (hosts.empty() ? "" : ", ") + host;
    std::printf("on: TCP to port %s of %s goes to port %u here (%s)\n", ports.c_str(),
                c.everywhere ? "any host" : hosts.c_str(), unsigned{c.port}, c.tproxy ? "tproxy" : "redirect");
    std::printf("  from     this host%s, but not %s\n", c.forwarded ? " and those it routes for" : "",
                user_text(c.exempt_uid).c_str());
    std::printf("  taken    %llu connections\n", static_cast<unsigned long long>(c.connections));
    if (c.refuses_quic()) std::printf("  refused  UDP to port 443 of %s, so that QUIC falls back\n", c.everywhere ? "any host" : "the same hosts");
    for (const std::string& line : missing) std::printf("  missing  %s\n", line.c_str());
}

std::vector<std::string> lines_of(const std::vector<Step>& steps, bool undo) {
    std::vector<std::string> out;
    for (const Step& step : steps) out.push_back(shell_line(undo ? step.undo : step.argv));
    return out;
}

int status(const InterceptOptions& options) {
    const Result<std::optional<Capture>> capture = current();
    if (!capture) return give_up(capture.error(), options);
    const bool is_on = capture->has_value();
    const Result<std::vector<Step>> steps =
        is_on && (**capture).tproxy ? steps_to_route((**capture).ipv6) : steps_to_unroute();
    if (!steps) return give_up(steps.error(), options);
    if (is_on) {
        const auto missing = (**capture).tproxy ? lines_of(*steps, false) : std::vector<std::string>();
        if (options.json)
            std::printf("%s\n", json_of(**capture, missing).dump(2).c_str());
        else
            print_text(**capture, missing);
        if (!missing.empty()) say("", "not complete: 'mssl intercept on' again puts back what is missing");
        return missing.empty() ? kDone : kFailed;
    }
    if (options.json) {
        Json out = Json::object();
        out.put("on", false);
        std::printf("%s\n", out.dump(2).c_str());
    } else {
        std::printf("off\n");
    }
    if (!steps->empty()) say("", "routes of an earlier --tproxy are left; 'mssl intercept off' removes them");
    return kDone;
}

}  // namespace

int run(const InterceptOptions& options) {
    switch (options.action) {
    case InterceptOptions::Action::on: return on(options);
    case InterceptOptions::Action::off: return off(options);
    case InterceptOptions::Action::status: return status(options);
    }
    return kUsage;
}

}  // namespace mssl::tools
