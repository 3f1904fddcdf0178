// Writes the seeds of the fuzzers, from which they learn what messages look like: make-seeds DIR, usually
// tests/fuzz/corpus. What is there under other names (inputs that once broke something) stays.
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "protocol/key_share.h"
#include "protocol/objects.h"
#include "protocol/resolve.h"
#include "tests/unit/frame_samples.h"

using namespace mssl;
using namespace mssl::test;

namespace {

namespace fs = std::filesystem;

// A long seed slows every fuzzer down and teaches it nothing.
constexpr std::size_t kMaxSeedBytes = 512;

bool write(const fs::path& folder, const std::string& name, std::initializer_list<Bytes> parts) {
    fs::create_directories(folder);
    std::ofstream out(folder / name, std::ios::binary | std::ios::trunc);
    for (const Bytes& part : parts)
        out.write(reinterpret_cast<const char*>(part.data()), static_cast<std::streamsize>(part.size()));
    return static_cast<bool>(out.flush());
}

Bytes concat(std::initializer_list<Bytes> parts) {
    Bytes out;
    for (const Bytes& part : parts) out.insert(out.end(), part.begin(), part.end());
    return out;
}

Bytes bytes_of(std::string_view s) { return {s.begin(), s.end()}; }

// As fuzz_session's first byte says.
std::uint8_t choice(unsigned role, bool hello, bool reads) {
    return static_cast<std::uint8_t>(role | (hello ? 4U : 0U) | (reads ? 8U : 0U) | 0xe0U);
}

// The key of RFC 8032 §7.1, TEST 1: the same seeds each time.
Result<KeyPair> known_key() {
    Result<Bytes> pkcs8 = from_hex(
        "302e020100300506032b6570042204209d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
    if (!pkcs8) return std::move(pkcs8).error();
    return KeyPair::from_pem("-----BEGIN PRIVATE KEY-----\n" + to_base64(*pkcs8) + "\n-----END PRIVATE KEY-----\n");
}

bool objects(const fs::path& root) {
    const Result<KeyPair> key = known_key();
    if (!key) return false;
    Head empty, half, whole;
    empty.final_head = true;
    half.length = whole.length = 5 * std::uint64_t{kMinBlockBytes} + 1;
    half.leaves = 6;
    half.peaks = {filled<Hash>(1), filled<Hash>(2)};
    whole.leaves = 11;
    whole.final_head = true;
    whole.peaks = {filled<Hash>(1), filled<Hash>(2)};
    Manifest manifest;
    manifest.object = filled<ObjectId>(9);
    manifest.url = "https://files.example.org:443/pool/a?b";
    manifest.validator.etag = "\"strong\"";
    manifest.fields = {{"Content-Type", "text/plain"}};
    manifest.length = whole.length;
    manifest.not_before = WallTime{1700000000};
    manifest.not_after = WallTime{1700003600};
    Ticket ticket;
    ticket.grant = filled<GrantId>(4);
    ticket.member = filled<MemberId>(5);
    ticket.object = manifest.object;
    ticket.not_before = WallTime{1700000000};
    ticket.not_after = WallTime{1700000600};

    bool good = true;
    int n = 0;
    for (const Head& head : {empty, half, whole}) {
        const Result<SignedHead> object = sign_head(head, *key);
        if (object) good &= write(root / "objects", "head-" + std::to_string(++n), {Bytes{0}, object->der});
        good &= object.has_value();
    }
    const Result<SignedManifest> m = sign_manifest(manifest, *key);
    const Result<SignedTicket> t = sign_ticket(ticket, *key);
    if (!good || !m || !t) return false;
    return write(root / "objects", "manifest", {Bytes{1}, m->der}) && write(root / "objects", "ticket", {Bytes{2}, t->der}) &&
           write(root / "resolve", "resolved", {Bytes{0}, encode_resolved({m->der, t->der, {}, {}, manifest.fields})}) &&
           write(root / "resolve", "resolved-empty", {Bytes{0}, encode_resolved({})}) &&
           write(root / "resolve", "field", {Bytes{1}, bytes_of(short_resolve_field())}) &&
           write(root / "resolve", "field-full",
                 {Bytes{1}, bytes_of("v=1; member=" + to_base64(m->der) + "; signer=" + to_base64(t->der) +
                                     "; proof=" + to_base64(pattern(64)))});
}

bool key_shares(const fs::path& root) {
    Hello hello;
    hello.realm = filled<RealmId>(0x21);
    Token token;
    token.bytes.fill(0x42);
    TokenFile file;
    file.realm = hello.realm;
    file.membership = {filled<MemberSerial>(0x44), {1'800'000'000}};
    file.count = 3;
    file.next = 1;
    file.reserved = 2;
    const fs::path at = root / "key_share";
    return write(at, "client", {Bytes{0}, encode_tlvs({hello, token, {}})}) &&
           write(at, "client-unknown", {Bytes{0}, encode_tlvs({hello, {}, {}}, Bytes{0x12, 0x34, 0, 1, 9})}) &&
           write(at, "client-critical", {Bytes{0}, encode_tlvs({hello, {}, {}}, Bytes{0x80, 4, 0, 0})}) &&
           write(at, "server", {Bytes{1}, encode_tlvs({hello, {}, true})}) &&
           write(at, "version-2", {Bytes{1, 0, 1, 0, 2, 0, 2}}) &&
           write(at, "token-file", {Bytes{2}, encode_token_file_header(file)});
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        std::fprintf(stderr, "usage: make-seeds DIR\n");
        return 64;
    }
    const fs::path root = argv[1];
    bool good = true;
    for (const FrameSample& s : frame_samples()) {
        const Bytes frame = encode_frame(s.frame);
        if (frame.size() > kMaxSeedBytes) continue;
        good &= write(root / "frame", s.name, {Bytes{0xff}, frame});
        if (s.name.ends_with("-max") || s.name.ends_with("-one")) {
            for (unsigned role = 0; role < 3; ++role)
                good &= write(root / "session", s.name + "-" + std::to_string(role), {Bytes{choice(role, true, true)}, frame});
        }
        if (std::holds_alternative<Hello>(s.frame)) {
            const Bytes body(frame.begin() + kFrameHeaderBytes, frame.end());
            for (std::uint8_t first = 0; first < 8; ++first)
                good &= write(root / "hello", s.name + "-" + std::to_string(first), {Bytes{first}, body});
        }
    }

    BlockFrame block;
    block.handle = Handle{2};
    block.length = 48;
    block.head_blocks = 4;
    block.mask = 1;
    block.nodes = {filled<Hash>(7)};
    const Bytes data = concat({encode_frame(block), data_frame({block.handle, block.block, 0}, pattern(32)),
                               encode_frame(Cancel{Handle{2}, BlockIndex{1}}),
                               data_frame({block.handle, block.block, 32}, pattern(16))});
    good &= write(root / "frame", "block-and-data", {Bytes{0}, data});
    good &= write(root / "session", "block-and-data", {Bytes{choice(2, true, true)}, data});
    good &= write(root / "session", "pong", {Bytes{choice(2, true, true)}, encode_frame(Pong{1})});

    Bytes asked = encode_frame(Hello{});
    for (std::uint32_t i = 0; i < 6; ++i)
        asked = concat({asked, encode_frame(Request{Handle{1}, BlockIndex{i * 9000}, 1 << 20, i, i % 3 == 2})});
    asked = concat({asked, encode_frame(Cancel{Handle{1}, BlockIndex{9000}}), encode_frame(Ping{7})});
    for (bool reads : {false, true})
        for (unsigned role : {1U, 2U})
            good &= write(root / "session", "requests-" + std::to_string(role) + (reads ? "-read" : "-unread"),
                          {Bytes{choice(role, false, reads)}, asked});
    good &= objects(root);
    good &= key_shares(root);
    return good ? 0 : 1;
}
