// OSSL_OP_KEYMGMT for our groups (provider-keymgmt(7)). Where a function is not told which, its template is.
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/params.h>

#include <cstring>

#include "provider/group.h"
#include "provider/hybrid.h"
#include "provider/key.h"

namespace mssl::provider {
namespace {

// What an application that knows of us may read of a key (provider-mssl(7), FOR APPLICATIONS).
constexpr const char* kHelloParam = "mssl-hello";
constexpr const char* kMemberParam = "mssl-member";
// … and add to its own, if it generates keys by EVP itself: libssl lets nobody at the context of a key share.
constexpr const char* kFurtherParam = "mssl-tlvs";

Key* key_at(void* p) { return static_cast<Key*>(p); }
const Key* key_at(const void* p) { return static_cast<const Key*>(p); }

template <const Group& group>
void* new_key(void* provider) noexcept {
    const auto* of = static_cast<const Provider*>(provider);
    return made_by(of->errors(), [&] { return std::make_unique<Key>(of, &group); });
}

void free_key(void* key) noexcept { delete key_at(key); }

void* duplicate(const void* from, int selection) noexcept {
    const Key* key = key_at(from);
    return made_by(key->provider->errors(), [&] {
        // A public half alone has no use that the peer's own key does not have.
        const bool whole = (selection & OSSL_KEYMGMT_SELECT_KEYPAIR) != 0;
        auto copy = std::make_unique<Key>(key->provider, key->group, whole ? key->part : Key::Part(key->parameters()));
        if (whole) copy->answered = key->answered;
        return copy;
    });
}

// EVP also asks of a key that there is not yet.
int has(const void* from, int selection) noexcept {
    if (from == nullptr) return 0;
    const Key* key = key_at(from);
    if ((selection & OSSL_KEYMGMT_SELECT_PUBLIC_KEY) != 0 && key->share().empty()) return 0;
    return (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) == 0 || key->is_private() ? 1 : 0;
}

int match(const void* a, const void* b, int selection) noexcept {
    if ((selection & OSSL_KEYMGMT_SELECT_KEYPAIR) == 0) return 1;
    const View one = key_at(a)->share();
    const View other = key_at(b)->share();
    return !one.empty() && one.size() == other.size() && std::memcmp(one.data(), other.data(), one.size()) == 0 ? 1 : 0;
}

// A share was checked when it came in; without one there is nothing to check.
int validate(const void* key, int selection, int) noexcept { return has(key, selection); }

// ── Reading and setting ──

const OSSL_PARAM* gettable_params(void*) noexcept {
    static const OSSL_PARAM params[] = {
        OSSL_PARAM_int(OSSL_PKEY_PARAM_BITS, nullptr),
        OSSL_PARAM_int(OSSL_PKEY_PARAM_SECURITY_BITS, nullptr),
        OSSL_PARAM_int(OSSL_PKEY_PARAM_MAX_SIZE, nullptr),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, nullptr, 0),
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, nullptr, 0),
        OSSL_PARAM_octet_string(kHelloParam, nullptr, 0),
        OSSL_PARAM_octet_string(kMemberParam, nullptr, 0),
        OSSL_PARAM_END,
    };
    return params;
}

bool set_number(OSSL_PARAM params[], const char* key, int value) {
    OSSL_PARAM* p = OSSL_PARAM_locate(params, key);
    return p == nullptr || OSSL_PARAM_set_int(p, value) == 1;
}

// Nothing to say is no octets, not another parameter's: the caller sees that this one was not set.
bool set_octets(OSSL_PARAM params[], const char* key, View value) {
    OSSL_PARAM* p = OSSL_PARAM_locate(params, key);
    return p == nullptr || value.empty() || OSSL_PARAM_set_octet_string(p, value.data(), value.size()) == 1;
}

// As keymgmt's page has it: of what an operation with this key puts out.
int max_size(const Key& key) {
    return key.group->is_kem ? static_cast<int>(key.group->share->server_public + kMaxTlvBytes + kSealBytes)
                             : key.group->secret_bytes;
}

int get_params(void* from, OSSL_PARAM params[]) noexcept {
    const Key* key = key_at(from);
    return guarded(key->provider->errors(), [&] {
        OSSL_PARAM* group = OSSL_PARAM_locate(params, OSSL_PKEY_PARAM_GROUP_NAME);
        Writer hello;
        if (const ShareTlvs* tlvs = key->tlvs(); tlvs != nullptr && tlvs->hello) put_hello(hello, *tlvs->hello);
        const Membership* membership = key->membership();
        return set_number(params, OSSL_PKEY_PARAM_BITS, key->group->bits) &&
                       set_number(params, OSSL_PKEY_PARAM_SECURITY_BITS, key->group->security_bits) &&
                       set_number(params, OSSL_PKEY_PARAM_MAX_SIZE, max_size(*key)) &&
                       (group == nullptr || OSSL_PARAM_set_utf8_string(group, key->group->share->name) == 1) &&
                       set_octets(params, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, key->share()) &&
                       set_octets(params, kHelloParam, hello.view()) &&
                       set_octets(params, kMemberParam, membership != nullptr ? membership->serial.view() : View())
                   ? 1
                   : 0;
    });
}

const OSSL_PARAM* settable_params(void*) noexcept {
    static const OSSL_PARAM params[] = {
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, nullptr, 0),
        OSSL_PARAM_END,
    };
    return params;
}

// The peer's share.
int set_share(Key& key, View share) {
    const Errors& errors = key.provider->errors();
    const Parameters* parameters = std::get_if<Parameters>(&key.part);
    if (parameters == nullptr) return errors.raise(Reason::finished, "a key has one share");
    if (parameters->of) {
        auto answer = PeerAnswer::read(*key.provider, parameters->of, share);
        if (!answer) return errors.raise(answer.error());
        key.part = *std::move(answer);
    } else {
        auto offer = PeerOffer::read(*key.provider, *key.group, share);
        if (!offer) return errors.raise(offer.error());
        key.part = *std::move(offer);
    }
    return 1;
}

int set_params(void* to, const OSSL_PARAM params[]) noexcept {
    Key* key = key_at(to);
    const OSSL_PARAM* p = OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY);
    if (p == nullptr) return 1;
    const void* data = nullptr;
    std::size_t length = 0;
    if (OSSL_PARAM_get_octet_string_ptr(p, &data, &length) != 1) return 0;
    return guarded(key->provider->errors(),
                   [&] { return set_share(*key, View(static_cast<const std::uint8_t*>(data), length)); });
}

// ── Generating ──

struct Generation {
    const Provider* provider;
    const Group* group;
    int selection;
    std::shared_ptr<const PeerOffer> answered;  // set: the server's side
    Bytes further;
};

int generation_set_params(void* context, const OSSL_PARAM params[]) noexcept {
    auto* generation = static_cast<Generation*>(context);
    const Errors& errors = generation->provider->errors();
    return guarded(errors, [&] {
        const OSSL_PARAM* group = OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_GROUP_NAME);
        const char* name = nullptr;
        if (group != nullptr &&
            (OSSL_PARAM_get_utf8_string_ptr(group, &name) != 1 || std::strcmp(name, generation->group->share->name) != 0))
            return errors.raise(Reason::mismatch, "the group of another key");
        const OSSL_PARAM* further = OSSL_PARAM_locate_const(params, kFurtherParam);
        if (further == nullptr) return 1;
        const void* data = nullptr;
        std::size_t length = 0;
        if (OSSL_PARAM_get_octet_string_ptr(further, &data, &length) != 1) return 0;
        if (length > kMaxFurtherTlvBytes) return errors.raise(Reason::too_large, "mssl-tlvs");
        const auto* bytes = static_cast<const std::uint8_t*>(data);
        generation->further.assign(bytes, bytes + length);
        return 1;
    });
}

const OSSL_PARAM* generation_settable_params(void*, void*) noexcept {
    static const OSSL_PARAM params[] = {
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, nullptr, 0),
        OSSL_PARAM_octet_string(kFurtherParam, nullptr, 0),
        OSSL_PARAM_END,
    };
    return params;
}

void generation_cleanup(void* context) noexcept { delete static_cast<Generation*>(context); }

template <const Group& group>
void* generation_init(void* provider, int selection, const OSSL_PARAM params[]) noexcept {
    const auto* of = static_cast<const Provider*>(provider);
    return made_by(of->errors(), [&] {
        auto generation = std::make_unique<Generation>(Generation{of, &group, selection, nullptr, {}});
        if (params != nullptr && generation_set_params(generation.get(), params) != 1) generation.reset();
        return generation;
    });
}

// libssl's server generates its key with the client's as template: so the answer can depend on the offer.
int generation_set_template(void* context, void* from) noexcept {
    auto* generation = static_cast<Generation*>(context);
    if (const auto* offer = std::get_if<std::shared_ptr<const PeerOffer>>(&key_at(from)->part))
        generation->answered = *offer;
    return 1;
}

void* generate(void* context, OSSL_CALLBACK*, void*) noexcept {
    const auto* generation = static_cast<const Generation*>(context);
    const Provider* of = generation->provider;
    return made_by(of->errors(), [&]() -> std::unique_ptr<Key> {
        if ((generation->selection & OSSL_KEYMGMT_SELECT_KEYPAIR) == 0) return std::make_unique<Key>(of, generation->group);
        if (generation->answered) {
            auto answer = Answer::make(*of, generation->answered, generation->further);
            if (answer) return std::make_unique<Key>(of, generation->group, *std::move(answer));
            of->errors().raise(answer.error());
            return nullptr;
        }
        auto offer = Offer::make(*of, *generation->group, generation->further);
        if (offer) return std::make_unique<Key>(of, generation->group, *std::move(offer));
        of->errors().raise(offer.error());
        return nullptr;
    });
}

template <const Group& group>
const OSSL_DISPATCH* functions() {
    static const OSSL_DISPATCH table[] = {
        {OSSL_FUNC_KEYMGMT_NEW, as_function(new_key<group>)},
        {OSSL_FUNC_KEYMGMT_FREE, as_function(free_key)},
        {OSSL_FUNC_KEYMGMT_DUP, as_function(duplicate)},
        {OSSL_FUNC_KEYMGMT_HAS, as_function(has)},
        {OSSL_FUNC_KEYMGMT_MATCH, as_function(match)},
        {OSSL_FUNC_KEYMGMT_VALIDATE, as_function(validate)},
        {OSSL_FUNC_KEYMGMT_GETTABLE_PARAMS, as_function(gettable_params)},
        {OSSL_FUNC_KEYMGMT_GET_PARAMS, as_function(get_params)},
        {OSSL_FUNC_KEYMGMT_SETTABLE_PARAMS, as_function(settable_params)},
        {OSSL_FUNC_KEYMGMT_SET_PARAMS, as_function(set_params)},
        {OSSL_FUNC_KEYMGMT_GEN_INIT, as_function(generation_init<group>)},
        {OSSL_FUNC_KEYMGMT_GEN_SET_TEMPLATE, as_function(generation_set_template)},
        {OSSL_FUNC_KEYMGMT_GEN_SETTABLE_PARAMS, as_function(generation_settable_params)},
        {OSSL_FUNC_KEYMGMT_GEN_SET_PARAMS, as_function(generation_set_params)},
        {OSSL_FUNC_KEYMGMT_GEN, as_function(generate)},
        {OSSL_FUNC_KEYMGMT_GEN_CLEANUP, as_function(generation_cleanup)},
        {0, nullptr},
    };
    return table;
}

}  // namespace

const OSSL_ALGORITHM* key_managements() noexcept {
    constexpr OSSL_ALGORITHM end{nullptr, nullptr, nullptr, nullptr};
    static const OSSL_ALGORITHM algorithms[] = {
        {kX25519.name, "provider=mssl", functions<kX25519Keys>(), "X25519 key shares that carry the mSSL hello"},
        hybrid_possible() ? OSSL_ALGORITHM{kX25519MlKem768.name, "provider=mssl", functions<kHybridKeys>(),
                                           "X25519MLKEM768 key shares that carry the mSSL hello"}
                          : end,
        end,
    };
    return algorithms;
}

}  // namespace mssl::provider
