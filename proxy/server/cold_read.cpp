#include "proxy/server/cold_read.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace mssl::proxy {
namespace {

// Buffers come back as soon as some other transfer moves: soon, but not in a busy loop.
constexpr Duration kBufferRetry = std::chrono::milliseconds(10);

}  // namespace

// Keeps the read alive while it waits; the loop has it, so that it goes with the loop at the latest.
struct ColdRead::Retry final : Disposable {
    Retry(Loop& loop, std::shared_ptr<ColdRead> read) : of(std::move(read)), timer(loop, [this] { of->retry(this); }) {
        timer.start(kBufferRetry);
    }
    const std::shared_ptr<ColdRead> of;
    Timer timer;
};

std::shared_ptr<ColdRead> ColdRead::create(Runtime& runtime, Loop& loop, std::shared_ptr<HostedObject> object,
                                           std::function<void(bool)> pause) {
    return std::shared_ptr<ColdRead>(new ColdRead(runtime, loop, std::move(object), std::move(pause)));
}

ColdRead::ColdRead(Runtime& runtime, Loop& loop, std::shared_ptr<HostedObject> object, std::function<void(bool)> pause)
    : runtime_(runtime), loop_(&loop), object_(std::move(object)), pause_(std::move(pause)),
      geometry_(object_->manifest()->body.geometry()) {}

bool ColdRead::over() const { return broken_ || object_->state() == HostedObject::State::withdrawn; }

MutableView ColdRead::room() {
    if (over() || !stash_.empty() || block_ >= geometry_.block_count() || !ensure_buffer()) return {};
    return {buffer_.get() + filled_, geometry_.block_length(BlockIndex{static_cast<std::uint32_t>(block_)}) - filled_};
}

void ColdRead::feed(View piece) {
    if (over()) return;
    take(piece);
    update_pause();
}

void ColdRead::take(View piece) {
    while (!piece.empty() && !over()) {
        if (!stash_.empty() || !ensure_buffer()) {
            stash_.insert(stash_.end(), piece.begin(), piece.end());
            retry_later();
            return;
        }
        if (over()) return;
        const std::uint32_t length = geometry_.block_length(BlockIndex{static_cast<std::uint32_t>(block_)});
        const std::size_t n = std::min<std::size_t>(piece.size(), length - filled_);
        if (piece.data() != buffer_.get() + filled_) std::memcpy(buffer_.get() + filled_, piece.data(), n);
        filled_ += static_cast<std::uint32_t>(n);
        fed_ += n;
        piece = piece.subspan(n);
        if (filled_ == length) submit_block();
    }
    if (stash_.empty() && finished_) finish();
}

bool ColdRead::ensure_buffer() {
    if (buffer_) return true;
    if (block_ >= geometry_.block_count()) {
        fail(mssl::fail(Errc::withdrawn, "the origin sends more than its Content-Length"));
        return true;
    }
    buffer_ = runtime_.buffers.get(geometry_.block_length(BlockIndex{static_cast<std::uint32_t>(block_)}), BufferPool::Use::cold_read);
    filled_ = 0;
    return buffer_ != nullptr;
}

void ColdRead::retry_later() {
    if (std::exchange(retrying_, true)) return;
    loop_->adopt(std::make_unique<Retry>(*loop_, shared_from_this()));
}

void ColdRead::retry(Retry* due) {
    loop_->release(due);
    retrying_ = false;
    const Bytes held = std::exchange(stash_, {});
    take(held);
    update_pause();
}

void ColdRead::submit_block() {
    const BlockIndex block{static_cast<std::uint32_t>(block_++)};
    ++in_flight_;
    runtime_.workers.submit([self = shared_from_this(), block, data = BlockData(std::move(buffer_)), length = filled_] {
        const Hash node = hash_block({data.get(), length});
        self->object_->loop().post([self, block, data, length, node] { self->arrived(block, data, length, node); });
    });
    buffer_.reset();
    filled_ = 0;
}

void ColdRead::arrived(BlockIndex block, BlockData data, std::uint32_t length, const Hash& node) {
    hashed_.emplace(block.v, Hashed{std::move(data), length, node});
    for (auto at = hashed_.find(next_); at != hashed_.end(); at = hashed_.find(next_)) {
        const Hashed h = std::move(at->second);
        hashed_.erase(at);
        object_->append(BlockIndex{next_++}, h.data, h.length, h.node);
        // The object must not hold who holds it. Who has gone needs no word.
        object_->when_room([weak = weak_from_this(), &loop = *loop_] {
            if (auto self = weak.lock()) loop.post([self = std::move(self)] { self->block_done(); });
        });
    }
}

void ColdRead::block_done() {
    --in_flight_;
    update_pause();
}

void ColdRead::update_pause() {
    if (!pause_ || finished_) return;
    // What was withdrawn meanwhile is read on: the next piece ends it.
    const bool wanted = !over() && (in_flight_ >= kMaxInFlight || !stash_.empty());
    if (wanted == paused_) return;
    paused_ = wanted;
    pause_(wanted);
}

void ColdRead::finish() {
    finished_ = true;
    detach();
    if (over() || !stash_.empty()) return;
    if (fed_ != geometry_.length()) fail(mssl::fail(Errc::truncated, "the origin sent less than its Content-Length"));
}

void ColdRead::fail(const Error& why) {
    if (broken_) return;
    broken_ = true;
    finished_ = true;
    detach();
    stash_.clear();
    object_->loop().post([object = object_, why] { object->withdraw(why); });
}

}  // namespace mssl::proxy
