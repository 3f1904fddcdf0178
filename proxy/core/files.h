// Small state files: read whole, written durably or not at all. Blocking: for start-up and worker threads.
//
// Thread rules: any thread.
#pragma once

#include <string>

#include "protocol/result.h"
#include "protocol/types.h"

namespace mssl::proxy {

// At most max bytes. Errors: io (detail: path and strerror), too_large. Code no_such_object when it does not exist.
// Of a secret there is no other copy in memory than what is returned, which the caller clears (OPENSSL_cleanse).
Result<Bytes> read_file(const std::string& path, std::size_t max);
Result<std::string> read_text_file(const std::string& path, std::size_t max);

// Temporary file beside it, write, fsync, rename, fsync of the directory: after Ok it survives a crash, before it the old
// content does. mode as in open(2), not subject to the umask. Errors: io, no_space.
Status write_file_durably(const std::string& path, View content, unsigned mode);

// Creates path and its missing parents with this mode (of those it creates).
Status make_directories(const std::string& path, unsigned mode);

}  // namespace mssl::proxy
