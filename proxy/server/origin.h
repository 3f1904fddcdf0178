// The unmodified HTTP server behind us, or a directory that plays one: one streaming interface for both.
//
// Thread rules: Origin is immutable, held by shared_ptr anywhere. An exchange belongs to one loop.
#pragma once

#include <memory>
#include <set>
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

class UrlExchange;

// Idle connections to origins, one pool a loop. Made and destroyed while the loops do not run; exchanges that are left then are over.
class OriginPools {
public:
    explicit OriginPools(Runtime& runtime);
    ~OriginPools();
    HttpPool& at(Loop& loop) { return *pools_[loop.number()].pool; }

private:
    friend class UrlExchange;
    struct PerLoop {
        std::unique_ptr<HttpPool> pool;
        std::set<UrlExchange*> exchanges;  // of requests under way
    };
    std::vector<PerLoop> pools_;
};

class Origin {
public:
    virtual ~Origin() = default;
    const OriginConfig& config() const { return config_; }
    // In loop; the first callback comes later. head: origin-form target, no hop-by-hop fields, framed by body/length.
    virtual std::unique_ptr<OriginExchange> start(Loop& loop, RequestHead head, HttpClientHandler& handler) const = 0;
    // The first share rule whose globs match the path of this origin-form target, or null.
    const ShareRule* rule_for(std::string_view target) const;
    // Of what applications ask for by http. What they ask for by https is named by the authority that they asked.
    UrlRoot http_root() const { return {Scheme::http, {config_.host, config_.port}}; }

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
    // By what Host said (port 0: none): the origin of exactly that host and port, port 80 when there is none. Browsers that speak TLS
    // to us directly name our own port, or none: then the host alone decides. Null when nobody is configured for it.
    std::shared_ptr<const Origin> find(const Authority& host, std::uint16_t own_port) const;
    // By what an application of a member asked for: by https the port is the scheme's or ours, or one that is configured; no other,
    // or one resource would have as many names as there are ports.
    std::shared_ptr<const Origin> find(const UrlRoot& asked, std::uint16_t own_port) const;
    // The URL, as applications ask for it, of a file below the root of one of them; empty when there is none. Blocking, but for
    // local names only.
    std::string url_of_file(const std::string& path) const;
    // By the beginning of a manifest's URL, which once passed find().
    std::shared_ptr<const Origin> find_url(std::string_view url, std::string& target) const;

private:
    std::vector<std::shared_ptr<const Origin>> list_;
};

}  // namespace mssl::proxy
