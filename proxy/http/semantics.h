// What RFC 9110 and 9111 say about a head, as pure functions: validators, preconditions, ranges, whether to share.
#pragma once

#include <optional>
#include <string>
#include <variant>

#include "protocol/objects.h"
#include "proxy/http/message.h"

namespace mssl::proxy {

// Entity tags in If-None-Match/If-Match: nothing when the syntax is wrong. "*" is one element with text "*".
struct EntityTag {
    bool weak = false;
    std::string tag;  // with quotes
};
std::optional<std::vector<EntityTag>> parse_entity_tags(const Fields& fields, std::string_view name);

// The strong validator of a response: strong ETag, else a Last-Modified at least one second older than Date that RFC 9110
// §8.8.2.2 calls strong (60 s older). Nothing: never shared.
std::optional<Validator> strong_validator(const ResponseHead& response);

// Last-Modified of a response where it is strong by that rule, in seconds since 1970; else 0.
std::int64_t strong_date(const Fields& response);

// DESIGN 3 "Shared only if", without path and size rules. The reason it is not, for the log, or nothing when it is.
std::optional<std::string> why_not_shared(const RequestHead& request, const ResponseHead& response, Access access);

// What a GET or HEAD with these fields gets from a representation with this validator and length: RFC 9110 §13.2.2 order,
// If-Range, one range (several ranges → the whole, which RFC 9110 §14.2 allows).
struct RangeAnswer {
    std::uint16_t status = 200;       // 200, 206, 304, 412, 416
    std::uint64_t first = 0;          // of the body to send
    std::uint64_t count = 0;
};
// dated: a representation with an entity tag may have a strong date as well, and If-Range may name either; 0: it has none.
RangeAnswer answer_range(const Fields& request, const Validator& validator, std::uint64_t length, std::int64_t dated = 0);

// The same once somebody else has decided about the preconditions: 200, 206 or 416.
RangeAnswer answer_range_alone(const Fields& request, const Validator& validator, std::uint64_t length, std::int64_t dated = 0);

// Whether Range is there once and asks for one range of bytes, in the plainest form (RFC 9110 §14.1.2): the one to which all origins that
// have ranges say the same.
bool asks_for_one_range(const Fields& request);

// Whether who has the object can say to the request's Range what its origin would. whole: the origin's fields for the whole object. Not where
// nothing says whether the origin has ranges, where there is an error to be told in its own words, nor where If-Range names the date of
// an object that is too young for it to be strong (§8.8.2.2): to one origin that is the object's, to another it is not.
bool can_answer_range(const Fields& request, const Fields& whole, const Validator& validator, std::uint64_t length);

// Content-Range of a 206 ("bytes a-b/len") → first, last, complete length; malformed otherwise.
struct ContentRange {
    std::uint64_t first = 0, last = 0, length = 0;
};
Result<ContentRange> parse_content_range(std::string_view value);

}  // namespace mssl::proxy
