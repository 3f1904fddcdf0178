// The client half of the daemon: everything between the applications of this host and the rest (DESIGN 2, 3).
//
// Thread rules: all calls in loop 0, or while the loops do not run; destroyed after they stopped.
#pragma once

#include <functional>
#include <memory>

#include "proxy/core/config.h"
#include "proxy/core/half.h"
#include "proxy/core/runtime.h"
#include "proxy/core/status.h"

namespace mssl::proxy {

class ClientSide final : public Half {
public:
    // Opens the store and the sites, binds every [[intercept]] and [peer], and accepts. config has a client part. A store that
    // does not open is no error: the daemon goes on without. Errors: io, config; detail says which listener, which site.
    static Result<std::unique_ptr<ClientSide>> start(Runtime& runtime, std::shared_ptr<const Config> config);
    ~ClientSide() override;
    ClientSide(const ClientSide&) = delete;
    ClientSide& operator=(const ClientSide&) = delete;

    // Swaps sites and limits, all or nothing. What runs keeps the site that it began with.
    Status reload(std::shared_ptr<const Config> config) override;
    // Accepts nothing new; done, from any thread, when the applications' connections have ended.
    void drain(std::function<void()> done) override;

    // Adds what the status page shows of it.
    void report(StatusSources& to) const;

private:
    ClientSide();
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace mssl::proxy
