// What a transfer starts from: a Resolved that was parsed, and every signature in it checked.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "protocol/objects.h"

namespace mssl::proxy {

struct Resolution {
    RealmId realm;  // whose signer said all this; ids mean nothing in another
    std::shared_ptr<const SignedManifest> manifest;
    std::shared_ptr<const SignedTicket> ticket;
    std::shared_ptr<const SignedHead> head;
    Certificate signer;
    std::vector<HeaderField> fields;  // all of the answer of now (RFC 9111 §3.2)
    std::optional<std::int64_t> age;  // seconds, where nobody was asked now (fresh_answers.h)
};

}  // namespace mssl::proxy
