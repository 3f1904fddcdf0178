// The C++ and tests/vectors, which another implementation wrote, agree: frames.
#include <criterion/criterion.h>

#include <optional>

#include "protocol/frame.h"
#include "tests/unit/vectors.h"

namespace mssl::test {
namespace {

template <class T>
std::string number(T value) {
    return std::to_string(static_cast<std::uint64_t>(value));
}

std::string put(std::string_view name, std::string value) {
    return " " + std::string(name) + "=" + std::move(value);
}
std::string put(std::string_view name, View value) { return put(name, bytes_text(value)); }
std::string handle(Handle h) { return put("handle", number(h.v)); }
std::string block(BlockIndex b) { return put("block", number(b.v)); }
std::string code(Errc c) { return put("code", number(c)); }

std::string fields(const Hello& f) {
    return put("version", number(f.version)) + put("abilities", number(f.abilities)) +
           put("hash", number(f.hash)) + put("max_block_log2", number(f.max_block_log2)) +
           put("realm", f.realm.view());
}
std::string fields(const ErrorFrame& f) { return code(f.code) + put("text", as_view(f.text)); }
std::string fields(const Ping& f) { return put("cookie", number(f.cookie)); }
std::string fields(const Pong& f) { return put("cookie", number(f.cookie)); }
std::string fields(const Enrol& f) {
    return put("key", f.key.view()) + put("proof", f.proof.view()) + put("token", as_view(f.token));
}
std::string fields(const Enrolled& f) {
    return put("realm", f.realm_der) + put("signer", f.signer_der) + put("member", f.member_der);
}
std::string fields(const Announce& f) { return put("port", number(f.port)); }
std::string fields(const Announced& f) {
    return put("reachable", number(f.reachable)) + put("text", as_view(f.address));
}
std::string fields(const Open& f) {
    return handle(f.handle) + put("object", f.object.view()) + put("ticket", f.ticket_der) +
           put("signer", f.signer_der);
}
std::string fields(const Opened& f) {
    return handle(f.handle) + put("blocks", number(f.blocks)) + put("bitfield", f.bitfield);
}
std::string fields(const Close& f) {
    return handle(f.handle) + put("by_provider", number(f.by_provider)) + code(f.code);
}
std::string fields(const Have& f) {
    std::vector<std::string> ranges;
    for (const BlockRange& r : f.ranges) ranges.push_back(number(r.first) + ":" + number(r.count));
    return handle(f.handle) + put("ranges", join(ranges));
}
std::string fields(const HeadFrame& f) { return handle(f.handle) + put("head", f.head_der); }
std::string fields(const Request& f) {
    return handle(f.handle) + block(f.block) + put("head_blocks", number(f.head_blocks)) +
           put("mask", number(f.nodes)) + put("nodes_only", number(f.nodes_only));
}
std::string fields(const Cancel& f) { return handle(f.handle) + block(f.block); }
std::string fields(const BlockFrame& f) {
    std::vector<std::string> nodes;
    for (const Hash& node : f.nodes) nodes.push_back(node.hex());
    return handle(f.handle) + block(f.block) + put("length", number(f.length)) +
           put("head_blocks", number(f.head_blocks)) + put("mask", number(f.mask)) +
           put("nodes", join(nodes));
}
std::string fields(const Refuse& f) { return handle(f.handle) + block(f.block) + code(f.code); }
std::string fields(const Any& f) {
    return handle(f.handle) + put("tokens", number(f.tokens)) + put("level", number(f.level)) +
           put("with_path", number(f.with_path));
}
std::string fields(const AllOut& f) { return handle(f.handle); }
std::string fields(const Peers& f) {
    std::vector<std::string> peers;
    for (const PeerEntry& p : f.peers) {
        peers.push_back(p.member.hex() + ":" + to_hex(p.address) + ":" + number(p.port) + ":" +
                        number(p.gone));
    }
    return handle(f.handle) + put("peers", join(peers));
}
std::string fields(const Progress& f) {
    return handle(f.handle) + put("have_count", number(f.have_count)) + put("bitfield", f.bitfield);
}
std::string fields(const Renew& f) { return handle(f.handle); }
std::string fields(const TicketFrame& f) { return handle(f.handle) + put("ticket", f.ticket_der); }
std::string fields(const Report& f) {
    return handle(f.handle) + put("member", f.member.view()) + code(f.code);
}

// What one frame says, and what writing it again gives.
class One : public FrameSink {
public:
    Status on_frame(ControlFrame frame) override {
        text_ = "ok type=" + std::string(frame_name(type_of(frame))) +
                std::visit([](const auto& f) { return fields(f); }, frame);
        again_ = encode_frame(frame);
        ++count_;
        return {};
    }
    Result<Slot> slot(const DataHeader&, std::size_t payload_bytes) override {
        payload_.resize(payload_bytes);
        return Slot(payload_);
    }
    Status on_data(const DataHeader& h, View payload) override {
        text_ = "ok type=DATA" + handle(h.handle) + block(h.block) + put("offset", number(h.offset)) +
                put("payload", payload);
        const auto header = encode_data_header(h, payload.size());
        again_.assign(header.begin(), header.end());
        again_.insert(again_.end(), payload.begin(), payload.end());
        ++count_;
        return {};
    }

    std::string answer(View frame) const {
        if (count_ != 1) return "error incomplete";
        return std::ranges::equal(again_, frame) ? text_ : text_ + " (writes other bytes)";
    }

private:
    std::string text_;
    Bytes again_, payload_;
    int count_ = 0;
};

std::string decode(View frame) {
    One one;
    FrameParser parser(one);
    const Status status = parser.feed(frame);
    if (!status) return outcome(wire_code(status.code()));
    return parser.at_boundary() ? one.answer(frame) : "error incomplete";
}

Bytes with_body(std::uint8_t type, View body) {
    Writer w;
    w.u8(type);
    w.var24(body);
    return w.take();
}

std::string answer(const Vector& v) {
    std::vector<std::string> outcomes;
    const auto sure = [&outcomes](const Bytes& frame) {
        const std::string one = decode(frame);
        outcomes.push_back(one.ends_with(" (writes other bytes)") ? "?" : one);
    };
    if (v.operation == "types") {
        for (unsigned type = 0; type < 256; ++type) sure(with_body(static_cast<std::uint8_t>(type), {}));
        return sum_up(outcomes);
    }
    const Bytes frame = v.bytes("frame");
    if (v.operation == "decode") return decode(frame);
    const View body = View(frame).subspan(kFrameHeaderBytes);
    if (v.operation == "truncations") {
        for (std::size_t n = 0; n < body.size(); ++n) sure(with_body(frame[0], body.first(n)));
        return sum_up(outcomes);
    }
    if (v.operation == "flips") {
        for (std::size_t bit = 0; bit < 8 * body.size(); ++bit) {
            Bytes wrong = frame;
            wrong[kFrameHeaderBytes + bit / 8] ^= static_cast<std::uint8_t>(128U >> bit % 8);
            sure(wrong);
        }
        return sum_up(outcomes);
    }
    return "unknown operation";
}

}  // namespace

Test(vectors, frames) { hold_vectors("frames", 300, answer); }

}  // namespace mssl::test
