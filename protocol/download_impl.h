// The inside of Download, shared by its three sources: download_events.cpp (what happened), download_plan.cpp (whom to ask),
// download_verify.cpp (what is true, and who lied). Nobody else includes it.
#pragma once

#include <map>
#include <set>
#include <utility>

#include "protocol/download.h"
#include "protocol/picker.h"
#include "protocol/restored.h"
#include "protocol/source.h"
#include "protocol/tracker.h"

namespace mssl {

struct Download::Impl {
    Impl(Geometry g, ObjectId o, BlockBuffers& b, DownloadLimits l);

    // ── download_events.cpp ──
    Source* source(SourceId id);            // null: unknown or cut
    Source* server();                       // null: none, or cut
    void cut(Source& s, Errc why, std::string detail);
    // Nothing more is expected from s; what it owed can be asked for elsewhere.
    void drop_requests(MonoTime now, Source& s);
    // One way to get the block is gone; with the last one it becomes missing again.
    void lose(BlockIndex block, const Source& s);
    void release(BlockIndex block, bool ask_server);
    void stop_asking(MonoTime now, Source& s, BlockIndex block);
    void update_meter(MonoTime now, Source& s);
    void on_nodes(MonoTime now, Source& s, const BlockFrame& frame);
    void fail_transfer(Error error);
    // In place: moving a temporary variant makes gcc 12 warn of members that are not there.
    template <class Action>
    void act(Action action) {
        actions.emplace_back(std::in_place_type<Action>, std::move(action));
    }

    // ── download_verify.cpp ──
    void completed(MonoTime now, Source& s, BlockIndex block, Incoming in);
    // Verifies a complete block, or finds out what it waits for.
    void settle(MonoTime now, BlockIndex block);
    void settle_all(MonoTime now);
    void accept(BlockIndex block);
    void reject(MonoTime now, BlockIndex block);
    void ask_nodes(MonoTime now, BlockIndex block, bool rely_on_others);
    Source* nodes_source(BlockIndex block, const Pending& p);
    void check_suspects(BlockIndex block);

    // ── download_plan.cpp ──
    void plan(MonoTime now);
    void plan_tokens(MonoTime now);
    bool ask_one(MonoTime now, Source& s);
    std::optional<BlockIndex> choose(MonoTime now, Source& s);
    std::optional<BlockIndex> choose_replacement(MonoTime now, Source& s);
    std::optional<BlockIndex> choose_for_server(MonoTime now, Source& s);
    std::optional<BlockIndex> choose_end_game(MonoTime now, Source& s);
    void send_request(MonoTime now, Source& s, BlockIndex block);
    bool can_ask(MonoTime now, const Source& s, BlockIndex block) const;
    bool by_number(const Source& s) const;
    bool quiet(MonoTime now, const Source& s) const;
    std::size_t pipeline(const Source& s) const;
    std::size_t max_blocks() const;         // that max_memory allows on the way or held
    std::size_t committed() const;          // that are on the way, held (by the owner too), or may come for a token
    std::size_t unbuffered() const;         // on the way, without a buffer yet
    // While memory is short nothing is asked for that there is no buffer for: it would come, and be thrown away.
    bool reserve();
    // Blocks [first, second) that may be asked for on behalf of a reader at first.
    std::pair<std::uint64_t, std::uint64_t> hard_window(std::uint64_t reader) const;
    bool in_hard_window(BlockIndex block) const;
    // Somebody to pass blocks on to, or to get them from.
    bool helped() const;
    // The windows of readers in turn, one request each: who reads on does not wait for who paused.
    std::optional<BlockIndex> pick_for_readers(Picker::Query& q);
    std::optional<BlockIndex> pick_in_hard_windows(Picker::Query& q);
    std::optional<BlockIndex> pick_far_from_tokens(MonoTime now, Source& s);
    void watch_readers(MonoTime now);
    void find_stalled(MonoTime now);
    void check_source(MonoTime now, Source& s);

    Geometry geometry;
    ObjectId object;
    BlockBuffers* buffers;
    DownloadLimits limits;
    NodeCache cache;
    Bitmap have;
    Tracker tracker;
    Picker picker;
    std::map<SourceId, Source> sources;
    std::vector<DownloadAction> actions;
    std::map<std::uint32_t, VerifiedBlock> ready;
    // Nodes that made a block fail although its data came from somebody else: proven wrong, or not, once it verifies.
    std::map<std::uint32_t, std::vector<Proof>> suspects;
    RestoredNodes restored;
    // Given for a token and lost here: the server thinks they are out, so they have to be asked for by number.
    std::set<std::uint32_t> lost;
    std::set<std::uint32_t> slow;           // on the way from somebody too slow: wanted from another as well
    std::vector<std::uint64_t> readers;     // blocks: ascending, each once
    std::size_t turn = 0;                   // whose window comes first
    std::size_t watched = 0;                // whose next block was looked at last
    std::map<std::uint32_t, MonoTime> starving;  // next blocks of readers, on their way from nobody, since when
    std::uint64_t given_end = 0;            // beyond all that came for tokens: these go up, from the first block on
    std::size_t owner_holds = 0;            // verified blocks whose buffers the owner has not given back
    std::size_t memory_short = 0;           // blocks allowed since a buffer was refused; 0: no such limit
    std::vector<std::shared_ptr<std::uint8_t[]>> reserved;  // then, for blocks on their way
    std::uint64_t bytes[2] = {0, 0};
    bool all_out = false;
    bool failed = false;
    bool finished = false;

    // Tokens with the server. It may have used some when a new number reaches it, so what may come is only bounded:
    struct Tokens {
        std::uint32_t unseen = 0;    // our best guess: given and not seen, or still to be given
        std::uint64_t may_come = 0;  // certain: more than this is `unexpected`
        bool exact = true;           // the server holds the number we think
        bool path_asked = false;
        MonoTime sent{};
    } tokens;
    std::uint8_t level = 3;
    bool level_changed = false;
    MonoTime latest{};   // the newest time that was heard of
    MonoTime ticked{};   // the last tick: events between do not put it off
};

}  // namespace mssl
