#!/usr/bin/env python3
"""Writes the .vec files beside this script; with --check compares them with what it would write."""

import pathlib
import sys

sys.dont_write_bytecode = True

import frame_vectors
import key_share_vectors
import merkle_vectors
import object_vectors
import seal_key_vectors

FILES = {
    "merkle": merkle_vectors.merkle,
    "head": object_vectors.heads,
    "ticket": object_vectors.tickets,
    "manifest": object_vectors.manifests,
    "frames": frame_vectors.frames,
    "key_share": key_share_vectors.key_share,
    "seal_key": seal_key_vectors.seal_key,
    "resolved": frame_vectors.resolved,
}


def main(arguments):
    if arguments not in ([], ["--check"]):
        print("usage: make_vectors.py [--check]", file=sys.stderr)
        return 2
    folder = pathlib.Path(__file__).resolve().parent
    status = 0
    for name, make in FILES.items():
        path, text = folder / (name + ".vec"), make().text()
        if not arguments:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            print("%s is not what make_vectors.py writes" % path, file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
