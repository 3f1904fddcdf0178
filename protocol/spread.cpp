#include "protocol/spread.h"

#include <algorithm>
#include <deque>
#include <set>
#include <tuple>
#include <unordered_map>

#include "protocol/frame.h"

namespace mssl {

namespace {

// Before anything was measured: a progress frame comes once a second, and the block itself has to cross.
constexpr Duration kFirstExpectedReport = std::chrono::seconds(5);
// A progress frame a second makes everything below this noise …
constexpr Duration kMinExpectedReport = std::chrono::seconds(2);
// … and beyond this nobody would wait for it.
constexpr Duration kMaxExpectedReport = std::chrono::seconds(60);

struct Taker {
    Bitmap has;                // given to, sent to, or reported by bitmap: one bit a (member, block)
    std::uint64_t floor = 0;   // it has every block below
    std::uint64_t count = 0;   // its last have_count
    std::uint64_t given = 0;
    std::uint8_t tokens = 0;
    std::uint8_t level = 0;
    bool slow = false;         // sat on a block: the last to be given more
    std::optional<MonoTime> unreported;  // the first give since its count last grew
};

struct Given {
    TakerId taker;
    BlockIndex block;
    MonoTime at;
    std::uint64_t count;  // what the taker had reported then
};

}  // namespace

struct Spread::Impl {
    explicit Impl(Geometry g) : geometry(g), out(g.block_count()) {}

    using Rank = std::tuple<bool, int, std::uint64_t, std::uint64_t>;  // slow, −level, given, id: best first

    static Rank rank_of(TakerId id, const Taker& t) { return {t.slow, -int{t.level}, t.given, id.v}; }
    // Changes a taker and keeps its place among those who wait for blocks.
    template <class F>
    void change(TakerId id, Taker& t, F f) {
        ready.erase(rank_of(id, t));
        f(t);
        if (t.tokens > 0) ready.insert(rank_of(id, t));
    }

    static bool holds(const Taker& t, BlockIndex b) { return b.v < t.floor || t.has.test(b); }
    bool held_by_other(BlockIndex b, TakerId except) const {
        return std::any_of(takers.begin(), takers.end(),
                           [&](const auto& t) { return t.first != except.v && holds(t.second, b); });
    }

    // First block that was never given, or was lost; blocks beyond what is available are not there yet.
    std::optional<BlockIndex> fresh() {
        first_fresh = out.next_clear(first_fresh);
        if (first_fresh >= available) return std::nullopt;
        return BlockIndex{static_cast<std::uint32_t>(first_fresh)};
    }
    void lose(BlockIndex b) {
        out.clear(b);
        first_fresh = std::min<std::uint64_t>(first_fresh, b.v);
    }
    void expire(MonoTime now);

    Geometry geometry;
    std::uint64_t available = 0;
    Bitmap out;
    std::uint64_t first_fresh = 0;  // everything below is out
    std::unordered_map<std::uint64_t, Taker> takers;
    std::set<Rank> ready;           // takers with tokens
    std::deque<Given> waiting;      // gives that nobody has confirmed, oldest first
    Duration expected = kFirstExpectedReport;
};

// A block that its taker does not report after twice the expected time is fresh again: it may have left the server, but
// nobody else can count on it.
void Spread::Impl::expire(MonoTime now) {
    while (!waiting.empty() && now - waiting.front().at > 2 * expected) {
        const Given g = waiting.front();
        waiting.pop_front();
        const auto it = takers.find(g.taker.v);
        if (it == takers.end() || it->second.count > g.count || held_by_other(g.block, g.taker)) continue;
        change(g.taker, it->second, [&](Taker& t) {
            t.slow = true;
            t.has.clear(g.block);
        });
        lose(g.block);
    }
}

Spread::Spread(Geometry geometry) : impl_(std::make_unique<Impl>(geometry)) {}
Spread::~Spread() = default;

void Spread::set_available(std::uint64_t blocks) {
    impl_->available = std::max(impl_->available, std::min(blocks, impl_->geometry.block_count()));
}

void Spread::add_taker(TakerId id, MonoTime) {
    Taker t;
    t.has = Bitmap(impl_->geometry.block_count());
    impl_->takers.emplace(id.v, std::move(t));
}

void Spread::remove_taker(TakerId id, MonoTime) {
    const auto it = impl_->takers.find(id.v);
    if (it == impl_->takers.end()) return;
    impl_->ready.erase(Impl::rank_of(id, it->second));
    const Taker gone = std::move(it->second);
    impl_->takers.erase(it);

    std::uint64_t safe = 0;  // somebody who stays has everything below
    for (const auto& [other, t] : impl_->takers) safe = std::max(safe, t.floor);
    for (std::uint64_t i = safe; i < gone.floor || i < gone.has.size(); ++i) {
        if (i >= gone.floor) i = gone.has.next_set(i);
        if (i >= impl_->geometry.block_count()) break;
        const BlockIndex b{static_cast<std::uint32_t>(i)};
        if (impl_->out.test(b) && !impl_->held_by_other(b, id)) impl_->lose(b);
    }
}

void Spread::on_bitmap(TakerId id, const Bitmap& have, MonoTime now) {
    const auto it = impl_->takers.find(id.v);
    if (it == impl_->takers.end() || have.size() != impl_->geometry.block_count()) return;
    for (const BlockRange& r : have.ranges()) {
        it->second.has.set_range(r);
        impl_->out.set_range(r);
    }
    on_count(id, have.count(), now);
}

void Spread::on_count(TakerId id, std::uint64_t have_count, MonoTime now) {
    const auto it = impl_->takers.find(id.v);
    if (it == impl_->takers.end()) return;
    Taker& t = it->second;
    if (have_count <= t.count) return;
    t.count = std::min(have_count, impl_->geometry.block_count());
    if (t.unreported) {
        const Duration took = now - *t.unreported;
        impl_->expected = std::clamp((3 * impl_->expected + took) / 4, kMinExpectedReport, kMaxExpectedReport);
        t.unreported.reset();
    }
    // As many as are out at all, and out is a prefix: it has exactly those.
    const std::uint64_t prefix = impl_->out.next_clear(impl_->first_fresh);
    if (impl_->out.count() == prefix && t.count >= prefix) t.floor = std::max(t.floor, prefix);
    impl_->change(id, t, [](Taker& c) { c.slow = false; });
}

void Spread::on_tokens(TakerId id, std::uint8_t tokens, std::uint8_t level, MonoTime) {
    const auto it = impl_->takers.find(id.v);
    if (it == impl_->takers.end()) return;
    impl_->change(id, it->second, [&](Taker& t) {
        t.tokens = std::min(tokens, kMaxAnyTokens);
        t.level = std::min<std::uint8_t>(level, 3);
    });
}

void Spread::on_sent(TakerId id, BlockIndex block, MonoTime) {
    const auto it = impl_->takers.find(id.v);
    if (it != impl_->takers.end()) it->second.has.set(block);
    impl_->out.set(block);
}

std::optional<Spread::Give> Spread::next(MonoTime now) {
    if (!all_out()) impl_->expire(now);
    if (impl_->ready.empty()) return std::nullopt;
    const std::optional<BlockIndex> block = impl_->fresh();
    if (!block) return std::nullopt;
    for (const Impl::Rank& rank : impl_->ready) {
        const TakerId id{std::get<3>(rank)};
        Taker& taker = impl_->takers.at(id.v);
        if (Impl::holds(taker, *block)) continue;
        impl_->change(id, taker, [&](Taker& t) {
            --t.tokens;
            ++t.given;
            t.has.set(*block);
            if (!t.unreported) t.unreported = now;
        });
        impl_->out.set(*block);
        impl_->waiting.push_back({id, *block, now, taker.count});
        return Give{id, *block};
    }
    return std::nullopt;
}

bool Spread::all_out() const { return impl_->out.all(); }
std::uint64_t Spread::given() const { return impl_->out.count(); }

}  // namespace mssl
