// The registry of transfers: one object, one transfer, for however many readers; and an object is one of its realm.
#include <criterion/criterion.h>

#include <fstream>

#include "proxy/client/transfer.h"
#include "proxy/core/log.h"
#include "tests/unit/hosting_fixture.h"
#include "tests/unit/somewhere_fixture.h"

using namespace mssl;
using namespace mssl::proxy;
using namespace mssl::proxy::test;

namespace {

constexpr std::uint32_t kBlocks = 4;

class Visitor final : public UploadTaker {
public:
    void send_control(ControlFrame frame) override { log.push_back(std::move(frame)); }
    // Reads nothing: what is sent stays where it is.
    void send_block(BlockFrame, BlockData data, std::function<void()> sent) override {
        blocks.push_back(std::move(data));
        unsent.push_back(std::move(sent));
    }
    void fail(const Error&) override {}
    MemberId member() const override { return member_number(9); }
    std::vector<ControlFrame> log;
    std::vector<BlockData> blocks;
    std::vector<std::function<void()>> unsent;
};

struct Client {
    Client() {
        (void)mssl::proxy::log::configure(mssl::proxy::log::Level::error, {});
        object.bytes.fill(0x5a);
        transfers = Transfers::create(engine.runtime, store, config, 0);
    }
    Loop& loop() { return engine.loops.at(0); }
    template <class F>
    auto in(F f) {
        return engine.run(loop(), std::move(f));
    }
    ~Client() {
        in([&] {
            readers.clear();
            places.clear();
            transfers.reset();
        });
    }
    bool eventually(std::function<bool()> f) { return engine.eventually(loop(), std::move(f)); }

    // As a download of this realm would have left it.
    void keep(const Somewhere& where, std::uint32_t blocks = kBlocks) {
        const auto file = store->of(where.realm->trust().id())->create(object, geometry).value();
        for (std::uint32_t i = 0; i < blocks; ++i) {
            const BlockIndex b{i};
            std::promise<Status> written;
            file->write(b, where.block(geometry, b), geometry.block_length(b), where.node(geometry, b), loop(),
                        [&](Status s) { written.set_value(std::move(s)); });
            cr_assert(written.get_future().get().has_value());
        }
    }
    TransferReader& join(const Resolution& resolution, const std::shared_ptr<Site>& site) {
        auto answer = std::make_shared<std::promise<TransferReader*>>();
        transfers->join(site, resolution, loop(), [this, answer](Result<std::unique_ptr<TransferReader>> r) {
            if (!r) return answer->set_value(nullptr);
            readers.push_back(std::move(*r));
            answer->set_value(readers.back().get());
        });
        TransferReader* reader = answer->get_future().get();
        cr_assert_not_null(reader);
        return *reader;
    }
    TransferReader& join(const Somewhere& where) { return join(where.resolution(object, geometry), where.site); }
    struct Answer {
        bool come = false;
        Errc code = Errc::ok;
        Bytes bytes;
    };
    std::shared_ptr<Answer> read(TransferReader& reader, std::uint32_t block) {
        auto out = std::make_shared<Answer>();
        in([&] {
            reader.read(BlockIndex{block}, [out](Result<VerifiedBytes> r) {
                out->come = true;
                if (!r) out->code = r.code();
                else out->bytes.assign(r->view().begin(), r->view().end());
            });
        });
        return out;
    }
    bool gives(TransferReader& reader, const Somewhere& where) {
        for (std::uint32_t i = 0; i < kBlocks; ++i) {
            const auto got = read(reader, i);
            if (!eventually([&] { return got->come; }) || got->code != Errc::ok) return false;
            if (hash_block(got->bytes) != where.node(geometry, BlockIndex{i})) return false;
        }
        return true;
    }
    std::vector<TransferStatus> status() {
        std::promise<std::vector<TransferStatus>> rows;
        transfers->status(loop(), [&](std::vector<TransferStatus> r) { rows.set_value(std::move(r)); });
        return rows.get_future().get();
    }
    // What a member of this realm is answered that comes for the object.
    Errc attach(const Somewhere& where, const std::shared_ptr<Visitor>& visitor) {
        std::promise<Errc> answer;
        transfers->attach_upload(where.realm->trust().id(), object, visitor, Handle{1}, {wall_now().unix_seconds + 600}, loop(),
                                 [&](Result<std::shared_ptr<UploadPlace>> place) {
                                     answer.set_value(place.code());
                                     if (place) places.push_back(*place);
                                 });
        return answer.get_future().get();
    }

    ScratchDirectory directory;
    Engine engine;
    ClientConfig config;
    Geometry geometry{std::uint64_t{kBlocks} * kMinBlockBytes, kMinBlockBytes};
    ObjectId object;
    std::shared_ptr<StoreDirectory> store =
        StoreDirectory::open(directory.path + "/store", std::uint64_t{1} << 30, engine.workers, engine.buffers);
    std::shared_ptr<Transfers> transfers;
    std::vector<std::unique_ptr<TransferReader>> readers;
    std::vector<std::shared_ptr<UploadPlace>> places;
};

}  // namespace

Test(transfers, what_one_realm_calls_by_an_id_is_not_believed_in_another) {
    const Somewhere here(0), hostile(0x40);
    Client c;
    c.keep(hostile);
    TransferReader& good = c.join(here);
    cr_assert_eq(c.status().at(0).verified, 0u, "nothing of this object was ever fetched");
    const auto waits = c.read(good, 0);
    TransferReader& bad = c.join(hostile);
    cr_assert(c.gives(bad, hostile), "what a realm gave is still good in it");
    cr_assert(c.in([&] { return !waits->come; }), "bytes that no signer of the realm stands for");
}

Test(transfers, each_realm_gives_its_own_from_the_store) {
    const Somewhere here(0), other(0x40);
    Client c;
    c.keep(other);
    c.keep(here);
    cr_assert(c.gives(c.join(here), here));
    cr_assert(c.gives(c.join(other), other));
    cr_assert_eq(c.status().size(), 2u);
}

Test(transfers, another_realm_cannot_end_a_transfer) {
    const Somewhere here(0), hostile(0x40);
    Client c;
    TransferReader& good = c.join(here);
    const auto waits = c.read(good, 0);
    TransferReader& bad = c.join(hostile);
    const auto waits_too = c.read(bad, 0);
    cr_assert(c.in([&] { return !waits->come; }), "its reader was told %s", errc_name(waits->code).data());
    cr_assert(c.in([&] { return !waits_too->come; }));
    const std::vector<TransferStatus> rows = c.status();
    cr_assert_eq(rows.size(), 2u);
    for (const TransferStatus& row : rows) cr_assert(row.state == "fetching" && row.readers == 1);
}

Test(transfers, a_ticket_of_another_realm_does_not_reach_an_object_of_this_one) {
    const Somewhere here(0), hostile(0x40);
    Client c;
    c.keep(here);
    cr_assert(c.gives(c.join(here), here));
    const auto visitor = std::make_shared<Visitor>();
    cr_assert_eq(c.attach(hostile, visitor), Errc::no_such_object);
    cr_assert(c.in([&] { return visitor->log.empty(); }));
    cr_assert_eq(c.attach(here, visitor), Errc::ok);
    cr_assert(c.in([&] { return std::holds_alternative<Opened>(visitor->log.at(0)); }));
}

Test(transfers, a_resolution_of_another_realm_than_the_sites_is_refused) {
    const Somewhere here(0), other(0x40);
    Client c;
    std::promise<Errc> answer;
    c.transfers->join(here.site, other.resolution(c.object, c.geometry), c.loop(),
                      [&](Result<std::unique_ptr<TransferReader>> r) { answer.set_value(r.code()); });
    cr_assert_eq(answer.get_future().get(), Errc::not_member);
}

Test(transfers, a_new_signer_of_the_realm_does_not_end_what_runs) {
    Somewhere here(0, {wall_now().unix_seconds - 60 * 86400});
    Client c;
    const auto waits = c.read(c.join(here), 0);
    here.renew_signer();
    const auto waits_too = c.read(c.join(here), 0);
    cr_assert(c.in([&] { return !waits->come; }), "its reader was told %s", errc_name(waits->code).data());
    cr_assert(c.in([&] { return !waits_too->come; }));
    const std::vector<TransferStatus> rows = c.status();
    cr_assert_eq(rows.size(), 1u);
    cr_assert_eq(rows[0].state, "fetching");
    cr_assert_eq(rows[0].readers, 2u);
}

// What is complete is given no more either, once the realm has contradicted itself about it.
Test(transfers, two_heads_that_disagree_end_what_is_complete_too) {
    const Somewhere here(0);
    Client c;
    c.keep(here);
    TransferReader& reader = c.join(here);
    cr_assert(c.gives(reader, here));
    Resolution other = here.resolution(c.object, c.geometry);
    other.head = here.resolution(c.object, Geometry(std::uint64_t{kBlocks - 1} * kMinBlockBytes, kMinBlockBytes)).head;
    TransferReader& late = c.join(other, here.site);
    for (TransferReader* r : {&reader, &late}) {
        const auto got = c.read(*r, 0);
        cr_assert(c.eventually([&] { return got->come; }));
        cr_assert_eq(got->code, Errc::conflicting_head, "%s", errc_name(got->code).data());
    }
}

Test(transfers, who_downloads_from_here_stays_when_the_application_comes_back) {
    const Somewhere here(0);
    Client c;
    c.keep(here, 2);
    c.join(here);
    const auto visitor = std::make_shared<Visitor>();
    cr_assert_eq(c.attach(here, visitor), Errc::ok);
    c.in([&] { c.readers.clear(); });
    std::vector<TransferStatus> rows;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
    do rows = c.status();
    while (rows.at(0).state != "seeding" && std::chrono::steady_clock::now() < deadline);
    cr_assert_eq(rows[0].state, "seeding");
    const auto waits = c.read(c.join(here), 3);
    rows = c.status();
    cr_assert_eq(rows.size(), 1u);
    cr_assert_eq(rows[0].state, "fetching");
    cr_assert_eq(rows[0].readers, 1u);
    cr_assert_eq(rows[0].takers, 1u, "it waits for what is fetched now");
    cr_assert(c.in([&] { return !waits->come; }), "%s", errc_name(waits->code).data());
    for (const ControlFrame& f : visitor->log) cr_assert_not(std::holds_alternative<Close>(f));
}

Test(transfers, no_buffer_for_a_stored_block_is_waited_for) {
    const Somewhere here(0);
    Client c;
    c.keep(here);
    TransferReader& reader = c.join(here);
    std::vector<std::shared_ptr<std::uint8_t[]>> all;
    while (auto b = c.engine.buffers.get(kMinBlockBytes)) all.push_back(std::move(b));
    const auto got = c.read(reader, 1);
    const auto started = std::chrono::steady_clock::now();
    // Several attempts; how many does not matter.
    while (std::chrono::steady_clock::now() < started + std::chrono::milliseconds(100)) cr_assert_eq(c.status().at(0).stored, true);
    cr_assert(c.in([&] { return !got->come; }), "%s", errc_name(got->code).data());
    all.clear();
    cr_assert(c.eventually([&] { return got->come; }));
    cr_assert_eq(got->code, Errc::ok);
    cr_assert(c.gives(reader, here));
}

Test(transfers, a_block_that_rotted_costs_that_block_alone) {
    const Somewhere here(0);
    Client c;
    c.keep(here);
    TransferReader& reader = c.join(here);
    const std::string file =
        c.directory.path + "/store/realms/" + here.realm->trust().id().hex() + "/" + c.object.hex() + "/data";
    std::fstream f(file, std::ios::in | std::ios::out | std::ios::binary);
    f.seekp(kMinBlockBytes + 100);
    f.put('\xee');
    f.put('\x11');
    f.close();
    cr_assert(f.good());
    const auto rotten = c.read(reader, 1);
    for (const std::uint32_t i : {0u, 2u, 3u}) {
        const auto got = c.read(reader, i);
        cr_assert(c.eventually([&] { return got->come; }));
        cr_assert_eq(got->code, Errc::ok, "%u: %s", i, errc_name(got->code).data());
    }
    std::vector<TransferStatus> rows;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
    do rows = c.status();
    while (rows.at(0).state != "fetching" && std::chrono::steady_clock::now() < deadline);
    cr_assert_eq(rows[0].state, "fetching", "it is asked for again");
    cr_assert_eq(rows[0].verified, std::uint64_t{3} * kMinBlockBytes);
    cr_assert(rows[0].stored, "the store is good");
    cr_assert(c.in([&] { return !rotten->come; }), "its reader waits for it: %s", errc_name(rotten->code).data());
}

// However many objects, sessions and members: three quarters of the buffers stay for what is downloaded here.
Test(transfers, members_that_do_not_read_cannot_take_all_buffers) {
    const Somewhere here(0);
    Client c;
    c.keep(here);
    TransferReader& reader = c.join(here);
    cr_assert(c.gives(reader, here));
    std::vector<std::shared_ptr<Visitor>> visitors;
    const std::size_t limit = c.engine.buffers.limit();
    for (std::size_t i = 0; i < limit / kMinBlockBytes; ++i) {
        visitors.push_back(std::make_shared<Visitor>());
        cr_assert_eq(c.attach(here, visitors.back()), Errc::ok);
        c.in([&] {
            for (std::uint32_t b = 0; b < 2; ++b) c.places.back()->request(Request{Handle{1}, BlockIndex{b}, kBlocks, 0, false});
        });
    }
    const auto answered = [&] {
        std::size_t n = 0;
        for (const auto& v : visitors)
            n += v->blocks.size() + static_cast<std::size_t>(std::count_if(v->log.begin(), v->log.end(), [](const ControlFrame& f) {
                     return std::holds_alternative<Refuse>(f);
                 }));
        return n;
    };
    cr_assert(c.eventually([&] { return answered() == 2 * visitors.size(); }));
    c.in([&] {
        std::size_t given = 0;
        for (const auto& v : visitors) {
            given += v->blocks.size();
            for (const ControlFrame& f : v->log)
                if (const auto* r = std::get_if<Refuse>(&f)) cr_assert_eq(r->code, Errc::busy);
        }
        cr_assert_eq(given, limit / 4 / kMinBlockBytes);
    });
    cr_assert_leq(c.engine.buffers.in_use(), limit / 2);
    cr_assert(c.gives(reader, here), "who downloads here does not notice");
    // They end: all is given back.
    c.in([&] {
        c.places.clear();
        visitors.clear();
    });
    cr_assert(c.eventually([&] { return c.engine.buffers.in_use() == 0; }));
}
