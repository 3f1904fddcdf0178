// Hashing ahead (`mssl publish URL`): the operator's own resolve of a URL, over the status listener of the server, so that the first
// member finds the object whole.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "proxy/server/front.h"
#include "proxy/server/resolve_ask.h"

namespace mssl::proxy {

class Publisher : public std::enable_shared_from_this<Publisher> {
public:
    Publisher(Runtime& runtime, std::function<std::shared_ptr<const FrontParts>()> parts)
        : runtime_(runtime), parts_(std::move(parts)) {}

    struct Progress {
        enum class State : std::uint8_t { hashing, complete, failed };
        State state = State::hashing;
        std::string object;            // hexadecimal id, once known
        std::uint64_t hashed = 0, length = 0;
        std::string why;               // of failed: not shared because …, or what went wrong
        // One line of JSON without the line break.
        std::string to_json() const;
    };
    // http://host[:port]/path as applications ask for it, or /path of a file below the root of an origin. progress runs in loop: at least once, a few times a second while the object is
    // hashed, last with complete or failed. Any thread.
    void publish(const std::string& url, Loop& loop, std::function<void(const Progress&)> progress);

private:
    class Watch;
    Runtime runtime_;
    std::function<std::shared_ptr<const FrontParts>()> parts_;
};

}  // namespace mssl::proxy
