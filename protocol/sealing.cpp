#include "protocol/sealing.h"

#include <openssl/core_names.h>
#include <openssl/params.h>

#include "protocol/bytes.h"

namespace mssl {

namespace {

// NIST SP 800-38D §8.2 asks that no IV is used twice under a key; a key that is used once needs no other than this.
constexpr std::array<std::uint8_t, 12> kZeroIv{};

// EVP takes int. Nothing here is near: key shares and tokens have limits.
constexpr std::size_t kMaxSealed = std::size_t{1} << 20;

}  // namespace

Result<Sealing> Sealing::fetch(OSSL_LIB_CTX* library) {
    Sealing made;
    made.gcm_.reset(EVP_CIPHER_fetch(library, "AES-256-GCM", nullptr));
    made.sha256_.reset(EVP_MD_fetch(library, "SHA256", nullptr));
    const MacPtr mac(EVP_MAC_fetch(library, "HMAC", nullptr));
    if (!made.gcm_ || !made.sha256_ || !mac) return openssl_error(Errc::crypto, "HMAC, AES-256-GCM, SHA256");
    made.hmac_.reset(EVP_MAC_CTX_new(mac.get()));
    char digest[] = "SHA256";
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    if (!made.hmac_ || EVP_MAC_CTX_set_params(made.hmac_.get(), params) != 1) return openssl_error(Errc::crypto, "HMAC");
    return made;
}

Result<Secret> Sealing::hmac(View key, std::initializer_list<View> text) const {
    const MacCtxPtr context(EVP_MAC_CTX_dup(hmac_.get()));
    bool good = context && EVP_MAC_init(context.get(), key.data(), key.size(), nullptr) == 1;
    for (const View part : text) good = good && EVP_MAC_update(context.get(), part.data(), part.size()) == 1;
    Secret out;
    std::size_t length = 0;
    if (!good || EVP_MAC_final(context.get(), out.bytes.data(), &length, out.bytes.size()) != 1 || length != Secret::size)
        return openssl_error(Errc::crypto, "HMAC");
    return out;
}

Result<Secret> Sealing::derive(View secret, std::string_view label, View context) const {
    // RFC 5869 §2.2: no salt is a salt of zeros.
    const Result<Secret> extracted = hmac(Secret().view(), {secret});
    if (!extracted) return extracted.error();
    // §2.3: one block of output, T(1).
    static constexpr std::uint8_t kZero[] = {0};
    static constexpr std::uint8_t kOne[] = {1};
    return hmac(extracted->view(), {as_view(label), View(kZero), context, View(kOne)});
}

Result<Bytes> Sealing::seal(const Secret& key, View plain) const {
    if (plain.size() > kMaxSealed) return fail(Errc::too_large, "to seal");
    const CipherCtxPtr context(EVP_CIPHER_CTX_new());
    Bytes out(plain.size() + kSealBytes);
    int n = 0;
    int rest = 0;
    if (!context || EVP_EncryptInit_ex2(context.get(), gcm_.get(), key.bytes.data(), kZeroIv.data(), nullptr) != 1 ||
        EVP_EncryptUpdate(context.get(), out.data(), &n, plain.data(), static_cast<int>(plain.size())) != 1 ||
        EVP_EncryptFinal_ex(context.get(), out.data() + n, &rest) != 1 ||
        EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_GET_TAG, static_cast<int>(kSealBytes),
                            out.data() + plain.size()) != 1)
        return openssl_error(Errc::crypto, "AES-256-GCM");
    return out;
}

Result<Bytes> Sealing::open(const Secret& key, View sealed) const {
    if (sealed.size() < kSealBytes) return fail(Errc::bad_signature, "shorter than its seal");
    if (sealed.size() > kMaxSealed) return fail(Errc::too_large, "to open");
    const View text = sealed.first(sealed.size() - kSealBytes);
    Bytes tag(sealed.end() - static_cast<std::ptrdiff_t>(kSealBytes), sealed.end());
    const CipherCtxPtr context(EVP_CIPHER_CTX_new());
    Bytes out(text.size());
    int n = 0;
    int rest = 0;
    if (!context || EVP_DecryptInit_ex2(context.get(), gcm_.get(), key.bytes.data(), kZeroIv.data(), nullptr) != 1 ||
        EVP_DecryptUpdate(context.get(), out.data(), &n, text.data(), static_cast<int>(text.size())) != 1 ||
        EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_SET_TAG, static_cast<int>(kSealBytes), tag.data()) != 1)
        return openssl_error(Errc::crypto, "AES-256-GCM");
    std::uint8_t none[1];
    if (EVP_DecryptFinal_ex(context.get(), none, &rest) != 1) return fail(Errc::bad_signature, "not sealed under this key");
    return out;
}

Result<Hash> Sealing::hash(std::initializer_list<View> parts) const {
    const MdCtxPtr context(EVP_MD_CTX_new());
    Hash out;
    bool good = context && EVP_DigestInit_ex2(context.get(), sha256_.get(), nullptr) == 1;
    for (const View part : parts) good = good && EVP_DigestUpdate(context.get(), part.data(), part.size()) == 1;
    if (!good || EVP_DigestFinal_ex(context.get(), out.bytes.data(), nullptr) != 1)
        return openssl_error(Errc::crypto, "SHA-256");
    return out;
}

}  // namespace mssl
