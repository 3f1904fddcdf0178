// Download, third part: which block from whom, now?
#include <algorithm>
#include <tuple>

#include "protocol/download_impl.h"

namespace mssl {

namespace {

// Between the arrival of a block and the sending of the next one lie an event loop, a queue and a scheduler.
constexpr Duration kServerSlack = std::chrono::milliseconds(10);
constexpr Duration kPeerSlack = std::chrono::milliseconds(5);
constexpr std::size_t kMaxPipeline = 32;
// How often time alone is looked at while something is on its way.
constexpr Duration kTick = std::chrono::milliseconds(100);
// A request is passed over when what is left of it would take so much longer here than elsewhere.
constexpr int kFarSlower = 4;
constexpr Duration kMaxStallBackoff = std::chrono::seconds(30);
// Readers that one search looks at; the next one goes on from there.
constexpr std::size_t kMaxReaders = 64;

Duration at_rate(double bytes, double rate) {
    const double seconds = bytes / std::max(rate, 1.0);
    return Duration{static_cast<Duration::rep>(std::min(seconds, 1e6) * 1e6)};
}

}  // namespace

std::size_t Download::Impl::max_blocks() const {
    const std::size_t fits = std::max<std::size_t>(2, limits.max_memory / geometry.block_bytes());
    return memory_short == 0 ? fits : std::min(fits, memory_short);
}

std::size_t Download::Impl::committed() const {
    return tracker.all().size() + ready.size() + owner_holds + tokens.unseen;
}

std::size_t Download::Impl::unbuffered() const {
    std::size_t n = tokens.unseen;
    for (const auto& [id, s] : sources) {
        for (const auto& [b, a] : s.asked) n += a.begun ? 0 : 1;
        for (const auto& [b, in] : s.incoming) n += in.discard || in.buffer ? 0 : 1;
    }
    return n;
}

bool Download::Impl::reserve() {
    if (memory_short == 0 || reserved.size() > unbuffered()) return true;
    std::shared_ptr<std::uint8_t[]> buffer = buffers->get(geometry.block_bytes());
    if (!buffer) return false;
    reserved.push_back(std::move(buffer));
    // There is some again: a little more each time, as long as none is refused.
    if (++memory_short < limits.max_memory / geometry.block_bytes()) return true;
    memory_short = 0;
    reserved.clear();
    return true;
}

std::pair<std::uint64_t, std::uint64_t> Download::Impl::hard_window(std::uint64_t reader) const {
    if (limits.hard_window_bytes == 0) return {0, cache.covered_blocks()};
    const std::uint64_t ahead = std::max<std::uint64_t>(1, limits.hard_window_bytes / geometry.block_bytes());
    return {reader, std::min(std::max(reader, cache.covered_blocks()), reader + ahead)};
}

bool Download::Impl::in_hard_window(BlockIndex block) const {
    if (limits.hard_window_bytes == 0) return block.v < cache.covered_blocks();
    // All are of one length: if any has it, then the one that begins last before it.
    const auto after = std::upper_bound(readers.begin(), readers.end(), std::uint64_t{block.v});
    if (after == readers.begin() && !readers.empty()) return false;
    const auto [from, end] = hard_window(readers.empty() ? 0 : *std::prev(after));
    return block.v >= from && block.v < end;
}

bool Download::Impl::helped() const {
    return std::any_of(sources.begin(), sources.end(), [](const auto& other) {
        return other.second.kind == SourceKind::peer && !other.second.cut && !other.second.stalled;
    });
}

// Whether the server is asked for certain blocks; else it gives any for tokens. With a hard window any block is of no use.
bool Download::Impl::by_number(const Source& s) const {
    return s.kind == SourceKind::peer || all_out || limits.hard_window_bytes != 0;
}

// Whatever the server gave for tokens has arrived by now. ALL_OUT overtakes the blocks that were given before it.
bool Download::Impl::quiet(MonoTime now, const Source& s) const {
    const Duration enough = std::max<Duration>(2 * s.min_rtt + std::chrono::milliseconds(50), kTick);
    return s.incoming.empty() && now - std::max(s.last_byte, tokens.sent) >= enough;
}

std::size_t Download::Impl::pipeline(const Source& s) const {
    if (s.stalled) return 1;
    return s.pipeline(geometry.block_bytes(), s.kind == SourceKind::server ? kServerSlack : kPeerSlack, kMaxPipeline);
}

bool Download::Impl::can_ask(MonoTime now, const Source& s, BlockIndex block) const {
    return in_hard_window(block) && (s.kind == SourceKind::server || s.has.test(block)) && !s.refuses(block, now) &&
           !s.asked.contains(block.v) && !s.incoming.contains(block.v);
}

void Download::Impl::send_request(MonoTime now, Source& s, BlockIndex block) {
    Pending& p = tracker.open(block);
    const std::uint64_t mask = tracker.plan_nodes(block, cache);
    p.sources.push_back(s.id);
    slow.erase(block.v);
    s.asked[block.v] = Asked{now, mask, false};
    if (!s.owes_since) s.owes_since = now;
    update_meter(now, s);
    act(SendRequest{s.id, Request{Handle{}, block, cache.covered_blocks(), mask, false}});
}

std::optional<BlockIndex> Download::Impl::choose_replacement(MonoTime now, Source& s) {
    if (s.stalled) return std::nullopt;
    for (const std::uint32_t b : slow) {
        const Pending* p = tracker.find(BlockIndex{b});
        if (p != nullptr && p->sources.size() < limits.end_game_sources && can_ask(now, s, BlockIndex{b}))
            return BlockIndex{b};
    }
    return std::nullopt;
}

// While it gives any: only what tokens cannot bring.
std::optional<BlockIndex> Download::Impl::choose_for_server(MonoTime now, Source& s) {
    for (const std::uint32_t b : lost)
        if (!tracker.taken().test(BlockIndex{b}) && can_ask(now, s, BlockIndex{b})) return BlockIndex{b};
    std::optional<BlockIndex> best;
    MonoTime oldest = now;
    for (const auto& [block, since] : starving) {
        const BlockIndex b{block};
        if (best && since >= oldest) continue;
        const bool on_a_peer = std::any_of(sources.begin(), sources.end(), [&](const auto& other) {
            return other.second.kind == SourceKind::peer && !other.second.cut && other.second.has.test(b);
        });
        const Duration patience = on_a_peer ? limits.stall_time : limits.stall_time / 2;
        if (now - since < patience || tracker.taken().test(b) || !can_ask(now, s, b)) continue;
        best = b;
        oldest = since;
    }
    return best || by_number(s) ? best : pick_far_from_tokens(now, s);
}

// Tokens bring the lowest blocks that nobody has yet. With nobody to share with, a reader far above them is served by number.
std::optional<BlockIndex> Download::Impl::pick_far_from_tokens(MonoTime now, Source& s) {
    const std::uint64_t near = given_end + 2 * std::uint64_t{limits.max_any_tokens};
    if (readers.empty() || readers.back() < near || helped()) return std::nullopt;
    Picker::Query q;
    q.taken = &tracker.taken();
    q.end = cache.covered_blocks();
    q.may = [&](BlockIndex b) { return b.v >= near && can_ask(now, s, b); };
    return pick_for_readers(q);
}

std::optional<BlockIndex> Download::Impl::pick_for_readers(Picker::Query& q) {
    const bool only = std::exchange(q.window_only, true);
    const std::uint64_t window = std::max<std::uint64_t>(1, limits.window_bytes / geometry.block_bytes());
    std::optional<BlockIndex> found;
    for (std::size_t i = 0; i < std::min(readers.size(), kMaxReaders) && !found; ++i) {
        turn = (turn + 1) % readers.size();
        q.window_begin = readers[turn];
        q.window_end = q.window_begin + window;
        found = picker.pick(q);
    }
    q.window_only = only;
    q.window_begin = q.window_end = 0;
    return found;
}

std::optional<BlockIndex> Download::Impl::pick_in_hard_windows(Picker::Query& q) {
    std::optional<BlockIndex> found;
    for (std::size_t i = 0; i < std::min(readers.size(), kMaxReaders) && !found; ++i) {
        turn = (turn + 1) % readers.size();
        std::tie(q.begin, q.end) = hard_window(readers[turn]);
        found = picker.pick(q);
    }
    return found;
}

// Nothing is left that nobody was asked for: the same block from a second and third source, the oldest request first.
std::optional<BlockIndex> Download::Impl::choose_end_game(MonoTime now, Source& s) {
    const bool final_part = cache.covered_blocks() == geometry.block_count() && limits.hard_window_bytes == 0 &&
                            tracker.taken().all();
    if (!final_part || s.stalled || (s.kind == SourceKind::server && !all_out)) return std::nullopt;
    std::optional<BlockIndex> best;
    MonoTime oldest = now;
    for (const auto& [b, p] : tracker.all()) {
        const BlockIndex block{b};
        if (p.held || p.sources.empty() || p.sources.size() >= limits.end_game_sources || !can_ask(now, s, block)) continue;
        const auto first = sources.find(p.sources.front());
        if (first == sources.end()) continue;
        const auto asked = first->second.asked.find(b);
        if (asked == first->second.asked.end() || asked->second.at >= oldest) continue;
        // Younger than it takes here anyway: the first source is not late yet.
        const Duration here = s.meter.known() ? at_rate(geometry.block_bytes(), s.meter.rate()) : kTick;
        if (now - asked->second.at < s.min_rtt + here) continue;
        oldest = asked->second.at;
        best = block;
    }
    return best;
}

std::optional<BlockIndex> Download::Impl::choose(MonoTime now, Source& s) {
    if (const auto b = choose_replacement(now, s)) return b;
    if (!by_number(s)) return choose_for_server(now, s);
    if (s.kind == SourceKind::server && tokens.unseen > 0) {
        if (!quiet(now, s)) return choose_for_server(now, s);
        tokens.unseen = 0;
    }
    if (!s.dry && !tracker.taken().all()) {
        Picker::Query q;
        q.taken = &tracker.taken();
        q.has = s.kind == SourceKind::server ? nullptr : &s.has;
        std::tie(q.begin, q.end) = hard_window(0);
        // From the server members that read at the same place must ask for different blocks, and pass them on; it gets
        // the reader's next one only when that is late. With nobody to pass on to, order is all that counts.
        const bool spread = s.kind == SourceKind::server && helped();
        if (spread)
            if (const auto b = choose_for_server(now, s)) return b;
        bool kept_back = false;  // refused for now: a search that is worth repeating
        q.may = [&](BlockIndex b) {
            const bool may = can_ask(now, s, b);
            kept_back = kept_back || !may;
            return may;
        };
        q.holders = [&](BlockIndex b) {
            return static_cast<std::size_t>(std::count_if(sources.begin(), sources.end(), [&](const auto& other) {
                return other.second.kind == SourceKind::peer && !other.second.cut && other.second.has.test(b);
            }));
        };
        if (!readers.empty() && !spread)
            if (const auto b = pick_for_readers(q)) return b;
        if (const auto b = limits.hard_window_bytes == 0 || readers.empty() ? picker.pick(q) : pick_in_hard_windows(q)) return b;
        s.dry = !kept_back;
    }
    return choose_end_game(now, s);
}

bool Download::Impl::ask_one(MonoTime now, Source& s) {
    if (s.cut || now < s.not_before || s.outstanding() >= pipeline(s)) return false;
    const std::optional<BlockIndex> block = choose(now, s);
    // Memory bounds new blocks; a second request for one on the way is bounded by end_game_sources.
    if (!block || (!tracker.all().contains(block->v) && committed() >= max_blocks()) || !reserve()) return false;
    send_request(now, s, *block);
    return true;
}

void Download::Impl::watch_readers(MonoTime now) {
    std::erase_if(starving, [&](const auto& b) { return tracker.taken().test(BlockIndex{b.first}); });
    for (std::size_t i = 0; i < std::min(readers.size(), kMaxReaders); ++i) {
        watched = (watched + 1) % readers.size();
        const std::uint64_t next = have.next_clear(readers[watched]);
        if (next >= cache.covered_blocks()) continue;
        const BlockIndex block{static_cast<std::uint32_t>(next)};
        if (!tracker.taken().test(block) && in_hard_window(block)) starving.try_emplace(block.v, now);
    }
}

void Download::Impl::plan_tokens(MonoTime now) {
    Source* s = server();
    if (s == nullptr || by_number(*s) || tracker.taken().all() || now < s->not_before) return;
    const std::size_t room = max_blocks() > committed() - tokens.unseen ? max_blocks() - (committed() - tokens.unseen) : 0;
    const std::size_t most = std::min({room, std::size_t{limits.max_any_tokens}, max_blocks() / 2 + 1});
    auto target = static_cast<std::uint32_t>(std::min(pipeline(*s), most));
    if (memory_short != 0 && target > tokens.unseen) {
        if (!reserve()) return;
        target = tokens.unseen + 1;
    }
    // What the server holds is a guess after it used some; when nothing comes for long, all it gave has arrived.
    const bool renew = target > 0 && quiet(now, *s) && (!tokens.exact || level_changed);
    if (renew) tokens.unseen = 0;
    if (tokens.unseen >= target || (target - tokens.unseen) * 4 < target) return;
    const std::uint32_t more = target - tokens.unseen;
    const bool path = !std::exchange(tokens.path_asked, true);
    tokens.exact = tokens.unseen == 0;
    tokens.may_come += more;
    tokens.unseen = target;
    tokens.sent = now;
    level_changed = false;
    act(SendAny{s->id, static_cast<std::uint8_t>(more), level, path});
}

void Download::Impl::plan(MonoTime now) {
    if (failed || finished) return;
    latest = std::max(latest, now);
    settle_all(now);
    if (finished) return;
    if (!reserved.empty()) reserved.resize(std::min(reserved.size(), unbuffered()));
    watch_readers(now);

    // The fastest chooses first, so what readers wait for goes to it; one block a round, so all begin at once.
    std::vector<Source*> order;
    for (auto& [id, s] : sources)
        if (!s.cut) order.push_back(&s);
    std::stable_sort(order.begin(), order.end(), [](const Source* a, const Source* b) {
        return a->meter.rate() > b->meter.rate();
    });
    while (!order.empty()) std::erase_if(order, [&](Source* s) { return !ask_one(now, *s); });
    plan_tokens(now);
}

void Download::Impl::check_source(MonoTime now, Source& s) {
    if (s.stalled && s.kind == SourceKind::peer && s.owes_since && now - *s.owes_since >= limits.request_timeout)
        return cut(s, Errc::stalled, "nothing that was asked for came within the time allowed");
    if (s.asked.empty() && s.incoming.empty()) return;
    MonoTime oldest = now;
    double left = 0;
    for (const auto& [b, a] : s.asked) {
        oldest = std::min(oldest, a.at);
        const auto in = s.incoming.find(b);
        left += geometry.block_length(BlockIndex{b}) - (in == s.incoming.end() ? 0U : in->second.received);
    }
    for (const auto& [b, in] : s.incoming)
        if (in.given && !in.discard) {
            oldest = std::min(oldest, in.at);
            left += in.length - in.received;
        }
    if (left <= 0) return;  // only what is thrown away
    const Duration age = now - oldest;
    if (age < limits.stall_time) return;

    const bool silent = now - std::max(s.last_byte, oldest) >= limits.stall_time;
    bool far_slower = false;
    for (const auto& [id, other] : sources)
        if (id != s.id && !other.cut && !other.stalled && other.meter.known())
            far_slower = far_slower || at_rate(left, s.meter.rate()) >
                                           kFarSlower * (limits.stall_time / kFarSlower + other.min_rtt +
                                                         at_rate(left, other.meter.rate()));
    // One byte a second is not silence. Nobody else may have a rate yet; then twice the time allowed to one request.
    const bool trickles = at_rate(left, s.meter.rate()) > 2 * limits.request_timeout;
    if (!silent && !far_slower && !trickles) return;

    if (!s.stalled) {
        ++s.stats.stalls;
        s.stalled = true;
        s.backoff = std::clamp<Duration>(2 * s.backoff, limits.stall_time, kMaxStallBackoff);
        s.not_before = now + s.backoff;
    }
    // What has begun may still win; what has not is free for others at once. Where nobody else has it, it stays.
    std::vector<BlockIndex> move;
    const auto elsewhere = [&](BlockIndex b) {
        return std::any_of(sources.begin(), sources.end(), [&](const auto& o) {
            return o.first != s.id && !o.second.cut && !o.second.stalled && can_ask(now, o.second, b);
        });
    };
    for (const auto& [b, a] : s.asked) {
        if (!a.begun && elsewhere(BlockIndex{b}))
            move.push_back(BlockIndex{b});
        else
            slow.insert(b);
    }
    for (const auto& [b, in] : s.incoming)
        if (!in.discard) slow.insert(b);
    for (const BlockIndex b : move) {
        stop_asking(now, s, b);
        lose(b, s);
        // Before everything is out only a token or this brings it from the server.
        if (tracker.find(b) == nullptr) lost.insert(b.v);
    }
}

void Download::Impl::find_stalled(MonoTime now) {
    for (auto& [id, s] : sources)
        if (!s.cut) {
            s.meter.tick(now);
            check_source(now, s);
        }
    std::vector<std::pair<BlockIndex, bool>> late;
    for (auto& [b, p] : tracker.all()) {
        if (!p.held || now - p.held->since < limits.stall_time) continue;
        if (p.nodes_from) {
            const Source* s = source(*p.nodes_from);
            const auto asked = s == nullptr ? decltype(s->nodes_asked.end()){} : s->nodes_asked.find(b);
            if (s != nullptr && asked != s->nodes_asked.end() && now - asked->second.at < limits.stall_time) continue;
            p.nodes_tried.push_back(*p.nodes_from);
            p.nodes_from.reset();
        }
        late.emplace_back(BlockIndex{b}, false);
    }
    // Whoever was to bring their nodes is too slow: from somebody else, relying on nobody.
    for (const auto& [b, rely] : late) ask_nodes(now, b, rely);
}

void Download::tick(MonoTime now) {
    Impl& d = *impl_;
    if (d.failed || d.finished) return;
    d.latest = d.ticked = now;
    d.find_stalled(now);
    for (auto& [id, s] : d.sources)
        if (std::erase_if(s.refused, [now](const auto& r) { return r.second <= now; }) != 0) s.dry = false;
    d.plan(now);
}

MonoTime Download::next_deadline() const {
    const Impl& d = *impl_;
    const bool idle = d.failed || d.finished || d.sources.empty();
    return d.ticked + (idle ? Duration{std::chrono::hours(1)} : kTick);
}

}  // namespace mssl
