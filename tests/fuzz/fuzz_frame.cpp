// Any stream of bytes: the parser gives frames or an error, whatever the pieces it is fed in, and what it gave is
// encoded again to the very bytes that it took. The first byte chooses the pieces.
#include <algorithm>
#include <cstdlib>

#include "protocol/frame.h"

using namespace mssl;

namespace {

void check(bool promise) {
    if (!promise) std::abort();
}

class Echo : public FrameSink {
public:
    Status on_frame(ControlFrame frame) override {
        check(frame_type(static_cast<std::uint8_t>(type_of(frame))).has_value());
        append(encode_frame(frame));
        return {};
    }
    Result<Slot> slot(const DataHeader&, std::size_t payload_bytes) override {
        check(payload_bytes > 0 && payload_bytes <= kMaxDataPayload);
        place_.resize(payload_bytes);
        return Slot(place_);
    }
    Status on_data(const DataHeader& h, View payload) override {
        append(encode_data_header(h, payload.size()));
        append(payload);
        return {};
    }
    void append(View v) { out.insert(out.end(), v.begin(), v.end()); }
    Bytes out;

private:
    Bytes place_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const std::size_t piece = std::size_t{data[0]} + 1;
    const View stream(data + 1, size - 1);

    Echo whole;
    FrameParser parser(whole);
    const Status s = parser.feed(stream);
    check(whole.out.size() <= stream.size());
    check(std::equal(whole.out.begin(), whole.out.end(), stream.begin()));
    if (s && parser.at_boundary()) check(whole.out.size() == stream.size());
    check(s || parser.prepare().empty());

    Echo pieces;
    FrameParser other(pieces);
    Status t;
    for (View left = stream; t && !left.empty();) {
        const std::size_t n = std::min(piece, left.size());
        t = other.feed(left.first(n));
        left = left.subspan(n);
    }
    check(t.code() == s.code());
    check(pieces.out == whole.out);

    // Every type with the same body, past the parser's header.
    for (int type = 0; type < 256; ++type) {
        const auto byte = static_cast<std::uint8_t>(type);
        Result<ControlFrame> frame = decode_frame(byte, stream);
        if (!frame) continue;
        const Bytes back = encode_frame(*frame);
        check(back[0] == byte && std::ranges::equal(View(back).subspan(kFrameHeaderBytes), stream));
    }
    return 0;
}
