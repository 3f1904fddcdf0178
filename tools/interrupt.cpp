#include "tools/interrupt.h"

#include <sys/signalfd.h>
#include <unistd.h>

#include <csignal>

namespace mssl::tools {
namespace {

sigset_t ours() {
    sigset_t set;
    sigemptyset(&set);
    for (const int s : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&set, s);
    return set;
}

}  // namespace

Interrupt::Interrupt() {
    const sigset_t set = ours();
    sigprocmask(SIG_BLOCK, &set, nullptr);
    fd_ = Fd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

Interrupt::~Interrupt() { undo_in_child(); }

void Interrupt::undo_in_child() {
    const sigset_t set = ours();
    sigprocmask(SIG_UNBLOCK, &set, nullptr);
}

void Interrupt::die_if_interrupted() {
    signalfd_siginfo info{};
    if (read(fd_.get(), &info, sizeof info) != static_cast<ssize_t>(sizeof info)) return;
    const int number = static_cast<int>(info.ssi_signo);
    std::signal(number, SIG_DFL);
    undo_in_child();
    std::raise(number);
}

}  // namespace mssl::tools
