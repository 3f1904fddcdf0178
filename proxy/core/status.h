// Where the parts of the daemon say what they have to tell, without the status page knowing them (nor they it).
//
// Thread rules: add() and set_publish() before the loops run; the rest from any loop.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "proxy/core/loop.h"

namespace mssl::proxy {

class StatusSources {
public:
    // A member of /status.json: done gets one JSON value, once, in loop, now or soon.
    using Report = std::function<void(Loop& loop, std::function<void(std::string json)> done)>;
    void add(std::string name, Report report) { reports_.emplace_back(std::move(name), std::move(report)); }
    const std::vector<std::pair<std::string, Report>>& reports() const { return reports_; }

    // What POST /publish does: line gets JSON objects in loop while it goes on, last with the final one.
    using Line = std::function<void(std::string json, bool last)>;
    using Publish = std::function<void(const std::string& url, Loop& loop, Line line)>;
    void set_publish(Publish publish) { publish_ = std::move(publish); }
    const Publish& publish() const { return publish_; }

    // {"name":value,…} of all reports, after head (members without braces, may be empty). done in loop.
    void collect(Loop& loop, std::string head, std::function<void(std::string json)> done) const;

private:
    std::vector<std::pair<std::string, Report>> reports_;
    Publish publish_;
};

}  // namespace mssl::proxy
