#include "provider/small_file.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "provider/fd.h"

namespace mssl::provider {

FileBytes::~FileBytes() { OPENSSL_cleanse(bytes_.data(), bytes_.size()); }

Result<FileBytes> read_small_file(const std::string& path, std::size_t max) {
    const auto failed = [&] { return fail(Errc::config, path + ": " + std::strerror(errno)); };
    const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd) return failed();
    // One byte more than may be there tells what is too large.
    FileBytes out(max + 1);
    while (out.length_ <= max) {
        const ssize_t n = read(fd.get(), out.bytes_.data() + out.length_, out.bytes_.size() - out.length_);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return failed();
        if (n == 0) return out;
        out.length_ += static_cast<std::size_t>(n);
    }
    return fail(Errc::too_large, path + ": more than " + std::to_string(max) + " bytes");
}

}  // namespace mssl::provider
