// mssl status: what a running daemon says of itself.
#include <poll.h>

#include <cstdio>

#include "tools/http.h"
#include "tools/interrupt.h"
#include "tools/status.h"
#include "tools/text.h"
#include "tools/transfer_view.h"
#include "tools/verbs.h"

namespace mssl::tools {
namespace {

constexpr std::size_t kMaxStatusBytes = std::size_t{16} << 20;
constexpr int kWatchMilliseconds = 1000;

void complain(const std::string& why) { std::fprintf(stderr, "mssl status: %s\n", printable(why).c_str()); }

int watch(const Endpoint& at) {
    Interrupt interrupt;
    Waiting waiting;
    waiting.cancel = interrupt.descriptor();
    for (;;) {
        const Result<Json> status = fetch_status(at, waiting);
        if (!status && status.code() == Errc::cancelled) return kDone;
        if (!status) {
            complain(status.error().to_string());
            return kFailed;
        }
        // Home, and what is left of the screen before cleared: no flicker.
        std::printf("\033[H\033[J%s", status_text(*status).c_str());
        std::fflush(stdout);
        pollfd signal{interrupt.descriptor(), POLLIN, 0};
        if (poll(&signal, 1, kWatchMilliseconds) > 0) return kDone;
    }
}

}  // namespace

Result<Json> fetch_status(const Endpoint& at, const Waiting& waiting) {
    HttpRequest request;
    request.target = "/status.json";
    request.host = at.text();
    Result<HttpExchange> exchange = HttpExchange::start(at, request, waiting);
    if (!exchange) return exchange.error();
    const Result<std::string> body = exchange->read_all(kMaxStatusBytes);
    if (!body) return body.error();
    const unsigned status = exchange->response().status;
    if (status != 200) return fail(Errc::unexpected, at.text() + " answers " + std::to_string(status));
    return Json::parse(*body);
}

int run(const StatusOptions& options) {
    const Result<Endpoint> at = parse_endpoint(options.address, 0);
    if (!at) {
        complain("--address: " + at.error().detail);
        return kUsage;
    }
    if (options.watch) return watch(*at);
    const Result<Json> status = fetch_status(*at, Waiting{-1, {}, std::chrono::seconds(10)});
    if (!status) {
        complain(status.error().to_string() + (status.code() == Errc::unreachable ? "; is msslproxy running, with [status]?" : ""));
        return kFailed;
    }
    std::fputs((options.json ? status->dump(2) + "\n" : status_text(*status)).c_str(), stdout);
    return kDone;
}

}  // namespace mssl::tools
