#include "tests/unit/vectors.h"

#include <criterion/criterion.h>

#include <cstdlib>
#include <fstream>
#include <stdexcept>

namespace mssl::test {
namespace {

Bytes hex_bytes(std::string_view hex) { return hex == "-" ? Bytes{} : from_hex(hex).value(); }

// {HH*N} and {A+N}
std::string expand(std::string_view line, const std::string& base_hex) {
    std::string out;
    while (!line.empty()) {
        const std::size_t open = line.find('{');
        out += line.substr(0, open);
        if (open == std::string_view::npos) break;
        line.remove_prefix(open + 1);
        const std::size_t close = line.find('}'), sign = line.find_first_of("*+");
        const std::string left(line.substr(0, sign)), right(line.substr(sign + 1, close - sign - 1));
        const std::size_t count = std::stoul(right);
        if (line[sign] == '*') {
            for (std::size_t i = 0; i < count; ++i) out += left;
        } else {
            out += base_hex.substr(2 * std::stoul(left), 2 * count);
        }
        line.remove_prefix(close + 1);
    }
    return out;
}

Vector parse(std::string_view line) {
    const std::size_t arrow = line.find(" -> ");
    Vector out;
    out.expected = line.substr(arrow + 4);
    const std::vector<std::string> words = split(line.substr(0, arrow), ' ');
    out.name = words.at(0);
    out.operation = words.at(1);
    for (std::size_t i = 2; i < words.size(); ++i) {
        const std::size_t equals = words[i].find('=');
        out.in[words[i].substr(0, equals)] = words[i].substr(equals + 1);
    }
    return out;
}

std::ifstream open(std::string_view name) {
    const char* srcdir = std::getenv("srcdir");
    for (const std::string& top :
         {std::string(srcdir != nullptr ? srcdir : "."), std::string("."), std::string("..")}) {
        std::ifstream file(top + "/tests/vectors/" + std::string(name) + ".vec");
        if (file) return file;
    }
    return {};
}

}  // namespace

const std::string& Vector::text(std::string_view key) const {
    const auto found = in.find(key);
    if (found == in.end()) throw std::out_of_range("no " + std::string(key) + " in vector " + name);
    return found->second;
}

Bytes Vector::bytes(std::string_view key) const { return hex_bytes(text(key)); }

std::uint64_t Vector::number(std::string_view key) const { return std::stoull(text(key)); }

std::vector<Vector> read_vectors(std::string_view name) {
    std::ifstream file = open(name);
    std::vector<Vector> out;
    std::string line, base;
    while (std::getline(file, line)) {
        if (line.starts_with("#")) continue;
        if (line.starts_with("base ")) {
            base = line.substr(5);
        } else {
            out.push_back(parse(expand(line, base)));
        }
    }
    return out;
}

void hold_vectors(std::string_view file, std::size_t at_least,
                  const std::function<std::string(const Vector&)>& answer) {
    const std::vector<Vector> vectors = read_vectors(file);
    std::size_t disagreements = 0;
    for (const Vector& vector : vectors) {
        const std::string got = answer(vector);
        if (got == vector.expected) continue;
        ++disagreements;
        cr_log_warn("%s: %s\n  expected %.400s\n  got      %.400s", std::string(file).c_str(),
                    vector.name.c_str(), vector.expected.c_str(), got.c_str());
    }
    cr_assert(vectors.size() >= at_least, "%zu vectors in %s.vec, not %zu", vectors.size(),
              std::string(file).c_str(), at_least);
    cr_assert(disagreements == 0, "%zu disagreements", disagreements);
}

std::vector<std::string> split(std::string_view text, char at) {
    std::vector<std::string> out;
    if (text == "-") return out;
    for (;;) {
        const std::size_t end = text.find(at);
        out.emplace_back(text.substr(0, end));
        if (end == std::string_view::npos) return out;
        text.remove_prefix(end + 1);
    }
}

std::string bytes_text(View bytes) { return bytes.empty() ? "-" : to_hex(bytes); }

std::string join(const std::vector<std::string>& items) {
    std::string out;
    for (const std::string& item : items) out += (out.empty() ? "" : ",") + item;
    return out.empty() ? "-" : out;
}

std::string outcome(Errc code) {
    if (code == Errc::ok) return "ok";
    if (code == Errc::truncated) return "error incomplete";
    return "error " + std::string(errc_name(code));
}

std::string sum_up(const std::vector<std::string>& outcomes) {
    static const std::map<std::string, char, std::less<>> letters = {
        {"malformed", 'm'},   {"too_large", 't'},   {"unexpected", 'x'},
        {"unsupported", 'u'}, {"wrong_realm", 'r'}, {"bad_signature", 's'},
        {"bad_proof", 'p'},   {"expired", 'e'},     {"incomplete", 'i'}};
    std::string out;
    char last = 0;
    std::size_t count = 0;
    const auto flush = [&] {
        if (count > 0) out += last + std::to_string(count);
    };
    for (const std::string& one : outcomes) {
        const auto known = letters.find(std::string_view(one).substr(one.starts_with("error ") ? 6 : 0));
        const char letter = one.starts_with("ok") ? 'o' : known == letters.end() ? '?' : known->second;
        if (letter != last) {
            flush();
            count = 0;
        }
        last = letter;
        ++count;
    }
    flush();
    return "ok codes=" + out;
}

}  // namespace mssl::test
