// mssl member issue: a member's handshake tokens (provider-mssl(7)), from a realm's state.
#include <fcntl.h>
#include <openssl/rand.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <ctime>

#include "protocol/identity.h"
#include "protocol/token.h"
#include "tools/files.h"
#include "tools/text.h"
#include "tools/verbs.h"

namespace mssl::tools {
namespace {

constexpr std::size_t kMaxPemBytes = 16 * 1024;
constexpr std::size_t kMaxAuthKeyFile = 2 * Secret::size + 1;
constexpr std::int64_t kSecondsADay = 86400;
// Written together: as many as fit some memory pages.
constexpr std::uint32_t kTokensAWrite = 1024;

// Bytes that hold a secret, cleared when they go.
struct SecretBytes {
    Bytes bytes;
    explicit SecretBytes(Bytes b) : bytes(std::move(b)) {}
    SecretBytes(const SecretBytes&) = delete;
    SecretBytes& operator=(const SecretBytes&) = delete;
    ~SecretBytes() { OPENSSL_cleanse(bytes.data(), bytes.size()); }
};

Status fill_random(MutableView into) {
    if (RAND_priv_bytes(into.data(), static_cast<int>(into.size())) != 1) return openssl_error(Errc::crypto, "random");
    return {};
}

// A new file for its owner alone; gone again unless keep() was called.
class NewFile {
public:
    static Result<NewFile> create(const std::string& path) {
        Fd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR));
        if (!fd) return errno_error(path);
        return NewFile(path, std::move(fd));
    }
    NewFile(NewFile&& other) noexcept : path_(std::exchange(other.path_, {})), fd_(std::move(other.fd_)) {}
    NewFile& operator=(NewFile&&) = delete;
    ~NewFile() {
        if (!path_.empty()) unlink(path_.c_str());
    }
    int fd() const { return fd_.get(); }
    Status keep() {
        if (fsync(fd_.get()) != 0) return errno_error(path_);
        path_.clear();
        return {};
    }

private:
    NewFile(std::string path, Fd fd) : path_(std::move(path)), fd_(std::move(fd)) {}
    std::string path_;
    Fd fd_;
};

Result<Secret> read_auth_key_of(const std::string& path) {
    Result<Bytes> text = read_small_file(path, kMaxAuthKeyFile);
    if (!text) return text.error();
    const SecretBytes secret(*std::move(text));
    Result<Secret> key = read_auth_key(secret.bytes);
    if (!key) return fail(key.code(), path + ": " + key.error().detail);
    return key;
}

// The realm's authentication key, made at its first use: complete under another name first, so that nobody reads half
// of one, and linked, so that of two who make it at once both get the same.
Result<Secret> auth_key_in(const std::string& state) {
    const std::string path = state + "/auth.key";
    if (access(path.c_str(), F_OK) == 0) return read_auth_key_of(path);
    Secret key;
    if (Status s = fill_random(key.bytes); !s) return s.error();
    const std::string hex = to_hex(key.view()) + "\n";
    const SecretBytes text(Bytes(hex.begin(), hex.end()));
    OPENSSL_cleanse(const_cast<char*>(hex.data()), hex.size());
    const std::string draft = path + "." + std::to_string(getpid());
    Result<NewFile> file = NewFile::create(draft);
    if (!file) return file.error();
    if (Status s = write_all(file->fd(), text.bytes); !s) return fail(s.code(), draft + ": " + s.error().detail);
    if (fsync(file->fd()) != 0) return errno_error(draft);
    if (link(draft.c_str(), path.c_str()) != 0 && errno != EEXIST) return errno_error(path);
    return read_auth_key_of(path);
}

Result<RealmId> realm_in(const std::string& state) {
    const std::string path = state + "/realm.pem";
    const Result<Bytes> pem = read_small_file(path, kMaxPemBytes);
    if (!pem) return pem.error();
    const Result<Certificate> realm = Certificate::from_pem({reinterpret_cast<const char*>(pem->data()), pem->size()});
    if (!realm) return fail(realm.code(), path + ": " + realm.error().detail);
    return realm_id_of(realm->public_key());
}

Result<MemberSerial> serial_of(const std::string& text) {
    MemberSerial serial;
    if (text.empty()) {
        if (Status s = fill_random(serial.bytes); !s) return s.error();
        return serial;
    }
    const Result<Bytes> bytes = from_hex(text);
    if (!bytes || bytes->size() != MemberSerial::size) return fail(Errc::malformed, "--serial: 32 hexadecimal digits");
    return MemberSerial::from(*bytes);
}

// Who replays a token at a server can find out when its membership ends; the day says less than the second would.
Result<WallTime> end_of(const MemberOptions& options) {
    const WallTime now{std::time(nullptr)};
    const std::int64_t wanted = options.expires ? options.expires->unix_seconds : now.unix_seconds + options.days * kSecondsADay;
    const WallTime end{wanted - wanted % kSecondsADay};
    if (end.unix_seconds <= now.unix_seconds)
        return fail(Errc::expired, "--expires: " + iso_time(end) + ", the midnight before, has passed");
    return end;
}

Status write_tokens(int fd, const TokenKey& key, const TokenFile& file) {
    const SecretBytes header(encode_token_file_header(file));
    if (Status s = write_all(fd, header.bytes); !s) return s;
    for (std::uint32_t done = 0; done < file.count;) {
        const std::uint32_t n = std::min(file.count - done, kTokensAWrite);
        Bytes bytes;
        bytes.reserve(n * kTokenBytes);
        for (std::uint32_t i = 0; i < n; ++i) {
            std::array<std::uint8_t, 16> random{};
            if (Status s = fill_random(random); !s) return s;
            const Result<Token> token = key.make(file.membership, random);
            if (!token) return token.error();
            bytes.insert(bytes.end(), token->bytes.begin(), token->bytes.end());
        }
        if (Status s = write_all(fd, bytes); !s) return s;
        done += n;
    }
    return {};
}

Result<TokenFile> issue(const MemberOptions& options) {
    const Result<Sealing> sealing = Sealing::fetch(nullptr);
    if (!sealing) return sealing.error();
    const Result<RealmId> realm = realm_in(options.state);
    if (!realm) return realm.error();
    const Result<MemberSerial> serial = serial_of(options.serial);
    if (!serial) return serial.error();
    const Result<WallTime> end = end_of(options);
    if (!end) return end.error();
    const Result<Secret> auth_key = auth_key_in(options.state);
    if (!auth_key) return auth_key.error();

    const TokenKey key(*sealing, *auth_key);
    TokenFile file;
    file.realm = *realm;
    file.membership.serial = *serial;
    file.membership.expiry = *end;
    file.count = options.tokens;
    const Result<Secret> secret = key.member_secret(file.membership);
    if (!secret) return secret.error();
    file.secret = *secret;

    Result<NewFile> out = NewFile::create(options.output);
    if (!out) return out.error();
    if (Status s = write_tokens(out->fd(), key, file); !s) return fail(s.code(), options.output + ": " + s.error().detail);
    if (Status s = out->keep(); !s) return s.error();
    return file;
}

}  // namespace

int run(const MemberOptions& options) {
    const Result<TokenFile> made = issue(options);
    if (!made) {
        std::fprintf(stderr, "mssl member issue: %s\n", printable(made.error().detail).c_str());
        return kFailed;
    }
    std::printf("realm    %s\nserial   %s\nexpires  %s\ntokens   %u\n", made->realm.hex().c_str(),
                made->membership.serial.hex().c_str(), iso_time(made->membership.expiry).c_str(), made->count);
    if (std::fflush(stdout) != 0) {
        std::perror("mssl member issue: standard output");
        return kFailed;
    }
    return kDone;
}

}  // namespace mssl::tools
