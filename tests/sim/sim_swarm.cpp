// Whole swarms in virtual time, from a seed: what every client gets is right, who lies is found, and nobody else is.
// Speaks TAP. sim-swarm [FIRST-SEED [PART-OF-A-ROW'S-NAME]]
#include <cstdio>
#include <cstdlib>

#include "tests/sim/swarm.h"

using namespace mssl;
using namespace mssl::sim;
using namespace std::chrono_literals;

namespace {

struct Verdict {
    bool ok = true;
    std::string why;
    void expect(bool that, const std::string& what) {
        if (that) return;
        ok = false;
        why += (why.empty() ? "" : "; ") + what;
    }
};

double seconds(Duration d) { return static_cast<double>(d.count()) / 1e6; }

// What holds in every swarm, whatever happened in it.
void expect_honesty(Verdict& r, const Swarm& s) {
    for (const auto& c : s.clients) {
        const std::string who = "client " + std::to_string(c->number());
        r.expect(!c->wrong_bytes(), who + " got wrong bytes");
        r.expect(!c->has_failed(), who + " failed");
        if (c->lie() != Lie::none) continue;
        for (const auto& [other, why] : c->blamed())
            r.expect(other != Client::kServer && s.clients[other]->lie() != Lie::none,
                     who + " blamed " + (other == Client::kServer ? "the server" : std::to_string(other)) + " for " + why);
    }
    r.expect(s.server->origin_reads() <= s.truth.geometry.block_count(), "the origin was read twice");
}

void diagnose(const char* row, const Swarm& s, std::uint64_t seed) {
    double last = 0;
    double up = s.setup.server_up;
    std::size_t n = 0;
    for (const auto& c : s.clients) {
        if (!c->joined()) continue;
        ++n;
        up += c->up();
        if (c->download().complete()) last = std::max(last, seconds(c->finished() - MonoTime{}));
    }
    const double length = static_cast<double>(s.truth.geometry.length());
    const double floor = std::max(length / s.setup.server_up, static_cast<double>(n) * length / up);
    std::set<std::string> reasons;
    for (const auto& c : s.clients)
        for (const auto& [other, why] : c->blamed()) reasons.insert(why);
    for (const std::string& why : reasons) std::printf("# %s, seed %llu: somebody was cut: %s\n", row, static_cast<unsigned long long>(seed), why.c_str());
    std::printf("# %s, seed %llu: copies by the server %.2f, last done %.3f s, over Tmin %.2f\n", row,
                static_cast<unsigned long long>(seed), static_cast<double>(s.server->sent_data()) / length, last,
                last / floor);
}

Verdict run_all(Swarm& s, const char* row, std::uint64_t seed, Duration limit = 120s) {
    Verdict r;
    r.expect(s.run(limit, [&] { return s.honest_complete(); }), "not complete in time");
    expect_honesty(r, s);
    diagnose(row, s, seed);
    return r;
}

Swarm::Setup seeded(std::uint64_t seed) {
    Swarm::Setup setup;
    setup.seed = seed;
    return setup;
}

double copies(const Swarm& s) {
    return static_cast<double>(s.server->sent_data()) / static_cast<double>(s.truth.geometry.length());
}

Verdict alone(std::uint64_t seed) {
    auto setup = seeded(seed);
    setup.length += 12345;
    Swarm s(setup);
    s.join_at(s.add(), 0s);
    Verdict r = run_all(s, "alone", seed);
    r.expect(copies(s) <= 1.0001, "a lone client was sent something twice");
    return r;
}

Verdict eight(std::uint64_t seed) {
    auto setup = seeded(seed);
    setup.length = 16 << 20;
    Swarm s(setup);
    for (int i = 0; i < 8; ++i) s.add();
    for (const auto& c : s.clients) s.join_at(*c, 0s);
    Verdict r = run_all(s, "eight", seed);
    r.expect(copies(s) <= 1.5, "the server sent too many copies");
    return r;
}

Verdict slow_uplinks(std::uint64_t seed) {
    auto setup = seeded(seed);
    setup.server_up = 5e6;
    setup.client_up = 625e3;
    Swarm s(setup);
    for (int i = 0; i < 8; ++i) s.add();
    for (const auto& c : s.clients) s.join_at(*c, 0s);
    return run_all(s, "slow uplinks", seed);
}

Verdict second_joins(std::uint64_t seed) {
    Swarm s(seeded(seed));
    s.join_at(s.add(), 0s);
    s.join_at(s.add(), 50ms);
    Verdict r = run_all(s, "second after 50 ms", seed);
    r.expect(s.clients[1]->from(0) > 0, "the second received nothing from the first");
    return r;
}

Verdict late_joiners(std::uint64_t seed) {
    Swarm s(seeded(seed));
    for (int i = 0; i < 8; ++i) s.add();
    for (const auto& c : s.clients) s.join_at(*c, 70ms * c->number());
    return run_all(s, "late joiners", seed);
}

Verdict peers_die(std::uint64_t seed) {
    Swarm s(seeded(seed));
    for (int i = 0; i < 6; ++i) s.add();
    for (const auto& c : s.clients) s.join_at(*c, 0s);
    Verdict r;
    const std::uint64_t half = s.truth.geometry.block_count() / 2;
    r.expect(s.run(60s, [&] { return s.clients[0]->download().have().count() >= half; }), "never came to half");
    for (std::size_t i = 1; i < s.clients.size(); ++i) s.clients[i]->die();
    const Verdict after = run_all(s, "all peers die", seed);
    r.expect(after.ok, after.why);
    return r;
}

// What somebody who is left has, everybody gets; what nobody has, nobody invents.
Verdict server_dies(std::uint64_t seed, bool when_out) {
    Swarm s(seeded(seed));
    for (int i = 0; i < 6; ++i) s.add();
    for (const auto& c : s.clients) s.join_at(*c, 0s);
    Verdict r;
    const std::uint64_t enough = s.truth.geometry.block_count() / (when_out ? 1 : 2);
    const auto held = [&] {
        Bitmap all(s.truth.geometry.block_count());
        for (const auto& c : s.clients)
            for (const BlockRange& range : c->download().have().ranges()) all.set_range(range);
        return all.count();
    };
    r.expect(s.run(60s, [&] { return held() >= enough; }), "never came that far");
    s.server->die();
    const auto settled = [&] {
        const std::uint64_t all = held();
        return std::all_of(s.clients.begin(), s.clients.end(), [&](const auto& c) { return c->download().have().count() == all; });
    };
    r.expect(s.run(60s, settled), "what peers have did not reach everybody");
    r.expect(!when_out || s.honest_complete(), "all was out, and somebody is not complete");
    expect_honesty(r, s);
    diagnose(when_out ? "server dies, all out" : "server dies at half", s, seed);
    return r;
}

Verdict liar(std::uint64_t seed, Lie lie) {
    auto setup = seeded(seed);
    setup.server_up = 2.5e6;
    setup.limits.request_timeout = 4s;
    Swarm s(setup);
    for (int i = 0; i < 6; ++i) s.add(i == 2 ? lie : Lie::none);
    for (const auto& c : s.clients) s.join_at(*c, 0s);
    Verdict r = run_all(s, lie_name(lie), seed);
    const Client& who = *s.clients[2];
    r.expect(!who.lied_to().empty(), "nobody ever met the lie: the row shows nothing");
    for (const std::size_t to : who.lied_to()) {
        const Client& c = *s.clients[to];
        const bool named = c.blamed().contains(2) || c.passed_over().contains(2);
        r.expect(named, "client " + std::to_string(to) + " did not notice");
    }
    return r;
}

// Who gives nothing is passed over within a second and cut when its time is up, although others have long helped out.
Verdict silence_is_cut(std::uint64_t seed, Lie lie) {
    auto setup = seeded(seed);
    setup.server_up = 250e3;  // long enough to see the end of the liar
    setup.limits.request_timeout = 4s;
    Swarm s(setup);
    for (int i = 0; i < 3; ++i) s.add(i == 1 ? lie : Lie::none);
    for (const auto& c : s.clients) s.join_at(*c, 0s);
    Verdict r = run_all(s, "silence is cut", seed);
    for (const std::size_t to : s.clients[1]->lied_to())
        r.expect(s.clients[to]->blamed().contains(1), "client " + std::to_string(to) + " still trusts it");
    return r;
}

Verdict thousand(std::uint64_t seed) {
    auto setup = seeded(seed);
    setup.length = 2 << 20;
    setup.degree = 16;
    setup.limits.max_memory = 2 << 20;
    Swarm s(setup);
    for (int i = 0; i < 1000; ++i) s.add();
    for (const auto& c : s.clients) s.join_at(*c, Duration{static_cast<Duration::rep>(s.random() % 1000000)});
    Verdict r = run_all(s, "a thousand", seed, 300s);
    r.expect(s.server->origin_reads() == s.truth.geometry.block_count(), "not one read of the origin");
    return r;
}

struct Row {
    std::string name;
    int seeds;
    std::function<Verdict(std::uint64_t)> run;
};

}  // namespace

int main(int argc, char** argv) {
    std::vector<Row> rows = {
        {"one client is a plain download", 3, alone},
        {"eight clients at once", 3, eight},
        {"eight clients with slow uplinks", 2, slow_uplinks},
        {"a second client receives from the first", 3, second_joins},
        {"clients that come late", 3, late_joiners},
        {"all peers die at half", 3, peers_die},
        {"the server dies at half", 3, [](auto seed) { return server_dies(seed, false); }},
        {"the server dies when all is out", 3, [](auto seed) { return server_dies(seed, true); }},
    };
    for (const Lie lie : {Lie::flipped_bit, Lie::wrong_node, Lie::other_block, Lie::too_much, Lie::nothing,
                          Lie::byte_a_second, Lie::garbage})
        rows.push_back({std::string("a peer lies: ") + lie_name(lie), 3, [lie](auto seed) { return liar(seed, lie); }});
    for (const Lie lie : {Lie::nothing, Lie::byte_a_second})
        rows.push_back({std::string("a silent peer is cut: ") + lie_name(lie), 2, [lie](auto seed) { return silence_is_cut(seed, lie); }});
    rows.push_back({"a thousand clients, cold", 1, thousand});

    if (argc > 2) std::erase_if(rows, [&](const Row& row) { return row.name.find(argv[2]) == std::string::npos; });
    std::printf("1..%zu\n", rows.size());
    int failures = 0;
    for (const Row& row : rows) {
        Verdict all;
        const std::uint64_t first = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1;
        for (int i = 0; i < row.seeds; ++i) {
            const Verdict r = row.run(first + static_cast<std::uint64_t>(i));
            all.expect(r.ok, "seed " + std::to_string(first + static_cast<std::uint64_t>(i)) + ": " + r.why);
        }
        if (!all.ok) std::printf("# %s\n", all.why.substr(0, 2000).c_str());
        std::printf("%s - %s\n", all.ok ? "ok" : "not ok", row.name.c_str());
        std::fflush(stdout);
        failures += all.ok ? 0 : 1;
    }
    return failures == 0 ? 0 : 1;
}
