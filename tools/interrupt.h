// SIGINT, SIGTERM and SIGHUP as something readable.
#pragma once

#include "tools/files.h"

namespace mssl::tools {

// While it lives these signals do not end the program but make descriptor() readable. One at a time.
class Interrupt {
public:
    Interrupt();
    ~Interrupt();
    Interrupt(const Interrupt&) = delete;
    Interrupt& operator=(const Interrupt&) = delete;

    int descriptor() const { return fd_.get(); }
    // To be called in a forked child before exec: it shall die of signals as any program does.
    static void undo_in_child();
    // Ends the program by the signal that came, as if it had not been held back; returns when none came. Whoever
    // called it has cleaned up before.
    void die_if_interrupted();

private:
    Fd fd_;
};

}  // namespace mssl::tools
