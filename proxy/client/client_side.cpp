#include "proxy/client/client_side.h"

#include <sys/stat.h>

#include <algorithm>
#include <atomic>

#include "proxy/client/app_connections.h"
#include "proxy/client/client_status.h"
#include "proxy/client/peer_server.h"
#include "proxy/client/site_table.h"
#include "proxy/core/files.h"
#include "proxy/core/log.h"
#include "proxy/core/net.h"

namespace mssl::proxy {
namespace {

bool same(const SiteConfig& a, const SiteConfig& b) {
    return a.host == b.host && a.port == b.port && a.server == b.server && a.ca == b.ca && a.server_name == b.server_name &&
           a.fallback_origin == b.fallback_origin && a.enrol_token_file == b.enrol_token_file && a.intercept_tls == b.intercept_tls;
}

// When a trust store was last written: a reload must take over a new one under the old name.
std::string stamp(const std::string& file) {
    struct stat s {};
    if (file.empty() || stat(file.c_str(), &s) != 0) return {};
    return std::to_string(s.st_ino) + "/" + std::to_string(s.st_size) + "/" + std::to_string(s.st_mtim.tv_sec) + "." +
           std::to_string(s.st_mtim.tv_nsec);
}

}  // namespace

struct ClientSide::Impl {
    explicit Impl(Runtime& r) : runtime(r) {}

    // Those that did not change stay as they are, with their sessions.
    Result<SiteTable::Map> open_sites(const ClientConfig& client) {
        SiteTable::Map out;
        const SiteTable::Map before = sites->all();
        for (const SiteConfig& site_config : client.sites) {
            const auto key = std::make_pair(site_config.host, site_config.port);
            const std::string now = stamp(site_config.ca);
            const auto old = before.find(key);
            if (old != before.end() && same(old->second->config(), site_config) && stamps[key] == now) {
                out.emplace(key, old->second);
                continue;
            }
            Result<std::shared_ptr<Site>> site = Site::open(runtime, client, site_config);
            if (!site) return fail(site.code(), "site " + site_config.host + ": " + site.error().detail);
            out.emplace(key, std::move(*site));
        }
        stamps.clear();
        for (const SiteConfig& s : client.sites) stamps[{s.host, s.port}] = stamp(s.ca);
        return out;
    }

    static Result<std::shared_ptr<LeafCache>> open_leaves(const ClientConfig& client) {
        const bool wanted = std::ranges::any_of(client.sites, [](const SiteConfig& s) { return s.intercept_tls; });
        if (!wanted) return std::shared_ptr<LeafCache>();
        Result<std::shared_ptr<LeafCache>> leaves = LeafCache::open(client.interception_ca);
        if (leaves) (*leaves)->warn_of_its_end(wall_now());
        return leaves;
    }

    static std::vector<std::shared_ptr<Site>> list(const SiteTable::Map& map) {
        std::vector<std::shared_ptr<Site>> out;
        for (const auto& [key, site] : map) out.push_back(site);
        return out;
    }

    Status start(std::shared_ptr<const Config> c) {
        config = std::move(c);
        const ClientConfig& client = *config->client;
        if (Status s = make_directories(client.state, 0700); !s) return s;
        store = StoreDirectory::open(client.state + "/store", client.store_max, runtime.workers, runtime.buffers);
        if (Status health = store->health(); !health)
            log::warning("nothing is kept on disk", {{"why", health.error().to_string()}});
        Result<SiteTable::Map> opened = open_sites(client);
        if (!opened) return opened.error();
        Result<std::shared_ptr<LeafCache>> leaves = open_leaves(client);
        if (!leaves) return leaves.error();
        sites->replace(*opened, std::move(*leaves));

        const std::uint16_t peer_port = client.peer_listen && client.upload ? client.peer_listen->port() : std::uint16_t{0};
        transfers = Transfers::create(runtime, store, client, peer_port);
        if (client.peer_listen && client.upload) {
            auto server = PeerServer::open(runtime, *client.peer_listen, list(*opened), transfers);
            if (!server) return server.error();
            peers = std::move(*server);
        }
        for (unsigned i = 0; i < runtime.loops.size(); ++i)
            connections.push_back(
                std::make_unique<AppConnections>(runtime, runtime.loops.at(i), sites, transfers, own));
        for (const InterceptConfig& intercept : client.intercept) {
            auto way = std::make_shared<WayIn>(WayIn{intercept, {}});
            if (intercept.mode == InterceptConfig::Mode::forward && intercept.to_https) {
                Result<SslCtxPtr> context = make_origin_context(intercept.ca);
                if (!context) return context.error();
                way->origin_context = std::shared_ptr<SSL_CTX>(std::move(context).value());
            }
            auto listener = Listener::open(runtime.loops, intercept.listen,
                                           [this, way](Loop& loop, Fd fd, const Address&) {
                                               connections[loop.number()]->begin(std::move(fd), way);
                                           },
                                           intercept.mode == InterceptConfig::Mode::tproxy ? Listener::Kind::transparent
                                                                                           : Listener::Kind::plain);
            if (!listener) return listener.error();
            listeners.push_back(std::move(*listener));
        }
        if (peers) peers->start();
        for (auto& listener : listeners) {
            listener->start();
            log::info("applications are taken at", {{"address", listener->address().to_string()}});
        }
        return {};
    }

    Status reload(std::shared_ptr<const Config> next) {
        const ClientConfig& client = *next->client;
        Result<SiteTable::Map> opened = open_sites(client);
        if (!opened) return opened.error();
        Result<std::shared_ptr<LeafCache>> leaves = open_leaves(client);
        if (!leaves) return leaves.error();
        for (const auto& [key, site] : *opened) site->fresh_answers().forget_all(mono_now());
        sites->replace(*opened, std::move(*leaves));
        if (peers) peers->set_sites(list(*opened));
        transfers->upload_limit().set_rate(client.upload_limit);
        store->set_max_bytes(client.store_max);
        config = std::move(next);
        return {};
    }

    void drain(std::function<void()> done) {
        for (auto& listener : listeners) listener->stop();
        if (peers) peers->stop();
        auto left = std::make_shared<std::atomic<unsigned>>(runtime.loops.size());
        for (auto& of_loop : connections) {
            AppConnections* const all = of_loop.get();
            all->loop().post([all, left, done] {
                all->drain([left, done] {
                    if (left->fetch_sub(1) == 1) done();
                });
            });
        }
    }

    Runtime& runtime;
    std::shared_ptr<const Config> config;
    std::shared_ptr<StoreDirectory> store;
    std::shared_ptr<SiteTable> sites = std::make_shared<SiteTable>();
    std::map<std::pair<std::string, std::uint16_t>, std::string> stamps;
    std::shared_ptr<Transfers> transfers;
    std::shared_ptr<OwnSockets> own = std::make_shared<OwnSockets>();
    std::vector<std::unique_ptr<AppConnections>> connections;  // one a loop
    std::unique_ptr<PeerServer> peers;
    std::vector<std::unique_ptr<Listener>> listeners;
};

ClientSide::ClientSide() = default;
ClientSide::~ClientSide() = default;

Result<std::unique_ptr<ClientSide>> ClientSide::start(Runtime& runtime, std::shared_ptr<const Config> config) {
    std::unique_ptr<ClientSide> out(new ClientSide);
    out->impl_ = std::make_unique<Impl>(runtime);
    if (Status s = out->impl_->start(std::move(config)); !s) return s.error();
    return out;
}

Status ClientSide::reload(std::shared_ptr<const Config> config) { return impl_->reload(std::move(config)); }
void ClientSide::drain(std::function<void()> done) { impl_->drain(std::move(done)); }
void ClientSide::report(StatusSources& to) const { report_client(to, impl_->transfers, impl_->sites, impl_->store); }

}  // namespace mssl::proxy
