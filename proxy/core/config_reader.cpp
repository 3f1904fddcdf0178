#include "proxy/core/config_reader.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <numeric>

#include "proxy/core/config.h"

namespace mssl::proxy {
namespace {

std::size_t edit_distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> row(b.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 1; i <= a.size(); ++i) {
        std::size_t diagonal = row[0];
        row[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t above = row[j];
            row[j] = std::min({row[j - 1] + 1, above + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
            diagonal = above;
        }
    }
    return row[b.size()];
}

std::string in_words(const std::vector<std::string>& words) {
    std::string out;
    for (std::size_t i = 0; i < words.size(); ++i) {
        if (i > 0) out += i + 1 == words.size() ? " or " : ", ";
        out += "\"" + words[i] + "\"";
    }
    return out;
}

}  // namespace

std::string nearest(std::string_view text, const std::set<std::string, std::less<>>& words) {
    std::string best;
    // A third of the word wrong is a typo; more is another word.
    std::size_t distance = std::max<std::size_t>(1, text.size() / 3) + 1;
    for (const std::string& word : words) {
        const std::size_t d = edit_distance(text, word);
        if (d < distance) {
            distance = d;
            best = word;
        }
    }
    return best;
}

void FirstError::set(const TomlPosition& at, const std::string& text) {
    if (!error_) error_ = fail(Errc::config, at.to_string() + ": " + text);
}

ConfigSection::ConfigSection(std::string name, const TomlValue* table, FirstError& errors, std::string directory)
    : name_(std::move(name)), table_(table), errors_(&errors), directory_(std::move(directory)) {
    if (table_ == nullptr) return;
    at_ = table_->at;
    if (table_->kind != TomlValue::Kind::table) {
        errors_->set(at_, "found " + table_->describe() + ", expected " + name_ + " to be a table");
        table_ = nullptr;
    }
}

const TomlPosition& ConfigSection::at(std::string_view key) const {
    const TomlMember* member = table_ != nullptr ? table_->find(key) : nullptr;
    return member != nullptr ? member->value.at : at_;
}

bool ConfigSection::has(std::string_view key) const { return table_ != nullptr && table_->find(key) != nullptr; }

void ConfigSection::error(std::string_view key, const std::string& text) { errors_->set(at(key), text); }

const TomlValue* ConfigSection::get(std::string_view key) {
    known_.emplace(key);
    const TomlMember* member = table_ != nullptr ? table_->find(key) : nullptr;
    return member != nullptr ? &member->value : nullptr;
}

void ConfigSection::bad_value(std::string_view key, const TomlValue& value, const std::string& expected) {
    errors_->set(value.at, std::string(key) + ": found " + value.describe() + ", expected " + expected);
}

const TomlValue* ConfigSection::get(std::string_view key, TomlValue::Kind kind, const char* expected) {
    const TomlValue* value = get(key);
    if (value == nullptr || value->kind == kind) return value;
    bad_value(key, *value, expected);
    return nullptr;
}

bool ConfigSection::string_of(const TomlValue& value, std::string_view key, std::string& out) {
    if (value.kind != TomlValue::Kind::string) {
        bad_value(key, value, "a string");
        return false;
    }
    // What ends up in paths and header fields has no place for these.
    if (std::any_of(value.text.begin(), value.text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20; })) {
        errors_->set(value.at, std::string(key) + ": found a control character, expected none");
        return false;
    }
    if (value.text.empty()) {
        bad_value(key, value, "a string that is not empty");
        return false;
    }
    out = value.text;
    return true;
}

void ConfigSection::string(std::string_view key, std::string& out) {
    if (const TomlValue* value = get(key)) string_of(*value, key, out);
}

void ConfigSection::strings(std::string_view key, std::vector<std::string>& out) {
    const TomlValue* value = get(key);
    if (value == nullptr) return;
    std::vector<std::string> read;
    std::string one;
    if (value->kind != TomlValue::Kind::array) {
        if (value->kind != TomlValue::Kind::string)
            bad_value(key, *value, "a string or an array of strings");
        else if (string_of(*value, key, one))
            out = {one};
        return;
    }
    if (value->items.empty()) bad_value(key, *value, "at least one string");
    for (const TomlValue& item : value->items)
        if (string_of(item, key, one)) read.push_back(one);
    out = std::move(read);
}

void ConfigSection::boolean(std::string_view key, bool& out) {
    if (const TomlValue* value = get(key, TomlValue::Kind::boolean, "true or false")) out = value->flag;
}

void ConfigSection::integer(std::string_view key, std::uint64_t least, std::uint64_t most, std::uint64_t& out) {
    const std::string expected = "a whole number from " + std::to_string(least) + " to " + std::to_string(most);
    const TomlValue* value = get(key, TomlValue::Kind::integer, expected.c_str());
    if (value == nullptr) return;
    if (value->number < 0 || static_cast<std::uint64_t>(value->number) < least ||
        static_cast<std::uint64_t>(value->number) > most) {
        bad_value(key, *value, expected);
        return;
    }
    out = static_cast<std::uint64_t>(value->number);
}

std::optional<std::string> ConfigSection::with_unit(std::string_view key, const char* expected) {
    const TomlValue* value = get(key);
    if (value == nullptr) return std::nullopt;
    if (value->kind == TomlValue::Kind::integer && value->number == 0) return "0";
    if (value->kind == TomlValue::Kind::string) return value->text;
    bad_value(key, *value, expected);
    return std::nullopt;
}

void ConfigSection::size(std::string_view key, std::uint64_t least, std::uint64_t& out) {
    const auto text = with_unit(key, "a size with a unit, such as \"10MiB\"");
    if (!text) return;
    const Result<std::uint64_t> size = parse_size(*text);
    if (!size)
        error(key, std::string(key) + ": found \"" + *text + "\", " + size.error().detail);
    else if (*size < least)
        error(key, std::string(key) + ": found \"" + *text + "\", expected at least " + std::to_string(least) + "B");
    else
        out = *size;
}

void ConfigSection::rate(std::string_view key, std::uint64_t& out) {
    const auto text = with_unit(key, "a rate with a unit, such as \"20Mbit\"");
    if (!text) return;
    const Result<std::uint64_t> rate = parse_rate(*text);
    if (!rate)
        error(key, std::string(key) + ": found \"" + *text + "\", " + rate.error().detail);
    else
        out = *rate;
}

void ConfigSection::duration(std::string_view key, Duration least, Duration most, Duration& out) {
    const auto text = with_unit(key, "a duration with a unit, such as \"30s\"");
    if (!text) return;
    const Result<Duration> duration = parse_duration(*text);
    if (!duration)
        error(key, std::string(key) + ": found \"" + *text + "\", " + duration.error().detail);
    else if (*duration < least || *duration > most)
        error(key, std::string(key) + ": found \"" + *text + "\", expected from " +
                       std::to_string(least.count() / 1000) + "ms to " + std::to_string(most.count() / 1'000'000) + "s");
    else
        out = *duration;
}

void ConfigSection::address(std::string_view key, std::optional<Address>& out) {
    std::string text;
    string(key, text);
    if (text.empty()) return;
    const Result<Address> address = Address::parse(text);
    if (address)
        out = *address;
    else
        error(key, std::string(key) + ": " + address.error().detail +
                       ", expected an IP address and port, such as \"127.0.0.1:3128\" or \"[::]:443\"");
}

void ConfigSection::addresses(std::string_view key, std::vector<Address>& out) {
    std::vector<std::string> texts;
    strings(key, texts);
    if (texts.empty()) return;
    out.clear();
    for (const std::string& text : texts) {
        const Result<Address> address = Address::parse(text);
        if (address)
            out.push_back(*address);
        else
            error(key, std::string(key) + ": " + address.error().detail +
                           ", expected an IP address and port, such as \"[::]:443\"");
    }
}

void ConfigSection::choice(std::string_view key, const std::vector<std::string>& words,
                           const std::vector<std::string>& later, std::size_t& out) {
    const TomlValue* value = get(key);
    if (value == nullptr) return;
    std::string text;
    if (value->kind != TomlValue::Kind::string) {
        bad_value(key, *value, in_words(words));
        return;
    }
    text = value->text;
    if (const auto found = std::find(words.begin(), words.end(), text); found != words.end())
        out = static_cast<std::size_t>(found - words.begin());
    else if (std::find(later.begin(), later.end(), text) != later.end())
        errors_->set(value->at, std::string(key) + ": \"" + text + "\" is not available in this version, expected " +
                                    in_words(words));
    else
        bad_value(key, *value, in_words(words));
}

void ConfigSection::path(std::string_view key, PathKind kind, std::string& out) {
    std::string text;
    string(key, text);
    if (text.empty()) return;
    if (text.front() != '/') text = directory_ + "/" + text;
    struct stat st {};
    switch (kind) {
    case PathKind::any: break;
    case PathKind::file:
        if (stat(text.c_str(), &st) != 0 || access(text.c_str(), R_OK) != 0)
            return error(key, std::string(key) + ": " + text + ": " + std::strerror(errno));
        if (S_ISDIR(st.st_mode)) return error(key, std::string(key) + ": " + text + ": found a directory, expected a file");
        break;
    case PathKind::directory:
        if (stat(text.c_str(), &st) != 0) return error(key, std::string(key) + ": " + text + ": " + std::strerror(errno));
        if (!S_ISDIR(st.st_mode))
            return error(key, std::string(key) + ": " + text + ": found a file, expected a directory");
        break;
    }
    out = text;
}

void ConfigSection::require(std::string_view key) { required_.emplace_back(key); }

void ConfigSection::tables(std::string_view key, const std::string& name,
                           const std::function<void(ConfigSection&)>& each) {
    const TomlValue* value = get(key);
    if (value == nullptr) return;
    if (value->kind != TomlValue::Kind::array) {
        bad_value(key, *value, "an array of tables: write " + name);
        return;
    }
    for (const TomlValue& item : value->items) {
        ConfigSection section(name, &item, *errors_, directory_);
        if (errors_->failed()) return;
        each(section);
        section.finish();
    }
}

const TomlValue* ConfigSection::table(std::string_view key) { return get(key); }

void ConfigSection::finish() {
    if (table_ == nullptr) return;
    // First, because a key that is missing was often only misspelt.
    for (const TomlMember& member : table_->members) {
        if (known_.contains(member.key)) continue;
        std::string text = "unknown key " + member.key + " in " + name_;
        if (const std::string meant = nearest(member.key, known_); !meant.empty()) {
            text += ", did you mean " + meant + "?";
        } else {
            std::string all;
            for (const std::string& word : known_) all += (all.empty() ? "" : ", ") + word;
            text += ", expected one of: " + all;
        }
        errors_->set(member.at, text);
        return;
    }
    for (const std::string& key : required_)
        if (!has(key)) errors_->set(at_, name_ + " needs the key " + key);
}

}  // namespace mssl::proxy
