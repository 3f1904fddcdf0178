#include "protocol/upload.h"

#include <algorithm>

namespace mssl {

namespace {

// Every sibling from the block up to the peak that covers it: what proves the block to somebody who knows only peaks.
std::uint64_t whole_path(BlockIndex block, std::uint64_t head_blocks) {
    return (std::uint64_t{1} << peak_of(block, head_blocks).level) - 1;
}

}  // namespace

Result<std::optional<Refuse>> Upload::on_request(const Request& request, const Bitmap& have) {
    const BlockIndex block = request.block;
    if (block.v >= geometry_.block_count()) return fail(Errc::malformed, "request beyond the object");
    if (request.head_blocks > geometry_.block_count() || block.v >= request.head_blocks)
        return fail(Errc::malformed, "request under a head that cannot cover it");
    // Node bounds: nothing above the peak of the head that the downloader named ever leaves here.
    if ((request.nodes >> peak_of(block, request.head_blocks).level) != 0)
        return fail(Errc::malformed, "nodes above the peak asked for");

    for (Item& item : queue_) {
        if (item.block != block || item.nodes_only != request.nodes_only) continue;
        if (!item.given) return fail(Errc::unexpected, "the same block asked for twice");
        // Given for a token and asked for by number at the same time: one sending answers both.
        item.given = false;
        item.head_blocks = request.head_blocks;
        item.nodes = request.nodes;
        return std::optional<Refuse>{};
    }
    const auto refuse = [&](Errc code) { return std::optional<Refuse>{Refuse{request.handle, block, code}}; };
    if (block.v >= head_blocks_ || !have.test(block)) return refuse(Errc::no_such_block);
    if (queue_.size() >= kMaxQueued) return refuse(Errc::busy);

    const Item item{block, request.head_blocks, request.nodes, request.nodes_only, false};
    // Nodes are a few hundred bytes without which a block that has arrived cannot be used: ahead of all payload.
    const auto place = request.nodes_only
                           ? std::find_if(queue_.begin(), queue_.end(), [](const Item& i) { return !i.nodes_only; })
                           : queue_.end();
    queue_.insert(place, item);
    return std::optional<Refuse>{};
}

void Upload::give(BlockIndex block, bool with_path) {
    const std::uint64_t nodes = with_path && block.v < head_blocks_ ? whole_path(block, head_blocks_) : 0;
    queue_.push_back(Item{block, head_blocks_, nodes, false, true});
}

void Upload::on_cancel(BlockIndex block) {
    std::erase_if(queue_, [&](const Item& i) { return i.block == block; });
}

std::optional<std::variant<Upload::Job, Refuse>> Upload::next() {
    if (queue_.empty()) return std::nullopt;
    const Item item = queue_.front();
    queue_.pop_front();

    Job job;
    job.frame.block = item.block;
    job.frame.length = item.nodes_only ? 0 : geometry_.block_length(item.block);
    job.frame.head_blocks = item.head_blocks;
    job.frame.mask = item.nodes;
    Result<std::vector<Hash>> nodes = collect_nodes(item.block, item.nodes, item.head_blocks, node_);
    if (nodes) {
        job.frame.nodes = std::move(*nodes);
    } else if (item.given) {
        job.frame.mask = 0;
    } else {
        // The block is here, its path is not (a newer head than this side's, a node not loaded): `busy` says
        // "try again", while `no_such_block` would make the downloader forget that this side has the block.
        return Refuse{Handle{}, item.block, Errc::busy};
    }
    return job;
}

std::uint64_t Upload::queued_bytes() const {
    std::uint64_t sum = 0;
    for (const Item& item : queue_)
        if (!item.nodes_only) sum += geometry_.block_length(item.block);
    return sum;
}

}  // namespace mssl
