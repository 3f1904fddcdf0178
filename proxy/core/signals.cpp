#include "proxy/core/signals.h"

#include <csignal>

namespace mssl::proxy {

struct Signals::Handler {
    std::function<void()> call;
    EventPtr event;
};

Signals::Signals(Loop& loop) : loop_(&loop) { std::signal(SIGPIPE, SIG_IGN); }

Signals::~Signals() = default;

void Signals::on(int number, std::function<void()> call) {
    auto handler = std::make_unique<Handler>();
    handler->call = std::move(call);
    handler->event.reset(evsignal_new(
        loop_->base(), number,
        [](evutil_socket_t, short, void* self) { static_cast<Handler*>(self)->call(); }, handler.get()));
    if (!handler->event || event_add(handler->event.get(), nullptr) != 0) std::terminate();
    handlers_[number] = std::move(handler);
}

}  // namespace mssl::proxy
