// A member's request for what may be shared: answered with a Resolved, or with the origin's own answer (protocol/resolve.h).
//
//   ┌─────────┐ object ┌─────────┐ first head ┌──────────┐
//   │ waiting │───────▶│ opening │───────────▶│ Resolved │
//   └─────────┘        └─────────┘            └──────────┘
//     │  │ relayed ──▶ the origin's answer       │
//     │  └ put your own ──▶ ProxyExchange ◀──────┴ withdrawn, no ticket
//     └ origin broken ──▶ 502, 504             └ no head in time: put your own
//
// Thread rules: as Answerer.
#pragma once

#include "protocol/resolve.h"
#include "proxy/server/answerer.h"
#include "proxy/server/proxy_exchange.h"
#include "proxy/server/resolve_ask.h"

namespace mssl::proxy {

class ResolveExchange final : public Answerer, private ResolveLeader {
public:
    ResolveExchange(AnswerPort& port, std::shared_ptr<const FrontParts> parts, std::shared_ptr<const Origin> origin,
                    RequestHead request, UrlRoot asked, const MemberId& member);
    ~ResolveExchange() override;
    void begin() override;
    bool on_request_body(View piece) override;
    void on_request_end() override;
    void on_room() override;
    void stop() override;

private:
    void on_outcome(const ResolveOutcome& outcome) override;
    void on_origin_failed(const Error& error) override;
    void on_interim(ResponseHead head) override;
    void on_answer_head(ResponseHead head) override;
    bool on_answer_body(View piece) override;
    void on_answer_end() override;
    void on_answer_broken(const Error& error) override;

    void answer(const std::shared_ptr<HostedObject>& object, const std::vector<HeaderField>& fields);
    void put_own();

    AnswerPort* port_;  // null: stopped
    std::shared_ptr<const FrontParts> parts_;
    std::shared_ptr<const Origin> origin_;
    RequestHead request_;
    UrlRoot asked_;
    MemberId member_;
    ResolveAsk* ask_ = nullptr;  // while this leads it
    std::unique_ptr<ProxyExchange> own_;
    bool had_interim_ = false;
    std::unique_ptr<Timer> opening_;  // while the first head is waited for
    std::shared_ptr<ResolveExchange*> self_ = std::make_shared<ResolveExchange*>(this);  // for answers that come too late
};

}  // namespace mssl::proxy
