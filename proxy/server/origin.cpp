#include "proxy/server/origin.h"

#include <filesystem>

#include "proxy/server/root_origin.h"

namespace mssl::proxy {
namespace {

// A path for a URL: what RFC 3986 §2.3 calls unreserved stays, and so does the slash.
std::string percent_encoded(std::string_view path) {
    static constexpr char digits[] = "0123456789ABCDEF";
    std::string out;
    for (const char signed_c : path) {
        const auto c = static_cast<unsigned char>(signed_c);
        const bool alphanumeric = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        if (alphanumeric || std::string_view("-._~/").find(signed_c) != std::string_view::npos) {
            out += signed_c;
        } else {
            out += '%';
            out += digits[c >> 4];
            out += digits[c & 15];
        }
    }
    return out;
}

}  // namespace

class UrlExchange final : public OriginExchange {
public:
    UrlExchange(OriginPools& pools, Loop& loop, const HttpEndpoint& to, RequestHead head, HttpClientHandler& handler,
                HttpTimeouts timeouts)
        : loop_(&loop), pool_(&pools.pools_[loop.number()]),
          client_(HttpClient::start(*pool_->pool, to, std::move(head), handler, timeouts)) {
        pool_->exchanges.insert(this);
    }
    ~UrlExchange() override {
        if (!client_) return;
        pool_->exchanges.erase(this);
        client_->abort();
        loop_->dispose(std::move(client_));
    }
    // The pool goes.
    void end() { client_.reset(); }
    bool write_body(View piece) override { return !client_ || client_->write_body(piece); }
    void end_body() override {
        if (client_) client_->end_body();
    }
    void pause_reading(bool paused) override {
        if (client_) client_->pause_reading(paused);
    }

private:
    Loop* loop_;
    OriginPools::PerLoop* pool_;
    std::unique_ptr<HttpClient> client_;
};

namespace {

class UrlOrigin final : public Origin {
public:
    UrlOrigin(OriginPools& pools, OriginConfig config, HttpEndpoint to)
        : Origin(std::move(config)), pools_(&pools), to_(std::move(to)) {}

    std::unique_ptr<OriginExchange> start(Loop& loop, RequestHead head, HttpClientHandler& handler) const override {
        const HttpTimeouts timeouts{config_.timeout, config_.timeout, config_.timeout, config_.timeout};
        return std::make_unique<UrlExchange>(*pools_, loop, to_, std::move(head), handler, timeouts);
    }

private:
    OriginPools* pools_;
    HttpEndpoint to_;
};

std::string_view path_of(std::string_view target) { return target.substr(0, target.find('?')); }

}  // namespace

OriginPools::OriginPools(Runtime& runtime) {
    for (unsigned i = 0; i < runtime.loops.size(); ++i)
        pools_.push_back({std::make_unique<HttpPool>(runtime.loops.at(i), runtime.names), {}});
}

OriginPools::~OriginPools() {
    for (PerLoop& p : pools_) {
        for (UrlExchange* exchange : p.exchanges) exchange->end();
    }
}

const ShareRule* Origin::rule_for(std::string_view target) const {
    for (const ShareRule& rule : config_.share) {
        for (const std::string& glob : rule.paths) {
            if (glob_match(glob, path_of(target))) return &rule;
        }
    }
    return nullptr;
}

Result<std::shared_ptr<const Origin>> Origin::open(Runtime& runtime, OriginPools& pools, const OriginConfig& config) {
    if (!config.root.empty()) return open_root_origin(runtime, config);
    Result<AbsoluteTarget> url = parse_absolute(config.url);
    if (!url) return fail(Errc::config, "origin " + config.host + ": " + config.url + ": " + url.error().detail);
    if (url->scheme != "http") return fail(Errc::config, "origin " + config.host + ": only http:// is possible, not " + url->scheme);
    HttpEndpoint to;
    to.host = url->authority.host;
    if (to.host.size() > 2 && to.host.front() == '[') to.host = to.host.substr(1, to.host.size() - 2);
    to.port = url->authority.port;
    return std::shared_ptr<const Origin>(std::make_shared<UrlOrigin>(pools, config, std::move(to)));
}

Result<std::shared_ptr<const Origins>> Origins::open(Runtime& runtime, OriginPools& pools,
                                                     const std::vector<OriginConfig>& configs) {
    auto out = std::make_shared<Origins>();
    for (const OriginConfig& config : configs) {
        Result<std::shared_ptr<const Origin>> origin = Origin::open(runtime, pools, config);
        if (!origin) return origin.error();
        out->list_.push_back(*std::move(origin));
    }
    return std::shared_ptr<const Origins>(std::move(out));
}

std::shared_ptr<const Origin> Origins::find(const Authority& host, std::uint16_t own_port) const {
    const std::uint16_t port = host.port == 0 ? 80 : host.port;
    std::shared_ptr<const Origin> same_host;
    for (const auto& origin : list_) {
        if (origin->config().host != host.host) continue;
        if (origin->config().port == port) return origin;
        if (!same_host && (host.port == 0 || host.port == own_port)) same_host = origin;
    }
    return same_host;
}

std::shared_ptr<const Origin> Origins::find(const UrlRoot& asked, std::uint16_t own_port) const {
    if (asked.scheme == Scheme::http) return find(asked.authority, own_port);
    const std::uint16_t scheme_port = default_port(Scheme::https);
    return find(asked.authority, asked.authority.port == scheme_port ? scheme_port : own_port);
}

std::string Origins::url_of_file(const std::string& path) const {
    std::error_code ec;
    const std::string file = std::filesystem::canonical(path, ec).string();
    if (ec) return {};
    for (const auto& origin : list_) {
        const OriginConfig& config = origin->config();
        if (config.root.empty()) continue;
        std::string root = std::filesystem::canonical(config.root, ec).string();
        if (ec) continue;
        if (!root.ends_with('/')) root += '/';
        if (!file.starts_with(root)) continue;
        return origin->http_root().short_url_of("/" + percent_encoded(std::string_view(file).substr(root.size())));
    }
    return {};
}

std::shared_ptr<const Origin> Origins::find_url(std::string_view url, std::string& target) const {
    Result<AbsoluteTarget> parsed = parse_absolute(url);
    if (!parsed) return nullptr;
    target = std::move(parsed->target);
    // Which port was ours when the URL got its name is not known any more.
    return find(parsed->root(), parsed->root().scheme == Scheme::https ? parsed->authority.port : 0);
}

}  // namespace mssl::proxy
