#include "provider/tokens.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <ctime>

#include "provider/fd.h"

namespace mssl::provider {
namespace {

// Who holds the file is done within microseconds, or stopped, or forked in that moment and killed: then this handshake goes without.
constexpr int kLockTries = 500;
constexpr timespec kLockRetry{0, 1'000'000};

class Lock {
public:
    explicit Lock(const Fd& fd) : fd_(fd.get()) {
        for (int i = 0; i < kLockTries; ++i) {
            if (flock(fd_, LOCK_EX | LOCK_NB) == 0) {
                held_ = true;
                return;
            }
            if (errno != EINTR && errno != EWOULDBLOCK) return;
            nanosleep(&kLockRetry, nullptr);
        }
    }
    // Not by closing alone: a child that was forked meanwhile has the open file too, and with it the lock.
    ~Lock() {
        if (held_) flock(fd_, LOCK_UN);
    }
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;
    explicit operator bool() const { return held_; }

private:
    int fd_;
    bool held_ = false;
};

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
    if (!fd) return std::nullopt;
    const Lock lock(fd);
    if (!lock) return std::nullopt;
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
