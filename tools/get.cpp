// mssl get: a URL into a file, through an msslproxy: a running one, or a child of our own.
//
// The proxy finds sources and verifies; what is left to us is an HTTP download that can be resumed. A part on disk is gone
// on with only when If-Range makes the server compare validators, so that a file is never sewn together of two.
#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "tools/child.h"
#include "tools/http.h"
#include "tools/interrupt.h"
#include "tools/partial.h"
#include "tools/progress.h"
#include "tools/status.h"
#include "tools/text.h"
#include "tools/transfer_view.h"
#include "tools/verbs.h"

namespace mssl::tools {
namespace {

constexpr std::size_t kPieceBytes = std::size_t{256} * 1024;
constexpr int kMaxRedirects = 10;
constexpr std::size_t kMaxWhy = 4096;  // of the body of an answer that is an error
constexpr std::uint16_t kProxyPort = 3128;
// The status page is only for show: a daemon without one, or a slow one, must not hold up the download.
constexpr auto kStatusPatience = std::chrono::milliseconds(300);
constexpr auto kBetweenStatus = std::chrono::milliseconds(500);

void complain(const std::string& why) { std::fprintf(stderr, "mssl get: %s\n", printable(why).c_str()); }

// The daemon that fetches for us.
struct Daemon {
    Endpoint proxy;
    Endpoint status;
    std::optional<ProxyChild> child;
};

Result<Daemon> find_daemon(const GetOptions& options, const Url& url) {
    std::string proxy = options.proxy;
    const bool about_child =
        options.own_daemon || options.no_fallback || !(options.server + options.ca + options.token_file).empty();
    // Lower case alone, as curl does: HTTP_PROXY is what a CGI client may set.
    if (const char* from_environment = std::getenv("http_proxy"); proxy.empty() && !about_child && from_environment)
        proxy = from_environment;
    if (!proxy.empty()) {
        const Result<Endpoint> at = parse_endpoint(proxy, kProxyPort);
        if (!at) return fail(Errc::config, "the proxy " + at.error().detail);
        return Daemon{*at, *parse_endpoint(kDefaultStatusAddress, 0), std::nullopt};
    }
    Result<ProxyChild> child =
        ProxyChild::start({url.at, options.server, options.ca, options.token_file, !options.no_fallback});
    if (!child) return child.error();
    const Endpoint at = child->proxy();
    const Endpoint status = child->status();
    return Daemon{at, status, std::move(*child)};
}

class Download {
public:
    Download(const GetOptions& options, Daemon& daemon, Interrupt& interrupt, PartialFile& file)
        : options_(options), daemon_(daemon), interrupt_(interrupt), file_(file), progress_(options.quiet) {}

    // Fetches the whole of it into the part. Errors: what went wrong, for the user.
    Status run(Url url);
    void show_summary(const std::string& name);
    void show_nothing() { progress_.clear(); }

private:
    enum class Step : std::uint8_t { done, redirected, again };
    Result<HttpExchange> request(const Url& url, const std::optional<PartInfo>& part);
    Result<Step> answer(HttpExchange& exchange, Url& url, const std::optional<PartInfo>& part);
    Status body(HttpExchange& exchange, std::optional<std::uint64_t> total);
    Status refused(HttpExchange& exchange);
    void tick();
    void ask_status();

    const GetOptions& options_;
    Daemon& daemon_;
    Interrupt& interrupt_;
    PartialFile& file_;
    Progress progress_;
    Url url_;
    std::optional<std::uint64_t> total_;
    std::uint64_t had_ = 0;  // bytes of an earlier run
    bool may_resume_ = false;
    Json transfer_;
    std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
    std::chrono::steady_clock::time_point asked_{};
};

void Download::ask_status() {
    asked_ = std::chrono::steady_clock::now();
    const Result<Json> status = fetch_status(daemon_.status, Waiting{interrupt_.descriptor(), {}, kStatusPatience});
    if (status) transfer_ = transfer_of(*status, url_);
}

void Download::tick() {
    if (!progress_.due()) return;
    if (std::chrono::steady_clock::now() - asked_ > kBetweenStatus) ask_status();
    progress_.show(file_.size(), total_, sources_text(transfer_));
}

Result<HttpExchange> Download::request(const Url& url, const std::optional<PartInfo>& part) {
    HttpRequest request;
    request.target = url.text();
    request.host = url.host_field();
    if (part) {
        request.fields.emplace_back("Range", "bytes=" + std::to_string(file_.size()) + "-");
        request.fields.emplace_back("If-Range", part->validator);
    }
    Waiting waiting;
    waiting.cancel = interrupt_.descriptor();
    waiting.tick = [this] { tick(); };
    return HttpExchange::start(daemon_.proxy, request, std::move(waiting));
}

Status Download::refused(HttpExchange& exchange) {
    std::string why = "the answer is " + std::to_string(exchange.response().status);
    // msslproxy's own errors are a line or two of text; an origin's page of HTML is nothing to print.
    if (exchange.response().field("content-type").starts_with("text/plain"))
        if (const Result<std::string> text = exchange.read_all(kMaxWhy); text && !text->empty())
            why += ": " + text->substr(0, text->find_last_not_of("\r\n") + 1);
    return fail(Errc::unexpected, why);
}

Status Download::body(HttpExchange& exchange, std::optional<std::uint64_t> total) {
    total_ = total;
    Bytes piece(kPieceBytes);
    for (;;) {
        const Result<std::size_t> n = exchange.read(piece);
        if (!n) return n.error();
        if (*n == 0) break;
        if (Status s = file_.append(View(piece).first(*n)); !s) return s;
    }
    if (total_ && file_.size() != *total_)
        return fail(Errc::truncated, std::to_string(file_.size()) + " bytes came, " + std::to_string(*total_) + " were announced");
    return {};
}

Result<Download::Step> Download::answer(HttpExchange& exchange, Url& url, const std::optional<PartInfo>& part) {
    const HttpResponse& response = exchange.response();
    const auto range = parse_content_range(response.field("content-range"));
    const auto start_over = [&]() -> Result<Step> {
        may_resume_ = false;
        return Step::again;
    };
    switch (response.status) {
    case 200: {
        PartInfo info{url.text(), validator_of(response), std::nullopt};
        if (exchange.framing().how == BodyFraming::How::length) info.length = exchange.framing().length;
        if (Status s = file_.begin(info); !s) return s.error();
        if (Status s = body(exchange, info.length); !s) return s.error();
        return Step::done;
    }
    case 206: {
        if (!part) return fail(Errc::unexpected, "a part came that was not asked for");
        // If-Range has the server compare; that it did is checked as far as can be.
        const std::string validator = validator_of(response);
        if (!range || range->first != file_.size() || (!validator.empty() && validator != part->validator) ||
            (part->length && range->length && *part->length != *range->length))
            return start_over();
        had_ = file_.size();
        if (Status s = body(exchange, range->length ? range->length : part->length); !s) return s.error();
        return Step::done;
    }
    case 416:
        // Nothing lies behind what is there: it was whole already, when the length says so.
        if (!part || !range || range->length != file_.size()) return start_over();
        had_ = file_.size();
        total_ = range->length;
        return Step::done;
    case 301:
    case 302:
    case 303:
    case 307:
    case 308: {
        Result<Url> next = follow_location(url, response.field("location"));
        if (!next) return fail(next.code(), "redirected: " + next.error().detail);
        url = std::move(*next);
        return Step::redirected;
    }
    default: break;
    }
    Status s = refused(exchange);
    return s.error();
}

Status Download::run(Url url) {
    may_resume_ = options_.resume;
    int redirects = 0;
    for (int attempts = 0; attempts < kMaxRedirects + 2; ++attempts) {
        url_ = url;
        const auto part = may_resume_ ? file_.resumable(url.text()) : std::nullopt;
        Result<HttpExchange> exchange = request(url, part);
        if (!exchange) return exchange.error();
        const Result<Step> step = answer(*exchange, url, part);
        if (!step) return step.error();
        switch (*step) {
        case Step::done: return {};
        case Step::again: break;
        case Step::redirected:
            // The daemon knows one server, that of the first URL: from any other place bytes would come unverified.
            if (options_.no_fallback && (url.at.host != url_.at.host || url.at.port != url_.at.port))
                return fail(Errc::unexpected, "redirected to " + url.at.text() + ", another server, which --no-fallback excludes");
            if (++redirects > kMaxRedirects) return fail(Errc::unexpected, "redirected more than ten times");
            break;
        }
    }
    return fail(Errc::unexpected, "no usable answer");
}

void Download::show_summary(const std::string& name) {
    const bool wanted = progress_.visible();
    if (wanted) ask_status();
    progress_.clear();
    if (!wanted) return;
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun_).count();
    const std::uint64_t now = file_.size() - had_;
    std::string text = name + ": " + size_text(file_.size());
    if (had_ != 0) text += " (" + size_text(had_) + " of them before)";
    text += " in " + duration_text(seconds) + ", " + rate_text(static_cast<double>(now) / std::max(seconds, 1e-3));
    const std::string sources = sources_text(transfer_);
    if (!sources.empty())
        text += "; " + sources;
    else if (daemon_.child)
        text += "; relayed from the origin, not shared";
    std::fprintf(stderr, "%s\n", printable(text).c_str());
}

int report(const Status& status, const Daemon& daemon, const PartialFile& file, bool quiet) {
    complain(status.error().to_string());
    if (daemon.child && (status.code() == Errc::reset || status.code() == Errc::unreachable))
        if (const std::string words = daemon.child->last_words(); !words.empty())
            std::fprintf(stderr, "msslproxy said:\n%s", words.c_str());
    if (!quiet && !file.is_stream() && file.size() != 0)
        std::fprintf(stderr, "%s has %s; mssl get -c goes on from there\n", printable(file.part_path()).c_str(),
                     size_text(file.size()).c_str());
    return kFailed;
}

}  // namespace

int run(const GetOptions& options) {
    const Result<Url> url = parse_url(options.url);
    if (!url) {
        complain(url.error().detail);
        return kUsage;
    }
    const std::string name = options.output.empty() ? file_name_of(*url) : options.output;
    Result<PartialFile> file = PartialFile::open(name);
    if (!file) {
        complain(file.error().detail);
        return kFailed;
    }
    Interrupt interrupt;
    int status = kDone;
    {
        Result<Daemon> daemon = find_daemon(options, *url);
        if (!daemon) {
            file->discard_if_empty();
            complain(daemon.error().detail);
            return daemon.code() == Errc::config ? kUsage : kFailed;
        }
        Download download(options, *daemon, interrupt, *file);
        Status done = download.run(*url);
        if (done) done = file->finish();
        if (done) {
            download.show_summary(name);
        } else {
            file->discard_if_empty();
            download.show_nothing();
            status = report(done, *daemon, *file, options.quiet);
        }
    }
    // The child is gone by now.
    interrupt.die_if_interrupted();
    return status;
}

}  // namespace mssl::tools
