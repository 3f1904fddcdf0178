// A TOML file as a tree of values that know where they stand. The only user of toml++; its exceptions end here.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "protocol/result.h"

namespace mssl::proxy {

struct TomlPosition {
    std::string file;
    std::uint32_t line = 0, column = 0;  // from 1
    std::string to_string() const;       // "file:line:column"
};

struct TomlValue;
struct TomlMember;

struct TomlValue {
    enum class Kind : std::uint8_t { table, array, string, integer, floating, boolean, date_or_time };
    Kind kind = Kind::table;
    TomlPosition at;
    std::string text;                 // string
    std::int64_t number = 0;          // integer
    bool flag = false;                // boolean
    std::vector<TomlValue> items;     // array
    std::vector<TomlMember> members;  // table, in the file's order

    TomlMember* find(std::string_view key);
    const TomlMember* find(std::string_view key) const;
    // For error messages: `string "abc"`, `integer 5`, `a table`. Strings are cut after 60 bytes.
    std::string describe() const;
};

struct TomlMember {
    std::string key;
    TomlPosition at;  // of the key
    TomlValue value;
};

// The root table. Errors: config, detail "file:line:column: …"; a file that cannot be read has line and column 0 left out.
Result<TomlValue> parse_toml_file(const std::string& path);
Result<TomlValue> parse_toml(std::string_view text, const std::string& file_name);

}  // namespace mssl::proxy
