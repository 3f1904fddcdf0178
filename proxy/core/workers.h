// A pool of threads for what would block a loop: disk, hashing above one leaf, signatures; another for name look-up (DESIGN 4).
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <limits>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "proxy/core/loop.h"

namespace mssl::proxy {

class Workers {
public:
    explicit Workers(unsigned threads, std::size_t most_waiting = std::numeric_limits<std::size_t>::max());
    ~Workers();  // as stop()
    Workers(const Workers&) = delete;
    Workers& operator=(const Workers&) = delete;

    // From any thread. Jobs of one pool run in any order and in parallel.
    void submit(std::function<void()> job);
    // As submit(), but false, and job is gone, where most_waiting jobs wait already.
    bool offer(std::function<void()> job);
    // stop() was called: what is still queued may take a short way out.
    bool stopping() const;
    // Finishes what is queued and ends the threads. What is submitted later runs at once, in its caller's thread.
    void stop();
    // Runs job in the pool, then done(its result) in loop. What job holds is let go of before that.
    template <class F, class D>
    void submit(Loop& loop, F job, D done) {
        submit([&loop, job = std::optional<F>(std::move(job)), done = std::move(done)]() mutable {
            auto result = std::make_shared<decltype((*job)())>((*job)());
            job.reset();
            loop.post([result, done = std::move(done)]() mutable { done(std::move(*result)); });
        });
    }

private:
    void work();
    const std::size_t most_waiting_;
    mutable std::mutex mutex_;
    std::condition_variable ready_;
    std::deque<std::function<void()>> jobs_;
    bool stopping_ = false;
    bool ended_ = false;
    std::vector<std::thread> threads_;
};

// Jobs that must run one after another in submission order (a file's writes), on a shared pool. Copyable handle.
class Strand {
public:
    explicit Strand(Workers& workers);
    void submit(std::function<void()> job);  // from any thread

private:
    struct State;
    std::shared_ptr<State> state_;
};

}  // namespace mssl::proxy
