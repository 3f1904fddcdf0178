// One source of one Download: what it has, what it owes, how fast it is.
//
// Thread rules: a value of its Download.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>

#include "protocol/bitmap.h"
#include "protocol/download.h"

namespace mssl {

// Bytes a second over the time in which something was outstanding: an idle source is not a slow one.
class RateMeter {
public:
    // Something is outstanding from now on, or no longer.
    void busy(MonoTime now);
    void idle(MonoTime now);
    void add(MonoTime now, std::uint64_t bytes);
    // Closes the window of measurement when it is long enough; silence counts.
    void tick(MonoTime now);
    double rate() const { return rate_; }
    bool known() const { return known_; }

private:
    // Busy time that makes one sample: long enough to see several records, short enough to learn a fast line soon.
    static constexpr Duration kWindow = std::chrono::milliseconds(20);
    Duration spent(MonoTime now) const { return spent_ + (busy_ ? now - began_ : Duration{0}); }
    bool busy_ = false;
    bool known_ = false;
    MonoTime began_{};
    Duration spent_{};  // busy time before began_ that belongs to this sample
    std::uint64_t bytes_ = 0;
    double rate_ = 0;
};

// A request for a block's data that is neither answered nor given up.
struct Asked {
    MonoTime at;
    std::uint64_t mask = 0;
    bool begun = false;     // its BLOCK frame came
};

// A block whose BLOCK frame came and whose DATA is not complete.
struct Incoming {
    MonoTime at;
    std::uint32_t length = 0;
    std::uint32_t received = 0;
    bool discard = false;
    bool given = false;      // for a token
    std::size_t slot_bytes = 0;  // of the payload that is being read; a discarded one is reported as empty
    std::uint64_t mask = 0;
    std::uint64_t head_blocks = 0;  // given: the head that its path ends under
    std::vector<Hash> nodes;
    std::shared_ptr<std::uint8_t[]> buffer;
};

struct Source {
    SourceId id;
    SourceKind kind = SourceKind::peer;
    SourceStats stats;
    Bitmap has;                        // a server has whatever a head covers: not used
    bool cut = false;
    std::map<std::uint32_t, Asked> asked;
    std::map<std::uint32_t, Incoming> incoming;
    std::map<std::uint32_t, Asked> nodes_asked;        // nodes_only requests
    std::map<std::uint32_t, MonoTime> refused;         // not again before
    // Cancelled and maybe on its way: its data is thrown away once, and no fault (cancel crosses on the wire).
    std::deque<std::uint32_t> cancelled;
    RateMeter meter;
    Duration min_rtt{};
    MonoTime last_byte{};
    MonoTime not_before{};             // backing off
    Duration backoff{};
    bool stalled = false;              // until it completes a block
    std::optional<MonoTime> owes_since;  // asked, and no whole block came since
    bool dry = false;                  // the last search found nothing for it, and nothing has changed since

    // Blocks asked for by number whose data is awaited.
    std::size_t outstanding() const { return asked.size(); }
    bool forgive_cancelled(BlockIndex block);
    void remember_cancelled(BlockIndex block);
    bool refuses(BlockIndex block, MonoTime now) const;
    // Stops using what arrives of block.
    void discard(BlockIndex block);
    // Requests in flight that keep this source busy (DESIGN 9): 1 + ceil(rate · (RTT + slack) / block), from 2.
    std::size_t pipeline(std::uint32_t block_bytes, Duration slack, std::size_t limit) const;
};

}  // namespace mssl
