// The progress line on a terminal.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace mssl::tools {

// What a line says. Pure data, so that the drawing can be tested.
struct ProgressLine {
    std::uint64_t done = 0;
    std::optional<std::uint64_t> total;
    double rate = 0;     // bytes a second
    std::string sources;  // "server 40 %, peers 60 %"; empty: not known
};

// At most width columns, no newline: "[=====>    ]  45 %  14.4 MiB/32.0 MiB  3.1 MiB/s  ETA 6 s  server …"; what does not
// fit is left out from the right, the bar last.
std::string progress_text(const ProgressLine& line, std::size_t width);

// Draws on standard error when that is a terminal and quiet is false; otherwise nothing is ever written. The
// destructor wipes the line.
class Progress {
public:
    explicit Progress(bool quiet);
    ~Progress();
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;

    bool visible() const { return visible_; }
    // Whether enough time has passed for show() to be worth its while: at most five times a second.
    bool due() const;
    // The rate is measured here, from done and the clock, over the last seconds.
    void show(std::uint64_t done, std::optional<std::uint64_t> total, const std::string& sources = {});
    void clear();

private:
    using Clock = std::chrono::steady_clock;
    bool visible_;
    bool drawn_ = false;
    bool begun_ = false;
    Clock::time_point last_{};
    std::uint64_t last_done_ = 0;
    double rate_ = 0;
};

}  // namespace mssl::tools
