// Files that are read whole: keys and certificates.
#pragma once

#include <string>

#include "protocol/bytes.h"

namespace mssl::provider {

// Bytes of a file, which may be secret: cleared when they go.
class FileBytes {
public:
    FileBytes() = default;
    explicit FileBytes(std::size_t size) : bytes_(size) {}
    FileBytes(FileBytes&&) = default;
    FileBytes& operator=(FileBytes&&) = delete;
    ~FileBytes();
    View view() const { return View(bytes_).first(length_); }

private:
    friend Result<FileBytes> read_small_file(const std::string& path, std::size_t max);
    Bytes bytes_;  // never grows: that would leave copies behind
    std::size_t length_ = 0;
};

// The whole file. Errors: config, with the path and why; too_large beyond max bytes.
Result<FileBytes> read_small_file(const std::string& path, std::size_t max);

}  // namespace mssl::provider
