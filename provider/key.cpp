#include "provider/key.h"

namespace mssl::provider {
namespace {

template <class... F>
struct Overloaded : F... {
    using F::operator()...;
};
template <class... F>
Overloaded(F...) -> Overloaded<F...>;

}  // namespace

View Key::share() const {
    return std::visit(Overloaded{[](const Parameters&) { return View(); }, [](const auto& p) { return View(p->share); }},
                      part);
}

const ShareTlvs* Key::tlvs() const {
    if (answered) return &answered->tlvs;
    return std::visit(Overloaded{[](const Parameters&) -> const ShareTlvs* { return nullptr; },
                                 [](const auto& p) { return &p->tlvs; }},
                      part);
}

const Membership* Key::membership() const {
    const PeerOffer* offer = nullptr;
    if (const auto* peer = std::get_if<std::shared_ptr<const PeerOffer>>(&part)) offer = peer->get();
    if (const auto* answer = std::get_if<std::shared_ptr<const Answer>>(&part)) offer = (*answer)->offer.get();
    return offer != nullptr && offer->membership ? &*offer->membership : nullptr;
}

bool Key::is_private() const {
    return std::holds_alternative<std::shared_ptr<const Offer>>(part) ||
           std::holds_alternative<std::shared_ptr<const Answer>>(part);
}

Parameters Key::parameters() const {
    if (const auto* offer = std::get_if<std::shared_ptr<const Offer>>(&part)) return {*offer};
    if (const auto* parameters = std::get_if<Parameters>(&part)) return *parameters;
    return {};
}

const ExchangeSecret* secret_of(const Key& own, const Key& peer) {
    if (const auto* offer = std::get_if<std::shared_ptr<const Offer>>(&own.part)) {
        const auto* answer = std::get_if<std::shared_ptr<const PeerAnswer>>(&peer.part);
        return answer != nullptr && (*answer)->offer == *offer ? &(*answer)->secret : nullptr;
    }
    if (const auto* answer = std::get_if<std::shared_ptr<const Answer>>(&own.part)) {
        const auto* offer = std::get_if<std::shared_ptr<const PeerOffer>>(&peer.part);
        return offer != nullptr && (*answer)->offer == *offer ? &(*answer)->secret : nullptr;
    }
    return nullptr;
}

}  // namespace mssl::provider
