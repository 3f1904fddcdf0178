// mssl publish: asks a server's daemon to hash an object before anybody wants it.
//
// POST /publish?url=… or ?file=… (a path of the server's host) on the status address. The answer is lines of JSON while it
// goes on: {"url", "state", "hashed", "length", "object"?, "error"?}, state one of "hashing", "published", "failed".
#include <unistd.h>

#include <cstdio>
#include <filesystem>

#include "tools/http.h"
#include "tools/interrupt.h"
#include "tools/json.h"
#include "tools/progress.h"
#include "tools/text.h"
#include "tools/verbs.h"

namespace mssl::tools {
namespace {

constexpr std::size_t kMaxLine = 64 * 1024;
constexpr std::size_t kMaxAnswer = 64 * 1024;
// A cold object is read from the origin first, which may think.
constexpr auto kPatience = std::chrono::minutes(10);

void complain(const std::string& why) { std::fprintf(stderr, "mssl publish: %s\n", printable(why).c_str()); }

std::string percent_encoded(std::string_view text) {
    static constexpr char digits[] = "0123456789ABCDEF";
    std::string out;
    for (const char signed_c : text) {
        const auto c = static_cast<unsigned char>(signed_c);
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                           c == '-' || c == '.' || c == '_' || c == '~' || c == '/';
        if (plain) {
            out += signed_c;
        } else {
            out += '%';
            out += digits[c >> 4];
            out += digits[c & 15];
        }
    }
    return out;
}

Result<std::string> query_of(const std::string& what) {
    if (what.find("://") != std::string::npos) {
        const Result<Url> url = parse_url(what);
        if (!url) return url.error();
        return "url=" + percent_encoded(url->text());
    }
    std::error_code ec;
    const std::filesystem::path file = std::filesystem::canonical(what, ec);
    if (ec) return fail(Errc::io, what + ": " + ec.message());
    return "file=" + percent_encoded(file.string());
}

// Follows the lines; the last one is what it came to.
class Follower {
public:
    explicit Follower(const PublishOptions& options) : options_(options), progress_(options.quiet || options.json) {}

    Status line(std::string_view text) {
        if (text.empty()) return {};
        Result<Json> parsed = Json::parse(text);
        if (!parsed) return parsed.error();
        if (options_.json) {
            std::printf("%s\n", parsed->dump(0).c_str());
            std::fflush(stdout);
        }
        last_ = std::move(*parsed);
        const std::uint64_t length = last_["length"].number();
        progress_.show(last_["hashed"].number(), length != 0 ? std::optional(length) : std::nullopt);
        return {};
    }

    void stop() { progress_.clear(); }

    int outcome() {
        progress_.clear();
        if (last_["state"].text() != "published") {
            const std::string_view why = last_["error"].text();
            complain(options_.what + ": " + (why.empty() ? "the server did not say that it is done" : std::string(why)));
            return kFailed;
        }
        if (!options_.quiet && !options_.json)
            std::printf("%s  %s  object %s\n", printable(options_.what).c_str(), size_text(last_["length"].number()).c_str(),
                        printable(last_["object"].text()).c_str());
        return kDone;
    }

private:
    const PublishOptions& options_;
    Progress progress_;
    Json last_;
};

Status follow(HttpExchange& exchange, Follower& follower) {
    std::string text;
    Bytes piece(16 * 1024);
    for (;;) {
        const Result<std::size_t> n = exchange.read(piece);
        if (!n) return n.error();
        if (*n == 0) return follower.line(text);
        text.append(reinterpret_cast<const char*>(piece.data()), *n);
        std::size_t end;
        while ((end = text.find('\n')) != std::string::npos) {
            if (Status s = follower.line(std::string_view(text).substr(0, end)); !s) return s;
            text.erase(0, end + 1);
        }
        if (text.size() > kMaxLine) return fail(Errc::too_large, "a line of progress");
    }
}

}  // namespace

int run(const PublishOptions& options) {
    const Result<Endpoint> at = parse_endpoint(options.status, 0);
    const Result<std::string> query = query_of(options.what);
    if (!at || !query) {
        complain(at ? query.error().detail : "--status: " + at.error().detail);
        return at && query.code() == Errc::io ? kFailed : kUsage;
    }
    Interrupt interrupt;
    HttpRequest request;
    request.method = "POST";
    request.target = "/publish?" + *query;
    request.host = at->text();
    request.fields = {{"Content-Length", "0"}};
    Result<HttpExchange> exchange =
        HttpExchange::start(*at, request, Waiting{interrupt.descriptor(), {}, kPatience});
    if (!exchange) {
        complain(exchange.error().to_string());
        if (exchange.code() == Errc::cancelled) interrupt.die_if_interrupted();
        return kFailed;
    }
    if (const unsigned status = exchange->response().status; status != 200 && status != 202) {
        const Result<std::string> why = exchange->read_all(kMaxAnswer);
        complain(options.what + ": " + std::to_string(status) + (why && !why->empty() ? ": " + why->substr(0, why->find('\n')) : ""));
        return kFailed;
    }
    Follower follower(options);
    const Status followed = follow(*exchange, follower);
    if (!followed) {
        follower.stop();
        if (followed.code() == Errc::cancelled) interrupt.die_if_interrupted();
        complain(options.what + ": " + followed.error().to_string());
        return kFailed;
    }
    return follower.outcome();
}

}  // namespace mssl::tools
