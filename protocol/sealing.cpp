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
    made.hkdf_.reset(EVP_KDF_fetch(library, "HKDF", nullptr));
    made.gcm_.reset(EVP_CIPHER_fetch(library, "AES-256-GCM", nullptr));
    made.sha256_.reset(EVP_MD_fetch(library, "SHA256", nullptr));
    if (!made.hkdf_ || !made.gcm_ || !made.sha256_) return openssl_error(Errc::crypto, "HKDF, AES-256-GCM, SHA256");
    return made;
}

Result<Secret> Sealing::derive(View secret, std::string_view label, View context) const {
    Writer info;
    info.raw(as_view(label));
    info.u8(0);
    info.raw(context);
    Bytes info_bytes = info.take();
    char digest[] = "SHA256";
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, const_cast<std::uint8_t*>(secret.data()), secret.size()),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info_bytes.data(), info_bytes.size()),
        OSSL_PARAM_construct_end(),
    };
    const KdfCtxPtr context_of(EVP_KDF_CTX_new(hkdf_.get()));
    Secret out;
    if (!context_of || EVP_KDF_derive(context_of.get(), out.bytes.data(), out.bytes.size(), params) != 1)
        return openssl_error(Errc::crypto, "HKDF");
    return out;
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
