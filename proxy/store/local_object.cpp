#include "proxy/store/local_object.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>

#include "protocol/merkle.h"
#include "proxy/core/files.h"

namespace mssl::proxy {

namespace {

// Records read or written at once: 40 KB.
constexpr std::size_t kRecordsAtOnce = 1024;
// A disk fuller than our limit knows: how many objects one block may cost before it is given up.
constexpr int kEvictionsForOneBlock = 8;

}  // namespace

LocalObject::LocalObject(std::string directory, const MapHeader& header, Workers& workers, BufferPool& buffers,
                         std::weak_ptr<SpaceKeeper> keeper)
    : directory_(std::move(directory)), header_(header), workers_(workers), buffers_(buffers), keeper_(std::move(keeper)),
      writes_(workers), flushes_(workers), have_(header.geometry.block_count()), checked_(header.geometry.block_count()) {}

// ── Opening ──

Result<std::shared_ptr<LocalObject>> LocalObject::load(std::string directory, const ObjectId& id, std::uint64_t max_bytes,
                                                       Workers& workers, BufferPool& buffers,
                                                       std::weak_ptr<SpaceKeeper> keeper) {
    const Result<Fd> map = open_file(directory + "/map", O_RDONLY);
    if (!map) return map.error();
    Bytes bytes(kMapHeaderBytes);
    // A header cut short is a damaged one, not a disk that cannot be read.
    if (!read_at(map->get(), bytes, 0)) return fail(Errc::malformed, "map header is short");
    const Result<MapHeader> header = decode_map_header(bytes);
    if (!header) return header.error();
    if (header->id != id) return fail(Errc::malformed, "map of another object");
    if (header->geometry.length() > max_bytes) return fail(Errc::too_large, "object larger than the store");

    auto object = std::make_shared<LocalObject>(std::move(directory), *header, workers, buffers, std::move(keeper));
    object->on_disk_ = true;
    if (Status s = object->read_map(map->get()); !s) return s.error();
    // A damaged meta costs the resuming, not the blocks; one of another version belongs to a program that will come back.
    if (const Result<Bytes> content = read_file(object->directory_ + "/meta", kMaxMetaBytes); content) {
        Result<Meta> meta = decode_meta(*content);
        if (meta.code() == Errc::unsupported) return meta.error();
        if (meta) object->meta_ = std::move(*meta);
    }
    object->allocated_ = allocated_bytes(object->directory_);
    return object;
}

Status LocalObject::read_map(int fd) {
    struct stat st{};
    if (::fstat(fd, &st) != 0) return disk_error(errno, "map");
    const std::uint64_t size = static_cast<std::uint64_t>(st.st_size);
    const std::uint64_t in_file = size > kMapHeaderBytes ? (size - kMapHeaderBytes) / kMapRecordBytes : 0;
    const std::uint64_t records = std::min(in_file, header_.geometry.block_count());
    Bytes chunk;
    for (std::uint64_t i = 0; i < records; i += kRecordsAtOnce) {
        const std::uint64_t n = std::min<std::uint64_t>(kRecordsAtOnce, records - i);
        chunk.resize(n * kMapRecordBytes);
        const BlockIndex first{static_cast<std::uint32_t>(i)};
        if (Status s = read_at(fd, chunk, map_record_offset(first)); !s) return s;
        for (std::uint64_t k = 0; k < n; ++k) {
            const BlockIndex block{static_cast<std::uint32_t>(i + k)};
            const View record = View(chunk).subspan(k * kMapRecordBytes, kMapRecordBytes);
            const std::optional<Hash> node = decode_map_record(header_.id, block, record);
            if (!node) continue;
            if (nodes_.size() <= block.v) nodes_.resize(block.v + 1);
            nodes_[block.v] = *node;
            have_.set(block);
        }
    }
    return {};
}

Status LocalObject::create_on_disk() {
    if (Status s = make_directories(directory_, 0700); !s) return s;
    if (Status s = write_file_durably(directory_ + "/map", encode_map_header(header_), 0600); !s) return s;
    const std::string realm = directory_.substr(0, directory_.rfind('/'));
    if (Status s = sync_directory(realm); !s) return s;
    return sync_directory(realm.substr(0, realm.rfind('/')));
}

Result<LocalObject::FilesPtr> LocalObject::files() {
    bool opened = false;
    Result<FilesPtr> out = open_files(opened);
    if (opened) attend();  // so that they are closed again some day
    return out;
}

Result<LocalObject::FilesPtr> LocalObject::open_files(bool& opened_now) {
    const std::scoped_lock lock(files_mutex_);
    if (removed_) return fail(Errc::no_such_object, "removed from the store");
    if (files_) return files_;
    if (!on_disk_) {
        if (Status s = create_on_disk(); !s) return s.error();
        on_disk_ = true;
    }
    auto opened = std::make_shared<Files>();
    Result<Fd> data = open_file(directory_ + "/data", O_RDWR | O_CREAT);
    Result<Fd> map = open_file(directory_ + "/map", O_RDWR);
    opened->writable = data && map;
    if (!data) data = open_file(directory_ + "/data", O_RDONLY);
    if (!data) return data.error();
    opened->data = std::move(*data);
    if (map) opened->map = std::move(*map);
    files_ = std::move(opened);
    opened_now = true;
    return files_;
}

bool LocalObject::has_files() const {
    const std::scoped_lock lock(files_mutex_);
    return files_ != nullptr;
}

void LocalObject::close_files() {
    const std::scoped_lock lock(files_mutex_);
    files_.reset();
}

void LocalObject::mark_removed() {
    const std::scoped_lock lock(files_mutex_);
    removed_ = true;
    files_.reset();
}

void LocalObject::attend() {
    if (auto keeper = keeper_.lock()) keeper->attend(shared_from_this());
}

void LocalObject::mark_used() {
    {
        const std::scoped_lock lock(mutex_);
        used_changed_ = true;
    }
    attend();
}

// ── What there is ──

Bitmap LocalObject::have() const {
    const std::scoped_lock lock(mutex_);
    return have_;
}

std::vector<std::pair<NodePosition, Hash>> LocalObject::nodes() const {
    const std::scoped_lock lock(mutex_);
    std::vector<std::pair<NodePosition, Hash>> out;
    out.reserve(have_.count());
    for (std::uint64_t i = have_.next_set(0); i < have_.size(); i = have_.next_set(i + 1)) {
        out.emplace_back(NodePosition{0, static_cast<std::uint32_t>(i)}, nodes_[i]);
    }
    return out;
}

void LocalObject::set_meta(const Bytes& manifest_der, const Bytes& head_der, const Bytes& signer_der) {
    {
        const std::scoped_lock lock(mutex_);
        meta_ = {manifest_der, head_der, signer_der};
        meta_changed_ = true;
    }
    attend();
}

ObjectFile::Meta LocalObject::meta() const {
    const std::scoped_lock lock(mutex_);
    return meta_;
}

bool LocalObject::dirty() const {
    const std::scoped_lock lock(mutex_);
    return !write_stop_ && (!changed_.empty() || meta_changed_ || used_changed_);
}

// ── Writing ──

void LocalObject::write(BlockIndex block, BlockData data, std::uint32_t length, const Hash& node, Loop& loop,
                        std::function<void(Status)> done) {
    writes_.submit([self = shared_from_this(), block, data = std::move(data), length, node, &loop, done = std::move(done)] {
        const Status status = self->write_block(block, {data.get(), length}, node);
        loop.post([status, done] { done(status); });
    });
}

Status LocalObject::write_block(BlockIndex block, View data, const Hash& node) {
    if (block.v >= header_.geometry.block_count() || data.size() != header_.geometry.block_length(block)) {
        return fail(Errc::internal, "block does not fit the object");
    }
    {
        const std::scoped_lock lock(mutex_);
        if (write_stop_) return *write_stop_;
        // What the map vouches for is never written over: it is either right, or read() finds that it is not.
        if (have_.test(block)) return {};
    }
    if (Status s = put(block, data); !s) return stop_writing(s.error());
    bool complete = false;
    {
        const std::scoped_lock lock(mutex_);
        if (nodes_.size() <= block.v) nodes_.resize(block.v + 1);
        nodes_[block.v] = node;
        have_.set(block);
        checked_.clear(block);
        changed_.push_back(block.v);
        complete = have_.all();
    }
    if (complete) queue_flush();
    else attend();
    return {};
}

Status LocalObject::put(BlockIndex block, View data) {
    const auto keeper = keeper_.lock();
    if (!keeper) return fail(Errc::shutting_down, "the store is closed");
    if (!keeper->reserve(data.size())) return fail(Errc::no_space, "store is full of objects in use");
    for (int tries = 0;; ++tries) {
        const Result<FilesPtr> f = files();
        Status s = f ? Status() : Status(f.error());
        if (f && !(*f)->writable) s = fail(Errc::io, "store is read-only");
        if (s) s = write_at((*f)->data.get(), data, header_.geometry.block_offset(block));
        if (s) break;
        const bool retry = s.code() == Errc::no_space && tries < kEvictionsForOneBlock && keeper->evict_one();
        if (!retry) return s;
    }
    account(allocated_ + data.size());
    return {};
}

Status LocalObject::stop_writing(Error why) {
    const std::scoped_lock lock(mutex_);
    if (!write_stop_) write_stop_ = why;
    return why;
}

void LocalObject::resume_writing() {
    const std::scoped_lock lock(mutex_);
    write_stop_.reset();
}

// ── Vouching ──

void LocalObject::queue_flush() {
    {
        const std::scoped_lock lock(mutex_);
        if (flush_queued_) return;
        flush_queued_ = true;
    }
    flushes_.submit([self = shared_from_this()] { (void)self->flush(false); });
}

void LocalObject::sync(Loop& loop, std::function<void(Status)> done) {
    // Behind the writes that were asked for before it.
    writes_.submit([self = shared_from_this(), &loop, done = std::move(done)] {
        self->flushes_.submit([self, &loop, done] {
            const Status status = self->flush(true);
            loop.post([status, done] { done(status); });
        });
    });
}

Status LocalObject::flush(bool sync_map) {
    std::vector<std::uint32_t> blocks;
    std::optional<Meta> meta;
    bool used = false;
    {
        const std::scoped_lock lock(mutex_);
        flush_queued_ = false;
        if (write_stop_ && changed_.empty()) return *write_stop_;
        blocks.swap(changed_);
        if (std::exchange(meta_changed_, false)) meta = meta_;
        used = std::exchange(used_changed_, false);
        sync_map = sync_map || have_.all();
    }
    const Result<FilesPtr> f = files();
    if (!f) return stop_writing(f.error());
    if (!(*f)->writable) return fail(Errc::io, "store is read-only");
    const int map = (*f)->map.get();
    if (!blocks.empty()) {
        if (Status s = sync_data((*f)->data.get()); !s) return stop_writing(s.error());
    }
    if (meta) {
        if (Status s = write_file_durably(directory_ + "/meta", encode_meta(*meta), 0600); !s) return stop_writing(s.error());
    }
    if (!blocks.empty()) {
        if (Status s = write_records(map, std::move(blocks)); !s) return stop_writing(s.error());
    }
    if (sync_map) {
        if (Status s = sync_data(map); !s) return stop_writing(s.error());
    }
    if (used) (void)::futimens(map, nullptr);  // the age of the object; a lost one only shortens its life
    recount();
    return {};
}

Status LocalObject::write_records(int fd, std::vector<std::uint32_t> blocks) {
    std::ranges::sort(blocks);
    blocks.erase(std::unique(blocks.begin(), blocks.end()), blocks.end());
    Bytes run;
    for (std::size_t i = 0; i < blocks.size();) {
        run.clear();
        const std::size_t start = i;
        {
            const std::scoped_lock lock(mutex_);
            do {
                const BlockIndex block{blocks[i]};
                // Blocks lost since they were written get an empty record.
                const MapRecord record = have_.test(block) ? encode_map_record(header_.id, block, nodes_[block.v]) : MapRecord{};
                run.insert(run.end(), record.begin(), record.end());
                ++i;
            } while (i < blocks.size() && blocks[i] == blocks[i - 1] + 1 && i - start < kRecordsAtOnce);
        }
        if (Status s = write_at(fd, run, map_record_offset(BlockIndex{blocks[start]})); !s) return s;
    }
    return {};
}

void LocalObject::recount() { account(allocated_bytes(directory_)); }

void LocalObject::account(std::uint64_t allocated_now) {
    const auto keeper = keeper_.lock();  // before the lock: never the store's last reference under it
    const std::scoped_lock lock(files_mutex_);
    if (removed_ || !keeper) return;
    const std::uint64_t before = allocated_.exchange(allocated_now);
    keeper->account(static_cast<std::int64_t>(allocated_now) - static_cast<std::int64_t>(before));
}

// ── Reading ──

void LocalObject::read(BlockIndex block, Loop& loop, std::function<void(Result<BlockData>)> done) {
    workers_.submit([self = shared_from_this(), block, &loop, done = std::move(done)] {
        auto result = std::make_shared<Result<BlockData>>(self->read_block(block));
        loop.post([result, done] { done(std::move(*result)); });
    });
}

Result<BlockData> LocalObject::read_block(BlockIndex block) {
    Hash node;
    bool checked = false;
    {
        const std::scoped_lock lock(mutex_);
        if (!have_.test(block)) return fail(Errc::no_such_block, "not in the store");
        node = nodes_[block.v];
        checked = checked_.test(block);
    }
    const Result<FilesPtr> f = files();
    if (!f) return f.error();
    const std::uint32_t length = header_.geometry.block_length(block);
    std::shared_ptr<std::uint8_t[]> buffer = buffers_.get(length);
    if (!buffer) return fail(Errc::busy, "no buffer for a block");
    if (Status s = read_at((*f)->data.get(), {buffer.get(), length}, header_.geometry.block_offset(block)); !s) {
        drop_block(block);
        return s.error();
    }
    if (!checked) {
        if (hash_block({buffer.get(), length}) != node) {
            drop_block(block);
            return fail(Errc::bad_proof, "block on disk is not what it was");
        }
        const std::scoped_lock lock(mutex_);
        checked_.set(block);
    }
    return BlockData(std::move(buffer));
}

void LocalObject::drop_block(BlockIndex block) {
    {
        const std::scoped_lock lock(mutex_);
        have_.clear(block);
        checked_.clear(block);
        changed_.push_back(block.v);
    }
    attend();
}

}  // namespace mssl::proxy
