// The keys under which blocks are sealed in a fair exchange (mssl-protocol(7), SEAL KEYS; DESIGN 5 and 7).
//
//     seal key of an epoch      the server's alone
//       └─ seal secret          of one membership: the provider's, and the server's
//            └─ block key       of one block under one grant: the downloader gets it for its receipt
//
// Server and provider compute the same from what both know: neither keeps a list, and the server needs no word of the provider.
// One block's key tells nothing of another's.
//
// Thread rules: functions of their arguments.
#pragma once

#include "protocol/sealing.h"
#include "protocol/token.h"

namespace mssl {

// What a provider seals with: member and serial are of its membership certificate. Errors: crypto.
Result<Secret> seal_secret(const Sealing& sealing, const Secret& seal_key, const MemberId& member,
                           const MemberSerial& serial);

// Whose block, under which grant.
struct SealedBlock {
    MemberId downloader;
    GrantId grant;
    ObjectId object;
    BlockIndex block;
};
// Its key for AES-256-CTR, the same however often it is sent. Errors: crypto.
Result<Secret> block_key(const Sealing& sealing, const Secret& seal_secret, const SealedBlock& of);

}  // namespace mssl
