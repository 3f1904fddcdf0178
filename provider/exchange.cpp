// OSSL_OP_KEYEXCH for mssl_x25519 (provider-keyexch(7)): hands out what the two keys share already.
#include <openssl/core_dispatch.h>

#include <cstring>

#include "provider/group.h"
#include "provider/key.h"

namespace mssl::provider {
namespace {

// EVP keeps both keys alive while it derives from them; copies of them are cheap, and do not depend on that.
struct Exchange {
    explicit Exchange(const Provider* of) : provider(of) {}
    const Provider* provider;
    std::optional<Key> own;
    std::optional<Key> peer;
};

void* new_context(void* provider) noexcept {
    const auto* of = static_cast<const Provider*>(provider);
    return made_by(of->errors(), [&] { return std::make_unique<Exchange>(of); });
}

void free_context(void* context) noexcept { delete static_cast<Exchange*>(context); }

void* duplicate(void* context) noexcept {
    const auto* from = static_cast<const Exchange*>(context);
    return made_by(from->provider->errors(), [&] { return std::make_unique<Exchange>(*from); });
}

int init(void* context, void* key, const OSSL_PARAM*) noexcept {
    auto* exchange = static_cast<Exchange*>(context);
    return guarded(exchange->provider->errors(), [&] {
        exchange->own = *static_cast<const Key*>(key);
        exchange->peer.reset();
        return 1;
    });
}

int set_peer(void* context, void* key) noexcept {
    auto* exchange = static_cast<Exchange*>(context);
    return guarded(exchange->provider->errors(), [&] {
        exchange->peer = *static_cast<const Key*>(key);
        return 1;
    });
}

int derive(void* context, unsigned char* out, std::size_t* length, std::size_t room) noexcept {
    const auto* exchange = static_cast<const Exchange*>(context);
    const Errors& errors = exchange->provider->errors();
    const ExchangeSecret* secret = exchange->own && exchange->peer ? secret_of(*exchange->own, *exchange->peer) : nullptr;
    if (secret == nullptr) return errors.raise(Reason::mismatch, "two keys that are no two sides of a handshake");
    *length = secret->length;
    if (out == nullptr) return 1;
    if (room < secret->length) return errors.raise(Reason::too_large, "no room for the secret");
    std::memcpy(out, secret->bytes.data(), secret->length);
    return 1;
}

}  // namespace

const OSSL_ALGORITHM* key_exchanges() noexcept {
    static const OSSL_DISPATCH functions[] = {
        {OSSL_FUNC_KEYEXCH_NEWCTX, as_function(new_context)},
        {OSSL_FUNC_KEYEXCH_FREECTX, as_function(free_context)},
        {OSSL_FUNC_KEYEXCH_DUPCTX, as_function(duplicate)},
        {OSSL_FUNC_KEYEXCH_INIT, as_function(init)},
        {OSSL_FUNC_KEYEXCH_SET_PEER, as_function(set_peer)},
        {OSSL_FUNC_KEYEXCH_DERIVE, as_function(derive)},
        {0, nullptr},
    };
    static const OSSL_ALGORITHM algorithms[] = {
        {kX25519.name, "provider=mssl", functions, "X25519, with membership where both sides know of it"},
        {nullptr, nullptr, nullptr, nullptr},
    };
    return algorithms;
}

}  // namespace mssl::provider
