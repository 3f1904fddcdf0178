#include "proxy/server/proxy_exchange.h"

#include <charconv>
#include <utility>

#include "proxy/core/log.h"

namespace mssl::proxy {

namespace {

// What the client's half calls itself there. To the origin the two halves are one front: a proxy in its Via would make it answer
// otherwise than without us (nginx stops compressing).
bool is_own_via(const HeaderField& f) {
    return iequals(f.name, "Via") && (f.value == "1.1 msslproxy" || f.value == "1.0 msslproxy");
}

}  // namespace

std::optional<std::uint64_t> hops_left(const RequestHead& request) {
    if ((request.method != "OPTIONS" && request.method != "TRACE") || request.fields.count("Max-Forwards") != 1) return std::nullopt;
    const std::string& text = *request.fields.find("Max-Forwards");
    std::uint64_t left = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), left);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return left;
}

bool is_mssl_field(std::string_view name) { return name.size() > 5 && iequals(name.substr(0, 5), "MSSL-"); }

RequestHead forward_request(const RequestHead& request, const Address& client, Scheme scheme) {
    RequestHead out = request;
    const std::string* upgrade = request.upgrade ? request.fields.find("Upgrade") : nullptr;
    const std::string protocol = upgrade != nullptr ? *upgrade : std::string{};
    out.fields.remove_hop_by_hop();
    std::erase_if(out.fields.items(), [](const HeaderField& f) { return is_mssl_field(f.name) || is_own_via(f); });
    if (const auto left = hops_left(request); left && *left > 0) out.fields.set("Max-Forwards", std::to_string(*left - 1));
    if (!protocol.empty()) {
        out.fields.add("Connection", "Upgrade");
        out.fields.add("Upgrade", protocol);
    }
    std::string chain;
    for (const std::string& hop : out.fields.list("X-Forwarded-For")) chain += hop + ", ";
    out.fields.remove("X-Forwarded-For");
    out.fields.add("X-Forwarded-For", chain + client.ip_string());
    out.fields.set("X-Forwarded-Proto", scheme == Scheme::https ? "https" : "http");
    out.minor = 1;
    out.keep_alive = true;
    return out;
}

ResponseHead forward_answer(ResponseHead answer) {
    const std::string* upgrade = answer.status == 101 ? answer.fields.find("Upgrade") : nullptr;
    const std::string protocol = upgrade != nullptr ? *upgrade : std::string{};
    answer.fields.remove_hop_by_hop();
    std::erase_if(answer.fields.items(), [](const HeaderField& f) { return is_mssl_field(f.name); });
    // Trailers are dropped, so none are announced.
    answer.fields.remove("Trailer");
    if (!protocol.empty()) {
        answer.fields.add("Connection", "Upgrade");
        answer.fields.add("Upgrade", protocol);
    }
    return answer;
}

std::uint16_t status_for(const Error& error) { return error.code == Errc::timed_out ? 504 : 502; }

ProxyExchange::ProxyExchange(AnswerPort& port, std::shared_ptr<const Origin> origin, RequestHead request, UrlRoot asked, bool interim)
    : port_(&port), origin_(std::move(origin)), request_(std::move(request)), asked_(std::move(asked)), interim_(interim) {}

void ProxyExchange::begin() {
    upstream_ = origin_->start(port_->loop(), forward_request(request_, port_->stream().peer(), asked_.scheme), *this);
}

void ProxyExchange::stop() {
    port_ = nullptr;
    upstream_.reset();
}

bool ProxyExchange::on_request_body(View piece) { return upstream_ == nullptr || upstream_->write_body(piece); }

void ProxyExchange::on_request_end() {
    if (upstream_ && (request_.body != BodyKind::none || tunnel_)) upstream_->end_body();
}

void ProxyExchange::on_room() {
    if (upstream_) upstream_->pause_reading(false);
}

void ProxyExchange::on_response_head(ResponseHead head) {
    if (!interim_ && head.status < 200 && head.status != 101) return;
    if (port_) port_->send_head(forward_answer(std::move(head)));
}

void ProxyExchange::on_body(View piece) {
    if (!port_) return;
    add(port_->loop().counters().bytes_from_origin, piece.size());
    if (!port_->send_body(piece) && upstream_) upstream_->pause_reading(true);
}

void ProxyExchange::on_complete() {
    if (port_) port_->send_end();
}

void ProxyExchange::on_error(const Error& error) {
    if (!port_) return;
    log::warning("origin failed", {{"host", origin_->config().host},
                                   {"url", log::redact(asked_.url_of(request_.target))},
                                   {"why", error.to_string()}});
    const bool slow = error.code == Errc::timed_out;
    port_->send_error(status_for(error), slow ? "the origin did not answer in time" : "cannot reach the origin");
}

void ProxyExchange::on_writable() {
    if (port_) port_->request_room();
}

void ProxyExchange::on_upgraded() {
    tunnel_ = true;
    if (port_) port_->begin_tunnel();
}

}  // namespace mssl::proxy
