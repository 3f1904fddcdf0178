// The server's giving-out of one object (DESIGN 9): each block once, in index order, to members that ask for any
// block, preferring those whose own upload queue runs dry; repeated only when nobody reports it in time or its holder
// left. One owner an object.
//
// Thread rules: one owner, one thread.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "protocol/bitmap.h"
#include "protocol/result.h"

namespace mssl {

using TakerId = Strong<struct TakerIdTag, std::uint64_t>;  // one member session on one object; never reused

class Spread {
public:
    explicit Spread(Geometry geometry);
    ~Spread();
    Spread(const Spread&) = delete;
    Spread& operator=(const Spread&) = delete;

    // Blocks [0, blocks) can be given (hashed and covered by a signed head).
    void set_available(std::uint64_t blocks);
    void add_taker(TakerId id, MonoTime now);
    // Blocks whose only holder left become fresh again.
    void remove_taker(TakerId id, MonoTime now);
    // After (re)connecting, and from progress frames with a bitmap: what it has. Counts as given out.
    void on_bitmap(TakerId id, const Bitmap& have, MonoTime now);
    void on_count(TakerId id, std::uint64_t have_count, MonoTime now);
    void on_tokens(TakerId id, std::uint8_t tokens, std::uint8_t level, MonoTime now);
    // The server sent block to id for another reason (a request): it is out.
    void on_sent(TakerId id, BlockIndex block, MonoTime now);

    struct Give {
        TakerId taker;
        BlockIndex block;
    };
    // The next block to give, if anyone has a token and anything is fresh. Takes the token.
    std::optional<Give> next(MonoTime now);
    // Everything was given out at least once; true stays true until a holder leaves.
    bool all_out() const;
    // Blocks given out, of how many.
    std::uint64_t given() const;

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace mssl
