#include "proxy/http/connection.h"

#include <algorithm>

namespace mssl::proxy {

void HttpConnection::connect(const HttpEndpoint& to, const std::vector<Address>& addresses, const HttpTimeouts& times) {
    StreamTimeouts timeouts;
    timeouts.connect = times.connect;
    timeouts.handshake = times.handshake;
    timeouts.idle = Duration(0);  // the exchange has times of its own, the pool too
    const TlsClient tls{to.tls, to.tls_name.empty() ? to.host : to.tls_name, to.alpn, to.alpn_optional};
    stream_ = Stream::connect(loop_, addresses, to.tls != nullptr ? &tls : nullptr, *this, timeouts);
}

std::string HttpPool::Impl::key_of(const HttpEndpoint& to) {
    std::string key;
    for (const Address& a : to.addresses) key.append(a.to_string()).append(",");
    // With addresses the name does not decide where the connection goes, only (below) what it must prove.
    if (to.addresses.empty()) key.append(to.host).append(":").append(std::to_string(to.port));
    if (to.tls != nullptr) {
        key.append(" tls ").append(std::to_string(reinterpret_cast<std::uintptr_t>(to.tls)));
        key.append(" ").append(to.tls_name.empty() ? to.host : to.tls_name).append(" ").append(to.alpn);
    }
    return key;
}

std::unique_ptr<HttpConnection> HttpPool::Impl::take(const std::string& key) {
    for (;;) {
        const auto it = std::find_if(idle.rbegin(), idle.rend(), [&](const auto& c) { return c->key() == key; });
        if (it == idle.rend()) return nullptr;
        std::unique_ptr<HttpConnection> out = std::move(*it);
        idle.erase(std::next(it).base());
        out->idle_timer->stop();
        out->stale = nullptr;
        if (out->is_quiet()) {
            out->stream().want_read(false);
            return out;
        }
        loop.dispose(std::move(out));
    }
}

void HttpPool::Impl::give_back(std::unique_ptr<HttpConnection> connection) {
    HttpConnection* const c = connection.get();
    c->set_owner(nullptr);
    c->stale = [this, c] { drop(c); };
    c->idle_timer = std::make_unique<Timer>(loop, [this, c] { drop(c); });
    c->idle_timer->start(limits.idle);
    c->stream().want_write(false);
    c->stream().want_read(true);  // an end, or bytes nobody asked for
    idle.push_back(std::move(connection));

    const auto same = std::ranges::count_if(idle, [&](const auto& i) { return i->key() == c->key(); });
    if (static_cast<std::size_t>(same) > limits.idle_an_endpoint) {
        drop(std::ranges::find_if(idle, [&](const auto& i) { return i->key() == c->key(); })->get());
    }
    if (idle.size() > limits.idle_total) drop(idle.front().get());
}

void HttpPool::Impl::drop(HttpConnection* connection) {
    const auto it = std::ranges::find_if(idle, [&](const auto& c) { return c.get() == connection; });
    if (it == idle.end()) return;
    std::unique_ptr<HttpConnection> out = std::move(*it);
    idle.erase(it);
    // Not now: the caller may stand inside its `stale` or its timer.
    loop.dispose(std::move(out));
}

HttpPool::HttpPool(Loop& loop, Workers& workers, Limits limits) : impl_(std::make_shared<Impl>(loop, workers, limits)) {}
HttpPool::HttpPool(Loop& loop, Workers& workers) : HttpPool(loop, workers, Limits{}) {}
HttpPool::~HttpPool() = default;
Loop& HttpPool::loop() { return impl_->loop; }
std::size_t HttpPool::idle() const { return impl_->idle.size(); }
void HttpPool::close_idle() {
    while (!impl_->idle.empty()) impl_->drop(impl_->idle.front().get());
}

}  // namespace mssl::proxy
