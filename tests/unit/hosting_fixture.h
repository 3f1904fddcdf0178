// What a hosted object needs, in memory: a realm, a keeper, an origin that can be made to lie, takers that remember what they got.
#pragma once

#include <stdlib.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <functional>
#include <future>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "protocol/merkle.h"
#include "proxy/server/hosting.h"

namespace mssl::proxy::test {

struct ScratchDirectory {
    std::string path;
    ScratchDirectory() {
        std::string t = (std::filesystem::temp_directory_path() / "mssl-host-XXXXXX").string();
        path = ::mkdtemp(t.data());
    }
    ~ScratchDirectory() { std::filesystem::remove_all(path); }
};

template <class F>
std::vector<F> frames_of(const std::vector<ControlFrame>& log) {
    std::vector<F> out;
    for (const ControlFrame& f : log)
        if (const F* x = std::get_if<F>(&f)) out.push_back(*x);
    return out;
}

// Loops in threads, workers, buffers.
struct Engine {
    explicit Engine(unsigned count = 1) : loops(count), thread([this] { loops.run(); }) {}
    ~Engine() {
        loops.stop_all();
        thread.join();
        workers.stop();  // a job under way would post its result to a loop that is gone
    }
    template <class F>
    auto run(Loop& loop, F f) {
        std::packaged_task<decltype(f())()> task(std::move(f));
        auto result = task.get_future();
        loop.post([&task] { task(); });
        return result.get();
    }
    // Asks in the loop until f says yes; false after a minute.
    template <class F>
    bool eventually(Loop& loop, F f) {
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
        while (!run(loop, f)) {
            if (std::chrono::steady_clock::now() > deadline) return false;
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
        return true;
    }
    Workers workers{2};
    BufferPool buffers{std::size_t{64} << 20};
    LoopGroup loops;
    Runtime runtime{loops, workers, buffers};
    std::thread thread;
};

// Bytes that differ in every block.
inline BlockData content(const Geometry& g, BlockIndex block) {
    const std::uint32_t n = g.block_length(block);
    std::shared_ptr<std::uint8_t[]> out(new std::uint8_t[n]);
    for (std::uint32_t i = 0; i < n; ++i) out[i] = static_cast<std::uint8_t>(block.v * 131 + i % 253);
    return out;
}
inline Hash node_of(const Geometry& g, BlockIndex block) {
    return hash_block({content(g, block).get(), g.block_length(block)});
}
inline std::vector<Hash> nodes_of(const Geometry& g) {
    std::vector<Hash> out;
    for (std::uint32_t i = 0; i < g.block_count(); ++i) out.push_back(node_of(g, BlockIndex{i}));
    return out;
}

inline MemberId member_number(std::uint8_t n) {
    MemberId id;
    id.bytes.fill(n);
    return id;
}

class Keeper final : public ObjectKeeper {
public:
    void keep(const ObjectId&, const std::vector<Hash>& nodes, const SignedHead& head, Loop& loop,
              std::function<void(Status)> done) override {
        kept_nodes = nodes;
        kept_head = head.body;
        if (holds)
            held = [&loop, done] { loop.post([done] { done({}); }); };
        else
            loop.post([done, answer = answer] { done(answer); });
    }
    void withdrawn(const ObjectId&, const Error& why) override { withdrawn_for.push_back(why.code); }
    bool holds = false;
    Status answer;
    std::function<void()> held;
    std::vector<Hash> kept_nodes;
    Head kept_head;
    std::vector<Errc> withdrawn_for;
};

class Origin final : public RangeReader {
public:
    explicit Origin(Geometry g) : geometry(g) {}
    void authorize(std::vector<HeaderField>) override {}
    void read(BlockIndex first, std::uint32_t count, Loop& loop,
              std::function<void(Result<std::vector<BlockData>>)> done) override {
        ++reads;
        std::vector<BlockData> out;
        for (std::uint32_t i = 0; i < count; ++i) {
            const BlockIndex b{first.v + i};
            const std::uint32_t n = geometry.block_length(b);
            std::shared_ptr<std::uint8_t[]> copy(new std::uint8_t[n]);
            std::copy_n(content(geometry, b).get(), n, copy.get());
            if (lies_about == b.v) copy[n / 2] ^= 1;
            out.push_back(copy);
        }
        auto answer = [done, out, failure = failure] {
            if (failure) return done(*failure);
            done(out);
        };
        if (holds)
            held.push_back([&loop, answer] { loop.post(answer); });
        else
            loop.post(answer);
    }
    Geometry geometry;
    unsigned reads = 0;
    std::int64_t lies_about = -1;
    std::optional<Error> failure;
    bool holds = false;
    std::vector<std::function<void()>> held;
};

class FakeTaker final : public ObjectTaker {
public:
    explicit FakeTaker(std::uint8_t number) { own.member = member_number(number); }
    void send_control(const ControlFrame& frame) override { log.push_back(frame); }
    void send_block(const BlockFrame& frame, BlockData data, std::function<void()> sent) override {
        log.push_back(frame);
        if (frame.length > 0) {
            blocks[frame.block.v].assign(data.get(), data.get() + frame.length);
            ++times[frame.block.v];
        }
        if (holds)
            unsent.push_back(std::move(sent));
        else
            sent();
    }
    MemberId member() const override { return own.member; }
    PeerEntry entry() const override { return own; }

    template <class F>
    std::vector<F> all() const { return frames_of<F>(log); }
    PeerEntry own;
    bool holds = false;
    std::vector<ControlFrame> log;
    std::map<std::uint32_t, Bytes> blocks;
    std::map<std::uint32_t, int> times;
    std::vector<std::function<void()>> unsent;
};

// A realm and one object of it.
struct Hosts {
    explicit Hosts(std::uint64_t length, unsigned loops = 1) : geometry(Geometry::for_length(length)), engine(loops) {
        realm = Realm::open(directory.path, wall_now()).value();
        manifest.object.bytes.fill(0x5a);
        manifest.url = "http://files.example.org:80/pool/a.iso";
        manifest.validator.etag = "\"1\"";
        manifest.length = length;
        manifest.block_bytes = geometry.block_bytes();
        manifest.not_before = wall_now();
        manifest.not_after = {wall_now().unix_seconds + 86400};
        origin = std::make_shared<Origin>(geometry);
    }
    Hosting hosting(std::shared_ptr<Store> spool = nullptr) {
        return {engine.runtime, realm, std::make_shared<const SignedManifest>(sign_manifest(manifest, realm->signer_key()).value()),
                std::move(spool), origin, keeper, grace, failing};
    }
    std::shared_ptr<HostedObject> fresh(std::shared_ptr<Store> spool = nullptr) { return host_new_object(hosting(std::move(spool))); }
    Head final_head() {
        Head head;
        head.object = manifest.object;
        head.length = geometry.length();
        head.block_bytes = geometry.block_bytes();
        head.leaves = geometry.leaf_count();
        head.final_head = true;
        MerkleTree tree;
        for (const Hash& n : nodes_of(geometry)) tree.append(n);
        if (geometry.block_count() > 0) head.peaks = tree.peaks(geometry.block_count());
        return head;
    }
    Result<std::shared_ptr<HostedObject>> known(const std::vector<Hash>& nodes, std::shared_ptr<Store> spool = nullptr) {
        return host_known_object(hosting(std::move(spool)),
                                 std::make_shared<const SignedHead>(sign_head(final_head(), realm->signer_key()).value()), nodes);
    }
    // In the object's loop.
    template <class F>
    auto in(HostedObject& o, F f) {
        return engine.run(o.loop(), std::move(f));
    }
    void append(HostedObject& o, std::uint32_t from, std::uint32_t to) {
        in(o, [&] {
            for (std::uint32_t i = from; i < to; ++i) {
                const BlockIndex b{i};
                o.append(b, content(geometry, b), geometry.block_length(b), node_of(geometry, b));
            }
        });
    }
    std::pair<std::shared_ptr<FakeTaker>, TakerId> attach(HostedObject& o, std::uint8_t number) {
        auto taker = std::make_shared<FakeTaker>(number);
        const TakerId id = in(o, [&] { return o.attach(taker, Handle{number}); });
        return {taker, id};
    }
    bool eventually(HostedObject& o, std::function<bool()> f) { return engine.eventually(o.loop(), std::move(f)); }

    ScratchDirectory directory;
    Geometry geometry;
    Engine engine;
    std::shared_ptr<Realm> realm;
    Manifest manifest;
    std::shared_ptr<Keeper> keeper = std::make_shared<Keeper>();
    std::shared_ptr<Origin> origin;
    Duration grace = std::chrono::minutes(10);
    Duration failing = std::chrono::minutes(10);
};

}  // namespace mssl::proxy::test
