// What the daemon drives: the server side, the client side.
//
// Thread rules: all calls come in loop 0; it is destroyed after the loops stopped.
#pragma once

#include <functional>
#include <memory>

#include "proxy/core/config.h"

namespace mssl::proxy {

class Half {
public:
    virtual ~Half() = default;
    // Checks everything before it takes anything over; on an error all stays as it was.
    virtual Status reload(std::shared_ptr<const Config> config) = 0;
    // Accepts nothing new; done, from any thread, when what runs has ended.
    virtual void drain(std::function<void()> done) = 0;
};

}  // namespace mssl::proxy
