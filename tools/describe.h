// What an object says, field by field, and whether who signed it may. Pure: the time is an argument.
#pragma once

#include "protocol/identity.h"
#include "protocol/objects.h"
#include "tools/envelope.h"
#include "tools/json.h"

namespace mssl::tools {

// The fields, first of all "kind". Errors: as the object's parser. Nothing is verified.
Result<Json> describe(const Enveloped& object);

struct Verifier {
    RealmTrust trust;
    const Certificate* signer = nullptr;  // not needed for the realm's and signers' certificates
    WallTime now;
};

// Signature, chain and validity at now. Errors: as protocol/identity.h and objects.h say; expired for a manifest or a
// ticket outside its validity; malformed "needs --signer" where a signer is needed.
Status verify(const Enveloped& object, const Verifier& by);

}  // namespace mssl::tools
