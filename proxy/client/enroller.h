// One enrolment at a realm's server (DESIGN 5; mssl-protocol(7), ENROLMENT): TLS verified in the usual way, ALPN mssl/1, without a
// client certificate; HELLO, ENROL, ENROLLED, end.
//
// Thread rules: one loop.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "protocol/identity.h"
#include "proxy/core/wire.h"

namespace mssl::proxy {

struct EnrolledIdentity {
    RealmTrust trust;
    Certificate signer;
    Certificate member;
};

class Enroller final : public Disposable, private WireHandler {
public:
    // For all of it: an answer takes the server one signature, and requests wait for it.
    static constexpr Duration kAnswerTime = std::chrono::seconds(20);
    using Done = std::function<void(Result<EnrolledIdentity>)>;
    // done is called once, from the loop; the Enroller disposes of itself afterwards. context without member certificate.
    static void start(Loop& loop, std::vector<Address> server, const TlsClient& tls, std::shared_ptr<SSL_CTX> context,
                      std::shared_ptr<const KeyPair> key, std::string token, Done done, Duration limit = kAnswerTime);
    ~Enroller() override;

private:
    Enroller(Loop& loop, std::shared_ptr<SSL_CTX> context, std::shared_ptr<const KeyPair> key, std::string token, Done done);
    void on_ready(const Hello& peer) override;
    Status on_frame(ControlFrame frame) override;
    Result<Slot> slot(const DataHeader& h, std::size_t payload_bytes) override;
    Status on_data(const DataHeader& h, View payload) override;
    void on_rtt(Duration) override {}
    void on_drained() override {}
    void on_closed(const Error& why) override;
    void end(Result<EnrolledIdentity> result);

    Loop* loop_;
    std::shared_ptr<SSL_CTX> context_;
    std::shared_ptr<const KeyPair> key_;
    std::string token_;  // secret: cleared at the end
    Done done_;
    std::unique_ptr<Wire> wire_;
    std::unique_ptr<Enroller> self_;
    Timer deadline_;
};

}  // namespace mssl::proxy
