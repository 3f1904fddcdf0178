#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "protocol/merkle.h"
#include "proxy/store/map_format.h"
#include "proxy/store/store.h"
#include "tests/unit/loop_thread.h"

using namespace mssl;
using namespace mssl::proxy;
namespace fs = std::filesystem;

namespace {

const RealmId kRealm = [] {
    RealmId id;
    id.bytes.fill(0xaa);
    return id;
}();
constexpr std::uint64_t kPlenty = std::uint64_t{1} << 30;

struct TemporaryDirectory {
    std::string path;
    TemporaryDirectory() {
        std::string t = (fs::temp_directory_path() / "mssl-store-XXXXXX").string();
        path = ::mkdtemp(t.data());
    }
    ~TemporaryDirectory() { fs::remove_all(path); }
};

ObjectId id_of(std::uint8_t n) {
    ObjectId id;
    id.bytes.fill(n);
    return id;
}

// Content that differs in every block and object.
BlockData content(std::uint8_t seed, BlockIndex block, std::uint32_t length) {
    std::shared_ptr<std::uint8_t[]> out(new std::uint8_t[length]);
    for (std::uint32_t i = 0; i < length; ++i) out[i] = static_cast<std::uint8_t>(seed + block.v * 7 + i % 251);
    return out;
}

Hash node_of(std::uint8_t seed, const Geometry& g, BlockIndex block) {
    const std::uint32_t n = g.block_length(block);
    return hash_block({content(seed, block, n).get(), n});
}

// A store with what it runs on. Members are destroyed in the right order: store, workers, loop.
struct House {
    LoopThread io;
    Workers workers{3};
    BufferPool buffers{64u << 20};
    std::shared_ptr<StoreDirectory> directory;
    std::shared_ptr<Store> store;
    explicit House(const std::string& path, std::uint64_t max = kPlenty)
        : directory(StoreDirectory::open(path, max, workers, buffers)), store(directory->of(kRealm)) {}

    Status write(const std::shared_ptr<ObjectFile>& o, std::uint8_t seed, std::uint32_t block) {
        const BlockIndex b{block};
        const Geometry g = o->geometry();
        return await<Status>([&](auto done) {
            o->write(b, content(seed, b, g.block_length(b)), g.block_length(b), node_of(seed, g, b), io.loop, done);
        });
    }
    Status sync(const std::shared_ptr<ObjectFile>& o) {
        return await<Status>([&](auto done) { o->sync(io.loop, done); });
    }
    // ok when the block reads back as it should.
    Errc check(const std::shared_ptr<ObjectFile>& o, std::uint8_t seed, std::uint32_t block) {
        const BlockIndex b{block};
        auto got = await<std::shared_ptr<Result<BlockData>>>([&](auto done) {
            o->read(b, io.loop, [done](Result<BlockData> r) { done(std::make_shared<Result<BlockData>>(std::move(r))); });
        });
        if (!*got) return got->code();
        const std::uint32_t n = o->geometry().block_length(b);
        return std::memcmp((*got)->get(), content(seed, b, n).get(), n) == 0 ? Errc::ok : Errc::internal;
    }
    std::shared_ptr<ObjectFile> create(std::uint8_t n, Geometry g) {
        auto o = store->create(id_of(n), g);
        cr_assert(o.has_value(), "%s", o ? "" : o.error().to_string().c_str());
        return *o;
    }
    std::shared_ptr<ObjectFile> full(std::uint8_t n, Geometry g) {
        auto o = create(n, g);
        for (std::uint32_t b = 0; b < g.block_count(); ++b) cr_assert(write(o, n, b).has_value());
        cr_assert(sync(o).has_value());
        return o;
    }
};

std::string realm_path(const TemporaryDirectory& d) { return d.path + "/realms/" + kRealm.hex(); }

std::string object_path(const TemporaryDirectory& d, std::uint8_t n, const char* file) {
    return realm_path(d) + "/" + id_of(n).hex() + "/" + file;
}

void flip(const std::string& path, std::uint64_t offset) {
    std::fstream f(path, std::ios::in | std::ios::out | std::ios::binary);
    f.seekg(static_cast<std::streamoff>(offset));
    const int c = f.get();
    cr_assert(f.good(), "%s", path.c_str());
    f.seekp(static_cast<std::streamoff>(offset));
    f.put(static_cast<char>(c ^ 0x10));
}

const Geometry kFour = Geometry(4 * 65536 - 100, 65536);  // the last block is short

}  // namespace

Test(store, gives_back_what_was_written_also_after_a_restart) {
    for (std::uint64_t length : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{65535}, std::uint64_t{65536}, std::uint64_t{65537},
                                 std::uint64_t{4 * 65536}}) {
        TemporaryDirectory d;
        const Geometry g = Geometry::for_length(length);
        {
            House h(d.path);
            cr_assert(h.store->health().has_value());
            auto o = h.full(1, g);
            cr_assert(o->have().all());
            o->set_meta({1, 2}, {3}, {});
            cr_assert(h.sync(o).has_value());
        }
        House h(d.path);
        cr_assert_eq(h.store->list().size(), 1u, "length %lu", length);
        auto o = h.store->find(id_of(1));
        cr_assert(o != nullptr);
        cr_assert(o->geometry() == g);
        cr_assert(o->have().all());
        cr_assert_eq(o->nodes().size(), g.block_count());
        for (const auto& [position, hash] : o->nodes()) cr_assert(hash == node_of(1, g, BlockIndex{position.index}));
        cr_assert(o->meta().manifest_der == (Bytes{1, 2}));
        cr_assert(o->meta().head_der == (Bytes{3}));
        cr_assert(o->meta().signer_der.empty());
        for (std::uint32_t b = 0; b < g.block_count(); ++b) cr_assert_eq(h.check(o, 1, b), Errc::ok);
    }
}

Test(store, a_block_that_is_not_there_is_said_to_be_missing) {
    TemporaryDirectory d;
    House h(d.path);
    cr_assert(h.store->find(id_of(1)) == nullptr);
    auto o = h.create(1, kFour);
    cr_assert(h.write(o, 1, 2).has_value());
    cr_assert_eq(o->have().count(), 1u);
    cr_assert_eq(h.check(o, 1, 0), Errc::no_such_block);
    cr_assert_eq(h.check(o, 1, 2), Errc::ok);
    const auto beyond = await<std::shared_ptr<Result<BlockData>>>([&](auto done) {
        o->read(BlockIndex{4}, h.io.loop, [done](Result<BlockData> r) { done(std::make_shared<Result<BlockData>>(std::move(r))); });
    });
    cr_assert_eq(beyond->code(), Errc::no_such_block);
}

Test(store, a_block_of_the_wrong_size_is_not_written) {
    TemporaryDirectory d;
    House h(d.path);
    auto o = h.create(1, kFour);
    const Status s = await<Status>([&](auto done) {
        o->write(BlockIndex{3}, content(1, BlockIndex{3}, 65536), 65536, Hash{}, h.io.loop, done);
    });
    cr_assert_eq(s.code(), Errc::internal);
    cr_assert(o->have().none());
}

Test(store, the_same_id_is_the_same_object_and_never_another_geometry) {
    TemporaryDirectory d;
    House h(d.path);
    auto a = h.create(1, kFour);
    cr_assert(h.create(1, kFour) == a);
    cr_assert_eq(h.store->create(id_of(1), Geometry(7, 65536)).code(), Errc::wrong_object);
    cr_assert_eq(h.store->create(id_of(2), Geometry(kPlenty + 1, 262144)).code(), Errc::no_space);
}

Test(store, the_same_id_in_another_realm_is_another_object) {
    TemporaryDirectory d;
    RealmId elsewhere;
    elsewhere.bytes.fill(0xbb);
    {
        House h(d.path);
        h.full(1, kFour);
        const auto other = h.directory->of(elsewhere);
        cr_assert(other->find(id_of(1)) == nullptr);
        cr_assert(other->list().empty());
        auto o = other->create(id_of(1), Geometry(2 * 65536, 65536)).value();  // of another size even
        for (std::uint32_t b = 0; b < 2; ++b) cr_assert(h.write(o, 9, b).has_value());
        cr_assert(h.sync(o).has_value());
        cr_assert_eq(h.directory->objects(), 2u);
    }
    House h(d.path);
    const auto other = h.directory->of(elsewhere);
    cr_assert_eq(h.check(h.store->find(id_of(1)), 1, 0), Errc::ok);
    cr_assert_eq(h.check(other->find(id_of(1)), 9, 0), Errc::ok);
    other->remove(id_of(1));
    cr_assert(other->find(id_of(1)) == nullptr);
    cr_assert_eq(h.check(h.store->find(id_of(1)), 1, 1), Errc::ok);
}

Test(store, what_was_kept_without_its_realm_is_gone) {
    TemporaryDirectory d;
    { House(d.path).full(1, kFour); }
    fs::create_directory(d.path + "/objects");
    fs::rename(realm_path(d) + "/" + id_of(1).hex(), d.path + "/objects/" + id_of(1).hex());
    House h(d.path);
    cr_assert(h.store->health().has_value());
    cr_assert(h.store->find(id_of(1)) == nullptr);
    cr_assert_eq(h.store->used_bytes(), 0u);
    cr_assert_not(fs::exists(d.path + "/objects"));
    cr_assert(h.full(1, kFour)->have().all());
}

Test(store, a_flipped_bit_in_the_data_costs_that_block_for_good) {
    TemporaryDirectory d;
    { House(d.path).full(1, kFour); }
    flip(object_path(d, 1, "data"), 65536 + 17);
    {
        House h(d.path);
        auto o = h.store->find(id_of(1));
        cr_assert_eq(h.check(o, 1, 1), Errc::bad_proof);
        cr_assert_eq(h.check(o, 1, 1), Errc::no_such_block);
        cr_assert_eq(h.check(o, 1, 0), Errc::ok);
        cr_assert_eq(o->have().count(), 3u);
        cr_assert(h.sync(o).has_value());
    }
    House h(d.path);
    auto o = h.store->find(id_of(1));
    cr_assert_eq(o->have().count(), 3u);
    cr_assert(h.write(o, 1, 1).has_value());
    cr_assert_eq(h.check(o, 1, 1), Errc::ok);
}

Test(store, a_flipped_bit_in_the_map_costs_that_block_alone) {
    const std::uint64_t record = map_record_offset(BlockIndex{2});
    for (std::uint64_t offset : {record, record + 31, record + 32, record + 39}) {
        TemporaryDirectory d;
        { House(d.path).full(1, kFour); }
        flip(object_path(d, 1, "map"), offset);
        House h(d.path);
        auto o = h.store->find(id_of(1));
        cr_assert(o != nullptr);
        cr_assert_eq(o->have().count(), 3u);
        cr_assert_not(o->have().test(BlockIndex{2}));
    }
}

Test(store, a_damaged_header_costs_the_object_and_another_version_is_moved_aside) {
    for (std::uint64_t offset = 0; offset < kMapHeaderBytes; offset += 5) {
        TemporaryDirectory d;
        { House(d.path).full(1, kFour); }
        flip(object_path(d, 1, "map"), offset);
        House h(d.path);
        cr_assert(h.store->list().empty());
        cr_assert(h.store->health().has_value());
        // Magic and version are the first twelve bytes.
        cr_assert_eq(fs::exists(d.path + "/moved-aside/" + id_of(1).hex() + "/data"), offset < 12, "offset %lu", offset);
        cr_assert_not(fs::exists(realm_path(d) + "/" + id_of(1).hex()));
        cr_assert(h.full(1, kFour)->have().all());
    }
}

Test(store, what_is_moved_aside_never_replaces_what_lies_there) {
    TemporaryDirectory d;
    for (int i = 0; i < 2; ++i) {
        { House(d.path).full(1, kFour); }
        flip(object_path(d, 1, "map"), 11);
        House h(d.path);
    }
    cr_assert(fs::exists(d.path + "/moved-aside/" + id_of(1).hex() + "/data"));
    cr_assert(fs::exists(d.path + "/moved-aside/" + id_of(1).hex() + ".1/data"));
}

Test(store, a_damaged_meta_costs_the_meta_alone) {
    TemporaryDirectory d;
    {
        House h(d.path);
        auto o = h.full(1, kFour);
        o->set_meta({1}, {2}, {3});
        cr_assert(h.sync(o).has_value());
    }
    flip(object_path(d, 1, "meta"), 16);
    House h(d.path);
    auto o = h.store->find(id_of(1));
    cr_assert(o->meta().manifest_der.empty());
    cr_assert(o->have().all());
}

Test(store, a_truncated_data_file_gives_errors_and_lost_blocks) {
    TemporaryDirectory d;
    House h(d.path);
    auto o = h.full(1, kFour);
    fs::resize_file(object_path(d, 1, "data"), 65536 + 1);
    cr_assert_eq(h.check(o, 1, 0), Errc::ok);
    cr_assert_eq(h.check(o, 1, 1), Errc::io);
    cr_assert_eq(h.check(o, 1, 3), Errc::io);
    cr_assert_eq(o->have().count(), 2u);
}

Test(store, truncated_maps_of_every_length_are_survived) {
    for (std::uint64_t size = 0; size <= map_record_offset(BlockIndex{4}); size += 13) {
        TemporaryDirectory d;
        { House(d.path).full(1, kFour); }
        fs::resize_file(object_path(d, 1, "map"), size);
        House h(d.path);
        auto o = h.store->find(id_of(1));
        cr_assert_eq(o != nullptr, size >= kMapHeaderBytes);
        if (o) cr_assert_eq(o->have().count(), (size - kMapHeaderBytes) / kMapRecordBytes);
    }
}

Test(store, strangers_in_the_directory_do_no_harm) {
    TemporaryDirectory d;
    { House(d.path).full(1, kFour); }
    fs::create_directory(realm_path(d) + "/nonsense");
    std::ofstream(realm_path(d) + "/" + id_of(2).hex()) << "a file";
    fs::create_directory(realm_path(d) + "/" + id_of(3).hex());
    fs::copy(realm_path(d) + "/" + id_of(1).hex(), realm_path(d) + "/" + id_of(4).hex());
    fs::create_directory(realm_path(d) + "/.gone-x");
    House h(d.path);
    cr_assert_eq(h.store->list().size(), 1u);
    cr_assert(fs::exists(realm_path(d) + "/nonsense"));
    cr_assert_not(fs::exists(realm_path(d) + "/.gone-x"));
}

Test(store, evicts_whole_objects_that_nobody_uses_oldest_first) {
    TemporaryDirectory d;
    const Geometry g(4 * 65536, 65536);
    {
        House h(d.path);
        for (std::uint8_t n = 1; n <= 3; ++n) h.full(n, g);
        auto first = h.store->find(id_of(1));  // used last, and in use
        cr_assert(h.sync(first).has_value());
        h.store->set_max_bytes(h.store->used_bytes() + 65536);
        auto fourth = h.full(4, g);
        cr_assert(h.store->find(id_of(2)) == nullptr);
        cr_assert(h.store->find(id_of(1)) != nullptr);
        cr_assert(h.store->find(id_of(3)) != nullptr);
        cr_assert_not(fs::exists(realm_path(d) + "/" + id_of(2).hex()));
        cr_assert(h.sync(fourth).has_value());
        cr_assert(h.sync(first).has_value());
    }
    House h(d.path, 3 * 4 * 65536 + 65536);  // the order of use survives a restart: 3 is the oldest that is there
    cr_assert_eq(h.store->list().size(), 3u);
}

Test(store, when_everything_is_in_use_a_write_fails_and_what_is_stored_stays) {
    TemporaryDirectory d;
    const Geometry g(4 * 65536, 65536);
    House h(d.path, 6 * 65536);
    auto a = h.full(1, g);
    auto b = h.create(2, g);
    Status s;
    std::uint32_t written = 0;
    while (written < 4 && (s = h.write(b, 2, written)).has_value()) ++written;
    cr_assert_eq(s.code(), Errc::no_space);
    cr_assert_lt(written, 3u);
    cr_assert_eq(h.write(b, 2, 3).code(), Errc::no_space);
    for (std::uint32_t i = 0; i < written; ++i) cr_assert_eq(h.check(b, 2, i), Errc::ok);
    for (std::uint32_t i = 0; i < 4; ++i) cr_assert_eq(h.check(a, 1, i), Errc::ok);
}

Test(store, an_object_that_could_not_be_written_can_be_again_once_there_is_room) {
    TemporaryDirectory d;
    const Geometry g(4 * 65536, 65536);
    House h(d.path, 6 * 65536);
    auto a = h.full(1, g);
    auto b = h.create(2, g);
    Status s;
    std::uint32_t block = 0;
    while (block < 4 && (s = h.write(b, 2, block)).has_value()) ++block;
    cr_assert_eq(s.code(), Errc::no_space);
    a.reset();  // may be evicted now
    cr_assert_eq(h.write(b, 2, block).code(), Errc::no_space, "its owner asks for it when it wants to try again");
    b = h.create(2, g);
    for (std::uint32_t i = 0; i < 4; ++i) cr_assert(h.write(b, 2, i).has_value());
    cr_assert(h.sync(b).has_value());
    for (std::uint32_t i = 0; i < 4; ++i) cr_assert_eq(h.check(b, 2, i), Errc::ok);
}

Test(store, removed_objects_are_gone_from_disk_and_their_holders_are_told) {
    TemporaryDirectory d;
    {
        House h(d.path);
        auto o = h.full(1, kFour);
        h.store->remove(id_of(1));
        h.store->remove(id_of(9));
        cr_assert(h.store->find(id_of(1)) == nullptr);
        // The removal runs in a worker: once its id is free again it is over.
        while (h.store->create(id_of(1), kFour).code() == Errc::busy) std::this_thread::yield();
        cr_assert_eq(h.check(o, 1, 0), Errc::no_such_object);
        cr_assert_not(h.sync(o).has_value());
    }
    House h(d.path);
    auto o = h.store->find(id_of(1));
    cr_assert(o == nullptr || o->have().none());
}

Test(store, two_objects_written_and_read_at_once_do_not_mix) {
    TemporaryDirectory d;
    House h(d.path);
    const Geometry g(32 * 65536, 65536);
    auto a = h.create(1, g), b = h.create(2, g);
    std::atomic<int> left{64};
    std::promise<void> all;
    for (std::uint32_t i = 0; i < 32; ++i) {
        for (std::uint8_t n : {std::uint8_t{1}, std::uint8_t{2}}) {
            const BlockIndex block{i};
            (n == 1 ? a : b)->write(block, content(n, block, 65536), 65536, node_of(n, g, block), h.io.loop, [&](Status s) {
                if (!s) std::terminate();
                if (--left == 0) all.set_value();
            });
        }
    }
    all.get_future().wait();
    for (std::uint32_t i = 0; i < 32; ++i) {
        cr_assert_eq(h.check(a, 1, i), Errc::ok);
        cr_assert_eq(h.check(b, 2, i), Errc::ok);
    }
}

Test(store, no_buffer_left_is_busy_not_lost) {
    TemporaryDirectory d;
    House h(d.path);
    auto o = h.full(1, kFour);
    std::vector<std::shared_ptr<std::uint8_t[]>> all;
    while (auto buffer = h.buffers.get(65536)) all.push_back(std::move(buffer));
    cr_assert_eq(h.check(o, 1, 0), Errc::busy);
    all.clear();
    cr_assert_eq(h.check(o, 1, 0), Errc::ok);
}

Test(store, a_directory_that_cannot_be_used_costs_the_store_only) {
    TemporaryDirectory d;
    std::ofstream(d.path + "/file") << "x";
    House h(d.path + "/file/store");
    cr_assert_not(h.store->health().has_value());
    cr_assert_eq(h.store->create(id_of(1), kFour).code(), h.store->health().code());
    cr_assert(h.store->find(id_of(1)) == nullptr);
    cr_assert(h.store->list().empty());
    h.store->remove(id_of(1));
}

Test(store, a_directory_belongs_to_one_program) {
    TemporaryDirectory d;
    House a(d.path);
    a.full(1, kFour);
    House b(d.path);
    cr_assert_eq(b.store->health().code(), Errc::busy);
    cr_assert(b.store->list().empty());
    cr_assert(a.store->health().has_value());
}

Test(store, a_limit_of_file_size_makes_the_object_memory_only) {
    TemporaryDirectory d;
    House h(d.path);
    auto o = h.create(1, kFour);
    cr_assert(h.write(o, 1, 0).has_value());
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{100000, 100000};
    cr_assert_eq(::setrlimit(RLIMIT_FSIZE, &limit), 0);
    cr_assert_eq(h.write(o, 1, 2).code(), Errc::no_space);
    cr_assert_eq(h.write(o, 1, 0).code(), Errc::no_space);
    cr_assert_eq(h.check(o, 1, 0), Errc::ok);
    cr_assert_eq(h.check(o, 1, 2), Errc::no_such_block);
}

Test(store, a_full_disk_evicts_and_then_makes_the_object_memory_only) {
    TemporaryDirectory d;
    if (::mount("none", d.path.c_str(), "tmpfs", 0, "size=1m") != 0) cr_skip("needs the right to mount");
    {
        House h(d.path);  // its own limit is far above the disk's
        const Geometry g(8 * 65536, 65536);
        h.full(1, g);
        auto b = h.full(2, Geometry(14 * 65536, 65536));  // only fits without the first
        cr_assert(h.store->find(id_of(1)) == nullptr);
        auto c = h.create(3, g);
        Status s;
        for (std::uint32_t i = 0; i < 8 && s; ++i) s = h.write(c, 3, i);
        cr_assert_eq(s.code(), Errc::no_space);
        for (std::uint32_t i = 0; i < 14; ++i) cr_assert_eq(h.check(b, 2, i), Errc::ok);
    }
    ::umount(d.path.c_str());
}

// A child writes and says what it was promised; it dies by SIGKILL at a random point.
Test(store, survives_kill_9_at_any_point, .timeout = 120) {
    TemporaryDirectory d;
    const Geometry g(64 * 65536, 65536);
    std::mt19937 random(7);
    std::uint64_t promised_ever = 0;
    for (int round = 0; round < 20; ++round) {
        int promises[2];
        cr_assert_eq(::pipe(promises), 0);
        const unsigned kill_after = random() % 80;
        const pid_t child = ::fork();
        if (child == 0) {
            ::close(promises[0]);
            House h(d.path);
            auto created = h.store->create(id_of(1), g);
            if (!created) ::_exit(1);
            for (std::uint32_t i = 0; i < 64; ++i) {
                const std::uint32_t block = i * 37 % 64;
                if (!h.write(*created, 1, block)) ::_exit(2);
                const std::uint8_t written = static_cast<std::uint8_t>(block);
                if (::write(promises[1], &written, 1) != 1) ::_exit(3);
                if (i % 8 != 7) continue;
                if (!h.sync(*created)) ::_exit(4);
                const std::uint8_t synced = 255;
                if (::write(promises[1], &synced, 1) != 1) ::_exit(5);
            }
            for (;;) ::pause();
        }
        ::close(promises[1]);
        std::vector<std::uint8_t> written;
        std::size_t synced = 0;
        std::uint8_t word = 0;
        for (unsigned words = 0; words < std::min(kill_after, 72u); ++words) {
            if (::read(promises[0], &word, 1) != 1) break;
            if (word == 255) synced = written.size();
            else written.push_back(word);
        }
        ::kill(child, SIGKILL);
        int status = 0;
        ::waitpid(child, &status, 0);
        cr_assert(WIFSIGNALED(status), "child ended by itself: %d", WEXITSTATUS(status));
        ::close(promises[0]);

        House h(d.path);
        cr_assert(h.store->health().has_value());
        auto o = h.store->find(id_of(1));
        cr_assert(o != nullptr || synced == 0);
        if (!o) continue;
        const Bitmap have = o->have();
        for (std::size_t i = 0; i < synced; ++i) cr_assert(have.test(BlockIndex{written[i]}), "a promised block is missing");
        for (std::uint64_t b = have.next_set(0); b < have.size(); b = have.next_set(b + 1)) {
            cr_assert_eq(h.check(o, 1, static_cast<std::uint32_t>(b)), Errc::ok, "the map vouches for a block that is wrong");
        }
        promised_ever += synced;
        o.reset();
        if (round % 5 == 4) {
            h.store->remove(id_of(1));
            while (h.store->create(id_of(1), g).code() == Errc::busy) std::this_thread::yield();
        }
    }
    cr_assert_gt(promised_ever, 0u);
}
