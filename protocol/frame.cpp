#include "protocol/frame.h"

#include <algorithm>
#include <exception>
#include <utility>

namespace mssl {

std::string_view frame_name(FrameType type) {
    switch (type) {
    case FrameType::hello: return "HELLO";
    case FrameType::error: return "ERROR";
    case FrameType::ping: return "PING";
    case FrameType::pong: return "PONG";
    case FrameType::enrol: return "ENROL";
    case FrameType::enrolled: return "ENROLLED";
    case FrameType::announce: return "ANNOUNCE";
    case FrameType::announced: return "ANNOUNCED";
    case FrameType::open: return "OPEN";
    case FrameType::opened: return "OPENED";
    case FrameType::close: return "CLOSE";
    case FrameType::have: return "HAVE";
    case FrameType::head: return "HEAD";
    case FrameType::request: return "REQUEST";
    case FrameType::cancel: return "CANCEL";
    case FrameType::block: return "BLOCK";
    case FrameType::data: return "DATA";
    case FrameType::refuse: return "REFUSE";
    case FrameType::any: return "ANY";
    case FrameType::all_out: return "ALL_OUT";
    case FrameType::peers: return "PEERS";
    case FrameType::progress: return "PROGRESS";
    case FrameType::renew: return "RENEW";
    case FrameType::ticket: return "TICKET";
    case FrameType::report: return "REPORT";
    }
    return "unknown";
}

std::optional<FrameType> frame_type(std::uint8_t type) {
    const FrameType known{type};
    if (frame_name(known) == "unknown") return std::nullopt;
    return known;
}

std::array<std::uint8_t, kFrameHeaderBytes + kDataHeaderBytes> encode_data_header(const DataHeader& h,
                                                                                  std::size_t payload_bytes) {
    if (payload_bytes == 0 || payload_bytes > kMaxDataPayload) std::terminate();
    Writer w;
    w.u8(static_cast<std::uint8_t>(FrameType::data));
    w.u24(static_cast<std::uint32_t>(kDataHeaderBytes + payload_bytes));
    w.u32(h.handle.v);
    w.u32(h.block.v);
    w.u32(h.offset);
    std::array<std::uint8_t, kFrameHeaderBytes + kDataHeaderBytes> out{};
    std::ranges::copy(w.view(), out.begin());
    return out;
}

MutableView FrameParser::prepare() {
    switch (state_) {
    case State::header:
    case State::data_header: return MutableView(fixed_).subspan(filled_, expected_ - filled_);
    case State::control: return MutableView(body_).subspan(filled_);
    case State::payload: return slot_.view.subspan(filled_);
    case State::failed: return {};
    }
    return {};
}

Status FrameParser::commit(std::size_t n) {
    if (state_ == State::failed) return fail(Errc::closed, "this stream of frames has failed");
    if (n > expected_ - filled_) std::terminate();
    filled_ += n;
    if (filled_ < expected_) return {};
    Status done = advance();
    if (!done) {
        state_ = State::failed;
        body_ = {};
        discard_ = {};
        slot_ = {};
    }
    return done;
}

// The part that was expected is here: what it says, and which part comes next.
Status FrameParser::advance() {
    switch (state_) {
    case State::header: return begin_frame();
    case State::control: {
        const Bytes body = std::move(body_);
        expect(State::header, kFrameHeaderBytes);
        Result<ControlFrame> frame = decode_frame(type_, body);
        if (!frame) return std::move(frame).error();
        return sink_->on_frame(*std::move(frame));
    }
    case State::data_header: return begin_payload();
    case State::payload: {
        const Slot slot = std::exchange(slot_, {});
        const View payload = discarding_ ? View{} : View(slot.view);
        expect(State::header, kFrameHeaderBytes);
        return sink_->on_data(data_, payload);
    }
    case State::failed: break;
    }
    return fail(Errc::internal, "a frame parser without a state");
}

Status FrameParser::begin_frame() {
    Reader r(fixed_);
    type_ = r.u8();
    length_ = r.u24();
    const std::optional<FrameType> type = frame_type(type_);
    if (!type) return fail(Errc::unexpected, "frame of unknown type " + std::to_string(type_));
    if (length_ > max_frame_body(*type)) {
        return fail(Errc::too_large, std::string(frame_name(*type)) + " of " + std::to_string(length_) + " bytes");
    }
    if (type == FrameType::data) {
        // A DATA frame without payload would be a way to keep a session busy with nothing.
        if (length_ <= kDataHeaderBytes) return fail(Errc::malformed, "DATA without payload");
        expect(State::data_header, kDataHeaderBytes);
        return {};
    }
    if (length_ == 0) return fail(Errc::malformed, std::string(frame_name(*type)) + " without a body");
    body_.resize(length_);
    expect(State::control, length_);
    return {};
}

Status FrameParser::begin_payload() {
    Reader r(fixed_);
    data_.handle = Handle{r.u32()};
    data_.block = BlockIndex{r.u32()};
    data_.offset = r.u32();
    const std::size_t payload_bytes = length_ - kDataHeaderBytes;
    Result<Slot> slot = sink_->slot(data_, payload_bytes);
    if (!slot) return std::move(slot).error();
    discarding_ = slot->empty();
    if (discarding_) {
        discard_.resize(std::max(discard_.size(), payload_bytes));
        slot_ = Slot(MutableView(discard_).first(payload_bytes));
    } else if (slot->size() == payload_bytes) {
        slot_ = *std::move(slot);
    } else {
        return fail(Errc::internal, "a slot of another size than its payload");
    }
    expect(State::payload, payload_bytes);
    return {};
}

void FrameParser::expect(State state, std::size_t bytes) {
    state_ = state;
    filled_ = 0;
    expected_ = bytes;
}

Status FrameParser::feed(View input) {
    while (!input.empty()) {
        const MutableView place = prepare();
        const std::size_t n = std::min(place.size(), input.size());
        std::copy_n(input.begin(), n, place.begin());
        if (Status s = commit(n); !s) return s;
        input = input.subspan(n);
    }
    return {};
}

}  // namespace mssl
