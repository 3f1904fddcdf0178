#include "provider/kdf.h"

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/params.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "protocol/seal_key.h"
#include "provider/provider.h"

namespace mssl::provider {
namespace {

enum class Mode : std::uint8_t { seal_secret, block_key };

// What was set so far (provider-mssl(7), KEY DERIVATION).
struct Inputs {
    std::optional<Mode> mode;
    std::optional<Secret> key;
    std::optional<MemberId> member;
    std::optional<MemberSerial> serial;
    std::optional<GrantId> grant;
    std::optional<ObjectId> object;
    std::optional<BlockIndex> block;
};

struct Derivation {
    explicit Derivation(const Provider* of) : provider(of) {}
    const Provider* provider;
    Inputs in;
};

Derivation* at(void* context) { return static_cast<Derivation*>(context); }

void* new_context(void* provider) noexcept {
    const auto* of = static_cast<const Provider*>(provider);
    return made_by(of->errors(), [&] { return std::make_unique<Derivation>(of); });
}

void free_context(void* context) noexcept { delete at(context); }

void* duplicate(void* context) noexcept {
    const Derivation* from = at(context);
    return made_by(from->provider->errors(), [&] { return std::make_unique<Derivation>(*from); });
}

void reset(void* context) noexcept { at(context)->in = Inputs(); }

constexpr const char* kMember = "member";
constexpr const char* kSerial = "serial";
constexpr const char* kGrant = "grant";
constexpr const char* kObject = "object";
constexpr const char* kBlock = "block";

const OSSL_PARAM* settable_params(void*, void*) noexcept {
    static const OSSL_PARAM params[] = {
        OSSL_PARAM_utf8_string(OSSL_KDF_PARAM_MODE, nullptr, 0), OSSL_PARAM_octet_string(OSSL_KDF_PARAM_KEY, nullptr, 0),
        OSSL_PARAM_octet_string(kMember, nullptr, 0),            OSSL_PARAM_octet_string(kSerial, nullptr, 0),
        OSSL_PARAM_octet_string(kGrant, nullptr, 0),             OSSL_PARAM_octet_string(kObject, nullptr, 0),
        OSSL_PARAM_uint32(kBlock, nullptr),                      OSSL_PARAM_END,
    };
    return params;
}

// Each of these leaves out what was not given, and returns whether what was given is good.
int set_mode(Derivation& to, const OSSL_PARAM params[]) {
    const OSSL_PARAM* p = OSSL_PARAM_locate_const(params, OSSL_KDF_PARAM_MODE);
    if (p == nullptr) return 1;
    const char* name = nullptr;
    if (OSSL_PARAM_get_utf8_string_ptr(p, &name) != 1 || name == nullptr) return 0;
    if (std::strcmp(name, "seal-secret") == 0)
        to.in.mode = Mode::seal_secret;
    else if (std::strcmp(name, "block-key") == 0)
        to.in.mode = Mode::block_key;
    else
        return to.provider->errors().raise(Reason::bad_parameter, "mode: seal-secret or block-key");
    return 1;
}

template <class Bytes>
int set_bytes(const Errors& errors, std::optional<Bytes>& to, const OSSL_PARAM params[], const char* name) {
    const OSSL_PARAM* p = OSSL_PARAM_locate_const(params, name);
    if (p == nullptr) return 1;
    const void* data = nullptr;
    std::size_t length = 0;
    if (OSSL_PARAM_get_octet_string_ptr(p, &data, &length) != 1) return 0;
    if (length != Bytes::size) {
        const std::string detail = std::string(name) + ": " + std::to_string(Bytes::size) + " bytes";
        return errors.raise(Reason::bad_parameter, detail.c_str());
    }
    to.emplace();
    std::copy_n(static_cast<const std::uint8_t*>(data), length, to->bytes.begin());
    return 1;
}

int set_block(Derivation& to, const OSSL_PARAM params[]) {
    const OSSL_PARAM* p = OSSL_PARAM_locate_const(params, kBlock);
    if (p == nullptr) return 1;
    std::uint32_t index = 0;
    if (OSSL_PARAM_get_uint32(p, &index) != 1)
        return to.provider->errors().raise(Reason::bad_parameter, "block: a number below 2^32");
    to.in.block = BlockIndex{index};
    return 1;
}

int set_params(void* context, const OSSL_PARAM params[]) noexcept {
    if (params == nullptr) return 1;
    Derivation* to = at(context);
    const Errors& errors = to->provider->errors();
    return guarded(errors, [&] {
        return set_mode(*to, params) && set_bytes(errors, to->in.key, params, OSSL_KDF_PARAM_KEY) &&
                       set_bytes(errors, to->in.member, params, kMember) &&
                       set_bytes(errors, to->in.serial, params, kSerial) &&
                       set_bytes(errors, to->in.grant, params, kGrant) &&
                       set_bytes(errors, to->in.object, params, kObject) && set_block(*to, params)
                   ? 1
                   : 0;
    });
}

Result<Secret> derived(const Sealing& sealing, const Inputs& in) {
    if (!in.mode || !in.key) return fail(Errc::unexpected, "mode and key");
    switch (*in.mode) {
    case Mode::seal_secret:
        if (!in.member || !in.serial) return fail(Errc::unexpected, "member and serial");
        return seal_secret(sealing, *in.key, *in.member, *in.serial);
    case Mode::block_key:
        if (!in.member || !in.grant || !in.object || !in.block) return fail(Errc::unexpected, "member, grant, object and block");
        return block_key(sealing, *in.key, {*in.member, *in.grant, *in.object, *in.block});
    }
    return fail(Errc::internal, "mode");
}

int derive(void* context, unsigned char* key, std::size_t length, const OSSL_PARAM params[]) noexcept {
    if (set_params(context, params) != 1) return 0;
    const Derivation* from = at(context);
    const Errors& errors = from->provider->errors();
    return guarded(errors, [&] {
        if (length != Secret::size) return errors.raise(Reason::bad_parameter, "a key of another length than 32 bytes");
        const Result<const Sealing*> sealing = from->provider->sealing();
        if (!sealing) return errors.raise(sealing.error());
        const Result<Secret> secret = derived(**sealing, from->in);
        if (!secret) return errors.raise(secret.error());
        std::memcpy(key, secret->bytes.data(), Secret::size);
        return 1;
    });
}

const OSSL_PARAM* gettable_params(void*, void*) noexcept {
    static const OSSL_PARAM params[] = {OSSL_PARAM_size_t(OSSL_KDF_PARAM_SIZE, nullptr), OSSL_PARAM_END};
    return params;
}

int get_params(void*, OSSL_PARAM params[]) noexcept {
    OSSL_PARAM* p = OSSL_PARAM_locate(params, OSSL_KDF_PARAM_SIZE);
    return p == nullptr || OSSL_PARAM_set_size_t(p, Secret::size) == 1 ? 1 : 0;
}

}  // namespace

const OSSL_ALGORITHM* key_derivations() noexcept {
    static const OSSL_DISPATCH functions[] = {
        {OSSL_FUNC_KDF_NEWCTX, as_function(new_context)},
        {OSSL_FUNC_KDF_FREECTX, as_function(free_context)},
        {OSSL_FUNC_KDF_DUPCTX, as_function(duplicate)},
        {OSSL_FUNC_KDF_RESET, as_function(reset)},
        {OSSL_FUNC_KDF_DERIVE, as_function(derive)},
        {OSSL_FUNC_KDF_SETTABLE_CTX_PARAMS, as_function(settable_params)},
        {OSSL_FUNC_KDF_SET_CTX_PARAMS, as_function(set_params)},
        {OSSL_FUNC_KDF_GETTABLE_CTX_PARAMS, as_function(gettable_params)},
        {OSSL_FUNC_KDF_GET_CTX_PARAMS, as_function(get_params)},
        {0, nullptr},
    };
    static const OSSL_ALGORITHM algorithms[] = {
        {"MSSL-KDF", "provider=mssl", functions, "Keys under which blocks are sealed"},
        {nullptr, nullptr, nullptr, nullptr},
    };
    return algorithms;
}

}  // namespace mssl::provider
