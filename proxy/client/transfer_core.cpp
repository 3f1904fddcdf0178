#include "proxy/client/transfer_core.h"

#include "proxy/core/log.h"

namespace mssl::proxy {
namespace {

// Blocks just verified are read again at once by readers and peers; older ones come from the page cache.
constexpr std::uint64_t kRecentBytes = 8 << 20;
// Without a store nothing is fetched, or kept, further ahead of a reader than this, or than its share of this where there are several.
constexpr std::uint64_t kMemoryWindow = 16 << 20;
constexpr std::uint64_t kMinMemoryWindow = 2 << 20;  // what a delivery asks for ahead, and as much again
// DESIGN 3: an application that is gone stops its transfer within a second.
constexpr Duration kLinger = std::chrono::milliseconds(500);
// A complete or stopped object stays in the server's directory so long after its last use.
constexpr Duration kSeed = std::chrono::minutes(10);
// No buffer for a block: others give theirs back within milliseconds.
constexpr Duration kBufferRetry = std::chrono::milliseconds(20);
constexpr Duration kHousekeeping = std::chrono::milliseconds(100);
constexpr Duration kSeedHousekeeping = std::chrono::seconds(5);

}  // namespace

Transfer::Transfer(Parts parts, const Resolution& resolution)
    : parts_(std::move(parts)),
      manifest_(resolution.manifest),
      signer_(resolution.signer),
      head_der_(resolution.head->der),
      linger_(*parts_.loop, [this] { stop_fetching(); }),
      housekeeping_(*parts_.loop, [this] { housekeep(); }),
      again_(*parts_.loop, [this] {
          const auto self = shared_from_this();
          for (const auto& what : std::exchange(waiting_, {})) what();
      }) {
    DownloadLimits limits;
    if (!parts_.file) limits.hard_window_bytes = kMemoryWindow;
    FetchUser& user = *this;
    fetch_ = std::make_unique<Fetch>(*parts_.loop, parts_.self, parts_.server, parts_.banned, parts_.runtime->buffers,
                                     resolution, limits, user);
    uploads_ = std::make_shared<Uploads>(
        *parts_.loop, geometry(), parts_.limit, [this](NodePosition p) { return fetch_->download().nodes().node(p); },
        [this]() -> const Bitmap& { return fetch_->download().have(); },
        [this](BlockIndex block, std::function<void(Result<BlockData>)> done) { read_for_taker(block, std::move(done)); });
    uploads_->set_head(head_der_, resolution.head->body.blocks());
}

Transfer::~Transfer() = default;

void Transfer::start(std::function<void()> over) {
    over_ = std::move(over);
    started_ = idle_since_ = parts_.loop->now();
    Bitmap have;
    std::vector<std::pair<NodePosition, Hash>> nodes;
    if (parts_.file) {
        have = parts_.file->have();
        nodes = parts_.file->nodes();
        restored_ = have.count();
        parts_.file->set_meta(manifest_->der, head_der_, signer_.to_der());
    }
    fetch_->start(have, nodes);
    housekeeping_.start(kHousekeeping);
}

bool Transfer::can_join(const Resolution& resolution) const {
    if (resolution.realm != parts_.self->trust.id() || resolution.manifest->body.object != id()) return false;
    return state_ != State::failed && state_ != State::closed && !dropped_;
}

Transfer::ReaderId Transfer::add_reader(const Resolution& resolution) {
    linger_.stop();
    const ReaderId id = next_reader_++;
    last_read_ = parts_.loop->now();
    readers_[id];
    fetch_->update(resolution);
    go_on();
    tell_readers();
    return id;
}

void Transfer::remove_reader(ReaderId id) {
    if (readers_.erase(id) == 0) return;
    idle_since_ = parts_.loop->now();
    // One that waited in vain before it was found to be gone has lingered by that.
    if (readers_.empty() && state_ == State::fetching)
        linger_.start(std::clamp(kLinger - (idle_since_ - last_read_), Duration(1000), kLinger));
    tell_readers();
    trim_memory();
}

void Transfer::position(ReaderId id, std::uint64_t offset) {
    const auto it = readers_.find(id);
    if (it == readers_.end() || it->second.offset == offset) return;
    last_read_ = parts_.loop->now();
    it->second.offset = offset;
    tell_positions();
    if (!stored()) trim_memory();
}

void Transfer::tell_readers() {
    if (state_ == State::fetching && !stored()) fetch_->set_hard_window(memory_window());
    tell_positions();
}

void Transfer::tell_positions() {
    if (state_ != State::fetching) return;
    std::vector<std::uint64_t> offsets;
    for (const auto& [_, reader] : readers_) offsets.push_back(reader.offset);
    fetch_->set_readers(offsets);
}

void Transfer::read(ReaderId id, BlockIndex block, ReadDone done) {
    const auto it = readers_.find(id);
    if (it == readers_.end()) return;
    if (block.v >= geometry().block_count()) return done(fail(Errc::no_such_block, "beyond the object"));
    // Withdrawn is withdrawn, also what is here already.
    if (failure_) return done(*failure_);
    if (const auto m = memory_.find(block); m != memory_.end()) return done(m->second);
    if (fetch_->download().have().test(block)) {
        const std::uint32_t length = geometry().block_length(block);
        read_file(block, [self = shared_from_this(), id, block, length, done = std::move(done)](Result<BlockData> data) {
            if (data) {
                self->from_store_ += length;
                add(self->parts_.loop->counters().bytes_from_store, length);
                return done(VerifiedBytes{std::move(*data), length});
            }
            // Memory is short, which says nothing of the disk.
            if (data.code() == Errc::busy)
                return self->later([weak = std::weak_ptr(self), id, block, done] {
                    if (const auto t = weak.lock()) t->read(id, block, done);
                });
            // The store lost this block (it rotted, the disk broke, somebody truncated the file): it is fetched again.
            log::warning("a stored block is lost; it is fetched again",
                         {{"object", self->id().hex()}, {"block", block.v}, {"error", data.error().to_string()}});
            if (self->state_ != State::fetching && self->state_ != State::seeding) return done(data.error());
            self->fetch_->forget(block);
            self->go_on();
            self->tell_readers();
            self->read(id, block, done);
        });
        return;
    }
    if (state_ != State::fetching) return done(fail(Errc::cancelled, "the transfer stopped"));
    it->second.waiting.emplace(block, std::move(done));
}

// The block counts as an upload's until the last session lets go of it.
void Transfer::read_for_taker(BlockIndex block, std::function<void(Result<BlockData>)> done) {
    std::shared_ptr<void> room = parts_.memory->take(geometry().block_length(block));
    if (!room) return done(fail(Errc::busy, "too much on its way to members that do not read"));
    auto counted = [room = std::move(room), done = std::move(done)](Result<BlockData> data) {
        if (!data) return done(std::move(data));
        const std::uint8_t* bytes = data->get();
        done(BlockData(bytes, [data = std::move(*data), room](const std::uint8_t*) {}));
    };
    if (const auto it = memory_.find(block); it != memory_.end()) return counted(it->second.data);
    read_file(block, std::move(counted));
}

void Transfer::later(std::function<void()> what) {
    waiting_.push_back(std::move(what));
    if (!again_.running()) again_.start(kBufferRetry);
}

void Transfer::read_file(BlockIndex block, std::function<void(Result<BlockData>)> done) {
    if (!parts_.file) return done(fail(Errc::no_such_block, "no store"));
    parts_.file->read(block, *parts_.loop, [self = shared_from_this(), done = std::move(done)](Result<BlockData> data) {
        done(std::move(data));
    });
}

void Transfer::on_fetched(const VerifiedBlock& block, const Hash& node) {
    const VerifiedBytes bytes{block.data, block.length};
    keep(block.index, bytes);
    write(block.index, bytes, node);
    for (auto& [_, reader] : readers_) {
        const auto range = reader.waiting.equal_range(block.index);
        std::vector<ReadDone> due;
        for (auto it = range.first; it != range.second; ++it) due.push_back(std::move(it->second));
        reader.waiting.erase(range.first, range.second);
        for (ReadDone& done : due) done(bytes);
    }
    uploads_->on_verified(block.index);
    trim_memory();
}

void Transfer::keep(BlockIndex block, VerifiedBytes bytes) {
    memory_bytes_ += bytes.length;
    memory_[block] = std::move(bytes);
    memory_order_.push_back(block);
}

std::uint64_t Transfer::memory_window() const {
    return std::max(kMinMemoryWindow, kMemoryWindow / std::max<std::uint64_t>(1, readers_.size()));
}

bool Transfer::ahead_of_a_reader(std::uint64_t begin, std::uint64_t end) const {
    const std::uint64_t window = memory_window();
    return std::any_of(readers_.begin(), readers_.end(), [&](const auto& r) {
        return end > r.second.offset && begin < r.second.offset + window;
    });
}

void Transfer::trim_memory() {
    const bool on_disk = stored();
    std::uint64_t lowest = UINT64_MAX;
    for (const auto& [_, reader] : readers_) lowest = std::min(lowest, reader.offset);
    if (readers_.empty() && !on_disk) lowest = 0;
    std::vector<BlockIndex> again;
    for (std::size_t n = memory_order_.size(); n > 0; --n) {
        if (on_disk && memory_bytes_ <= kRecentBytes) break;
        const BlockIndex block = memory_order_.front();
        memory_order_.pop_front();
        const std::uint64_t begin = geometry().block_offset(block);
        const std::uint64_t end = begin + geometry().block_length(block);
        // While there are sources a reader that is far behind has what it passed over fetched again: it holds up no other.
        const bool far_ahead = state_ == State::fetching && !readers_.empty() && !ahead_of_a_reader(begin, end);
        const bool wanted = end > lowest && !far_ahead;
        if (on_disk ? writing_.contains(block) : wanted || memory_bytes_ <= kRecentBytes) {
            memory_order_.push_back(block);
            continue;
        }
        memory_bytes_ -= geometry().block_length(block);
        memory_.erase(block);
        if (on_disk || (parts_.file && parts_.file->have().test(block))) continue;
        if (end > lowest)
            again.push_back(block);
        else
            dropped_ = true;
    }
    for (const BlockIndex block : again) fetch_->forget(block);
}

void Transfer::write(BlockIndex block, VerifiedBytes bytes, const Hash& node) {
    if (!stored()) return;
    writing_.insert(block);
    fetch_->set_writing(writing_.size());
    parts_.file->write(block, bytes.data, bytes.length, node, *parts_.loop,
                       [self = weak_from_this(), block](Status written) {
                           const std::shared_ptr<Transfer> t = self.lock();
                           if (!t) return;
                           t->writing_.erase(block);
                           t->fetch_->set_writing(t->writing_.size());
                           if (!written) t->lose_store(written.error());
                           t->trim_memory();
                       });
}

void Transfer::lose_store(const Error& why) {
    if (store_failed_) return;
    store_failed_ = true;
    log::warning("the store failed; the download goes on in memory",
                 {{"object", id().hex()}, {"error", why.to_string()}});
    if (state_ == State::fetching) fetch_->set_hard_window(memory_window());
}

void Transfer::on_fetch_finished() {
    if (state_ != State::fetching) return;
    state_ = State::seeding;
    idle_since_ = parts_.loop->now();
    linger_.stop();
    if (stored()) parts_.file->sync(*parts_.loop, [](Status) {});
    log_end("complete");
    // Called from inside the fetch: it ends what it is doing first.
    parts_.loop->post([self = weak_from_this()] {
        if (const auto t = self.lock(); t && t->state_ == State::seeding) t->fetch_->stop();
    });
}

void Transfer::on_fetch_failed(const Error& why) {
    if (state_ == State::failed || state_ == State::closed) return;
    state_ = State::failed;
    failure_ = why;
    log_end(why.to_string());
    uploads_->close_all(why.code == Errc::withdrawn ? Errc::withdrawn : Errc::no_such_object);
    for (auto& [_, reader] : readers_) {
        auto waiting = std::move(reader.waiting);
        reader.waiting.clear();
        for (auto& [block, done] : waiting) done(why);
    }
    parts_.loop->post([self = weak_from_this()] {
        if (const auto t = self.lock()) {
            t->fetch_->stop();
            t->close();
        }
    });
}

void Transfer::on_fetch_head(const SignedHead& head) {
    head_der_ = head.der;
    uploads_->set_head(head.der, head.body.blocks());
    if (parts_.file && head.body.final_head) parts_.file->set_meta(manifest_->der, head_der_, signer_.to_der());
}

void Transfer::stop_fetching() {
    if (state_ != State::fetching || !readers_.empty()) return;
    state_ = State::seeding;
    idle_since_ = parts_.loop->now();
    fetch_->stop();
    log_end("no reader left");
    if (!stored() || fetch_->download().have().none()) close();
}

// Members that download from here keep their places: it is the same transfer.
void Transfer::go_on() {
    if (state_ != State::seeding || fetch_->download().complete()) return;
    state_ = State::fetching;
    fetch_->resume();
    housekeeping_.start(kHousekeeping);
}

void Transfer::housekeep() {
    switch (state_) {
    case State::fetching:
        fetch_->set_upload_level(uploads_->level());
        housekeeping_.start(kHousekeeping);
        return;
    case State::seeding:
        if (readers_.empty() && uploads_->takers() == 0 && parts_.loop->now() - idle_since_ > kSeed) return close();
        if (uploads_->takers() != 0) idle_since_ = parts_.loop->now();
        housekeeping_.start(kSeedHousekeeping);
        return;
    case State::failed:
    case State::closed: return;
    }
}

void Transfer::close() {
    if (state_ == State::closed) return;
    state_ = State::closed;
    uploads_->close_all(Errc::no_such_object);
    housekeeping_.stop();
    if (over_) parts_.loop->post(std::move(over_));
    over_ = nullptr;
}

void Transfer::log_end(std::string_view why) {
    const TransferStatus s = status();
    const double seconds = std::chrono::duration<double>(parts_.loop->now() - started_).count();
    log::info("transfer", {{"object", s.object.hex()},
                           {"url", s.url},
                           {"end", std::string(why)},
                           {"length", s.length},
                           {"seconds", seconds},
                           {"from_server", s.from_server},
                           {"from_peers", s.from_peers},
                           {"restored", restored_ * geometry().block_bytes()},
                           {"to_peers", s.to_peers},
                           {"rejected", s.rejected_blocks},
                           {"cut", s.cut.size()}});
}

TransferStatus Transfer::status() const {
    TransferStatus s;
    s.object = manifest_->body.object;
    s.url = log::redact(manifest_->body.url);
    switch (state_) {
    case State::fetching: s.state = "fetching"; break;
    case State::seeding: s.state = "seeding"; break;
    case State::failed:
    case State::closed: s.state = "failed"; break;
    }
    const Download& d = fetch_->download();
    s.length = geometry().length();
    s.verified = std::min(s.length, d.have().count() * geometry().block_bytes());
    s.from_server = d.bytes_from(SourceKind::server);
    s.from_peers = d.bytes_from(SourceKind::peer);
    s.from_store = from_store_;
    s.to_peers = uploads_->bytes_sent();
    s.rejected_blocks = fetch_->rejected();
    s.readers = readers_.size();
    s.takers = uploads_->takers();
    s.stored = stored();
    s.peers = fetch_->peers();
    s.cut = fetch_->cut();
    s.last_error = failure_ ? failure_->to_string() : fetch_->last_error();
    return s;
}

}  // namespace mssl::proxy
