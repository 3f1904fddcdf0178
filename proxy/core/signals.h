// Signals as calls in loop 0. SIGPIPE is ignored: a broken connection is an error of the call that meets it.
#pragma once

#include <functional>
#include <map>
#include <memory>

#include "proxy/core/loop.h"

namespace mssl::proxy {

// Thread rules: made and destroyed in the thread of loop 0; the calls come in it.
class Signals {
public:
    explicit Signals(Loop& loop);
    ~Signals();
    Signals(const Signals&) = delete;
    Signals& operator=(const Signals&) = delete;
    // number: SIGHUP, SIGTERM, SIGINT, SIGUSR1. Once each.
    void on(int number, std::function<void()> call);

private:
    struct Handler;
    Loop* loop_;
    std::map<int, std::unique_ptr<Handler>> handlers_;
};

}  // namespace mssl::proxy
