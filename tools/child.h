// An msslproxy of our own, for as long as one `mssl get` takes.
//
// It gets its two listening sockets (http-proxy and status) from us, as a service manager passes them, so that there is
// no port to agree on and none to be taken by somebody else meanwhile. Its state (membership, partly fetched objects)
// lies in a directory of the user's and is used by one child at a time: ROOT/get-0, or the next number while that is taken.
#pragma once

#include <sys/types.h>

#include <string>

#include "protocol/result.h"
#include "tools/files.h"
#include "tools/url.h"

namespace mssl::tools {

struct ChildOptions {
    Endpoint site;        // what applications ask for
    std::string server;   // host[:port]; empty: the site's host
    std::string ca;       // file; empty: system
    std::string token_file;
    bool fallback = true;
};

// The configuration of msslproxy.toml(5) for these. Paths become absolute. Pure but for the working directory.
std::string child_configuration(const ChildOptions& options, const std::string& state, const Endpoint& proxy,
                                const Endpoint& status);

// $XDG_STATE_HOME/mssl or ~/.local/state/mssl; config when neither can be told.
Result<std::string> user_state_directory();
// $MSSLPROXY, else beside this program, else in ../sbin from there, else in sbindir; config when there is none.
Result<std::string> find_msslproxy();

class ProxyChild {
public:
    static Result<ProxyChild> start(const ChildOptions& options);
    ProxyChild(ProxyChild&& other) noexcept;
    ProxyChild& operator=(ProxyChild&&) = delete;
    // Ends the child: asks it to, and kills it when it takes its time. None is left when this returns; nor is one when
    // this program is killed, for the kernel kills it then.
    ~ProxyChild();

    const Endpoint& proxy() const { return proxy_; }
    const Endpoint& status() const { return status_; }
    // What it said last, for when something went wrong.
    std::string last_words() const;

private:
    ProxyChild() = default;
    Status launch(const std::string& program, const std::string& config, const Fd& proxy, const Fd& status);

    pid_t pid_ = -1;
    std::string directory_;
    Fd lock_;
    Endpoint proxy_;
    Endpoint status_;
};

}  // namespace mssl::tools
