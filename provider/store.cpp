#include "provider/store.h"

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/core_object.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/store.h>

#include <algorithm>
#include <cstring>

#include "provider/provider.h"
#include "provider/small_file.h"

namespace mssl::provider {
namespace {

constexpr std::string_view kScheme = "mssl:";
// PEM of one key or certificate; ours are below 1,000 bytes.
constexpr std::size_t kMaxPemBytes = 16 * 1024;

// A file of a site's directory, as msslproxy(8) writes it.
struct Item {
    std::string_view name;  // behind # in the URI
    const char* file;
    int type;               // OSSL_OBJECT_*
    int expected_as;        // OSSL_STORE_INFO_*
    std::string_view label;  // of its PEM
};
// In this order, so that who takes the first certificate has the member's.
constexpr Item kItems[] = {
    {"member", "/member.pem", OSSL_OBJECT_CERT, OSSL_STORE_INFO_CERT, PEM_STRING_X509},
    {"key", "/member.key", OSSL_OBJECT_PKEY, OSSL_STORE_INFO_PKEY, PEM_STRING_PKCS8INF},
    {"signer", "/signer.pem", OSSL_OBJECT_CERT, OSSL_STORE_INFO_CERT, PEM_STRING_X509},
    {"realm", "/realm.pem", OSSL_OBJECT_CERT, OSSL_STORE_INFO_CERT, PEM_STRING_X509},
};

struct Opened {
    const Provider* provider;
    std::string directory;
    std::string_view only;  // name of an item; empty: all
    int expected = 0;       // OSSL_STORE_INFO_*; 0: anything
    std::size_t next = 0;   // index into kItems

    // From next on, the first that is asked for.
    void skip() {
        const auto asked = [&](const Item& item) {
            return (only.empty() || only == item.name) && (expected == 0 || expected == item.expected_as);
        };
        while (next < std::size(kItems) && !asked(kItems[next])) ++next;
    }
};

Opened* at(void* context) { return static_cast<Opened*>(context); }

void* open_uri(void* provider, const char* uri) noexcept {
    const auto* of = static_cast<const Provider*>(provider);
    return made_by(of->errors(), [&]() -> std::unique_ptr<Opened> {
        std::string_view rest = uri;
        if (!rest.starts_with(kScheme)) return nullptr;
        rest.remove_prefix(kScheme.size());
        std::string_view only;
        if (const std::size_t hash = rest.rfind('#'); hash != std::string_view::npos) {
            const Item* item = std::ranges::find(kItems, rest.substr(hash + 1), &Item::name);
            if (item == std::end(kItems)) {
                of->errors().raise(Reason::bad_uri, "behind # stands member, key, signer or realm");
                return nullptr;
            }
            only = item->name;
            rest = rest.substr(0, hash);
        }
        if (rest.empty()) {
            of->errors().raise(Reason::bad_uri, "mssl:DIRECTORY, or mssl:DIRECTORY#NAME");
            return nullptr;
        }
        return std::make_unique<Opened>(Opened{of, std::string(rest), only});
    });
}

int close_store(void* context) noexcept {
    delete at(context);
    return 1;
}

const OSSL_PARAM* settable_params(void*) noexcept {
    static const OSSL_PARAM params[] = {OSSL_PARAM_int(OSSL_STORE_PARAM_EXPECT, nullptr), OSSL_PARAM_END};
    return params;
}

int set_params(void* context, const OSSL_PARAM params[]) noexcept {
    const OSSL_PARAM* p = OSSL_PARAM_locate_const(params, OSSL_STORE_PARAM_EXPECT);
    return p == nullptr || OSSL_PARAM_get_int(p, &at(context)->expected) == 1 ? 1 : 0;
}

int ended(void* context) noexcept {
    at(context)->skip();
    return at(context)->next == std::size(kItems) ? 1 : 0;
}

// The bytes inside PEM armour, cleared when they go.
struct Der {
    unsigned char* bytes = nullptr;
    long length = 0;
    Der() = default;
    Der(const Der&) = delete;
    Der& operator=(const Der&) = delete;
    ~Der() { OPENSSL_clear_free(bytes, static_cast<std::size_t>(length)); }
};

// Whether text begins with armour of that label.
bool read_pem(View text, std::string_view label, Der& to) {
    const BioPtr bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
    char* name = nullptr;
    char* header = nullptr;
    const bool read = bio && PEM_read_bio(bio.get(), &name, &header, &to.bytes, &to.length) == 1;
    const bool right = read && label == name;
    OPENSSL_free(name);
    OPENSSL_free(header);
    return right;
}

int give(const Opened& from, const Item& item, OSSL_CALLBACK* callback, void* argument) {
    const Errors& errors = from.provider->errors();
    const std::string path = from.directory + item.file;
    const Result<FileBytes> text = read_small_file(path, kMaxPemBytes);
    if (!text) return errors.raise(Reason::unreadable, text.error().detail.c_str());
    Der der;
    if (!read_pem(text->view(), item.label, der))
        return errors.raise(Reason::unreadable, (path + ": no PEM with the label " + std::string(item.label)).c_str());
    int type = item.type;
    // PKCS #8, as msslproxy writes it; libcrypto makes a key of it by its own decoders.
    char structure[] = "PrivateKeyInfo";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_int(OSSL_OBJECT_PARAM_TYPE, &type),
        OSSL_PARAM_construct_octet_string(OSSL_OBJECT_PARAM_DATA, der.bytes, static_cast<std::size_t>(der.length)),
        OSSL_PARAM_construct_end(),
        OSSL_PARAM_construct_end(),
    };
    if (type == OSSL_OBJECT_PKEY) params[2] = OSSL_PARAM_construct_utf8_string(OSSL_OBJECT_PARAM_DATA_STRUCTURE, structure, 0);
    return callback(params, argument);
}

int load(void* context, OSSL_CALLBACK* callback, void* argument, OSSL_PASSPHRASE_CALLBACK*, void*) noexcept {
    Opened* from = at(context);
    return guarded(from->provider->errors(), [&] {
        from->skip();
        if (from->next == std::size(kItems)) return 0;
        // What cannot be read is passed over by who asks again.
        return give(*from, kItems[from->next++], callback, argument);
    });
}

}  // namespace

const OSSL_ALGORITHM* stores() noexcept {
    static const OSSL_DISPATCH functions[] = {
        {OSSL_FUNC_STORE_OPEN, as_function(open_uri)},
        {OSSL_FUNC_STORE_SETTABLE_CTX_PARAMS, as_function(settable_params)},
        {OSSL_FUNC_STORE_SET_CTX_PARAMS, as_function(set_params)},
        {OSSL_FUNC_STORE_LOAD, as_function(load)},
        {OSSL_FUNC_STORE_EOF, as_function(ended)},
        {OSSL_FUNC_STORE_CLOSE, as_function(close_store)},
        {0, nullptr},
    };
    static const OSSL_ALGORITHM algorithms[] = {
        {"mssl", "provider=mssl", functions, "What a client of mSSL keeps of a site"},
        {nullptr, nullptr, nullptr, nullptr},
    };
    return algorithms;
}

}  // namespace mssl::provider
