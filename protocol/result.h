// Errors as values. One table for the whole program: a code says what kind of failure it is and, for
// frames, what crosses the wire (mssl-protocol(7), ERROR CODES); the detail says what failed and where.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace mssl {

// Values below 0x40 may cross the wire in REFUSE and ERROR frames and never change their number.
enum class Errc : std::uint16_t {
    ok = 0,
    malformed = 1,         // not what the syntax allows
    too_large = 2,         // beyond a limit that mssl-protocol(7) names
    unexpected = 3,        // a well-formed frame that this state does not allow
    unsupported = 4,       // a version, hash or ability that this side lacks
    not_member = 5,        // no membership certificate, or not one of this realm
    expired = 6,           // before or past its validity (120 s tolerated, DESIGN 4)
    wrong_holder = 7,      // a ticket of another member
    wrong_object = 8,      // a ticket or frame for another object
    bad_signature = 9,     //
    bad_proof = 10,        // nodes or a block that do not verify against the head
    no_such_object = 11,   // this side does not have the object (any more)
    no_such_block = 12,    // this side does not have the block, or it lies beyond the object
    withdrawn = 13,        // the server withdrew the manifest (the origin's bytes do not verify)
    busy = 14,             // over a limit of load; try again later
    denied = 15,           // enrolment or access refused
    conflicting_head = 16, // two signed heads of one object disagree
    wrong_realm = 17,      // signed, but by another realm
    shutting_down = 18,    // the other side drains

    // Local only.
    truncated = 0x40,      // input ends too early: more may come
    again,                 // the socket would block
    closed,                // orderly end of the stream
    reset,                 // the connection broke
    timed_out,
    unreachable,           // no connection could be made
    bad_certificate,       // TLS peer's certificate is wrong (not: unreachable)
    io,                    // file or socket error; detail carries strerror
    no_space,              // disk full or quota
    crypto,                // OpenSSL refused; detail carries its reason
    config,                // configuration; detail carries file:line:column
    stalled,               // alive but below the rate that others give
    cancelled,
    internal,              // a bug of ours, stated instead of crashed over
};

// Short stable name of a code ("bad_proof"), for logs, JSON and tests. Never empty.
std::string_view errc_name(Errc code) noexcept;

// One sentence for a person. Never empty.
std::string_view errc_text(Errc code) noexcept;

struct [[nodiscard]] Error {
    Errc code = Errc::internal;
    std::string detail;  // what and where; never a secret, never a query string

    // "bad_proof: block 12 of …" for logs.
    std::string to_string() const;
};

// A value or an Error. Accessing the side that is not there terminates: it is a bug, not an input.
template <class T>
class [[nodiscard]] Result {
public:
    Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
    Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

    explicit operator bool() const noexcept { return state_.index() == 0; }
    bool has_value() const noexcept { return state_.index() == 0; }

    T& value() & { return *check(std::get_if<0>(&state_)); }
    const T& value() const& { return *check(std::get_if<0>(&state_)); }
    T&& value() && { return std::move(*check(std::get_if<0>(&state_))); }
    T& operator*() & { return value(); }
    const T& operator*() const& { return value(); }
    T&& operator*() && { return std::move(*this).value(); }
    T* operator->() { return &value(); }
    const T* operator->() const { return &value(); }

    Error& error() & { return *check(std::get_if<1>(&state_)); }
    const Error& error() const& { return *check(std::get_if<1>(&state_)); }
    Error&& error() && { return std::move(*check(std::get_if<1>(&state_))); }
    Errc code() const noexcept { return has_value() ? Errc::ok : std::get_if<1>(&state_)->code; }

private:
    template <class P>
    static P* check(P* p) {
        if (p == nullptr) std::terminate();
        return p;
    }
    std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
public:
    Result() = default;
    Result(Error error) : error_(std::move(error)) {}

    explicit operator bool() const noexcept { return !error_; }
    bool has_value() const noexcept { return !error_; }
    Error& error() & {
        if (!error_) std::terminate();
        return *error_;
    }
    const Error& error() const& {
        if (!error_) std::terminate();
        return *error_;
    }
    Errc code() const noexcept { return error_ ? error_->code : Errc::ok; }

private:
    std::optional<Error> error_;
};

using Status = Result<void>;

inline Error fail(Errc code, std::string detail = {}) { return Error{code, std::move(detail)}; }

}  // namespace mssl
