// mssl hash: the root that an object's final head would have, were these its bytes.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "protocol/tree_builder.h"
#include "tools/files.h"
#include "tools/json.h"
#include "tools/progress.h"
#include "tools/text.h"
#include "tools/verbs.h"

namespace mssl::tools {
namespace {

// Large enough that a read's cost vanishes beside hashing, small enough to stay in the second-level cache. A multiple
// of the largest block, so that the builder never copies.
constexpr std::size_t kReadBytes = std::size_t{4} * kMaxBlockBytes;

struct FileHash {
    Geometry geometry;
    Hash root;
};

// Short reads (pipes) are gathered. 0 at the end.
Result<std::size_t> read_full(int fd, MutableView into, const std::string& name) {
    std::size_t have = 0;
    while (have < into.size()) {
        const ssize_t n = read(fd, into.data() + have, into.size() - have);
        if (n == 0) break;
        if (n > 0)
            have += static_cast<std::size_t>(n);
        else if (errno != EINTR)
            return errno_error(name);
    }
    return have;
}

Result<FileHash> hash_file(const std::string& name, Bytes& buffer) {
    Result<Fd> fd = open_to_read(name);
    if (!fd) return fd.error();
    struct stat st {};
    std::optional<std::uint64_t> total;
    if (fstat(fd->get(), &st) == 0 && S_ISREG(st.st_mode)) total = static_cast<std::uint64_t>(st.st_size);
    // Only advice: a pipe has none to take.
    (void)posix_fadvise(fd->get(), 0, 0, POSIX_FADV_SEQUENTIAL);

    Progress progress(false);
    // The root does not depend on the size of blocks, and the largest need the fewest nodes.
    TreeBuilder builder(kMaxBlockBytes);
    for (;;) {
        const Result<std::size_t> n = read_full(fd->get(), buffer, name);
        if (!n) return n.error();
        builder.feed(View(buffer).first(*n));
        if (builder.length() > kMaxObjectBytes)
            return fail(Errc::too_large, name + ": an object has at most 2^48 bytes");
        if (*n < buffer.size()) break;
        progress.show(builder.length(), total);
    }
    builder.finish();
    return FileHash{Geometry::for_length(builder.length()), builder.tree().root()};
}

std::string as_json(const std::string& name, const FileHash& h) {
    Json out = Json::object();
    out.put("file", name);
    out.put("root", h.root.hex());
    out.put("length", h.geometry.length());
    out.put("leaves", h.geometry.leaf_count());
    out.put("leaf_bytes", kLeafBytes);
    out.put("block_bytes", h.geometry.block_bytes());
    out.put("blocks", h.geometry.block_count());
    out.put("hash", "sha256");
    return out.dump(0);
}

}  // namespace

int run(const HashOptions& options) {
    int status = kDone;
    Bytes buffer(kReadBytes);
    for (const std::string& name : options.files) {
        const Result<FileHash> hash = hash_file(name, buffer);
        if (!hash) {
            std::fprintf(stderr, "mssl hash: %s\n", printable(hash.error().detail).c_str());
            status = kFailed;
            continue;
        }
        if (options.json)
            std::printf("%s\n", as_json(name, *hash).c_str());
        else
            std::printf("%s  %s\n", hash->root.hex().c_str(), printable(name).c_str());
    }
    if (std::fflush(stdout) != 0) {
        std::perror("mssl hash: standard output");
        return kFailed;
    }
    return status;
}

}  // namespace mssl::tools
