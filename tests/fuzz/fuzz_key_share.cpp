// Any bytes as the TLVs of a key share, or as the header of a token file: refused, or encoded again as what was read. The
// first byte chooses.
#include <algorithm>
#include <cstdlib>

#include "protocol/key_share.h"

using namespace mssl;

namespace {

void check(bool promise) {
    if (!promise) std::abort();
}

void tlvs(View bytes, ShareSide side) {
    const Result<ShareTlvs> read = decode_tlvs(bytes, side);
    if (!read) return check(read.code() == Errc::malformed || read.code() == Errc::too_large || read.code() == Errc::unsupported);
    check(bytes.size() <= kMaxTlvBytes);
    check(side == ShareSide::client ? !read->accepted : read->accepted && !read->token);
    if (!read->hello) return;
    check(read->hello->version == kProtocolVersion && read->hello->max_block_log2 >= 16 && read->hello->max_block_log2 <= 18);
    const Bytes again = encode_tlvs(*read);
    check(again.size() <= bytes.size());
    check(*decode_tlvs(again, side) == *read);
}

void token_file(View bytes) {
    const Result<TokenFile> read = decode_token_file_header(bytes);
    if (!read) return;
    check(read->next <= read->reserved && read->reserved <= read->count && read->count <= kMaxTokens && read->membership.expiry.unix_seconds >= 0);
    check(std::ranges::equal(encode_token_file_header(*read), bytes));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const View bytes(data + 1, size - 1);
    if (data[0] % 3 == 2)
        token_file(bytes);
    else
        tlvs(bytes, data[0] % 3 == 0 ? ShareSide::client : ShareSide::server);
    return 0;
}
