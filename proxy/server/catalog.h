// Which object a (URL, strong validator) is (DESIGN 3), across restarts.
//
//   state/catalog/<id>.manifest   version ‖ signer certificate ‖ manifest
//   state/catalog/<id>.nodes      version ‖ block nodes
//   state/catalog/<id>.head       version ‖ signer certificate ‖ final head; last: an object without it was interrupted
//   state/catalog/<id>.withdrawn  version ‖ why; the id is never used again, the tree stays for a month
//
// Nothing of an object that is not complete outlives the process: who cannot continue exactly that tree takes a new id. A file of an
// unknown version is moved to state/catalog/moved-aside with its object's others.
//
// Thread rules: any thread, one mutex; files are written in workers.
#pragma once

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "proxy/core/config.h"
#include "proxy/server/hosting.h"

namespace mssl::proxy {

class Catalog final : public ObjectKeeper, public ObjectFinder, public std::enable_shared_from_this<Catalog> {
public:
    // 4,096 objects with trees of 64 bytes a block: 1 TiB of content costs 256 MiB of memory.
    static constexpr std::size_t kMaxObjects = 4096;
    // Representations of one URL: a resource that changes every minute must not push out all others.
    static constexpr std::size_t kMaxObjectsAnUrl = 8;
    // Complete objects of one URL with all its queries: anybody can think of another query.
    static constexpr std::size_t kMaxObjectsAPath = 64;

    // How the bytes of an object are read again.
    using ReaderMaker = std::function<std::shared_ptr<RangeReader>(std::shared_ptr<const SignedManifest>)>;

    // Reads what is there and hosts it. spool: objects in it that the catalog does not know are removed. Blocking, before the loops
    // run. Errors: io when state/catalog can be neither read nor made; what is wrong with a single object is logged.
    static Result<std::shared_ptr<Catalog>> open(Runtime& runtime, const std::string& state_directory,
                                                 CurrentRealm realm, std::shared_ptr<Store> spool,
                                                 ReaderMaker make_reader, std::size_t max_objects = kMaxObjects);

    // What a new object is made of; id, block size and validity come from here.
    struct Draft {
        std::string url;
        Validator validator;
        std::vector<HeaderField> fields;
        std::uint64_t length = 0;  // not 0
        Access access = Access::open;
        Exchange exchange = Exchange::plain;
        std::uint64_t price = 0;
    };
    struct Registered {
        std::shared_ptr<HostedObject> object;
        bool is_new = false;  // the caller feeds it
    };
    // The object of the draft's (URL, validator), made when there is none: of two that race the first wins. Errors: malformed (a
    // manifest cannot say it: not shared), busy (max_objects are being hashed), crypto.
    Result<Registered> find_or_add(const Draft& draft, WallTime now);

    // The object of exactly this validator, or null. Marks it used.
    std::shared_ptr<HostedObject> find(const std::string& url, const Validator& validator);
    // The representation of the URL that was last found or added, or null.
    std::shared_ptr<HostedObject> newest(const std::string& url);
    std::vector<std::shared_ptr<HostedObject>> list();

    // Lets go of withdrawn trees that nothing can refer to any more, in a worker: withdrawing has no other bound.
    void expire_withdrawn(WallTime now);

    std::shared_ptr<HostedObject> find(const ObjectId& id) override;
    void keep(const ObjectId& id, const std::vector<Hash>& block_nodes, const SignedHead& final_head, Loop& loop,
              std::function<void(Status)> done) override;
    void withdrawn(const ObjectId& id, const Error& why) override;

private:
    Catalog(Runtime& runtime, std::string directory, CurrentRealm realm, std::shared_ptr<Store> spool,
            ReaderMaker make_reader, std::size_t max_objects);

    struct Entry {
        std::shared_ptr<HostedObject> object;
        std::string url;
        Validator validator;
        std::list<ObjectId>::iterator used;  // in order_
    };
    Hosting hosting(std::shared_ptr<const Realm> realm, std::shared_ptr<const SignedManifest> manifest);
    Status load(WallTime now);
    bool is_over(const ObjectId& id, WallTime now) const;  // withdrawn, and long ago
    Status load_object(const ObjectId& id, WallTime now);
    void move_aside(const ObjectId& id);
    std::shared_ptr<HostedObject> insert(std::shared_ptr<HostedObject> object, const Manifest& manifest);
    Entry* usable(const ObjectId& id);
    void mark_used(Entry& entry);
    void remove(const ObjectId& id);
    void evict_over(std::size_t limit);
    void evict_over_path(const std::string& bare);
    void unlink_files(const ObjectId& id);
    std::string path(const ObjectId& id, std::string_view suffix) const;

    Runtime runtime_;
    std::string directory_;
    CurrentRealm realm_;
    std::shared_ptr<Store> spool_;
    ReaderMaker make_reader_;
    std::size_t max_objects_;
    Strand files_;

    std::mutex mutex_;  // of what follows
    std::unordered_map<ObjectId, Entry, FixedBytesHash> objects_;
    std::map<std::string, std::vector<ObjectId>, std::less<>> by_url_;  // newest last
    std::unordered_map<std::string, std::size_t> by_path_;              // objects of a URL without its query
    std::list<ObjectId> order_;                                         // longest unused first
};

}  // namespace mssl::proxy
