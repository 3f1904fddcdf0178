// What is asked of the origin for a member's request, and what its answer means (DESIGN 3: "the origin's answer decides").
// Pure functions: the whole table of decisions is tested without a socket.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "protocol/objects.h"
#include "proxy/core/config.h"
#include "proxy/http/message.h"

namespace mssl::proxy {

struct ResolvePlan {
    RequestHead ask;              // without Range and If-Range; with our validator where that helps
    bool stripped_range = false;  // the application asked for a range
    std::optional<Validator> ours;         // added to the preconditions
    std::vector<std::string> theirs;       // entity tags of the application's own If-None-Match
};
// known: validator of the newest object of this URL.
ResolvePlan plan_resolve(const RequestHead& request, const std::optional<Validator>& known);

enum class Verdict : std::uint8_t {
    unmodified,  // 304 because of our validator: the known object
    sharable,    // 200 that may be shared: the object of its strong validator, known or new
    relay,       // the origin's answer is the application's
    again,       // it says nothing about the application's own request: that is put as it was
};
struct Judgement {
    Verdict verdict = Verdict::relay;
    std::string why;      // of relay and again, for the log
    Validator validator;  // of sharable
};
// spool_room: the largest object that could be kept whole, for origins without ranges.
Judgement judge(const RequestHead& request, const ResolvePlan& plan, const ResponseHead& answer, const ShareRule& rule,
                std::uint64_t spool_room);

// The end-to-end fields of an answer that go with a Resolved, or into a manifest.
std::vector<HeaderField> replayed_fields(const ResponseHead& answer);

// RFC 9111 §3.2: a 304's fields replace the stored ones of the same name. Age was of the stored answer.
std::vector<HeaderField> updated_fields(const std::vector<HeaderField>& stored, const std::vector<HeaderField>& of_304);

// Names requests with identical heads: only those are coalesced. asker: where the origin may answer by who asks (a path with
// access = "restricted"), the address that it is told in X-Forwarded-For; else empty.
std::string coalescing_key(std::string_view origin_url, const RequestHead& request, std::string_view asker);

}  // namespace mssl::proxy
