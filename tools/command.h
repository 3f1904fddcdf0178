// Other programs, run to their end: no shell between, nothing of theirs on our terminal.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "protocol/result.h"

namespace mssl::tools {

struct Finished {
    int status = 0;  // as a shell counts it: 128 + the signal that ended it
    std::string out;
    std::string err;
};

using Argv = std::vector<std::string>;

// Looked for along $PATH and then in /usr/sbin and /sbin, which are not on everybody's. Its standard input is `input`.
// It is in a process group of its own, so that Ctrl-C does not cut it off half way. config when there is no such
// program; a status other than 0 is no error here.
Result<Finished> run_command(const Argv& argv, std::string_view input = {});

// For people and for sh: quoted where a word needs it.
std::string shell_line(const Argv& argv);

}  // namespace mssl::tools
