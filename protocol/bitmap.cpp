#include "protocol/bitmap.h"

#include <algorithm>
#include <bit>

namespace mssl {

// Bit i lives in words_[i / 64] at 1 << i % 64; bits beyond size_ are always zero.

Result<Bitmap> Bitmap::from_wire(View bits, std::uint64_t blocks) {
    if (bits.size() != blocks / 8 + (blocks % 8 != 0 ? 1 : 0))
        return fail(Errc::malformed, "a bit field of a wrong length");
    if (blocks % 8 != 0 && (bits.back() & (0xff >> blocks % 8)) != 0)
        return fail(Errc::malformed, "a bit field with spare bits set");
    Bitmap out(blocks);
    for (std::uint64_t i = 0; i < blocks; ++i)
        if ((bits[i / 8] & 0x80 >> i % 8) != 0) out.set(BlockIndex{static_cast<std::uint32_t>(i)});
    return out;
}

Bytes Bitmap::to_wire() const {
    Bytes out((size_ + 7) / 8);
    for (std::uint64_t i = next_set(0); i < size_; i = next_set(i + 1))
        out[i / 8] = static_cast<std::uint8_t>(out[i / 8] | 0x80 >> i % 8);
    return out;
}

bool Bitmap::test(BlockIndex i) const { return i.v < size_ && (words_[i.v / 64] >> i.v % 64 & 1) != 0; }

bool Bitmap::set(BlockIndex i) {
    if (i.v >= size_ || test(i)) return false;
    words_[i.v / 64] |= std::uint64_t{1} << i.v % 64;
    ++count_;
    return true;
}

void Bitmap::clear(BlockIndex i) {
    if (!test(i)) return;
    words_[i.v / 64] &= ~(std::uint64_t{1} << i.v % 64);
    --count_;
}

void Bitmap::set_range(BlockRange r) {
    const std::uint64_t end = std::min(size_, std::uint64_t{r.first} + r.count);
    for (std::uint64_t i = r.first; i < end; ++i) set(BlockIndex{static_cast<std::uint32_t>(i)});
}

void Bitmap::set_all() {
    std::fill(words_.begin(), words_.end(), ~std::uint64_t{0});
    if (size_ % 64 != 0) words_.back() = (std::uint64_t{1} << size_ % 64) - 1;
    count_ = size_;
}

std::uint64_t Bitmap::next_set(std::uint64_t from) const {
    if (from >= size_) return size_;
    std::uint64_t word = words_[from / 64] >> from % 64 << from % 64;
    for (std::uint64_t w = from / 64;;) {
        if (word != 0) return w * 64 + static_cast<std::uint64_t>(std::countr_zero(word));
        if (++w == words_.size()) return size_;
        word = words_[w];
    }
}

std::uint64_t Bitmap::next_clear(std::uint64_t from) const {
    if (from >= size_) return size_;
    std::uint64_t word = ~words_[from / 64] >> from % 64 << from % 64;
    for (std::uint64_t w = from / 64;;) {
        // Bits beyond the end are zero and look clear.
        if (word != 0) return std::min(size_, w * 64 + static_cast<std::uint64_t>(std::countr_zero(word)));
        if (++w == words_.size()) return size_;
        word = ~words_[w];
    }
}

std::vector<BlockRange> Bitmap::ranges(std::size_t max) const {
    std::vector<BlockRange> out;
    for (std::uint64_t first = next_set(0); first < size_ && out.size() < max;) {
        const std::uint64_t end = next_clear(first);
        out.push_back({static_cast<std::uint32_t>(first), static_cast<std::uint32_t>(end - first)});
        first = next_set(end);
    }
    return out;
}

}  // namespace mssl
