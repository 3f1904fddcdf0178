// The bodies of the control frames: for each message its type, the most bytes its body can have, and put and get
// side by side. They read like the schema: varN is a length of N bits and that many bytes.
#include <algorithm>
#include <bit>
#include <exception>

#include "protocol/frame.h"

namespace mssl {
namespace {

constexpr std::size_t kMaxCertificate = Certificate::kMaxCertificateBytes;

// ── What several messages have ──

// A caller that goes beyond a limit would make a frame that the other side answers with the session's end.
void require(bool within_limits) {
    if (!within_limits) std::terminate();
}

Bytes owned(View v) { return {v.begin(), v.end()}; }

void put_bool(Writer& w, bool v) { w.u8(v ? 1 : 0); }
bool get_bool(Reader& r) {
    const std::uint8_t v = r.u8();
    if (v > 1) r.reject(Errc::malformed, "a boolean that is neither 0 nor 1");
    return v == 1;
}

// Blocks of an object, or of the part that a head covers.
void put_blocks(Writer& w, std::uint64_t blocks) {
    require(blocks <= kMaxBlocks);
    w.u64(blocks);
}
std::uint64_t get_blocks(Reader& r) {
    const std::uint64_t blocks = r.u64();
    if (blocks > kMaxBlocks) r.reject(Errc::too_large, "more blocks than an index can name");
    return blocks;
}

// Bit l: the sibling at level l.
void put_mask(Writer& w, std::uint64_t mask) {
    require(mask >> kMaxTreeLevels == 0);
    w.u64(mask);
}
std::uint64_t get_mask(Reader& r) {
    const std::uint64_t mask = r.u64();
    if (mask >> kMaxTreeLevels != 0) r.reject(Errc::malformed, "a node above any tree");
    return mask;
}

// Codes that may cross the wire; a new one has to be placed here before it compiles.
bool crosses_wire(Errc code) {
    switch (code) {
    case Errc::ok:
    case Errc::malformed:
    case Errc::too_large:
    case Errc::unexpected:
    case Errc::unsupported:
    case Errc::not_member:
    case Errc::expired:
    case Errc::wrong_holder:
    case Errc::wrong_object:
    case Errc::bad_signature:
    case Errc::bad_proof:
    case Errc::no_such_object:
    case Errc::no_such_block:
    case Errc::withdrawn:
    case Errc::busy:
    case Errc::denied:
    case Errc::conflicting_head:
    case Errc::wrong_realm:
    case Errc::shutting_down: return true;
    case Errc::truncated:
    case Errc::again:
    case Errc::closed:
    case Errc::reset:
    case Errc::timed_out:
    case Errc::unreachable:
    case Errc::bad_certificate:
    case Errc::io:
    case Errc::no_space:
    case Errc::crypto:
    case Errc::config:
    case Errc::stalled:
    case Errc::cancelled:
    case Errc::internal: return false;
    }
    return false;
}

void put_code(Writer& w, Errc code) { w.u8(static_cast<std::uint8_t>(code)); }
Errc get_code(Reader& r) {
    const Errc code{r.u8()};
    if (!crosses_wire(code)) r.reject(Errc::malformed, "a code that no wire carries");
    return code;
}
void put_failure(Writer& w, Errc code) { put_code(w, wire_code(code)); }
Errc get_failure(Reader& r) {
    const Errc code = get_code(r);
    if (code == Errc::ok) r.reject(Errc::malformed, "a failure that is none");
    return code;
}

// UTF-8 for people and logs: nothing in it may pass for a line of its own.
bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }
void put_text(Writer& w, std::string text) {
    require(text.size() <= kMaxTextBytes);
    std::ranges::replace_if(text, is_control, '?');
    w.string16(text);
}
std::string get_text(Reader& r, std::size_t max = kMaxTextBytes) {
    std::string text = r.string16(max);
    if (std::ranges::any_of(text, is_control)) r.reject(Errc::malformed, "control characters in a text");
    return text;
}

void put_certificate(Writer& w, const Bytes& der) {
    require(der.size() <= kMaxCertificate);
    w.var16(der);
}
Bytes get_certificate(Reader& r) { return owned(r.var16(kMaxCertificate)); }

void put_object(Writer& w, const Bytes& der) {
    require(der.size() <= kMaxObjectDer);
    w.var24(der);
}
Bytes get_object(Reader& r) { return owned(r.var24(kMaxObjectDer)); }

// As Bitmap::to_wire made it; only who knows the object can say whether the length fits.
void put_bitfield(Writer& w, const Bytes& bits) {
    require(bits.size() <= kMaxBitfieldBytes);
    w.var24(bits);
}
Bytes get_bitfield(Reader& r) { return owned(r.var24(kMaxBitfieldBytes)); }

constexpr std::size_t kHandle = 4, kBlock = 4, kCode = 1, kBool = 1, kId = 32, kText = 2 + kMaxTextBytes,
                      kCertificate = 2 + kMaxCertificate, kObject = 3 + kMaxObjectDer,
                      kBitfield = 3 + kMaxBitfieldBytes;

void put_handle(Writer& w, Handle h) { w.u32(h.v); }
Handle get_handle(Reader& r) { return Handle{r.u32()}; }
void put_block(Writer& w, BlockIndex b) { w.u32(b.v); }
BlockIndex get_block(Reader& r) { return BlockIndex{r.u32()}; }

// ── The messages ──

template <class Message>
struct Wire;

template <>
struct Wire<Hello> {
    static constexpr FrameType type = FrameType::hello;
    static constexpr std::size_t max = kHelloBytes;
    static void put(Writer& w, const Hello& m) { put_hello(w, m); }
    static Hello get(Reader& r) { return get_hello(r); }
};

template <>
struct Wire<ErrorFrame> {
    static constexpr FrameType type = FrameType::error;
    static constexpr std::size_t max = kCode + kText;
    static void put(Writer& w, const ErrorFrame& m) {
        put_failure(w, m.code);
        put_text(w, m.text);
    }
    static ErrorFrame get(Reader& r) {
        ErrorFrame m;
        m.code = get_failure(r);
        m.text = get_text(r);
        return m;
    }
};

template <>
struct Wire<Ping> {
    static constexpr FrameType type = FrameType::ping;
    static constexpr std::size_t max = 8;
    static void put(Writer& w, const Ping& m) { w.u64(m.cookie); }
    static Ping get(Reader& r) { return {r.u64()}; }
};

template <>
struct Wire<Pong> {
    static constexpr FrameType type = FrameType::pong;
    static constexpr std::size_t max = 8;
    static void put(Writer& w, const Pong& m) { w.u64(m.cookie); }
    static Pong get(Reader& r) { return {r.u64()}; }
};

template <>
struct Wire<Enrol> {
    static constexpr FrameType type = FrameType::enrol;
    static constexpr std::size_t max = PublicKey::size + Signature::size + 2 + kMaxTokenBytes;
    static void put(Writer& w, const Enrol& m) {
        require(m.token.size() <= kMaxTokenBytes);
        w.fixed(m.key);
        w.fixed(m.proof);
        w.string16(m.token);
    }
    static Enrol get(Reader& r) {
        Enrol m;
        m.key = r.fixed<PublicKey>();
        m.proof = r.fixed<Signature>();
        m.token = r.string16(kMaxTokenBytes);  // compared, never shown
        return m;
    }
};

template <>
struct Wire<Enrolled> {
    static constexpr FrameType type = FrameType::enrolled;
    static constexpr std::size_t max = 3 * kCertificate;
    static void put(Writer& w, const Enrolled& m) {
        put_certificate(w, m.realm_der);
        put_certificate(w, m.signer_der);
        put_certificate(w, m.member_der);
    }
    static Enrolled get(Reader& r) {
        Enrolled m;
        m.realm_der = get_certificate(r);
        m.signer_der = get_certificate(r);
        m.member_der = get_certificate(r);
        return m;
    }
};

template <>
struct Wire<Announce> {
    static constexpr FrameType type = FrameType::announce;
    static constexpr std::size_t max = 2;
    static void put(Writer& w, const Announce& m) { w.u16(m.port); }
    static Announce get(Reader& r) { return {r.u16()}; }
};

template <>
struct Wire<Announced> {
    static constexpr FrameType type = FrameType::announced;
    static constexpr std::size_t max = kBool + kText;
    static void put(Writer& w, const Announced& m) {
        put_bool(w, m.reachable);
        put_text(w, m.address);
    }
    static Announced get(Reader& r) {
        Announced m;
        m.reachable = get_bool(r);
        m.address = get_text(r);
        return m;
    }
};

template <>
struct Wire<Open> {
    static constexpr FrameType type = FrameType::open;
    static constexpr std::size_t max = kHandle + kId + kObject + kCertificate;
    static void put(Writer& w, const Open& m) {
        put_handle(w, m.handle);
        w.fixed(m.object);
        put_object(w, m.ticket_der);
        put_certificate(w, m.signer_der);
    }
    static Open get(Reader& r) {
        Open m;
        m.handle = get_handle(r);
        m.object = r.fixed<ObjectId>();
        m.ticket_der = get_object(r);
        m.signer_der = get_certificate(r);
        return m;
    }
};

template <>
struct Wire<Opened> {
    static constexpr FrameType type = FrameType::opened;
    static constexpr std::size_t max = kHandle + 8 + kBitfield;
    static void put(Writer& w, const Opened& m) {
        put_handle(w, m.handle);
        put_blocks(w, m.blocks);
        put_bitfield(w, m.bitfield);
    }
    static Opened get(Reader& r) {
        Opened m;
        m.handle = get_handle(r);
        m.blocks = get_blocks(r);
        m.bitfield = get_bitfield(r);
        return m;
    }
};

template <>
struct Wire<Close> {
    static constexpr FrameType type = FrameType::close;
    static constexpr std::size_t max = kHandle + kBool + kCode;
    static void put(Writer& w, const Close& m) {
        put_handle(w, m.handle);
        put_bool(w, m.by_provider);
        put_code(w, m.code == Errc::ok ? Errc::ok : wire_code(m.code));
    }
    static Close get(Reader& r) {
        Close m;
        m.handle = get_handle(r);
        m.by_provider = get_bool(r);
        m.code = get_code(r);
        return m;
    }
};

template <>
struct Wire<Have> {
    static constexpr FrameType type = FrameType::have;
    static constexpr std::size_t max = kHandle + 2 + kMaxHaveRanges * 8;
    static void put(Writer& w, const Have& m) {
        require(m.ranges.size() <= kMaxHaveRanges);
        put_handle(w, m.handle);
        w.u16(static_cast<std::uint16_t>(m.ranges.size()));
        for (const BlockRange& range : m.ranges) {
            w.u32(range.first);
            w.u32(range.count);
        }
    }
    // Ascending, disjoint, each with something in it: so a frame says a block once, and costs what it says.
    static Have get(Reader& r) {
        Have m;
        m.handle = get_handle(r);
        const std::uint16_t count = r.u16();
        if (count > kMaxHaveRanges) r.reject(Errc::too_large, "more ranges than a frame may have");
        if (count * std::size_t{8} > r.remaining()) r.reject(Errc::malformed, "fewer ranges than said");
        std::uint64_t end = 0;
        for (std::uint16_t i = 0; i < count && !r.failed(); ++i) {
            BlockRange range;
            range.first = r.u32();
            range.count = r.u32();
            if (range.count == 0 || range.first < end) r.reject(Errc::malformed, "ranges not in order");
            end = std::uint64_t{range.first} + range.count;
            if (end > kMaxBlocks) r.reject(Errc::malformed, "a range beyond any block");
            m.ranges.push_back(range);
        }
        return m;
    }
};

template <>
struct Wire<HeadFrame> {
    static constexpr FrameType type = FrameType::head;
    static constexpr std::size_t max = kHandle + kObject;
    static void put(Writer& w, const HeadFrame& m) {
        put_handle(w, m.handle);
        put_object(w, m.head_der);
    }
    static HeadFrame get(Reader& r) {
        HeadFrame m;
        m.handle = get_handle(r);
        m.head_der = get_object(r);
        return m;
    }
};

template <>
struct Wire<Request> {
    static constexpr FrameType type = FrameType::request;
    static constexpr std::size_t max = kHandle + kBlock + 8 + 8 + kBool;
    static void put(Writer& w, const Request& m) {
        put_handle(w, m.handle);
        put_block(w, m.block);
        put_blocks(w, m.head_blocks);
        put_mask(w, m.nodes);
        put_bool(w, m.nodes_only);
    }
    static Request get(Reader& r) {
        Request m;
        m.handle = get_handle(r);
        m.block = get_block(r);
        m.head_blocks = get_blocks(r);
        m.nodes = get_mask(r);
        m.nodes_only = get_bool(r);
        return m;
    }
};

template <>
struct Wire<Cancel> {
    static constexpr FrameType type = FrameType::cancel;
    static constexpr std::size_t max = kHandle + kBlock;
    static void put(Writer& w, const Cancel& m) {
        put_handle(w, m.handle);
        put_block(w, m.block);
    }
    static Cancel get(Reader& r) {
        Cancel m;
        m.handle = get_handle(r);
        m.block = get_block(r);
        return m;
    }
};

template <>
struct Wire<BlockFrame> {
    static constexpr FrameType type = FrameType::block;
    static constexpr std::size_t max = kHandle + kBlock + 4 + 8 + 8 + kMaxTreeLevels * Hash::size;
    static void put(Writer& w, const BlockFrame& m) {
        require(m.length <= kMaxBlockBytes && m.nodes.size() == static_cast<std::size_t>(std::popcount(m.mask)));
        put_handle(w, m.handle);
        put_block(w, m.block);
        w.u32(m.length);
        put_blocks(w, m.head_blocks);
        put_mask(w, m.mask);
        for (const Hash& node : m.nodes) w.fixed(node);
    }
    static BlockFrame get(Reader& r) {
        BlockFrame m;
        m.handle = get_handle(r);
        m.block = get_block(r);
        m.length = r.u32();
        if (m.length > kMaxBlockBytes) r.reject(Errc::too_large, "a block larger than any");
        m.head_blocks = get_blocks(r);
        m.mask = get_mask(r);
        // No count of its own: the mask names each node, so none can be missing or too many.
        for (int i = std::popcount(m.mask); i > 0 && !r.failed(); --i) m.nodes.push_back(r.fixed<Hash>());
        return m;
    }
};

template <>
struct Wire<Refuse> {
    static constexpr FrameType type = FrameType::refuse;
    static constexpr std::size_t max = kHandle + kBlock + kCode;
    static void put(Writer& w, const Refuse& m) {
        put_handle(w, m.handle);
        put_block(w, m.block);
        put_failure(w, m.code);
    }
    static Refuse get(Reader& r) {
        Refuse m;
        m.handle = get_handle(r);
        m.block = get_block(r);
        m.code = get_failure(r);
        return m;
    }
};

template <>
struct Wire<Any> {
    static constexpr FrameType type = FrameType::any;
    static constexpr std::size_t max = kHandle + 1 + 1 + kBool;
    static void put(Writer& w, const Any& m) {
        require(m.tokens <= kMaxAnyTokens && m.level <= kMaxAnyLevel);
        put_handle(w, m.handle);
        w.u8(m.tokens);
        w.u8(m.level);
        put_bool(w, m.with_path);
    }
    static Any get(Reader& r) {
        Any m;
        m.handle = get_handle(r);
        m.tokens = r.u8();
        if (m.tokens > kMaxAnyTokens) r.reject(Errc::too_large, "more tokens than a member may hold");
        m.level = r.u8();
        if (m.level > kMaxAnyLevel) r.reject(Errc::malformed, "an unknown level");
        m.with_path = get_bool(r);
        return m;
    }
};

template <>
struct Wire<AllOut> {
    static constexpr FrameType type = FrameType::all_out;
    static constexpr std::size_t max = kHandle;
    static void put(Writer& w, const AllOut& m) { put_handle(w, m.handle); }
    static AllOut get(Reader& r) { return {get_handle(r)}; }
};

template <>
struct Wire<Peers> {
    static constexpr FrameType type = FrameType::peers;
    static constexpr std::size_t kEntry = kId + 16 + 2 + kBool;
    static constexpr std::size_t max = kHandle + 1 + kMaxPeersPerFrame * kEntry;
    static void put(Writer& w, const Peers& m) {
        require(m.peers.size() <= kMaxPeersPerFrame);
        put_handle(w, m.handle);
        w.u8(static_cast<std::uint8_t>(m.peers.size()));
        for (const PeerEntry& peer : m.peers) {
            w.fixed(peer.member);
            w.raw(peer.address);
            w.u16(peer.port);
            put_bool(w, peer.gone);
        }
    }
    static Peers get(Reader& r) {
        Peers m;
        m.handle = get_handle(r);
        const std::uint8_t count = r.u8();
        if (count > kMaxPeersPerFrame) r.reject(Errc::too_large, "more peers than a frame may have");
        for (std::uint8_t i = 0; i < count && !r.failed(); ++i) {
            PeerEntry peer;
            peer.member = r.fixed<MemberId>();
            std::ranges::copy(r.raw(peer.address.size()), peer.address.begin());
            peer.port = r.u16();
            peer.gone = get_bool(r);
            m.peers.push_back(peer);
        }
        return m;
    }
};

template <>
struct Wire<Progress> {
    static constexpr FrameType type = FrameType::progress;
    static constexpr std::size_t max = kHandle + 8 + kBitfield;
    static void put(Writer& w, const Progress& m) {
        put_handle(w, m.handle);
        put_blocks(w, m.have_count);
        put_bitfield(w, m.bitfield);
    }
    static Progress get(Reader& r) {
        Progress m;
        m.handle = get_handle(r);
        m.have_count = get_blocks(r);
        m.bitfield = get_bitfield(r);
        return m;
    }
};

template <>
struct Wire<Renew> {
    static constexpr FrameType type = FrameType::renew;
    static constexpr std::size_t max = kHandle;
    static void put(Writer& w, const Renew& m) { put_handle(w, m.handle); }
    static Renew get(Reader& r) { return {get_handle(r)}; }
};

template <>
struct Wire<TicketFrame> {
    static constexpr FrameType type = FrameType::ticket;
    static constexpr std::size_t max = kHandle + kObject;
    static void put(Writer& w, const TicketFrame& m) {
        put_handle(w, m.handle);
        put_object(w, m.ticket_der);
    }
    static TicketFrame get(Reader& r) {
        TicketFrame m;
        m.handle = get_handle(r);
        m.ticket_der = get_object(r);
        return m;
    }
};

template <>
struct Wire<Report> {
    static constexpr FrameType type = FrameType::report;
    static constexpr std::size_t max = kHandle + kId + kCode;
    static void put(Writer& w, const Report& m) {
        put_handle(w, m.handle);
        w.fixed(m.member);
        put_failure(w, m.code);
    }
    static Report get(Reader& r) {
        Report m;
        m.handle = get_handle(r);
        m.member = r.fixed<MemberId>();
        m.code = get_failure(r);
        return m;
    }
};

// ── All of them ──

template <class Message>
Result<ControlFrame> decode(View body) {
    static_assert(Wire<Message>::max <= kMaxControlBody);
    if (body.size() > Wire<Message>::max) return fail(Errc::too_large, std::string(frame_name(Wire<Message>::type)));
    Reader r(body);
    Message message = Wire<Message>::get(r);
    if (Status s = r.finish(frame_name(Wire<Message>::type)); !s) {
        // The frame is here whole: nothing more will come.
        if (s.code() == Errc::truncated) s.error().code = Errc::malformed;
        return std::move(s).error();
    }
    return ControlFrame(std::move(message));
}

// Calls f with a std::type_identity of the message of a type; DATA has none.
template <class F>
auto with_message(FrameType type, F f) -> std::optional<decltype(f(std::type_identity<Ping>{}))> {
    switch (type) {
    case FrameType::hello: return f(std::type_identity<Hello>{});
    case FrameType::error: return f(std::type_identity<ErrorFrame>{});
    case FrameType::ping: return f(std::type_identity<Ping>{});
    case FrameType::pong: return f(std::type_identity<Pong>{});
    case FrameType::enrol: return f(std::type_identity<Enrol>{});
    case FrameType::enrolled: return f(std::type_identity<Enrolled>{});
    case FrameType::announce: return f(std::type_identity<Announce>{});
    case FrameType::announced: return f(std::type_identity<Announced>{});
    case FrameType::open: return f(std::type_identity<Open>{});
    case FrameType::opened: return f(std::type_identity<Opened>{});
    case FrameType::close: return f(std::type_identity<Close>{});
    case FrameType::have: return f(std::type_identity<Have>{});
    case FrameType::head: return f(std::type_identity<HeadFrame>{});
    case FrameType::request: return f(std::type_identity<Request>{});
    case FrameType::cancel: return f(std::type_identity<Cancel>{});
    case FrameType::block: return f(std::type_identity<BlockFrame>{});
    case FrameType::data: return std::nullopt;
    case FrameType::refuse: return f(std::type_identity<Refuse>{});
    case FrameType::any: return f(std::type_identity<Any>{});
    case FrameType::all_out: return f(std::type_identity<AllOut>{});
    case FrameType::peers: return f(std::type_identity<Peers>{});
    case FrameType::progress: return f(std::type_identity<Progress>{});
    case FrameType::renew: return f(std::type_identity<Renew>{});
    case FrameType::ticket: return f(std::type_identity<TicketFrame>{});
    case FrameType::report: return f(std::type_identity<Report>{});
    }
    return std::nullopt;
}

}  // namespace

Errc wire_code(Errc code) {
    if (code == Errc::truncated) return Errc::malformed;
    return code != Errc::ok && crosses_wire(code) ? code : Errc::busy;
}

FrameType type_of(const ControlFrame& frame) {
    return std::visit([]<class M>(const M&) { return Wire<M>::type; }, frame);
}

std::size_t max_frame_body(FrameType type) {
    return with_message(type, []<class M>(std::type_identity<M>) { return Wire<M>::max; })
        .value_or(kDataHeaderBytes + kMaxDataPayload);
}

Bytes encode_frame(const ControlFrame& frame) {
    Writer body;
    std::visit([&body]<class M>(const M& message) { Wire<M>::put(body, message); }, frame);
    Writer w;
    w.u8(static_cast<std::uint8_t>(type_of(frame)));
    w.var24(body.view());
    return w.take();
}

Result<ControlFrame> decode_frame(std::uint8_t type, View body) {
    const std::optional<FrameType> known = frame_type(type);
    if (known) {
        auto frame = with_message(*known, [body]<class M>(std::type_identity<M>) { return decode<M>(body); });
        if (frame) return *std::move(frame);
    }
    return fail(Errc::unexpected, "no control frame has type " + std::to_string(type));
}

}  // namespace mssl
