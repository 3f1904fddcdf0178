// Which object a (URL, validator) is, also after a restart.
#include <criterion/criterion.h>

#include <filesystem>
#include <fstream>

#include "proxy/server/catalog.h"
#include "tests/unit/hosting_fixture.h"

using namespace mssl;
using namespace mssl::proxy;
using namespace mssl::proxy::test;

namespace {

constexpr std::uint64_t kLength = 5 * kMinBlockBytes + 1;

struct Catalogs {
    explicit Catalogs(std::size_t max = Catalog::kMaxObjects) : limit(max) {
        realm = Realm::open(directory.path, wall_now()).value();
        open();
    }
    void open() {
        const auto reader = [](std::shared_ptr<const SignedManifest> m) {
            return std::make_shared<test::Origin>(m->body.geometry());
        };
        catalog = Catalog::open(engine.runtime, directory.path, realm, nullptr, reader, limit).value();
    }
    Catalog::Draft draft(const std::string& path, const std::string& etag) const {
        Catalog::Draft d;
        d.url = "http://files.example:80" + path;
        d.validator.etag = "\"" + etag + "\"";
        d.fields.push_back({"Content-Type", "a/b"});
        d.length = kLength;
        return d;
    }
    Catalog::Registered add(const std::string& path, const std::string& etag) {
        return catalog->find_or_add(draft(path, etag), wall_now()).value();
    }
    std::shared_ptr<HostedObject> hash(const Catalog::Registered& r) {
        const Geometry g = r.object->manifest()->body.geometry();
        engine.run(r.object->loop(), [&] {
            for (std::uint32_t i = 0; i < g.block_count(); ++i) {
                const BlockIndex b{i};
                r.object->append(b, content(g, b), g.block_length(b), node_of(g, b));
            }
        });
        cr_assert(engine.eventually(r.object->loop(), [&] { return r.object->state() == HostedObject::State::complete; }));
        return r.object;
    }
    std::string file(const ObjectId& id, const std::string& suffix) const {
        return directory.path + "/catalog/" + id.hex() + suffix;
    }
    bool eventually(std::function<bool()> f) { return engine.eventually(engine.loops.at(0), std::move(f)); }

    ScratchDirectory directory;
    Engine engine;
    std::size_t limit;
    std::shared_ptr<Realm> realm;
    std::shared_ptr<Catalog> catalog;
};

}  // namespace

Test(catalog, makes_one_object_of_a_url_and_validator) {
    Catalogs c;
    const auto first = c.add("/a", "1");
    const auto second = c.add("/a", "1");
    cr_assert(first.is_new && !second.is_new);
    cr_assert(first.object == second.object);
    cr_assert(c.add("/a", "2").object != first.object);
    cr_assert(c.add("/b", "1").object != first.object);
    cr_assert(c.catalog->find(first.object->id()) == first.object);
    const Manifest& m = first.object->manifest()->body;
    cr_assert_eq(m.url, "http://files.example:80/a");
    cr_assert_eq(m.length, kLength);
}

Test(catalog, knows_the_representation_last_seen_of_a_url) {
    Catalogs c;
    cr_assert_null(c.catalog->newest("http://files.example:80/a").get());
    const auto first = c.add("/a", "1");
    const auto second = c.add("/a", "2");
    cr_assert(c.catalog->newest("http://files.example:80/a") == second.object);
    cr_assert(c.catalog->find("http://files.example:80/a", first.object->manifest()->body.validator) == first.object);
    cr_assert(c.catalog->newest("http://files.example:80/a") == first.object);
}

Test(catalog, finds_complete_objects_again_after_a_restart) {
    Catalogs c;
    const auto before = c.hash(c.add("/a", "1"));
    const Head head = before->head()->body;
    c.open();
    const auto after = c.add("/a", "1");
    cr_assert_not(after.is_new);
    cr_assert(after.object->id() == before->id());
    cr_assert(after.object->state() == HostedObject::State::complete);
    cr_assert(after.object->head()->body == head);
    cr_assert(after.object->manifest()->der == before->manifest()->der);
}

Test(catalog, gives_what_was_being_hashed_a_new_id_after_a_restart) {
    Catalogs c;
    const auto before = c.add("/a", "1");
    c.open();
    const auto after = c.add("/a", "1");
    cr_assert(after.is_new);
    cr_assert(after.object->id() != before.object->id());
}

Test(catalog, signs_again_under_a_new_signer_and_says_the_same) {
    Catalogs c;
    const auto before = c.hash(c.add("/a", "1"));
    std::filesystem::remove(c.directory.path + "/signer.key");
    c.realm = Realm::open(c.directory.path, wall_now()).value();
    c.open();
    const auto after = c.add("/a", "1").object;
    cr_assert(after->id() == before->id());
    cr_assert(after->manifest()->signer == c.realm->signer_id() && after->head()->signer == c.realm->signer_id());
    cr_assert(after->head()->body == before->head()->body);
}

Test(catalog, never_uses_a_withdrawn_object_again) {
    Catalogs c;
    const auto object = c.hash(c.add("/a", "1"));
    c.engine.run(object->loop(), [&] { object->withdraw(fail(Errc::withdrawn, "test")); });
    cr_assert(c.eventually([&] { return std::filesystem::exists(c.file(object->id(), ".withdrawn")); }));
    cr_assert_null(c.catalog->find(object->id()).get());
    const auto next = c.add("/a", "1");
    cr_assert(next.is_new && next.object->id() != object->id());
    c.open();
    cr_assert_null(c.catalog->find(object->id()).get());
    cr_assert(c.add("/a", "1").object->id() != object->id());
    cr_assert(std::filesystem::exists(c.file(object->id(), ".nodes")));
}

Test(catalog, moves_files_that_it_does_not_understand_aside) {
    for (const char* suffix : {".manifest", ".nodes", ".head"}) {
        Catalogs c;
        const auto object = c.hash(c.add("/a", "1"));
        {
            std::fstream f(c.file(object->id(), suffix), std::ios::in | std::ios::out | std::ios::binary);
            f.put('\x7f');
        }
        c.open();
        cr_assert_null(c.catalog->find(object->id()).get(), "%s", suffix);
        cr_assert(std::filesystem::exists(c.directory.path + "/catalog/moved-aside/" + object->id().hex() + suffix), "%s", suffix);
    }
}

Test(catalog, believes_no_file_that_was_tampered_with) {
    for (const char* suffix : {".manifest", ".nodes", ".head"}) {
        Catalogs c;
        const auto object = c.hash(c.add("/a", "1"));
        const auto size = std::filesystem::file_size(c.file(object->id(), suffix));
        {
            std::fstream f(c.file(object->id(), suffix), std::ios::in | std::ios::out | std::ios::binary);
            f.seekp(static_cast<std::streamoff>(size) - 1);
            const int last = f.peek();
            f.seekp(static_cast<std::streamoff>(size) - 1);
            f.put(static_cast<char>(last ^ 1));
        }
        c.open();
        cr_assert(c.add("/a", "1").is_new, "%s", suffix);
    }
}

Test(catalog, lets_the_longest_unused_go_when_it_is_full) {
    Catalogs c(2);
    const auto a = c.hash(c.add("/a", "1"));
    const auto b = c.hash(c.add("/b", "1"));
    cr_assert_not_null(c.catalog->find("http://files.example:80/a", a->manifest()->body.validator).get());
    const auto next = c.add("/c", "1");
    cr_assert(next.is_new);
    cr_assert_null(c.catalog->find(b->id()).get());
    cr_assert_not_null(c.catalog->find(a->id()).get());
    cr_assert(c.eventually([&] { return !std::filesystem::exists(c.file(b->id(), ".manifest")); }));
}

Test(catalog, refuses_more_objects_at_once_than_it_can_hold) {
    Catalogs c(2);
    (void)c.add("/a", "1");
    (void)c.add("/b", "1");
    cr_assert_eq(c.catalog->find_or_add(c.draft("/c", "1"), wall_now()).code(), Errc::busy);
    cr_assert_not(c.add("/a", "1").is_new);
}

Test(catalog, refuses_what_no_manifest_can_say) {
    Catalogs c;
    auto d = c.draft("/a", "1");
    d.length = 0;
    cr_assert_eq(c.catalog->find_or_add(d, wall_now()).code(), Errc::malformed);
    d = c.draft("/a", std::string(Manifest::kMaxEtagBytes, 'x'));
    cr_assert_not(c.catalog->find_or_add(d, wall_now()).has_value());
}

Test(catalog, one_path_with_ever_other_queries_does_not_push_out_the_rest) {
    Catalogs c;
    const auto other = c.hash(c.add("/other", "1"));
    const auto first = c.hash(c.add("/a?v=0", "1"));
    for (std::size_t i = 1; i <= Catalog::kMaxObjectsAPath; ++i) (void)c.hash(c.add("/a?v=" + std::to_string(i), "1"));
    cr_assert_eq(c.catalog->list().size(), Catalog::kMaxObjectsAPath + 1);
    cr_assert_null(c.catalog->find(first->id()).get(), "the longest unused goes");
    cr_assert(c.catalog->find(other->id()) == other);
    // One that is being hashed has readers that wait.
    const auto hashing = c.add("/b?v=0", "1").object;
    for (std::size_t i = 1; i <= Catalog::kMaxObjectsAPath; ++i) (void)c.add("/b?v=" + std::to_string(i), "1");
    cr_assert(c.catalog->find(hashing->id()) == hashing);
}

Test(catalog, keeps_a_withdrawn_tree_for_a_month_and_not_for_ever) {
    Catalogs c;
    const auto object = c.hash(c.add("/a", "1"));
    const std::string mark = c.file(object->id(), ".withdrawn"), nodes = c.file(object->id(), ".nodes");
    c.engine.run(object->loop(), [&] { object->withdraw(fail(Errc::withdrawn, "test")); });
    cr_assert(c.eventually([&] { return std::filesystem::exists(mark); }));
    const auto aged = [&](int days) {
        std::filesystem::last_write_time(mark, std::filesystem::file_time_type::clock::now() - std::chrono::hours(24 * days));
        c.open();
    };
    aged(29);
    cr_assert(std::filesystem::exists(nodes));
    aged(31);
    cr_assert(c.eventually([&] { return !std::filesystem::exists(mark) && !std::filesystem::exists(nodes); }));
}

Test(catalog, lets_go_of_a_withdrawn_tree_while_it_runs) {
    Catalogs c;
    const auto object = c.hash(c.add("/a", "1")), other = c.hash(c.add("/b", "1"));
    const auto there = [&](const auto& o, const std::string& suffix) { return std::filesystem::exists(c.file(o->id(), suffix)); };
    c.engine.run(object->loop(), [&] { object->withdraw(fail(Errc::withdrawn, "test")); });
    cr_assert(c.eventually([&] { return there(object, ".withdrawn"); }));
    const auto in_days = [](std::int64_t days) { return WallTime{wall_now().unix_seconds + days * 86400}; };
    c.catalog->expire_withdrawn(in_days(29));
    // What a worker does for a later object it has done for this one before.
    (void)c.hash(c.add("/c", "1"));
    cr_assert(there(object, ".withdrawn") && there(object, ".nodes"));
    c.catalog->expire_withdrawn(in_days(31));
    cr_assert(c.eventually([&] { return !there(object, ".withdrawn") && !there(object, ".nodes") && !there(object, ".head"); }));
    cr_assert(there(other, ".head"));
}
