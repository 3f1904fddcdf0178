#include "protocol/result.h"

namespace mssl {

std::string_view errc_name(Errc code) noexcept {
    switch (code) {
    case Errc::ok:
        return "ok";
    case Errc::malformed:
        return "malformed";
    case Errc::too_large:
        return "too_large";
    case Errc::unexpected:
        return "unexpected";
    case Errc::unsupported:
        return "unsupported";
    case Errc::not_member:
        return "not_member";
    case Errc::expired:
        return "expired";
    case Errc::wrong_holder:
        return "wrong_holder";
    case Errc::wrong_object:
        return "wrong_object";
    case Errc::bad_signature:
        return "bad_signature";
    case Errc::bad_proof:
        return "bad_proof";
    case Errc::no_such_object:
        return "no_such_object";
    case Errc::no_such_block:
        return "no_such_block";
    case Errc::withdrawn:
        return "withdrawn";
    case Errc::busy:
        return "busy";
    case Errc::denied:
        return "denied";
    case Errc::conflicting_head:
        return "conflicting_head";
    case Errc::wrong_realm:
        return "wrong_realm";
    case Errc::shutting_down:
        return "shutting_down";
    case Errc::truncated:
        return "truncated";
    case Errc::again:
        return "again";
    case Errc::closed:
        return "closed";
    case Errc::reset:
        return "reset";
    case Errc::timed_out:
        return "timed_out";
    case Errc::unreachable:
        return "unreachable";
    case Errc::bad_certificate:
        return "bad_certificate";
    case Errc::io:
        return "io";
    case Errc::no_space:
        return "no_space";
    case Errc::crypto:
        return "crypto";
    case Errc::config:
        return "config";
    case Errc::stalled:
        return "stalled";
    case Errc::cancelled:
        return "cancelled";
    case Errc::internal:
        return "internal";
    }
    return "unknown";  // a number off the wire that this version has no name for
}

std::string_view errc_text(Errc code) noexcept {
    switch (code) {
    case Errc::ok:
        return "Nothing went wrong.";
    case Errc::malformed:
        return "The input is not what its syntax allows.";
    case Errc::too_large:
        return "The input is beyond a limit of the protocol.";
    case Errc::unexpected:
        return "The message is well formed, but not allowed at this point.";
    case Errc::unsupported:
        return "This side lacks a version, a hash or an ability that is needed.";
    case Errc::not_member:
        return "There is no membership certificate of this realm.";
    case Errc::expired:
        return "The validity has not begun or is over.";
    case Errc::wrong_holder:
        return "The ticket belongs to another member.";
    case Errc::wrong_object:
        return "This is for another object.";
    case Errc::bad_signature:
        return "The signature is wrong.";
    case Errc::bad_proof:
        return "The data do not verify against the signed head.";
    case Errc::no_such_object:
        return "This side does not have the object.";
    case Errc::no_such_block:
        return "This side does not have the block.";
    case Errc::withdrawn:
        return "The server withdrew the object: the origin's bytes changed under one validator.";
    case Errc::busy:
        return "The other side is at a limit of its load; try again later.";
    case Errc::denied:
        return "Enrolment or access was refused.";
    case Errc::conflicting_head:
        return "Two signed heads of one object disagree.";
    case Errc::wrong_realm:
        return "This was signed by another realm.";
    case Errc::shutting_down:
        return "The other side is shutting down.";
    case Errc::truncated:
        return "The input ends too early.";
    case Errc::again:
        return "The operation would block.";
    case Errc::closed:
        return "The other side closed the connection.";
    case Errc::reset:
        return "The connection broke.";
    case Errc::timed_out:
        return "There was no answer in time.";
    case Errc::unreachable:
        return "No connection could be made.";
    case Errc::bad_certificate:
        return "The other side's TLS certificate is wrong.";
    case Errc::io:
        return "Reading or writing failed.";
    case Errc::no_space:
        return "The disk is full or the quota used up.";
    case Errc::crypto:
        return "The cryptographic library refused an operation.";
    case Errc::config:
        return "The configuration is wrong.";
    case Errc::stalled:
        return "The source is far slower than others.";
    case Errc::cancelled:
        return "The operation was cancelled.";
    case Errc::internal:
        return "This is a bug in the program.";
    }
    return "The other side gave a reason that this version does not know.";
}

std::string Error::to_string() const {
    std::string out(errc_name(code));
    if (!detail.empty()) {
        out += ": ";
        out += detail;
    }
    return out;
}

}  // namespace mssl
