#include "provider/tokens.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "provider/fd.h"

namespace mssl::provider {
namespace {

bool lock(const Fd& fd) {
    while (flock(fd.get(), LOCK_EX) != 0)
        if (errno != EINTR) return false;
    return true;
}

bool read_at(const Fd& fd, MutableView into, std::size_t offset) {
    return pread(fd.get(), into.data(), into.size(), static_cast<off_t>(offset)) == static_cast<ssize_t>(into.size());
}

bool write_at(const Fd& fd, View bytes, std::size_t offset) {
    return pwrite(fd.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset)) ==
           static_cast<ssize_t>(bytes.size());
}

}  // namespace

std::optional<TakenToken> take_token(const std::string& path, WallTime now) {
    // An open file of its own for every taking: locks of flock(2) then hold between threads and after fork too.
    const Fd fd(open(path.c_str(), O_RDWR | O_CLOEXEC));
    if (!fd || !lock(fd)) return std::nullopt;
    struct Header {
        std::array<std::uint8_t, kTokenFileHeader> bytes{};
        ~Header() { OPENSSL_cleanse(bytes.data(), bytes.size()); }
    } header;
    if (!read_at(fd, header.bytes, 0)) return std::nullopt;
    const Result<TokenFile> file = decode_token_file_header(header.bytes);
    if (!file || file->next == file->count || past(file->membership.expiry, now)) return std::nullopt;
    TakenToken taken;
    if (!read_at(fd, taken.token.bytes, token_offset(file->next))) return std::nullopt;
    // Taken before it is used: who is killed in between has lost a token, and nobody uses it twice.
    Writer next;
    next.u32(file->next + 1);
    if (!write_at(fd, next.view(), kTokenFileNext)) return std::nullopt;
    taken.secret = file->secret;
    taken.realm = file->realm;
    return taken;
}

}  // namespace mssl::provider
