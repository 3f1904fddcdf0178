// The local store (DESIGN 10): a sparse file an object, the map of verified blocks, and their nodes. Immutable once complete,
// LRU to a size limit, survives kill -9: what the map does not vouch for counts as missing (and is fetched or hashed again).
//
//   realms/<realm>/<id>/data   sparse, pwrite/pread only (never mmapped: somebody may truncate it)
//   realms/<realm>/<id>/map    format version, geometry, and for each verified block its node (the tree above follows);
//                              written after the data it vouches for is durable
//   realms/<realm>/<id>/meta   manifest DER and newest head DER, so that a restart can resume
//
// An id means something in its realm alone: who runs another may call anything by it (invariants 1 and 4). So nothing is found
// without saying in which.
//
// An unknown format version is moved to moved-aside/, never deleted.
//
// Thread rules: Store and ObjectFile from any thread; jobs of one ObjectFile run on a strand of the worker pool; callbacks run
// in the loop given.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "protocol/download.h"
#include "protocol/objects.h"
#include "proxy/core/buffer_pool.h"
#include "proxy/core/workers.h"

namespace mssl::proxy {

using BlockData = std::shared_ptr<const std::uint8_t[]>;

class ObjectFile {
public:
    virtual ~ObjectFile() = default;
    virtual const ObjectId& id() const = 0;
    virtual Geometry geometry() const = 0;
    // What is verified and written. Snapshot.
    virtual Bitmap have() const = 0;
    // Level-0 nodes of the blocks in have(): what the store vouches for by its map.
    virtual std::vector<std::pair<NodePosition, Hash>> nodes() const = 0;
    // Writes a block that has verified; node is its hash. done: ok, or no_space/io: the object then is memory-only for its
    // owner (writes stop until the next create(), what is stored stays readable).
    virtual void write(BlockIndex block, BlockData data, std::uint32_t length, const Hash& node, Loop& loop,
                       std::function<void(Status)> done) = 0;
    // Reads a block; the first read of a block since start is hashed and compared with its node (DESIGN 5): bad_proof clears
    // the block from the map. no_such_block when it is not there.
    virtual void read(BlockIndex block, Loop& loop, std::function<void(Result<BlockData>)> done) = 0;
    // Newest manifest and head, durable with the next map write.
    virtual void set_meta(const Bytes& manifest_der, const Bytes& head_der, const Bytes& signer_der) = 0;
    struct Meta {
        Bytes manifest_der, head_der, signer_der;
    };
    virtual Meta meta() const = 0;
    // Writes the map now (also done every second and on completion while dirty).
    virtual void sync(Loop& loop, std::function<void(Status)> done) = 0;
};

// The objects of one realm.
class Store {
public:
    virtual ~Store() = default;
    // A directory with no other realm's in it.
    static std::shared_ptr<Store> open(const std::string& directory, const RealmId& realm, std::uint64_t max_bytes,
                                       Workers& workers, BufferPool& buffers);
    // Finds, or nothing. Marks it used.
    virtual std::shared_ptr<ObjectFile> find(const ObjectId& id) = 0;
    // The object of this id, or a new one. Where its writes have stopped they are tried again.
    virtual Result<std::shared_ptr<ObjectFile>> create(const ObjectId& id, Geometry geometry) = 0;
    virtual std::vector<ObjectId> list() const = 0;
    virtual void remove(const ObjectId& id) = 0;
    // Of the directory, whoever's it is.
    virtual std::uint64_t used_bytes() const = 0;
    virtual void set_max_bytes(std::uint64_t bytes) = 0;  // reload
    virtual Status health() const = 0;                    // why create() fails, for status
};

// A directory with the objects of any number of realms, under one limit.
class StoreDirectory {
public:
    virtual ~StoreDirectory() = default;
    // Opens the directory, reads all maps, starts eviction. read-only or broken directory: Stores whose create() fails with
    // io/no_space — the daemon goes on without (never worse than without us).
    static std::shared_ptr<StoreDirectory> open(const std::string& directory, std::uint64_t max_bytes, Workers& workers,
                                                BufferPool& buffers);
    virtual std::shared_ptr<Store> of(const RealmId& realm) = 0;
    virtual std::size_t objects() const = 0;
    virtual std::uint64_t used_bytes() const = 0;
    virtual void set_max_bytes(std::uint64_t bytes) = 0;
    virtual Status health() const = 0;
};

}  // namespace mssl::proxy
