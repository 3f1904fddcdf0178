#include "protocol/session.h"

#include <algorithm>
#include <exception>

namespace mssl {
namespace {

// ── Who may send what ──

constexpr unsigned kFromMember = 1U << 0;  // to the server
constexpr unsigned kFromServer = 1U << 1;  // to a member
constexpr unsigned kFromPeer = 1U << 2;    // member to member

// The one table of legal frames, once both hellos are here. A handle lives in the space of the side that opened it,
// and type and direction say which side that is; CLOSE, which both sides of a handle may send, says it by itself.
unsigned senders(FrameType type) {
    switch (type) {
    case FrameType::hello: return 0;  // only as the first
    case FrameType::error:
    case FrameType::ping:
    case FrameType::pong: return kFromMember | kFromServer | kFromPeer;

    case FrameType::enrol:
    case FrameType::announce:
    case FrameType::any:
    case FrameType::progress:
    case FrameType::renew:
    case FrameType::report: return kFromMember;

    case FrameType::enrolled:
    case FrameType::announced:
    case FrameType::all_out:
    case FrameType::peers:
    case FrameType::ticket: return kFromServer;

    // To a provider; the server never downloads.
    case FrameType::open:
    case FrameType::request:
    case FrameType::cancel: return kFromMember | kFromPeer;

    // From a provider.
    case FrameType::opened:
    case FrameType::have:
    case FrameType::head:
    case FrameType::block:
    case FrameType::data:
    case FrameType::refuse: return kFromServer | kFromPeer;

    case FrameType::close: return kFromMember | kFromServer | kFromPeer;
    }
    return 0;
}

unsigned this_side(SessionRole role) {
    switch (role) {
    case SessionRole::member_to_server: return kFromMember;
    case SessionRole::server_to_member: return kFromServer;
    case SessionRole::member_to_member: return kFromPeer;
    }
    return 0;
}

unsigned other_side(SessionRole role) {
    switch (role) {
    case SessionRole::member_to_server: return kFromServer;
    case SessionRole::server_to_member: return kFromMember;
    case SessionRole::member_to_member: return kFromPeer;
    }
    return 0;
}

bool is_session_frame(FrameType type) {
    return type == FrameType::hello || type == FrameType::error || type == FrameType::ping || type == FrameType::pong;
}

Error unexpected(FrameType type, std::string_view why) {
    return mssl::fail(Errc::unexpected, std::string(frame_name(type)).append(" ").append(why));
}

// What a frame in the queue costs besides its bytes: or a flood of PINGs would cost ten times what is counted.
constexpr std::size_t kQueueEntryBytes = sizeof(Bytes) + 2 * sizeof(void*);

}  // namespace

Session::Session(SessionRole role, const Hello& own, SessionHandler& handler)
    : role_(role), own_(own), handler_(&handler), parser_(*this) {
    queue_control(encode_frame(own_));
}

// ── Input ──

Status Session::commit(std::size_t n, MonoTime now) {
    if (state_ == State::closed) return mssl::fail(Errc::closed, "the session has ended");
    now_ = now;
    Status done = parser_.commit(n);
    if (!done && state_ != State::closed) {
        // The detail of a failure of this side alone may name files and addresses of ours.
        const Error& error = done.error();
        const bool ours_alone = wire_code(error.code) != error.code;
        fail(error.code, ours_alone ? std::string_view{} : std::string_view(error.detail));
    }
    return done;
}

Status Session::end() const {
    if (state_ == State::closed || parser_.at_boundary()) return {};
    return mssl::fail(Errc::truncated, "the stream ended inside a frame");
}

Status Session::on_frame(ControlFrame frame) {
    if (state_ == State::hello) return on_hello(frame);

    const FrameType type = type_of(frame);
    if ((senders(type) & other_side(role_)) == 0) return unexpected(type, "is not for this side");
    if (const Ping* ping = std::get_if<Ping>(&frame)) {
        queue_control(encode_frame(Pong{ping->cookie}));
        return still_open();
    }
    if (const Pong* pong = std::get_if<Pong>(&frame)) return on_pong(*pong);
    if (ErrorFrame* error = std::get_if<ErrorFrame>(&frame)) {
        close_quietly();
        peer_error_ = std::move(*error);
        return mssl::fail(peer_error_->code, "the other side says: " + peer_error_->text);
    }
    if (const BlockFrame* block = std::get_if<BlockFrame>(&frame)) {
        if (Status s = on_block(*block); !s) return s;
    }
    if (Status s = handler_->on_frame(std::move(frame)); !s) return s;
    return still_open();
}

Status Session::on_hello(const ControlFrame& frame) {
    const Hello* hello = std::get_if<Hello>(&frame);
    if (hello == nullptr) return unexpected(type_of(frame), "before HELLO");
    // The codec took only this version and a hash that it knows.
    if (hello->version != own_.version) return mssl::fail(Errc::unsupported, "another version of the protocol");
    if (hello->hash != own_.hash) return mssl::fail(Errc::unsupported, "another hash");
    const RealmId none;
    if (hello->realm != own_.realm && hello->realm != none && own_.realm != none) {
        return mssl::fail(Errc::wrong_realm, "a member of another realm");
    }
    peer_ = *hello;
    state_ = State::ready;
    handler_->on_ready(peer_);
    return still_open();
}

Status Session::on_pong(const Pong& pong) {
    if (!ping_sent_ || pong.cookie != ping_cookie_) return unexpected(FrameType::pong, "without its PING");
    const Duration rtt = now_ - *ping_sent_;
    ping_sent_.reset();
    handler_->on_rtt(rtt);
    return still_open();
}

Status Session::on_block(const BlockFrame& block) {
    if (block.length > max_block_bytes()) return mssl::fail(Errc::unsupported, "a block larger than both take");
    if (block.length == 0) return {};
    if (incoming_) return unexpected(FrameType::block, "inside another block");
    incoming_ = InBlock{block.handle, block.block, block.length, 0};
    return {};
}

Result<Slot> Session::slot(const DataHeader& h, std::size_t payload_bytes) {
    if (state_ != State::ready) return unexpected(FrameType::data, "before HELLO");
    if ((senders(FrameType::data) & other_side(role_)) == 0) return unexpected(FrameType::data, "is not for this side");
    if (!incoming_ || incoming_->handle != h.handle || incoming_->block != h.block || incoming_->received != h.offset ||
        payload_bytes > incoming_->length - incoming_->received) {
        return unexpected(FrameType::data, "that no BLOCK announced");
    }
    // Counted now: a frame that has begun is read to its end before anything else.
    incoming_->received += static_cast<std::uint32_t>(payload_bytes);
    Result<Slot> place = handler_->slot(h, payload_bytes);
    if (place && state_ == State::closed) return mssl::fail(Errc::closed, "the session has ended");
    return place;
}

Status Session::on_data(const DataHeader& h, View payload) {
    if (incoming_ && incoming_->received == incoming_->length) incoming_.reset();
    if (Status s = handler_->on_data(h, payload); !s) return s;
    return still_open();
}

// A handler may have ended the session from inside: then nothing more is parsed.
Status Session::still_open() const {
    if (state_ == State::closed) return mssl::fail(Errc::closed, "the session has ended");
    return {};
}

// ── Output ──

void Session::send(const ControlFrame& frame) {
    const FrameType type = type_of(frame);
    if (is_session_frame(type) || (senders(type) & this_side(role_)) == 0) std::terminate();
    const BlockFrame* block = std::get_if<BlockFrame>(&frame);
    if (block != nullptr && block->length != 0) std::terminate();
    if (state_ == State::closed) return;
    queue_control(encode_frame(frame));
}

void Session::send_block(const BlockFrame& frame, PayloadRef payload) {
    if (frame.length == 0) return send(frame);
    if ((senders(FrameType::block) & this_side(role_)) == 0 || payload.length != frame.length || !payload.data) {
        std::terminate();
    }
    if (state_ == State::closed) return;
    queued_data_ += frame.length;
    data_.push_back({frame, std::move(payload)});
}

bool Session::drop_block(Handle handle, BlockIndex block) {
    bool found = false, begun = false;
    for (auto it = data_.begin(); it != data_.end();) {
        if (it->frame.handle != handle || it->frame.block != block) {
            ++it;
            continue;
        }
        found = true;
        begun = begun || it->begun;
        if (it->begun) {
            ++it;
        } else {
            queued_data_ -= it->frame.length;
            it = data_.erase(it);
        }
    }
    return found && !begun;
}

void Session::ping(MonoTime now) {
    if (state_ != State::ready || ping_sent_) return;
    ping_sent_ = now;
    queue_control(encode_frame(Ping{++ping_cookie_}));
}

void Session::fail(Errc code, std::string_view text) {
    if (state_ == State::closed) return;
    state_ = State::closed;
    data_.clear();
    queued_data_ = 0;
    control_.push_back(encode_frame(ErrorFrame{wire_code(code), std::string(text.substr(0, kMaxTextBytes))}));
}

void Session::close_quietly() {
    state_ = State::closed;
    control_.clear();
    control_bytes_ = 0;
    data_.clear();
    queued_data_ = 0;
}

void Session::queue_control(Bytes frame) {
    control_bytes_ += frame.size() + kQueueEntryBytes;
    control_.push_back(std::move(frame));
    if (control_bytes_ <= kMaxControlQueue) return;
    // Nobody reads: what waits is not worth its memory. The first may be our HELLO, without which ERROR says nothing.
    control_.resize(1);
    control_bytes_ = control_.front().size() + kQueueEntryBytes;
    fail(Errc::busy, "what was sent to this side is not read");
}

std::optional<OutChunk> Session::next_chunk() {
    OutChunk chunk;
    // As many as fit one record: a burst of HAVEs costs one.
    while (!control_.empty() &&
           (chunk.header.empty() || chunk.header.size() + control_.front().size() <= kMaxRecordBytes)) {
        control_bytes_ -= std::min(control_bytes_, control_.front().size() + kQueueEntryBytes);
        if (chunk.header.empty()) {
            chunk.header = std::move(control_.front());
        } else {
            chunk.header.insert(chunk.header.end(), control_.front().begin(), control_.front().end());
        }
        control_.pop_front();
    }
    if (!chunk.header.empty()) return chunk;
    if (data_.empty()) return std::nullopt;

    OutBlock& block = data_.front();
    if (!block.begun) {
        block.begun = true;
        chunk.header = encode_frame(block.frame);
    }
    const std::size_t room = kMaxRecordBytes - chunk.header.size() - kFrameHeaderBytes - kDataHeaderBytes;
    const std::size_t n = std::min<std::size_t>(room, block.frame.length - block.sent);
    const auto header = encode_data_header({block.frame.handle, block.frame.block, block.sent}, n);
    chunk.header.insert(chunk.header.end(), header.begin(), header.end());
    chunk.payload = View(block.payload.data.get() + block.sent, n);
    block.sent += static_cast<std::uint32_t>(n);
    queued_data_ -= n;
    if (block.sent == block.frame.length) {
        chunk.keep = std::move(block.payload.data);
        data_.pop_front();
    } else {
        chunk.keep = block.payload.data;
    }
    return chunk;
}

std::uint32_t Session::max_block_bytes() const {
    return std::uint32_t{1} << std::min(own_.max_block_log2, peer_.max_block_log2);
}

}  // namespace mssl
