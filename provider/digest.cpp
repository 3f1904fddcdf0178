#include "provider/digest.h"

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/params.h>

#include <optional>

#include "protocol/tree_builder.h"
#include "provider/provider.h"

namespace mssl::provider {
namespace {

// HMAC pads its key to the block size; there is no reason to make it another than SHA-256's.
constexpr std::size_t kShaBlockBytes = 64;

struct Digest {
    explicit Digest(const Provider* of) : provider(of) {}
    const Provider* provider;
    std::optional<TreeBuilder> builder;  // empty before init and after final
};

void* new_context(void* provider) noexcept {
    const auto* of = static_cast<const Provider*>(provider);
    return made_by(of->errors(), [&] { return std::make_unique<Digest>(of); });
}

void free_context(void* context) noexcept { delete static_cast<Digest*>(context); }

void* duplicate(void* context) noexcept {
    const auto* from = static_cast<const Digest*>(context);
    return made_by(from->provider->errors(), [&] { return std::make_unique<Digest>(*from); });
}

int init(void* context, const OSSL_PARAM*) noexcept {
    auto* digest = static_cast<Digest*>(context);
    return guarded(digest->provider->errors(), [&] {
        // The root does not depend on the size of blocks, and the largest need the fewest nodes.
        digest->builder.emplace(kMaxBlockBytes);
        return 1;
    });
}

int update(void* context, const unsigned char* in, std::size_t length) noexcept {
    auto* digest = static_cast<Digest*>(context);
    const Errors& errors = digest->provider->errors();
    if (!digest->builder) return errors.raise(Reason::finished);
    if (length > kMaxObjectBytes - digest->builder->length())
        return errors.raise(Reason::too_large, "an object has at most 2^48 bytes");
    return guarded(errors, [&] {
        digest->builder->feed(View(in, length));
        return 1;
    });
}

int final(void* context, unsigned char* out, std::size_t* length, std::size_t room) noexcept {
    auto* digest = static_cast<Digest*>(context);
    const Errors& errors = digest->provider->errors();
    *length = 0;
    if (!digest->builder) return errors.raise(Reason::finished);
    if (room < Hash::size) return errors.raise(Reason::too_large, "no room for the root");
    return guarded(errors, [&] {
        digest->builder->finish();
        const Hash root = digest->builder->tree().root();
        digest->builder.reset();
        std::memcpy(out, root.bytes.data(), Hash::size);
        *length = Hash::size;
        return 1;
    });
}

const OSSL_PARAM* gettable_params(void*) noexcept {
    static const OSSL_PARAM params[] = {
        OSSL_PARAM_size_t(OSSL_DIGEST_PARAM_BLOCK_SIZE, nullptr),
        OSSL_PARAM_size_t(OSSL_DIGEST_PARAM_SIZE, nullptr),
        OSSL_PARAM_int(OSSL_DIGEST_PARAM_XOF, nullptr),
        OSSL_PARAM_int(OSSL_DIGEST_PARAM_ALGID_ABSENT, nullptr),
        OSSL_PARAM_END,
    };
    return params;
}

int get_params(OSSL_PARAM params[]) noexcept {
    OSSL_PARAM* p = OSSL_PARAM_locate(params, OSSL_DIGEST_PARAM_BLOCK_SIZE);
    if (p != nullptr && OSSL_PARAM_set_size_t(p, kShaBlockBytes) != 1) return 0;
    p = OSSL_PARAM_locate(params, OSSL_DIGEST_PARAM_SIZE);
    if (p != nullptr && OSSL_PARAM_set_size_t(p, Hash::size) != 1) return 0;
    p = OSSL_PARAM_locate(params, OSSL_DIGEST_PARAM_XOF);
    if (p != nullptr && OSSL_PARAM_set_int(p, 0) != 1) return 0;
    p = OSSL_PARAM_locate(params, OSSL_DIGEST_PARAM_ALGID_ABSENT);
    return p == nullptr || OSSL_PARAM_set_int(p, 1) == 1 ? 1 : 0;
}

}  // namespace

const OSSL_ALGORITHM* digests() noexcept {
    static const OSSL_DISPATCH functions[] = {
        {OSSL_FUNC_DIGEST_NEWCTX, as_function(new_context)},
        {OSSL_FUNC_DIGEST_FREECTX, as_function(free_context)},
        {OSSL_FUNC_DIGEST_DUPCTX, as_function(duplicate)},
        {OSSL_FUNC_DIGEST_INIT, as_function(init)},
        {OSSL_FUNC_DIGEST_UPDATE, as_function(update)},
        {OSSL_FUNC_DIGEST_FINAL, as_function(final)},
        {OSSL_FUNC_DIGEST_GETTABLE_PARAMS, as_function(gettable_params)},
        {OSSL_FUNC_DIGEST_GET_PARAMS, as_function(get_params)},
        {0, nullptr},
    };
    static const OSSL_ALGORITHM algorithms[] = {
        {"MSSL-MERKLE-SHA256:mssl-merkle", "provider=mssl", functions, "Merkle root of RFC 9162, leaves of 32 KiB"},
        {nullptr, nullptr, nullptr, nullptr},
    };
    return algorithms;
}

}  // namespace mssl::provider
