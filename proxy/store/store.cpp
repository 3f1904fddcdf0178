#include "proxy/store/store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <unordered_set>

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

std::optional<ObjectId> id_of(const std::string& name) {
    const Result<Bytes> bytes = from_hex(name);
    if (!bytes || bytes->size() != ObjectId::size) return std::nullopt;
    const ObjectId id = ObjectId::from(*bytes);
    return id.hex() == name ? std::optional(id) : std::nullopt;
}

struct timespec age_of(const std::string& directory) {
    struct stat st{};
    if (::lstat((directory + "/map").c_str(), &st) != 0) return {};
    return st.st_mtim;
}

class LocalStore final : public Store, public SpaceKeeper, public std::enable_shared_from_this<LocalStore> {
public:
    LocalStore(std::string directory, std::uint64_t max_bytes, Workers& workers, BufferPool& buffers)
        : directory_(std::move(directory)), objects_directory_(directory_ + "/objects"), workers_(workers), buffers_(buffers),
          max_bytes_(max_bytes) {}
    ~LocalStore() override;
    void start();

    std::shared_ptr<ObjectFile> find(const ObjectId& id) override;
    Result<std::shared_ptr<ObjectFile>> create(const ObjectId& id, Geometry geometry) override;
    std::vector<ObjectId> list() const override;
    void remove(const ObjectId& id) override;
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
    void move_aside(const std::string& name);
    std::string directory_of(const ObjectId& id) const { return objects_directory_ + "/" + id.hex(); }
    void remove_from_disk(const std::shared_ptr<LocalObject>& object);
    void tend();

    const std::string directory_;
    const std::string objects_directory_;
    Workers& workers_;
    BufferPool& buffers_;
    std::atomic<std::uint64_t> max_bytes_;
    std::atomic<std::int64_t> used_bytes_{0};

    mutable std::mutex mutex_;
    Fd lock_;
    Status health_;
    std::unordered_map<ObjectId, Entry, FixedBytesHash> objects_;
    std::unordered_set<ObjectId, FixedBytesHash> going_;  // being removed: their directory is not free yet
    std::uint64_t clock_ = 0;

    std::mutex tend_mutex_;
    std::condition_variable tend_wake_;
    std::unordered_map<ObjectId, std::weak_ptr<LocalObject>, FixedBytesHash> attended_;
    bool stopping_ = false;
    std::thread tender_;
};

// ── Opening and closing ──

Status LocalStore::take_directory() {
    if (Status s = make_directories(objects_directory_, 0700); !s) return s;
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
        std::string name;
        ObjectId id;
        struct timespec age;
    };
    std::vector<Found> found;
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(objects_directory_, ignored)) {
        const std::string name = entry.path().filename().string();
        if (name.starts_with(kGonePrefix)) remove_tree(entry.path().string());
        else if (const std::optional<ObjectId> id = id_of(name)) found.push_back({name, *id, age_of(entry.path().string())});
    }
    std::ranges::sort(found, {}, [](const Found& f) { return std::pair(f.age.tv_sec, f.age.tv_nsec); });
    for (const Found& f : found) {
        Result<std::shared_ptr<LocalObject>> object =
            LocalObject::load(directory_of(f.id), f.id, max_bytes_, workers_, buffers_, weak_from_this());
        if (object) {
            used_bytes_ += static_cast<std::int64_t>((*object)->allocated());
            objects_[f.id] = {std::move(*object), ++clock_};
        } else if (object.code() == Errc::unsupported) {
            move_aside(f.name);
        } else {
            // Nothing in it can be vouched for: an unfinished creation, or rot in the header.
            log::info("object dropped from the store", {{"object", f.name}, {"why", object.error().to_string()}});
            if (object.code() != Errc::io) remove_tree(directory_of(f.id));
        }
    }
}

void LocalStore::move_aside(const std::string& name) {
    const std::string aside = directory_ + "/moved-aside";
    std::error_code error;
    fs::create_directory(aside, error);
    std::string to = aside + "/" + name;
    for (int n = 1; fs::exists(fs::symlink_status(to, error)); ++n) to = aside + "/" + name + "." + std::to_string(n);
    fs::rename(objects_directory_ + "/" + name, to, error);
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

std::shared_ptr<ObjectFile> LocalStore::find(const ObjectId& id) {
    std::shared_ptr<LocalObject> object;
    {
        const std::scoped_lock lock(mutex_);
        const auto it = objects_.find(id);
        if (it == objects_.end()) return nullptr;
        it->second.used = ++clock_;
        object = it->second.object;
    }
    object->mark_used();
    return object;
}

Result<std::shared_ptr<ObjectFile>> LocalStore::create(const ObjectId& id, Geometry geometry) {
    if (geometry.length() > max_bytes_) return fail(Errc::no_space, "object larger than the store");
    std::shared_ptr<LocalObject> object;
    {
        const std::scoped_lock lock(mutex_);
        if (!health_) return health_.error();
        if (const auto it = objects_.find(id); it != objects_.end()) {
            if (!(it->second.object->geometry() == geometry)) return fail(Errc::wrong_object, "same id, another geometry");
            it->second.used = ++clock_;
            it->second.object->resume_writing();
            return std::shared_ptr<ObjectFile>(it->second.object);
        }
        if (going_.contains(id)) return fail(Errc::busy, "object is being removed");
        object = std::make_shared<LocalObject>(directory_of(id), MapHeader{id, geometry}, workers_, buffers_, weak_from_this());
        objects_[id] = {object, ++clock_};
    }
    object->mark_used();
    return std::shared_ptr<ObjectFile>(std::move(object));
}

std::vector<ObjectId> LocalStore::list() const {
    const std::scoped_lock lock(mutex_);
    std::vector<ObjectId> out;
    out.reserve(objects_.size());
    for (const auto& [id, entry] : objects_) out.push_back(id);
    return out;
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
        going_.insert(victim->id());
        objects_.erase(oldest);
    }
    remove_from_disk(victim);
    return true;
}

void LocalStore::remove(const ObjectId& id) {
    std::shared_ptr<LocalObject> object;
    {
        const std::scoped_lock lock(mutex_);
        const auto it = objects_.find(id);
        if (it == objects_.end()) return;
        object = std::move(it->second.object);
        objects_.erase(it);
        going_.insert(id);
    }
    workers_.submit([self = shared_from_this(), object = std::move(object)] { self->remove_from_disk(object); });
}

void LocalStore::remove_from_disk(const std::shared_ptr<LocalObject>& object) {
    object->mark_removed();
    const std::string gone = objects_directory_ + "/" + std::string(kGonePrefix) + object->id().hex();
    std::error_code error;
    fs::rename(object->directory(), gone, error);  // at once out of the way of a restart
    remove_tree(error ? object->directory() : gone);
    used_bytes_ -= static_cast<std::int64_t>(object->allocated());
    const std::scoped_lock lock(mutex_);
    going_.erase(object->id());
}

// ── Once a second ──

void LocalStore::attend(const std::shared_ptr<LocalObject>& object) {
    {
        const std::scoped_lock lock(tend_mutex_);
        attended_[object->id()] = object;
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
        for (const auto& object : again) attended_.try_emplace(object->id(), object);
        lock.unlock();
        again.clear();  // never the last reference under the lock
        lock.lock();
    }
}

}  // namespace

std::shared_ptr<Store> Store::open(const std::string& directory, std::uint64_t max_bytes, Workers& workers,
                                   BufferPool& buffers) {
    auto store = std::make_shared<LocalStore>(directory, max_bytes, workers, buffers);
    store->start();
    return store;
}

}  // namespace mssl::proxy
