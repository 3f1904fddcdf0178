#include "tools/transfer_view.h"

#include <algorithm>
#include <cmath>

#include "tools/text.h"

namespace mssl::tools {
namespace {

constexpr std::size_t kShortId = 12;  // hexadecimal digits that tell members apart for a person

std::string percent(std::uint64_t part, std::uint64_t whole) {
    if (whole == 0) return "0 %";
    const double p = 100 * static_cast<double>(part) / static_cast<double>(whole);
    return std::to_string(static_cast<int>(std::clamp(p, 0.0, 100.0))) + " %";
}

std::string text_of(const Json& value) { return printable(value.plain()); }

std::string padded(std::string text, std::size_t width) {
    if (text.size() < width) text.append(width - text.size(), ' ');
    return text;
}

// Members of an object that nobody here knows more about than their names: "key value, key value".
std::string pairs(const Json& object) {
    if (!object.is_object()) return text_of(object);
    std::string out;
    for (const auto& [key, value] : object.members()) {
        if (!out.empty()) out += ", ";
        out += printable(key) + " " + text_of(value);
    }
    return out;
}

std::string transfer_text(const Json& t) {
    const std::uint64_t length = t["length"].number();
    const std::uint64_t verified = t["verified"].number();
    std::string out = printable(t["url"].text()) + "\n";
    out += "  " + padded(printable(t["state"].text()), 9) + percent(verified, length) + " of " + size_text(length) +
           " verified" + (t["stored"].truth() ? ", in the store" : "") + "; readers " +
           std::to_string(t["readers"].number()) + ", takers " + std::to_string(t["takers"].number()) + "\n";
    out += "  from     server " + size_text(t["from_server"].number()) + ", peers " + size_text(t["from_peers"].number()) +
           ", store " + size_text(t["from_store"].number()) + "; to peers " + size_text(t["to_peers"].number()) + "\n";
    if (const std::uint64_t rejected = t["rejected_blocks"].number(); rejected != 0)
        out += "  rejected " + std::to_string(rejected) + " blocks\n";
    for (const Json& peer : t["peers"].items()) {
        out += "  peer     " + printable(peer["member"].text().substr(0, kShortId)) + "  " +
               padded(printable(peer["address"].text()), 24) + "  " + padded(size_text(peer["bytes"].number()), 10) + "  " +
               rate_text(peer["rate"].real());
        if (const std::uint64_t rejected = peer["rejected"].number(); rejected != 0)
            out += "  rejected " + std::to_string(rejected);
        out += "\n";
    }
    for (const Json& cut : t["cut"].items()) out += "  cut      " + text_of(cut) + "\n";
    if (!t["last_error"].text().empty()) out += "  error    " + printable(t["last_error"].text()) + "\n";
    return out;
}

std::string rows(std::string_view title, const Json& list) {
    if (list.items().empty() && list.members().empty()) return {};
    std::string out = "\n" + std::string(title) + "\n";
    for (const Json& row : list.items()) out += "  " + pairs(row) + "\n";
    for (const auto& [key, value] : list.members()) out += "  " + padded(printable(key), 24) + " " + pairs(value) + "\n";
    return out;
}

}  // namespace

std::string status_text(const Json& status) {
    std::string out = "msslproxy " + printable(status["version"].text());
    for (const char* key : {"role", "uptime"}) {
        const Json& value = status[key];
        if (!value.items().empty()) {
            std::string list;
            for (const Json& item : value.items()) list += (list.empty() ? "" : ", ") + text_of(item);
            out += "  " + std::string(key) + " " + list;
        } else if (!value.plain().empty() && value.plain() != "null") {
            out += "  " + std::string(key) + " " + text_of(value);
        }
    }
    out += "\n\ntransfers";
    if (status["transfers"].items().empty()) out += ": none";
    out += "\n";
    for (const Json& transfer : status["transfers"].items()) out += transfer_text(transfer);
    out += rows("objects", status["objects"]);
    out += rows("sites", status["sites"]);
    if (!status["store"].members().empty()) out += "\nstore: " + pairs(status["store"]) + "\n";
    // Most counters of most daemons are zero.
    std::string counters;
    for (const auto& [key, value] : status["counters"].members())
        if (value.real() != 0) counters += "  " + padded(printable(key), 32) + " " + text_of(value) + "\n";
    if (!counters.empty()) out += "\ncounters\n" + counters;
    return out;
}

const Json& transfer_of(const Json& status, const Url& url) {
    static const Json none;
    // The newest stands last where a URL has had several objects.
    const auto& transfers = status["transfers"].items();
    for (auto t = transfers.rbegin(); t != transfers.rend(); ++t) {
        const Result<Url> theirs = parse_url((*t)["url"].text());
        if (theirs && theirs->at == url.at && theirs->path() == url.path()) return *t;
    }
    return none;
}

std::string sources_text(const Json& transfer) {
    const std::uint64_t server = transfer["from_server"].number();
    const std::uint64_t peers = transfer["from_peers"].number();
    const std::uint64_t store = transfer["from_store"].number();
    const std::uint64_t all = server + peers + store;
    if (all == 0) return {};
    std::string out = "server " + percent(server, all) + ", peers " + percent(peers, all);
    if (store != 0) out += ", store " + percent(store, all);
    return out;
}

}  // namespace mssl::tools
