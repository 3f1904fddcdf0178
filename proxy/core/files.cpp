#include "proxy/core/files.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
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

// No copy of it but the one that is returned stays in memory.
template <class Content>
Result<Content> read_whole(const std::string& path, std::size_t max) {
    const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd) return file_error("cannot read", path);
    struct stat s {};
    if (::fstat(fd.get(), &s) != 0) return file_error("cannot read", path);
    // One byte more than there should be: its absence is the end. A file that grows meanwhile grows this.
    Content out(std::min(max, static_cast<std::size_t>(std::max<off_t>(s.st_size, 0))) + 1, 0);
    std::size_t have = 0;
    const auto cleansed = [&](Error error) {
        OPENSSL_cleanse(out.data(), out.size());
        return error;
    };
    for (;;) {
        const ssize_t n = ::read(fd.get(), out.data() + have, out.size() - have);
        if (n < 0) {
            if (errno == EINTR) continue;
            return cleansed(file_error("cannot read", path));
        }
        if (n == 0) break;
        have += static_cast<std::size_t>(n);
        if (have > max) return cleansed(fail(Errc::too_large, path + " is larger than " + std::to_string(max) + " bytes"));
        if (have < out.size()) continue;
        Content larger(std::min(max, 2 * out.size()) + 1, 0);
        std::copy(out.begin(), out.end(), larger.begin());
        OPENSSL_cleanse(out.data(), out.size());
        out.swap(larger);
    }
    out.resize(have);
    return out;
}

}  // namespace

Result<Bytes> read_file(const std::string& path, std::size_t max) { return read_whole<Bytes>(path, max); }
Result<std::string> read_text_file(const std::string& path, std::size_t max) { return read_whole<std::string>(path, max); }

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
