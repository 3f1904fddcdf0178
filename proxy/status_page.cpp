#include "proxy/status_page.h"

#include <map>

#include "proxy/core/json_text.h"
#include "proxy/core/stream.h"
#include "proxy/http/body_writer.h"
#include "proxy/http/parser.h"
#include "proxy/http/syntax.h"

namespace mssl::proxy {
namespace {

constexpr std::size_t kReadBytes = 16 * 1024;
constexpr Duration kIdleTime = std::chrono::seconds(30);
// Connections a loop: a page that polls keeps one at a time.
constexpr std::size_t kMaxConnections = 64;
constexpr std::string_view kPagePolicy =
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'";

bool names_loopback(const std::string& host) {
    if (host == "localhost" || host.ends_with(".localhost")) return true;  // RFC 6761 §6.3
    const Result<Address> address = Address::parse(host + ":1");
    return address && address->is_loopback();
}

int hex_digit(char c) { return is_digit(c) ? c - '0' : ascii_lower(c) - 'a' + 10; }

std::map<std::string_view, std::pair<std::string_view, std::uint64_t>> summed(LoopGroup& loops) {
    std::map<std::string_view, std::pair<std::string_view, std::uint64_t>> out;
    for (unsigned i = 0; i < loops.size(); ++i) {
        for (const Counters::Row& row : loops.at(i).counters().rows()) {
            auto& [help, value] = out[row.name];
            help = row.help;
            value += row.value;
        }
    }
    return out;
}

}  // namespace

std::string why_status_refused(const RequestHead& request, bool loopback) {
    const std::string* host = request.fields.find("Host");
    if (loopback && host != nullptr) {
        const Result<Authority> authority = parse_authority(*host, 80);
        if (!authority || !names_loopback(authority->host)) return "only loopback names are answered here";
    }
    const std::string* origin = request.fields.find("Origin");
    if (origin != nullptr && (host == nullptr || !iequals(*origin, "http://" + *host))) return "asked for by another site's page";
    return {};
}

std::string metrics_text(LoopGroup& loops) {
    std::string out;
    for (const auto& [name, row] : summed(loops)) {
        const auto& [help, value] = row;
        const bool gauge = help.ends_with("(gauge)");
        const std::string full = "mssl_" + std::string(name) + (gauge ? "" : "_total");
        out += "# HELP " + full + " " + std::string(help) + "\n# TYPE " + full + (gauge ? " gauge\n" : " counter\n");
        out += full + " " + std::to_string(value) + "\n";
    }
    return out;
}

std::string counters_json(LoopGroup& loops) {
    JsonText json;
    for (const auto& [name, row] : summed(loops)) json.put(name, row.second);
    return json.object();
}

std::optional<std::string> query_value(std::string_view query, std::string_view name) {
    while (!query.empty()) {
        const std::string_view pair = query.substr(0, query.find('&'));
        query.remove_prefix(std::min(query.size(), pair.size() + 1));
        if (!pair.starts_with(name) || pair.size() <= name.size() || pair[name.size()] != '=') continue;
        const std::string_view value = pair.substr(name.size() + 1);
        std::string out;
        for (std::size_t i = 0; i < value.size(); ++i) {
            if (value[i] != '%') {
                out.push_back(value[i] == '+' ? ' ' : value[i]);
                continue;
            }
            if (i + 2 >= value.size() || !is_hex(value[i + 1]) || !is_hex(value[i + 2])) return std::nullopt;
            out.push_back(static_cast<char>(hex_digit(value[i + 1]) * 16 + hex_digit(value[i + 2])));
            i += 2;
        }
        return out;
    }
    return std::nullopt;
}

struct StatusPage::Impl {
    class Connection;

    explicit Impl(Runtime& r) : runtime(r), counts(r.loops.size()) {}
    std::string about() const {
        JsonText roles;
        if (is_server) roles.item(json_quoted("server"));
        if (is_client) roles.item(json_quoted("client"));
        const auto up = std::chrono::duration_cast<std::chrono::seconds>(mono_now() - started).count();
        return "\"version\":" + json_quoted(PACKAGE_VERSION) + ",\"role\":" + roles.array() + ",\"uptime\":" + std::to_string(up) +
               ",\"counters\":" + counters_json(runtime.loops);
    }

    Runtime& runtime;
    std::shared_ptr<const StatusSources> sources;
    bool loopback = true, is_server = false, is_client = false;
    MonoTime started = mono_now();
    std::vector<std::size_t> counts;  // connections, a loop each
    std::unique_ptr<Listener> listener;
};

// One request, one answer, close. Adopted by its loop.
class StatusPage::Impl::Connection final : public Disposable, private StreamHandler {
public:
    Connection(Impl& page, Loop& loop, Fd fd) : page_(&page), loop_(&loop) {
        StreamTimeouts timeouts;
        timeouts.idle = kIdleTime;
        stream_ = Stream::accept(loop, std::move(fd), nullptr, *this, timeouts);
        ++page_->counts[loop.number()];
    }

private:
    enum class State : std::uint8_t { reading, answering, ending, over };

    void on_open() override { stream_->want_read(true); }
    void on_readable() override {
        std::array<std::uint8_t, kReadBytes> buffer;
        while (state_ != State::over) {
            const Result<std::size_t> n = stream_->read(buffer);
            if (!n) {
                if (n.code() != Errc::closed) return;
                stream_->want_read(false);
                if (state_ == State::reading) close();
                return;
            }
            View input(buffer.data(), *n);
            while (state_ == State::reading) {
                std::size_t used = 0;
                const Result<HttpEvent> event = parser_.feed(input, used);
                input = input.subspan(used);
                if (!event) return text(400, "malformed request");
                if (*event == HttpEvent::head) answer();
                if (*event == HttpEvent::need_more) break;
            }
        }
    }
    void on_writable() override { flush(); }
    void on_error(const Error&) override { close(); }

    void answer() {
        const RequestHead& request = parser_.request();
        state_ = State::answering;
        head_only_ = request.method == "HEAD";
        if (const std::string why = why_status_refused(request, page_->loopback); !why.empty()) return text(403, why);
        const std::size_t mark = request.target.find('?');
        const std::string path = request.target.substr(0, mark);
        const bool get = request.method == "GET" || head_only_;
        if (path == "/publish") return publish(request, mark);
        if (path != "/" && path != "/status.json" && path != "/metrics") return text(404, "no such page");
        if (!get) return text(405, "GET or HEAD");
        if (path == "/") return whole(200, "text/html; charset=utf-8", std::string(status_html()));
        if (path == "/metrics") return whole(200, "text/plain; version=0.0.4; charset=utf-8", metrics_text(page_->runtime.loops));
        page_->sources->collect(*loop_, page_->about(), [this, alive = std::weak_ptr<bool>(alive_)](std::string json) {
            if (!alive.expired()) whole(200, "application/json", std::move(json));
        });
    }

    void publish(const RequestHead& request, std::size_t mark) {
        if (request.method != "POST") return text(405, "POST");
        if (!page_->sources->publish()) return text(404, "this daemon has no [server]");
        const std::string_view query = mark == std::string::npos ? "" : std::string_view(request.target).substr(mark + 1);
        std::optional<std::string> url = query_value(query, "url");
        // A path of this host: the server side knows below which root it lies.
        if (!url)
            if (auto file = query_value(query, "file"); file && file->starts_with('/')) url = std::move(file);
        if (!url) return text(400, "POST /publish?url=http://host/path, with the host as applications ask for it");
        ResponseHead head = head_of(200, "application/x-ndjson");
        head.body = BodyKind::chunked;
        lines_ = BodyWriter(head.body, 0);
        put(serialize(head));
        stream_->set_idle_timeout(Duration::zero());  // an origin may think before the first line
        page_->sources->publish()(*url, *loop_, [this, alive = std::weak_ptr<bool>(alive_)](std::string json, bool last) {
            if (!alive.expired()) line(std::move(json), last);
        });
    }

    void line(std::string json, bool last) {
        if (state_ != State::answering) return;
        json += "\n";
        if (const Result<BodyWriter::Frame> frame = lines_.frame(json.size()); frame)
            put(std::string(frame->before) + json + std::string(frame->after));
        if (last) {
            if (const Result<std::string_view> end = lines_.end(); end) put(std::string(*end));
            state_ = State::ending;
        }
        flush();
    }

    static ResponseHead head_of(std::uint16_t status, std::string_view type) {
        ResponseHead head;
        head.status = status;
        head.reason = status == 200 ? "OK" : status == 403 ? "Forbidden" : status == 404 ? "Not Found" : status == 405 ? "Method Not Allowed" : "Bad Request";
        head.fields.add("Content-Type", std::string(type));
        head.fields.add("Cache-Control", "no-store");
        head.fields.add("X-Content-Type-Options", "nosniff");
        head.fields.add("Content-Security-Policy", std::string(kPagePolicy));
        head.keep_alive = false;
        return head;
    }
    void text(std::uint16_t status, std::string_view what) {
        whole(status, "text/plain; charset=utf-8", "mSSL: " + std::string(what) + "\n");
    }
    void whole(std::uint16_t status, std::string_view type, std::string body) {
        if (state_ == State::over) return;
        ResponseHead head = head_of(status, type);
        head.body = BodyKind::length;
        head.length = body.size();
        put(serialize(head));
        if (!head_only_) put(body);
        state_ = State::ending;
        flush();
    }

    void put(std::string_view bytes) { out_ += bytes; }
    void flush() {
        while (at_ < out_.size()) {
            const Result<std::size_t> n = stream_->write(as_view(out_).subspan(at_));
            if (!n) return;
            at_ += *n;
        }
        out_.clear();
        at_ = 0;
        stream_->want_write(false);
        if (state_ != State::ending) return;
        stream_->finish();
        close();
    }
    void close() {
        if (state_ == State::over) return;
        state_ = State::over;
        alive_.reset();
        stream_->want_read(false);
        stream_->want_write(false);
        --page_->counts[loop_->number()];
        loop_->release(this);
    }

    Impl* page_;
    Loop* loop_;
    std::unique_ptr<Stream> stream_;
    HttpParser parser_{HttpParser::Kind::request};
    State state_ = State::reading;
    bool head_only_ = false;
    BodyWriter lines_;
    std::string out_;
    std::size_t at_ = 0;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

StatusPage::StatusPage() = default;
StatusPage::~StatusPage() = default;

Result<std::unique_ptr<StatusPage>> StatusPage::start(Runtime& runtime, const Config& config,
                                                      std::shared_ptr<const StatusSources> sources) {
    std::unique_ptr<StatusPage> out(new StatusPage);
    out->impl_ = std::make_unique<Impl>(runtime);
    Impl& page = *out->impl_;
    page.sources = std::move(sources);
    page.is_server = config.server.has_value();
    page.is_client = config.client.has_value();
    page.loopback = config.status_listen->is_loopback();
    auto listener = Listener::open(runtime.loops, *config.status_listen, [&page](Loop& loop, Fd fd, const Address&) {
        if (page.counts[loop.number()] < kMaxConnections) loop.adopt(std::make_unique<Impl::Connection>(page, loop, std::move(fd)));
    });
    if (!listener) return listener.error();
    page.listener = std::move(*listener);
    page.listener->start();
    return out;
}

// Answers to the end: who drains wants to watch.
void StatusPage::drain(std::function<void()> done) { done(); }

Address StatusPage::address() const { return impl_->listener->address(); }

}  // namespace mssl::proxy
