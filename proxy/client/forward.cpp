#include "proxy/client/forward.h"

#include "proxy/core/log.h"

namespace mssl::proxy {
namespace {

constexpr std::string_view kOwnPrefix = "MSSL-";

bool is_own(const HeaderField& f) {
    return f.name.size() > kOwnPrefix.size() && iequals(std::string_view(f.name).substr(0, kOwnPrefix.size()), kOwnPrefix);
}

void restore_upgrade(Fields& fields, const std::string& protocol) {
    if (protocol.empty()) return;
    fields.add("Connection", "Upgrade");
    fields.add("Upgrade", protocol);
}

std::string upgrade_of(const Fields& fields) {
    std::string out;
    for (const std::string& protocol : fields.list("Upgrade")) out.append(out.empty() ? "" : ", ").append(protocol);
    return out;
}

std::string via_value(std::uint8_t minor) { return "1." + std::to_string(minor) + " " + std::string(kViaName); }

}  // namespace

RequestHead forward_request(const RequestHead& request, std::string target, const std::string& host, bool via) {
    RequestHead out = request;
    const std::string protocol = request.upgrade ? upgrade_of(request.fields) : std::string{};
    out.fields.remove_hop_by_hop();
    std::erase_if(out.fields.items(), is_own);
    out.fields.remove("Proxy-Authorization");
    restore_upgrade(out.fields, protocol);
    out.target = std::move(target);
    if (!host.empty()) {
        if (out.fields.count("Host") == 0)
            out.fields.items().insert(out.fields.items().begin(), {"Host", host});
        else
            out.fields.set("Host", host);
    }
    if (via) out.fields.add("Via", via_value(request.minor));
    out.minor = 1;
    out.keep_alive = true;
    return out;
}

ResponseHead forward_response(ResponseHead response, bool via) {
    const std::string protocol = response.status == 101 ? upgrade_of(response.fields) : std::string{};
    const std::uint8_t minor = response.minor;
    response.fields.remove_hop_by_hop();
    std::erase_if(response.fields.items(), is_own);
    restore_upgrade(response.fields, protocol);
    if (via) response.fields.add("Via", via_value(minor));
    return response;
}

std::string url_for_log(const UrlRoot& root, std::string_view target) { return log::redact(root.short_url_of(target)); }

std::string_view reason_of(std::uint16_t status) {
    switch (status) {
    case 200: return "OK";
    case 400: return "Bad Request";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 421: return "Misdirected Request";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 508: return "Loop Detected";
    default: return "Error";
    }
}

}  // namespace mssl::proxy
