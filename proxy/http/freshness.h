// How long an answer may stand in for another one without the origin being asked (RFC 9111 §4.2, §5.2), as pure functions.
#pragma once

#include <cstdint>
#include <optional>

#include "proxy/http/message.h"

namespace mssl::proxy {

// Seconds that the answer's own words make it fresh: s-maxage, else max-age, else Expires less Date. Explicit words alone: nothing is
// guessed from Last-Modified. 0: not at all; also where a word is said twice or cannot be read (§4.2.1).
std::int64_t freshness_lifetime(const Fields& answer);

// How old an answer was when it came, in seconds (§4.2.3): what Age says, or what Date lies behind received (seconds since 1970),
// whichever is more.
std::int64_t age_on_arrival(const Fields& answer, std::int64_t received);

// What a request says about stored answers (§5.2.1). Pragma: no-cache counts where there is no Cache-Control (§5.4).
struct StoredWish {
    bool ask = false;             // no-cache, or what cannot be read: the origin is to be asked
    bool only_if_cached = false;  // it is not to be asked
    std::optional<std::int64_t> max_age, min_fresh;  // seconds
};
StoredWish stored_wish(const Fields& request);

// Whether an answer of this age and lifetime is what the wish allows (§5.2.1.1, §5.2.1.3).
bool is_fresh(const StoredWish& wish, std::int64_t age, std::int64_t lifetime);

}  // namespace mssl::proxy
