// Whether a site's server is worth another try (DESIGN 3: never worse than without us). A server that is black-holed or hangs costs a
// request some seconds before its fallback; so after a failure requests go to the fallback at once for some seconds, longer
// with each further failure, and one request tries again.
//
//     closed ──failure──▶ open ──pause over──▶ one probe ──success──▶ closed
//                          ▲                        └──failure, or nothing──▶ open
//
// Thread rules: any thread.
#pragma once

#include <mutex>
#include <optional>

#include "protocol/types.h"

namespace mssl::proxy {

class Breaker {
public:
    // False: not now. True, where the last try failed: this request is the one that tries.
    bool admit(MonoTime now);
    // The server answered.
    void succeeded(MonoTime now);
    // What was begun then found no server. Says nothing where that cost no time, or the server has answered since.
    void failed(MonoTime begun, MonoTime now);

private:
    std::mutex mutex_;
    unsigned failures_ = 0;  // in a row
    MonoTime retry_at_{};
    std::optional<MonoTime> failed_at_, last_success_;
};

}  // namespace mssl::proxy
