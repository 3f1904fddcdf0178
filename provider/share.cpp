#include "provider/share.h"

#include <algorithm>
#include <chrono>

#include "provider/hybrid.h"
#include "provider/tokens.h"
#include "provider/x25519.h"

namespace mssl::provider {
namespace {

WallTime wall_now() {
    return {std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count()};
}

Bytes joined(View a, View b) {
    Writer w;
    w.raw(a);
    w.raw(b);
    return w.take();
}

// Sets what the token proves. Errors as of PeerOffer::read.
Status admit(const Provider& provider, const Sealing& sealing, PeerOffer& offer) {
    const Settings& settings = provider.settings();
    if (!settings.auth_key) return {};
    const TokenKey key(sealing, *settings.auth_key);
    const auto refuse = [&](Errc code, const char* why) { return settings.require ? Status(fail(code, why)) : Status(); };
    if (!offer.tlvs.token) return refuse(Errc::not_member, "no token");
    const Result<Membership> membership = key.open(*offer.tlvs.token);
    if (!membership) {
        if (membership.code() != Errc::bad_signature) return membership.error();
        const bool elsewhere = offer.tlvs.hello && offer.tlvs.hello->realm != settings.realm;
        return refuse(elsewhere ? Errc::wrong_realm : Errc::not_member, "a token that is none of this realm's");
    }
    if (past(membership->expiry, wall_now())) return refuse(Errc::expired, "the token's membership");
    const Result<Secret> secret = key.member_secret(*membership);
    if (!secret) return secret.error();
    offer.membership = *membership;
    offer.member = *secret;
    return {};
}

// What both sides can. A realm's id is told to its own members, and to who asks for any.
Hello answer_to(const std::optional<Hello>& peer, const Hello& own) {
    if (!peer) return own;
    Hello out = own;
    out.abilities &= peer->abilities;
    out.max_block_log2 = std::min(own.max_block_log2, peer->max_block_log2);
    return out;
}

Result<View> public_of(View share, std::size_t length) {
    if (share.size() < length) return fail(Errc::malformed, "a share shorter than its public key");
    return share.first(length);
}

Result<Bytes> own_public(const Group& group, EVP_PKEY* pair) {
    if (group.is_kem) return hybrid_public(pair);
    const auto key = x25519_public(pair);
    if (!key) return key.error();
    return Bytes(key->begin(), key->end());
}

// The server's half of the key exchange: what it sends, and what both then have.
Result<Encapsulated> respond(OSSL_LIB_CTX* library, const PeerOffer& offer) {
    if (offer.group->is_kem) return hybrid_encapsulate(library, offer.key.get());
    const Result<PkeyPtr> pair = x25519_generate(library);
    if (!pair) return pair.error();
    Result<Bytes> key = own_public(*offer.group, pair->get());
    if (!key) return key.error();
    const Result<Secret> dh = x25519_agree(library, pair->get(), View(offer.share).first(kX25519Bytes));
    if (!dh) return dh.error();
    return Encapsulated{*std::move(key), ExchangeSecret(*dh)};
}

// The client's.
Result<ExchangeSecret> conclude(OSSL_LIB_CTX* library, const Offer& offer, View server_public) {
    if (offer.group->is_kem) return hybrid_decapsulate(library, offer.pair.get(), server_public);
    const Result<Secret> dh = x25519_agree(library, offer.pair.get(), server_public);
    if (!dh) return dh.error();
    return ExchangeSecret(*dh);
}

}  // namespace

Result<std::shared_ptr<const Offer>> Offer::make(const Provider& provider, const Group& group, View further) {
    if (const Status& s = provider.configured(); !s) return s.error();
    auto made = std::make_shared<Offer>();
    made->group = &group;
    Result<PkeyPtr> pair = group.is_kem ? hybrid_generate(provider.library()) : x25519_generate(provider.library());
    if (!pair) return pair.error();
    made->pair = *std::move(pair);
    Hello hello = provider.hello();
    if (!provider.settings().token_file.empty()) {
        if (std::optional<TakenToken> taken = take_token(provider.settings().token_file, wall_now())) {
            hello.realm = taken->realm;
            made->tlvs.token = taken->token;
            made->member = taken->secret;
        }
    }
    made->tlvs.hello = hello;
    const Result<Bytes> key = own_public(group, made->pair.get());
    if (!key) return key.error();
    made->share = joined(*key, encode_tlvs(made->tlvs, further));
    return std::shared_ptr<const Offer>(std::move(made));
}

Result<std::shared_ptr<const PeerOffer>> PeerOffer::read(const Provider& provider, const Group& group, View share) {
    if (const Status& s = provider.configured(); !s) return s.error();
    auto read = std::make_shared<PeerOffer>();
    read->group = &group;
    const Result<View> key = public_of(share, group.share->client_public);
    if (!key) return key.error();
    if (group.is_kem) {
        Result<PkeyPtr> imported = hybrid_import(provider.library(), *key);
        if (!imported) return imported.error();
        read->key = *std::move(imported);
    } else if (x25519_has_small_order(*key)) {
        return fail(Errc::malformed, "a public key of small order");
    }
    const Result<ShareTlvs> tlvs = decode_tlvs(share.subspan(key->size()), ShareSide::client);
    if (!tlvs) return tlvs.error();
    read->tlvs = *tlvs;
    const Result<const Sealing*> sealing = provider.sealing();
    if (!sealing) return sealing.error();
    if (Status s = admit(provider, **sealing, *read); !s) return s.error();
    read->share.assign(share.begin(), share.end());
    return std::shared_ptr<const PeerOffer>(std::move(read));
}

Result<std::shared_ptr<const Answer>> Answer::make(const Provider& provider, std::shared_ptr<const PeerOffer> offer,
                                                   View further) {
    const Result<const Sealing*> sealing = provider.sealing();
    if (!sealing) return sealing.error();
    const Result<Encapsulated> exchanged = respond(provider.library(), *offer);
    if (!exchanged) return exchanged.error();

    auto made = std::make_shared<Answer>();
    made->tlvs.hello = answer_to(offer->tlvs.hello, provider.hello());
    made->tlvs.accepted = offer->member.has_value();  // said either way: a listener sees the length
    const Result<Secret> seal_key = answer_key(**sealing, exchanged->secret, offer->share, exchanged->ciphertext);
    if (!seal_key) return seal_key.error();
    const Result<Bytes> sealed = (*sealing)->seal(*seal_key, encode_tlvs(made->tlvs, further));
    if (!sealed) return sealed.error();
    made->share = joined(exchanged->ciphertext, *sealed);
    const Result<ExchangeSecret> secret = shared_secret(**sealing, exchanged->secret, offer->member ? &*offer->member : nullptr,
                                                        offer->share, made->share);
    if (!secret) return secret.error();
    made->secret = *secret;
    made->offer = std::move(offer);
    return std::shared_ptr<const Answer>(std::move(made));
}

Result<std::shared_ptr<const PeerAnswer>> PeerAnswer::read(const Provider& provider, std::shared_ptr<const Offer> offer,
                                                           View share) {
    const Result<const Sealing*> sealing = provider.sealing();
    if (!sealing) return sealing.error();
    const Result<View> key = public_of(share, offer->group->share->server_public);
    if (!key) return key.error();
    const Result<ExchangeSecret> dh = conclude(provider.library(), *offer, *key);
    if (!dh) return dh.error();
    const Result<Secret> seal_key = answer_key(**sealing, *dh, offer->share, *key);
    if (!seal_key) return seal_key.error();
    const Result<Bytes> plain = (*sealing)->open(*seal_key, share.subspan(key->size()));
    if (!plain) return plain.error();
    const Result<ShareTlvs> tlvs = decode_tlvs(*plain, ShareSide::server);
    if (!tlvs) return tlvs.error();
    const bool accepted = tlvs->accepted.value_or(false);
    if (accepted && !offer->member) return fail(Errc::malformed, "a token accepted that was not sent");
    const Secret* member = accepted ? &*offer->member : nullptr;
    const Result<ExchangeSecret> secret = shared_secret(**sealing, *dh, member, offer->share, share);
    if (!secret) return secret.error();

    auto read = std::make_shared<PeerAnswer>();
    read->share.assign(share.begin(), share.end());
    read->tlvs = *tlvs;
    read->secret = *secret;
    read->offer = std::move(offer);
    return std::shared_ptr<const PeerAnswer>(std::move(read));
}

}  // namespace mssl::provider
