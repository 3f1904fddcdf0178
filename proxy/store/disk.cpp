#include "proxy/store/disk.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>

namespace mssl::proxy {

Error disk_error(int error_number, std::string_view what) {
    std::string detail(what);
    detail.append(": ").append(std::generic_category().message(error_number));
    switch (error_number) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG: return fail(Errc::no_space, std::move(detail));
    case ENOENT: return fail(Errc::no_such_object, std::move(detail));
    default: return fail(Errc::io, std::move(detail));
    }
}

Result<Fd> open_file(const std::string& path, int flags) {
    const int fd = ::open(path.c_str(), flags | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return disk_error(errno, path);
    return Fd(fd);
}

Status read_at(int fd, MutableView into, std::uint64_t offset) {
    while (!into.empty()) {
        const ssize_t n = ::pread(fd, into.data(), into.size(), static_cast<off_t>(offset));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return disk_error(errno, "read");
        if (n == 0) return fail(Errc::io, "short read");
        into = into.subspan(static_cast<std::size_t>(n));
        offset += static_cast<std::uint64_t>(n);
    }
    return {};
}

Status write_at(int fd, View from, std::uint64_t offset) {
    while (!from.empty()) {
        const ssize_t n = ::pwrite(fd, from.data(), from.size(), static_cast<off_t>(offset));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return disk_error(errno, "write");
        from = from.subspan(static_cast<std::size_t>(n));
        offset += static_cast<std::uint64_t>(n);
    }
    return {};
}

Status sync_data(int fd) {
    while (::fdatasync(fd) != 0) {
        if (errno != EINTR) return disk_error(errno, "fdatasync");
    }
    return {};
}

Status sync_directory(const std::string& path) {
    const Result<Fd> fd = open_file(path, O_RDONLY | O_DIRECTORY);
    if (!fd) return fd.error();
    if (::fsync(fd->get()) != 0) return disk_error(errno, path);
    return {};
}

std::uint64_t allocated_bytes(const std::string& directory) {
    std::uint64_t sum = 0;
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(directory, ignored)) {
        struct stat st{};
        // st_blocks counts 512 bytes whatever the file system's own block is (stat(3type)).
        if (::lstat(entry.path().c_str(), &st) == 0) sum += static_cast<std::uint64_t>(st.st_blocks) * 512;
    }
    return sum;
}

void remove_tree(const std::string& path) {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
}

}  // namespace mssl::proxy
