"""Vectors of the Merkle tree. Block i of a made-up tree has the node H(u64 i); data has byte i mod 251."""

import random

from mssl_protocol import (LEAF, block_count, block_nodes, block_size, fold, leaf_count, leaf_node, leaf_nodes, need,
                           node_at, peak_level, peak_positions, peaks, sha256, tree, verify_block)
from vector_lines import Vectors, pairs

KIB, MIB = 1024, 1024 * 1024


def pattern(length):
    return (bytes(range(251)) * (length // 251 + 1))[:length]


def made_up(blocks):
    return [sha256(index.to_bytes(8, "big")) for index in range(blocks)]


def sizes(vectors):
    lengths = [0, 1]
    for edge in (LEAF, 2 * LEAF, 3 * LEAF, 64 * MIB, 128 * MIB, 256 * MIB, 1024 * MIB, 2**40, 2**48):
        lengths += [edge - 1, edge, edge + 1]
    for length in lengths[:-1]:
        size = block_size(length)
        vectors.put("sizes-%d" % length, "sizes", {"length": length}, "ok leaves=%d block_size=%d blocks=%d" % (
            leaf_count(length), size, block_count(length)))


def hashes(vectors):
    for length in (1, 31, 55, 56, 63, 64, 65, LEAF - 1, LEAF):
        vectors.add("leaf-%d" % length, "leaf", {"length": length}, lambda: {"node": leaf_node(pattern(length))})
    for blocks in (1, 2, 3, 5):
        for delta in (-LEAF - 1, -LEAF, -LEAF + 1, -1, 0):
            length = blocks * 65536 + delta
            if length > 0:
                nodes = block_nodes(leaf_nodes(pattern(length)), 2)
                vectors.add("object-%d" % length, "object", {"length": length}, lambda: {
                    "nodes": nodes, "root": fold(peaks(nodes))})
    vectors.add("object-0", "object", {"length": 0}, lambda: {"nodes": [], "root": sha256()})


def shapes(vectors):
    for blocks in (*range(18), 31, 32, 33, 63, 64, 65, 100, 127, 255):
        nodes = made_up(blocks)
        assert fold(peaks(nodes)) == tree(nodes)
        vectors.add("peaks-%d" % blocks, "peaks", {"blocks": blocks}, lambda: {
            "positions": peak_positions(blocks), "nodes": peaks(nodes), "root": tree(nodes)})
    for blocks in (2**20, 2**31 - 1, 2**32 - 1, 2**32):
        vectors.add("positions-%d" % blocks, "positions", {"blocks": blocks}, lambda: {
            "positions": peak_positions(blocks)})
    for block, blocks in ((0, 1), (0, 2), (1, 2), (2, 3), (6, 7), (5, 7), (3, 7), (0, 2**32), (2**32 - 1, 2**32),
                          (2**32 - 2, 2**32 - 1), (2**31, 2**32 - 1)):
        vectors.add("level-%d-%d" % (block, blocks), "peak_level", {"block": block, "blocks": blocks}, lambda: {
            "level": peak_level(block, blocks)})


def downloads(vectors, blocks, seed):
    """A whole download in a shuffled order: what to ask for, and what is known after each block."""
    source = random.Random(seed)
    nodes = made_up(blocks)
    known = {position: node_at(nodes, position) for position in peak_positions(blocks)}
    order = list(range(blocks))
    source.shuffle(order)
    crossed = 0
    vectors.put("download-%d-%d" % (blocks, seed), "begin", {"blocks": blocks}, "ok")
    for step, block in enumerate(order):
        name = "download-%d-%d-%d" % (blocks, seed, step)
        mask = need(block, known)
        siblings = [node_at(nodes, (level, block >> level ^ 1)) for level in range(32) if mask >> level & 1]
        vectors.add(name, "need", {"block": block}, lambda: {"mask": mask})
        proof = {"block": block, "node": nodes[block], "mask": mask, "siblings": siblings}
        lies(vectors, name, proof, known, source)
        known = verify_block(known, block, nodes[block], mask, siblings)
        vectors.put(name + "-right", "verify", proof, "ok" + pairs({"known": sorted(known)}))
        crossed += len(siblings)
    assert all(known[position] == node_at(nodes, position) for position in known)
    assert crossed == blocks - bin(blocks).count("1")  # no node crosses twice


def flipped(node, source):
    bit = source.randrange(256)
    return bytes(octet ^ (1 << bit % 8 if index == bit // 8 else 0) for index, octet in enumerate(node))


def lies(vectors, name, proof, known, source):
    def refused(what, code, **changes):
        wrong = proof | changes
        vectors.add("%s-%s" % (name, what), "verify", wrong, lambda: verify_block(
            known, wrong["block"], wrong["node"], wrong["mask"], wrong["siblings"]))
        assert vectors.lines[-1].endswith("-> error " + code)

    refused("other-data", "bad_proof", node=flipped(proof["node"], source))
    siblings = proof["siblings"]
    if siblings:
        at = source.randrange(len(siblings))
        refused("other-node", "bad_proof", siblings=[flipped(node, source) if index == at else node
                                                     for index, node in enumerate(siblings)])
        refused("no-nodes", "incomplete", mask=0, siblings=[])
    if len(siblings) > 1:
        refused("other-order", "bad_proof", siblings=siblings[::-1])


def merkle():
    vectors = Vectors("The Merkle tree.", b"".join(made_up(13)))
    sizes(vectors)
    hashes(vectors)
    shapes(vectors)
    for blocks, seed in ((1, 1), (2, 1), (3, 1), (4, 1), (5, 2), (7, 1), (8, 3), (13, 1)):
        downloads(vectors, blocks, seed)
    return vectors
