// The registry of transfers: one table a loop, each object in its owner loop.
#include <map>

#include "proxy/client/transfer_core.h"
#include "proxy/core/log.h"

namespace mssl::proxy {
namespace {

// What a realm calls by some id is another object than what any other realm calls by it.
struct Key {
    RealmId realm;
    ObjectId object;
    auto operator<=>(const Key&) const = default;
};

// What one loop owns. Touched in that loop alone.
struct Table {
    explicit Table(Loop& l) : loop(&l) {}
    struct Pending {
        Resolution resolution;
        std::function<void(std::shared_ptr<Transfer>, const Error*)> done;
    };
    Loop* loop;
    std::map<Site*, std::shared_ptr<ServerLink>> links;  // shared with the transfers: readers keep those beyond this table
    std::map<Key, std::shared_ptr<Transfer>> transfers;
    std::map<Key, std::vector<Pending>> opening;
};

class ReaderImpl final : public TransferReader {
public:
    ReaderImpl(std::shared_ptr<Transfer> transfer, Loop& owner, Transfer::ReaderId id, Loop& home)
        : transfer_(std::move(transfer)), owner_(&owner), id_(id), home_(&home) {}
    ~ReaderImpl() override {
        *alive_ = false;
        owner_->post([t = std::move(transfer_), id = id_] { t->remove_reader(id); });
    }
    Geometry geometry() const override { return transfer_->geometry(); }
    void read(BlockIndex block, std::function<void(Result<VerifiedBytes>)> done) override {
        owner_->post([t = transfer_, id = id_, home = home_, alive = alive_, block, done = std::move(done)]() mutable {
            t->read(id, block, [home, alive, done = std::move(done)](Result<VerifiedBytes> r) {
                home->post([alive, done, r = std::move(r)]() mutable {
                    if (*alive) done(std::move(r));
                });
            });
        });
    }
    void position(std::uint64_t offset) override {
        owner_->post([t = transfer_, id = id_, offset] { t->position(id, offset); });
    }

private:
    std::shared_ptr<Transfer> transfer_;
    Loop* owner_;
    Transfer::ReaderId id_;
    Loop* home_;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // read and written in home_ alone
};

class TransfersImpl final : public Transfers, public std::enable_shared_from_this<TransfersImpl> {
public:
    TransfersImpl(Runtime& runtime, std::shared_ptr<StoreDirectory> store, const ClientConfig& config, std::uint16_t peer_port)
        : runtime_(runtime),
          store_(std::move(store)),
          upload_(config.upload),
          peer_port_(config.upload ? peer_port : std::uint16_t{0}),
          limit_(std::make_shared<RateLimit>(config.upload_limit)),
          memory_(std::make_shared<UploadMemory>(runtime.buffers.limit() / 4)) {
        for (unsigned i = 0; i < runtime.loops.size(); ++i) tables_.push_back(std::make_unique<Table>(runtime.loops.at(i)));
    }

    void join(std::shared_ptr<Site> site, Resolution resolution, Loop& loop,
              std::function<void(Result<std::unique_ptr<TransferReader>>)> done) override {
        const ObjectId id = resolution.manifest->body.object;
        Loop& owner = runtime_.loops.owner(id);
        owner.post([self = shared_from_this(), site = std::move(site), resolution = std::move(resolution), &loop, &owner,
                    done = std::move(done)]() mutable {
            self->join_in_owner(owner, std::move(site), resolution,
                                [&loop, &owner, resolution, done = std::move(done)](std::shared_ptr<Transfer> t, const Error* why) {
                                    if (why != nullptr) return loop.post([done, e = *why] { done(e); });
                                    const Transfer::ReaderId reader = t->add_reader(resolution);
                                    loop.post([done, t, &owner, reader, &loop] {
                                        done(std::unique_ptr<TransferReader>(
                                            std::make_unique<ReaderImpl>(t, owner, reader, loop)));
                                    });
                                });
        });
    }

    bool holds(const Resolution& resolution) const override {
        const std::shared_ptr<ObjectFile> file = store_->of(resolution.realm)->find(resolution.manifest->body.object);
        return file && file->have().all();
    }
    Loop& owner_of(const ObjectId& object) override { return runtime_.loops.owner(object); }

    void attach_upload(const RealmId& realm, const ObjectId& object, std::shared_ptr<UploadTaker> taker, Handle handle,
                       WallTime ticket_end, Loop& loop,
                       std::function<void(Result<std::shared_ptr<UploadPlace>>)> done) override {
        Loop& owner = runtime_.loops.owner(object);
        owner.post([self = shared_from_this(), key = Key{realm, object}, taker = std::move(taker), handle, ticket_end, &loop, &owner,
                    done = std::move(done)] {
            Table& table = self->table(owner);
            const auto it = table.transfers.find(key);
            if (!self->upload_ || it == table.transfers.end())
                return loop.post([done] { done(fail(Errc::no_such_object, "not held here")); });
            const std::shared_ptr<Uploads> uploads = it->second->uploads();
            auto place = std::make_shared<UploadPlace>(owner, uploads, uploads->attach(taker, handle, ticket_end));
            loop.post([done, place = std::move(place)] { done(place); });
        });
    }

    void status(Loop& loop, std::function<void(std::vector<TransferStatus>)> done) override {
        struct Gather {
            std::mutex mutex;
            std::vector<TransferStatus> rows;
            std::size_t left = 0;
        };
        auto gather = std::make_shared<Gather>();
        gather->left = tables_.size();
        for (const auto& table : tables_)
            table->loop->post([gather, &loop, done, t = table.get(), self = shared_from_this()] {
                std::vector<TransferStatus> rows;
                for (const auto& [_, transfer] : t->transfers) rows.push_back(transfer->status());
                const std::lock_guard lock(gather->mutex);
                std::move(rows.begin(), rows.end(), std::back_inserter(gather->rows));
                if (--gather->left == 0) loop.post([gather, done] { done(std::move(gather->rows)); });
            });
    }

    const BannedPeers& banned() const override { return *banned_; }
    RateLimit& upload_limit() override { return *limit_; }

private:
    Table& table(Loop& loop) { return *tables_[loop.number()]; }

    void join_in_owner(Loop& owner, std::shared_ptr<Site> site, const Resolution& resolution,
                       std::function<void(std::shared_ptr<Transfer>, const Error*)> done) {
        Table& t = table(owner);
        const Key key{resolution.realm, resolution.manifest->body.object};
        if (const auto it = t.transfers.find(key); it != t.transfers.end() && it->second->can_join(resolution))
            return done(it->second, nullptr);
        auto& pending = t.opening[key];
        pending.push_back({resolution, std::move(done)});
        if (pending.size() > 1) return;
        const std::shared_ptr<const Membership> self_member = site->current();
        if (!self_member || self_member->trust.id() != key.realm) {
            finish_opening(t, key, nullptr, fail(Errc::not_member, "not enrolled where this was resolved"));
            return;
        }
        // The store touches the disk.
        runtime_.workers.submit(
            owner,
            [store = store_->of(key.realm), id = key.object, geometry = resolution.manifest->body.geometry()] {
                if (std::shared_ptr<ObjectFile> found = store->find(id); found && found->geometry() == geometry) return found;
                Result<std::shared_ptr<ObjectFile>> created = store->create(id, geometry);
                if (created) return *created;
                log::warning("not stored; the download goes on in memory",
                             {{"object", id.hex()}, {"error", created.error().to_string()}});
                return std::shared_ptr<ObjectFile>{};
            },
            [self = shared_from_this(), &owner, site, self_member, resolution, key](std::shared_ptr<ObjectFile> file) {
                Table& table = self->table(owner);
                auto& link = table.links[site.get()];
                if (!link) link = std::make_shared<ServerLink>(owner, site, self->peer_port_);
                Transfer::Parts parts{&owner, &self->runtime_, site,         self_member,
                                      link,   self->banned_,   self->limit_, self->memory_, std::move(file)};
                auto transfer = std::make_shared<Transfer>(std::move(parts), resolution);
                self->replace(table, key, transfer);
                transfer->start([weak = self->weak_from_this(), &owner, key, raw = transfer.get()] {
                    const auto s = weak.lock();
                    if (!s) return;
                    Table& tb = s->table(owner);
                    const auto it = tb.transfers.find(key);
                    if (it != tb.transfers.end() && it->second.get() == raw) tb.transfers.erase(it);
                });
                self->finish_opening(table, key, transfer, {});
            });
    }

    static void replace(Table& table, const Key& key, std::shared_ptr<Transfer> fresh) {
        std::shared_ptr<Transfer>& place = table.transfers[key];
        // What it replaces may have readers; it lives on in their hands.
        place = std::move(fresh);
    }

    static void finish_opening(Table& table, const Key& key, const std::shared_ptr<Transfer>& transfer,
                               const std::optional<Error>& why) {
        const auto it = table.opening.find(key);
        if (it == table.opening.end()) return;
        std::vector<Table::Pending> pending = std::move(it->second);
        table.opening.erase(it);
        for (Table::Pending& p : pending) p.done(transfer, why ? &*why : nullptr);
    }

    Runtime& runtime_;
    std::shared_ptr<StoreDirectory> store_;
    bool upload_;
    std::uint16_t peer_port_;
    std::shared_ptr<RateLimit> limit_;
    std::shared_ptr<UploadMemory> memory_;
    std::shared_ptr<BannedPeers> banned_ = std::make_shared<BannedPeers>();
    std::vector<std::unique_ptr<Table>> tables_;
};

}  // namespace

std::shared_ptr<Transfers> Transfers::create(Runtime& runtime, std::shared_ptr<StoreDirectory> store, const ClientConfig& config,
                                             std::uint16_t peer_port) {
    return std::make_shared<TransfersImpl>(runtime, std::move(store), config, peer_port);
}

}  // namespace mssl::proxy
