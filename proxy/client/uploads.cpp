#include "proxy/client/uploads.h"

#include "protocol/possession.h"

namespace mssl::proxy {
namespace {

// HAVEs go out at once when nothing was sent lately, else gathered: one frame for what verified meanwhile.
constexpr Duration kHaveGather = std::chrono::milliseconds(5);
constexpr Duration kRateEvery = std::chrono::milliseconds(250);
// Blocks between a taker's session and its socket: one on the wire, one ready.
constexpr unsigned kInSession = 2;

}  // namespace

struct Uploads::Taker {
    Taker(std::shared_ptr<UploadTaker> t, Handle h, WallTime end, Geometry geometry, Upload::NodeLookup node)
        : taker(std::move(t)), handle(h), ticket_end(end), upload(geometry, std::move(node)) {}
    std::shared_ptr<UploadTaker> taker;
    Handle handle;
    WallTime ticket_end;
    Upload upload;
    unsigned in_session = 0;
    std::uint64_t head_sent = 0;  // blocks of the head it was sent
    std::optional<Upload::Job> held;  // waits for the upload limit
    std::unique_ptr<Timer> limit_timer;
};

Uploads::Uploads(Loop& loop, Geometry geometry, std::shared_ptr<RateLimit> limit, Upload::NodeLookup node,
                 std::function<const Bitmap&()> have, ReadBlock read)
    : loop_(&loop),
      geometry_(geometry),
      limit_(std::move(limit)),
      node_(std::move(node)),
      have_(std::move(have)),
      read_(std::move(read)),
      news_timer_(loop, [this] { flush_haves(); }),
      rate_timer_(loop, [this] {
          const MonoTime now = loop_->now();
          const double seconds = std::chrono::duration<double>(now - rate_since_).count();
          if (seconds > 0) rate_ = 0.5 * rate_ + 0.5 * static_cast<double>(bytes_sent_ - rate_bytes_) / seconds;
          rate_since_ = now;
          rate_bytes_ = bytes_sent_;
          if (!takers_.empty()) rate_timer_.start(kRateEvery);
      }) {}

Uploads::~Uploads() { *alive_ = false; }

void Uploads::set_head(Bytes head_der, std::uint64_t blocks) {
    if (blocks < head_blocks_) return;
    head_der_ = std::move(head_der);
    head_blocks_ = blocks;
    for (auto& [_, t] : takers_) t->upload.set_head_blocks(blocks);
}

Uploads::UploadId Uploads::attach(std::shared_ptr<UploadTaker> taker, Handle handle, WallTime ticket_end) {
    const UploadId id = next_++;
    auto t = std::make_unique<Taker>(std::move(taker), handle, ticket_end, geometry_, node_);
    t->upload.set_head_blocks(head_blocks_);
    flush_haves();  // what is gathered is in the bitmap already
    for (ControlFrame& frame : opened_frames(handle, have_())) t->taker->send_control(std::move(frame));
    send_head(*t);
    if (!rate_timer_.running()) {
        rate_since_ = loop_->now();
        rate_timer_.start(kRateEvery);
    }
    takers_.emplace(id, std::move(t));
    return id;
}

void Uploads::renew(UploadId id, WallTime ticket_end) {
    const auto it = takers_.find(id);
    if (it == takers_.end()) return;
    it->second->ticket_end = ticket_end;
    for (ControlFrame& frame : opened_frames(it->second->handle, have_())) it->second->taker->send_control(std::move(frame));
}

void Uploads::detach(UploadId id) { takers_.erase(id); }

void Uploads::on_request(UploadId id, const Request& request) {
    const auto it = takers_.find(id);
    if (it == takers_.end()) return;
    Taker& t = *it->second;
    // A ticket is good for minutes; its holder renews it or gets nothing more (DESIGN 5).
    if (past(t.ticket_end, wall_now())) {
        t.taker->send_control(Refuse{t.handle, request.block, Errc::expired});
        return;
    }
    // A head that is newer than this side's is no reason to refuse: heads reach members one after another, and the nodes of
    // a block that is here are the same under each. Upload answers `busy` where one is missing.
    Result<std::optional<Refuse>> r = t.upload.on_request(request, have_());
    if (!r) return t.taker->fail(r.error());
    if (*r) {
        Refuse refuse = **r;
        refuse.handle = t.handle;
        t.taker->send_control(refuse);
        return;
    }
    pump(id);
}

void Uploads::send_head(Taker& taker) {
    taker.head_sent = head_blocks_;
    taker.taker->send_control(HeadFrame{taker.handle, head_der_});
}

void Uploads::on_cancel(UploadId id, BlockIndex block) {
    if (const auto it = takers_.find(id); it != takers_.end()) it->second->upload.on_cancel(block);
}

void Uploads::pump(UploadId id) {
    const auto it = takers_.find(id);
    if (it == takers_.end()) return;
    Taker& t = *it->second;
    while (!t.held && t.in_session < kInSession) {
        auto next = t.upload.next();
        if (!next) return;
        if (auto* refuse = std::get_if<Refuse>(&*next)) {
            refuse->handle = t.handle;
            t.taker->send_control(*refuse);
            continue;
        }
        auto& job = std::get<Upload::Job>(*next);
        job.frame.handle = t.handle;
        if (job.frame.length == 0) {
            t.taker->send_block(job.frame, nullptr, [] {});
            continue;
        }
        const Duration wait = limit_->take(job.frame.length, loop_->now());
        if (wait > Duration::zero()) {
            t.held = job;
            if (!t.limit_timer)
                t.limit_timer = std::make_unique<Timer>(*loop_, [this, id] {
                    const auto at = takers_.find(id);
                    if (at == takers_.end() || !at->second->held) return;
                    Taker& held = *at->second;
                    const Duration more = limit_->take(held.held->frame.length, loop_->now());
                    if (more > Duration::zero()) return held.limit_timer->start(more);
                    const Upload::Job ready = *std::exchange(held.held, std::nullopt);
                    send(id, ready);
                    pump(id);
                });
            t.limit_timer->start(wait);
            return;
        }
        send(id, job);
    }
}

void Uploads::send(UploadId id, const Upload::Job& job) {
    ++takers_.at(id)->in_session;
    read_(job.frame.block, [this, alive = alive_, id, job](Result<BlockData> data) {
        if (!*alive) return;
        const auto it = takers_.find(id);
        if (it == takers_.end()) return;
        Taker& t = *it->second;
        if (!data) {
            --t.in_session;
            // What is only short of memory now is still here: the downloader must not forget that.
            const Errc why = data.code() == Errc::busy ? Errc::busy : Errc::no_such_block;
            t.taker->send_control(Refuse{t.handle, job.frame.block, why});
            return pump(id);
        }
        bytes_sent_ += job.frame.length;
        add(loop_->counters().bytes_to_peers, job.frame.length);
        t.taker->send_block(job.frame, std::move(*data), [this, alive, id] {
            if (!*alive) return;
            const auto at = takers_.find(id);
            if (at == takers_.end()) return;
            --at->second->in_session;
            pump(id);
        });
    });
}

void Uploads::on_verified(BlockIndex block) {
    if (takers_.empty()) return;
    news_.push_back(block.v);
    if (!news_timer_.running()) news_timer_.start(news_.size() == 1 ? Duration::zero() : kHaveGather);
}

void Uploads::flush_haves() {
    if (news_.empty()) return;
    std::sort(news_.begin(), news_.end());
    std::vector<BlockRange> ranges;
    for (const std::uint32_t b : news_) {
        if (!ranges.empty() && ranges.back().first + ranges.back().count == b)
            ++ranges.back().count;
        else
            ranges.push_back({b, 1});
    }
    news_.clear();
    for (std::size_t at = 0; at < ranges.size(); at += kMaxHaveRanges) {
        const std::size_t n = std::min(kMaxHaveRanges, ranges.size() - at);
        const std::vector<BlockRange> piece(ranges.begin() + static_cast<std::ptrdiff_t>(at),
                                            ranges.begin() + static_cast<std::ptrdiff_t>(at + n));
        for (auto& [_, t] : takers_) {
            // A block is of use only under a head that covers it: this side's goes first (DESIGN 3).
            if (piece.back().first + piece.back().count > t->head_sent && t->head_sent < head_blocks_) send_head(*t);
            t->taker->send_control(Have{t->handle, piece});
        }
    }
}

void Uploads::close_all(Errc why) {
    for (auto& [_, t] : takers_) t->taker->send_control(Close{t->handle, true, why});
    takers_.clear();
}

std::uint8_t Uploads::level() const {
    std::uint64_t queued = 0;
    for (const auto& [_, t] : takers_)
        queued += t->upload.queued_bytes() + (t->held ? t->held->frame.length : 0) +
                  std::uint64_t{t->in_session} * geometry_.block_bytes();
    const double threshold = 2.0 * geometry_.block_bytes() + 0.2 * rate_;
    const double q = static_cast<double>(queued);
    if (q <= threshold) return 3;
    if (q <= 2 * threshold) return 2;
    return q <= 3 * threshold ? 1 : 0;
}

template <class F>
void UploadPlace::tell(F f) {
    loop_->post([uploads = uploads_, f = std::move(f)] {
        if (const auto u = uploads.lock()) f(*u);
    });
}

UploadPlace::~UploadPlace() {
    tell([id = id_](Uploads& u) { u.detach(id); });
}

void UploadPlace::request(const Request& request) {
    tell([id = id_, request](Uploads& u) { u.on_request(id, request); });
}

void UploadPlace::cancel(BlockIndex block) {
    tell([id = id_, block](Uploads& u) { u.on_cancel(id, block); });
}

void UploadPlace::renew(WallTime ticket_end) {
    tell([id = id_, ticket_end](Uploads& u) { u.renew(id, ticket_end); });
}

}  // namespace mssl::proxy
