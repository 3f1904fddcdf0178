// Descriptors and small files.
#pragma once

#include <string>
#include <utility>

#include "protocol/result.h"
#include "protocol/types.h"

namespace mssl::tools {

// An owned descriptor.
class Fd {
public:
    Fd() = default;
    explicit Fd(int fd) : fd_(fd) {}
    Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    Fd& operator=(Fd&& other) noexcept {
        if (this != &other) {
            close();
            fd_ = std::exchange(other.fd_, -1);
        }
        return *this;
    }
    Fd(const Fd&) = delete;
    Fd& operator=(const Fd&) = delete;
    ~Fd() { close(); }

    int get() const { return fd_; }
    explicit operator bool() const { return fd_ >= 0; }
    void close();

private:
    int fd_ = -1;
};

// io, with what was attempted and strerror(errno).
Error errno_error(const std::string& doing);

// "-" is standard input; the Fd is then a duplicate.
Result<Fd> open_to_read(const std::string& path);
// The whole file, or too_large beyond max bytes. "-" is standard input.
Result<Bytes> read_small_file(const std::string& path, std::size_t max);
// All bytes, in as many writes as it takes.
Status write_all(int fd, View bytes);

}  // namespace mssl::tools
