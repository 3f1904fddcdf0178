// A loop in a thread of its own, and a way to wait for what it says, for tests of things that call back.
#pragma once

#include <chrono>
#include <future>
#include <thread>

#include "proxy/core/loop.h"

namespace mssl::proxy {

class LoopThread {
public:
    LoopThread() : thread_([this] { loop.run(); }) {}
    ~LoopThread() {
        loop.stop();
        thread_.join();
    }
    // Runs f in the loop and waits for it.
    template <class F>
    auto run(F f) {
        std::packaged_task<decltype(f())()> task(std::move(f));
        auto result = task.get_future();
        loop.post([&task] { task(); });
        return result.get();
    }

    Loop loop{0};

private:
    std::thread thread_;
};

// The argument of a callback that start is given. A minute without it is a failure, not a slow machine.
template <class T, class F>
T await(F start) {
    auto promise = std::make_shared<std::promise<T>>();
    std::future<T> result = promise->get_future();
    start([promise](T value) { promise->set_value(std::move(value)); });
    if (result.wait_for(std::chrono::minutes(1)) != std::future_status::ready) std::terminate();
    return result.get();
}

}  // namespace mssl::proxy
