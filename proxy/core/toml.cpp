#include "proxy/core/toml.h"

#ifndef TOML_HEADER_ONLY
#define TOML_HEADER_ONLY 0
#endif
#include <toml++/toml.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

namespace mssl::proxy {
namespace {

// Ten thousand sites fit; a device or a film given by mistake does not.
constexpr std::size_t kMaxFileBytes = 8 << 20;
constexpr std::size_t kMaxShown = 60;

TomlPosition position(const toml::source_region& source, const std::string& file) {
    return {file, source.begin.line, source.begin.column};
}

TomlValue convert(const toml::node& node, const std::string& file);

TomlValue convert_table(const toml::table& table, TomlValue out, const std::string& file) {
    out.kind = TomlValue::Kind::table;
    for (const auto& [key, value] : table)
        out.members.push_back({std::string(key.str()), position(key.source(), file), convert(value, file)});
    // toml++ sorts by name; a person reads from the top.
    std::sort(out.members.begin(), out.members.end(), [](const TomlMember& a, const TomlMember& b) {
        return std::pair(a.at.line, a.at.column) < std::pair(b.at.line, b.at.column);
    });
    return out;
}

TomlValue convert(const toml::node& node, const std::string& file) {
    TomlValue out;
    out.at = position(node.source(), file);
    if (const auto* table = node.as_table()) return convert_table(*table, std::move(out), file);
    if (const auto* array = node.as_array()) {
        out.kind = TomlValue::Kind::array;
        for (const auto& item : *array) out.items.push_back(convert(item, file));
    } else if (const auto* text = node.as_string()) {
        out.kind = TomlValue::Kind::string;
        out.text = text->get();
    } else if (const auto* number = node.as_integer()) {
        out.kind = TomlValue::Kind::integer;
        out.number = number->get();
    } else if (const auto* flag = node.as_boolean()) {
        out.kind = TomlValue::Kind::boolean;
        out.flag = flag->get();
    } else if (node.is_floating_point()) {
        out.kind = TomlValue::Kind::floating;
    } else {
        out.kind = TomlValue::Kind::date_or_time;
    }
    return out;
}

}  // namespace

std::string TomlPosition::to_string() const {
    if (line == 0) return file;
    return file + ":" + std::to_string(line) + ":" + std::to_string(column);
}

const TomlMember* TomlValue::find(std::string_view key) const {
    const auto found = std::find_if(members.begin(), members.end(), [&](const TomlMember& m) { return m.key == key; });
    return found == members.end() ? nullptr : &*found;
}

TomlMember* TomlValue::find(std::string_view key) {
    return const_cast<TomlMember*>(std::as_const(*this).find(key));
}

std::string TomlValue::describe() const {
    switch (kind) {
    case Kind::table: return "a table";
    case Kind::array: return "an array";
    case Kind::string: return "string \"" + text.substr(0, kMaxShown) + (text.size() > kMaxShown ? "…\"" : "\"");
    case Kind::integer: return "integer " + std::to_string(number);
    case Kind::floating: return "a floating-point number";
    case Kind::boolean: return flag ? "true" : "false";
    case Kind::date_or_time: return "a date or time";
    }
    return "a value";
}

Result<TomlValue> parse_toml(std::string_view text, const std::string& file_name) {
    try {
        const toml::table table = toml::parse(text, file_name);
        return convert(table, file_name);
    } catch (const toml::parse_error& e) {
        return fail(Errc::config, position(e.source(), file_name).to_string() + ": " + std::string(e.description()));
    }
}

Result<TomlValue> parse_toml_file(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    if (!in) return fail(Errc::config, path + ": " + std::strerror(errno));
    std::string text;
    char chunk[4096];
    while (in.read(chunk, sizeof chunk) || in.gcount() > 0) {
        text.append(chunk, static_cast<std::size_t>(in.gcount()));
        if (text.size() > kMaxFileBytes) return fail(Errc::config, path + ": over 8 MiB, not a configuration");
    }
    if (in.bad()) return fail(Errc::config, path + ": " + std::strerror(errno));
    return parse_toml(text, path);
}

}  // namespace mssl::proxy
