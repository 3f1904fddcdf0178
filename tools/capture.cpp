#include "tools/capture.h"

#include <algorithm>
#include <cstdio>
#include <string_view>

namespace mssl::tools {
namespace {

constexpr const char* kTable = "inet mssl";
constexpr std::uint16_t kHttpsPort = 443;

std::string hexadecimal(std::uint32_t number) {
    char text[16];
    std::snprintf(text, sizeof text, "0x%x", number);
    return text;
}

std::string joined(const std::vector<std::string>& words) {
    std::string out;
    for (const std::string& word : words) out += (out.empty() ? "" : ", ") + word;
    return out;
}

std::string ports_text(const std::vector<std::uint16_t>& ports) {
    std::vector<std::string> words;
    for (const std::uint16_t port : ports) words.push_back(std::to_string(port));
    return words.size() == 1 ? words.front() : "{ " + joined(words) + " }";
}

std::string set_text(const std::string& name, const std::string& type, const std::vector<std::string>& elements) {
    if (elements.empty()) return {};
    return "\tset " + name + " {\n\t\ttype " + type + "\n\t\tflags interval\n\t\tauto-merge\n\t\telements = { " +
           joined(elements) + " }\n\t}\n";
}

// The chain that both hooks go through: what is not wanted returns.
std::string take_chain(const Capture& c) {
    const std::string mark = hexadecimal(kCaptureNumber);
    const std::string ports = "tcp dport " + ports_text(c.destination_ports) + " counter ";
    const std::string take = ports + (c.tproxy ? "ct mark set " + mark + " meta mark set " + mark
                                               : "redirect to :" + std::to_string(c.port)) + "\n";
    std::string out = "\tchain take {\n";
    // Without connection tracking before now, one that is open looks new in the middle, and would be torn.
    out += "\t\ttcp flags & (fin | syn | rst | ack) != syn return\n";
    // Loopback, and whatever else this host serves itself.
    out += "\t\tfib daddr type local return\n";
    if (!c.ipv6) out += "\t\tmeta nfproto ipv6 return\n";
    if (c.everywhere) out += "\t\t" + take;
    if (!c.hosts4.empty()) out += "\t\tip daddr @hosts4 " + take;
    if (!c.hosts6.empty()) out += "\t\tip6 daddr @hosts6 " + take;
    return out + "\t}\n";
}

std::string redirect_chains(const Capture& c) {
    std::string out = "\tchain output {\n\t\ttype nat hook output priority -100; policy accept;\n\t\tmeta skuid " +
                      std::to_string(c.exempt_uid) + " return\n\t\tjump take\n\t}\n";
    if (c.forwarded)
        out += "\tchain prerouting {\n\t\ttype nat hook prerouting priority -100; policy accept;\n\t\tjump take\n\t}\n";
    return out;
}

// A connection is judged by its first packet, which has an owner, and remembered in the mark of its conntrack entry:
// later packets may belong to nobody any more (a closed socket sends what is left, and acknowledges in TIME_WAIT), and
// telling the daemon's from an application's by uid would then go wrong. `socket transparent 1` would do for
// prerouting, but takes the packets of any other transparent proxy of this host as well.
std::string tproxy_chains(const Capture& c) {
    const std::string mark = hexadecimal(kCaptureNumber);
    const std::string taken = "\t\tct mark " + mark + " ct direction original ";
    std::string out = "\tchain output {\n\t\ttype route hook output priority -150; policy accept;\n";
    out += taken + "meta mark set " + mark + " return\n";
    out += "\t\tmeta skuid " + std::to_string(c.exempt_uid) + " return\n\t\tjump take\n\t}\n";
    out += "\tchain prerouting {\n\t\ttype filter hook prerouting priority -150; policy accept;\n";
    if (c.forwarded) out += "\t\tct mark != " + mark + " jump take\n";
    out += taken + "meta l4proto tcp meta mark set " + mark + " tproxy to :" + std::to_string(c.port) + " return\n";
    // Nobody listens. Left alone it would reach whoever serves that port on this host, for another host's name.
    out += taken + "meta l4proto tcp reject with tcp reset\n";
    return out + "\t}\n";
}

// Before any address is translated, and in each family as the TCP beside it: what is taken here must not go on by UDP.
std::string quic_chains(const Capture& c) {
    if (!c.refuses_quic()) return {};
    const std::string refuse = "udp dport " + std::to_string(kHttpsPort) + " reject with icmpx port-unreachable\n";
    std::string out = "\tchain refuse_quic {\n\t\tfib daddr type local return\n";
    if (!c.ipv6) out += "\t\tmeta nfproto ipv6 return\n";
    if (c.everywhere) out += "\t\t" + refuse;
    if (!c.hosts4.empty()) out += "\t\tip daddr @hosts4 " + refuse;
    if (!c.hosts6.empty()) out += "\t\tip6 daddr @hosts6 " + refuse;
    out += "\t}\n\tchain quic_output {\n\t\ttype filter hook output priority 0; policy accept;\n\t\tjump refuse_quic\n\t}\n";
    if (c.forwarded)
        out += "\tchain quic_forward {\n\t\ttype filter hook forward priority 0; policy accept;\n\t\tjump refuse_quic\n\t}\n";
    return out;
}

const Json& statement(const Json& rule, std::string_view name) {
    static const Json none;
    for (const Json& expression : rule["expr"].items())
        if (expression[name].is_object()) return expression[name];
    return none;
}

// The right side of the rule's match whose left side is this: ("meta", "key", "skuid") for instance.
const Json& matched(const Json& rule, std::string_view kind, std::string_view key, std::string_view value) {
    static const Json none;
    for (const Json& expression : rule["expr"].items())
        if (expression["match"]["left"][kind][key].text() == value) return expression["match"]["right"];
    return none;
}

std::string element_text(const Json& element) {
    if (const Json& prefix = element["prefix"]; prefix.is_object())
        return std::string(prefix["addr"].text()) + "/" + prefix["len"].plain();
    if (const auto& range = element["range"].items(); range.size() == 2) return range[0].plain() + "-" + range[1].plain();
    return element.plain();
}

void read_set(const Json& set, Capture& out) {
    std::vector<std::string>& hosts = set["name"].text() == "hosts4" ? out.hosts4 : out.hosts6;
    for (const Json& element : set["elem"].items()) hosts.push_back(element_text(element));
    out.everywhere = false;
}

void read_rule(const Json& rule, Capture& out) {
    if (const Json& uid = matched(rule, "meta", "key", "skuid"); uid.value().index() != 0)
        out.exempt_uid = static_cast<std::uint32_t>(uid.number());
    if (const Json& tproxy = statement(rule, "tproxy"); tproxy.is_object()) {
        out.tproxy = true;
        out.port = static_cast<std::uint16_t>(tproxy["port"].number());
    }
    if (const Json& redirect = statement(rule, "redirect"); redirect.is_object())
        out.port = static_cast<std::uint16_t>(redirect["port"].number());
    if (rule["chain"].text() != "take") {
        out.forwarded = out.forwarded || (rule["chain"].text() == "prerouting" && statement(rule, "jump").is_object());
        return;
    }
    if (matched(rule, "meta", "key", "nfproto").text() == "ipv6") out.ipv6 = false;
    const Json& ports = matched(rule, "payload", "field", "dport");
    out.connections += statement(rule, "counter")["packets"].number();
    if (!out.destination_ports.empty()) return;  // the rule of the other family says the same
    if (ports["set"].items().empty() && ports.number() != 0)
        out.destination_ports.push_back(static_cast<std::uint16_t>(ports.number()));
    for (const Json& port : ports["set"].items())
        out.destination_ports.push_back(static_cast<std::uint16_t>(port.number()));
}

}  // namespace

bool Capture::refuses_quic() const {
    return std::find(destination_ports.begin(), destination_ports.end(), kHttpsPort) != destination_ports.end();
}

std::string ruleset_off() { return std::string("table ") + kTable + "\ndelete table " + kTable + "\n"; }

std::string ruleset_on(const Capture& c) {
    return ruleset_off() + "table " + kTable + " {\n" + set_text("hosts4", "ipv4_addr", c.hosts4) +
           set_text("hosts6", "ipv6_addr", c.hosts6) + take_chain(c) +
           (c.tproxy ? tproxy_chains(c) : redirect_chains(c)) + quic_chains(c) + "}\n";
}

Result<Capture> read_table(const Json& listed) {
    Capture out;
    for (const Json& item : listed["nftables"].items()) {
        if (item["set"].is_object()) read_set(item["set"], out);
        if (item["rule"].is_object()) read_rule(item["rule"], out);
    }
    if (out.port == 0 || out.destination_ports.empty())
        return fail(Errc::malformed, std::string("the table ") + kTable + " is there, but not as this program makes it");
    return out;
}

}  // namespace mssl::tools
