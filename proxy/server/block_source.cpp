#include "proxy/server/block_source.h"

#include <algorithm>
#include <utility>

#include "proxy/core/log.h"
#include "proxy/server/hosted_object.h"

namespace mssl::proxy {

// ── keeping ──

void BlockSource::open_spool(std::vector<Hash> nodes) {
    if (!parts_.spool) return;
    const auto job = [spool = parts_.spool, object = parts_.object, geometry = parts_.geometry,
                      nodes = std::move(nodes)]() -> Result<std::shared_ptr<ObjectFile>> {
        if (std::shared_ptr<ObjectFile> file = spool->find(object)) {
            const auto held = file->nodes();
            // What the disk holds is believed only where it is the tree that was signed.
            const bool ours = file->geometry() == geometry &&
                              std::all_of(held.begin(), held.end(), [&](const std::pair<NodePosition, Hash>& n) {
                                  return n.first.level != 0 || (n.first.index < nodes.size() && nodes[n.first.index] == n.second);
                              });
            if (ours) return file;
            file.reset();
            spool->remove(object);
        }
        return spool->create(object, geometry);
    };
    parts_.runtime.workers.submit(*parts_.loop, job, [weak = weak_from_this()](Result<std::shared_ptr<ObjectFile>> file) {
        const auto self = weak.lock();
        if (!self || self->closed_) return;
        if (file)
            self->spool_is(std::move(*file));
        else
            self->give_up_spool(file.error());
    });
}

void BlockSource::spool_is(std::shared_ptr<ObjectFile> file) {
    spool_state_ = Spool::open;
    if (!settling_) pinned_ = std::move(file);
    file.reset();
    std::deque<Write> writes = std::exchange(unopened_, {});
    for (Write& w : writes) write(std::move(w));
}

std::shared_ptr<ObjectFile> BlockSource::file() const {
    if (pinned_) return pinned_;
    return spool_state_ == Spool::open ? parts_.spool->find(parts_.object) : nullptr;
}

// Bytes still flow (DESIGN 3, never worse): from memory, and what is no longer there from the origin again. What is stored stays
// readable until the spool needs the room.
void BlockSource::give_up_spool(const Error& why) {
    const MonoTime now = parts_.loop->now();
    if (now < no_spool_until_) return;
    no_spool_until_ = now + kSpoolRetry;
    log::warning("object is not spooled", {{"object", parts_.object.hex()}, {"error", why.to_string()}});
    pinned_.reset();
    for (const Write& w : std::exchange(unopened_, {})) wrote(w.block, w.length);
    if (spool_state_ == Spool::opening) spool_state_ = Spool::open;  // to be made at the next write
}

void BlockSource::keep(BlockIndex block, BlockData data, std::uint32_t length, const Hash& node) {
    if (closed_) return;
    cache_->put(parts_.object, block, data, parts_.geometry.block_bytes());
    if (spool_state_ == Spool::none || parts_.loop->now() < no_spool_until_) return;
    // The cold read waits for room. What is read again does not: it can be had once more.
    if (settling_ && backlog_ >= kMaxSpoolBacklog) return;
    if (!unwritten_.emplace(block.v, data).second) return;
    backlog_ += length;
    Write w{block, std::move(data), length, node};
    if (spool_state_ == Spool::opening)
        unopened_.push_back(std::move(w));
    else
        write(std::move(w));
}

void BlockSource::write(Write w) {
    std::shared_ptr<ObjectFile> to = pinned_;
    if (!to) {
        // Evicted: what is read again begins a new file. Stopped: writing is tried again.
        Result<std::shared_ptr<ObjectFile>> made = parts_.spool->create(parts_.object, parts_.geometry);
        if (!made) {
            wrote(w.block, w.length);
            if (made.code() != Errc::busy) give_up_spool(made.error());  // busy: it is just being evicted
            return;
        }
        to = *std::move(made);
    }
    to->write(w.block, std::move(w.data), w.length, w.node, *parts_.loop,
              [weak = weak_from_this(), block = w.block, length = w.length](const Status& done) {
                  const auto self = weak.lock();
                  if (!self || self->closed_) return;
                  self->wrote(block, length);
                  // Evicted between the look and the write: nothing is wrong with the spool.
                  if (!done && done.code() != Errc::no_such_object) self->give_up_spool(done.error());
              });
}

void BlockSource::wrote(BlockIndex block, std::uint32_t length) {
    unwritten_.erase(block.v);
    backlog_ -= std::min<std::size_t>(backlog_, length);
    if (settling_) settle();
    if (backlog_ >= kMaxSpoolBacklog || room_.empty()) return;
    for (const auto& go : std::exchange(room_, {})) go();
}

void BlockSource::when_room(std::function<void()> go) {
    if (closed_ || backlog_ < kMaxSpoolBacklog)
        go();
    else
        room_.push_back(std::move(go));
}

void BlockSource::settle() {
    settling_ = true;
    if (backlog_ != 0) return;
    if (pinned_) cache_->drop(parts_.object);
    pinned_.reset();
}

// ── reading ──

void BlockSource::read(BlockIndex block, Done done) {
    if (closed_) return done(fail(Errc::withdrawn));
    if (const auto it = unwritten_.find(block.v); it != unwritten_.end()) return done(it->second);
    if (BlockData cached = cache_->find(parts_.object, block)) return done(std::move(cached));
    std::vector<Done>& waiting = waiting_[block.v];
    waiting.push_back(std::move(done));
    if (waiting.size() > 1) return;
    const std::shared_ptr<ObjectFile> from = file();
    if (!from) return read_again(block);
    from->read(block, *parts_.loop, [weak = weak_from_this(), block](Result<BlockData> data) {
        const auto self = weak.lock();
        if (!self || self->closed_) return;
        if (data)
            self->answer(block, data);
        else
            self->read_again(block);
    });
}

void BlockSource::read_again(BlockIndex block) {
    if (!parts_.origin) return answer(block, fail(Errc::busy, "the block is neither in memory nor on disk"));
    rereads_.push_back(block.v);
    // Later in this round, so that neighbours asked for one after another go in one request.
    if (rereads_.size() == 1)
        parts_.loop->post([weak = weak_from_this()] {
            if (const auto self = weak.lock()) self->start_rereads();
        });
}

void BlockSource::start_rereads() {
    while (!closed_ && rereading_ < kMaxRereads && !rereads_.empty()) {
        const BlockIndex first{rereads_.front()};
        std::uint32_t count = 0;
        while (!rereads_.empty() && rereads_.front() == first.v + count && count < RangeReader::kMaxRun) {
            rereads_.pop_front();
            ++count;
        }
        ++rereading_;
        parts_.origin->read(first, count, *parts_.loop,
                            [weak = weak_from_this(), first, count](Result<std::vector<BlockData>> data) {
                                const auto self = weak.lock();
                                if (!self || self->closed_) return;
                                --self->rereading_;
                                if (data && data->size() == count) {
                                    self->verify_run(first, std::move(*data));
                                } else {
                                    const Error why = data ? fail(Errc::internal, "re-read of another size") : data.error();
                                    for (std::uint32_t i = 0; i < count; ++i)
                                        self->answer(BlockIndex{first.v + i}, why);
                                }
                                self->start_rereads();
                            });
    }
}

// The origin may lie about its validator: nothing it says again is sent before it verifies.
void BlockSource::verify_run(BlockIndex first, std::vector<BlockData> data) {
    struct Item {
        BlockIndex block;
        BlockData data;
        std::uint32_t length;
        Hash node;
        bool right = false;
    };
    std::vector<Item> items;
    for (std::size_t i = 0; i < data.size(); ++i) {
        const BlockIndex block{first.v + static_cast<std::uint32_t>(i)};
        const std::optional<Hash> node = parts_.node(block);
        if (!node || !data[i]) {
            answer(block, fail(Errc::internal, "a block without node or data"));
            continue;
        }
        items.push_back({block, std::move(data[i]), parts_.geometry.block_length(block), *node});
    }
    parts_.runtime.workers.submit(
        *parts_.loop,
        [items = std::move(items)]() mutable {
            for (Item& item : items) item.right = hash_block({item.data.get(), item.length}) == item.node;
            return std::move(items);
        },
        [weak = weak_from_this()](std::vector<Item> checked) {
            const auto self = weak.lock();
            if (!self) return;
            for (Item& item : checked) {
                if (self->closed_) return;
                if (!item.right) {
                    self->answer(item.block, fail(Errc::withdrawn, "the origin's bytes of block " +
                                                                       std::to_string(item.block.v) + " do not verify"));
                    continue;
                }
                self->keep(item.block, item.data, item.length, item.node);
                self->answer(item.block, item.data);
            }
        });
}

void BlockSource::answer(BlockIndex block, const Result<BlockData>& result) {
    const auto it = waiting_.find(block.v);
    if (it == waiting_.end()) return;
    const std::vector<Done> waiting = std::move(it->second);
    waiting_.erase(it);
    for (const Done& done : waiting) done(result);
}

void BlockSource::close(const Error& why) {
    if (std::exchange(closed_, true)) return;
    auto waiting = std::exchange(waiting_, {});
    rereads_.clear();
    unopened_.clear();
    unwritten_.clear();
    cache_->drop(parts_.object);
    pinned_.reset();
    for (const auto& [_, all] : waiting)
        for (const Done& done : all) done(why);
    for (const auto& go : std::exchange(room_, {})) go();
}

}  // namespace mssl::proxy
