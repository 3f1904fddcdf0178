// Structured log lines to standard error or a file: level, event, then key=value. The only user of spdlog.
//
//     log::info("transfer done", {{"object", id.hex()}, {"bytes_server", n}, …});
//
// Never given secrets, Authorization or Cookie values; URLs go through redact(). Thread rules: any thread.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

#include "protocol/result.h"

namespace mssl::proxy::log {

enum class Level : std::uint8_t { debug, info, warning, error };

struct Value {
    std::string text;
    Value(std::string_view s) : text(s) {}
    Value(const char* s) : text(s) {}
    Value(const std::string& s) : text(s) {}
    Value(bool b) : text(b ? "true" : "false") {}
    template <class T>
        requires std::is_arithmetic_v<T>
    Value(T n) : text(std::to_string(n)) {}
};
struct Field {
    std::string_view key;
    Value value;
};
using FieldList = std::initializer_list<Field>;

// file empty: standard error. Called once before threads start, and again on reload.
Status configure(Level level, const std::string& file);
// USR1: closes and opens the file again (rotation).
void reopen();

void write(Level level, std::string_view event, FieldList fields);
inline void debug(std::string_view event, FieldList f = {}) { write(Level::debug, event, f); }
inline void info(std::string_view event, FieldList f = {}) { write(Level::info, event, f); }
inline void warning(std::string_view event, FieldList f = {}) { write(Level::warning, event, f); }
inline void error(std::string_view event, FieldList f = {}) { write(Level::error, event, f); }

// The URL without its query ("?…" when there was one) and without user info.
std::string redact(std::string_view url);

}  // namespace mssl::proxy::log
