// The tree of a stream of bytes that arrive in spans of any size.
#pragma once

#include "protocol/merkle.h"
#include "protocol/types.h"

namespace mssl {

// Feed all bytes in order, then finish(). The tree grows by a block node as soon as a block is whole, so heads can
// be taken from it meanwhile. Holds at most one block of payload; whole blocks inside a span are not copied.
// Thread rules: a value, used by one thread at a time.
class TreeBuilder {
public:
    // block_bytes: a power of two, kMinBlockBytes … kMaxBlockBytes; else the program ends.
    explicit TreeBuilder(std::uint32_t block_bytes);

    // Not after finish().
    void feed(View bytes);
    // Hashes the short last block, if there is one. Once.
    void finish();

    // Bytes fed so far.
    std::uint64_t length() const { return length_; }
    // Every whole block fed so far; after finish() the whole tree.
    const MerkleTree& tree() const { return tree_; }
    // Moves the tree out, to keep it; the builder is done with then.
    MerkleTree take() { return std::move(tree_); }

private:
    std::uint32_t block_bytes_;
    std::uint64_t length_ = 0;
    Bytes partial_;  // the beginning of a block, never a whole one
    MerkleTree tree_;
    bool finished_ = false;
};

}  // namespace mssl
