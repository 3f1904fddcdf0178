// A file that is being fetched: FILE.part, which becomes FILE when it is whole, and FILE.part.info, which says what it is
// a part of.
#pragma once

#include <optional>
#include <string>

#include "protocol/result.h"
#include "tools/files.h"
#include "tools/http.h"

namespace mssl::tools {

// What identifies the representation that a part belongs to.
struct PartInfo {
    std::string url;
    std::string validator;  // for If-Range; empty: cannot be resumed
    std::optional<std::uint64_t> length;
    bool operator==(const PartInfo&) const = default;
};

std::string write_part_info(const PartInfo& info);
Result<PartInfo> read_part_info(std::string_view text);

// The validator that a later If-Range may carry (RFC 9110 §13.1.5): a strong entity tag, or a date that is strong because
// Date is later (§8.8.2.2), and only where there is no entity tag. Empty when there is none.
std::string validator_of(const HttpResponse& response);

// "bytes 5-9/10", "bytes */10". Pure.
struct ContentRange {
    std::optional<std::uint64_t> first;  // empty: unsatisfied
    std::uint64_t last = 0;
    std::optional<std::uint64_t> length;
};
std::optional<ContentRange> parse_content_range(std::string_view value);

class PartialFile {
public:
    // "-": standard output, which has neither part nor info. busy when another process writes the part. Nothing of what
    // is there is touched yet.
    static Result<PartialFile> open(const std::string& output);

    // The part's bytes and info, when they are good for going on with url; else nothing.
    std::optional<PartInfo> resumable(const std::string& url) const;
    std::uint64_t size() const { return size_; }

    // Empties the part and writes the info down, before any byte of the body.
    Status begin(const PartInfo& info);
    Status append(View bytes);
    // Durable under its final name; the info is gone.
    Status finish();
    // Of a part that nothing came for: removes what begin() or open() made.
    void discard_if_empty();
    bool is_stream() const { return path_.empty(); }
    const std::string& part_path() const { return part_; }

private:
    PartialFile() = default;

    std::string path_;  // empty: standard output
    std::string part_;
    Fd fd_;
    std::uint64_t size_ = 0;
};

}  // namespace mssl::tools
