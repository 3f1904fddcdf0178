// The daemon as a whole: starts the halves that the configuration asks for, and carries signals to them.
//
//     starting ──▶ running ──TERM, INT──▶ draining ──all done, deadline or a second signal──▶ stopped
//                    │ HUP: the new configuration is read, checked and swapped, or the old one stays
//                    │ USR1: the log file is opened again
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "proxy/core/config.h"
#include "proxy/core/half.h"
#include "proxy/core/runtime.h"
#include "proxy/core/signals.h"

namespace mssl::proxy {

// Thread rules: the thread of loop 0.
class Daemon {
public:
    // runtime outlives the Daemon, whose destructor wants its loops stopped.
    Daemon(Runtime& runtime, std::shared_ptr<const Config> config);
    ~Daemon();
    Daemon(const Daemon&) = delete;
    Daemon& operator=(const Daemon&) = delete;

    // Binds, reads the state, starts accepting. Errors: what failed, for a person.
    Status start();
    // Another half beside those of start(), before run().
    void add(std::unique_ptr<Half> half) { halves_.push_back(std::move(half)); }
    // Runs loop 0 here and returns when the daemon has stopped.
    void run();

private:
    enum class State : std::uint8_t { starting, running, draining, stopped };
    void reload();
    Status take_over();
    void drain();
    void half_drained();
    void stop();

    Runtime& runtime_;
    std::shared_ptr<const Config> config_;
    Signals signals_;
    Timer deadline_;
    std::vector<std::unique_ptr<Half>> halves_;
    State state_ = State::starting;
    std::size_t still_draining_ = 0;
};

}  // namespace mssl::proxy
