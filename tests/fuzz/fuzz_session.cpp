// Any bytes from the other side of a session whose owner answers as a lively one would: it stays ready or ends with an
// ERROR, its output is always a stream of whole legal frames, and its memory stays within bounds. The first byte chooses
// the role, whether a good HELLO comes first, whether the output is read, and the pieces.
#include <algorithm>
#include <cstdlib>

#include "protocol/session.h"

using namespace mssl;

namespace {

void check(bool promise) {
    if (!promise) std::abort();
}

class Owner : public SessionHandler {
public:
    void on_ready(const Hello&) override {
        check(!ready_);
        ready_ = true;
    }
    Status on_frame(ControlFrame frame) override {
        check(ready_);
        if (const Open* open = std::get_if<Open>(&frame)) session->send(Opened{open->handle, 100, Bytes(13)});
        if (const Cancel* cancel = std::get_if<Cancel>(&frame)) session->drop_block(cancel->handle, cancel->block);
        if (const Close* close = std::get_if<Close>(&frame)) session->send(*close);
        if (const Request* request = std::get_if<Request>(&frame)) {
            BlockFrame block;
            block.handle = request->handle;
            block.block = request->block;
            block.length = request->nodes_only ? 0 : 1 + request->block.v % 40000;
            if (session->queued_data() > 1024 * 1024) {
                session->send(Refuse{block.handle, block.block, Errc::busy});
            } else {
                session->send_block(block, {block.handle, block.block, bytes_, block.length});
            }
        }
        if (std::holds_alternative<Have>(frame)) return fail(Errc::bad_proof, "as an owner may say");
        return {};
    }
    Result<Slot> slot(const DataHeader& h, std::size_t payload_bytes) override {
        check(ready_ && payload_bytes <= kMaxDataPayload && h.offset + payload_bytes <= kMaxBlockBytes);
        if (h.handle.v % 2 == 1) return Slot{};
        place_.resize(payload_bytes);
        return Slot(place_);
    }
    Status on_data(const DataHeader& h, View payload) override {
        check(payload.empty() == (h.handle.v % 2 == 1));
        return {};
    }
    void on_rtt(Duration rtt) override { check(rtt.count() >= 0); }
    Session* session = nullptr;

private:
    bool ready_ = false;
    Bytes place_;
    std::shared_ptr<const std::uint8_t[]> bytes_{new std::uint8_t[40000]()};
};

class Listener : public FrameSink {
public:
    Status on_frame(ControlFrame frame) override {
        check(!ended_ && (first_ == std::holds_alternative<Hello>(frame)));
        first_ = false;
        ended_ = std::holds_alternative<ErrorFrame>(frame);
        if (const BlockFrame* block = std::get_if<BlockFrame>(&frame); block != nullptr && block->length > 0) {
            check(left_ == 0);
            left_ = block->length;
        }
        return {};
    }
    Result<Slot> slot(const DataHeader&, std::size_t payload_bytes) override {
        check(!ended_ && payload_bytes <= left_);
        left_ -= payload_bytes;
        return Slot{};
    }
    Status on_data(const DataHeader&, View) override { return {}; }
    bool ended() const { return ended_; }

private:
    bool first_ = true, ended_ = false;
    std::size_t left_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const std::uint8_t choice = data[0];
    Bytes stream;
    if ((choice & 4) != 0) stream = encode_frame(Hello{});
    stream.insert(stream.end(), data + 1, data + size);
    const bool reads = (choice & 8) != 0;
    const std::size_t piece = std::size_t{1} << (choice >> 4);

    Owner owner;
    Session session(SessionRole{static_cast<std::uint8_t>((choice & 3) % 3)}, Hello{}, owner);
    owner.session = &session;
    Listener reader;
    FrameParser output(reader);
    const auto drain = [&] {
        while (std::optional<OutChunk> chunk = session.next_chunk()) {
            check(chunk->payload.empty() || chunk->header.size() + chunk->payload.size() <= kMaxRecordBytes);
            check(output.feed(chunk->header).has_value() && output.feed(chunk->payload).has_value());
            check(output.at_boundary());
        }
        check(!session.has_output() && session.queued_data() == 0);
    };

    Status s;
    MonoTime now;
    for (View left = stream; s && !left.empty();) {
        const MutableView place = session.prepare();
        check(!place.empty());
        const std::size_t n = std::min({place.size(), left.size(), piece});
        std::copy_n(left.begin(), n, place.begin());
        now = now + Duration{1000};
        s = session.commit(n, now);
        left = left.subspan(n);
        session.ping(now);
        if (reads) drain();
    }
    const bool closed = session.state() == Session::State::closed;
    check(s || closed);
    drain();
    check(reader.ended() == (closed && !session.peer_error()));
    return 0;
}
