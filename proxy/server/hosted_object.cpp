#include "proxy/server/hosted_object.h"

#include <algorithm>
#include <utility>

#include "proxy/core/log.h"
#include "proxy/server/hosted_impl.h"

namespace mssl::proxy {
namespace {

// The last reference may be dropped anywhere, timers only where they run.
std::shared_ptr<Hosted> make_hosted(Hosting hosting) {
    auto made = std::make_unique<Hosted>(std::move(hosting));
    return {made.release(), [](Hosted* object) {
                Loop& loop = object->loop();
                loop.post([last = std::shared_ptr<Hosted>(object)] {});
            }};
}

}  // namespace

Hosted::Hosted(Hosting hosting)
    : hosting_(std::move(hosting)),
      id_(hosting_.manifest->body.object),
      geometry_(hosting_.manifest->body.geometry()),
      loop_(hosting_.runtime.loops.owner(id_)),
      vouched_{hosting_.manifest, nullptr, hosting_.realm},
      begun_(mono_now()),
      have_(geometry_.block_count()),
      spread_(geometry_) {}

Hosted::~Hosted() = default;

// ── Life ──

void Hosted::begin_new() {
    const std::weak_ptr<Hosted> weak = weak_from_this();
    source_ = std::make_shared<BlockSource>(BlockSource::Parts{
        hosting_.runtime, &loop_, id_, geometry_, hosting_.spool, hosting_.source,
        [weak](BlockIndex block) -> std::optional<Hash> {
            const auto self = weak.lock();
            return self ? self->tree_.node({0, block.v}) : std::nullopt;
        }});
    // Timers and the spool belong to the loop; nobody else gets a word in before: posts keep their order.
    loop_.post([weak] {
        const auto self = weak.lock();
        if (!self) return;
        self->head_timer_ = std::make_unique<Timer>(self->loop_, [raw = self.get()] { raw->grow(); });
        self->pace_ = std::make_unique<ReadPace>(self->loop_, [raw = self.get()] {
            const std::uint64_t unshown = raw->tree_.block_count() - raw->shown_blocks_;
            if (unshown * raw->geometry_.block_bytes() >= ReadPace::kLead / 2) raw->grow();
        });
        self->peers_timer_ = std::make_unique<Timer>(self->loop_, [raw = self.get()] { raw->tell_peers(); });
        self->unwanted_timer_ = std::make_unique<Timer>(self->loop_, [raw = self.get()] {
            const auto hold = raw->shared_from_this();
            hold->withdraw(fail(Errc::cancelled, "nobody reads it, and nobody else was told of it"));
        });
        self->look_whether_wanted();
        self->source_->open_spool(self->tree_.block_nodes());
        switch (self->state()) {
        case State::opening:
        case State::hashing:
            if (self->geometry_.block_count() == 0) self->finish();
            if (self->tree_.block_count() > self->shown_blocks_) self->head_timer_->start(kHeadEvery);
            return;
        case State::complete: self->source_->settle(); return;
        case State::withdrawn: return;
        }
    });
}

void Hosted::begin_known(std::shared_ptr<const SignedHead> final_head, MerkleTree tree) {
    tree_ = std::move(tree);
    hashed_.store(geometry_.length(), std::memory_order_relaxed);
    vouched_.head = std::move(final_head);
    shown_blocks_ = geometry_.block_count();
    have_.set_all();
    spread_.set_available(shown_blocks_);
    state_.store(State::complete, std::memory_order_release);
    begin_new();
}

std::shared_ptr<const SignedManifest> Hosted::manifest() const {
    const std::lock_guard lock(mutex_);
    return vouched_.manifest;
}

std::shared_ptr<const SignedHead> Hosted::head() const {
    const std::lock_guard lock(mutex_);
    return vouched_.head;
}

std::shared_ptr<const Realm> Hosted::realm() const {
    const std::lock_guard lock(mutex_);
    return vouched_.realm;
}

// On disk stays what the first signer signed: a start signs anew what then is not today's.
HostedObject::Vouched Hosted::vouched(WallTime now) {
    const std::shared_ptr<const Realm> today = hosting_.today ? hosting_.today->get() : hosting_.realm;
    const std::lock_guard lock(mutex_);
    if (state() != State::complete || !vouched_.head) return vouched_;
    const bool another = vouched_.realm->signer_id() != today->signer_id();
    if (!another && !is_ending(vouched_.manifest->body, now)) return vouched_;
    Manifest body = vouched_.manifest->body;
    begin_validity(body, now);
    Result<SignedManifest> manifest = sign_manifest(body, today->signer_key());
    Result<SignedHead> head = sign_head(vouched_.head->body, today->signer_key());
    if (!manifest || !head) {
        log::error("cannot sign anew", {{"object", id_.hex()}, {"why", (manifest ? head.error() : manifest.error()).to_string()}});
        return vouched_;
    }
    vouched_ = {std::make_shared<const SignedManifest>(*std::move(manifest)), std::make_shared<const SignedHead>(*std::move(head)), today};
    return vouched_;
}

void Hosted::when_open(Loop& where, std::function<void(Status)> ready) {
    loop_.post([self = shared_from_this(), &where, ready = std::move(ready)]() mutable {
        switch (self->state()) {
        case State::opening: self->waiting_open_.emplace_back(&where, std::move(ready)); return;
        case State::hashing:
        case State::complete:
            if (self->unreadable_until_ && self->loop_.now() < *self->unreadable_until_)
                return where.post([ready = std::move(ready)] { ready(fail(Errc::io, "its origin fails")); });
            where.post([ready = std::move(ready)] { ready({}); });
            return;
        case State::withdrawn:
            where.post([ready = std::move(ready)] { ready(fail(Errc::withdrawn, "the object was withdrawn")); });
            return;
        }
    });
}

void Hosted::shown_to(const std::optional<MemberId>& member, std::vector<HeaderField> credentials) {
    if (!credentials.empty() && hosting_.manifest->body.access == Access::restricted) hosting_.source->authorize(std::move(credentials));
    loop_.post([self = shared_from_this(), member] {
        if (!member || (self->known_to_ && *self->known_to_ != *member)) self->wanted_ = true;
        self->known_to_ = member;
        self->look_whether_wanted();
    });
}

void Hosted::look_whether_wanted() {
    if (!unwanted_timer_) return;
    const bool reading = (state() == State::opening || state() == State::hashing) && !finishing_;
    if (!reading || wanted_ || !takers_.empty())
        unwanted_timer_->stop();
    else if (!unwanted_timer_->running())
        unwanted_timer_->start(hosting_.grace);
}

void Hosted::tell_open(const Status& status) {
    for (auto& [where, ready] : std::exchange(waiting_open_, {}))
        where->post([ready = std::move(ready), status] { ready(status); });
}

void Hosted::withdraw(const Error& why) {
    if (state() == State::withdrawn) return;
    const auto self = shared_from_this();
    state_.store(State::withdrawn, std::memory_order_release);
    if (head_timer_) head_timer_->stop();
    if (pace_) pace_->end();
    if (peers_timer_) peers_timer_->stop();
    if (unwanted_timer_) unwanted_timer_->stop();
    add(loop_.counters().manifests_withdrawn);
    log::warning("object withdrawn", {{"object", id_.hex()},
                                      {"url", log::redact(hosting_.manifest->body.url)},
                                      {"takers", takers_.size()},
                                      {"error", why.to_string()}});
    // The catalog first: whoever is told to go away asks again at once, and must not be led here.
    if (const auto keeper = hosting_.keeper.lock()) keeper->withdrawn(id_, why);
    const auto takers = std::exchange(takers_, {});
    turn_.clear();
    for (const auto& [_, t] : takers) {
        t->gone = true;
        t->out->send_control(Close{t->handle, true, Errc::withdrawn});
    }
    source_->close(fail(Errc::withdrawn, why.detail));
    tell_open(why.code == Errc::withdrawn ? why : fail(Errc::withdrawn, why.to_string()));
}

// ── Tree and heads ──

void Hosted::append(BlockIndex block, BlockData data, std::uint32_t length, const Hash& node) {
    if (state() == State::withdrawn) return;
    if (block.v != tree_.block_count() || block.v >= geometry_.block_count() || length != geometry_.block_length(block))
        return withdraw(fail(Errc::internal, "block " + std::to_string(block.v) + " out of order or of another length"));
    tree_.append(node);
    hashed_.fetch_add(length, std::memory_order_relaxed);
    source_->keep(block, std::move(data), length, node);
    if (pace_) pace_->read_to(hashed_bytes());

    if (tree_.block_count() == geometry_.block_count()) return finish();
    const std::uint64_t unsigned_bytes = (tree_.block_count() - shown_blocks_) * geometry_.block_bytes();
    const Duration since = loop_.now() - head_at_;
    if (shown_blocks_ == 0 || unsigned_bytes >= kHeadBytes || since >= kHeadEvery)
        grow();
    else if (head_timer_ && !head_timer_->running())
        head_timer_->start(kHeadEvery - since);
}

void Hosted::when_room(std::function<void()> go) {
    source_->when_room([weak = weak_from_this(), go = std::move(go)] {
        const auto self = weak.lock();
        if (self && self->pace_)
            self->pace_->when_near(go);
        else
            go();
    });
}

// In the loop: an Ed25519 signature is some 30 µs, ten times a second an object.
Result<SignedHead> Hosted::sign(std::uint64_t blocks, bool final_head) const {
    Head head;
    head.object = id_;
    head.length = geometry_.length();
    head.block_bytes = geometry_.block_bytes();
    head.leaves = final_head ? geometry_.leaf_count() : blocks * geometry_.leaves_per_block();
    head.final_head = final_head;
    if (blocks > 0) head.peaks = tree_.peaks(blocks);
    return sign_head(head, realm()->signer_key());
}

// Shows what has been hashed. Before the final head that is whole blocks, and never all of them.
void Hosted::grow() {
    const std::uint64_t blocks = std::min(tree_.block_count(), geometry_.block_count() - 1);
    if (state() == State::withdrawn || state() == State::complete || blocks <= shown_blocks_) return;
    Result<SignedHead> head = sign(blocks, false);
    if (!head) return withdraw(head.error());
    publish(std::make_shared<const SignedHead>(std::move(*head)));
}

void Hosted::finish() {
    if (std::exchange(finishing_, true)) return;
    look_whether_wanted();
    if (head_timer_) head_timer_->stop();
    if (pace_) pace_->end();
    if (geometry_.block_count() > 1) grow();  // nobody waits for the disk but the last block
    if (state() == State::withdrawn) return;
    Result<SignedHead> signed_head = sign(geometry_.block_count(), true);
    if (!signed_head) return withdraw(signed_head.error());
    const auto head = std::make_shared<const SignedHead>(std::move(*signed_head));

    const auto kept = [self = shared_from_this(), head](const Status& done) {
        if (self->state() == State::withdrawn) return;
        // Shown all the same: no restart knows this id then, so none can go on with another tree under it.
        if (!done)
            log::warning("object does not outlive this process",
                         {{"object", self->id_.hex()}, {"error", done.error().to_string()}});
        self->state_.store(State::complete, std::memory_order_release);
        self->publish(head);
        self->source_->settle();
        self->log_complete();
    };
    const auto keeper = hosting_.keeper.lock();
    if (!keeper) return kept(fail(Errc::io, "there is no catalog"));
    keeper->keep(id_, tree_.block_nodes(), *head, loop_, kept);
}

void Hosted::publish(std::shared_ptr<const SignedHead> head) {
    const bool first = shown_blocks_ == 0 && state() == State::opening;
    const std::uint64_t blocks = head->body.blocks();
    const HeadFrame frame{Handle{}, head->der};
    {
        const std::lock_guard lock(mutex_);
        vouched_.head = std::move(head);
    }
    head_at_ = loop_.now();
    have_.set_range({static_cast<std::uint32_t>(shown_blocks_), static_cast<std::uint32_t>(blocks - shown_blocks_)});
    shown_blocks_ = blocks;
    spread_.set_available(blocks);
    if (first) state_.store(State::hashing, std::memory_order_release);
    tell_open({});
    for (const auto& [_, t] : takers_) {
        HeadFrame own = frame;
        own.handle = t->handle;
        t->upload.set_head_blocks(blocks);
        t->out->send_control(own);
    }
    pump();
}

void Hosted::log_complete() const {
    log::info("object complete", {{"object", id_.hex()},
                                  {"url", log::redact(hosting_.manifest->body.url)},
                                  {"bytes", geometry_.length()},
                                  {"ms", (loop_.now() - begun_).count() / 1000},
                                  {"takers", takers_.size()},
                                  {"bytes_given", bytes_given_}});
}

// ── Making ──

std::shared_ptr<HostedObject> host_new_object(Hosting hosting) {
    const std::shared_ptr<Hosted> object = make_hosted(std::move(hosting));
    object->begin_new();
    return object;
}

Result<std::shared_ptr<HostedObject>> host_known_object(Hosting hosting, std::shared_ptr<const SignedHead> final_head,
                                                        const std::vector<Hash>& nodes) {
    const Manifest& manifest = hosting.manifest->body;
    const Head& head = final_head->body;
    if (!head.final_head || head.object != manifest.object || head.geometry() != manifest.geometry())
        return fail(Errc::malformed, "head and manifest are not of one object");
    if (nodes.size() != manifest.geometry().block_count()) return fail(Errc::malformed, "not as many nodes as blocks");
    MerkleTree tree;
    for (const Hash& node : nodes) tree.append(node);
    if (!nodes.empty() && tree.peaks(nodes.size()) != head.peaks)
        return fail(Errc::malformed, "the nodes do not fold to the head");
    const std::shared_ptr<Hosted> object = make_hosted(std::move(hosting));
    object->begin_known(std::move(final_head), std::move(tree));
    return std::shared_ptr<HostedObject>(object);
}

}  // namespace mssl::proxy
