// A directory as an origin: regular files, GET and HEAD, ranges, preconditions. Never a way out of it: names are opened with
// openat2(RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS), where the kernel has none, component by component without symbolic links.
#pragma once

#include "proxy/server/origin.h"

namespace mssl::proxy {

// Errors: config when config.root is no directory that can be opened.
Result<std::shared_ptr<const Origin>> open_root_origin(Runtime& runtime, const OriginConfig& config);

// The path of an origin-form target: query cut off, percent-decoded, relative to the root (without leading slash). Nothing when it is
// malformed, has a NUL, a "." or ".." segment, or an encoded slash.
std::optional<std::string> root_path(std::string_view target);

// What the root answers to a request, before any body is read. Blocking: for workers and tests.
struct RootAnswer {
    ResponseHead head;
    Fd file;                  // when a body follows
    std::uint64_t first = 0;  // of head.length bytes to send
    std::string text;         // a short body instead of file
    // Of the file at that time: a file that changes under a read must not be mixed.
    std::string etag;
};
RootAnswer answer_from_root(int root_fd, const RequestHead& request, WallTime now);

}  // namespace mssl::proxy
