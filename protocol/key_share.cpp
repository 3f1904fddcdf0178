#include "protocol/key_share.h"

#include <algorithm>
#include <exception>

namespace mssl {

namespace {

void put_tlv(Writer& w, TlvType type, View value) {
    w.u16(static_cast<std::uint16_t>(type));
    w.var16(value);
}

// Another version may have another length; its first two bytes stay where they are.
Result<std::optional<Hello>> read_hello(View value) {
    Reader r(value);
    const Hello hello = get_hello(r);
    const Status read = r.finish("hello");
    if (read) return std::optional(hello);
    if (read.code() == Errc::unsupported) return std::optional<Hello>();
    return fail(Errc::malformed, read.error().detail);
}

// One TLV into tlvs. Errors: as of decode_tlvs.
Status take_tlv(ShareTlvs& tlvs, std::uint16_t type, View value, ShareSide from) {
    switch (TlvType{type}) {
    case TlvType::hello: {
        Result<std::optional<Hello>> hello = read_hello(value);
        if (!hello) return hello.error();
        tlvs.hello = *hello;
        return {};
    }
    case TlvType::token:
        if (from != ShareSide::client || value.size() != Token::size) return fail(Errc::malformed, "token");
        tlvs.token = Token::from(value);
        return {};
    case TlvType::accepted:
        if (from != ShareSide::server || value.size() != 1 || value[0] > 1) return fail(Errc::malformed, "accepted");
        tlvs.accepted = value[0] == 1;
        return {};
    }
    if ((type & kCriticalTlv) != 0) return fail(Errc::unsupported, "an unknown critical TLV");
    return {};
}

}  // namespace

Bytes encode_tlvs(const ShareTlvs& tlvs, View further) {
    if (!tlvs.hello || (tlvs.token && tlvs.accepted)) std::terminate();
    Writer w;
    Writer hello;
    put_hello(hello, *tlvs.hello);
    put_tlv(w, TlvType::hello, hello.view());
    if (tlvs.token) put_tlv(w, TlvType::token, tlvs.token->view());
    if (tlvs.accepted) {
        const std::uint8_t value = *tlvs.accepted ? 1 : 0;
        put_tlv(w, TlvType::accepted, View(&value, 1));
    }
    w.raw(further);
    return w.take();
}

Result<ShareTlvs> decode_tlvs(View bytes, ShareSide from) {
    if (bytes.size() > kMaxTlvBytes) return fail(Errc::too_large, "key share");
    ShareTlvs tlvs;
    // Twice is forbidden for what we know alone: of others, 0 among them, nothing is kept.
    std::uint32_t seen = 0;
    Reader r(bytes);
    while (r.remaining() != 0) {
        const std::uint16_t type = r.u16();
        const View value = r.var16(kMaxTlvBytes);
        if (r.failed()) break;
        if (Status s = take_tlv(tlvs, type, value, from); !s) return s.error();
        if (type == 0 || type > static_cast<std::uint16_t>(TlvType::accepted)) continue;
        if ((seen >> type & 1) != 0) return fail(Errc::malformed, "a TLV twice");
        seen |= std::uint32_t{1} << type;
    }
    if (r.failed()) return fail(Errc::malformed, "a TLV that does not end");
    if ((seen >> static_cast<unsigned>(TlvType::hello) & 1) == 0) return fail(Errc::malformed, "no hello");
    if (from == ShareSide::server && !tlvs.accepted) return fail(Errc::malformed, "a server that does not say accepted or not");
    return tlvs;
}

Result<Secret> answer_key(const Sealing& sealing, const ExchangeSecret& dh, View client_share, View server_public) {
    const Result<Hash> shares = sealing.hash({client_share, server_public});
    if (!shares) return shares.error();
    return sealing.derive(dh.view(), "mssl/1 answer", shares->view());
}

Result<ExchangeSecret> shared_secret(const Sealing& sealing, const ExchangeSecret& dh, const Secret* member,
                                     View client_share, View server_share) {
    if (member == nullptr) return dh;
    const Result<Hash> shares = sealing.hash({client_share, server_share});
    if (!shares) return shares.error();
    struct Both {
        std::array<std::uint8_t, ExchangeSecret::kMax + Secret::size> bytes;
        ~Both() { OPENSSL_cleanse(bytes.data(), bytes.size()); }
    } both;
    std::ranges::copy(dh.view(), both.bytes.begin());
    std::ranges::copy(member->bytes, both.bytes.begin() + static_cast<std::ptrdiff_t>(dh.length));
    const View used = View(both.bytes).first(dh.length + Secret::size);
    const Result<Secret> derived = sealing.derive(used, "mssl/1 member key", shares->view());
    if (!derived) return derived.error();
    return ExchangeSecret(*derived);
}

}  // namespace mssl
