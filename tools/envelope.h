// Files of mSSL objects: DER as it travels, PEM armour around it (mssl-protocol(7), Files), or a file of a server's catalog,
// in which the signer's certificate stands before what it signed. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "protocol/result.h"
#include "protocol/types.h"

namespace mssl::tools {

enum class Kind : std::uint8_t { manifest, head, ticket, certificate };

// "manifest"; and "MSSL MANIFEST", the label of the armour (RFC 7468).
std::string_view kind_name(Kind kind);
std::string_view kind_label(Kind kind);

struct Enveloped {
    Kind kind = Kind::certificate;
    Bytes der;
};

// What a file can hold and still be read: a chain of certificates, or a manifest in armour.
inline constexpr std::size_t kMaxEnvelopeBytes = 256 * 1024;

// All objects of a file, in order, at least one. Text around armour is ignored. Errors: malformed (no object; armour
// that does not end, or is no base64, or has another label than its content), unsupported (a label that is none of
// ours, private keys above all). The objects themselves are not parsed yet.
Result<std::vector<Enveloped>> open_envelope(View file);

}  // namespace mssl::tools
