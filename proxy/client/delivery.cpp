#include "proxy/client/delivery.h"

#include "proxy/http/semantics.h"

namespace mssl::proxy {
namespace {

// Enough to keep a fast socket busy while a block crosses two loops; more only fills memory.
constexpr std::uint64_t kAheadBytes = 1 << 20;
constexpr std::size_t kMinAheadBlocks = 2;

// Written from the body and the range, never replayed.
constexpr std::string_view kFraming[] = {"Content-Length", "Content-Range", "Transfer-Encoding", "Connection", "Trailer"};

ResponseHead answer_head(Fields fields, const RangeAnswer& answer, std::uint64_t length) {
    ResponseHead head;
    head.status = answer.status;
    switch (answer.status) {
    case 206: head.reason = "Partial Content"; break;
    case 416: head.reason = "Range Not Satisfiable"; break;
    default: head.reason = "OK"; break;
    }
    head.fields = std::move(fields);
    for (const std::string_view name : kFraming) head.fields.remove(name);
    if (answer.status == 206)
        head.fields.add("Content-Range", "bytes " + std::to_string(answer.first) + "-" +
                                             std::to_string(answer.first + answer.count - 1) + "/" + std::to_string(length));
    if (answer.status == 416) {
        head.fields.add("Content-Range", "bytes */" + std::to_string(length));
        head.fields.remove("Content-Type");
    }
    head.body = BodyKind::length;
    head.length = answer.count;
    return head;
}

}  // namespace

Fields current_fields(const Resolution& resolution) {
    Fields out;
    out.items() = resolution.fields;
    if (resolution.age) out.set("Age", std::to_string(*resolution.age));
    return out;
}

Delivery::Delivery(Loop& loop, const RequestHead& request, const Manifest& m, Fields fields, std::unique_ptr<TransferReader> reader,
                   bool keep_alive, std::function<void()> wake)
    : loop_(&loop), reader_(std::move(reader)), wake_(std::move(wake)) {
    // The origin has decided about the preconditions, and does not always as it should: 200 is what it said.
    const bool ranges = !fields.list_has("Accept-Ranges", "none");
    const RangeAnswer answer = ranges ? answer_range_alone(request.fields, m.validator, m.length, strong_date(fields))
                                      : RangeAnswer{200, 0, m.length};
    ResponseHead head = answer_head(std::move(fields), answer, m.length);
    head.keep_alive = keep_alive;
    head_ = serialize(head);
    status_ = answer.status;
    if (answer.status == 200 || answer.status == 206) {
        at_ = answer.first;
        end_ = answer.first + answer.count;
    }
    if (at_ == end_) {
        reader_.reset();  // nothing of the object is wanted
        return;
    }
    next_block_ = at_ / reader_->geometry().block_bytes();
    reader_->position(at_);
    ask_ahead();
}

Delivery::~Delivery() = default;

void Delivery::ask_ahead() {
    const Geometry g = reader_->geometry();
    const std::size_t most = std::max<std::size_t>(kMinAheadBlocks, kAheadBytes / g.block_bytes());
    while (ahead_.size() < most && next_block_ * g.block_bytes() < end_) {
        const BlockIndex block{static_cast<std::uint32_t>(next_block_++)};
        ahead_.push_back({block, std::nullopt});
        reader_->read(block, [this, block](Result<VerifiedBytes> bytes) { arrived(block, std::move(bytes)); });
    }
}

void Delivery::arrived(BlockIndex block, Result<VerifiedBytes> bytes) {
    if (!bytes) {
        error_ = bytes.error();
    } else {
        for (Ahead& a : ahead_)
            if (a.block == block) a.bytes = std::move(*bytes);
    }
    if (waiting_ && (error_ || ahead_.front().bytes)) {
        waiting_ = false;
        wake_();
    }
}

Delivery::Next Delivery::next() {
    if (head_sent_ < head_.size()) {
        // An object that broke before anything was said may still be answered otherwise.
        if (error_ && !begun_) return Next::broken;
        if (at_ < end_ && !begun_ && !ahead_.front().bytes) {
            waiting_ = true;
            return Next::wait;
        }
        return Next::piece;
    }
    if (at_ >= end_) return Next::done;
    if (ahead_.front().bytes) return Next::piece;
    if (error_) return Next::broken;
    waiting_ = true;
    return Next::wait;
}

View Delivery::piece() const {
    if (head_sent_ < head_.size()) return as_view(head_).subspan(head_sent_);
    const Ahead& front = ahead_.front();
    const std::uint64_t begin = reader_->geometry().block_offset(front.block);
    const View block = front.bytes->view();
    const std::uint64_t from = at_ - begin;
    const std::uint64_t to = std::min<std::uint64_t>(block.size(), end_ - begin);
    return block.subspan(from, to - from);
}

void Delivery::consumed(std::size_t n) {
    begun_ = true;
    if (head_sent_ < head_.size()) {
        head_sent_ += n;
        return;
    }
    at_ += n;
    sent_ += n;
    add(loop_->counters().bytes_to_applications, n);
    const Geometry g = reader_->geometry();
    const BlockIndex block = ahead_.front().block;
    if (at_ < end_ && at_ < g.block_offset(block) + g.block_length(block)) return;
    ahead_.pop_front();
    if (at_ >= end_) return;
    reader_->position(at_);
    ask_ahead();
}

}  // namespace mssl::proxy
