#include "proxy/core/loop.h"

#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <chrono>

namespace mssl::proxy {
namespace {

// Burial goes before everything else that is ready, so that nothing calls into an object after it was disposed of.
constexpr int kPriorities = 2;
constexpr int kBurialPriority = 0;

struct ConfigFree {
    void operator()(event_config* c) const noexcept { event_config_free(c); }
};

EventBasePtr make_base() {
    std::unique_ptr<event_config, ConfigFree> config(event_config_new());
    if (!config) return nullptr;
    // Timers that never fire early by now()'s clock; no locks: other threads only ever post.
    event_config_set_flag(config.get(), EVENT_BASE_FLAG_PRECISE_TIMER);
    event_config_set_flag(config.get(), EVENT_BASE_FLAG_NO_CACHE_TIME);
    event_config_set_flag(config.get(), EVENT_BASE_FLAG_NOLOCK);
    EventBasePtr base(event_base_new_with_config(config.get()));
    if (base && event_base_priority_init(base.get(), kPriorities) != 0) return nullptr;
    return base;
}

timeval to_timeval(Duration d) {
    const auto us = d.count() > 0 ? d.count() : 0;
    return {static_cast<time_t>(us / 1'000'000), static_cast<suseconds_t>(us % 1'000'000)};
}

// Signals are for loop 0, the thread of main.
class SignalsBlocked {
public:
    SignalsBlocked() {
        sigset_t all;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before_);
    }
    ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
    SignalsBlocked(const SignalsBlocked&) = delete;
    SignalsBlocked& operator=(const SignalsBlocked&) = delete;

private:
    sigset_t before_{};
};

}  // namespace

MonoTime mono_now() {
    return {std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now().time_since_epoch())};
}

WallTime wall_now() {
    return {std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count()};
}

Loop::Loop(unsigned number) : number_(number), base_(make_base()), wake_fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
    // Without descriptors or memory at start there is nothing to report to.
    if (!base_ || wake_fd_ < 0) std::terminate();
    wake_.reset(event_new(
        base_.get(), wake_fd_, EV_READ | EV_PERSIST,
        [](evutil_socket_t, short, void* self) {
            auto* loop = static_cast<Loop*>(self);
            eventfd_t count = 0;
            eventfd_read(loop->wake_fd_, &count);
            loop->run_mailbox();
        },
        this));
    own_mail_.reset(evtimer_new(
        base_.get(), [](evutil_socket_t, short, void* self) { static_cast<Loop*>(self)->run_mailbox(); }, this));
    bury_event_.reset(event_new(
        base_.get(), -1, 0, [](evutil_socket_t, short, void* self) { static_cast<Loop*>(self)->bury(); }, this));
    if (!wake_ || !own_mail_ || !bury_event_ || event_priority_set(bury_event_.get(), kBurialPriority) != 0 ||
        event_add(wake_.get(), nullptr) != 0)
        std::terminate();
}

Loop::~Loop() {
    stop();
    while (empty()) {}
    wake_.reset();
    own_mail_.reset();
    close(wake_fd_);
}

bool Loop::empty() {
    std::vector<std::function<void()>> tasks, late;
    {
        const std::lock_guard lock(mutex_);
        tasks.swap(mailbox_);
        late.swap(unrun_);
    }
    const bool any = !tasks.empty() || !late.empty() || !graveyard_.empty() || !adopted_.empty();
    tasks.clear();
    late.clear();
    bury();
    auto last = std::move(adopted_);
    adopted_.clear();
    last.clear();
    return any;
}

void Loop::post(std::function<void()> task) {
    bool first = false;
    {
        const std::lock_guard lock(mutex_);
        if (stopped_) {
            unrun_.push_back(std::move(task));
            return;
        }
        first = mailbox_.empty();
        mailbox_.push_back(std::move(task));
    }
    if (!first) return;
    // To itself a loop needs no system call. A round later all the same: what it posts must not keep sockets waiting.
    if (in_loop()) {
        const timeval at_once{0, 0};
        evtimer_add(own_mail_.get(), &at_once);
    } else {
        eventfd_write(wake_fd_, 1);
    }
}

bool Loop::in_loop() const { return thread_.load(std::memory_order_relaxed) == std::this_thread::get_id(); }

MonoTime Loop::now() const { return mono_now(); }

void Loop::run_mailbox() {
    std::vector<std::function<void()>> tasks;
    bool stopping = false;
    {
        const std::lock_guard lock(mutex_);
        tasks.swap(mailbox_);
        stopping = stopped_;
    }
    for (auto& task : tasks) {
        task();
        task = nullptr;
        bury();
    }
    if (stopping) event_base_loopbreak(base_.get());
}

void Loop::dispose(std::unique_ptr<Disposable> object) {
    if (!object) return;
    graveyard_.push_back(std::move(object));
    event_active(bury_event_.get(), 0, 0);
}

void Loop::adopt(std::unique_ptr<Disposable> object) {
    Disposable* key = object.get();
    adopted_.emplace(key, std::move(object));
}

void Loop::release(Disposable* adopted) {
    const auto found = adopted_.find(adopted);
    if (found == adopted_.end()) return;
    dispose(std::move(found->second));
    adopted_.erase(found);
}

void Loop::bury() {
    while (!graveyard_.empty()) {
        auto dead = std::move(graveyard_);
        graveyard_.clear();
        dead.clear();
    }
}

void Loop::run() {
    thread_.store(std::this_thread::get_id(), std::memory_order_relaxed);
    event_base_loop(base_.get(), EVLOOP_NO_EXIT_ON_EMPTY);
    bury();
    thread_.store({}, std::memory_order_relaxed);
}

void Loop::stop() {
    {
        const std::lock_guard lock(mutex_);
        stopped_ = true;
    }
    eventfd_write(wake_fd_, 1);
}

Timer::Timer(Loop& loop, std::function<void()> fired)
    : fired_(std::make_shared<std::function<void()>>(std::move(fired))),
      event_(evtimer_new(
          loop.base(),
          [](evutil_socket_t, short, void* self) {
              const auto call = static_cast<Timer*>(self)->fired_;
              (*call)();
          },
          this)) {
    if (!event_) std::terminate();
}

Timer::~Timer() = default;

void Timer::start(Duration after) {
    const timeval tv = to_timeval(after);
    evtimer_add(event_.get(), &tv);
}

void Timer::stop() { evtimer_del(event_.get()); }

bool Timer::running() const { return evtimer_pending(event_.get(), nullptr) != 0; }

LoopGroup::LoopGroup(unsigned count) {
    if (count < 1) count = 1;
    if (count > 64) count = 64;
    for (unsigned i = 0; i < count; ++i) loops_.push_back(std::make_unique<Loop>(i));
}

LoopGroup::~LoopGroup() {
    stop_all();
    for (auto& thread : threads_) thread.join();
    empty();
}

void LoopGroup::empty() {
    for (bool any = true; any;) {
        any = false;
        for (auto& loop : loops_) any = loop->empty() || any;
    }
}

void LoopGroup::run() {
    {
        const SignalsBlocked blocked;
        for (std::size_t i = 1; i < loops_.size(); ++i) threads_.emplace_back([this, i] { loops_[i]->run(); });
    }
    loops_[0]->run();
    for (auto& thread : threads_) thread.join();
    threads_.clear();
}

void LoopGroup::stop_all() {
    for (auto& loop : loops_) loop->stop();
}

}  // namespace mssl::proxy
