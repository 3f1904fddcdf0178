// A set of block indices: what a side has. On the wire: BITFIELD and HAVE (BEP 3 words).
#pragma once

#include <vector>

#include "protocol/result.h"
#include "protocol/types.h"

namespace mssl {

class Bitmap {
public:
    Bitmap() = default;
    explicit Bitmap(std::uint64_t blocks) : size_(blocks), words_((blocks + 63) / 64) {}
    // ceil(blocks / 8) bytes, most significant bit first; spare bits zero, else malformed.
    static Result<Bitmap> from_wire(View bits, std::uint64_t blocks);
    Bytes to_wire() const;

    std::uint64_t size() const { return size_; }
    std::uint64_t count() const { return count_; }
    bool all() const { return count_ == size_; }
    bool none() const { return count_ == 0; }
    // Out of range: false / no effect.
    bool test(BlockIndex i) const;
    // Returns true when the bit was clear.
    bool set(BlockIndex i);
    void clear(BlockIndex i);
    void set_range(BlockRange r);
    void set_all();
    // First set / clear index at or after from; size() when there is none.
    std::uint64_t next_set(std::uint64_t from) const;
    std::uint64_t next_clear(std::uint64_t from) const;
    // Maximal runs of set bits, at most max of them.
    std::vector<BlockRange> ranges(std::size_t max = SIZE_MAX) const;

private:
    std::uint64_t size_ = 0;
    std::uint64_t count_ = 0;
    std::vector<std::uint64_t> words_;
};

}  // namespace mssl
