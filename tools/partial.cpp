#include "tools/partial.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <ctime>
#include <filesystem>

#include "tools/json.h"

namespace mssl::tools {
namespace {

constexpr std::size_t kMaxInfoBytes = 32 * 1024;
// A server's clock ticks in seconds: within the same one a file can change without its date showing it.
constexpr std::int64_t kDateIsStrongAfter = 1;

std::optional<std::int64_t> parse_http_date(std::string_view text) {
    const std::string copy(text);
    std::tm parts{};
    const char* end = strptime(copy.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
    if (end == nullptr || *end != '\0') return std::nullopt;
    return timegm(&parts);
}

std::optional<std::uint64_t> parse_digits(std::string_view text) {
    if (text.empty() || text.size() > 18) return std::nullopt;
    std::uint64_t out = 0;
    for (const char c : text) {
        if (c < '0' || c > '9') return std::nullopt;
        out = out * 10 + static_cast<std::uint64_t>(c - '0');
    }
    return out;
}

// A name survives a crash only when its directory is synced too.
Status sync_directory_of(const std::string& path) {
    const std::string parent = std::filesystem::path(path).parent_path().string();
    const Fd fd(::open(parent.empty() ? "." : parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd || fsync(fd.get()) != 0) return errno_error(path);
    return {};
}

}  // namespace

std::string write_part_info(const PartInfo& info) {
    Json out = Json::object();
    out.put("url", info.url);
    out.put("validator", info.validator);
    if (info.length) out.put("length", *info.length);
    return out.dump(2) + "\n";
}

Result<PartInfo> read_part_info(std::string_view text) {
    const Result<Json> json = Json::parse(text);
    if (!json) return json.error();
    PartInfo out{std::string((*json)["url"].text()), std::string((*json)["validator"].text()), std::nullopt};
    if ((*json)["length"].number() != 0) out.length = (*json)["length"].number();
    if (out.url.empty()) return fail(Errc::malformed, "no url");
    return out;
}

std::string validator_of(const HttpResponse& response) {
    const std::string_view etag = response.field("etag");
    if (!etag.empty()) return etag.starts_with("W/") ? std::string() : std::string(etag);
    const auto modified = parse_http_date(response.field("last-modified"));
    const auto date = parse_http_date(response.field("date"));
    if (!modified || !date || *date < *modified + kDateIsStrongAfter) return {};
    return std::string(response.field("last-modified"));
}

std::optional<ContentRange> parse_content_range(std::string_view value) {
    constexpr std::string_view kUnit = "bytes ";
    if (!value.starts_with(kUnit)) return std::nullopt;
    value.remove_prefix(kUnit.size());
    const std::size_t slash = value.find('/');
    if (slash == std::string_view::npos) return std::nullopt;
    ContentRange out;
    const std::string_view length = value.substr(slash + 1);
    if (length != "*") {
        out.length = parse_digits(length);
        if (!out.length) return std::nullopt;
    }
    const std::string_view range = value.substr(0, slash);
    if (range == "*") return out.length ? std::optional(out) : std::nullopt;
    const std::size_t dash = range.find('-');
    if (dash == std::string_view::npos) return std::nullopt;
    out.first = parse_digits(range.substr(0, dash));
    const auto last = parse_digits(range.substr(dash + 1));
    if (!out.first || !last || *last < *out.first || (out.length && *last >= *out.length)) return std::nullopt;
    out.last = *last;
    return out;
}

Result<PartialFile> PartialFile::open(const std::string& output) {
    PartialFile out;
    if (output == "-") {
        out.fd_ = Fd(fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0));
        if (!out.fd_) return errno_error("standard output");
        return out;
    }
    struct stat st {};
    if (stat(output.c_str(), &st) == 0 && S_ISDIR(st.st_mode)) return fail(Errc::io, output + ": is a directory");
    out.path_ = output;
    out.part_ = output + ".part";
    // O_NOFOLLOW: a link planted in a shared directory shall not choose what is written.
    out.fd_ = Fd(::open(out.part_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666));
    if (!out.fd_) return errno_error(out.part_);
    if (flock(out.fd_.get(), LOCK_EX | LOCK_NB) != 0)
        return fail(Errc::busy, out.part_ + ": another mssl get is writing it");
    if (fstat(out.fd_.get(), &st) != 0) return errno_error(out.part_);
    if (!S_ISREG(st.st_mode)) return fail(Errc::io, out.part_ + ": is no file");
    out.size_ = static_cast<std::uint64_t>(st.st_size);
    if (lseek(out.fd_.get(), 0, SEEK_END) < 0) return errno_error(out.part_);
    return out;
}

std::optional<PartInfo> PartialFile::resumable(const std::string& url) const {
    if (is_stream() || size_ == 0) return std::nullopt;
    const Result<Bytes> text = read_small_file(part_ + ".info", kMaxInfoBytes);
    if (!text) return std::nullopt;
    Result<PartInfo> info =
        read_part_info({reinterpret_cast<const char*>(text->data()), text->size()});
    if (!info || info->url != url || info->validator.empty()) return std::nullopt;
    if (info->length && size_ > *info->length) return std::nullopt;
    return std::move(*info);
}

Status PartialFile::begin(const PartInfo& info) {
    if (is_stream()) return {};
    // The order matters: an old part beside a new info would be taken for a piece of the new representation.
    if (ftruncate(fd_.get(), 0) != 0 || lseek(fd_.get(), 0, SEEK_SET) < 0) return errno_error(part_);
    size_ = 0;
    const std::string name = part_ + ".info";
    unlink(name.c_str());
    // 0600: the URL's query may be a secret.
    const Fd fd(::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd) return errno_error(name);
    return write_all(fd.get(), as_view(write_part_info(info)));
}

Status PartialFile::append(View bytes) {
    if (Status s = write_all(fd_.get(), bytes); !s)
        return fail(s.error().code, (is_stream() ? "standard output" : part_) + ": " + s.error().detail);
    size_ += bytes.size();
    return {};
}

Status PartialFile::finish() {
    if (is_stream()) return {};
    if (fsync(fd_.get()) != 0) return errno_error(part_);
    if (rename(part_.c_str(), path_.c_str()) != 0) return errno_error(path_);
    unlink((part_ + ".info").c_str());
    return sync_directory_of(path_);
}

void PartialFile::discard_if_empty() {
    if (is_stream() || size_ != 0) return;
    unlink(part_.c_str());
    unlink((part_ + ".info").c_str());
}

}  // namespace mssl::tools
