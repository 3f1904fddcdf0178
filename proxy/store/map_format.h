// The bytes of an object's map and meta files (DESIGN 10). Pure functions.
//
//   map:   header (96 bytes): magic, version, object id, length, block size, checksum
//          then a record (40 bytes) for each block at a fixed place: its node, and a checksum over id, index and node
//   meta:  magic, version, manifest, head and signer certificate (DER), checksum
//
// A record vouches by itself: torn, flipped or never written, it does not check and the block counts as missing. Records in
// fixed places make a map write the size of what changed, and need no journal that grows.
#pragma once

#include <array>
#include <optional>

#include "protocol/result.h"
#include "protocol/types.h"
#include "proxy/store/store.h"

namespace mssl::proxy {

inline constexpr std::size_t kMapHeaderBytes = 96;
inline constexpr std::size_t kMapRecordBytes = 40;
inline constexpr std::size_t kMaxMetaBytes = 4 * kMaxObjectDer;  // three DER objects and their frame

struct MapHeader {
    ObjectId id;
    Geometry geometry;
};
using MapRecord = std::array<std::uint8_t, kMapRecordBytes>;

Bytes encode_map_header(const MapHeader& header);
// unsupported: another version or another kind of file (move it aside); malformed: damaged, or an impossible geometry.
Result<MapHeader> decode_map_header(View bytes);

constexpr std::uint64_t map_record_offset(BlockIndex block) {
    return kMapHeaderBytes + std::uint64_t{block.v} * kMapRecordBytes;
}
MapRecord encode_map_record(const ObjectId& id, BlockIndex block, const Hash& node);
// The node that the record vouches for, or nothing.
std::optional<Hash> decode_map_record(const ObjectId& id, BlockIndex block, View record);

Bytes encode_meta(const ObjectFile::Meta& meta);
Result<ObjectFile::Meta> decode_meta(View bytes);

}  // namespace mssl::proxy
