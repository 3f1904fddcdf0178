// [status] listen: a page for people, /status.json, /metrics (Prometheus' text format), and POST /publish?url=….
//
// Whoever connects may read it, so it listens on loopback unless configured otherwise; there only loopback names are answered
// (a web page whose name was rebound to 127.0.0.1 must not read it), and requests that a page of another origin made are refused.
//
// Thread rules: start and destruction while the loops do not run; connections in their loops.
#pragma once

#include <memory>

#include "proxy/core/half.h"
#include "proxy/core/net.h"
#include "proxy/core/runtime.h"
#include "proxy/core/status.h"
#include "proxy/http/message.h"

namespace mssl::proxy {

class StatusPage final : public Half {
public:
    static Result<std::unique_ptr<StatusPage>> start(Runtime& runtime, const Config& config,
                                                     std::shared_ptr<const StatusSources> sources);
    ~StatusPage() override;
    Status reload(std::shared_ptr<const Config>) override { return {}; }
    void drain(std::function<void()> done) override;
    Address address() const;

private:
    StatusPage();
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

// Why this request is not answered; empty when it is. loopback: the page listens there.
std::string why_status_refused(const RequestHead& request, bool loopback);
// Of all loops, summed.
std::string metrics_text(LoopGroup& loops);
std::string counters_json(LoopGroup& loops);
// The value of name in a query ("a=1&b=%2F"), decoded; nothing when it is not there or wrongly escaped.
std::optional<std::string> query_value(std::string_view query, std::string_view name);
// What / shows: one document, nothing from elsewhere.
std::string_view status_html();

}  // namespace mssl::proxy
