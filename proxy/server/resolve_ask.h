// One question to the origin, for everybody who asks the same at that moment. It outlives who asked: a first reader that goes away
// takes the answer from nobody (DESIGN 3: "a slow or vanished first reader neither throttles nor cancels the read").
//
//   ┌────────┐ sharable, new   ┌─────────┐ body over, broken
//   │ asking │────────────────▶│ feeding │────────────────▶ over
//   └────────┘                 └─────────┘
//     │   │ relay              ┌──────────┐ body over, broken, leader gone
//     │   └───────────────────▶│ relaying │────────────────▶ over
//     └─ known object, again, broken ─────────────────────▶ over
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "proxy/server/catalog.h"
#include "proxy/server/cold_read.h"
#include "proxy/server/cold_reads.h"
#include "proxy/server/encodings.h"
#include "proxy/server/front.h"
#include "proxy/server/resolve_request.h"

namespace mssl::proxy {

// What a question came to, for those who did not put it themselves.
struct ResolveOutcome {
    std::shared_ptr<HostedObject> object;  // null: put your own
    std::vector<HeaderField> fields;       // of the origin's answer
};

// The questions at the origin now. Thread rules: any thread.
class ResolveAsks {
public:
    using Waiter = std::function<void(const ResolveOutcome&)>;
    // False: the same is being asked; waiter runs in loop with what it came to. True: the caller asks, and finish()es.
    bool join(const std::string& key, Loop& loop, Waiter waiter);
    void finish(const std::string& key, const ResolveOutcome& outcome);
    Encodings& encodings() { return encodings_; }

private:
    struct Waiting {
        Loop* loop;
        Waiter waiter;
    };
    std::mutex mutex_;
    std::unordered_map<std::string, std::vector<Waiting>> waiting_;
    Encodings encodings_;
};

// Who put the question, while still there.
class ResolveLeader {
public:
    virtual ~ResolveLeader() = default;
    // object null: the request is to be put as it was.
    virtual void on_outcome(const ResolveOutcome& outcome) = 0;
    virtual void on_origin_failed(const Error& error) = 0;
    // Of 100 … 199: an answer is to follow.
    virtual void on_interim(ResponseHead head) = 0;
    // Relayed.
    virtual void on_answer_head(ResponseHead head) = 0;
    virtual bool on_answer_body(View piece) = 0;  // false: until resume()
    virtual void on_answer_end() = 0;
    virtual void on_answer_broken(const Error& error) = 0;
};

class ResolveAsk final : public Disposable, private HttpClientHandler {
public:
    struct Question {
        std::shared_ptr<const FrontParts> parts;
        std::shared_ptr<const Origin> origin;
        UrlRoot asked;                    // by the application
        const ShareRule* rule = nullptr;  // of origin
        RequestHead request;              // the application's
        Address client;
        std::string key;
        std::optional<MemberId> member;  // none: the operator, who may have everything read
    };
    // In loop, which owns it; the result is valid until leave(), or until the leader heard on_outcome, on_origin_failed, on_answer_end
    // or on_answer_broken.
    static ResolveAsk* start(Loop& loop, Question question, ResolveLeader* leader);
    ~ResolveAsk() override;
    // The leader is gone.
    void leave();
    void resume();

private:
    enum class State : std::uint8_t { asking, feeding, relaying, over };
    ResolveAsk(Loop& loop, Question question, ResolveLeader* leader);
    void begin();
    void on_response_head(ResponseHead head) override;
    MutableView body_room() override { return state_ == State::feeding ? cold_->room() : MutableView(); }
    void on_body(View piece) override;
    void on_complete() override;
    void on_error(const Error& error) override;

    void unmodified(const Validator& validator, const ResponseHead& answer);
    void sharable(const Validator& validator, ResponseHead answer);
    void relay(ResponseHead answer);
    void settle(const ResolveOutcome& outcome);
    void end();

    Loop* loop_;
    Question question_;
    ResolveLeader* leader_;
    std::string url_;
    ResolvePlan plan_;
    State state_ = State::asking;
    bool settled_ = false;
    std::unique_ptr<OriginExchange> exchange_;
    ColdReads::Place place_;
    std::shared_ptr<ColdRead> cold_;
};

}  // namespace mssl::proxy
