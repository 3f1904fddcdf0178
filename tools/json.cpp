#include "tools/json.h"

#include <nlohmann/json.hpp>

#include <cmath>

namespace mssl::tools {
namespace {

using Library = nlohmann::ordered_json;

constexpr std::size_t kMaxBytes = std::size_t{64} << 20;  // far beyond any status page
constexpr int kMaxDepth = 64;

Json from_library(const Library& from) {
    switch (from.type()) {
    case Library::value_t::boolean: return from.get<bool>();
    case Library::value_t::number_unsigned: return from.get<std::uint64_t>();
    case Library::value_t::number_integer: return from.get<std::int64_t>();
    case Library::value_t::number_float: return from.get<double>();
    case Library::value_t::string: return from.get<std::string>();
    case Library::value_t::array: {
        Json::Array out;
        for (const Library& item : from) out.push_back(from_library(item));
        return out;
    }
    case Library::value_t::object: {
        Json::Object out;
        for (const auto& [key, value] : from.items()) out.emplace_back(key, from_library(value));
        return out;
    }
    case Library::value_t::null:
    case Library::value_t::binary:
    case Library::value_t::discarded: break;
    }
    return {};
}

Library to_library(const Json& from) {
    return std::visit(
        [](const auto& value) -> Library {
            using T = std::decay_t<decltype(value)>;
            if constexpr (std::is_same_v<T, std::monostate>) {
                return nullptr;
            } else if constexpr (std::is_same_v<T, Json::Array>) {
                Library out = Library::array();
                for (const Json& item : value) out.push_back(to_library(item));
                return out;
            } else if constexpr (std::is_same_v<T, Json::Object>) {
                Library out = Library::object();
                for (const auto& [key, item] : value) out[key] = to_library(item);
                return out;
            } else {
                return value;
            }
        },
        from.value());
}

}  // namespace

Result<Json> Json::parse(std::string_view text) {
    if (text.size() > kMaxBytes) return fail(Errc::too_large, "JSON beyond 64 MiB");
    bool too_deep = false;
    const auto watch = [&](int depth, Library::parse_event_t, Library&) {
        too_deep = too_deep || depth > kMaxDepth;
        return !too_deep;
    };
    try {
        const Library parsed = Library::parse(text.begin(), text.end(), watch);
        if (too_deep) return fail(Errc::malformed, "JSON deeper than 64 levels");
        return from_library(parsed);
    } catch (const std::exception& e) {
        return fail(Errc::malformed, e.what());
    }
}

std::string Json::dump(int indent) const {
    return to_library(*this).dump(indent > 0 ? indent : -1, ' ', false, Library::error_handler_t::replace);
}

const Json& Json::operator[](std::string_view key) const {
    static const Json nothing;
    for (const auto& [name, value] : members())
        if (name == key) return value;
    return nothing;
}

void Json::put(std::string key, Json value) { std::get<Object>(value_).emplace_back(std::move(key), std::move(value)); }

const Json::Array& Json::items() const {
    static const Array none;
    const auto* array = std::get_if<Array>(&value_);
    return array != nullptr ? *array : none;
}

const Json::Object& Json::members() const {
    static const Object none;
    const auto* object = std::get_if<Object>(&value_);
    return object != nullptr ? *object : none;
}

std::string_view Json::text() const {
    const auto* text = std::get_if<std::string>(&value_);
    return text != nullptr ? std::string_view(*text) : std::string_view();
}

std::uint64_t Json::number() const {
    if (const auto* n = std::get_if<std::uint64_t>(&value_)) return *n;
    if (const auto* n = std::get_if<std::int64_t>(&value_)) return *n > 0 ? static_cast<std::uint64_t>(*n) : 0;
    if (const auto* n = std::get_if<double>(&value_))
        return *n > 0 && *n < 1.8e19 ? static_cast<std::uint64_t>(*n) : 0;
    return 0;
}

double Json::real() const {
    if (const auto* n = std::get_if<double>(&value_)) return std::isfinite(*n) ? *n : 0;
    if (const auto* n = std::get_if<std::int64_t>(&value_)) return static_cast<double>(*n);
    return static_cast<double>(number());
}

bool Json::truth() const {
    const auto* truth = std::get_if<bool>(&value_);
    return truth != nullptr && *truth;
}

std::string Json::plain() const { return is_string() ? std::string(text()) : dump(0); }

}  // namespace mssl::tools
