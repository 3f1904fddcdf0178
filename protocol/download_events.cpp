// Download, first part: what happened.
#include "protocol/download.h"

#include <algorithm>
#include <bit>

#include "protocol/download_impl.h"

namespace mssl {

namespace {

constexpr Duration kFirstBackoff = std::chrono::milliseconds(100);
constexpr Duration kMaxBackoff = std::chrono::seconds(5);

std::uint64_t seed_of(const ObjectId& id, std::uint64_t own) {
    std::uint64_t v;
    std::memcpy(&v, id.bytes.data(), sizeof v);
    return v ^ (own * 0x9e3779b97f4a7c15U);
}

}  // namespace

Download::Impl::Impl(Geometry g, ObjectId o, BlockBuffers& b, DownloadLimits l)
    : geometry(g),
      object(o),
      buffers(&b),
      limits(l),
      have(g.block_count()),
      tracker(g.block_count()),
      picker(seed_of(o, l.seed)) {}

Source* Download::Impl::source(SourceId id) {
    const auto it = sources.find(id);
    return it == sources.end() || it->second.cut ? nullptr : &it->second;
}

Source* Download::Impl::server() {
    for (auto& [id, s] : sources)
        if (s.kind == SourceKind::server && !s.cut) return &s;
    return nullptr;
}

void Download::Impl::fail_transfer(Error error) {
    if (failed) return;
    failed = true;
    act(Failed{std::move(error)});
}

void Download::Impl::update_meter(MonoTime now, Source& s) {
    if (s.asked.empty() && s.incoming.empty()) {
        s.meter.idle(now);
    } else {
        s.meter.busy(now);
    }
}

void Download::Impl::release(BlockIndex block, bool ask_server) {
    tracker.release(block);
    slow.erase(block.v);
    if (ask_server) lost.insert(block.v);
    for (auto& [id, s] : sources) s.dry = false;
}

void Download::Impl::lose(BlockIndex block, const Source& s) {
    Pending* p = tracker.find(block);
    if (p == nullptr) return;
    std::erase(p->sources, s.id);
    if (p->sources.empty() && !p->held) release(block, s.kind == SourceKind::server);
}

void Download::Impl::stop_asking(MonoTime now, Source& s, BlockIndex block) {
    const auto asked = s.asked.find(block.v);
    if (asked != s.asked.end()) {
        if (!asked->second.begun) {
            s.remember_cancelled(block);
            act(SendCancel{s.id, block});
        }
        s.asked.erase(asked);
    }
    s.discard(block);
    update_meter(now, s);
}

void Download::Impl::drop_requests(MonoTime now, Source& s) {
    const auto asked = std::exchange(s.asked, {});
    for (const auto& [b, a] : asked) lose(BlockIndex{b}, s);
    for (auto& [b, in] : s.incoming) {
        if (!in.discard) lose(BlockIndex{b}, s);
        s.discard(BlockIndex{b});
    }
    for (auto& [b, p] : tracker.all())
        if (p.nodes_from == s.id) {
            p.nodes_from.reset();
            tracker.touch();
        }
    update_meter(now, s);
}

void Download::Impl::cut(Source& s, Errc why, std::string detail) {
    if (s.cut) return;
    s.cut = true;
    act(CutSource{s.id, why, std::move(detail)});
    drop_requests(latest, s);
    // What it sent and nobody could verify yet is not worth waiting for; what already verified stays.
    std::vector<BlockIndex> unproven;
    for (const auto& [b, p] : tracker.all())
        if (p.held && p.held->from == s.id) unproven.push_back(BlockIndex{b});
    for (const BlockIndex b : unproven) {
        s.stats.bytes_wasted += geometry.block_length(b);
        release(b, s.kind == SourceKind::server);
    }
}

Download::Download(Geometry geometry, ObjectId object, BlockBuffers& buffers, DownloadLimits limits)
    : impl_(std::make_unique<Impl>(geometry, object, buffers, limits)) {}
Download::~Download() = default;

void Download::on_head(MonoTime now, const Head& head) {
    Impl& d = *impl_;
    if (d.failed) return;
    if (head.object != d.object || head.geometry() != d.geometry)
        return d.fail_transfer(fail(Errc::wrong_object, "a head of another object"));
    if (Status s = d.cache.add_peaks(head.blocks(), head.peaks); !s) return d.fail_transfer(s.error());
    d.restored.confirm_peaks(d.cache);
    if (head.final_head && d.geometry.block_count() == 0 && !std::exchange(d.finished, true))
        d.act(Finished{});
    for (auto& [id, s] : d.sources) s.dry = false;
    d.tracker.touch();
    d.plan(now);
}

void Download::restore(const Bitmap& have, const std::vector<std::pair<NodePosition, Hash>>& nodes) {
    Impl& d = *impl_;
    d.restored.add(nodes);
    d.restored.confirm(d.cache);
    if (have.size() != d.geometry.block_count()) return;
    for (const BlockRange& r : have.ranges()) {
        d.have.set_range(r);
        for (std::uint32_t i = 0; i < r.count; ++i) d.tracker.mark_done(BlockIndex{r.first + i});
    }
    if (d.have.all() && !std::exchange(d.finished, true)) d.act(Finished{});
}

void Download::add_source(MonoTime now, SourceId id, SourceKind kind) {
    Source s;
    s.id = id;
    s.kind = kind;
    s.stats.kind = kind;
    if (kind == SourceKind::peer) s.has = Bitmap(impl_->geometry.block_count());
    s.last_byte = now;
    impl_->sources.emplace(id, std::move(s));
    if (kind == SourceKind::server) impl_->tokens = {};
    impl_->plan(now);
}

void Download::remove_source(MonoTime now, SourceId id) {
    Impl& d = *impl_;
    const auto it = d.sources.find(id);
    if (it == d.sources.end()) return;
    // It may be connected still: what it has not begun to send it need not.
    for (const auto& [b, a] : it->second.asked)
        if (!a.begun) d.act(SendCancel{id, BlockIndex{b}});
    d.drop_requests(now, it->second);
    if (it->second.kind == SourceKind::server) d.tokens = {};
    d.sources.erase(it);
    d.plan(now);
}

void Download::on_have(MonoTime now, SourceId id, const Bitmap& all) {
    Source* s = impl_->source(id);
    if (s == nullptr || s->kind == SourceKind::server) return;
    if (all.size() != impl_->geometry.block_count())
        return impl_->cut(*s, Errc::malformed, "a bitmap of another size");
    s->has = all;
    s->dry = false;
    impl_->plan(now);
}

void Download::on_have(MonoTime now, SourceId id, const std::vector<BlockRange>& more) {
    Source* s = impl_->source(id);
    if (s == nullptr || s->kind == SourceKind::server) return;
    for (const BlockRange& r : more) {
        if (std::uint64_t{r.first} + r.count > impl_->geometry.block_count())
            return impl_->cut(*s, Errc::malformed, "has blocks beyond the object");
        s->has.set_range(r);
    }
    s->dry = false;
    impl_->plan(now);
}

void Download::on_all_out(MonoTime now) {
    impl_->all_out = true;
    if (Source* s = impl_->server()) s->dry = false;
    impl_->plan(now);
}

void Download::Impl::on_nodes(MonoTime now, Source& s, const BlockFrame& frame) {
    const auto asked = s.nodes_asked.find(frame.block.v);
    if (asked == s.nodes_asked.end()) return cut(s, Errc::unexpected, "nodes that were not asked for");
    const bool as_asked = asked->second.mask == frame.mask;
    s.nodes_asked.erase(asked);
    if (!as_asked) return cut(s, Errc::malformed, "other nodes than those asked for");
    Pending* p = tracker.find(frame.block);
    if (p == nullptr || p->nodes_from != s.id) return;  // the block was verified, or asked elsewhere, meanwhile
    p->nodes_from.reset();
    p->proof = Proof{s.id, frame.mask, frame.nodes, 0};
    if (p->held) settle(now, frame.block);
}

void Download::on_block(MonoTime now, SourceId id, const BlockFrame& frame) {
    Impl& d = *impl_;
    Source* s = d.source(id);
    if (s == nullptr) return;
    const BlockIndex block = frame.block;
    const std::string name = "block " + std::to_string(block.v);
    if (block.v >= d.geometry.block_count()) return d.cut(*s, Errc::malformed, name + " lies beyond the object");
    if (frame.nodes.size() != static_cast<std::size_t>(std::popcount(frame.mask)))
        return d.cut(*s, Errc::malformed, name + ": nodes do not match their mask");
    if (frame.length == 0) {
        d.on_nodes(now, *s, frame);
        return d.plan(now);
    }
    if (frame.length != d.geometry.block_length(block))
        return d.cut(*s, Errc::malformed, name + ": wrong length");
    if (s->incoming.contains(block.v)) return d.cut(*s, Errc::unexpected, name + " begins twice");

    Incoming in;
    in.at = now;
    in.length = frame.length;
    in.mask = frame.mask;
    in.nodes = frame.nodes;
    const bool may_give = s->kind == SourceKind::server && d.tokens.may_come > 0;
    const auto asked = s->asked.find(block.v);
    if (asked != s->asked.end() && asked->second.mask == frame.mask) {
        asked->second.begun = true;
    } else if (s->forgive_cancelled(block)) {
        in.discard = true;
    } else if (may_give) {
        in.given = true;
        in.head_blocks = frame.head_blocks;
        d.given_end = std::max(d.given_end, block.v + std::uint64_t{1});
        --d.tokens.may_come;
        if (d.tokens.unseen > 0) --d.tokens.unseen;
        // Asked for by number while it was on the way for a token: this one will do.
        if (asked != s->asked.end()) d.stop_asking(now, *s, block);
    } else {
        return d.cut(*s, Errc::unexpected, name + " was not asked for");
    }
    Pending* p = d.tracker.find(block);
    if (d.have.test(block) || (p != nullptr && p->held)) in.discard = true;
    if (in.discard) in.nodes.clear();
    const bool wanted = in.given && !in.discard;
    s->incoming.emplace(block.v, std::move(in));
    d.update_meter(now, *s);
    if (wanted) {
        Pending& open = d.tracker.open(block);
        if (std::find(open.sources.begin(), open.sources.end(), id) == open.sources.end()) open.sources.push_back(id);
        if (frame.mask != 0) {
            d.tracker.set_brought(block, d.cache, frame.mask);
        } else if (block.v < d.cache.covered_blocks() && !open.nodes_from) {
            d.ask_nodes(now, block, true);  // now, so that they are here before the data ends
        }
    }
    d.plan(now);
}

Result<Slot> Download::slot(MonoTime, SourceId id, const DataHeader& h, std::size_t payload_bytes) {
    Impl& d = *impl_;
    Source* s = d.source(id);
    if (s == nullptr) return fail(Errc::unexpected, "data from a source that was cut");
    const auto it = s->incoming.find(h.block.v);
    const auto refuse = [&](Errc code, const char* why) {
        d.cut(*s, code, "block " + std::to_string(h.block.v) + ": " + why);
        return fail(code, why);
    };
    if (it == s->incoming.end()) return refuse(Errc::unexpected, "data without its block");
    Incoming& in = it->second;
    if (h.offset != in.received) return refuse(Errc::malformed, "data at a wrong offset");
    if (payload_bytes == 0 || payload_bytes > in.length - in.received) return refuse(Errc::malformed, "wrong amount of data");
    if (!in.discard && !in.buffer) {
        if (!d.reserved.empty()) {
            in.buffer = std::move(d.reserved.back());
            d.reserved.pop_back();
        } else {
            in.buffer = d.buffers->get(in.length);
        }
        if (!in.buffer) {
            // Memory is short: go on with half of what is on the way.
            d.memory_short = std::max<std::size_t>(1, d.committed() / 2);
            s->asked.erase(h.block.v);
            s->discard(h.block);
            d.lose(h.block, *s);
        }
    }
    in.slot_bytes = payload_bytes;
    if (in.discard) return Slot{};
    return Slot(MutableView{in.buffer.get() + in.received, payload_bytes}, in.buffer);
}

void Download::on_data(MonoTime now, SourceId id, const DataHeader& h, std::size_t) {
    Impl& d = *impl_;
    Source* s = d.source(id);
    if (s == nullptr) return;
    const auto it = s->incoming.find(h.block.v);
    if (it == s->incoming.end() || it->second.slot_bytes == 0) return;
    Incoming& in = it->second;
    const std::size_t payload_bytes = std::exchange(in.slot_bytes, 0);
    in.received += static_cast<std::uint32_t>(payload_bytes);
    s->last_byte = now;
    s->meter.add(now, payload_bytes);
    if (in.discard) s->stats.bytes_wasted += payload_bytes;
    if (in.received < in.length) return;
    Incoming whole = std::move(in);
    s->incoming.erase(it);
    s->stalled = false;
    s->backoff = Duration{0};
    s->owes_since.reset();
    if (!whole.discard) d.completed(now, *s, h.block, std::move(whole));
    d.update_meter(now, *s);
    d.plan(now);
}

void Download::on_refuse(MonoTime now, SourceId id, const Refuse& refuse) {
    Impl& d = *impl_;
    Source* s = d.source(id);
    if (s == nullptr) return;
    const BlockIndex block = refuse.block;
    if (refuse.code == Errc::withdrawn && s->kind == SourceKind::server)
        return d.fail_transfer(fail(Errc::withdrawn, "the server withdrew the object"));
    const auto asked = s->asked.find(block.v);
    if (asked != s->asked.end() && !asked->second.begun) {
        s->asked.erase(asked);
        if (refuse.code == Errc::no_such_block && s->kind == SourceKind::peer) {
            s->has.clear(block);
        } else {
            s->backoff = std::clamp(2 * s->backoff, kFirstBackoff, kMaxBackoff);
            s->refused[block.v] = now + s->backoff;
            if (refuse.code == Errc::busy) s->not_before = now + s->backoff;
        }
        d.lose(block, *s);
        d.update_meter(now, *s);
    } else if (s->nodes_asked.erase(block.v) > 0) {
        Pending* p = d.tracker.find(block);
        if (p != nullptr && p->nodes_from == id) {
            p->nodes_from.reset();
            p->nodes_tried.push_back(id);
            d.ask_nodes(now, block, false);
        }
    } else {
        s->forgive_cancelled(block);
    }
    d.plan(now);
}

void Download::on_rtt(SourceId id, Duration rtt) {
    Source* s = impl_->source(id);
    if (s == nullptr || rtt < Duration{0}) return;
    const bool first = s->stats.rtt == Duration{0};
    // The least that was seen is the path; what is more is somebody's queue, and asking for more would feed it.
    s->min_rtt = first ? rtt : std::min(s->min_rtt, rtt);
    s->stats.rtt = first ? rtt : (7 * s->stats.rtt + rtt) / 8;
}

void Download::set_readers(MonoTime now, const std::vector<std::uint64_t>& offsets) {
    Impl& d = *impl_;
    d.readers.clear();
    for (const std::uint64_t offset : offsets)
        if (offset < d.geometry.length()) d.readers.push_back(d.geometry.block_at(offset).v);
    std::sort(d.readers.begin(), d.readers.end());
    d.readers.erase(std::unique(d.readers.begin(), d.readers.end()), d.readers.end());
    // Who went on waits for another block now.
    std::erase_if(d.starving, [&](const auto& b) {
        const auto after = std::upper_bound(d.readers.begin(), d.readers.end(), std::uint64_t{b.first});
        return after == d.readers.begin() || d.have.next_clear(*std::prev(after)) != b.first;
    });
    for (auto& [id, s] : d.sources) s.dry = false;
    d.plan(now);
}

void Download::set_upload_level(MonoTime now, std::uint8_t level) {
    Impl& d = *impl_;
    if (std::exchange(d.level, std::min<std::uint8_t>(level, 3)) != d.level) d.level_changed = true;
    d.plan(now);
}

void Download::forget(MonoTime now, BlockIndex block) {
    Impl& d = *impl_;
    if (!d.have.test(block)) return;
    d.have.clear(block);
    d.ready.erase(block.v);
    d.finished = false;  // and said again when it is true again
    d.release(block, true);
    d.plan(now);
}

void Download::set_hard_window(MonoTime now, std::uint64_t bytes) {
    impl_->limits.hard_window_bytes = bytes;
    for (auto& [id, s] : impl_->sources) s.dry = false;
    impl_->plan(now);
}

void Download::set_held(MonoTime now, std::size_t blocks) {
    const bool fewer = blocks < impl_->owner_holds;
    impl_->owner_holds = blocks;
    if (fewer) impl_->plan(now);
}

std::vector<DownloadAction> Download::take_actions() { return std::exchange(impl_->actions, {}); }

VerifiedBlock Download::take_block(BlockIndex block) {
    const auto it = impl_->ready.find(block.v);
    if (it == impl_->ready.end()) std::terminate();
    VerifiedBlock out = std::move(it->second);
    impl_->ready.erase(it);
    return out;
}

const Bitmap& Download::have() const { return impl_->have; }
const NodeCache& Download::nodes() const { return impl_->cache; }
Geometry Download::geometry() const { return impl_->geometry; }
bool Download::complete() const { return impl_->have.all(); }

const SourceStats* Download::stats(SourceId id) const {
    const auto it = impl_->sources.find(id);
    if (it == impl_->sources.end()) return nullptr;
    Source& s = it->second;
    s.stats.rate = s.meter.rate();
    s.stats.outstanding = static_cast<std::uint32_t>(s.asked.size() + s.incoming.size());
    return &s.stats;
}

std::uint64_t Download::bytes_from(SourceKind kind) const { return impl_->bytes[static_cast<std::size_t>(kind)]; }

}  // namespace mssl
