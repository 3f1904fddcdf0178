// Download, second part: what is true, and who lied.
#include <algorithm>

#include "protocol/download_impl.h"

namespace mssl {

void Download::Impl::completed(MonoTime now, Source& s, BlockIndex block, Incoming in) {
    s.asked.erase(block.v);
    slow.erase(block.v);

    Pending& p = tracker.open(block);
    const std::vector<SourceId> others = std::exchange(p.sources, {});
    const Hash hash = hash_block({in.buffer.get(), in.length});
    p.held = Held{s.id, std::move(in.buffer), in.length, hash, now, false};
    if (in.mask != 0) p.proof = Proof{s.id, in.mask, std::move(in.nodes), in.head_blocks};
    for (const SourceId id : others)
        if (Source* other = source(id); other != nullptr && id != s.id) stop_asking(now, *other, block);
    settle(now, block);
}

void Download::Impl::settle(MonoTime now, BlockIndex block) {
    Pending* p = tracker.find(block);
    if (p == nullptr || !p->held || block.v >= cache.covered_blocks()) return;
    const Held& held = *p->held;

    const std::optional<Hash> known = cache.node({0, block.v});
    if (known && *known != held.hash) return reject(now, block);
    if (known) return accept(block);

    if (p->proof && p->proof->head_blocks > cache.covered_blocks()) return;  // its head is still being checked
    static const std::vector<Hash> none;
    const std::uint64_t mask = p->proof ? p->proof->mask : 0;
    const Status verified = cache.verify(block, held.hash, mask, p->proof ? p->proof->nodes : none);
    if (verified) return accept(block);
    if (verified.code() == Errc::truncated) {
        if (p->nodes_from) return;
        const auto missing = Tracker::missing(block, cache, mask);
        if (missing && tracker.expected_from_other(*missing, block)) return;
        return ask_nodes(now, block, !held.alone);
    }
    if (!p->proof || p->proof->from == held.from) return reject(now, block);
    // Data of one source, nodes of another: one of them lied, and nothing here says which. So the source of the data
    // has to prove it alone; the nodes are compared with the true ones as soon as those are known.
    suspects[block.v].push_back(std::move(*p->proof));
    p->proof.reset();
    p->held->alone = true;
    p->nodes_tried.clear();
    ask_nodes(now, block, false);
}

void Download::Impl::settle_all(MonoTime now) {
    // Each round may make known what another block waits for; every round but the last verifies one.
    while (tracker.take_changed()) {
        std::vector<BlockIndex> held;
        for (const auto& [b, p] : tracker.all())
            if (p.held) held.push_back(BlockIndex{b});
        for (const BlockIndex b : held) settle(now, b);
    }
}

void Download::Impl::accept(BlockIndex block) {
    Pending& p = *tracker.find(block);
    Held held = std::move(*p.held);
    restored.confirm_path(block, cache);
    tracker.done(block);
    tracker.touch();
    have.set(block);
    lost.erase(block.v);

    VerifiedBlock out;
    out.index = block;
    out.data = std::move(held.buffer);
    out.length = held.length;
    ready.emplace(block.v, std::move(out));
    if (const auto it = sources.find(held.from); it != sources.end()) {
        it->second.stats.bytes_verified += held.length;
        bytes[static_cast<std::size_t>(it->second.kind)] += held.length;
    }
    act(BlockReady{block, held.from});
    check_suspects(block);
    if (have.all() && !std::exchange(finished, true)) {
        act(Finished{});
        suspects.clear();
    }
}

// The block is true: nodes that somebody else sent for it can be told true from false now.
void Download::Impl::check_suspects(BlockIndex block) {
    const auto it = suspects.find(block.v);
    if (it == suspects.end()) return;
    const std::vector<Proof> proofs = std::move(it->second);
    suspects.erase(it);
    for (const Proof& proof : proofs) {
        Source* s = source(proof.from);
        if (s == nullptr) continue;
        const std::vector<NodePosition> at = NodeCache::need_positions(block, proof.mask);
        for (std::size_t i = 0; i < at.size() && i < proof.nodes.size(); ++i) {
            const std::optional<Hash> known = cache.node(at[i]);
            if (!known || *known == proof.nodes[i]) continue;
            ++s->stats.blocks_rejected;
            cut(*s, Errc::bad_proof, "nodes of block " + std::to_string(block.v) + " are not those of the tree");
            break;
        }
    }
}

// The data is proven wrong, and its source alone is answerable for it.
void Download::Impl::reject(MonoTime, BlockIndex block) {
    const Held held = std::move(*tracker.find(block)->held);
    tracker.find(block)->held.reset();
    const auto it = sources.find(held.from);
    const bool given_by_server = it != sources.end() && it->second.kind == SourceKind::server;
    release(block, given_by_server);
    if (it == sources.end()) return;
    it->second.stats.bytes_wasted += held.length;
    ++it->second.stats.blocks_rejected;
    cut(it->second, Errc::bad_proof, "block " + std::to_string(block.v) + " does not verify against the head");
}

// The source of the data first: who has a verified block has its path too, and one source that proves all of it can be
// held to it. Then the server, then anybody who has the block.
Source* Download::Impl::nodes_source(BlockIndex block, const Pending& p) {
    const auto usable = [&](Source* s) {
        return s != nullptr && !s->nodes_asked.contains(block.v) &&
               std::find(p.nodes_tried.begin(), p.nodes_tried.end(), s->id) == p.nodes_tried.end();
    };
    if (p.held)
        if (Source* s = source(p.held->from); usable(s)) return s;
    if (p.held && p.held->alone) return nullptr;
    if (Source* s = server(); usable(s)) return s;
    for (auto& [id, s] : sources)
        if (!s.cut && s.kind == SourceKind::peer && s.has.test(block) && usable(&s)) return &s;
    return nullptr;
}

void Download::Impl::ask_nodes(MonoTime now, BlockIndex block, bool rely_on_others) {
    Pending* p = tracker.find(block);
    if (p == nullptr || p->nodes_from || block.v >= cache.covered_blocks()) return;
    const std::uint64_t mask = rely_on_others ? tracker.plan_nodes(block, cache) : cache.need(block);
    if (!rely_on_others) tracker.set_brought(block, cache, mask);
    if (mask == 0) return;  // what is missing is on its way with another block
    Source* s = nodes_source(block, *p);
    if (s == nullptr) {
        if (!p->held) return;
        // Nobody can prove it, so nobody can be blamed: it is fetched again, with its path.
        const auto from = sources.find(p->held->from);
        if (from != sources.end()) from->second.stats.bytes_wasted += p->held->length;
        return release(block, from != sources.end() && from->second.kind == SourceKind::server);
    }
    p->nodes_from = s->id;
    s->nodes_asked[block.v] = Asked{now, mask, false};
    act(SendRequest{s->id, Request{Handle{}, block, cache.covered_blocks(), mask, true}});
}

}  // namespace mssl
