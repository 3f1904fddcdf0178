// The sites of the configuration, by what applications ask for; replaced as a whole on reload.
//
// Thread rules: any thread. A request keeps the site that it began with.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "proxy/client/leaf_cache.h"
#include "proxy/client/site.h"
#include "proxy/http/message.h"

namespace mssl::proxy {

class SiteTable {
public:
    using Map = std::map<std::pair<std::string, std::uint16_t>, std::shared_ptr<Site>>;

    // Null: no site of ours. By https a host at that scheme's port is the site that it is by http at port 80.
    std::shared_ptr<Site> find(const UrlRoot& asked) const {
        const std::lock_guard lock(mutex_);
        auto it = sites_.find({asked.authority.host, asked.authority.port});
        if (it == sites_.end() && asked.scheme == Scheme::https && asked.authority.port == default_port(Scheme::https))
            it = sites_.find({asked.authority.host, default_port(Scheme::http)});
        return it == sites_.end() ? nullptr : it->second;
    }
    Map all() const {
        const std::lock_guard lock(mutex_);
        return sites_;
    }
    // What the interception CA vouches for; null where no site's TLS is intercepted.
    std::shared_ptr<LeafCache> leaves() const {
        const std::lock_guard lock(mutex_);
        return leaves_;
    }
    void replace(Map sites, std::shared_ptr<LeafCache> leaves) {
        const std::lock_guard lock(mutex_);
        sites_.swap(sites);
        leaves_.swap(leaves);
    }

private:
    mutable std::mutex mutex_;
    Map sites_;
    std::shared_ptr<LeafCache> leaves_;
};

}  // namespace mssl::proxy
