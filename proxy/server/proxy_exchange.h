// Reverse proxying: one request to the origin and its answer back, as they are but for what HTTP makes a proxy change.
//
// Thread rules: as Answerer.
#pragma once

#include "proxy/server/answerer.h"
#include "proxy/server/origin.h"

namespace mssl::proxy {

// "MSSL-…": never passes from an application or an origin (protocol/resolve.h).
bool is_mssl_field(std::string_view name);
// What goes to the origin for a client's request: end-to-end fields, Upgrade when asked for, X-Forwarded-For and -Proto. scheme: what
// the application asked by, whatever its member speaks with us.
RequestHead forward_request(const RequestHead& request, const Address& client, Scheme scheme);
// Max-Forwards, where it means something.
std::optional<std::uint64_t> hops_left(const RequestHead& request);
// What goes back: end-to-end fields; Connection and Upgrade of a 101.
ResponseHead forward_answer(ResponseHead answer);
// 504 when the origin was too slow, else 502.
std::uint16_t status_for(const Error& error);

class ProxyExchange final : public Answerer, private HttpClientHandler {
public:
    // asked: by the application, for the origin and for the log. request's content follows through on_request_body().
    // interim: whether 1xx answers are passed on; not where the origin is asked again for who had them already.
    ProxyExchange(AnswerPort& port, std::shared_ptr<const Origin> origin, RequestHead request, UrlRoot asked, bool interim = true);
    void begin() override;
    bool on_request_body(View piece) override;
    void on_request_end() override;
    void on_room() override;
    void stop() override;

private:
    void on_response_head(ResponseHead head) override;
    void on_body(View piece) override;
    void on_complete() override;
    void on_error(const Error& error) override;
    void on_writable() override;
    void on_upgraded() override;

    AnswerPort* port_;  // null: stopped
    std::shared_ptr<const Origin> origin_;
    RequestHead request_;
    UrlRoot asked_;
    std::unique_ptr<OriginExchange> upstream_;
    bool tunnel_ = false;
    const bool interim_;
};

}  // namespace mssl::proxy
