// The first bytes of an application's connection. Whatever they are: an answer, the same one however they arrive, and never more asked
// for once it was given.
#include "proxy/client/client_hello.h"

using namespace mssl;
using namespace mssl::proxy;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const View all(data, size);
    const Result<ClientHello> whole = read_client_hello(all);
    bool decided = false;
    for (std::size_t n = 0; n <= size && n <= 512; ++n) {
        const Result<ClientHello> part = read_client_hello(all.first(n));
        const bool more = part.code() == Errc::truncated;
        if (decided && more) __builtin_trap();
        if (!more && !decided) {
            decided = true;
            if (part.code() != whole.code()) __builtin_trap();
            if (part && (part->server_name != whole->server_name || part->alpn != whole->alpn)) __builtin_trap();
        }
    }
    if (whole && whole->server_name.size() > 253) __builtin_trap();
    return 0;
}
