// A Download whose sources are played by hand.
#pragma once

#include <criterion/criterion.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "protocol/download.h"

namespace mssl::test {

using namespace std::chrono_literals;

inline constexpr SourceId kServer{1}, kPeer{2}, kOther{3};

struct Heap final : BlockBuffers {
    std::shared_ptr<std::uint8_t[]> get(std::size_t n) override {
        ++taken;
        return empty ? nullptr : std::shared_ptr<std::uint8_t[]>(new std::uint8_t[n]);
    }
    int taken = 0;
    bool empty = false;
};

struct Fixture {
    explicit Fixture(std::uint64_t length = 8 * std::uint64_t{kMinBlockBytes}, DownloadLimits limits = {})
        : geometry(length, kMinBlockBytes), data(length), download(geometry, ObjectId{}, heap, limits) {
        for (std::size_t i = 0; i < length; ++i) data[i] = static_cast<std::uint8_t>(i * 31 + i / 65536);
        for (std::uint32_t i = 0; i < geometry.block_count(); ++i) tree.append(hash_block(bytes(i)));
    }
    View bytes(std::uint32_t i) const {
        return View(data).subspan(geometry.block_offset(BlockIndex{i}), geometry.block_length(BlockIndex{i}));
    }
    Bitmap all() const {
        Bitmap b(geometry.block_count());
        b.set_all();
        return b;
    }
    void head(std::uint64_t blocks) {
        Head h;
        h.object = ObjectId{};
        h.length = geometry.length();
        h.block_bytes = kMinBlockBytes;
        h.final_head = blocks == geometry.block_count();
        h.leaves = h.final_head ? geometry.leaf_count() : blocks * geometry.leaves_per_block();
        h.peaks = tree.peaks(blocks);
        download.on_head(now, h);
        drain();
    }
    void head() { head(geometry.block_count()); }
    void server(bool all_out = false) {
        download.add_source(now, kServer, SourceKind::server);
        drain();
        if (all_out) download.on_all_out(now);
        drain();
    }
    void peer(SourceId id) {
        download.add_source(now, id, SourceKind::peer);
        download.on_have(now, id, all());
        drain();
    }
    void drain() {
        for (auto& a : download.take_actions()) {
            if (const auto* r = std::get_if<SendRequest>(&a)) requests.push_back(*r);
            else if (const auto* t = std::get_if<SendAny>(&a)) tokens.push_back(*t);
            else if (const auto* c = std::get_if<SendCancel>(&a)) cancels.push_back(*c);
            else if (const auto* b = std::get_if<BlockReady>(&a)) {
                const VerifiedBlock v = download.take_block(b->block);
                cr_assert(std::ranges::equal(v.view(), bytes(b->block.v)));
                ready.push_back(b->block.v);
            } else if (const auto* x = std::get_if<CutSource>(&a)) cuts.push_back(*x);
            else if (std::holds_alternative<Finished>(a)) ++finished;
            else ++failed;
        }
    }
    // All requests that were made since; serving them may make new ones.
    std::vector<SendRequest> take() { return std::exchange(requests, {}); }
    BlockFrame frame(std::uint32_t i, std::uint64_t mask, std::uint64_t head_blocks) {
        const auto nodes = collect_nodes(BlockIndex{i}, mask, head_blocks, [&](NodePosition p) { return tree.node(p); });
        cr_assert(nodes.has_value());
        return {Handle{1}, BlockIndex{i}, geometry.block_length(BlockIndex{i}), head_blocks, mask, *nodes};
    }
    void block(SourceId id, const BlockFrame& f) {
        download.on_block(now, id, f);
        drain();
    }
    bool chunk(SourceId id, std::uint32_t i, View what, std::uint32_t offset) {
        const DataHeader h{Handle{1}, BlockIndex{i}, offset};
        auto place = download.slot(now, id, h, what.size());
        if (!place) return drain(), false;
        if (!place->empty()) std::ranges::copy(what, place->begin());
        download.on_data(now, id, h, place->size());
        drain();
        return true;
    }
    void send(SourceId id, std::uint32_t i, View what) {
        const std::size_t half = what.size() / 2;
        if (half > 0 && !chunk(id, i, what.first(half), 0)) return;
        chunk(id, i, what.subspan(half), static_cast<std::uint32_t>(half));
    }
    void serve(const SendRequest& r) {
        BlockFrame f = frame(r.request.block.v, r.request.nodes, r.request.head_blocks);
        if (r.request.nodes_only) f.length = 0;
        block(r.source, f);
        if (f.length > 0) send(r.source, r.request.block.v, bytes(r.request.block.v));
    }
    void serve_all() {
        for (int guard = 0; guard < 1000 && !requests.empty(); ++guard)
            for (const SendRequest& r : take()) serve(r);
    }
    void pass(Duration d) {
        for (Duration t{}; t < d; t += 100ms) {
            now = now + 100ms;
            download.tick(now);
            drain();
        }
    }
    Errc cut_for(SourceId id) const {
        for (const CutSource& c : cuts)
            if (c.source == id) return c.why;
        return Errc::ok;
    }

    Geometry geometry;
    Bytes data;
    MerkleTree tree;
    Heap heap;
    Download download;
    MonoTime now{1s};
    std::vector<SendRequest> requests;
    std::vector<SendCancel> cancels;
    std::vector<SendAny> tokens;
    std::vector<CutSource> cuts;
    std::vector<std::uint32_t> ready;
    int finished = 0, failed = 0;
};

}  // namespace mssl::test
