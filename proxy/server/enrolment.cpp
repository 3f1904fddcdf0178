#include "proxy/server/enrolment.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "protocol/bytes.h"
#include "protocol/resolve.h"
#include "proxy/core/files.h"
#include "proxy/core/net.h"

namespace mssl::proxy {
namespace {

constexpr std::string_view kEnrolDomain = "mssl/1 enrol";  // protocol/frame.h, Enrol
// A hundred thousand tokens of a usual length.
constexpr std::size_t kMaxTokenFileBytes = std::size_t{8} << 20;
constexpr std::size_t kMaxUsedFileBytes = std::size_t{64} << 20;

Hash hash_of(std::string_view token) {
    Hash out;
    SHA256(as_view(token).data(), token.size(), out.bytes.data());
    return out;
}

// Compares with every entry, wherever it is found: the time says nothing about the tokens.
bool contains(const std::vector<Hash>& list, const Hash& wanted) {
    unsigned found = 0;
    for (const Hash& h : list) found |= CRYPTO_memcmp(h.bytes.data(), wanted.bytes.data(), Hash::size) == 0 ? 1U : 0U;
    return found != 0;
}

template <class Use>
Status each_line(std::string_view text, Use use) {
    std::size_t number = 0;
    while (!text.empty()) {
        ++number;
        const std::size_t end = text.find('\n');
        std::string_view line = text.substr(0, end);
        text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
        while (!line.empty() && (line.back() == '\r' || line.back() == ' ' || line.back() == '\t')) line.remove_suffix(1);
        while (!line.empty() && (line.front() == ' ' || line.front() == '\t')) line.remove_prefix(1);
        if (line.empty()) continue;
        if (Status s = use(line, number); !s) return s;
    }
    return {};
}

Result<std::vector<Hash>> read_tokens(const std::string& path) {
    Result<std::string> text = read_text_file(path, kMaxTokenFileBytes);
    if (!text) return text.error();
    std::vector<Hash> out;
    const Status read = each_line(*text, [&](std::string_view line, std::size_t number) -> Status {
        if (line.front() == '#') return {};
        if (line.size() > kMaxTokenBytes)
            return fail(Errc::malformed, path + ":" + std::to_string(number) + ": a token has at most " +
                                             std::to_string(kMaxTokenBytes) + " bytes");
        out.push_back(hash_of(line));
        return {};
    });
    OPENSSL_cleanse(text->data(), text->size());
    if (!read) return read.error();
    return out;
}

// Lines that a crash cut short are skipped: their certificate never went out.
Result<std::vector<Enrolment::Used>> read_used(const std::string& path) {
    Result<std::string> text = read_text_file(path, kMaxUsedFileBytes);
    if (!text && text.code() == Errc::no_such_object) {
        // Made now, so that its name in the directory is durable before the first line is.
        if (Status s = write_file_durably(path, {}, 0600); !s) return s.error();
        return std::vector<Enrolment::Used>{};
    }
    if (!text) return text.error();
    std::vector<Enrolment::Used> out;
    const Status read = each_line(*text, [&](std::string_view line, std::size_t) -> Status {
        const std::size_t space = line.find(' ');
        const Result<Bytes> token = from_hex(line.substr(0, space));
        if (!token || token->size() != Hash::size) return {};
        // Without a key: nobody's any more.
        const Result<Bytes> key = from_hex(space == std::string_view::npos ? std::string_view{} : line.substr(space + 1));
        out.push_back({Hash::from(*token), key && key->size() == Hash::size ? Hash::from(*key) : Hash{}});
        return {};
    });
    if (!read) return read.error();
    return out;
}

Status record_used(const std::string& path, const Hash& token, const Hash& key) {
    const auto failed = [&] { return fail(Errc::io, "cannot write " + path + ": " + std::strerror(errno)); };
    const Fd fd(::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
    if (!fd) return failed();
    // The line break first: it ends a line that a crash cut short.
    const std::string line = "\n" + token.hex() + " " + key.hex() + "\n";
    const ssize_t n = ::write(fd.get(), line.data(), line.size());
    if (n < 0 || static_cast<std::size_t>(n) != line.size() || ::fsync(fd.get()) != 0) return failed();
    return {};
}

}  // namespace

Result<std::shared_ptr<Enrolment>> Enrolment::open(const ServerConfig& config, CurrentRealm realm) {
    std::shared_ptr<Enrolment> out(new Enrolment(std::move(realm), config.state + "/used-tokens"));
    Result<std::vector<Used>> used = read_used(out->used_path_);
    if (!used) return used.error();
    out->used_ = *std::move(used);
    if (Status s = out->reload(config); !s) return s.error();
    return out;
}

Status Enrolment::reload(const ServerConfig& config) {
    std::vector<Hash> tokens;
    const bool needed = config.enrol != "open";
    if (needed) {
        Result<std::vector<Hash>> read = read_tokens(config.token_file);
        if (!read) return read.error();
        tokens = *std::move(read);
    }
    const std::lock_guard lock(mutex_);
    tokens_ = std::move(tokens);
    tokens_needed_ = needed;
    days_ = static_cast<int>(config.member_days);
    return {};
}

Result<Certificate> Enrolment::enrol(const Realm& realm, const Enrol& request, View exporter, WallTime now) {
    if (!check_possession(request.key, kEnrolDomain, exporter, request.proof))
        return fail(Errc::bad_signature, "the proof of possession does not hold");
    int days;
    {
        const std::lock_guard lock(mutex_);
        days = days_;
        if (tokens_needed_) {
            if (Status s = use_token(request.token, request.key); !s) return s.error();
        }
    }
    return realm.enrol(request.key, now, days);
}

Status Enrolment::use_token(std::string_view token, const PublicKey& key) {
    const Hash hash = hash_of(token);
    const Hash user = Hash::from(member_id_of(key).view());
    const bool known = !token.empty() && contains(tokens_, hash);
    const auto used = std::ranges::find(used_, hash, &Used::token);
    const bool free = used == used_.end();
    if (!known || (!free && used->key != user)) return fail(Errc::denied, "no token, or one that is not good (any more)");
    if (!free) return {};
    if (Status s = record_used(used_path_, hash, user); !s) return s;
    used_.push_back({hash, user});
    return {};
}

}  // namespace mssl::proxy
