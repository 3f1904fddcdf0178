// Any bytes as a signed object or a certificate: refused, or exactly what its writer would have written (DER, within the
// limits, consistent in itself), and then refused by whoever asks for another signer. The first byte chooses which.
#include <algorithm>
#include <cstdlib>

#include "protocol/objects.h"

using namespace mssl;

namespace {

void check(bool promise) {
    if (!promise) std::abort();
}

template <class Body>
void objects(View der, Result<Signed<Body>> (*inspect)(View), Result<Signed<Body>> (*parse)(View, const PublicKey&)) {
    const Result<Signed<Body>> object = inspect(der);
    if (!object) return;
    check(der.size() <= kMaxObjectDer);
    check(std::ranges::equal(View(object->der), der));
    const Result<Signed<Body>> again = inspect(object->der);
    check(again.has_value() && again->body == object->body && again->signer == object->signer);
    if constexpr (requires { object->body.check(); }) check(object->body.check().has_value());
    check(!parse(der, PublicKey{}).has_value());
    // One byte less is never an object, or two of them could be told as one.
    check(!inspect(der.first(der.size() - 1)).has_value());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const View der(data + 1, size - 1);
    switch (data[0] % 4) {
    case 0: objects<Head>(der, inspect_head, parse_head); break;
    case 1: objects<Manifest>(der, inspect_manifest, parse_manifest); break;
    case 2: objects<Ticket>(der, inspect_ticket, parse_ticket); break;
    case 3:
        if (const Result<Certificate> certificate = Certificate::from_der(der)) {
            check(der.size() <= Certificate::kMaxCertificateBytes);
            check(Certificate::from_der(certificate->to_der()).has_value());
            check(Certificate::from_pem(certificate->to_pem()).has_value());
            (void)certificate->subject();
        }
        break;
    }
    return 0;
}
