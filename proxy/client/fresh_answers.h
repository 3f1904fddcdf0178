// Shared answers that their origin called fresh for some time: until then they answer the same request again without anybody being
// asked (DESIGN 3 "explicit freshness"; RFC 9111 §4). At most as long as the ticket lasts, and never for a request that brings
// credentials, a Cookie or conditions: those are always put to the origin. Each site has its own, which go with it.
//
// Thread rules: any thread.
#pragma once

#include <list>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

#include "protocol/types.h"
#include "proxy/client/resolution.h"
#include "proxy/http/freshness.h"

namespace mssl::proxy {

// Whether a fresh answer may answer this request at all, whatever its Cache-Control says.
bool may_be_answered_fresh(const RequestHead& request);

class FreshAnswers {
public:
    // Of some KiB each.
    static constexpr std::size_t kMaxAnswers = 1024;

    // By both clocks: the one may be set back, the other stands still while the machine sleeps.
    struct Moment {
        WallTime wall;
        MonoTime mono;
    };

    // The origin's answer to request, for what url names, asked for at asked. Takes the place of what was known of url, unless that was
    // asked for later, or anything was forgotten since: answers may overtake each other, and a change the answer of before it.
    void keep(const std::string& url, const RequestHead& request, const Resolution& answer, Moment asked);
    // What answers request in realm, with its age; nothing where the origin must be asked.
    std::optional<Resolution> find(const std::string& url, const RealmId& realm, const RequestHead& request, Moment now);
    // The origin said something else, or a method that is not safe was used (RFC 9111 §4.4).
    void forget(const std::string& url, MonoTime now);
    void forget_all(MonoTime now);

private:
    struct Entry {
        Resolution answer;
        std::string encodings;  // Accept-Encoding of the request
        std::int64_t lifetime = 0, age = 0;  // seconds; age: when it was asked for, as if it had come at once (RFC 9111 §4.2.3)
        Moment asked;
        std::list<std::string>::iterator order;
    };
    void erase(std::unordered_map<std::string, Entry>::iterator at);

    std::mutex mutex_;
    std::unordered_map<std::string, Entry> by_url_;
    std::list<std::string> order_;  // oldest first
    std::optional<MonoTime> forgotten_at_;
};

}  // namespace mssl::proxy
