#include "tools/http.h"

#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>

namespace mssl::tools {
namespace {

constexpr std::size_t kMaxHeadBytes = 64 * 1024;
constexpr std::size_t kMaxChunkLine = 256;
constexpr int kMaxTrailerLines = 64;
constexpr std::size_t kReceiveBytes = 16 * 1024;
constexpr std::chrono::milliseconds kTick{200};

bool same_name(std::string_view a, std::string_view b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](unsigned char x, unsigned char y) {
        return std::tolower(x) == std::tolower(y);
    });
}

std::string_view trimmed(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
    return text;
}

std::optional<std::uint64_t> parse_number(std::string_view digits, unsigned base) {
    // 15 digits are far more than the largest object, and overflow nothing.
    if (digits.empty() || digits.size() > 15) return std::nullopt;
    std::uint64_t out = 0;
    for (const unsigned char c : digits) {
        if (std::isxdigit(c) == 0) return std::nullopt;
        const unsigned digit = c <= '9' ? c - '0' : static_cast<unsigned>(std::tolower(c)) - 'a' + 10;
        if (digit >= base) return std::nullopt;
        out = out * base + digit;
    }
    return out;
}

struct AddressesFree {
    void operator()(addrinfo* a) const noexcept { freeaddrinfo(a); }
};

}  // namespace

Status wait_for(int fd, short events, const Waiting& waiting) {
    const auto begun = std::chrono::steady_clock::now();
    for (;;) {
        pollfd fds[2] = {{fd, events, 0}, {waiting.cancel, POLLIN, 0}};
        const int n = poll(fds, 2, static_cast<int>(kTick.count()));
        if (n < 0 && errno != EINTR) return errno_error("poll");
        if (fds[1].revents != 0 && n > 0) return fail(Errc::cancelled, "interrupted");
        if (waiting.tick) waiting.tick();
        if (n > 0 && fds[0].revents != 0) return {};
        if (std::chrono::steady_clock::now() - begun > waiting.patience) return fail(Errc::timed_out, "no answer");
    }
}

Result<Fd> connect_to(const Endpoint& at, const Waiting& waiting) {
    std::string host = at.host;
    if (host.starts_with('[')) host = host.substr(1, host.size() - 2);
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    if (const int e = getaddrinfo(host.c_str(), std::to_string(at.port).c_str(), &hints, &found); e != 0)
        return fail(Errc::unreachable, at.text() + ": " + gai_strerror(e));
    const std::unique_ptr<addrinfo, AddressesFree> addresses(found);
    Error last = fail(Errc::unreachable, at.text());
    for (const addrinfo* a = found; a != nullptr; a = a->ai_next) {
        Fd fd(socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol));
        if (!fd) continue;
        if (connect(fd.get(), a->ai_addr, a->ai_addrlen) != 0) {
            int e = errno;
            if (e == EINPROGRESS) {
                if (Status s = wait_for(fd.get(), POLLOUT, waiting); !s) return s.error();
                socklen_t size = sizeof e;
                if (getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &e, &size) != 0) e = errno;
            }
            if (e != 0) {
                last = fail(Errc::unreachable, at.text() + ": " + std::strerror(e));
                continue;
            }
        }
        return fd;
    }
    return last;
}

std::string_view HttpResponse::field(std::string_view name) const {
    for (const auto& [field_name, value] : fields)
        if (same_name(field_name, name)) return value;
    return {};
}

Result<HttpResponse> parse_response_head(std::string_view head) {
    const auto bad = [] { return fail(Errc::malformed, "what came is not an HTTP/1.1 response"); };
    const auto next_line = [&head] {
        const std::size_t end = head.find('\n');
        std::string_view out = head.substr(0, end);
        head.remove_prefix(end == std::string_view::npos ? head.size() : end + 1);
        if (out.ends_with('\r')) out.remove_suffix(1);
        return out;
    };
    const std::string_view status_line = next_line();
    // "HTTP/1.1 200 OK"
    if (!status_line.starts_with("HTTP/1.") || status_line.size() < 12 || status_line[8] != ' ') return bad();
    const auto status = parse_number(status_line.substr(9, 3), 10);
    if (!status || *status < 100 || (status_line.size() > 12 && status_line[12] != ' ')) return bad();
    HttpResponse out;
    out.status = static_cast<unsigned>(*status);
    while (!head.empty()) {
        const std::string_view line = next_line();
        const std::size_t colon = line.find(':');
        if (colon == std::string_view::npos || colon == 0 || line.front() == ' ' || line.front() == '\t') return bad();
        out.fields.emplace_back(line.substr(0, colon), trimmed(line.substr(colon + 1)));
    }
    return out;
}

Result<BodyFraming> framing_of(const HttpResponse& response, std::string_view method) {
    using How = BodyFraming::How;
    if (method == "HEAD" || response.status == 204 || response.status == 304) return BodyFraming{How::length, 0};
    bool chunked = false;
    std::optional<std::uint64_t> length;
    for (const auto& [name, value] : response.fields) {
        if (same_name(name, "transfer-encoding")) {
            if (!same_name(value, "chunked") || chunked) return fail(Errc::malformed, "unknown Transfer-Encoding");
            chunked = true;
        } else if (same_name(name, "content-length")) {
            const auto n = parse_number(value, 10);
            if (!n || (length && *length != *n)) return fail(Errc::malformed, "bad Content-Length");
            length = n;
        }
    }
    if (chunked && length) return fail(Errc::malformed, "Content-Length beside Transfer-Encoding");
    if (chunked) return BodyFraming{How::chunked, 0};
    if (length) return BodyFraming{How::length, *length};
    return BodyFraming{How::until_close, 0};
}

Result<HttpExchange> HttpExchange::start(const Endpoint& at, const HttpRequest& request, Waiting waiting) {
    Result<Fd> socket = connect_to(at, waiting);
    if (!socket) return socket.error();
    HttpExchange out(std::move(*socket), std::move(waiting));
    std::string head = request.method + " " + request.target + " HTTP/1.1\r\nHost: " + request.host + "\r\n";
    for (const auto& [name, value] : request.fields) head.append(name).append(": ").append(value).append("\r\n");
    head += "User-Agent: mssl/" PACKAGE_VERSION "\r\nAccept: */*\r\nConnection: close\r\n\r\n";
    if (Status s = out.send(head); !s) return s.error();
    do {
        if (Status s = out.read_head(request.method); !s) return s.error();
    } while (out.response_.status < 200);
    return out;
}

Status HttpExchange::wait(short events) { return wait_for(socket_.get(), events, waiting_); }

Status HttpExchange::send(std::string_view bytes) {
    while (!bytes.empty()) {
        const ssize_t n = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (n >= 0) {
            bytes.remove_prefix(static_cast<std::size_t>(n));
        } else if (errno == EAGAIN) {
            if (Status s = wait(POLLOUT); !s) return s;
        } else if (errno != EINTR) {
            return fail(Errc::reset, std::strerror(errno));
        }
    }
    return {};
}

Result<std::size_t> HttpExchange::receive(MutableView into) {
    for (;;) {
        // The wait comes first although bytes may be there: it is what calls tick and sees the interrupt.
        if (Status s = wait(POLLIN); !s) return s.error();
        const ssize_t n = recv(socket_.get(), into.data(), into.size(), 0);
        if (n >= 0) return static_cast<std::size_t>(n);
        if (errno != EAGAIN && errno != EINTR) return fail(Errc::reset, std::strerror(errno));
    }
}

Status HttpExchange::read_head(std::string_view method) {
    buffered_.erase(0, buffered_at_);
    buffered_at_ = 0;
    std::size_t end;
    while ((end = buffered_.find("\r\n\r\n")) == std::string::npos) {
        if (buffered_.size() > kMaxHeadBytes) return fail(Errc::too_large, "the head of the response");
        const std::size_t have = buffered_.size();
        buffered_.resize(have + kReceiveBytes);
        const Result<std::size_t> n =
            receive({reinterpret_cast<std::uint8_t*>(buffered_.data()) + have, kReceiveBytes});
        buffered_.resize(have + (n ? *n : 0));
        if (!n) return n.error();
        if (*n == 0) return fail(Errc::reset, "the connection ended before the response");
    }
    Result<HttpResponse> head = parse_response_head(std::string_view(buffered_).substr(0, end + 2));
    if (!head) return head.error();
    response_ = std::move(*head);
    buffered_at_ = end + 4;
    const Result<BodyFraming> framing = framing_of(response_, method);
    if (!framing) return framing.error();
    framing_ = *framing;
    left_ = framing_.length;
    return {};
}

Result<std::size_t> HttpExchange::take(MutableView into) {
    const std::size_t have = buffered_.size() - buffered_at_;
    if (have == 0) return receive(into);
    const std::size_t n = std::min(have, into.size());
    std::memcpy(into.data(), buffered_.data() + buffered_at_, n);
    buffered_at_ += n;
    return n;
}

Result<std::string> HttpExchange::line() {
    std::string out;
    for (;;) {
        // A byte at a time out of the buffer, which is refilled in large pieces.
        if (buffered_at_ == buffered_.size()) {
            buffered_.resize(kReceiveBytes);
            const Result<std::size_t> n =
                receive({reinterpret_cast<std::uint8_t*>(buffered_.data()), buffered_.size()});
            buffered_.resize(n ? *n : 0);
            buffered_at_ = 0;
            if (!n) return n.error();
            if (*n == 0) return fail(Errc::truncated, "the connection ended within the body");
        }
        const char c = buffered_[buffered_at_++];
        if (c == '\n') break;
        out += c;
        if (out.size() > kMaxChunkLine) return fail(Errc::malformed, "a chunk's line without end");
    }
    if (out.ends_with('\r')) out.pop_back();
    return out;
}

// RFC 9112 §7.1: CRLF behind the chunk before, the size, and after the last one the trailers, which nobody here needs.
Status HttpExchange::next_chunk() {
    if (!first_chunk_) {
        const Result<std::string> rest = line();
        if (!rest) return rest.error();
        if (!rest->empty()) return fail(Errc::malformed, "bytes behind a chunk");
    }
    first_chunk_ = false;
    const Result<std::string> size = line();
    if (!size) return size.error();
    const auto n = parse_number(trimmed(std::string_view(*size).substr(0, size->find(';'))), 16);
    if (!n) return fail(Errc::malformed, "bad size of a chunk");
    left_ = *n;
    if (left_ != 0) return {};
    for (int lines = 0; lines < kMaxTrailerLines; ++lines) {
        const Result<std::string> trailer = line();
        if (!trailer) return trailer.error();
        if (trailer->empty()) {
            ended_ = true;
            return {};
        }
    }
    return fail(Errc::too_large, "trailers");
}

Result<std::size_t> HttpExchange::read(MutableView into) {
    using How = BodyFraming::How;
    switch (framing_.how) {
    case How::until_close: return take(into);
    case How::length:
        if (left_ == 0) return std::size_t{0};
        break;
    case How::chunked:
        if (left_ == 0 && !ended_)
            if (Status s = next_chunk(); !s) return s.error();
        if (ended_) return std::size_t{0};
        break;
    }
    const Result<std::size_t> n = take(into.first(static_cast<std::size_t>(std::min<std::uint64_t>(left_, into.size()))));
    if (!n) return n.error();
    if (*n == 0) return fail(Errc::truncated, "the connection ended within the body");
    left_ -= *n;
    return *n;
}

Result<std::string> HttpExchange::read_all(std::size_t max) {
    std::string out;
    Bytes piece(kReceiveBytes);
    for (;;) {
        const Result<std::size_t> n = read(piece);
        if (!n) return n.error();
        if (*n == 0) return out;
        if (out.size() + *n > max) return fail(Errc::too_large, "the body of the response");
        out.append(reinterpret_cast<const char*>(piece.data()), *n);
    }
}

}  // namespace mssl::tools
