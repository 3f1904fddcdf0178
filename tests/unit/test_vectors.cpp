// The C++ and tests/vectors, which another implementation wrote, agree: objects, Merkle tree, resolve.
#include <criterion/criterion.h>

#include <openssl/evp.h>

#include <algorithm>

#include "protocol/frame.h"
#include "protocol/merkle.h"
#include "protocol/objects.h"
#include "protocol/resolve.h"
#include "tests/unit/vectors.h"

namespace mssl::test {
namespace {

// --- Objects ---------------------------------------------------------------------------------------------------

KeyPair key_of(const Bytes& seed) {
    Bytes pkcs8 = from_hex("302e020100300506032b657004220420").value();  // RFC 8410 section 7
    pkcs8.insert(pkcs8.end(), seed.begin(), seed.end());
    return KeyPair::from_pem("-----BEGIN PRIVATE KEY-----\n" + to_base64(pkcs8) +
                             "\n-----END PRIVATE KEY-----\n")
        .value();
}

std::string string_of(const Bytes& bytes) { return {bytes.begin(), bytes.end()}; }

WallTime time_of(const Vector& v, std::string_view key) { return {static_cast<std::int64_t>(v.number(key))}; }

std::vector<Hash> hashes(std::string_view text) {
    std::vector<Hash> out;
    for (const std::string& one : split(text, ',')) out.push_back(Hash::from(from_hex(one).value()));
    return out;
}

struct Heads {
    static constexpr auto sign = sign_head;
    static constexpr auto parse = parse_head;
    static Head read(const Vector& v) {
        return {v.fixed<ObjectId>("object"),
                v.number("length"),
                static_cast<std::uint32_t>(v.number("block_size")),
                v.number("leaves"),
                v.number("final") == 1,
                hashes(v.text("peaks"))};
    }
};

struct Tickets {
    static constexpr auto sign = sign_ticket;
    static constexpr auto parse = parse_ticket;
    static Ticket read(const Vector& v) {
        return {v.fixed<GrantId>("grant"),   v.fixed<MemberId>("member"),
                v.fixed<ObjectId>("object"), static_cast<Exchange>(v.number("exchange")),
                v.number("price"),           time_of(v, "not_before"),
                time_of(v, "not_after")};
    }
};

struct Manifests {
    static constexpr auto sign = sign_manifest;
    static constexpr auto parse = parse_manifest;
    static Manifest read(const Vector& v) {
        Manifest out;
        out.object = v.fixed<ObjectId>("object");
        out.url = string_of(v.bytes("url"));
        out.validator = {string_of(v.bytes("etag")), static_cast<std::int64_t>(v.number("last_modified"))};
        for (const std::string& field : split(v.text("fields"), ',')) {
            const std::vector<std::string> parts = split(field, ':');
            const Bytes value = parts.at(1) == "-" ? Bytes{} : from_hex(parts.at(1)).value();
            out.fields.push_back({string_of(from_hex(parts.at(0)).value()), string_of(value)});
        }
        out.length = v.number("length");
        out.block_bytes = static_cast<std::uint32_t>(v.number("block_size"));
        out.hash = static_cast<HashKind>(v.number("hash"));
        out.access = static_cast<Access>(v.number("access"));
        out.exchange = static_cast<Exchange>(v.number("exchange"));
        out.price = v.number("price");
        out.not_before = time_of(v, "not_before");
        out.not_after = time_of(v, "not_after");
        return out;
    }
};

template <class Kind>
std::string answer_object(const Vector& v) {
    if (v.operation == "object") {
        const KeyPair key = key_of(v.bytes("private"));
        const auto body = Kind::read(v);
        const auto made = Kind::sign(body, key);
        if (!made) return outcome(made.code());
        const auto parsed = Kind::parse(made->der, key.public_key());
        if (!parsed) return "cannot read its own: " + outcome(parsed.code());
        return parsed->body == body ? "ok der=" + to_hex(made->der) : "reads another object than it wrote";
    }
    const auto parse = [key = v.fixed<PublicKey>("public")](View der) {
        return outcome(Kind::parse(der, key).code());
    };
    const Bytes der = v.bytes("der");
    std::vector<std::string> outcomes;
    if (v.operation == "decode") return parse(der);
    if (v.operation == "truncations") {
        for (std::size_t n = 0; n < der.size(); ++n) outcomes.push_back(parse(View(der).first(n)));
        return sum_up(outcomes);
    }
    if (v.operation == "flips") {
        for (std::size_t i = 0; i < der.size(); ++i) {
            Bytes wrong = der;
            wrong[i] ^= static_cast<std::uint8_t>(1U << i % 8);
            outcomes.push_back(parse(wrong));
        }
        return sum_up(outcomes);
    }
    return "unknown operation";
}

std::string answer_ticket(const Vector& v) {
    if (v.operation != "validity") return answer_object<Tickets>(v);
    Ticket ticket;
    ticket.not_before = time_of(v, "not_before");
    ticket.not_after = time_of(v, "not_after");
    return outcome(check_ticket(ticket, ticket.member, ticket.object, time_of(v, "now")).code());
}

// --- Merkle tree -----------------------------------------------------------------------------------------------

Bytes pattern_251(std::size_t length) {
    Bytes out(length);
    for (std::size_t i = 0; i < length; ++i) out[i] = static_cast<std::uint8_t>(i % 251);
    return out;
}

std::string position_text(NodePosition p) { return std::to_string(p.level) + ":" + std::to_string(p.index); }

std::string positions_text(const std::vector<NodePosition>& positions) {
    std::vector<std::string> out;
    for (const NodePosition& p : positions) out.push_back(position_text(p));
    return join(out);
}

std::string hashes_text(const std::vector<Hash>& nodes) {
    std::vector<std::string> out;
    for (const Hash& node : nodes) out.push_back(node.hex());
    return join(out);
}

// hash_block of 8 bytes would be a leaf's: block i of a made-up tree has SHA-256 of the plain u64.
Hash made_up_node(std::uint64_t i) {
    Writer w;
    w.u64(i);
    Hash out;
    unsigned size = 0;
    if (EVP_Digest(w.view().data(), w.view().size(), out.bytes.data(), &size, EVP_sha256(), nullptr) != 1)
        std::abort();
    return out;
}

MerkleTree made_up_tree(std::uint64_t blocks) {
    MerkleTree out;
    for (std::uint64_t i = 0; i < blocks; ++i) out.append(made_up_node(i));
    return out;
}

std::string answer_hashes(const Vector& v) {
    const Bytes data = pattern_251(v.number("length"));
    if (v.operation == "leaf") return "ok node=" + hash_block(data).hex();
    MerkleTree tree;
    for (std::size_t at = 0; at < data.size(); at += kMinBlockBytes) {
        tree.append(
            hash_block(View(data).subspan(at, std::min<std::size_t>(kMinBlockBytes, data.size() - at))));
    }
    const bool empty = data.empty();
    return "ok nodes=" + (empty ? "-" : hashes_text(tree.block_nodes())) + " root=" + tree.root().hex();
}

std::string answer_shape(const Vector& v) {
    const std::uint64_t blocks = v.number("blocks");
    if (v.operation == "peak_level") {
        const NodePosition peak = peak_of(BlockIndex{static_cast<std::uint32_t>(v.number("block"))}, blocks);
        return "ok level=" + std::to_string(peak.level);
    }
    std::string out = "ok positions=" + positions_text(peak_positions(blocks));
    if (v.operation == "positions") return out;
    const MerkleTree tree = made_up_tree(blocks);
    const std::vector<Hash> peaks = tree.peaks(blocks);
    if (blocks > 0 && fold_peaks(peaks) != tree.root()) out += " (a fold that is not the root)";
    return out + " nodes=" + hashes_text(peaks) + " root=" + tree.root().hex();
}

// One download after the other, as the file has them.
class Download {
public:
    std::string answer(const Vector& v) {
        if (v.operation == "begin") {
            tree_ = made_up_tree(v.number("blocks"));
            cache_ = NodeCache();
            return outcome(cache_.add_peaks(tree_.block_count(), tree_.peaks(tree_.block_count())).code());
        }
        const BlockIndex block{static_cast<std::uint32_t>(v.number("block"))};
        if (v.operation == "need") return "ok mask=" + std::to_string(cache_.need(block));
        const std::string before = known();
        const Status status =
            cache_.verify(block, v.fixed<Hash>("node"), v.number("mask"), hashes(v.text("siblings")));
        if (status) return "ok known=" + known();
        return outcome(status.code()) + (known() == before ? "" : " but keeps " + known());
    }

private:
    std::string known() const {
        std::vector<std::string> out;
        for (std::uint8_t level = 0; level < 8; ++level) {
            for (std::uint32_t index = 0; index <= tree_.block_count(); ++index) {
                const NodePosition p{level, index};
                if (!cache_.knows(p)) continue;
                out.push_back(position_text(p) + (cache_.node(p) == tree_.node(p) ? "" : " (wrong)"));
            }
        }
        return join(out);
    }

    MerkleTree tree_;
    NodeCache cache_;
};

std::string answer_sizes(const Vector& v) {
    const Geometry g = Geometry::for_length(v.number("length"));
    return "ok leaves=" + std::to_string(g.leaf_count()) + " block_size=" + std::to_string(g.block_bytes()) +
           " blocks=" + std::to_string(g.block_count());
}

// --- Resolve ---------------------------------------------------------------------------------------------------

std::string answer_body(View body) {
    const Result<Resolved> decoded = decode_resolved(body);
    if (!decoded) return outcome(wire_code(decoded.code()));
    std::vector<std::string> fields;
    for (const HeaderField& field : decoded->fields) {
        fields.push_back(bytes_text(as_view(field.name)) + ":" + bytes_text(as_view(field.value)));
    }
    const Bytes again = encode_resolved(*decoded);
    return "ok version=1 manifest=" + bytes_text(decoded->manifest_der) +
           " ticket=" + bytes_text(decoded->ticket_der) + " head=" + bytes_text(decoded->head_der) +
           " signer=" + bytes_text(decoded->signer_der) + " fields=" + join(fields) +
           (std::ranges::equal(again, body) ? "" : " (writes other bytes)");
}

std::string answer_resolved(const Vector& v) {
    if (v.operation == "request") {
        const Result<ResolveField> field = parse_resolve_field(string_of(v.bytes("value")));
        if (!field) return outcome(wire_code(field.code()));
        const bool whole = field->member && field->signer;
        return "ok member=" + (whole ? to_hex(field->member->to_der()) : "-") +
               " signer=" + (whole ? to_hex(field->signer->to_der()) : "-") +
               " proof=" + (whole ? field->proof.hex() : "-");
    }
    const Bytes body = v.bytes("body");
    if (v.operation == "answer") return answer_body(body);
    std::vector<std::string> outcomes;
    for (std::size_t n = 0; n < body.size(); ++n) outcomes.push_back(answer_body(View(body).first(n)));
    return v.operation == "truncations" ? sum_up(outcomes) : "unknown operation";
}

}  // namespace

Test(vectors, heads) { hold_vectors("head", 150, answer_object<Heads>); }

Test(vectors, tickets) { hold_vectors("ticket", 150, answer_ticket); }

Test(vectors, manifests) { hold_vectors("manifest", 250, answer_object<Manifests>); }

Test(vectors, trees) {
    Download download;
    hold_vectors("merkle", 250, [&download](const Vector& v) {
        if (v.operation == "sizes") return answer_sizes(v);
        if (v.operation == "leaf" || v.operation == "object") return answer_hashes(v);
        if (v.operation == "peaks" || v.operation == "positions" || v.operation == "peak_level")
            return answer_shape(v);
        return download.answer(v);
    });
}

Test(vectors, resolves) { hold_vectors("resolved", 50, answer_resolved); }

}  // namespace mssl::test
