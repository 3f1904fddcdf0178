// Policy routing for tproxy: what bears its mark is looked up in a table of its own, where everything is local to lo.
#pragma once

#include <string>
#include <vector>

#include "protocol/result.h"
#include "tools/command.h"

namespace mssl::tools {

// One program to run, and how to take back what it did.
struct Step {
    Argv argv;
    std::string input;
    Argv undo;  // empty: it takes back itself when it fails
};

// What is missing, or is there, now, in both families (steps_to_route: in IPv6 where asked). Both only look.
Result<std::vector<Step>> steps_to_route(bool ipv6);
Result<std::vector<Step>> steps_to_unroute();

// All of them, or none: what was done before a failure is undone. The error says what failed in the words of the
// program that did.
Status take_steps(const std::vector<Step>& steps);

// Of a program that ended with a status other than 0.
Error failure_of(const Argv& argv, const Finished& finished);

}  // namespace mssl::tools
