#include "tools/routing.h"

#include <algorithm>

#include "tools/capture.h"
#include "tools/json.h"

namespace mssl::tools {
namespace {

const std::string kNumber = std::to_string(kCaptureNumber);

Argv rule(const char* family, const char* verb) {
    return {"ip", family, "rule", verb, "pref", kNumber, "fwmark", kNumber, "lookup", kNumber};
}

Argv route(const char* family, const char* verb) {
    return {"ip", family, "route", verb, "local", "default", "dev", "lo", "table", kNumber};
}

// `ip` without privilege lists as well.
Result<Json> listed(const Argv& argv) {
    Result<Finished> finished = run_command(argv);
    if (!finished) return finished.error();
    if (finished->status != 0) return failure_of(argv, *finished);
    return finished->out.empty() ? Result<Json>(Json()) : Json::parse(finished->out);
}

Result<bool> rule_is_there(const char* family) {
    const Result<Json> rules = listed({"ip", "-j", family, "rule", "list"});
    // Without the family there is none of its rules either.
    if (!rules && rules.code() == Errc::io) return false;
    if (!rules) return rules.error();
    const auto& items = rules->items();
    return std::any_of(items.begin(), items.end(), [](const Json& item) {
        return item["priority"].number() == kCaptureNumber && item["table"].plain() == kNumber;
    });
}

Result<bool> route_is_there(const char* family) {
    const Result<Json> routes = listed({"ip", "-j", family, "route", "list", "table", kNumber});
    // A table that nobody ever filled is an error to the kernel, and not there.
    if (!routes && routes.code() == Errc::io) return false;
    if (!routes) return routes.error();
    const auto& items = routes->items();
    return std::any_of(items.begin(), items.end(), [](const Json& item) {
        return item["type"].text() == "local" && item["dst"].text() == "default" && item["dev"].text() == "lo";
    });
}

Result<std::vector<Step>> steps(bool on, bool ipv6) {
    std::vector<Step> out;
    for (const char* family : {"-4", "-6"}) {
        if (family[1] == '6' && !ipv6) continue;
        const Result<bool> has_rule = rule_is_there(family);
        if (!has_rule) return has_rule.error();
        const Result<bool> has_route = route_is_there(family);
        if (!has_route) return has_route.error();
        const char* verb = on ? "add" : "del";
        const char* back = on ? "del" : "add";
        if (*has_route != on) out.push_back({route(family, verb), {}, route(family, back)});
        if (*has_rule != on) out.push_back({rule(family, verb), {}, rule(family, back)});
    }
    return out;
}

std::string trimmed(std::string text) {
    while (!text.empty() && text.back() == '\n') text.pop_back();
    return text;
}

}  // namespace

Result<std::vector<Step>> steps_to_route(bool ipv6) { return steps(true, ipv6); }
Result<std::vector<Step>> steps_to_unroute() { return steps(false, true); }

Error failure_of(const Argv& argv, const Finished& finished) {
    const std::string said = trimmed(finished.err.empty() ? finished.out : finished.err);
    return fail(Errc::io, shell_line(argv) + " failed (" + std::to_string(finished.status) + ")" +
                              (said.empty() ? "" : ": " + said));
}

Status take_steps(const std::vector<Step>& steps) {
    for (std::size_t i = 0; i < steps.size(); ++i) {
        const Result<Finished> finished = run_command(steps[i].argv, steps[i].input);
        if (finished && finished->status == 0) continue;
        Error error = finished ? failure_of(steps[i].argv, *finished) : finished.error();
        while (i-- > 0) {
            if (steps[i].undo.empty()) continue;
            const Result<Finished> undone = run_command(steps[i].undo);
            if (!undone || undone->status != 0)
                error.detail += "\nand this could not be undone: " + shell_line(steps[i].argv);
        }
        return error;
    }
    return {};
}

}  // namespace mssl::tools
