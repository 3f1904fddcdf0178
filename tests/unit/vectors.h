// Reads the files of tests/vectors (format: README there) and holds what the C++ says against them.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/bytes.h"

namespace mssl::test {

struct Vector {
    std::string name, operation, expected;
    std::map<std::string, std::string, std::less<>> in;

    // Terminate where the vector has no such input or another kind: the file is ours.
    const std::string& text(std::string_view key) const;
    Bytes bytes(std::string_view key) const;
    std::uint64_t number(std::string_view key) const;
    template <class F>
    F fixed(std::string_view key) const {
        return F::from(bytes(key));
    }
};

// The vectors of name.vec; empty when there is no such file below $srcdir, here, or above.
std::vector<Vector> read_vectors(std::string_view name);

// Says for each vector what the answer is ("ok …", "error CODE"). Fails the test with the disagreements, and when there
// are fewer vectors than at_least.
void hold_vectors(std::string_view file, std::size_t at_least,
                  const std::function<std::string(const Vector&)>& answer);

std::vector<std::string> split(std::string_view text, char at);  // of "-": none
std::string bytes_text(View bytes);                              // hexadecimal, or "-"
std::string join(const std::vector<std::string>& items);         // with commas, or "-"

// "ok" or "error CODE" under the name that the vectors have for it.
std::string outcome(Errc code);
// One letter an outcome, equal neighbours counted: m3s1.
std::string sum_up(const std::vector<std::string>& outcomes);

}  // namespace mssl::test
