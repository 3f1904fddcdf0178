#include "proxy/core/status.h"

#include <memory>

#include "proxy/core/json_text.h"

namespace mssl::proxy {

void StatusSources::collect(Loop& loop, std::string head, std::function<void(std::string json)> done) const {
    struct Gathering {
        std::vector<std::string> values;
        std::size_t left;
        std::string head;
        std::function<void(std::string)> done;
    };
    const auto all = std::make_shared<Gathering>();
    all->values.resize(reports_.size());
    all->left = reports_.size() + 1;  // one for this call: reports may come at once
    all->head = std::move(head);
    all->done = std::move(done);
    const auto one_less = [this, all] {
        if (--all->left != 0) return;
        std::string json = "{" + all->head;
        for (std::size_t i = 0; i < reports_.size(); ++i)
            json += (json.size() > 1 ? "," : "") + json_quoted(reports_[i].first) + ":" + all->values[i];
        all->done(json + "}\n");
    };
    for (std::size_t i = 0; i < reports_.size(); ++i) {
        reports_[i].second(loop, [all, one_less, i](std::string value) {
            all->values[i] = std::move(value);
            one_less();
        });
    }
    one_less();
}

}  // namespace mssl::proxy
