#include "proxy/server/root_origin.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "proxy/http/semantics.h"
#include "proxy/http/syntax.h"

namespace mssl::proxy {
namespace {

// One read of a worker: a few milliseconds of a slow disk, and one piece of on_body.
constexpr std::size_t kReadBytes = 256 * 1024;

int hex_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    return ascii_lower(c) - 'a' + 10;
}

// openat2 where there is one; else (ENOSYS, EPERM of old sandboxes) every component by itself, no symbolic link at all.
Fd open_beneath(int root, const std::string& path) {
    constexpr int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    open_how how{};
    how.flags = static_cast<std::uint64_t>(flags);
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
    const long fd = ::syscall(SYS_openat2, root, path.c_str(), &how, sizeof how);
    if (fd >= 0) return Fd(static_cast<int>(fd));
    if (errno != ENOSYS && errno != EPERM) return {};
    Fd at;
    std::size_t start = 0;
    for (;;) {
        const std::size_t slash = path.find('/', start);
        const std::string part = path.substr(start, slash == std::string::npos ? slash : slash - start);
        const int last = slash == std::string::npos ? 0 : O_DIRECTORY;
        Fd next(::openat(at ? at.get() : root, part.c_str(), flags | O_NOFOLLOW | last));
        if (!next || slash == std::string::npos) return next;
        at = std::move(next);
        start = slash + 1;
    }
}

std::string etag_of(const struct stat& s) {
    char text[64];
    const unsigned long long ns = static_cast<unsigned long long>(s.st_mtim.tv_sec) * 1000000000ULL +
                                  static_cast<unsigned long long>(s.st_mtim.tv_nsec);
    std::snprintf(text, sizeof text, "\"%llx-%llx-%llx\"", static_cast<unsigned long long>(s.st_size), ns,
                  static_cast<unsigned long long>(s.st_ino));
    return text;
}

RootAnswer short_answer(const RequestHead& request, std::uint16_t status, std::string_view reason, WallTime now) {
    RootAnswer out;
    out.head.status = status;
    out.head.reason = reason;
    out.text = std::string(reason) + "\n";
    out.head.fields.add("Date", format_http_date(now.unix_seconds));
    out.head.fields.add("Content-Type", "text/plain");
    out.head.body = BodyKind::length;
    out.head.length = out.text.size();
    if (request.method == "HEAD") {
        out.head.fields.add("Content-Length", std::to_string(out.text.size()));
        out.head.body = BodyKind::none;
        out.head.length = 0;
        out.text.clear();
    }
    return out;
}

std::string_view type_of_name(std::string_view path) {
    static constexpr std::pair<std::string_view, std::string_view> types[] = {
        {".html", "text/html"},        {".htm", "text/html"},      {".txt", "text/plain"},     {".css", "text/css"},
        {".js", "text/javascript"},    {".json", "application/json"}, {".xml", "text/xml"},    {".svg", "image/svg+xml"},
        {".png", "image/png"},         {".jpg", "image/jpeg"},     {".jpeg", "image/jpeg"},    {".gif", "image/gif"},
        {".webp", "image/webp"},       {".mp4", "video/mp4"},      {".webm", "video/webm"},    {".pdf", "application/pdf"},
        {".gz", "application/gzip"},   {".xz", "application/x-xz"}, {".zst", "application/zstd"}, {".zip", "application/zip"},
        {".tar", "application/x-tar"}, {".wasm", "application/wasm"},
    };
    for (const auto& [end, type] : types) {
        if (path.ends_with(end)) return type;
    }
    return "application/octet-stream";
}

class RootExchange final : public OriginExchange {
public:
    RootExchange(Runtime& runtime, Loop& loop, std::shared_ptr<const Fd> root, RequestHead head, HttpClientHandler& handler)
        : state_(std::make_shared<State>(State{&runtime.workers, &loop, &handler, {}, nullptr, 0, 0, 0, false, false})) {
        loop.counters();  // belongs to the loop from here on
        runtime.workers.submit(
            loop,
            [root = std::move(root), head = std::move(head)] {
                return std::make_shared<RootAnswer>(answer_from_root(root->get(), head, wall_now()));
            },
            [state = state_](std::shared_ptr<RootAnswer> answer) { begin(state, std::move(answer)); });
    }
    ~RootExchange() override { state_->handler = nullptr; }
    // GET and HEAD need no content: whatever comes is dropped.
    bool write_body(View) override { return true; }
    void end_body() override {}
    void pause_reading(bool paused) override {
        state_->paused = paused;
        if (!paused && state_->answer && !state_->reading)
            state_->loop->post([state = state_] { next(state); });
    }

private:
    struct State {
        Workers* workers;
        Loop* loop;
        HttpClientHandler* handler;  // null: the exchange is gone
        std::shared_ptr<RootAnswer> answer;
        std::shared_ptr<std::uint8_t[]> buffer;
        std::size_t held = 0;        // bytes in buffer that were read while paused
        std::uint64_t at = 0, left = 0;
        bool paused, reading;
    };

    static void begin(const std::shared_ptr<State>& s, std::shared_ptr<RootAnswer> answer) {
        if (s->handler == nullptr) return;
        s->answer = std::move(answer);
        s->at = s->answer->first;
        s->left = s->answer->file ? s->answer->head.length : 0;
        s->reading = true;
        s->handler->on_response_head(s->answer->head);
        if (s->handler != nullptr && !s->answer->text.empty()) s->handler->on_body(as_view(s->answer->text));
        s->reading = false;
        next(s);
    }

    static void next(const std::shared_ptr<State>& s) {
        if (s->handler == nullptr || s->reading || s->paused || !s->answer) return;
        if (s->held != 0) {
            const std::size_t n = s->held;
            s->held = 0;
            s->reading = true;
            s->handler->on_body({s->buffer.get(), n});
            s->reading = false;
            if (s->handler == nullptr || s->paused) return;
        }
        if (s->left == 0) {
            s->answer.reset();
            HttpClientHandler* handler = s->handler;
            s->handler = nullptr;
            handler->on_complete();
            return;
        }
        s->reading = true;
        if (!s->buffer) s->buffer = std::make_shared<std::uint8_t[]>(kReadBytes);
        const std::size_t want = static_cast<std::size_t>(std::min<std::uint64_t>(s->left, kReadBytes));
        s->workers->submit(
            *s->loop,
            [answer = s->answer, buffer = s->buffer, at = s->at, want] {
                return read_some(*answer, buffer.get(), at, want);
            },
            [s](Result<std::size_t> n) { arrived(s, std::move(n)); });
    }

    static Result<std::size_t> read_some(const RootAnswer& answer, std::uint8_t* into, std::uint64_t at, std::size_t want) {
        ssize_t n;
        do {
            n = ::pread(answer.file.get(), into, want, static_cast<off_t>(at));
        } while (n < 0 && errno == EINTR);
        if (n < 0) return fail(Errc::io, std::string("cannot read the file: ") + std::strerror(errno));
        struct stat now {};
        if (n == 0 || ::fstat(answer.file.get(), &now) != 0 || etag_of(now) != answer.etag)
            return fail(Errc::truncated, "the file changed while it was read");
        return static_cast<std::size_t>(n);
    }

    static void arrived(const std::shared_ptr<State>& s, Result<std::size_t> n) {
        s->reading = false;
        if (s->handler == nullptr) return;
        if (!n) {
            HttpClientHandler* handler = s->handler;
            s->handler = nullptr;
            handler->on_error(n.error());
            return;
        }
        s->at += *n;
        s->left -= *n;
        s->held = *n;
        next(s);
    }

    std::shared_ptr<State> state_;
};

class RootOrigin final : public Origin {
public:
    RootOrigin(Runtime& runtime, OriginConfig config, Fd root)
        : Origin(std::move(config)), runtime_(&runtime), root_(std::make_shared<const Fd>(std::move(root))) {}
    std::unique_ptr<OriginExchange> start(Loop& loop, RequestHead head, HttpClientHandler& handler) const override {
        return std::make_unique<RootExchange>(*runtime_, loop, root_, std::move(head), handler);
    }

private:
    Runtime* runtime_;
    std::shared_ptr<const Fd> root_;
};

}  // namespace

std::optional<std::string> root_path(std::string_view target) {
    target = target.substr(0, target.find('?'));
    if (!target.starts_with('/')) return std::nullopt;
    target.remove_prefix(1);
    std::string out;
    for (std::size_t i = 0; i < target.size(); ++i) {
        if (target[i] != '%') {
            out.push_back(target[i]);
            continue;
        }
        if (i + 2 >= target.size() || !is_hex(target[i + 1]) || !is_hex(target[i + 2])) return std::nullopt;
        const char c = static_cast<char>(hex_value(target[i + 1]) * 16 + hex_value(target[i + 2]));
        if (c == '\0' || c == '/') return std::nullopt;
        out.push_back(c);
        i += 2;
    }
    std::string_view rest = out;
    for (;;) {
        const std::size_t slash = rest.find('/');
        const std::string_view segment = rest.substr(0, slash);
        if (segment == "." || segment == "..") return std::nullopt;
        // "a//b" and a trailing slash name no regular file.
        if (segment.empty()) return std::nullopt;
        if (slash == std::string_view::npos) return out;
        rest.remove_prefix(slash + 1);
    }
}

RootAnswer answer_from_root(int root_fd, const RequestHead& request, WallTime now) {
    if (request.method != "GET" && request.method != "HEAD") {
        RootAnswer out = short_answer(request, 405, "Method Not Allowed", now);
        out.head.fields.add("Allow", "GET, HEAD");
        return out;
    }
    const std::optional<std::string> path = root_path(request.target);
    if (!path) return short_answer(request, 404, "Not Found", now);
    Fd file = open_beneath(root_fd, *path);
    if (!file) {
        if (errno == EACCES || errno == EPERM) return short_answer(request, 403, "Forbidden", now);
        return short_answer(request, 404, "Not Found", now);
    }
    struct stat s {};
    if (::fstat(file.get(), &s) != 0 || !S_ISREG(s.st_mode)) return short_answer(request, 404, "Not Found", now);

    RootAnswer out;
    out.etag = etag_of(s);
    const auto length = static_cast<std::uint64_t>(s.st_size);
    // A date that is later than now would be ours to correct (RFC 9110 §8.8.2.1).
    const std::int64_t modified = std::min<std::int64_t>(s.st_mtim.tv_sec, now.unix_seconds);
    RangeAnswer range = answer_range(request.fields, {out.etag, modified}, length);
    if (request.method == "HEAD" && (range.status == 206 || range.status == 416)) range = {200, 0, length};
    if (range.status == 412) return short_answer(request, 412, "Precondition Failed", now);

    Fields& fields = out.head.fields;
    out.head.status = range.status;
    fields.add("Date", format_http_date(now.unix_seconds));
    fields.add("ETag", out.etag);
    fields.add("Last-Modified", format_http_date(modified));
    fields.add("Accept-Ranges", "bytes");
    if (range.status == 304) {
        out.head.reason = "Not Modified";
        return out;
    }
    if (range.status == 416) {
        out = short_answer(request, 416, "Range Not Satisfiable", now);
        out.head.fields.add("Content-Range", "bytes */" + std::to_string(length));
        return out;
    }
    fields.add("Content-Type", std::string(type_of_name(*path)));
    out.head.reason = range.status == 206 ? "Partial Content" : "OK";
    if (range.status == 206)
        fields.add("Content-Range", "bytes " + std::to_string(range.first) + "-" +
                                        std::to_string(range.first + range.count - 1) + "/" + std::to_string(length));
    if (request.method == "HEAD") {
        fields.add("Content-Length", std::to_string(length));
        return out;
    }
    out.head.body = BodyKind::length;
    out.head.length = range.count;
    out.first = range.first;
    out.file = std::move(file);
    return out;
}

Result<std::shared_ptr<const Origin>> open_root_origin(Runtime& runtime, const OriginConfig& config) {
    Fd root(::open(config.root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!root) return fail(Errc::config, "origin " + config.host + ": cannot open " + config.root + ": " + std::strerror(errno));
    return std::shared_ptr<const Origin>(std::make_shared<RootOrigin>(runtime, config, std::move(root)));
}

}  // namespace mssl::proxy
