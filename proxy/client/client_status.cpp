#include "proxy/client/client_status.h"

#include "proxy/core/json_text.h"

namespace mssl::proxy {
namespace {

std::string site_json(const Site& site) {
    const SiteConfig& config = site.config();
    JsonText json;
    json.put("host", config.host).put("port", config.port).put("server", config.server);
    json.put("fallback", config.fallback_origin ? "origin" : "none");
    const std::shared_ptr<const Membership> membership = site.current();
    json.put("enrolled", membership != nullptr);
    if (membership) {
        json.put("member", membership->id.hex());
        json.put("expires", membership->member.not_after().unix_seconds);
    }
    return json.object();
}

}  // namespace

std::string transfer_json(const TransferStatus& t) {
    JsonText peers, cut, json;
    for (const PeerStatus& p : t.peers) {
        JsonText peer;
        peer.put("member", p.member.hex()).put("address", p.address).put("bytes", p.bytes).put("rate", p.rate);
        peers.item(peer.put("rejected", p.rejected).put("stalls", p.stalls).object());
    }
    for (const std::string& c : t.cut) cut.item(json_quoted(c));
    json.put("object", t.object.hex()).put("url", t.url).put("state", t.state);
    json.put("length", t.length).put("verified", t.verified);
    json.put("from_server", t.from_server).put("from_peers", t.from_peers).put("from_store", t.from_store);
    json.put("to_peers", t.to_peers).put("rejected_blocks", t.rejected_blocks);
    json.put("readers", t.readers).put("takers", t.takers).put("stored", t.stored);
    json.raw("peers", peers.array()).raw("cut", cut.array());
    return json.put("last_error", t.last_error).object();
}

void report_client(StatusSources& to, std::shared_ptr<Transfers> transfers, std::shared_ptr<const SiteTable> sites,
                   std::shared_ptr<StoreDirectory> store) {
    to.add("transfers", [transfers = std::move(transfers)](Loop& loop, std::function<void(std::string)> done) {
        transfers->status(loop, [done = std::move(done)](std::vector<TransferStatus> all) {
            JsonText list;
            for (const TransferStatus& t : all) list.item(transfer_json(t));
            done(list.array());
        });
    });
    to.add("sites", [sites = std::move(sites)](Loop&, std::function<void(std::string)> done) {
        JsonText list;
        for (const auto& [key, site] : sites->all()) list.item(site_json(*site));
        done(list.array());
    });
    to.add("store", [store = std::move(store)](Loop&, std::function<void(std::string)> done) {
        const Status health = store->health();
        JsonText json;
        json.put("healthy", health.has_value()).put("used_bytes", store->used_bytes()).put("objects", store->objects());
        if (!health) json.put("error", health.error().to_string());
        done(json.object());
    });
}

}  // namespace mssl::proxy
