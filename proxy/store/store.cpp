#include "proxy/store/store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <filesystem>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "protocol/bytes.h"
#include "proxy/core/files.h"
#include "proxy/core/log.h"
#include "proxy/store/local_object.h"

namespace mssl::proxy {

namespace {

namespace fs = std::filesystem;

// How long a block may wait for its record: what a crash can cost is fetched again.
constexpr std::chrono::seconds kFlushInterval(1);
// A directory on its way out; whatever is found under such a name at start is removed.
constexpr std::string_view kGonePrefix = ".gone-";

template <class Id>
std::optional<Id> id_of(const std::string& name) {
    const Result<Bytes> bytes = from_hex(name);
    if (!bytes || bytes->size() != Id::size) return std::nullopt;
    const Id id = Id::from(*bytes);
    return id.hex() == name ? std::optional(id) : std::nullopt;
}

struct timespec age_of(const std::string& directory) {
    struct stat st{};
    if (::lstat((directory + "/map").c_str(), &st) != 0) return {};
    return st.st_mtim;
}

class LocalStore final : public StoreDirectory, public SpaceKeeper, public std::enable_shared_from_this<LocalStore> {
public:
    LocalStore(std::string directory, std::uint64_t max_bytes, Workers& workers, BufferPool& buffers)
        : directory_(std::move(directory)), realms_directory_(directory_ + "/realms"), workers_(workers), buffers_(buffers),
          max_bytes_(max_bytes) {}
    ~LocalStore() override;
    void start();

    struct Key {
        RealmId realm;
        ObjectId id;
        auto operator<=>(const Key&) const = default;
    };
    std::shared_ptr<ObjectFile> find(const Key& key);
    Result<std::shared_ptr<ObjectFile>> create(const Key& key, Geometry geometry);
    std::vector<ObjectId> list(const RealmId& realm) const;
    void remove(const Key& key);

    std::shared_ptr<Store> of(const RealmId& realm) override;
    std::size_t objects() const override;
    std::uint64_t used_bytes() const override;
    void set_max_bytes(std::uint64_t bytes) override;
    Status health() const override;

    bool reserve(std::uint64_t bytes) override;
    bool evict_one() override;
    void account(std::int64_t delta_bytes) override;
    void attend(const std::shared_ptr<LocalObject>& object) override;

private:
    struct Entry {
        std::shared_ptr<LocalObject> object;
        std::uint64_t used = 0;  // larger: later
    };

    Status take_directory();
    void load_all();
    void drop_unscoped();
    void move_aside(const std::string& from);
    std::string directory_of(const Key& key) const { return realms_directory_ + "/" + key.realm.hex() + "/" + key.id.hex(); }
    void remove_from_disk(const std::shared_ptr<LocalObject>& object);
    void tend();

    const std::string directory_;
    const std::string realms_directory_;
    Workers& workers_;
    BufferPool& buffers_;
    std::atomic<std::uint64_t> max_bytes_;
    std::atomic<std::int64_t> used_bytes_{0};

    mutable std::mutex mutex_;
    Fd lock_;
    Status health_;
    std::map<Key, Entry> objects_;
    std::set<std::string> going_;  // directories that are being removed
    std::uint64_t clock_ = 0;

    std::mutex tend_mutex_;
    std::condition_variable tend_wake_;
    std::map<std::string, std::weak_ptr<LocalObject>> attended_;  // by directory
    bool stopping_ = false;
    std::thread tender_;
};

// ── Opening and closing ──

Status LocalStore::take_directory() {
    if (Status s = make_directories(realms_directory_, 0700); !s) return s;
    Result<Fd> lock = open_file(directory_ + "/lock", O_RDWR | O_CREAT);
    if (!lock) return lock.error();
    // Two programs would evict each other's objects and vouch for each other's writes.
    if (::flock(lock->get(), LOCK_EX | LOCK_NB) != 0) return fail(Errc::busy, "another process uses " + directory_);
    lock_ = std::move(*lock);
    return {};
}

void LocalStore::start() {
    health_ = take_directory();
    if (health_.code() != Errc::busy) load_all();
    if (!health_) log::warning("store not usable", {{"directory", directory_}, {"why", health_.error().to_string()}});
    tender_ = std::thread([this] { tend(); });
}

void LocalStore::load_all() {
    struct Found {
        Key key;
        struct timespec age;
    };
    std::vector<Found> found;
    std::error_code ignored;
    drop_unscoped();
    for (const auto& realm_entry : fs::directory_iterator(realms_directory_, ignored)) {
        const std::optional<RealmId> realm = id_of<RealmId>(realm_entry.path().filename().string());
        if (!realm) continue;
        for (const auto& entry : fs::directory_iterator(realm_entry.path(), ignored)) {
            const std::string name = entry.path().filename().string();
            if (name.starts_with(kGonePrefix)) remove_tree(entry.path().string());
            else if (const auto id = id_of<ObjectId>(name)) found.push_back({{*realm, *id}, age_of(entry.path().string())});
        }
    }
    std::ranges::sort(found, {}, [](const Found& f) { return std::pair(f.age.tv_sec, f.age.tv_nsec); });
    for (const Found& f : found) {
        Result<std::shared_ptr<LocalObject>> object =
            LocalObject::load(directory_of(f.key), f.key.id, max_bytes_, workers_, buffers_, weak_from_this());
        if (object) {
            used_bytes_ += static_cast<std::int64_t>((*object)->allocated());
            objects_[f.key] = {std::move(*object), ++clock_};
        } else if (object.code() == Errc::unsupported) {
            move_aside(directory_of(f.key));
        } else {
            // Nothing in it can be vouched for: an unfinished creation, or rot in the header.
            log::info("object dropped from the store", {{"object", f.key.id.hex()}, {"why", object.error().to_string()}});
            if (object.code() != Errc::io) remove_tree(directory_of(f.key));
        }
    }
}

// What versions before this one kept by object ids alone: of which realm it is cannot be told, and another's must not be believed.
void LocalStore::drop_unscoped() {
    const std::string old = directory_ + "/objects";
    std::error_code error;
    if (!fs::exists(fs::symlink_status(old, error))) return;
    log::warning("objects that were kept without their realm are removed", {{"directory", old}});
    remove_tree(old);
}

void LocalStore::move_aside(const std::string& from) {
    const std::string name = fs::path(from).filename().string();
    const std::string aside = directory_ + "/moved-aside";
    std::error_code error;
    fs::create_directory(aside, error);
    std::string to = aside + "/" + name;
    for (int n = 1; fs::exists(fs::symlink_status(to, error)); ++n) to = aside + "/" + name + "." + std::to_string(n);
    fs::rename(from, to, error);
    log::warning("object of another version moved aside", {{"to", to}, {"failed", static_cast<bool>(error)}});
}

LocalStore::~LocalStore() {
    {
        const std::scoped_lock lock(tend_mutex_);
        stopping_ = true;
    }
    tend_wake_.notify_all();
    if (tender_.joinable()) tender_.join();
    for (auto& [id, entry] : objects_) {
        if (entry.object->dirty()) (void)entry.object->flush(true);
    }
}

// ── The table ──

std::shared_ptr<ObjectFile> LocalStore::find(const Key& key) {
    std::shared_ptr<LocalObject> object;
    {
        const std::scoped_lock lock(mutex_);
        const auto it = objects_.find(key);
        if (it == objects_.end()) return nullptr;
        it->second.used = ++clock_;
        object = it->second.object;
    }
    object->mark_used();
    return object;
}

Result<std::shared_ptr<ObjectFile>> LocalStore::create(const Key& key, Geometry geometry) {
    if (geometry.length() > max_bytes_) return fail(Errc::no_space, "object larger than the store");
    std::shared_ptr<LocalObject> object;
    {
        const std::scoped_lock lock(mutex_);
        if (!health_) return health_.error();
        if (const auto it = objects_.find(key); it != objects_.end()) {
            if (!(it->second.object->geometry() == geometry)) return fail(Errc::wrong_object, "same id, another geometry");
            it->second.used = ++clock_;
            it->second.object->resume_writing();
            return std::shared_ptr<ObjectFile>(it->second.object);
        }
        const std::string directory = directory_of(key);
        if (going_.contains(directory)) return fail(Errc::busy, "object is being removed");
        object = std::make_shared<LocalObject>(directory, MapHeader{key.id, geometry}, workers_, buffers_, weak_from_this());
        objects_[key] = {object, ++clock_};
    }
    object->mark_used();
    return std::shared_ptr<ObjectFile>(std::move(object));
}

std::vector<ObjectId> LocalStore::list(const RealmId& realm) const {
    const std::scoped_lock lock(mutex_);
    std::vector<ObjectId> out;
    for (auto it = objects_.lower_bound({realm, {}}); it != objects_.end() && it->first.realm == realm; ++it)
        out.push_back(it->first.id);
    return out;
}

std::size_t LocalStore::objects() const {
    const std::scoped_lock lock(mutex_);
    return objects_.size();
}

std::uint64_t LocalStore::used_bytes() const {
    const std::int64_t used = used_bytes_;
    return used > 0 ? static_cast<std::uint64_t>(used) : 0;
}

Status LocalStore::health() const {
    const std::scoped_lock lock(mutex_);
    return health_;
}

void LocalStore::set_max_bytes(std::uint64_t bytes) {
    max_bytes_ = bytes;
    workers_.submit([weak = weak_from_this()] {
        if (const auto self = weak.lock()) (void)self->reserve(0);
    });
}

// ── Space ──

void LocalStore::account(std::int64_t delta_bytes) { used_bytes_ += delta_bytes; }

bool LocalStore::reserve(std::uint64_t bytes) {
    while (used_bytes() + bytes > max_bytes_) {
        if (!evict_one()) return false;
    }
    return true;
}

bool LocalStore::evict_one() {
    std::shared_ptr<LocalObject> victim;
    {
        const std::scoped_lock lock(mutex_);
        auto oldest = objects_.end();
        for (auto it = objects_.begin(); it != objects_.end(); ++it) {
            // Held by the table alone: nobody else can come by a reference while we hold the mutex.
            if (it->second.object.use_count() != 1) continue;
            if (oldest == objects_.end() || it->second.used < oldest->second.used) oldest = it;
        }
        if (oldest == objects_.end()) return false;
        victim = std::move(oldest->second.object);
        going_.insert(victim->directory());
        objects_.erase(oldest);
    }
    remove_from_disk(victim);
    return true;
}

void LocalStore::remove(const Key& key) {
    std::shared_ptr<LocalObject> object;
    {
        const std::scoped_lock lock(mutex_);
        const auto it = objects_.find(key);
        if (it == objects_.end()) return;
        object = std::move(it->second.object);
        objects_.erase(it);
        going_.insert(object->directory());
    }
    workers_.submit([self = shared_from_this(), object = std::move(object)] { self->remove_from_disk(object); });
}

void LocalStore::remove_from_disk(const std::shared_ptr<LocalObject>& object) {
    object->mark_removed();
    const fs::path here(object->directory());
    const std::string gone = (here.parent_path() / (std::string(kGonePrefix) + here.filename().string())).string();
    std::error_code error;
    fs::rename(object->directory(), gone, error);  // at once out of the way of a restart
    remove_tree(error ? object->directory() : gone);
    used_bytes_ -= static_cast<std::int64_t>(object->allocated());
    const std::scoped_lock lock(mutex_);
    going_.erase(object->directory());
}

// ── Once a second ──

void LocalStore::attend(const std::shared_ptr<LocalObject>& object) {
    {
        const std::scoped_lock lock(tend_mutex_);
        attended_[object->directory()] = object;
    }
    tend_wake_.notify_one();
}

// Flushes what is dirty and closes the files of objects that nobody uses; sleeps while there is neither.
void LocalStore::tend() {
    std::unique_lock lock(tend_mutex_);
    while (!stopping_) {
        tend_wake_.wait(lock, [this] { return stopping_ || !attended_.empty(); });
        if (tend_wake_.wait_for(lock, kFlushInterval, [this] { return stopping_; })) return;
        const auto batch = std::exchange(attended_, {});
        lock.unlock();
        std::vector<std::shared_ptr<LocalObject>> again;
        for (const auto& [id, weak] : batch) {
            std::shared_ptr<LocalObject> object = weak.lock();
            if (!object) continue;
            if (object->dirty()) object->queue_flush();
            else if (object.use_count() <= 2) object->close_files();  // the table's and ours
            if (object->has_files()) again.push_back(std::move(object));
        }
        lock.lock();
        for (const auto& object : again) attended_.try_emplace(object->directory(), object);
        lock.unlock();
        again.clear();  // never the last reference under the lock
        lock.lock();
    }
}

// ── One realm's part ──

class RealmStore final : public Store {
public:
    RealmStore(std::shared_ptr<LocalStore> all, const RealmId& realm) : all_(std::move(all)), realm_(realm) {}
    std::shared_ptr<ObjectFile> find(const ObjectId& id) override { return all_->find({realm_, id}); }
    Result<std::shared_ptr<ObjectFile>> create(const ObjectId& id, Geometry geometry) override {
        return all_->create({realm_, id}, geometry);
    }
    std::vector<ObjectId> list() const override { return all_->list(realm_); }
    void remove(const ObjectId& id) override { all_->remove({realm_, id}); }
    std::uint64_t used_bytes() const override { return all_->used_bytes(); }
    void set_max_bytes(std::uint64_t bytes) override { all_->set_max_bytes(bytes); }
    Status health() const override { return all_->health(); }

private:
    const std::shared_ptr<LocalStore> all_;
    const RealmId realm_;
};

std::shared_ptr<Store> LocalStore::of(const RealmId& realm) { return std::make_shared<RealmStore>(shared_from_this(), realm); }

}  // namespace

std::shared_ptr<Store> Store::open(const std::string& directory, const RealmId& realm, std::uint64_t max_bytes, Workers& workers,
                                   BufferPool& buffers) {
    return StoreDirectory::open(directory, max_bytes, workers, buffers)->of(realm);
}

std::shared_ptr<StoreDirectory> StoreDirectory::open(const std::string& directory, std::uint64_t max_bytes, Workers& workers,
                                                     BufferPool& buffers) {
    auto store = std::make_shared<LocalStore>(directory, max_bytes, workers, buffers);
    store->start();
    return store;
}

}  // namespace mssl::proxy
