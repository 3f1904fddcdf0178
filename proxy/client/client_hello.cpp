#include "proxy/client/client_hello.h"

#include <algorithm>
#include <utility>

#include "protocol/bytes.h"
#include "protocol/interception_ca.h"
#include "proxy/http/syntax.h"

namespace mssl::proxy {
namespace {

constexpr std::uint8_t kHandshakeRecord = 22;          // RFC 8446 §5.1
constexpr std::uint8_t kMajorVersion = 3;              // of every TLS
constexpr std::size_t kMaxRecordBytes = 1 << 14;       // RFC 8446 §5.1
constexpr std::size_t kRecordHeaderBytes = 5;
constexpr std::uint8_t kClientHello = 1;               // RFC 8446 §4
constexpr std::size_t kMessageHeaderBytes = 4;
constexpr std::size_t kRandomBytes = 32, kMaxSessionIdBytes = 32;
constexpr std::uint16_t kServerNameExtension = 0, kAlpnExtension = 16;
constexpr std::uint8_t kHostName = 0;                  // RFC 6066 §3

Error malformed(const char* what) { return fail(Errc::malformed, std::string("ClientHello: ") + what); }

std::string text_of(View v) { return {v.begin(), v.end()}; }

// What the records carry, as far as it is there: at least the header of a message, and at most the message.
Result<Bytes> message_of(View bytes) {
    Bytes message;
    std::size_t whole = kMessageHeaderBytes;
    for (std::size_t at = 0; message.size() < whole;) {
        const View rest = bytes.subspan(at);
        // Each byte that contradicts is one: who speaks something else may wait for an answer to its few bytes.
        if (!rest.empty() && rest[0] != kHandshakeRecord) return malformed("not a handshake record");
        if (rest.size() > 1 && rest[1] != kMajorVersion) return malformed("version of the record");
        if (rest.size() < kRecordHeaderBytes) return fail(Errc::truncated, "ClientHello");
        const std::size_t length = std::size_t{rest[3]} << 8 | rest[4];
        if (length == 0 || length > kMaxRecordBytes) return malformed("length of a record");
        const View fragment = rest.subspan(kRecordHeaderBytes, std::min(length, rest.size() - kRecordHeaderBytes));
        const std::size_t wanted = std::min(fragment.size(), whole - message.size());
        message.insert(message.end(), fragment.begin(), fragment.begin() + static_cast<std::ptrdiff_t>(wanted));
        if (!message.empty() && message[0] != kClientHello) return malformed("another message");
        if (whole == kMessageHeaderBytes && message.size() == whole) {
            whole += std::size_t{message[1]} << 16 | std::size_t{message[2]} << 8 | message[3];
            if (whole > kMaxClientHelloBytes) return fail(Errc::too_large, "ClientHello");
            message.insert(message.end(), fragment.begin() + static_cast<std::ptrdiff_t>(wanted),
                           fragment.begin() + static_cast<std::ptrdiff_t>(std::min(fragment.size(), wanted + whole - kMessageHeaderBytes)));
        }
        if (message.size() < whole && fragment.size() < length) return fail(Errc::truncated, "ClientHello");
        at += kRecordHeaderBytes + length;
    }
    return message;
}

Status read_server_name(View data, ClientHello& out) {
    Reader list(data);
    Reader names(list.var16(data.size()));
    if (Status s = list.finish("server_name"); !s) return s;
    bool found = false;
    while (names.remaining() != 0) {
        const std::uint8_t type = names.u8();
        const View name = names.var16(data.size());
        if (type != kHostName) continue;
        if (std::exchange(found, true)) return malformed("two host names");
        std::string host = ascii_lower(text_of(name));
        // Such as none of ours is called, and nobody's log wants.
        if (is_interceptable_host(host)) out.server_name = std::move(host);
    }
    return names.finish("server_name");
}

Status read_alpn(View data, ClientHello& out) {
    Reader list(data);
    Reader names(list.var16(data.size()));
    if (Status s = list.finish("ALPN"); !s) return s;
    out.has_alpn = true;
    while (names.remaining() != 0) {
        const View name = names.var8(data.size());
        if (name.empty()) return malformed("an empty protocol name");
        out.alpn.push_back(text_of(name));
    }
    return names.finish("ALPN");
}

Status read_extensions(View data, ClientHello& out) {
    Reader extensions(data);
    bool server_name = false, alpn = false;
    while (extensions.remaining() != 0) {
        const std::uint16_t type = extensions.u16();
        const View content = extensions.var16(data.size());
        if (extensions.failed()) break;
        Status s;
        // RFC 8446 §4.2: none comes twice, or two readers could go by different ones.
        if (type == kServerNameExtension) s = std::exchange(server_name, true) ? malformed("server_name twice") : read_server_name(content, out);
        if (type == kAlpnExtension) s = std::exchange(alpn, true) ? malformed("ALPN twice") : read_alpn(content, out);
        if (!s) return s;
    }
    return extensions.finish("extensions");
}

}  // namespace

bool ClientHello::offers(std::string_view protocol) const { return std::ranges::find(alpn, protocol) != alpn.end(); }

bool is_tls(View bytes) {
    return bytes.size() > 1 && bytes[0] == kHandshakeRecord && bytes[1] == kMajorVersion;
}

Result<ClientHello> read_client_hello(View bytes) {
    const Result<Bytes> message = message_of(bytes);
    if (!message) return message.error();
    Reader body(View(*message).subspan(kMessageHeaderBytes));
    body.u16();  // legacy_version
    body.raw(kRandomBytes);
    body.var8(kMaxSessionIdBytes);
    body.var16(message->size());  // cipher_suites
    body.var8(message->size());   // legacy_compression_methods
    ClientHello out;
    if (body.failed()) return malformed("its fields");
    if (body.remaining() == 0) return out;  // of TLS 1.2 and before: no extensions at all
    const View extensions = body.var16(message->size());
    if (Status s = body.finish("ClientHello"); !s) return malformed("its end");
    if (Status s = read_extensions(extensions, out); !s) return malformed(s.error().detail.c_str());
    return out;
}

}  // namespace mssl::proxy
