// How a proxy changes the heads that pass through it (RFC 9110 §7.6, RFC 9112 §3.2): pure functions.
#pragma once

#include "proxy/http/message.h"

namespace mssl::proxy {

// What this program calls itself in Via (RFC 9110 §7.6.3 lets a pseudonym stand for the host).
inline constexpr std::string_view kViaName = "msslproxy";

// The request as it goes on: target in origin-form (or "*"), the Host given (empty: as it came), end-to-end fields alone,
// none of ours ("MSSL-…") and no proxy credentials, Upgrade where it was asked for. via: whether the application knows that
// it speaks to a proxy.
RequestHead forward_request(const RequestHead& request, std::string target, const std::string& host, bool via);
// The answer as it goes back.
ResponseHead forward_response(ResponseHead response, bool via);

// "http://a.example:8080/path" without query and user info, for logs.
std::string url_for_log(const UrlRoot& root, std::string_view target);
// RFC 9110 §15's name of a status that this program answers with.
std::string_view reason_of(std::uint16_t status);

}  // namespace mssl::proxy
