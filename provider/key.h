// An EVP key of one of our groups: which part of a handshake it holds (share.h).
//
//     parameters ──set encoded key──▶ peer_offer          (server: the client's share)
//     offer ──copy of its parameters──▶ parameters, which know the offer ──set encoded key──▶ peer_answer  (client)
//     offer: generated                answer: generated with a peer_offer as template
//
// Of a KEM there are peer_offer and offer alone: the server encapsulates for the one, the client decapsulates with the other,
// which then knows what was answered.
//
// libssl makes the client's shell for the server's share by copying the client's own parameters: through that copy the
// answer finds what it must fit, and what does not is refused while libssl still reads the message (alert
// illegal_parameter).
//
// Thread rules: one thread changes a key before others use it, as everywhere in EVP.
#pragma once

#include <variant>

#include "provider/share.h"

namespace mssl::provider {

struct Parameters {
    std::shared_ptr<const Offer> of;  // null: the server's side
};

struct Key {
    using Part = std::variant<Parameters, std::shared_ptr<const Offer>, std::shared_ptr<const PeerOffer>,
                              std::shared_ptr<const Answer>, std::shared_ptr<const PeerAnswer>>;
    Key(const Provider* of, const Group* g, Part p = Parameters{}) : provider(of), group(g), part(std::move(p)) {}

    const Provider* provider;
    const Group* group;
    Part part;
    std::shared_ptr<const PeerAnswer> answered;  // of an offer of a KEM, once it was

    // The encoded public key; empty for parameters alone.
    View share() const;
    const ShareTlvs* tlvs() const;  // null for parameters alone; of what answered, where that is here
    // Who the token made out to be a member: at the server, of either key.
    const Membership* membership() const;
    bool is_private() const;
    // What was shared with this key: parameters alone (null where there is nothing to know).
    Parameters parameters() const;
};

// The secret that own and peer share. Null: they are not two sides of one handshake.
const ExchangeSecret* secret_of(const Key& own, const Key& peer);

// For OSSL_OP_KEYMGMT, OSSL_OP_KEYEXCH and OSSL_OP_KEM; static. Null where the running OpenSSL has no use for it.
const OSSL_ALGORITHM* key_managements() noexcept;
const OSSL_ALGORITHM* key_exchanges() noexcept;
const OSSL_ALGORITHM* key_encapsulations() noexcept;

}  // namespace mssl::provider
