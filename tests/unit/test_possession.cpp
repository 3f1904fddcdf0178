// What a side has, in frames: also of objects whose bitfield no frame could carry.
#include <criterion/criterion.h>

#include "protocol/possession.h"
#include "proxy/client/uploads.h"
#include "tests/unit/hosting_fixture.h"

using namespace mssl;
using namespace mssl::proxy;
using namespace mssl::proxy::test;

namespace {

constexpr std::uint64_t kMostBits = std::uint64_t{kMaxBitfieldBytes} * 8;

// What a downloader makes of it, after a trip over the wire.
Bitmap understood(const std::vector<ControlFrame>& frames) {
    Bitmap out;
    for (const ControlFrame& sent : frames) {
        const Bytes wire = encode_frame(sent);  // terminates on what no frame may be
        const auto frame = decode_frame(wire[0], View(wire).subspan(kFrameHeaderBytes));
        cr_assert(frame.has_value());
        if (const auto* opened = std::get_if<Opened>(&*frame)) {
            auto have = parse_bitfield(opened->bitfield, opened->blocks);
            cr_assert(have.has_value());
            out = std::move(*have);
        } else if (const auto* have = std::get_if<Have>(&*frame)) {
            for (const BlockRange& r : have->ranges) out.set_range(r);
        }
    }
    return out;
}

bool same(const Bitmap& a, const Bitmap& b) {
    return a.size() == b.size() && a.count() == b.count() && a.to_wire() == b.to_wire();
}

Bitmap some(std::uint64_t blocks) {
    Bitmap have(blocks);
    have.set_range({5, 3});
    for (std::uint32_t i = 100; i < 100 + 2 * 2500; i += 2) have.set(BlockIndex{i});  // more than one HAVE has ranges
    have.set(BlockIndex{static_cast<std::uint32_t>(blocks - 1)});
    return have;
}

struct Listener final : UploadTaker {
    void send_control(ControlFrame frame) override { frames.push_back(std::move(frame)); }
    void send_block(BlockFrame, BlockData, std::function<void()>) override {}
    void fail(const Error&) override {}
    MemberId member() const override { return member_number(1); }
    std::vector<ControlFrame> frames;
};

}  // namespace

Test(possession, arrives_whole_whatever_the_size_of_the_object) {
    for (const std::uint64_t blocks : {std::uint64_t{20000}, kMostBits, kMostBits + 1, 2 * kMostBits}) {
        const Bitmap have = some(blocks);
        cr_assert(same(understood(opened_frames(Handle{1}, have)), have));
        cr_assert(same(understood(opened_frames(Handle{1}, Bitmap(blocks))), Bitmap(blocks)));
    }
}

Test(possession, of_any_object_fits_what_a_session_may_queue) {
    Bitmap pieces(8 * kMostBits);
    for (std::uint64_t i = 0; i < pieces.size(); i += 2) pieces.set(BlockIndex{static_cast<std::uint32_t>(i)});
    std::size_t bytes = 0;
    for (const ControlFrame& frame : opened_frames(Handle{1}, pieces)) bytes += encode_frame(frame).size();
    cr_assert_leq(bytes, 512U * 1024 + kMaxBitfieldBytes);
}

Test(possession, an_empty_bitfield_means_nothing_yet) {
    cr_assert(same(parse_bitfield({}, 10).value(), Bitmap(10)));
    cr_assert(same(parse_bitfield({}, kMostBits + 1).value(), Bitmap(kMostBits + 1)));
    cr_assert_eq(parse_bitfield(Bytes(1), 10).code(), Errc::malformed);
}

Test(possession, a_member_serves_objects_of_more_blocks_than_a_bitfield_has) {
    Engine engine;
    const Geometry geometry{(kMostBits + 1) * kMinBlockBytes, kMinBlockBytes};
    const Bitmap have = some(geometry.block_count());
    auto taker = std::make_shared<Listener>();
    Loop& loop = engine.loops.at(0);
    engine.run(loop, [&] {
        Uploads uploads(
            loop, geometry, std::make_shared<RateLimit>(0), [](NodePosition) { return std::nullopt; },
            [&]() -> const Bitmap& { return have; },
            [](BlockIndex, std::function<void(Result<BlockData>)>) {});
        const auto id = uploads.attach(taker, Handle{1}, {wall_now().unix_seconds + 600});
        cr_assert(same(understood(taker->frames), have));
        taker->frames.clear();
        uploads.renew(id, {wall_now().unix_seconds + 1200});
        cr_assert(same(understood(taker->frames), have));
    });
}
