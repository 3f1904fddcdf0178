// The giving-out: which block goes to whom next, and from where.
#include <algorithm>
#include <utility>

#include "protocol/possession.h"
#include "proxy/core/log.h"
#include "proxy/server/hosted_impl.h"

namespace mssl::proxy {
namespace {

// Changes of who is in are told together: few members at once, many at the pace that DESIGN 9 allows.
constexpr Duration kPeersFew = std::chrono::milliseconds(10);
constexpr Duration kPeersMany = std::chrono::milliseconds(100);

}  // namespace

// ── Who is in ──

TakerId Hosted::attach(std::shared_ptr<ObjectTaker> out, Handle handle) {
    const TakerId id{next_taker_++};
    if (state() == State::withdrawn) {
        out->send_control(Close{handle, true, Errc::withdrawn});
        return id;
    }
    // The tree outlives the Upload: both are this object's.
    const auto t = std::make_shared<Taker>(
        id, geometry_, [this](NodePosition p) { return tree_.node(p); }, std::move(out), handle);
    t->upload.set_head_blocks(shown_blocks_);
    takers_.emplace(id.v, t);
    look_whether_wanted();
    spread_.add_taker(id, loop_.now());

    t->out->send_control(Opened{handle, geometry_.block_count(), wire_bitfield(have_)});
    if (const auto newest = head()) t->out->send_control(HeadFrame{handle, newest->der});

    neighbours_.set(id, t->out->entry());
    if (const auto peers = neighbours_.changes(id); !peers.empty()) t->out->send_control(Peers{handle, peers});
    peers_changed();
    all_told_ = false;
    tell_all_out();
    return id;
}

void Hosted::detach(TakerId id) {
    const TakerPtr t = find(id);
    if (!t) return;
    t->gone = true;
    takers_.erase(id.v);
    look_whether_wanted();
    spread_.remove_taker(id, loop_.now());
    neighbours_.remove(id);
    peers_changed();
    // What it alone had is to be given again.
    if (!spread_.all_out()) {
        all_told_ = false;
        for (const auto& [_, other] : takers_) other->knows_all_out = false;
    }
    pump();
}

void Hosted::on_entry_changed(TakerId id) {
    const TakerPtr t = find(id);
    if (!t) return;
    neighbours_.set(id, t->out->entry());
    peers_changed();
}

void Hosted::leave_out(TakerId id, const MemberId& member) {
    neighbours_.leave_out(id, member);
    peers_changed();
}

void Hosted::peers_changed() {
    if (state() != State::withdrawn && peers_timer_ && !peers_timer_->running())
        peers_timer_->start(takers_.size() <= Neighbours::kAll ? kPeersFew : kPeersMany);
}

void Hosted::tell_peers() {
    for (const auto& [_, t] : takers_)
        if (const auto peers = neighbours_.changes(t->id); !peers.empty()) t->out->send_control(Peers{t->handle, peers});
}

void Hosted::tell_all_out() {
    if (all_told_ || geometry_.block_count() == 0 || !spread_.all_out()) return;
    all_told_ = true;
    for (const auto& [_, t] : takers_)
        if (!std::exchange(t->knows_all_out, true)) t->out->send_control(AllOut{t->handle});
}

Hosted::TakerPtr Hosted::find(TakerId id) const {
    const auto it = takers_.find(id.v);
    return it == takers_.end() ? nullptr : it->second;
}

// ── What they say ──

Status Hosted::on_request(TakerId id, const Request& request) {
    const TakerPtr t = find(id);
    if (!t) return {};
    if (t->reading.contains(request.block.v) && !request.nodes_only && t->requested.contains(request.block.v))
        return fail(Errc::unexpected, "the same block asked for twice");
    Result<std::optional<Refuse>> result = t->upload.on_request(request, have_);
    if (!result) return result.error();
    if (std::optional<Refuse>& refuse = *result) {
        refuse->handle = t->handle;
        t->out->send_control(*refuse);
        return {};
    }
    if (request.nodes_only) {
        ++t->nodes_waiting;
    } else {
        t->requested.insert(request.block.v);
        spread_.on_sent(id, request.block, loop_.now());
    }
    queue(t);
    offer(*t);
    pump();
    return {};
}

void Hosted::on_cancel(TakerId id, const Cancel& cancel) {
    const TakerPtr t = find(id);
    if (!t) return;
    t->upload.on_cancel(cancel.block);
    t->requested.erase(cancel.block.v);
    t->reading.erase(cancel.block.v);  // send() then finds it unwanted
    offer(*t);
    pump();
}

void Hosted::on_any(TakerId id, const Any& any) {
    const TakerPtr t = find(id);
    if (!t) return;
    t->tokens = any.tokens;
    t->level = any.level;
    if (any.with_path) t->with_path = true;
    offer(*t);
    pump();
}

Status Hosted::on_progress(TakerId id, const Progress& progress) {
    const TakerPtr t = find(id);
    if (!t) return {};
    if (progress.have_count > geometry_.block_count()) return fail(Errc::malformed, "PROGRESS beyond the object");
    if (progress.bitfield.empty()) {
        spread_.on_count(id, progress.have_count, loop_.now());
    } else {
        Result<Bitmap> have = Bitmap::from_wire(progress.bitfield, geometry_.block_count());
        if (!have) return have.error();
        spread_.on_bitmap(id, *have, loop_.now());
    }
    pump();
    return {};
}

// ── Giving ──

// Spread sees no more tokens than there is room for in the session: what is not under way can still go to another.
void Hosted::offer(Taker& t) {
    const std::uint64_t taken = t.in_session + t.upload.queued_bytes();
    const std::uint64_t room = taken >= t.window ? 0 : (t.window - taken + geometry_.block_bytes() - 1) / geometry_.block_bytes();
    spread_.on_tokens(t.id, static_cast<std::uint8_t>(std::min<std::uint64_t>(t.tokens, room)), t.level, loop_.now());
}

void Hosted::queue(const TakerPtr& t) {
    if (!std::exchange(t->in_turn, true)) turn_.push_back(t);
}

void Hosted::pump() {
    pump_again_ = true;
    if (pumping_) return;
    pumping_ = true;
    const auto self = shared_from_this();
    while (std::exchange(pump_again_, false) && state() != State::withdrawn) {
        while (const auto give = spread_.next(loop_.now())) {
            const TakerPtr t = find(give->taker);
            if (!t) continue;
            if (t->tokens > 0) --t->tokens;
            t->upload.give(give->block, std::exchange(t->with_path, false));
            queue(t);
        }
        // One block each, then the next one's turn.
        while (!turn_.empty()) {
            const TakerPtr t = turn_.front();
            turn_.pop_front();
            t->in_turn = false;
            if (serve(t)) queue(t);
        }
    }
    pumping_ = false;
    if (state() != State::withdrawn) tell_all_out();
}

// Starts one block of this taker. False: nothing to do now; its next request or sent block brings it back.
bool Hosted::serve(const TakerPtr& t) {
    if (t->gone || t->upload.queued() == 0) {
        t->nodes_waiting = 0;
        return false;
    }
    if (t->nodes_waiting == 0 && t->in_session >= t->window) return false;
    auto next = t->upload.next();
    if (!next) return false;
    if (Refuse* refuse = std::get_if<Refuse>(&*next)) {
        refuse->handle = t->handle;
        if (t->nodes_waiting > 0)
            --t->nodes_waiting;
        else
            t->requested.erase(refuse->block.v);
        t->out->send_control(*refuse);
        return true;
    }
    BlockFrame frame = std::move(std::get<Upload::Job>(*next).frame);
    frame.handle = t->handle;
    if (frame.length == 0) {
        if (t->nodes_waiting > 0) --t->nodes_waiting;
        t->out->send_block(frame, nullptr, [] {});
        return true;
    }
    t->nodes_waiting = 0;  // they stand before all payload
    t->in_session += frame.length;
    const BlockIndex block = frame.block;
    const std::uint64_t read = next_read_++;
    t->reading[block.v] = read;
    source_->read(block, [weak = weak_from_this(), t, read, frame = std::move(frame)](Result<BlockData> data) {
        if (const auto self = weak.lock()) self->send(t, read, frame, std::move(data));
    });
    return true;
}

void Hosted::send(const TakerPtr& t, std::uint64_t read, const BlockFrame& frame, Result<BlockData> data) {
    if (!data && data.code() == Errc::withdrawn) withdraw(data.error());  // changes nothing when it is
    if (t->gone) return;
    const auto reading = t->reading.find(frame.block.v);
    const bool wanted = reading != t->reading.end() && reading->second == read;  // else it was cancelled meanwhile
    if (wanted) t->reading.erase(reading);
    const bool requested = wanted && t->requested.erase(frame.block.v) != 0;
    if (!data && give_up(t, read, data.error())) return;
    if (!wanted || !data) {
        // A block for a token that cannot be read is not refused, for nobody asked: Spread gives it again in time.
        if (requested) t->out->send_control(Refuse{t->handle, frame.block, Errc::busy});
        t->in_session -= frame.length;
        queue(t);
        offer(*t);
        return pump();
    }
    t->failed_tries = 0;
    unreadable_until_.reset();
    bytes_given_ += frame.length;
    if (pace_) pace_->given_to(geometry_.block_offset(frame.block) + frame.length);
    t->out->send_block(frame, std::move(*data), [weak = weak_from_this(), t, length = frame.length, since = loop_.now()] {
        if (const auto self = weak.lock()) self->on_sent(t, length, since);
    });
}

// Whether this one waits in vain: blocks that can be had go on to be given, but what an origin refuses again and again has to come
// from elsewhere (DESIGN 3, never worse).
bool Hosted::give_up(const TakerPtr& t, std::uint64_t read, const Error& why) {
    if (why.code == Errc::busy || read < t->next_try) return false;
    t->next_try = next_read_;
    if (t->failed_tries++ == 0) t->failing_since = loop_.now();
    if (t->failed_tries < kMaxFailedTries || loop_.now() - t->failing_since < hosting_.failing) return false;
    log::warning("object cannot be read", {{"object", id_.hex()}, {"error", why.to_string()}});
    unreadable_until_ = loop_.now() + kUnreadable;
    t->out->send_control(Close{t->handle, true, Errc::no_such_block});
    detach(t->id);
    return true;
}

void Hosted::on_sent(const TakerPtr& t, std::uint32_t length, MonoTime since) {
    t->in_session -= length;
    if (t->gone) return;
    const std::size_t block = geometry_.block_bytes();
    const Duration took = loop_.now() - since;
    if (took < kLeavesAtOnce)
        t->window = std::min(t->window + block, std::max(kMaxInSession, 2 * block));
    else if (took > 2 * kLeavesAtOnce)
        t->window = std::max(t->window - block, 2 * block);
    queue(t);
    offer(*t);
    pump();
}

}  // namespace mssl::proxy
