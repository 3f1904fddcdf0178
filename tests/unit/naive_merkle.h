// RFC 9162 §2.1.1 word for word, over leaves, with one-shot SHA-256: the twin that the tree is compared with.
#pragma once

#include <openssl/sha.h>

#include <vector>

#include "protocol/types.h"

namespace naive {

using namespace mssl;

inline Hash sha256(const Bytes& message) {
    Hash out;
    SHA256(message.data(), message.size(), out.bytes.data());
    return out;
}

// MTH(D[n]) of leaves that are hashed already.
inline Hash mth(std::span<const Hash> leaves) {
    if (leaves.empty()) return sha256({});
    if (leaves.size() == 1) return leaves[0];
    std::size_t k = 1;
    while (2 * k < leaves.size()) k *= 2;
    const Hash left = mth(leaves.first(k));
    const Hash right = mth(leaves.subspan(k));
    Bytes message{0x01};
    message.insert(message.end(), left.bytes.begin(), left.bytes.end());
    message.insert(message.end(), right.bytes.begin(), right.bytes.end());
    return sha256(message);
}

inline std::vector<Hash> leaf_hashes(View data) {
    std::vector<Hash> out;
    for (std::size_t at = 0; at < data.size(); at += kLeafBytes) {
        const View leaf = data.subspan(at, std::min<std::size_t>(kLeafBytes, data.size() - at));
        Bytes message{0x00};
        message.insert(message.end(), leaf.begin(), leaf.end());
        out.push_back(sha256(message));
    }
    return out;
}

inline Hash root(View data) { return mth(leaf_hashes(data)); }

// Bytes without a period that a tree could hide behind.
inline Bytes data(std::size_t length) {
    Bytes out(length);
    std::uint32_t state = 12345;
    for (std::uint8_t& b : out) {
        state = state * 1664525 + 1013904223;
        b = static_cast<std::uint8_t>(state >> 24);
    }
    return out;
}

// 1, a leaf, a block, and every multiple of a block up to 40 with its neighbours.
inline std::vector<std::size_t> lengths() {
    constexpr std::size_t K = 1024;
    std::vector<std::size_t> out{0, 1, 32 * K - 1, 32 * K, 32 * K + 1, 96 * K - 1, 96 * K, 96 * K + 1};
    for (const std::size_t k : {1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 15, 16, 17, 23, 24, 31, 32, 33, 39, 40})
        for (const std::size_t length : {k * 64 * K - 1, k * 64 * K, k * 64 * K + 1}) out.push_back(length);
    return out;
}

}  // namespace naive
