// Any bytes as a Resolved, and as the value of MSSL-Resolve: refused, or encoded again as they came. The first byte
// chooses which.
#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "protocol/resolve.h"

using namespace mssl;

namespace {

void check(bool promise) {
    if (!promise) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const View input(data + 1, size - 1);
    if (data[0] % 2 == 0) {
        const Result<Resolved> resolved = decode_resolved(input);
        if (!resolved) return 0;
        check(input.size() <= kMaxResolvedBytes);
        check(std::ranges::equal(View(encode_resolved(*resolved)), input));
    } else {
        const std::string_view value(reinterpret_cast<const char*>(input.data()), input.size());
        const Result<ResolveField> field = parse_resolve_field(value);
        if (!field) return 0;
        check(field->member.has_value() == field->signer.has_value());
        check(!check_resolve_proof(*field, Bytes(32)));
    }
    return 0;
}
