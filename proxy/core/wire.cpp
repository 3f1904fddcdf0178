#include "proxy/core/wire.h"

namespace mssl::proxy {
namespace {

// What one readiness may consume before other connections of the loop get their turn.
constexpr std::size_t kReadBudget = 1024 * 1024;
// From so much on a run of records is worth the two system calls that make the kernel send it in whole segments.
constexpr std::size_t kCorkBytes = 2 * kMaxRecordBytes;
// A peer that does not read gets this long to take the ERROR that ends its connection.
constexpr Duration kLinger = std::chrono::seconds(2);

class Corked {
public:
    Corked(Stream& stream, bool wanted) : stream_(wanted ? &stream : nullptr) {
        if (stream_ != nullptr) stream_->cork(true);
    }
    ~Corked() {
        if (stream_ != nullptr) stream_->cork(false);
    }
    Corked(const Corked&) = delete;
    Corked& operator=(const Corked&) = delete;

private:
    Stream* stream_;
};

}  // namespace

Wire::Wire(Loop& loop, SessionRole role, const Hello& own, WireHandler& handler)
    : loop_(&loop),
      handler_(&handler),
      session_(role, own, *this),
      linger_(loop, [this] {
          if (ending_) end(*ending_);
      }) {}

Wire::~Wire() {
    if (stream_) loop_->dispose(std::move(stream_));
}

void Wire::begin(std::unique_ptr<Stream> stream) {
    stream_ = std::move(stream);
    stream_->set_handler(*this);
    if (stream_->is_open()) on_open();
}

void Wire::on_open() {
    stream_->want_read(true);
    arm_write();
}

void Wire::on_readable() {
    std::size_t budget = kReadBudget;
    while (!closed_ && budget > 0) {
        if (ending_) return;
        const MutableView into = session_.prepare();
        Result<std::size_t> n = stream_->read(into);
        if (!n) {
            if (n.code() == Errc::again) break;
            Error why = n.error();
            if (why.code == Errc::closed)
                if (Status s = session_.end(); !s) why = s.error();
            end(why);
            return;
        }
        budget -= std::min(budget, *n);
        if (Status s = session_.commit(*n, loop_->now()); !s) {
            protocol_error(s.error());
            return;
        }
    }
    if (!closed_ && session_.has_output()) arm_write();
}

// The session has queued an ERROR where it could; it leaves before the connection ends.
void Wire::protocol_error(const Error& why) {
    if (closed_ || ending_) return;  // fail() inside a handler has said why
    if (const auto& peer = session_.peer_error())
        ending_ = mssl::fail(peer->code, "the other side said: " + peer->text);
    else
        ending_ = why;
    stream_->want_read(false);
    linger_.start(kLinger);
    arm_write();
}

void Wire::fail(Errc code, std::string_view text) {
    if (closed_ || ending_) return;
    session_.fail(code, text);
    ending_ = mssl::fail(code, std::string(text));
    linger_.start(kLinger);
    if (stream_ && stream_->is_open()) {
        stream_->want_read(false);
        arm_write();
    }
}

void Wire::finish() {
    if (closed_ || ending_) return;
    finishing_ = true;
    ending_ = mssl::fail(Errc::closed, "ended by this side");
    linger_.start(kLinger);
    arm_write();
}

void Wire::abandon() {
    closed_ = true;
    linger_.stop();
    if (stream_) {
        stream_->want_read(false);
        stream_->want_write(false);
    }
}

// The session may have ended itself: the other side does not read what it is sent.
void Wire::arm_write() {
    if (session_.state() == Session::State::closed && !ending_) {
        ending_ = mssl::fail(Errc::busy, "the other side does not read");
        linger_.start(kLinger);
    }
    if (stream_ && stream_->is_open() && !closed_) stream_->want_write(true);
}

// Packs what waits into one record of at most kMaxRecordBytes. False: nothing waits.
bool Wire::fill_record(Bytes& record) {
    record.clear();
    for (;;) {
        if (!next_) next_ = session_.next_chunk();
        if (!next_) break;
        const std::size_t room = kMaxRecordBytes - record.size();
        const std::size_t size = next_->header.size() + next_->payload.size();
        if (size > room) {
            if (!record.empty()) break;
            // A control frame larger than a record: it goes out in pieces.
            record.insert(record.end(), next_->header.begin(),
                          next_->header.begin() + static_cast<std::ptrdiff_t>(room));
            next_->header.erase(next_->header.begin(), next_->header.begin() + static_cast<std::ptrdiff_t>(room));
            break;
        }
        record.insert(record.end(), next_->header.begin(), next_->header.end());
        record.insert(record.end(), next_->payload.begin(), next_->payload.end());
        payload_sent_ += next_->payload.size();
        next_.reset();
    }
    return !record.empty();
}

void Wire::on_writable() {
    // One scratch a thread: an idle connection holds no record of its own.
    thread_local Bytes record = [] {
        Bytes b;
        b.reserve(kMaxRecordBytes);
        return b;
    }();
    const Corked corked(*stream_, session_.queued_data() >= kCorkBytes);
    while (!closed_) {
        if (!pending_.empty()) {
            Result<std::size_t> n = stream_->write(pending_);
            if (!n) {
                if (n.code() != Errc::again) end(n.error());
                return;
            }
            pending_.erase(pending_.begin(), pending_.begin() + static_cast<std::ptrdiff_t>(*n));
            if (!pending_.empty()) continue;
            pending_.shrink_to_fit();
        }
        if (!fill_record(record)) {
            if (session_.queued_data() < low_mark_ && session_.state() == Session::State::ready && !ending_)
                handler_->on_drained();
            if (closed_) return;
            if (session_.has_output()) continue;
            stream_->want_write(false);
            if (ending_) {
                stream_->finish();
                end(*ending_);
            }
            return;
        }
        Result<std::size_t> n = stream_->write(record);
        if (!n && n.code() != Errc::again) {
            end(n.error());
            return;
        }
        const std::size_t taken = n ? *n : 0;
        if (taken < record.size()) pending_.assign(record.begin() + static_cast<std::ptrdiff_t>(taken), record.end());
        if (session_.queued_data() < low_mark_ && session_.state() == Session::State::ready && !ending_)
            handler_->on_drained();
        if (!pending_.empty()) return;
    }
}

void Wire::on_error(const Error& error) { end(error); }

void Wire::end(const Error& why) {
    if (closed_) return;
    const Error copy = why;  // why may be a member of ours, and the handler may let go of this Wire
    abandon();
    handler_->on_closed(copy);
}

void Wire::send(const ControlFrame& frame) {
    if (closed_ || ending_) return;
    session_.send(frame);
    arm_write();
}

void Wire::send_block(const BlockFrame& frame, PayloadRef payload) {
    if (closed_ || ending_) return;
    session_.send_block(frame, std::move(payload));
    arm_write();
}

bool Wire::drop_block(Handle handle, BlockIndex block) { return session_.drop_block(handle, block); }

void Wire::ping() {
    if (closed_ || ending_) return;
    session_.ping(loop_->now());
    arm_write();
}

void Wire::on_ready(const Hello& peer) {
    handler_->on_ready(peer);
    arm_write();
}

Status Wire::on_frame(ControlFrame frame) { return handler_->on_frame(std::move(frame)); }

Result<Slot> Wire::slot(const DataHeader& h, std::size_t payload_bytes) {
    return handler_->slot(h, payload_bytes);
}

Status Wire::on_data(const DataHeader& h, View payload) { return handler_->on_data(h, payload); }

void Wire::on_rtt(Duration rtt) { handler_->on_rtt(rtt); }

}  // namespace mssl::proxy
