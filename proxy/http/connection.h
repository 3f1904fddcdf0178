// A connection to a server that outlives one exchange: it belongs to an HttpClient, then waits in the pool, then to another.
// Inner part of client.h.
//
// Thread rules: one loop.
#pragma once

#include <list>
#include <string>
#include <unordered_map>

#include "proxy/http/client.h"

namespace mssl::proxy {

// Who hears of a connection's events while it is in use.
class ConnectionOwner {
public:
    virtual ~ConnectionOwner() = default;
    virtual void on_connected() = 0;
    virtual void on_readable() = 0;
    virtual void on_writable() = 0;
    virtual void on_broken(const Error& error) = 0;
};

class HttpConnection final : public Disposable, public StreamHandler {
public:
    HttpConnection(Loop& loop, std::string key) : loop_(loop), key_(std::move(key)) {}
    void connect(const HttpEndpoint& to, const std::vector<Address>& addresses, const HttpTimeouts& times);

    void set_owner(ConnectionOwner* owner) { owner_ = owner; }
    Stream& stream() { return *stream_; }
    Loop& loop() { return loop_; }
    const std::string& key() const { return key_; }

    // Nothing has come since the last answer. What came would be taken for the answer to the next request (a late 408, or
    // what somebody smuggled in), so such a connection is of no use. TLS may have had messages of its own: they are read here.
    bool is_quiet() {
        std::uint8_t byte = 0;
        return stream_->is_open() && stream_->read({&byte, 1}).code() == Errc::again;
    }

    // While it waits in the pool: what comes then ends it.
    std::function<void()> stale;
    std::unique_ptr<Timer> idle_timer;

private:
    void on_open() override {
        if (owner_) owner_->on_connected();
    }
    void on_readable() override {
        if (owner_) owner_->on_readable();
        else if (!is_quiet() && stale) stale();
    }
    void on_writable() override {
        if (owner_) owner_->on_writable();
    }
    void on_error(const Error& error) override {
        if (owner_) owner_->on_broken(error);
        else if (stale) stale();
    }

    Loop& loop_;
    const std::string key_;
    ConnectionOwner* owner_ = nullptr;
    std::unique_ptr<Stream> stream_;
};

struct HttpPool::Impl {
    Impl(Loop& l, Workers& w, Limits m) : loop(l), workers(w), limits(m) {}

    static std::string key_of(const HttpEndpoint& to);
    // The one used last, or null.
    std::unique_ptr<HttpConnection> take(const std::string& key);
    void give_back(std::unique_ptr<HttpConnection> connection);
    void drop(HttpConnection* connection);

    Loop& loop;
    Workers& workers;
    const Limits limits;
    std::list<std::unique_ptr<HttpConnection>> idle;  // oldest first
};

}  // namespace mssl::proxy
