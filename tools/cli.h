// The command line. cli.cpp is the only file that knows the library.
#pragma once

#include <optional>

#include "tools/verbs.h"

namespace mssl::tools {

struct CommandLine {
    std::optional<Command> command;
    int status = kDone;  // when there is no command: help was given, or the line was wrong; all is said already
};

CommandLine read_command_line(int argc, char** argv);

}  // namespace mssl::tools
