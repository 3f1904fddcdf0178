#include "proxy/core/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "proxy/core/net.h"

namespace mssl::proxy {
namespace {

Error file_error(const std::string& doing, const std::string& path) {
    const int e = errno;
    const Errc code = e == ENOENT ? Errc::no_such_object : e == ENOSPC || e == EDQUOT ? Errc::no_space : Errc::io;
    return fail(code, doing + " " + path + ": " + std::strerror(e));
}

std::string parent_of(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    if (slash == std::string::npos) return ".";
    return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

Result<Bytes> read_file(const std::string& path, std::size_t max) {
    const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd) return file_error("cannot read", path);
    Bytes out;
    std::array<std::uint8_t, 16384> piece;
    for (;;) {
        const ssize_t n = ::read(fd.get(), piece.data(), piece.size());
        if (n < 0) {
            if (errno == EINTR) continue;
            return file_error("cannot read", path);
        }
        if (n == 0) return out;
        if (out.size() + static_cast<std::size_t>(n) > max)
            return fail(Errc::too_large, path + " is larger than " + std::to_string(max) + " bytes");
        out.insert(out.end(), piece.begin(), piece.begin() + n);
    }
}

Result<std::string> read_text_file(const std::string& path, std::size_t max) {
    Result<Bytes> bytes = read_file(path, max);
    if (!bytes) return std::move(bytes).error();
    return std::string(bytes->begin(), bytes->end());
}

Status write_file_durably(const std::string& path, View content, unsigned mode) {
    std::string temporary = path + ".XXXXXX";
    const Fd fd(::mkostemp(temporary.data(), O_CLOEXEC));
    if (!fd) return file_error("cannot create a file beside", path);
    const auto give_up = [&](const std::string& doing) {
        Error e = file_error(doing, temporary);
        ::unlink(temporary.c_str());
        return e;
    };
    if (::fchmod(fd.get(), mode) != 0) return give_up("cannot set the mode of");
    while (!content.empty()) {
        const ssize_t n = ::write(fd.get(), content.data(), content.size());
        if (n < 0) {
            if (errno == EINTR) continue;
            return give_up("cannot write");
        }
        content = content.subspan(static_cast<std::size_t>(n));
    }
    if (::fsync(fd.get()) != 0) return give_up("cannot sync");
    if (::rename(temporary.c_str(), path.c_str()) != 0) return give_up("cannot put in place");
    const Fd directory(::open(parent_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!directory || ::fsync(directory.get()) != 0) return file_error("cannot sync the directory of", path);
    return {};
}

Status make_directories(const std::string& path, unsigned mode) {
    for (std::size_t at = 1; at != 0 && at <= path.size();) {
        const std::size_t slash = path.find('/', at);
        const std::string part = path.substr(0, slash);
        if (::mkdir(part.c_str(), mode) != 0 && errno != EEXIST) return file_error("cannot create", part);
        at = slash == std::string::npos ? 0 : slash + 1;
    }
    return {};
}

}  // namespace mssl::proxy
