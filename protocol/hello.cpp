#include "protocol/hello.h"

#include <exception>

namespace mssl {

void put_hello(Writer& w, const Hello& m) {
    if (m.max_block_log2 < 16 || m.max_block_log2 > 18) std::terminate();
    w.u16(m.version);
    w.u32(m.abilities);
    w.u8(static_cast<std::uint8_t>(m.hash));
    w.u8(m.max_block_log2);
    w.fixed(m.realm);
}

Hello get_hello(Reader& r) {
    Hello m;
    m.version = r.u16();
    // What follows in another version is not ours to parse.
    if (m.version != kProtocolVersion) r.reject(Errc::unsupported, "another version of the protocol");
    m.abilities = r.u32();  // unknown bits are abilities of a later one that we need not use
    const std::uint8_t hash = r.u8();
    if (hash != static_cast<std::uint8_t>(HashKind::sha256)) r.reject(Errc::unsupported, "an unknown hash");
    m.max_block_log2 = r.u8();
    if (m.max_block_log2 < 16 || m.max_block_log2 > 18) r.reject(Errc::malformed, "a block size out of range");
    m.realm = r.fixed<RealmId>();
    return m;
}

}  // namespace mssl
