// The vocabulary of indices, sizes and times. Types that must not mix do not convert into each other.
#pragma once

#include <array>
#include <chrono>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace mssl {

using Bytes = std::vector<std::uint8_t>;
using View = std::span<const std::uint8_t>;
using MutableView = std::span<std::uint8_t>;

inline View as_view(std::string_view s) {
    return {reinterpret_cast<const std::uint8_t*>(s.data()), s.size()};
}

// DESIGN 2: a leaf is the unit of hashing.
inline constexpr std::uint32_t kLeafBytes = 32 * 1024;
// DESIGN 2: a block is an aligned subtree of 2^k leaves, 64 KiB up to objects of 64 MiB, then F/1024
// rounded up to a power of two, at most 256 KiB.
inline constexpr std::uint32_t kMinBlockBytes = 64 * 1024;
inline constexpr std::uint32_t kMaxBlockBytes = 256 * 1024;
// 2^48 bytes: what the store, DER and frames are tested for. Larger objects are relayed.
inline constexpr std::uint64_t kMaxObjectBytes = std::uint64_t{1} << 48;

// DESIGN 5: the hash of leaves and nodes is named, so that another can follow.
enum class HashKind : std::uint8_t { sha256 = 1 };

template <class Tag, class Rep>
struct Strong {
    Rep v{};
    constexpr Strong() = default;
    constexpr explicit Strong(Rep value) : v(value) {}
    constexpr auto operator<=>(const Strong&) const = default;
    constexpr Strong& operator++() {
        ++v;
        return *this;
    }
};

using BlockIndex = Strong<struct BlockIndexTag, std::uint32_t>;  // fits: see the note below Geometry
using LeafCount = Strong<struct LeafCountTag, std::uint64_t>;
// A number chosen by the side that opens an object on a connection; names it in later frames.
using Handle = Strong<struct HandleTag, std::uint32_t>;

template <class Tag, std::size_t N>
struct FixedBytes {
    std::array<std::uint8_t, N> bytes{};
    static constexpr std::size_t size = N;
    auto operator<=>(const FixedBytes&) const = default;
    View view() const { return {bytes.data(), N}; }
    // Lower-case hexadecimal, 2·N characters.
    std::string hex() const {
        static constexpr char digits[] = "0123456789abcdef";
        std::string out;
        out.reserve(2 * N);
        for (auto b : bytes) {
            out.push_back(digits[b >> 4]);
            out.push_back(digits[b & 15]);
        }
        return out;
    }
    // From exactly N bytes; anything else is a bug of the caller (readers check lengths first).
    static FixedBytes from(View v) {
        FixedBytes out;
        if (v.size() != N) std::terminate();
        std::memcpy(out.bytes.data(), v.data(), N);
        return out;
    }
};

using Hash = FixedBytes<struct HashTag, 32>;         // SHA-256 output
using ObjectId = FixedBytes<struct ObjectIdTag, 32>;  // random, DESIGN 2
using MemberId = FixedBytes<struct MemberIdTag, 32>;  // SHA-256 of the raw Ed25519 public key
using RealmId = FixedBytes<struct RealmIdTag, 32>;    // SHA-256 of the realm certificate's raw public key
using GrantId = FixedBytes<struct GrantIdTag, 16>;    // random, never reused
using PublicKey = FixedBytes<struct PublicKeyTag, 32>;   // raw Ed25519, RFC 8032
using Signature = FixedBytes<struct SignatureTag, 64>;  // raw Ed25519, RFC 8032

struct FixedBytesHash {
    template <class Tag, std::size_t N>
    std::size_t operator()(const FixedBytes<Tag, N>& v) const noexcept {
        static_assert(N >= sizeof(std::size_t));
        std::size_t out;
        std::memcpy(&out, v.bytes.data(), sizeof out);
        return out;  // ids are random or hashes: any eight bytes are as good as any others
    }
};

// Time is two types (DESIGN 4). MonoTime drives every decision; WallTime appears in signed objects only.
using Duration = std::chrono::microseconds;
struct MonoTime {
    Duration since_start{};
    constexpr auto operator<=>(const MonoTime&) const = default;
    constexpr MonoTime operator+(Duration d) const { return {since_start + d}; }
    constexpr Duration operator-(MonoTime o) const { return since_start - o.since_start; }
};
struct WallTime {
    std::int64_t unix_seconds = 0;
    constexpr auto operator<=>(const WallTime&) const = default;
};
// What two honest clocks may differ by (DESIGN 4).
inline constexpr std::int64_t kClockToleranceSeconds = 120;
// What is valid from begin to end counts neither as before() nor as past() at now, with that tolerance.
constexpr bool before(WallTime begin, WallTime now) { return now.unix_seconds < begin.unix_seconds - kClockToleranceSeconds; }
constexpr bool past(WallTime end, WallTime now) { return now.unix_seconds > end.unix_seconds + kClockToleranceSeconds; }

// How an object of a length divides. Pure arithmetic; valid for 0 ≤ length ≤ kMaxObjectBytes.
class Geometry {
public:
    constexpr Geometry() = default;
    // block_bytes: a power of two, kMinBlockBytes … kMaxBlockBytes.
    constexpr Geometry(std::uint64_t length, std::uint32_t block_bytes)
        : length_(length), block_bytes_(block_bytes) {}
    // The block size of DESIGN 2 for this length.
    static constexpr Geometry for_length(std::uint64_t length) {
        std::uint32_t b = kMinBlockBytes;
        while (b < kMaxBlockBytes && length > std::uint64_t{b} * 1024) b *= 2;
        return {length, b};
    }
    constexpr std::uint64_t length() const { return length_; }
    constexpr std::uint32_t block_bytes() const { return block_bytes_; }
    constexpr std::uint32_t leaves_per_block() const { return block_bytes_ / kLeafBytes; }
    constexpr std::uint64_t leaf_count() const { return (length_ + kLeafBytes - 1) / kLeafBytes; }
    // 0 for an empty object.
    constexpr std::uint64_t block_count() const { return (length_ + block_bytes_ - 1) / block_bytes_; }
    constexpr std::uint64_t block_offset(BlockIndex i) const { return std::uint64_t{i.v} * block_bytes_; }
    // Bytes of block i; only the last is shorter. i < block_count().
    constexpr std::uint32_t block_length(BlockIndex i) const {
        const std::uint64_t left = length_ - block_offset(i);
        return left < block_bytes_ ? static_cast<std::uint32_t>(left) : block_bytes_;
    }
    constexpr BlockIndex block_at(std::uint64_t offset) const {
        return BlockIndex{static_cast<std::uint32_t>(offset / block_bytes_)};
    }
    constexpr bool operator==(const Geometry&) const = default;

private:
    std::uint64_t length_ = 0;
    std::uint32_t block_bytes_ = kMinBlockBytes;
};

// 2^48 / 256 KiB = 2^30 blocks: an index fits 32 bits with room, because for_length gives the largest
// blocks to everything over 128 MiB; manifests with smaller blocks than for_length are refused.

struct BlockRange {  // [first, first + count)
    std::uint32_t first = 0;
    std::uint32_t count = 0;
    bool operator==(const BlockRange&) const = default;
};

}  // namespace mssl
