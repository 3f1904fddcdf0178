// One event loop: a thread with an event_base, a mailbox, timers and counters (DESIGN 4). Everything that belongs to a
// loop is touched by its thread alone; other threads post.
//
// Thread rules: post() from any thread; everything else from the loop's own thread.
#pragma once

#include <event2/event.h>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "protocol/types.h"
#include "proxy/core/counters.h"

namespace mssl::proxy {

struct EventFree {
    void operator()(event* e) const noexcept { event_free(e); }
    void operator()(event_base* b) const noexcept { event_base_free(b); }
};
using EventPtr = std::unique_ptr<event, EventFree>;
using EventBasePtr = std::unique_ptr<event_base, EventFree>;

// A thing whose deletion may be deferred to the end of the current callback.
class Disposable {
public:
    virtual ~Disposable() = default;
};

class Loop {
public:
    explicit Loop(unsigned number);
    ~Loop();
    Loop(const Loop&) = delete;
    Loop& operator=(const Loop&) = delete;

    unsigned number() const { return number_; }
    event_base* base() { return base_.get(); }
    // Runs task in this loop soon, in posting order. After stop() tasks are kept unrun until empty(), because what they hold
    // may belong to a thread that still runs.
    void post(std::function<void()> task);
    bool in_loop() const;
    MonoTime now() const;  // steady clock, cached per callback is not needed: ~20 ns
    Counters& counters() { return counters_; }
    // Deletes after the current callback has returned: an object may dispose of itself or of its caller.
    void dispose(std::unique_ptr<Disposable> object);
    // Owns an object that lives on after its owner let go of it (a lingering close), until release(object) or the loop's end.
    void adopt(std::unique_ptr<Disposable> object);
    // Deletes an adopted object as dispose() does.
    void release(Disposable* adopted);

    // Runs until stop(); from the thread that becomes the loop's.
    void run();
    // From any thread.
    void stop();
    // Destroys what the stopped loop still holds, tasks and objects, whose destructors may give it more. False: there was
    // nothing. In the one thread that is left.
    bool empty();

private:
    void run_mailbox();
    void bury();

    unsigned number_;
    EventBasePtr base_;
    EventPtr wake_;
    EventPtr own_mail_;  // the mailbox was empty, and this thread posted
    int wake_fd_ = -1;
    std::mutex mutex_;
    std::vector<std::function<void()>> mailbox_;
    std::vector<std::function<void()>> unrun_;  // came after stop()
    bool stopped_ = false;
    EventPtr bury_event_;
    std::vector<std::unique_ptr<Disposable>> graveyard_;
    std::unordered_map<Disposable*, std::unique_ptr<Disposable>> adopted_;
    std::atomic<std::thread::id> thread_;
    Counters counters_;
};

MonoTime mono_now();
WallTime wall_now();

// One-shot timer of a loop. May be destroyed or restarted inside its own callback.
class Timer {
public:
    Timer(Loop& loop, std::function<void()> fired);
    ~Timer();
    Timer(const Timer&) = delete;
    Timer& operator=(const Timer&) = delete;
    void start(Duration after);  // restarts when running
    void stop();
    bool running() const;

private:
    // Shared with the callback that runs, which may destroy this Timer.
    std::shared_ptr<std::function<void()>> fired_;
    EventPtr event_;
};

// N loops, each in its own thread but the first, which is the caller's.
class LoopGroup {
public:
    explicit LoopGroup(unsigned count);  // 1 … 64
    ~LoopGroup();
    Loop& at(unsigned i) { return *loops_[i % loops_.size()]; }
    unsigned size() const { return static_cast<unsigned>(loops_.size()); }
    // The loop that owns what this id names (objects: giving-out, transfers).
    Loop& owner(const ObjectId& id) { return at(id.bytes[0] | (unsigned{id.bytes[1]} << 8)); }
    // Runs loop 0 here and the others in threads, until stop_all(); joins them.
    void run();
    void stop_all();
    // Empties the stopped loops while all of them are there: what one holds refers to others. After run() has returned.
    void empty();

private:
    std::vector<std::unique_ptr<Loop>> loops_;
    std::vector<std::thread> threads_;
};

}  // namespace mssl::proxy
