#include "proxy/server/publisher.h"

#include <utility>

namespace mssl::proxy {
namespace {

constexpr Duration kProgressEvery = std::chrono::milliseconds(250);

std::string json_string(std::string_view text) {
    std::string out = "\"";
    for (char c : text) {
        if (c == '"' || c == '\\') out.push_back('\\');
        // What is no printable ASCII says nothing here that is worth escapes.
        out.push_back(c >= 0x20 && c < 0x7f ? c : '?');
    }
    return out + "\"";
}

}  // namespace

std::string Publisher::Progress::to_json() const {
    static constexpr std::string_view names[] = {"hashing", "complete", "failed"};
    std::string out = "{\"state\":" + json_string(names[static_cast<std::size_t>(state)]);
    if (!object.empty()) out += ",\"object\":" + json_string(object);
    out += ",\"hashed\":" + std::to_string(hashed) + ",\"length\":" + std::to_string(length);
    if (!why.empty()) out += ",\"why\":" + json_string(why);
    return out + "}";
}

// One publication: leads the question to the origin, then looks at the object until it is whole.
class Publisher::Watch final : public Disposable, private ResolveLeader {
public:
    Watch(Loop& loop, std::function<void(const Progress&)> progress)
        : loop_(loop), progress_(std::move(progress)), timer_(loop, [this] { look(); }) {}
    ~Watch() override {
        if (ask_) ask_->leave();
    }

    void begin(const std::shared_ptr<const FrontParts>& parts, const std::string& what) {
        const bool is_file = what.starts_with('/');
        const std::string url = is_file ? parts->origins->url_of_file(what) : what;
        if (is_file && url.empty()) return failed("no such file below the root of an [[origin]]");
        const Result<AbsoluteTarget> target = parse_absolute(url);
        if (!target) return failed("not an http:// or https:// URL");
        const UrlRoot asked = target->root();
        const std::shared_ptr<const Origin> origin = parts->origins->find(asked, 0);
        if (!origin) return failed("no [[origin]] is configured for this host");
        const ShareRule* rule = origin->rule_for(target->target);
        if (rule == nullptr) return failed("no [[origin.share]] has this path");
        RequestHead request;
        request.method = "GET";
        request.target = target->target;
        request.fields.add("Host", asked.host_field());
        request.fields.add("Accept", "*/*");
        std::string key = "publish\n" + coalescing_key(asked.url_of("/"), request, {});
        const bool first = parts->asks->join(key, loop_, [alive = std::weak_ptr(self_)](const ResolveOutcome& outcome) {
            if (const auto self = alive.lock()) (*self)->on_outcome(outcome);
        });
        if (!first) return;
        const std::array<std::uint8_t, 16> loopback{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1};
        ask_ = ResolveAsk::start(
            loop_, {parts, origin, asked, rule, std::move(request), Address::from_bytes(loopback, 0), std::move(key), std::nullopt},
            this);
    }

private:
    void on_outcome(const ResolveOutcome& outcome) override {
        ask_ = nullptr;
        object_ = outcome.object;
        if (!object_) return failed("not shared: the origin's answer does not allow it, or is smaller than min-size");
        object_->shown_to(std::nullopt, {});
        look();
    }
    void on_origin_failed(const Error& error) override {
        ask_ = nullptr;
        failed(error.to_string());
    }
    void on_interim(ResponseHead) override {}
    void on_answer_head(ResponseHead head) override {
        std::exchange(ask_, nullptr)->leave();
        failed("not shared: the origin answers " + std::to_string(head.status) + ", or its fields do not allow it");
    }
    bool on_answer_body(View) override { return true; }
    void on_answer_end() override { ask_ = nullptr; }
    void on_answer_broken(const Error&) override { ask_ = nullptr; }

    void look() {
        Progress p;
        p.object = object_->id().hex();
        p.length = object_->manifest()->body.length;
        p.hashed = object_->hashed_bytes();
        switch (object_->state()) {
        case HostedObject::State::opening:
        case HostedObject::State::hashing:
            timer_.start(kProgressEvery);
            progress_(p);
            return;
        case HostedObject::State::complete: p.state = Progress::State::complete; break;
        case HostedObject::State::withdrawn:
            p.state = Progress::State::failed;
            p.why = "the origin broke off, or its bytes changed";
            break;
        }
        progress_(p);
        loop_.release(this);
    }

    void failed(std::string why) {
        Progress p;
        p.state = Progress::State::failed;
        p.why = std::move(why);
        progress_(p);
        loop_.release(this);
    }

    Loop& loop_;
    std::function<void(const Progress&)> progress_;
    Timer timer_;
    ResolveAsk* ask_ = nullptr;
    std::shared_ptr<HostedObject> object_;
    std::shared_ptr<Watch*> self_ = std::make_shared<Watch*>(this);
};

void Publisher::publish(const std::string& url, Loop& loop, std::function<void(const Progress&)> progress) {
    loop.post([self = shared_from_this(), url, &loop, progress = std::move(progress)] {
        auto watch = std::make_unique<Watch>(loop, progress);
        Watch* raw = watch.get();
        loop.adopt(std::move(watch));
        raw->begin(self->parts_(), url);
    });
}

}  // namespace mssl::proxy
