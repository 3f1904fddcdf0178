// The RangeReader of an object whose origin is configured: one request a run of blocks.
#pragma once

#include <functional>
#include <memory>

#include "proxy/server/origin.h"
#include "proxy/server/range_reader.h"

namespace mssl::proxy {

// origins: the current ones; asked at every read, from any thread.
std::shared_ptr<RangeReader> make_origin_reader(std::function<std::shared_ptr<const Origins>()> origins, BufferPool& buffers,
                                                std::shared_ptr<const SignedManifest> manifest);

// Pure: the request for [first, last] of a manifest's representation, and whether an answer is that range of it.
RequestHead range_request(const Manifest& manifest, std::string_view target, std::uint64_t first, std::uint64_t last);
// Errors: withdrawn (another representation, or none), io (the origin refuses for now).
Status check_range_answer(const Manifest& manifest, const ResponseHead& answer, std::uint64_t first, std::uint64_t last);

}  // namespace mssl::proxy
