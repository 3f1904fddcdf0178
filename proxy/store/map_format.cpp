#include "proxy/store/map_format.h"

#include <algorithm>
#include <bit>

#include "protocol/bytes.h"
#include "protocol/merkle.h"

namespace mssl::proxy {

namespace {

constexpr std::string_view kMapMagic = "mSSL-map";
constexpr std::string_view kMetaMagic = "mSSLmeta";
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kCheckedHeaderBytes = kMapHeaderBytes - Hash::size;
constexpr std::size_t kRecordCheckBytes = kMapRecordBytes - Hash::size;

// Against rot and torn writes, not against an attacker: who can write here can also write whole objects, and every block
// is hashed before it is used.
Hash checksum(View bytes) { return hash_leaf(bytes); }

Hash record_checksum(const ObjectId& id, BlockIndex block, const Hash& node) {
    Writer w;
    w.fixed(id);
    w.u32(block.v);
    w.fixed(node);
    return checksum(w.view());
}

bool possible(const Geometry& g) {
    return g.length() <= kMaxObjectBytes && std::has_single_bit(g.block_bytes()) && g.block_bytes() >= kMinBlockBytes &&
           g.block_bytes() <= kMaxBlockBytes && g.block_count() <= (std::uint64_t{1} << 30);
}

}  // namespace

Bytes encode_map_header(const MapHeader& header) {
    Writer w;
    w.raw(as_view(kMapMagic));
    w.u32(kVersion);
    w.u32(0);
    w.fixed(header.id);
    w.u64(header.geometry.length());
    w.u32(header.geometry.block_bytes());
    w.u32(0);
    w.fixed(checksum(w.view()));
    return w.take();
}

Result<MapHeader> decode_map_header(View bytes) {
    Reader r(bytes);
    const View magic = r.raw(kMapMagic.size());
    const std::uint32_t version = r.u32();
    if (r.failed()) return fail(Errc::malformed, "map header is short");
    // Read before the checksum: another version may well lay out the rest in another way.
    if (!std::ranges::equal(magic, as_view(kMapMagic)) || version != kVersion) {
        return fail(Errc::unsupported, "map of another version");
    }
    (void)r.u32();
    MapHeader out;
    out.id = r.fixed<ObjectId>();
    const std::uint64_t length = r.u64();
    const std::uint32_t block_bytes = r.u32();
    (void)r.u32();
    const Hash check = r.fixed<Hash>();
    if (Status s = r.finish("map header"); !s) return s.error();
    if (checksum(bytes.first(kCheckedHeaderBytes)) != check) return fail(Errc::malformed, "map header is damaged");
    out.geometry = Geometry(length, block_bytes);
    if (!possible(out.geometry)) return fail(Errc::malformed, "map of an impossible object");
    return out;
}

MapRecord encode_map_record(const ObjectId& id, BlockIndex block, const Hash& node) {
    MapRecord out;
    const Hash check = record_checksum(id, block, node);
    std::ranges::copy(node.bytes, out.begin());
    std::copy_n(check.bytes.begin(), kRecordCheckBytes, out.begin() + Hash::size);
    return out;
}

std::optional<Hash> decode_map_record(const ObjectId& id, BlockIndex block, View record) {
    if (record.size() != kMapRecordBytes) return std::nullopt;
    const View stored = record.subspan(Hash::size);
    // Holes of the sparse file: nothing to hash for.
    if (std::ranges::all_of(stored, [](std::uint8_t b) { return b == 0; })) return std::nullopt;
    const Hash node = Hash::from(record.first(Hash::size));
    const Hash check = record_checksum(id, block, node);
    if (!std::equal(stored.begin(), stored.end(), check.bytes.begin())) return std::nullopt;
    return node;
}

Bytes encode_meta(const ObjectFile::Meta& meta) {
    Writer w;
    w.raw(as_view(kMetaMagic));
    w.u32(kVersion);
    w.var24(meta.manifest_der);
    w.var24(meta.head_der);
    w.var24(meta.signer_der);
    w.fixed(checksum(w.view()));
    return w.take();
}

Result<ObjectFile::Meta> decode_meta(View bytes) {
    if (bytes.size() < Hash::size) return fail(Errc::malformed, "meta is short");
    const View checked = bytes.first(bytes.size() - Hash::size);
    Reader r(checked);
    const View magic = r.raw(kMetaMagic.size());
    const std::uint32_t version = r.u32();
    if (r.failed()) return fail(Errc::malformed, "meta is short");
    if (!std::ranges::equal(magic, as_view(kMetaMagic)) || version != kVersion) {
        return fail(Errc::unsupported, "meta of another version");
    }
    if (checksum(checked) != Hash::from(bytes.last(Hash::size))) return fail(Errc::malformed, "meta is damaged");
    auto bytes_of = [&] {
        const View v = r.var24(kMaxObjectDer);
        return Bytes(v.begin(), v.end());
    };
    ObjectFile::Meta out;
    out.manifest_der = bytes_of();
    out.head_der = bytes_of();
    out.signer_der = bytes_of();
    if (Status s = r.finish("meta"); !s) return s.error();
    return out;
}

}  // namespace mssl::proxy
