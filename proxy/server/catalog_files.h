// The catalog's files: a version, then what objects.h and identity.h can read.
#pragma once

#include <string>
#include <vector>

#include "protocol/identity.h"
#include "protocol/objects.h"

namespace mssl::proxy {

inline constexpr std::uint8_t kCatalogVersion = 1;

// A signed object with the certificate of who signed it.
Status write_signed_file(const std::string& path, const Certificate& signer, View der);
struct SignedFile {
    Certificate signer;  // issued by the realm, whenever that was: a signer that has ended still vouches for what it signed
    Bytes der;
};
// Errors: io, no_such_object, unsupported (another version), malformed, bad_certificate (not of this realm).
Result<SignedFile> read_signed_file(const std::string& path, const RealmTrust& trust);

Status write_nodes_file(const std::string& path, const std::vector<Hash>& nodes);
// count: how many there must be.
Result<std::vector<Hash>> read_nodes_file(const std::string& path, std::uint64_t count);

}  // namespace mssl::proxy
