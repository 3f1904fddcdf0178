#include "proxy/server/catalog.h"

#include <dirent.h>
#include <openssl/rand.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <set>

#include "protocol/bytes.h"
#include "proxy/core/files.h"
#include "proxy/core/log.h"
#include "proxy/server/catalog_files.h"

namespace mssl::proxy {
namespace {

constexpr std::array<std::string_view, 4> kSuffixes{".manifest", ".nodes", ".head", ".withdrawn"};

// A withdrawn tree is kept for as long as anything signed over it may still be shown and judged: tickets last minutes, what is settled
// over them days.
constexpr std::int64_t kWithdrawnSeconds = std::int64_t{30} * 86400;

struct DirClose {
    void operator()(DIR* d) const noexcept { closedir(d); }
};

// Ids of all files, those that a head makes whole last used first.
Result<std::vector<ObjectId>> ids_in(const std::string& directory) {
    const std::unique_ptr<DIR, DirClose> dir(opendir(directory.c_str()));
    if (!dir) return fail(Errc::io, "cannot read " + directory + ": " + std::strerror(errno));
    std::set<ObjectId> seen;
    while (const dirent* entry = readdir(dir.get())) {
        const std::string_view name = entry->d_name;
        if (name.size() <= 2 * ObjectId::size || name[2 * ObjectId::size] != '.') continue;
        const Result<Bytes> id = from_hex(name.substr(0, 2 * ObjectId::size));
        if (id) seen.insert(ObjectId::from(*id));
    }
    std::vector<std::pair<std::int64_t, ObjectId>> dated;
    for (const ObjectId& id : seen) {
        struct stat s {};
        const bool whole = ::stat((directory + "/" + id.hex() + ".head").c_str(), &s) == 0;
        dated.emplace_back(whole ? s.st_mtim.tv_sec : 0, id);
    }
    std::ranges::sort(dated);
    std::vector<ObjectId> out;
    for (const auto& [when, id] : dated) out.push_back(id);
    return out;
}

std::string without_query(const std::string& url) { return url.substr(0, url.find('?')); }

// 0 of what is not there.
std::int64_t modified(const std::string& path) {
    struct stat s {};
    return ::stat(path.c_str(), &s) == 0 ? s.st_mtim.tv_sec : 0;
}

bool exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

}  // namespace

Catalog::Catalog(Runtime& runtime, std::string directory, CurrentRealm realm, std::shared_ptr<Store> spool,
                 ReaderMaker make_reader, std::size_t max_objects)
    : runtime_(runtime), directory_(std::move(directory)), realm_(std::move(realm)), spool_(std::move(spool)),
      make_reader_(std::move(make_reader)), max_objects_(max_objects), files_(runtime.workers) {}

Result<std::shared_ptr<Catalog>> Catalog::open(Runtime& runtime, const std::string& state_directory,
                                               CurrentRealm realm, std::shared_ptr<Store> spool,
                                               ReaderMaker make_reader, std::size_t max_objects) {
    std::shared_ptr<Catalog> out(new Catalog(runtime, state_directory + "/catalog", std::move(realm), std::move(spool),
                                             std::move(make_reader), max_objects));
    if (Status s = make_directories(out->directory_, 0700); !s) return s.error();
    if (Status s = out->load(wall_now()); !s) return s.error();
    return out;
}

std::string Catalog::path(const ObjectId& id, std::string_view suffix) const {
    return directory_ + "/" + id.hex() + std::string(suffix);
}

Hosting Catalog::hosting(std::shared_ptr<const Realm> realm, std::shared_ptr<const SignedManifest> manifest) {
    std::shared_ptr<RangeReader> reader = make_reader_(manifest);
    Hosting out{runtime_, std::move(realm), std::move(manifest), spool_, std::move(reader), weak_from_this()};
    out.today = realm_;
    return out;
}

// ── Start ──

bool Catalog::is_over(const ObjectId& id, WallTime now) const {
    const std::int64_t since = modified(path(id, ".withdrawn"));
    return since != 0 && now.unix_seconds - since > kWithdrawnSeconds;
}

void Catalog::expire_withdrawn(WallTime now) {
    files_.submit([self = shared_from_this(), now] {
        const Result<std::vector<ObjectId>> ids = ids_in(self->directory_);
        if (!ids) return log::error("cannot look for withdrawn objects", {{"why", ids.error().to_string()}});
        for (const ObjectId& id : *ids)
            if (self->is_over(id, now)) self->unlink_files(id);
    });
}

Status Catalog::load(WallTime now) {
    Result<std::vector<ObjectId>> ids = ids_in(directory_);
    if (!ids) return ids.error();
    const std::lock_guard lock(mutex_);
    for (const ObjectId& id : *ids) {
        if (exists(path(id, ".withdrawn"))) {
            if (is_over(id, now)) unlink_files(id);
            continue;
        }
        if (!exists(path(id, ".head"))) {
            unlink_files(id);
            continue;
        }
        const Status loaded = load_object(id, now);
        if (loaded) continue;
        log::warning("object not usable any more", {{"object", id.hex()}, {"why", loaded.error().to_string()}});
        if (loaded.code() == Errc::io || loaded.code() == Errc::busy) continue;  // perhaps at the next start
        move_aside(id);
    }
    evict_over(max_objects_);
    if (spool_) {
        for (const ObjectId& id : spool_->list()) {
            if (!objects_.contains(id)) spool_->remove(id);
        }
    }
    return {};
}

Status Catalog::load_object(const ObjectId& id, WallTime now) {
    const std::shared_ptr<const Realm> realm = realm_.get();
    Result<SignedFile> manifest_file = read_signed_file(path(id, ".manifest"), realm->trust());
    if (!manifest_file) return manifest_file.error();
    Result<SignedManifest> manifest = parse_manifest(manifest_file->der, manifest_file->signer.public_key());
    if (!manifest) return manifest.error();
    Result<SignedFile> head_file = read_signed_file(path(id, ".head"), realm->trust());
    if (!head_file) return head_file.error();
    Result<SignedHead> head = parse_head(head_file->der, head_file->signer.public_key());
    if (!head) return head.error();
    const Geometry geometry = manifest->body.geometry();
    if (manifest->body.object != id || head->body.object != id || head->body.geometry() != geometry || !head->body.final_head)
        return fail(Errc::malformed, "manifest and head are not of this object");
    Result<std::vector<Hash>> nodes = read_nodes_file(path(id, ".nodes"), geometry.block_count());
    if (!nodes) return nodes.error();

    // One signer speaks for all that a Resolved carries: what an earlier one signed says the same under today's.
    if (manifest->signer != realm->signer_id() || is_ending(manifest->body, now)) {
        Manifest body = manifest->body;
        begin_validity(body, now);
        manifest = sign_manifest(body, realm->signer_key());
        if (!manifest) return manifest.error();
        if (Status s = write_signed_file(path(id, ".manifest"), realm->signer(), manifest->der); !s) return s;
    }
    if (head->signer != realm->signer_id()) {
        head = sign_head(head->body, realm->signer_key());
        if (!head) return head.error();
        if (Status s = write_signed_file(path(id, ".head"), realm->signer(), head->der); !s) return s;
    }
    auto shared_manifest = std::make_shared<const SignedManifest>(*std::move(manifest));
    Result<std::shared_ptr<HostedObject>> object =
        host_known_object(hosting(realm, shared_manifest), std::make_shared<const SignedHead>(*std::move(head)), *nodes);
    if (!object) return object.error();
    insert(*std::move(object), shared_manifest->body);
    return {};
}

void Catalog::move_aside(const ObjectId& id) {
    const std::string aside = directory_ + "/moved-aside";
    if (Status s = make_directories(aside, 0700); !s) return;
    for (std::string_view suffix : kSuffixes) {
        const std::string name = id.hex() + std::string(suffix);
        if (std::rename((directory_ + "/" + name).c_str(), (aside + "/" + name).c_str()) != 0 && errno != ENOENT)
            log::warning("cannot move a file aside", {{"file", name}, {"why", std::strerror(errno)}});
    }
}

// ── Finding and adding ──

Result<Catalog::Registered> Catalog::find_or_add(const Draft& draft, WallTime now) {
    const std::lock_guard lock(mutex_);
    if (const auto at = by_url_.find(draft.url); at != by_url_.end()) {
        for (const ObjectId& id : at->second) {
            Entry* entry = usable(id);
            if (entry == nullptr || entry->validator != draft.validator) continue;
            mark_used(*entry);
            return Registered{entry->object, false};
        }
    }
    evict_over(max_objects_ - 1);
    if (objects_.size() >= max_objects_) return fail(Errc::busy, "as many objects are being hashed as the catalog holds");
    Manifest body;
    if (RAND_bytes(body.object.bytes.data(), static_cast<int>(ObjectId::size)) != 1) return openssl_error(Errc::crypto, "random");
    const Geometry geometry = Geometry::for_length(draft.length);
    body.url = draft.url;
    body.validator = draft.validator;
    body.fields = draft.fields;
    body.length = draft.length;
    body.block_bytes = geometry.block_bytes();
    body.access = draft.access;
    body.exchange = draft.exchange;
    body.price = draft.price;
    begin_validity(body, now);
    if (draft.length == 0 || draft.length > kMaxObjectBytes) return fail(Errc::malformed, "no object has this length");
    if (Status s = body.check(); !s) return s.error();
    const std::shared_ptr<const Realm> realm = realm_.get();
    Result<SignedManifest> manifest = sign_manifest(body, realm->signer_key());
    if (!manifest) return manifest.error();
    std::shared_ptr<HostedObject> object = host_new_object(hosting(realm, std::make_shared<const SignedManifest>(*std::move(manifest))));
    insert(object, body);
    return Registered{std::move(object), true};
}

std::shared_ptr<HostedObject> Catalog::insert(std::shared_ptr<HostedObject> object, const Manifest& manifest) {
    const ObjectId id = manifest.object;
    order_.push_back(id);
    objects_.emplace(id, Entry{object, manifest.url, manifest.validator, std::prev(order_.end())});
    const std::string bare = without_query(manifest.url);
    if (++by_path_[bare] > kMaxObjectsAPath) evict_over_path(bare);
    std::vector<ObjectId>& same = by_url_[manifest.url];
    same.push_back(id);
    if (same.size() > kMaxObjectsAnUrl) {
        const ObjectId oldest = same.front();
        unlink_files(oldest);
        remove(oldest);
    }
    return object;
}

Catalog::Entry* Catalog::usable(const ObjectId& id) {
    const auto at = objects_.find(id);
    if (at == objects_.end() || at->second.object->state() == HostedObject::State::withdrawn) return nullptr;
    return &at->second;
}

void Catalog::mark_used(Entry& entry) {
    order_.splice(order_.end(), order_, entry.used);
    std::vector<ObjectId>& same = by_url_[entry.url];
    const auto at = std::ranges::find(same, *entry.used);
    if (at != same.end()) std::rotate(at, at + 1, same.end());
}

std::shared_ptr<HostedObject> Catalog::find(const std::string& url, const Validator& validator) {
    const std::lock_guard lock(mutex_);
    const auto at = by_url_.find(url);
    if (at == by_url_.end()) return nullptr;
    for (const ObjectId& id : at->second) {
        Entry* entry = usable(id);
        if (entry == nullptr || entry->validator != validator) continue;
        mark_used(*entry);
        return entry->object;
    }
    return nullptr;
}

std::shared_ptr<HostedObject> Catalog::newest(const std::string& url) {
    const std::lock_guard lock(mutex_);
    const auto at = by_url_.find(url);
    if (at == by_url_.end()) return nullptr;
    for (auto id = at->second.rbegin(); id != at->second.rend(); ++id) {
        if (Entry* entry = usable(*id)) return entry->object;
    }
    return nullptr;
}

std::vector<std::shared_ptr<HostedObject>> Catalog::list() {
    const std::lock_guard lock(mutex_);
    std::vector<std::shared_ptr<HostedObject>> out;
    for (const ObjectId& id : order_) out.push_back(objects_.at(id).object);
    return out;
}

std::shared_ptr<HostedObject> Catalog::find(const ObjectId& id) {
    const std::lock_guard lock(mutex_);
    Entry* entry = usable(id);
    return entry == nullptr ? nullptr : entry->object;
}

// ── Keeping and letting go ──

void Catalog::keep(const ObjectId& id, const std::vector<Hash>& block_nodes, const SignedHead& final_head, Loop& loop,
                   std::function<void(Status)> done) {
    std::shared_ptr<HostedObject> object = find(id);
    if (!object) {
        loop.post([done = std::move(done)] { done(fail(Errc::no_such_object, "the catalog does not have it any more")); });
        return;
    }
    files_.submit([self = shared_from_this(), id, block_nodes, head = final_head.der, manifest = object->manifest(),
                   realm = object->realm(), &loop, done = std::move(done)] {
        Status s = write_signed_file(self->path(id, ".manifest"), realm->signer(), manifest->der);
        if (s) s = write_nodes_file(self->path(id, ".nodes"), block_nodes);
        if (s) s = write_signed_file(self->path(id, ".head"), realm->signer(), head);
        loop.post([s = std::move(s), done] { done(s); });
    });
}

void Catalog::withdrawn(const ObjectId& id, const Error& why) {
    {
        const std::lock_guard lock(mutex_);
        remove(id);
    }
    files_.submit([self = shared_from_this(), id, text = why.to_string()] {
        // Of an object that never was whole nothing is on disk, and no later start could use its id.
        if (!exists(self->path(id, ".head"))) return;
        Writer w;
        w.u8(kCatalogVersion);
        w.raw(as_view(text));
        if (Status s = write_file_durably(self->path(id, ".withdrawn"), w.view(), 0600); !s)
            log::error("cannot record a withdrawn object", {{"object", id.hex()}, {"why", s.error().to_string()}});
    });
    if (spool_) spool_->remove(id);
}

void Catalog::remove(const ObjectId& id) {
    const auto at = objects_.find(id);
    if (at == objects_.end()) return;
    order_.erase(at->second.used);
    if (const auto same = by_url_.find(at->second.url); same != by_url_.end()) {
        std::erase(same->second, id);
        if (same->second.empty()) by_url_.erase(same);
    }
    if (const auto bare = by_path_.find(without_query(at->second.url)); bare != by_path_.end() && --bare->second == 0)
        by_path_.erase(bare);
    objects_.erase(at);
}

void Catalog::evict_over(std::size_t limit) {
    // The longest unused complete ones: one that is being hashed has readers that wait.
    for (auto at = order_.begin(); objects_.size() > limit && at != order_.end();) {
        const ObjectId id = *at++;
        if (objects_.at(id).object->state() != HostedObject::State::complete) continue;
        unlink_files(id);
        remove(id);
    }
}

// As evict_over, among those of one path.
void Catalog::evict_over_path(const std::string& bare) {
    for (auto at = order_.begin(); by_path_[bare] > kMaxObjectsAPath && at != order_.end();) {
        const ObjectId id = *at++;
        const Entry& entry = objects_.at(id);
        if (entry.object->state() != HostedObject::State::complete || without_query(entry.url) != bare) continue;
        unlink_files(id);
        remove(id);
    }
}

void Catalog::unlink_files(const ObjectId& id) {
    // The head goes first: what is left of an interrupted removal is no object.
    files_.submit([directory = directory_, id] {
        for (std::string_view suffix : {".head", ".nodes", ".manifest", ".withdrawn"})
            ::unlink((directory + "/" + id.hex() + std::string(suffix)).c_str());
    });
    if (spool_) spool_->remove(id);
}

}  // namespace mssl::proxy
