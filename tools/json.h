// JSON as the tools need it. json.cpp is the only file that knows the library.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "protocol/result.h"

namespace mssl::tools {

// A JSON value. Objects keep the order in which their members were put in.
class Json {
public:
    using Array = std::vector<Json>;
    using Object = std::vector<std::pair<std::string, Json>>;

    Json() = default;  // null
    Json(bool value) : value_(value) {}
    Json(std::uint64_t value) : value_(value) {}
    Json(std::int64_t value) : value_(value) {}
    Json(std::uint32_t value) : value_(std::uint64_t{value}) {}
    Json(double value) : value_(value) {}
    Json(std::string value) : value_(std::move(value)) {}
    Json(const char* value) : value_(std::string(value)) {}
    Json(Array value) : value_(std::move(value)) {}
    Json(Object value) : value_(std::move(value)) {}
    static Json object() { return Object{}; }

    // At most 64 MiB and 64 levels deep; malformed otherwise, with where.
    static Result<Json> parse(std::string_view text);
    // indent 0: on one line. Bytes that are not UTF-8 become U+FFFD.
    std::string dump(int indent) const;

    // The member; null when this is no object or has none. The lookups below never fail: what is not there, or of
    // another type, reads as empty, because the other end may be newer or older than this program.
    const Json& operator[](std::string_view key) const;
    void put(std::string key, Json value);  // only on an object

    bool is_object() const { return std::holds_alternative<Object>(value_); }
    bool is_string() const { return std::holds_alternative<std::string>(value_); }
    const Array& items() const;
    const Object& members() const;
    std::string_view text() const;
    std::uint64_t number() const;  // 0 for what is negative; fractions are cut
    double real() const;
    bool truth() const;
    // A scalar as a person reads it; containers give dump(0).
    std::string plain() const;

    const auto& value() const { return value_; }

private:
    std::variant<std::monostate, bool, std::uint64_t, std::int64_t, double, std::string, Array, Object> value_;
};

}  // namespace mssl::tools
