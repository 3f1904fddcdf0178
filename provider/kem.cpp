// OSSL_OP_KEM for mssl_x25519mlkem768 (provider-kem(7)): libssl's server encapsulates for the client's share, and what that
// gives is the server's share; its client decapsulates it.
#include <openssl/core_dispatch.h>

#include <cstring>

#include "provider/group.h"
#include "provider/hybrid.h"
#include "provider/key.h"

namespace mssl::provider {
namespace {

struct Encapsulation {
    explicit Encapsulation(const Provider* of) : provider(of) {}
    const Provider* provider;
    Key* key = nullptr;                    // EVP keeps it alive
    std::shared_ptr<const Answer> answer;  // made when its length was asked for, and not taken yet
};

Encapsulation* at(void* context) { return static_cast<Encapsulation*>(context); }

void* new_context(void* provider) noexcept {
    const auto* of = static_cast<const Provider*>(provider);
    return made_by(of->errors(), [&] { return std::make_unique<Encapsulation>(of); });
}

void free_context(void* context) noexcept { delete at(context); }

int init(void* context, void* key, const OSSL_PARAM*) noexcept {
    at(context)->key = static_cast<Key*>(key);
    at(context)->answer.reset();
    return 1;
}

// Out to the caller, who has asked for the length before.
int hand_out(const Errors& errors, View bytes, unsigned char* out, std::size_t* length) {
    if (*length < bytes.size()) return errors.raise(Reason::too_large, "no room for it");
    std::memcpy(out, bytes.data(), bytes.size());
    *length = bytes.size();
    return 1;
}

int encapsulate(void* context, unsigned char* out, std::size_t* length, unsigned char* secret,
                std::size_t* secret_length) noexcept {
    Encapsulation* of = at(context);
    const Errors& errors = of->provider->errors();
    return guarded(errors, [&] {
        const auto* offer = std::get_if<std::shared_ptr<const PeerOffer>>(&of->key->part);
        if (offer == nullptr) return errors.raise(Reason::mismatch, "not the key of a client");
        if (!of->answer) {
            auto answer = Answer::make(*of->provider, *offer, {});
            if (!answer) return errors.raise(answer.error());
            of->answer = *std::move(answer);
        }
        if (out == nullptr) {
            *length = of->answer->share.size();
            *secret_length = of->answer->secret.length;
            return 1;
        }
        const std::shared_ptr<const Answer> answer = std::move(of->answer);
        return hand_out(errors, answer->share, out, length) == 1 &&
                       hand_out(errors, answer->secret.view(), secret, secret_length) == 1
                   ? 1
                   : 0;
    });
}

int decapsulate(void* context, unsigned char* out, std::size_t* length, const unsigned char* in,
                std::size_t in_length) noexcept {
    const Encapsulation* of = at(context);
    const Errors& errors = of->provider->errors();
    return guarded(errors, [&] {
        const auto* offer = std::get_if<std::shared_ptr<const Offer>>(&of->key->part);
        if (offer == nullptr) return errors.raise(Reason::mismatch, "not the key of a client");
        if (out == nullptr) {
            *length = ExchangeSecret::kMax;
            return 1;
        }
        auto answer = PeerAnswer::read(*of->provider, *offer, View(in, in_length));
        if (!answer) return errors.raise(answer.error());
        // libssl has no key of the server's in a KEM: its hello is read from the client's own.
        of->key->answered = *answer;
        return hand_out(errors, (*answer)->secret.view(), out, length);
    });
}

}  // namespace

const OSSL_ALGORITHM* key_encapsulations() noexcept {
    static const OSSL_DISPATCH functions[] = {
        {OSSL_FUNC_KEM_NEWCTX, as_function(new_context)},
        {OSSL_FUNC_KEM_FREECTX, as_function(free_context)},
        {OSSL_FUNC_KEM_ENCAPSULATE_INIT, as_function(init)},
        {OSSL_FUNC_KEM_ENCAPSULATE, as_function(encapsulate)},
        {OSSL_FUNC_KEM_DECAPSULATE_INIT, as_function(init)},
        {OSSL_FUNC_KEM_DECAPSULATE, as_function(decapsulate)},
        {0, nullptr},
    };
    static const OSSL_ALGORITHM algorithms[] = {
        {kX25519MlKem768.name, "provider=mssl", functions, "X25519MLKEM768, with membership where both sides know of it"},
        {nullptr, nullptr, nullptr, nullptr},
    };
    return hybrid_possible() ? algorithms : nullptr;
}

}  // namespace mssl::provider
