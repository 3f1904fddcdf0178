// The unmodified HTTP server behind us, or a directory that plays one: one streaming interface for both.
//
// Thread rules: Origin is immutable, held by shared_ptr anywhere. An exchange belongs to one loop.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "proxy/core/config.h"
#include "proxy/core/runtime.h"
#include "proxy/http/client.h"

namespace mssl::proxy {

// One request and its answer, as HttpClient has it: the same rules for handler calls, back-pressure and destruction.
class OriginExchange {
public:
    virtual ~OriginExchange() = default;
    virtual bool write_body(View piece) = 0;
    virtual void end_body() = 0;
    virtual void pause_reading(bool paused) = 0;
};

// Idle connections to origins, one pool a loop; outlives every exchange.
class OriginPools {
public:
    explicit OriginPools(Runtime& runtime);
    HttpPool& at(Loop& loop) { return *pools_[loop.number()]; }
    void close_idle(Loop& loop) { at(loop).close_idle(); }

private:
    std::vector<std::unique_ptr<HttpPool>> pools_;
};

class Origin {
public:
    virtual ~Origin() = default;
    const OriginConfig& config() const { return config_; }
    // In loop; the first callback comes later. head: origin-form target, no hop-by-hop fields, framed by body/length.
    virtual std::unique_ptr<OriginExchange> start(Loop& loop, RequestHead head, HttpClientHandler& handler) const = 0;
    // The first share rule whose globs match the path of this origin-form target, or null.
    const ShareRule* rule_for(std::string_view target) const;
    // "http://host:port" + target: the name of a resource in manifests.
    std::string url_of(std::string_view target) const;

    static Result<std::shared_ptr<const Origin>> open(Runtime& runtime, OriginPools& pools, const OriginConfig& config);

protected:
    explicit Origin(OriginConfig config) : config_(std::move(config)) {}
    OriginConfig config_;
};

// All origins of one configuration.
class Origins {
public:
    static Result<std::shared_ptr<const Origins>> open(Runtime& runtime, OriginPools& pools,
                                                       const std::vector<OriginConfig>& configs);
    // By what Host said; null when nobody is configured for it. default_port of Host: 80, whatever the port it came in by
    // (applications ask for http; TLS is between client and server) — a Host without port also finds an origin at 443.
    std::shared_ptr<const Origin> find(const Authority& host) const;
    // By the beginning of a manifest's URL.
    std::shared_ptr<const Origin> find_url(std::string_view url, std::string& target) const;

private:
    std::vector<std::shared_ptr<const Origin>> list_;
};

}  // namespace mssl::proxy
