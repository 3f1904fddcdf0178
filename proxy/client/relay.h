// One request and its answer, streamed as they are but for what HTTP makes a proxy change: through the site's server, where the
// host is a site's, else straight to the origin. Falls back from the one to the other while nothing was sent.
//
//     fresh ──▶ handed over; or not, and only-if-cached ──▶ 504
//     via_site ──answer──▶ passing ──▶ over
//         │  └──resolved──▶ handed over (the connection delivers the object; fall_back() may bring it here again)
//         └──failed, fallback──▶ direct ──answer──▶ passing ──▶ over
//
// Thread rules: as Answering.
#pragma once

#include <memory>

#include "proxy/client/answering.h"
#include "proxy/client/intercept.h"
#include "proxy/client/resolver.h"

namespace mssl::proxy {

struct RelayPlan {
    RequestHead request;          // as forward_request() made it
    UrlRoot to;
    std::shared_ptr<Site> site;   // null: straight to the origin
    std::shared_ptr<Site> named;  // whose resource it is, asked by its server or not: what is kept of that may end
    std::function<bool(const Resolution&)> is_held;  // whether the whole object is here: needs nobody any more
    HttpEndpoint origin;
    std::shared_ptr<SSL_CTX> origin_context;  // of to's https: origin.tls points to it
    bool via = false;             // an explicit proxy says so in Via
};

class Relay final : public Answering, private ResolverHandler {
public:
    Relay(AnswerPort& port, HttpPool& pool, OwnSockets& own, RelayPlan plan);
    ~Relay() override;

    void begin() override;
    bool request_body(View piece) override;
    void request_end() override;
    void room() override;
    void stop() override;
    // The shared object did not come, and nothing of it was sent.
    void fall_back(const Error& why);

private:
    enum class State : std::uint8_t { via_site, handed_over, direct, over };

    void on_connection(Stream& stream, bool reused, RequestHead& head) override;
    void on_response_head(ResponseHead head) override;
    void on_body(View piece) override;
    void on_complete() override;
    void on_error(const Error& error) override;
    void on_writable() override;
    void on_upgraded() override;
    void on_resolved(Resolution resolution) override;

    std::optional<Resolution> fresh_answer() const;
    void begin_asking();
    void begin_direct();
    void look_at_answer(const ResponseHead& head);
    bool may_change() const;
    void forget();
    bool refuse_to_ask();
    void drop_upstream();
    bool may_repeat() const;
    void give_up(const Error& why);

    AnswerPort* port_;
    HttpPool* pool_;
    OwnSockets* own_;
    std::string url_;         // where there is a site that it names
    std::optional<FreshAnswers::Moment> asked_;  // when the server was; null: what is handed over is merely fresh
    RelayPlan plan_;
    State state_ = State::via_site;
    std::unique_ptr<Resolver> resolver_;
    std::unique_ptr<HttpClient> client_;
    Bytes kept_;              // content taken before a connection stood
    bool sent_ = false;       // a connection stood: the request may have been seen
    bool request_ended_ = false;
    bool answered_ = false;   // a final head went to the application
    std::optional<OwnEnd> own_end_;
};

}  // namespace mssl::proxy
