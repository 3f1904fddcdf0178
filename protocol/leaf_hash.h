// SHA-256 as the tree uses it: leaves and inner nodes of RFC 9162 §2.1.1.
//
// SHA-256 is fetched once and each thread keeps its context, because OpenSSL 3.0 takes locks at every fetch. The
// program ends (std::terminate) where the library has no SHA-256: nothing can be verified then.
// Thread rules: any thread.
#pragma once

#include <span>

#include "protocol/types.h"

namespace mssl {

Hash hash_leaf(View leaf);                            // SHA-256(0x00 ‖ leaf); leaf ≤ kLeafBytes
Hash hash_node(const Hash& left, const Hash& right);  // SHA-256(0x01 ‖ left ‖ right)
Hash empty_root();                                    // SHA-256 of nothing: the tree of the empty object

// hash_leaf of each leaf of data, in order: leaves of kLeafBytes, the last one maybe shorter. out.size() must be
// ceil(data.size() / kLeafBytes). Side by side where that is faster (libipsec-mb; each thread checks it against
// EVP before it trusts it and goes back to EVP for good when it ever fails), else one by one.
void hash_leaves(View data, std::span<Hash> out);

// The same, one by one through EVP: what the other way is measured and tested against.
void hash_leaves_one_by_one(View data, std::span<Hash> out);

// Whether hash_leaves works side by side in this thread, for diagnostics and tests.
bool hashes_side_by_side();

}  // namespace mssl
