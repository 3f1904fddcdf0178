#include "proxy/server/dial_back.h"

#include "proxy/core/stream.h"
#include "proxy/core/tls.h"

namespace mssl::proxy {
namespace {

// One dial. The loop owns it until it is over.
class Dial final : public Disposable, private StreamHandler {
public:
    Dial(Loop& loop, const MemberId& member, RealmTrust trust, std::function<void(Status)> done)
        : loop_(&loop), member_(member), trust_(std::move(trust)), done_(std::move(done)) {}
    ~Dial() override {
        if (stream_) loop_->dispose(std::move(stream_));
    }
    void start(const Address& at, SSL_CTX* context) {
        TlsClient tls;
        tls.ctx = context;
        tls.alpn = std::string(kAlpnMember);
        tls.sni = realm_server_name(trust_.id());
        StreamTimeouts timeouts;
        timeouts.connect = DialBack::kTimeout;
        timeouts.idle = DialBack::kTimeout;
        stream_ = Stream::connect(*loop_, {at}, &tls, *this, timeouts);
    }

private:
    // TLS 1.3: the far end's certificate and its proof of the key are here before it has judged ours.
    void on_open() override {
        const Result<PeerMembership> peer = member_of(stream_->ssl(), trust_, wall_now());
        if (!peer) return over(peer.error());
        if (peer->id != member_) return over(fail(Errc::wrong_holder, "another member answers there"));
        over({});
    }
    void on_readable() override {}
    void on_writable() override {}
    void on_error(const Error& error) override { over(error); }

    void over(const Status& status) {
        const auto done = std::move(done_);
        stream_->abort();
        loop_->release(this);
        done(status);
    }

    Loop* loop_;
    MemberId member_;
    RealmTrust trust_;
    std::function<void(Status)> done_;
    std::unique_ptr<Stream> stream_;
};

int judged_later(X509_STORE_CTX* store, void*) {
    X509_STORE_CTX_set_error(store, X509_V_OK);
    return 1;
}

}  // namespace

Result<std::shared_ptr<DialBack>> DialBack::create() {
    SslCtxPtr context(SSL_CTX_new(TLS_client_method()));
    if (!context || SSL_CTX_set_min_proto_version(context.get(), TLS1_3_VERSION) != 1)
        return openssl_error(Errc::crypto, "context to dial back with");
    SSL_CTX_set_mode(context.get(), SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    // member_of() judges the chain; TLS holds the proof of the key whatever this says.
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
    SSL_CTX_set_cert_verify_callback(context.get(), judged_later, nullptr);
    SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
    return std::shared_ptr<DialBack>(std::make_unique<DialBack>(Private{}, std::move(context)));
}

void DialBack::dial(Loop& loop, const Address& at, const MemberId& member, const RealmTrust& trust,
                    std::function<void(Status)> done) const {
    auto dial = std::make_unique<Dial>(loop, member, trust, std::move(done));
    Dial& started = *dial;
    loop.adopt(std::move(dial));
    started.start(at, context_.get());
}

}  // namespace mssl::proxy
