// The two sides of a handshake over one of our groups: what each makes, and what each learns from the other's share. EVP's keys
// (keymgmt.cpp) hold these.
//
//     client                                   server
//     Offer::make ──────── share ────────────▶ PeerOffer::read
//                                              Answer::make (from the PeerOffer)
//     PeerAnswer::read ◀── share ───────────── │
//     │ secret  ═══════════ the same ═════════ │ secret
//
// Thread rules: immutable once made; any thread.
#pragma once

#include <memory>
#include <optional>

#include "protocol/key_share.h"
#include "provider/group.h"
#include "provider/provider.h"

namespace mssl::provider {

// The client's own.
struct Offer {
    const Group* group = nullptr;
    PkeyPtr pair;
    Bytes share;
    ShareTlvs tlvs;
    std::optional<Secret> member;  // of the token in tlvs

    // Takes a token where the module has a file of them. further: TLVs of who drives EVP itself. Errors: as of
    // Provider::configured; crypto.
    static Result<std::shared_ptr<const Offer>> make(const Provider& provider, const Group& group, View further);
};

// The client's, at the server.
struct PeerOffer {
    const Group* group = nullptr;
    PkeyPtr key;  // of a KEM: to encapsulate for
    Bytes share;
    ShareTlvs tlvs;
    std::optional<Membership> membership;  // of a token that is good
    std::optional<Secret> member;

    // Errors: as of Provider::configured; too_large, malformed, unsupported (decode_tlvs, a public key that is none); where
    // membership is required: not_member, expired, wrong_realm.
    static Result<std::shared_ptr<const PeerOffer>> read(const Provider& provider, const Group& group, View share);
};

// The server's own.
struct Answer {
    Bytes share;
    ShareTlvs tlvs;
    ExchangeSecret secret;  // what TLS takes
    std::shared_ptr<const PeerOffer> offer;  // what it answers

    static Result<std::shared_ptr<const Answer>> make(const Provider& provider, std::shared_ptr<const PeerOffer> offer,
                                                      View further);
};

// The server's, at the client.
struct PeerAnswer {
    Bytes share;
    ShareTlvs tlvs;
    ExchangeSecret secret;
    std::shared_ptr<const Offer> offer;  // what it answers

    // Errors: malformed, too_large, unsupported, bad_signature (not sealed for this offer).
    static Result<std::shared_ptr<const PeerAnswer>> read(const Provider& provider, std::shared_ptr<const Offer> offer,
                                                          View share);
};

}  // namespace mssl::provider
