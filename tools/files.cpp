#include "tools/files.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace mssl::tools {

void Fd::close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

Error errno_error(const std::string& doing) { return fail(Errc::io, doing + ": " + std::strerror(errno)); }

Result<Fd> open_to_read(const std::string& path) {
    Fd fd(path == "-" ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0) : open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd) return errno_error(path);
    return fd;
}

Result<Bytes> read_small_file(const std::string& path, std::size_t max) {
    Result<Fd> fd = open_to_read(path);
    if (!fd) return fd.error();
    Bytes out(max + 1);
    std::size_t have = 0;
    while (have < out.size()) {
        const ssize_t n = read(fd->get(), out.data() + have, out.size() - have);
        if (n == 0) break;
        if (n > 0)
            have += static_cast<std::size_t>(n);
        else if (errno != EINTR)
            return errno_error(path);
    }
    if (have > max) return fail(Errc::too_large, path + ": more than " + std::to_string(max) + " bytes");
    out.resize(have);
    return out;
}

Status write_all(int fd, View bytes) {
    while (!bytes.empty()) {
        const ssize_t n = write(fd, bytes.data(), bytes.size());
        if (n >= 0)
            bytes = bytes.subspan(static_cast<std::size_t>(n));
        else if (errno == ENOSPC || errno == EDQUOT)
            return fail(Errc::no_space, std::strerror(errno));
        else if (errno != EINTR)
            return errno_error("write");
    }
    return {};
}

}  // namespace mssl::tools
