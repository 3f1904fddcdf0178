#include "protocol/token.h"

#include <algorithm>
#include <exception>

namespace mssl {

namespace {

constexpr std::string_view kFileMagic = "MSSLTKN1";
constexpr std::size_t kRandomBytes = 16;

Bytes membership_bytes(const Membership& membership) {
    Writer w;
    w.fixed(membership.serial);
    w.u64(static_cast<std::uint64_t>(membership.expiry.unix_seconds));
    return w.take();
}

Membership read_membership(Reader& r) {
    Membership out;
    out.serial = r.fixed<MemberSerial>();
    const std::uint64_t expiry = r.u64();
    if (expiry >> 63 != 0) r.reject(Errc::malformed, "a time before 1970");
    out.expiry.unix_seconds = static_cast<std::int64_t>(expiry);
    return out;
}

}  // namespace

Result<Token> TokenKey::make(const Membership& membership, View random) const {
    if (random.size() != kRandomBytes || membership.expiry.unix_seconds < 0) std::terminate();
    const Result<Secret> key = sealing_->derive(auth_key_.view(), "mssl/1 token", random);
    if (!key) return key.error();
    const Result<Bytes> sealed = sealing_->seal(*key, membership_bytes(membership));
    if (!sealed) return sealed.error();
    Writer w;
    w.raw(random);
    w.raw(*sealed);
    return Token::from(w.view());
}

Result<Membership> TokenKey::open(const Token& token) const {
    const View bytes = token.view();
    const Result<Secret> key = sealing_->derive(auth_key_.view(), "mssl/1 token", bytes.first(kRandomBytes));
    if (!key) return key.error();
    const Result<Bytes> plain = sealing_->open(*key, bytes.subspan(kRandomBytes));
    if (!plain) return plain.error();
    Reader r(*plain);
    const Membership membership = read_membership(r);
    if (Status s = r.finish("token"); !s) return s.error();
    return membership;
}

Result<Secret> TokenKey::member_secret(const Membership& membership) const {
    return sealing_->derive(auth_key_.view(), "mssl/1 member", membership_bytes(membership));
}

Bytes encode_token_file_header(const TokenFile& file) {
    Writer w;
    w.raw(as_view(kFileMagic));
    w.fixed(file.realm);
    w.raw(membership_bytes(file.membership));
    // The secret comes last, into its place: a buffer that grows leaves copies behind.
    const std::size_t secret_at = w.size();
    w.raw(Secret().view());
    w.u32(file.count);
    w.raw(encode_token_file_state(file));
    Bytes out = w.take();
    std::ranges::copy(file.secret.bytes, out.begin() + static_cast<std::ptrdiff_t>(secret_at));
    return out;
}

Result<TokenFile> decode_token_file_header(View header) {
    Reader r(header);
    const View magic = r.raw(kFileMagic.size());
    if (!r.failed() && !std::ranges::equal(magic, as_view(kFileMagic)))
        r.reject(Errc::unsupported, "not a token file of this version");
    TokenFile out;
    out.realm = r.fixed<RealmId>();
    out.membership = read_membership(r);
    const View secret = r.raw(Secret::size);
    if (!r.failed()) std::ranges::copy(secret, out.secret.bytes.begin());
    out.count = r.u32();
    out.next = r.u32();
    out.reserved = r.u32();
    out.boot = r.fixed<BootId>();
    if (out.count > kMaxTokens) r.reject(Errc::too_large, "too many tokens");
    if (out.reserved > out.count) r.reject(Errc::malformed, "more tokens reserved than there are");
    if (out.next > out.reserved) r.reject(Errc::malformed, "more tokens taken than reserved");
    if (Status s = r.finish("token file"); !s)
        return fail(s.code() == Errc::truncated ? Errc::malformed : s.code(), s.error().detail);
    return out;
}

Bytes encode_token_file_state(const TokenFile& file) {
    Writer w;
    w.u32(file.next);
    w.u32(file.reserved);
    w.fixed(file.boot);
    return w.take();
}

std::optional<Taking> take_next(TokenFile& file, const BootId& boot) {
    // What was written since the last batch may have been lost with the power, but nothing from reserved on was used.
    const bool same_boot = file.boot == boot && boot != BootId();
    if (!same_boot) file.next = file.reserved;
    file.boot = boot;
    if (file.next == file.count) return std::nullopt;
    const bool sync = file.next == file.reserved;
    // Without a name for this boot nobody could tell later that next was lost: each token is a batch of its own.
    const std::uint32_t batch = boot == BootId() ? 1 : same_boot ? kBatch : kFirstBatch;
    if (sync) file.reserved += std::min(file.count - file.reserved, batch);
    return Taking{file.next++, sync};
}

Result<Secret> read_auth_key(View text) {
    if (!text.empty() && text.back() == '\n') text = text.first(text.size() - 1);
    Result<Bytes> bytes = from_hex({reinterpret_cast<const char*>(text.data()), text.size()});
    if (!bytes || bytes->size() != Secret::size)
        return fail(Errc::malformed, "an authentication key is 64 hexadecimal digits");
    Secret out;
    std::ranges::copy(*bytes, out.bytes.begin());
    OPENSSL_cleanse(bytes->data(), bytes->size());
    return out;
}

}  // namespace mssl
