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

// As the kernel writes it: 32 digits with four hyphens between them.
constexpr std::size_t kBootIdText = 36;

// Zeros where there is no /proc.
BootId boot_id() {
    const Fd fd(open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC));
    char text[kBootIdText];
    if (!fd || read(fd.get(), text, sizeof text) != static_cast<ssize_t>(sizeof text)) return {};
    std::string digits(text, sizeof text);
    std::erase(digits, '-');
    const Result<Bytes> bytes = from_hex(digits);
    return bytes && bytes->size() == BootId::size ? BootId::from(*bytes) : BootId();
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
    Result<TokenFile> file = decode_token_file_header(header.bytes);
    if (!file || past(file->membership.expiry, now)) return std::nullopt;
    const std::optional<Taking> taking = take_next(*file, boot_id());
    TakenToken taken;
    if (!taking || !read_at(fd, taken.token.bytes, token_offset(taking->index))) return std::nullopt;
    // Taken before it is used: who is killed in between has lost a token, and nobody uses it twice.
    if (!write_at(fd, encode_token_file_state(*file), kTokenFileState)) return std::nullopt;
    if (taking->sync && fdatasync(fd.get()) != 0) return std::nullopt;
    taken.secret = file->secret;
    taken.realm = file->realm;
    return taken;
}

}  // namespace mssl::provider
