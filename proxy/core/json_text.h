// Writing JSON (RFC 8259), a member at a time. For reading there is a library behind its facade; writing needs none.
//
// Thread rules: values.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

namespace mssl::proxy {

// A string literal with quotes. What is not printable ASCII is escaped or becomes '?': names and reasons, no prose.
inline std::string json_quoted(std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\')
            out.append({'\\', c});
        else if (c == '\n')
            out += "\\n";
        else
            out.push_back(c >= 0x20 && c < 0x7f ? c : '?');
    }
    return out + "\"";
}

// {"a":1,"b":"x"}, or [1,{…}] when items are added without names.
class JsonText {
public:
    JsonText& put(std::string_view name, std::string_view text) { return raw(name, json_quoted(text)); }
    JsonText& put(std::string_view name, const char* text) { return raw(name, json_quoted(text)); }
    JsonText& put(std::string_view name, bool truth) { return raw(name, truth ? "true" : "false"); }
    template <class T>
        requires std::is_arithmetic_v<T>
    JsonText& put(std::string_view name, T number) {
        return raw(name, std::to_string(number));
    }
    // value is JSON already.
    JsonText& raw(std::string_view name, std::string_view value) {
        separate();
        inside_ += json_quoted(name) + ":";
        inside_ += value;
        return *this;
    }
    JsonText& item(std::string_view value) {
        separate();
        inside_ += value;
        return *this;
    }
    std::string object() const { return "{" + inside_ + "}"; }
    std::string array() const { return "[" + inside_ + "]"; }

private:
    void separate() {
        if (!inside_.empty()) inside_.push_back(',');
    }
    std::string inside_;
};

}  // namespace mssl::proxy
