#include "provider/reason.h"

#include <cstdarg>
#include <array>

namespace mssl::provider {
namespace {

const char* text_of(Reason reason) {
    switch (reason) {
    case Reason::internal: return "internal failure";
    case Reason::bad_configuration: return "bad configuration";
    case Reason::too_large: return "too large";
    case Reason::finished: return "finished already";
    case Reason::malformed: return "malformed key share";
    case Reason::unknown_critical: return "unknown critical TLV";
    case Reason::mismatch: return "keys that do not belong together";
    case Reason::not_member: return "not a member";
    case Reason::expired: return "membership expired";
    case Reason::wrong_realm: return "member of another realm";
    case Reason::bad_uri: return "not an mssl: URI";
    case Reason::unreadable: return "cannot be read";
    case Reason::bad_parameter: return "parameter missing or of the wrong length";
    }
    return "unknown";
}

Reason reason_of(Errc code) {
    switch (code) {
    case Errc::config: return Reason::bad_configuration;
    case Errc::too_large: return Reason::too_large;
    case Errc::malformed:
    case Errc::truncated: return Reason::malformed;
    case Errc::unsupported: return Reason::unknown_critical;
    case Errc::bad_signature: return Reason::mismatch;
    case Errc::not_member: return Reason::not_member;
    case Errc::expired: return Reason::expired;
    case Errc::wrong_realm: return Reason::wrong_realm;
    case Errc::unexpected: return Reason::bad_parameter;
    default: return Reason::internal;  // what nobody but this host brings about
    }
}

}  // namespace

const OSSL_ITEM* reason_strings() noexcept {
    static constexpr std::uint32_t last = static_cast<std::uint32_t>(Reason::bad_parameter);
    static const auto table = [] {
        std::array<OSSL_ITEM, last + 1> items{};
        for (std::uint32_t i = 0; i < last; ++i)
            items[i] = {i + 1, const_cast<char*>(text_of(static_cast<Reason>(i + 1)))};
        return items;
    }();
    return table.data();
}

Errors::Errors(const OSSL_CORE_HANDLE* core, const OSSL_DISPATCH* in) noexcept : core_(core) {
    for (; in->function_id != 0; ++in) {
        switch (in->function_id) {
        case OSSL_FUNC_CORE_NEW_ERROR: new_error_ = OSSL_FUNC_core_new_error(in); break;
        case OSSL_FUNC_CORE_SET_ERROR_DEBUG: set_error_debug_ = OSSL_FUNC_core_set_error_debug(in); break;
        case OSSL_FUNC_CORE_VSET_ERROR: vset_error_ = OSSL_FUNC_core_vset_error(in); break;
        default: break;  // the core has many more functions than we call
        }
    }
}

namespace {

void set_error(OSSL_FUNC_core_vset_error_fn* vset, const OSSL_CORE_HANDLE* core, std::uint32_t reason,
               const char* format, ...) {
    std::va_list arguments;
    va_start(arguments, format);
    vset(core, reason, format, arguments);
    va_end(arguments);
}

}  // namespace

int Errors::raise(Reason reason, const char* detail, const char* file, int line, const char* function) const noexcept {
    if (new_error_ == nullptr || set_error_debug_ == nullptr || vset_error_ == nullptr) return 0;
    new_error_(core_);
    set_error_debug_(core_, file, line, function);
    const auto number = static_cast<std::uint32_t>(reason);
    if (detail != nullptr)
        set_error(vset_error_, core_, number, "%s", detail);
    else
        set_error(vset_error_, core_, number, nullptr);
    return 0;
}

int Errors::raise(const Error& error, const char* file, int line, const char* function) const noexcept {
    return raise(reason_of(error.code), error.detail.c_str(), file, line, function);
}

}  // namespace mssl::provider
