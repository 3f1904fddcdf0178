// A realm, a member of it, and an object as its server describes it.
#pragma once

#include <criterion/criterion.h>

#include "proxy/client/resolution.h"
#include "tests/unit/hosting_fixture.h"
#include "tests/unit/member_fixture.h"

namespace mssl::proxy::test {

// A realm, this host as its member, and what its server says of an object: the id is what it likes to call it.
struct Somewhere {
    explicit Somewhere(std::uint8_t c, WallTime founded = wall_now()) : colour(c), begun(founded) {}
    // The server was started anew and signs with another key.
    void renew_signer() {
        const PublicKey before = realm->signer_key().public_key();
        realm = Realm::open(directory.path, wall_now()).value();
        cr_assert(realm->signer_key().public_key() != before);
    }
    // Its own content under the same id: the fixture's, or that with every byte changed.
    BlockData block(const Geometry& g, BlockIndex b) const {
        const std::uint32_t n = g.block_length(b);
        std::shared_ptr<std::uint8_t[]> out(new std::uint8_t[n]);
        const BlockData from = content(g, b);
        for (std::uint32_t i = 0; i < n; ++i) out[i] = from[i] ^ colour;
        return out;
    }
    Hash node(const Geometry& g, BlockIndex b) const { return hash_block({block(g, b).get(), g.block_length(b)}); }
    Resolution resolution(const ObjectId& object, const Geometry& g) const {
        const std::int64_t now = wall_now().unix_seconds;
        Manifest m;
        m.object = object;
        m.url = "http://files.example.org:80/pool/a.iso";
        m.validator.etag = "\"1\"";
        m.length = g.length();
        m.block_bytes = g.block_bytes();
        m.not_before = {now};
        m.not_after = {now + 86400};
        Ticket t;
        t.grant.bytes.fill(7);
        t.member = self.id();
        t.object = object;
        t.not_before = {now};
        t.not_after = {now + 600};
        Head h;
        h.object = object;
        h.length = g.length();
        h.block_bytes = g.block_bytes();
        h.leaves = g.leaf_count();
        h.final_head = true;
        MerkleTree tree;
        for (std::uint32_t i = 0; i < g.block_count(); ++i) tree.append(node(g, BlockIndex{i}));
        h.peaks = tree.peaks(g.block_count());
        const KeyPair& key = realm->signer_key();
        return {realm->trust().id(), std::make_shared<const SignedManifest>(sign_manifest(m, key).value()),
                std::make_shared<const SignedTicket>(sign_ticket(t, key).value()),
                std::make_shared<const SignedHead>(sign_head(h, key).value()), realm->signer(), {}, {}};
    }

    std::uint8_t colour;
    WallTime begun;
    ScratchDirectory directory;
    std::shared_ptr<Realm> realm = Realm::open(directory.path, begun).value();
    Identity self{*realm};
    // Never gets through to its server: what a transfer has it has from the store.
    std::shared_ptr<Site> site = std::make_shared<EnrolledSite>(membership_of(*realm, self));
};

}  // namespace mssl::proxy::test
