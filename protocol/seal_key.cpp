#include "protocol/seal_key.h"

namespace mssl {

// All fields have fixed lengths: no two inputs give the same bytes.
Result<Secret> seal_secret(const Sealing& sealing, const Secret& seal_key, const MemberId& member,
                           const MemberSerial& serial) {
    Writer context;
    context.fixed(member);
    context.fixed(serial);
    return sealing.derive(seal_key.view(), "mssl/1 seal secret", context.view());
}

Result<Secret> block_key(const Sealing& sealing, const Secret& seal_secret, const SealedBlock& of) {
    Writer context;
    context.fixed(of.downloader);
    context.fixed(of.grant);
    context.fixed(of.object);
    context.u32(of.block.v);
    return sealing.derive(seal_secret.view(), "mssl/1 block key", context.view());
}

}  // namespace mssl
