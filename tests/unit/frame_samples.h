// Each control frame at its smallest, at one, and at its limits: for the tests of frames and sessions, and the seeds
// of the fuzzers.
#pragma once

#include <string>
#include <vector>

#include "protocol/frame.h"

namespace mssl::test {

inline Bytes pattern(std::size_t n) {
    Bytes out(n);
    for (std::size_t i = 0; i < n; ++i) out[i] = static_cast<std::uint8_t>(i * 7 + 1);
    return out;
}

template <class F>
F filled(std::uint8_t with) {
    F out;
    out.bytes.fill(with);
    return out;
}

struct FrameSample {
    std::string name;
    ControlFrame frame;
};

inline std::vector<FrameSample> frame_samples() {
    constexpr std::size_t cert = Certificate::kMaxCertificateBytes;
    constexpr std::uint32_t top = 0xffffffff;
    std::vector<FrameSample> out;
    const auto add = [&out](std::string name, ControlFrame frame) { out.push_back({std::move(name), std::move(frame)}); };

    add("hello-min", Hello{kProtocolVersion, 0, HashKind::sha256, 16, RealmId{}});
    add("hello-max", Hello{kProtocolVersion, top, HashKind::sha256, 18, filled<RealmId>(0xff)});
    add("error-min", ErrorFrame{Errc::malformed, ""});
    add("error-one", ErrorFrame{Errc::busy, "x"});
    add("error-max", ErrorFrame{Errc::shutting_down, std::string(kMaxTextBytes, '~')});
    add("ping-min", Ping{0});
    add("ping-max", Ping{~std::uint64_t{0}});
    add("pong-min", Pong{0});
    add("pong-max", Pong{~std::uint64_t{0}});
    add("enrol-min", Enrol{});
    add("enrol-one", Enrol{filled<PublicKey>(1), filled<Signature>(2), "t"});
    add("enrol-max", Enrol{filled<PublicKey>(0xff), filled<Signature>(0xff), std::string(kMaxTokenBytes, 't')});
    add("enrolled-min", Enrolled{});
    add("enrolled-one", Enrolled{pattern(1), pattern(1), pattern(1)});
    add("enrolled-max", Enrolled{pattern(cert), pattern(cert), pattern(cert)});
    add("announce-min", Announce{0});
    add("announce-max", Announce{0xffff});
    add("announced-min", Announced{false, ""});
    add("announced-one", Announced{true, "["});
    add("announced-max", Announced{true, std::string(kMaxTextBytes, 'f')});
    add("open-min", Open{});
    add("open-one", Open{Handle{1}, filled<ObjectId>(3), pattern(1), pattern(1)});
    add("open-max", Open{Handle{top}, filled<ObjectId>(0xff), pattern(kMaxObjectDer), pattern(cert)});
    add("opened-min", Opened{});
    add("opened-one", Opened{Handle{1}, 8, Bytes{0x80}});
    add("opened-max", Opened{Handle{top}, kMaxBlocks, pattern(kMaxBitfieldBytes)});
    add("close-min", Close{Handle{0}, false, Errc::ok});
    add("close-max", Close{Handle{top}, true, Errc::shutting_down});
    add("have-none", Have{Handle{0}, {}});
    add("have-one", Have{Handle{1}, {{0, 1}}});
    add("have-all", Have{Handle{1}, {{0, top}}});
    add("have-last", Have{Handle{1}, {{0, 7}, {7, 1}, {top, 1}}});
    Have have{Handle{top}, {}};
    for (std::uint32_t i = 0; i < kMaxHaveRanges; ++i) have.ranges.push_back({4 * i, 3});
    add("have-max", have);
    add("head-min", HeadFrame{});
    add("head-one", HeadFrame{Handle{1}, pattern(1)});
    add("head-max", HeadFrame{Handle{top}, pattern(kMaxObjectDer)});
    add("request-min", Request{});
    add("request-one", Request{Handle{1}, BlockIndex{1}, 1, 1, true});
    add("request-max", Request{Handle{top}, BlockIndex{top}, kMaxBlocks, top, true});
    add("cancel-min", Cancel{});
    add("cancel-max", Cancel{Handle{top}, BlockIndex{top}});
    add("block-min", BlockFrame{});
    add("block-one", BlockFrame{Handle{1}, BlockIndex{1}, 1, 2, 1, {filled<Hash>(1)}});
    add("block-max",
        BlockFrame{Handle{top}, BlockIndex{top}, kMaxBlockBytes, kMaxBlocks, top,
                   std::vector<Hash>(kMaxTreeLevels, filled<Hash>(0xff))});
    add("refuse-min", Refuse{Handle{0}, BlockIndex{0}, Errc::malformed});
    add("refuse-max", Refuse{Handle{top}, BlockIndex{top}, Errc::shutting_down});
    add("any-min", Any{Handle{0}, 0, 0, false});
    add("any-max", Any{Handle{top}, kMaxAnyTokens, kMaxAnyLevel, true});
    add("all_out-min", AllOut{Handle{0}});
    add("all_out-max", AllOut{Handle{top}});
    add("peers-min", Peers{});
    PeerEntry peer{filled<MemberId>(0xff), {}, 0xffff, true};
    peer.address.fill(0xff);
    add("peers-one", Peers{Handle{1}, {peer}});
    add("peers-max", Peers{Handle{top}, std::vector<PeerEntry>(kMaxPeersPerFrame, peer)});
    add("progress-min", Progress{});
    add("progress-one", Progress{Handle{1}, 1, Bytes{0x80}});
    add("progress-max", Progress{Handle{top}, kMaxBlocks, pattern(kMaxBitfieldBytes)});
    add("renew-min", Renew{Handle{0}});
    add("renew-max", Renew{Handle{top}});
    add("ticket-min", TicketFrame{});
    add("ticket-one", TicketFrame{Handle{1}, pattern(1)});
    add("ticket-max", TicketFrame{Handle{top}, pattern(kMaxObjectDer)});
    add("report-min", Report{Handle{0}, MemberId{}, Errc::malformed});
    add("report-max", Report{Handle{top}, filled<MemberId>(0xff), Errc::shutting_down});
    return out;
}

// A whole DATA frame.
inline Bytes data_frame(const DataHeader& h, View payload) {
    Writer w;
    w.raw(encode_data_header(h, payload.size()));
    w.raw(payload);
    return w.take();
}

}  // namespace mssl::test
