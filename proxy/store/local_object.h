// One object on disk: the ObjectFile of the local store.
//
//   write():  strand ──▶ pwrite ──▶ in have(), dirty ──▶ (a second, or complete) ──▶ flush:
//   flush:    its own strand ──▶ fdatasync(data) ──▶ meta ──▶ records of the map ──▶ (complete, sync()) fdatasync(map)
//
// Whatever instant the program dies at, a record that is on disk was written after its block was durable. Writes go on while
// a flush waits for the disk: it vouches only for what was written before it began.
//
// Thread rules: any thread; methods that say "worker" block on the disk.
#pragma once

#include <atomic>
#include <mutex>

#include "proxy/store/disk.h"
#include "proxy/store/map_format.h"
#include "proxy/store/store.h"

namespace mssl::proxy {

class LocalObject;

// What an object needs of its store. Gone when the store is closed: then nothing is written any more.
class SpaceKeeper {
public:
    virtual ~SpaceKeeper() = default;
    // Worker. Makes room for bytes by evicting objects that nobody uses; false: there is none.
    virtual bool reserve(std::uint64_t bytes) = 0;
    // Worker. Evicts one object that nobody uses, for a disk that is fuller than our limit knows.
    virtual bool evict_one() = 0;
    virtual void account(std::int64_t delta_bytes) = 0;
    // The object wants a flush within a second, or holds descriptors.
    virtual void attend(const std::shared_ptr<LocalObject>& object) = 0;
};

class LocalObject final : public ObjectFile, public std::enable_shared_from_this<LocalObject> {
public:
    // New, nothing on disk yet: the first flush or write creates it.
    LocalObject(std::string directory, const MapHeader& header, Workers& workers, BufferPool& buffers,
                std::weak_ptr<SpaceKeeper> keeper);
    // Worker or start-up: what lies in directory. unsupported: to be moved aside; other errors: not usable.
    // max_bytes: larger objects are refused with too_large, since their map would not fit memory either.
    static Result<std::shared_ptr<LocalObject>> load(std::string directory, const ObjectId& id, std::uint64_t max_bytes,
                                                     Workers& workers, BufferPool& buffers,
                                                     std::weak_ptr<SpaceKeeper> keeper);

    const ObjectId& id() const override { return header_.id; }
    Geometry geometry() const override { return header_.geometry; }
    Bitmap have() const override;
    std::vector<std::pair<NodePosition, Hash>> nodes() const override;
    void write(BlockIndex block, BlockData data, std::uint32_t length, const Hash& node, Loop& loop,
               std::function<void(Status)> done) override;
    void read(BlockIndex block, Loop& loop, std::function<void(Result<BlockData>)> done) override;
    void set_meta(const Bytes& manifest_der, const Bytes& head_der, const Bytes& signer_der) override;
    Meta meta() const override;
    void sync(Loop& loop, std::function<void(Status)> done) override;

    // For the store.
    bool dirty() const;
    void queue_flush();             // if dirty and none is queued
    Status flush(bool sync_map);    // worker
    void close_files();             // they open again when needed
    bool has_files() const;
    void mark_removed();            // worker. Every later call fails with no_such_object
    void mark_used();               // its age on disk follows with the next flush
    void resume_writing();          // after a stop
    std::uint64_t allocated() const { return allocated_; }
    const std::string& directory() const { return directory_; }

private:
    struct Files {
        Fd data, map;
        bool writable = false;
    };
    using FilesPtr = std::shared_ptr<const Files>;
    Result<FilesPtr> files();
    Result<FilesPtr> open_files(bool& opened_now);
    Status create_on_disk();
    Status read_map(int fd);
    Status write_block(BlockIndex block, View data, const Hash& node);
    Status put(BlockIndex block, View data);
    Result<BlockData> read_block(BlockIndex block);
    void drop_block(BlockIndex block);
    Status write_records(int fd, std::vector<std::uint32_t> blocks);
    Status stop_writing(Error why);
    void account(std::uint64_t allocated_now);
    void recount();
    void attend();

    const std::string directory_;
    const MapHeader header_;
    Workers& workers_;
    BufferPool& buffers_;
    const std::weak_ptr<SpaceKeeper> keeper_;
    Strand writes_;
    Strand flushes_;
    std::atomic<std::uint64_t> allocated_{0};

    mutable std::mutex mutex_;  // of everything below; never held over the disk
    Bitmap have_;
    Bitmap checked_;            // hashed since start
    std::vector<Hash> nodes_;   // grows to the highest block held
    std::vector<std::uint32_t> changed_;  // blocks whose record on disk is old
    Meta meta_;
    bool meta_changed_ = false;
    bool used_changed_ = false;
    bool flush_queued_ = false;
    std::optional<Error> write_stop_;  // why writes stopped: memory-only until resume_writing()

    mutable std::mutex files_mutex_;  // held over opening and creating; before mutex_ where both are held
    FilesPtr files_;
    bool on_disk_ = false;
    bool removed_ = false;
};

}  // namespace mssl::proxy
