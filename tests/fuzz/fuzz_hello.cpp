// Any bytes as the body of HELLO: it is refused, or it is encoded again as it came and within its limits; and a session
// is then ready, or has said why not. The first byte chooses the role and the realm of this side.
#include <algorithm>
#include <cstdlib>

#include "protocol/session.h"

using namespace mssl;

namespace {

void check(bool promise) {
    if (!promise) std::abort();
}

class Nobody : public SessionHandler {
public:
    void on_ready(const Hello&) override { ++ready; }
    Status on_frame(ControlFrame) override { std::abort(); }
    Result<Slot> slot(const DataHeader&, std::size_t) override { std::abort(); }
    Status on_data(const DataHeader&, View) override { std::abort(); }
    void on_rtt(Duration) override { std::abort(); }
    int ready = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const View body(data + 1, size - 1);
    const auto type = static_cast<std::uint8_t>(FrameType::hello);
    Result<ControlFrame> frame = decode_frame(type, body);
    if (frame) {
        const Hello& hello = std::get<Hello>(*frame);
        check(hello.version == kProtocolVersion && hello.hash == HashKind::sha256);
        check(hello.max_block_log2 >= 16 && hello.max_block_log2 <= 18);
        check(std::ranges::equal(View(encode_frame(hello)).subspan(kFrameHeaderBytes), body));
    }

    Hello own;
    if ((data[0] & 4) != 0) own.realm.bytes.fill(0x11);
    Nobody nobody;
    Session session(SessionRole{static_cast<std::uint8_t>((data[0] & 3) % 3)}, own, nobody);
    if (body.size() > 0xffff) return 0;
    Writer w;
    w.u8(type);
    w.var24(body);
    Status s;
    for (View left = w.view(); s && !left.empty();) {
        const MutableView place = session.prepare();
        const std::size_t n = std::min(place.size(), left.size());
        std::copy_n(left.begin(), n, place.begin());
        s = session.commit(n, MonoTime{});
        left = left.subspan(n);
    }
    const bool ready = session.state() == Session::State::ready;
    check(ready == s.has_value() && nobody.ready == (ready ? 1 : 0));
    check(!ready || frame.has_value());
    check(session.max_block_bytes() >= kMinBlockBytes && session.max_block_bytes() <= kMaxBlockBytes);
    return 0;
}
