#include "tools/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tools/text.h"

namespace mssl::tools {
namespace {

constexpr auto kBetweenDraws = std::chrono::milliseconds(200);
// The rate follows changes within about this long.
constexpr double kRateMemorySeconds = 3;
constexpr std::size_t kLeastBar = 10;
constexpr std::size_t kMostBar = 40;
constexpr std::size_t kUsualWidth = 80;

std::size_t terminal_width() {
    winsize size{};
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return kUsualWidth;
    return size.ws_col;
}

bool on_terminal() {
    const char* term = std::getenv("TERM");
    return isatty(STDERR_FILENO) == 1 && term != nullptr && std::strcmp(term, "dumb") != 0;
}

std::string bar(double part, std::size_t width) {
    const std::size_t inner = width - 2;
    const auto full = std::min(inner, static_cast<std::size_t>(part * static_cast<double>(inner)));
    std::string out = "[" + std::string(full, '=');
    if (full < inner) out += '>' + std::string(inner - full - 1, ' ');
    return out + "]";
}

}  // namespace

std::string progress_text(const ProgressLine& line, std::size_t width) {
    std::string amount = size_text(line.done);
    std::string percent;
    double part = 0;
    if (line.total) {
        amount += "/" + size_text(*line.total);
        part = *line.total == 0 ? 1
                                : std::min(1.0, static_cast<double>(line.done) / static_cast<double>(*line.total));
        // 100 % only when everything is there.
        percent = std::to_string(static_cast<int>(std::floor(part * 100))) + " %";
        percent.insert(0, percent.size() < 5 ? 5 - percent.size() : 0, ' ');
    }
    std::string out;
    const auto add = [&](const std::string& text) {
        const std::size_t gap = out.empty() ? 0 : 2;
        if (text.empty() || out.size() + gap + text.size() > width) return;
        out.append(gap, ' ');
        out += text;
    };
    add(percent);
    add(amount);
    add(rate_text(line.rate));
    if (line.total && line.rate > 0 && line.done < *line.total)
        add("ETA " + duration_text(static_cast<double>(*line.total - line.done) / line.rate));
    add(line.sources);
    if (line.total && width >= out.size() + 2 + kLeastBar)
        out.insert(0, bar(part, std::min(kMostBar, width - out.size() - 2)) + "  ");
    return out;
}

Progress::Progress(bool quiet) : visible_(!quiet && on_terminal()) {}

Progress::~Progress() { clear(); }

bool Progress::due() const { return visible_ && (!drawn_ || Clock::now() - last_ >= kBetweenDraws); }

void Progress::show(std::uint64_t done, std::optional<std::uint64_t> total, const std::string& sources) {
    if (!due()) return;
    const auto now = Clock::now();
    if (begun_) {
        const double seconds = std::chrono::duration<double>(now - last_).count();
        const double rate = done > last_done_ ? static_cast<double>(done - last_done_) / std::max(seconds, 1e-3) : 0;
        const double weight = rate_ > 0 ? 1 - std::exp(-seconds / kRateMemorySeconds) : 1;
        rate_ += weight * (rate - rate_);
    }
    begun_ = true;
    last_ = now;
    last_done_ = done;
    // One column less: some terminals wrap when the last one is written.
    const std::string text = progress_text({done, total, rate_, sources}, terminal_width() - 1);
    std::fprintf(stderr, "\r%s\033[K", text.c_str());
    std::fflush(stderr);
    drawn_ = true;
}

void Progress::clear() {
    if (drawn_) std::fputs("\r\033[K", stderr);
    drawn_ = false;
}

}  // namespace mssl::tools
