// mssl(1): the tools that people run by hand.
//
// They trust nobody more than the proxy does: `get` lets an msslproxy of its own verify, `hash` and `show` verify here with
// the protocol library, `publish` and `status` only ask a daemon and print what it says, with control characters removed.
#include <csignal>
#include <variant>

#include "tools/cli.h"

int main(int argc, char** argv) {
    // A reader that went away, or a server that hangs up, is an error to report and not a death.
    std::signal(SIGPIPE, SIG_IGN);
    const mssl::tools::CommandLine line = mssl::tools::read_command_line(argc, argv);
    if (!line.command) return line.status;
    return std::visit([](const auto& options) { return mssl::tools::run(options); }, *line.command);
}
