#include "proxy/client/leaf_cache.h"

#include <openssl/crypto.h>

#include "proxy/core/files.h"
#include "proxy/core/log.h"
#include "proxy/core/tls.h"

namespace mssl::proxy {
namespace {

constexpr std::int64_t kSecondsADay = 86400, kWarnAgain = 3600;

}  // namespace

Result<std::shared_ptr<LeafCache>> LeafCache::open(const std::string& directory) {
    const std::string path = directory + "/" + InterceptionCa::kKeyFile;
    Result<std::string> pem = read_text_file(path, InterceptionCa::kMaxPemBytes);
    if (!pem) return pem.error();
    Result<InterceptionCa> ca = InterceptionCa::from_pem(*pem);
    OPENSSL_cleanse(pem->data(), pem->size());
    if (!ca) return fail(ca.code(), path + ": " + ca.error().detail);
    return std::make_shared<LeafCache>(std::move(*ca));
}

Result<std::shared_ptr<SSL_CTX>> LeafCache::context_for(const std::string& host, WallTime now) {
    const std::lock_guard lock(mutex_);
    const auto known = entries_.find(host);
    if (known != entries_.end() && now < known->second.renew_at) return known->second.context;
    Result<InterceptionCa::Leaf> leaf = ca_.issue(host, now);
    if (!leaf) return leaf.error();
    Result<SslCtxPtr> context = make_leaf_context(leaf->key.get(), leaf->certificate.get());
    if (!context) return context.error();
    // At half its life: what an application keeps open lives on with the certificate that it saw.
    Entry entry{std::move(*context), WallTime{now.unix_seconds + (leaf->not_after.unix_seconds - now.unix_seconds + 1) / 2}};
    return entries_.insert_or_assign(host, std::move(entry)).first->second.context;
}

void LeafCache::warn_of_its_end(WallTime now) {
    const std::int64_t left = ca_.not_after().unix_seconds - now.unix_seconds;
    if (left > kWarnDays * kSecondsADay) return;
    {
        const std::lock_guard lock(mutex_);
        if (warned_ && now.unix_seconds - warned_->unix_seconds < kWarnAgain) return;
        warned_ = now;
    }
    if (left <= 0)
        log::error("the interception CA has expired: https passes through to the sites, and nothing of it is shared",
                   {{"remedy", "mssl ca renew, install it again, reload"}});
    else
        log::warning("the interception CA expires soon", {{"days", left / kSecondsADay}, {"remedy", "mssl ca renew, install it again, reload"}});
}

}  // namespace mssl::proxy
