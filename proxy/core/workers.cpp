#include "proxy/core/workers.h"

#include <signal.h>

namespace mssl::proxy {

Workers::Workers(unsigned threads, std::size_t most_waiting) : most_waiting_(most_waiting) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);  // signals are for the thread of main
    for (unsigned i = 0; i < (threads < 1 ? 1 : threads); ++i) threads_.emplace_back([this] { work(); });
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Workers::~Workers() { stop(); }

void Workers::stop() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    ready_.notify_all();
    for (auto& thread : threads_) thread.join();
    threads_.clear();
    std::deque<std::function<void()>> left;  // submitted while the last thread ended
    {
        const std::lock_guard lock(mutex_);
        ended_ = true;
        left.swap(jobs_);
    }
    for (auto& job : left) job();
}

void Workers::submit(std::function<void()> job) {
    {
        const std::lock_guard lock(mutex_);
        if (!ended_) {
            jobs_.push_back(std::move(job));
            job = nullptr;
        }
    }
    // Not under the lock, which is what the thread that wakes wants first.
    if (job == nullptr) return ready_.notify_one();
    job();
}

bool Workers::offer(std::function<void()> job) {
    {
        const std::lock_guard lock(mutex_);
        if (ended_ || jobs_.size() >= most_waiting_) return false;
        jobs_.push_back(std::move(job));
    }
    ready_.notify_one();
    return true;
}

bool Workers::stopping() const {
    const std::lock_guard lock(mutex_);
    return stopping_;
}

void Workers::work() {
    for (;;) {
        std::function<void()> job;
        {
            std::unique_lock lock(mutex_);
            ready_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
            if (jobs_.empty()) return;
            job = std::move(jobs_.front());
            jobs_.pop_front();
        }
        job();
    }
}

struct Strand::State : std::enable_shared_from_this<State> {
    explicit State(Workers& w) : workers(w) {}

    // One job a turn, so that a busy strand does not keep a thread from the others.
    void turn() {
        std::function<void()> job;
        {
            const std::lock_guard lock(mutex);
            job = std::move(jobs.front());
            jobs.pop_front();
        }
        job();
        job = nullptr;
        bool more = false;
        {
            const std::lock_guard lock(mutex);
            more = !jobs.empty();
            running = more;
        }
        if (more) schedule();
    }
    void schedule() {
        workers.submit([self = shared_from_this()] { self->turn(); });
    }

    Workers& workers;
    std::mutex mutex;
    std::deque<std::function<void()>> jobs;
    bool running = false;
};

Strand::Strand(Workers& workers) : state_(std::make_shared<State>(workers)) {}

void Strand::submit(std::function<void()> job) {
    {
        const std::lock_guard lock(state_->mutex);
        state_->jobs.push_back(std::move(job));
        if (state_->running) return;
        state_->running = true;
    }
    state_->schedule();
}

}  // namespace mssl::proxy
