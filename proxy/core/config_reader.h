// Reads one table of the configuration: typed keys with positions in every error, and nothing left unread unnoticed.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/core/net.h"
#include "proxy/core/toml.h"

namespace mssl::proxy {

// What went wrong first, in the order of reading. Later errors often follow from it.
class FirstError {
public:
    void set(const TomlPosition& at, const std::string& text);
    bool failed() const { return error_.has_value(); }
    const Error& get() const { return *error_; }

private:
    std::optional<Error> error_;
};

// A key is known once it was asked for; finish() complains about the others and about what is missing. A getter leaves its target alone when the key
// is missing or an error was found before.
class ConfigSection {
public:
    // name as a person writes it: "[server]". table null: the section is not there, and every key is missing.
    ConfigSection(std::string name, const TomlValue* table, FirstError& errors, std::string directory);

    bool present() const { return table_ != nullptr; }
    const TomlPosition& at() const { return at_; }
    // Where the key's value stands, else the section.
    const TomlPosition& at(std::string_view key) const;
    bool has(std::string_view key) const;
    void error(std::string_view key, const std::string& text);

    void string(std::string_view key, std::string& out);
    void strings(std::string_view key, std::vector<std::string>& out);  // a string or an array of strings
    void boolean(std::string_view key, bool& out);
    void integer(std::string_view key, std::uint64_t least, std::uint64_t most, std::uint64_t& out);
    void size(std::string_view key, std::uint64_t least, std::uint64_t& out);
    void rate(std::string_view key, std::uint64_t& out);
    void duration(std::string_view key, Duration least, Duration most, Duration& out);
    void address(std::string_view key, std::optional<Address>& out);
    void addresses(std::string_view key, std::vector<Address>& out);
    // Index of the value in words; later words may be known but not available.
    void choice(std::string_view key, const std::vector<std::string>& words, const std::vector<std::string>& later,
                std::size_t& out);
    // A path, made absolute. file: must be a readable regular file; directory: must be one.
    enum class PathKind : std::uint8_t { any, file, directory };
    void path(std::string_view key, PathKind kind, std::string& out);
    // finish() complains when it is missing.
    void require(std::string_view key);
    // The tables of [[…key]], each with its own section.
    void tables(std::string_view key, const std::string& name, const std::function<void(ConfigSection&)>& each);
    // The table [key]; null when it is missing.
    const TomlValue* table(std::string_view key);
    void finish();

private:
    const TomlValue* get(std::string_view key);
    const TomlValue* get(std::string_view key, TomlValue::Kind kind, const char* expected);
    bool string_of(const TomlValue& value, std::string_view key, std::string& out);
    void bad_value(std::string_view key, const TomlValue& value, const std::string& expected);
    // The text of a value with a unit; an integer 0 needs none.
    std::optional<std::string> with_unit(std::string_view key, const char* expected);

    std::string name_;
    const TomlValue* table_;
    TomlPosition at_;
    FirstError* errors_;
    std::string directory_;
    std::set<std::string, std::less<>> known_;
    std::vector<std::string> required_;
};

// The one of words that text was probably meant to be; empty when none is near.
std::string nearest(std::string_view text, const std::set<std::string, std::less<>>& words);

}  // namespace mssl::proxy
