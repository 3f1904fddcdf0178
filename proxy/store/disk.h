// Blocking file operations of the store, as Results. For worker threads and start-up.
#pragma once

#include <string>

#include "protocol/result.h"
#include "protocol/types.h"
#include "proxy/core/net.h"

namespace mssl::proxy {

// no_space for a full disk, a quota and a file size limit; no_such_object for a missing file; else io. what goes into the detail.
Error disk_error(int error_number, std::string_view what);

Result<Fd> open_file(const std::string& path, int flags);
// All of it, or an error; io "short read" when the file ends before.
Status read_at(int fd, MutableView into, std::uint64_t offset);
Status write_at(int fd, View from, std::uint64_t offset);
Status sync_data(int fd);
Status sync_directory(const std::string& path);
// Disk space that files of one directory take (not their sizes: they are sparse). 0 when it cannot be read.
std::uint64_t allocated_bytes(const std::string& directory);
// With everything in it; what cannot be removed stays.
void remove_tree(const std::string& path);

}  // namespace mssl::proxy
