"""The cases of seal_key.vec."""

import mssl_seal_key as m
from mssl_protocol import sha256
from vector_lines import Vectors

KEY, MEMBER, DOWNLOADER, OBJECT = (sha256(word) for word in (b"key", b"member", b"downloader", b"object"))
SERIAL, GRANT = sha256(b"serial")[:16], sha256(b"grant")[:16]


def flipped(data, at):
    return data[:at] + bytes([data[at] ^ 0x80]) + data[at + 1:]


def seal_key():
    vectors = Vectors("Keys under which blocks are sealed.", MEMBER + DOWNLOADER + OBJECT + SERIAL + GRANT + KEY)

    def secret(name, **changed):
        of = dict({"key": KEY, "member": MEMBER, "serial": SERIAL}, **changed)
        vectors.add("secret-" + name, "seal-secret", of, lambda: {"secret": m.seal_secret(of["key"], of["member"], of["serial"])})

    def block(name, **changed):
        of = dict({"key": KEY, "member": DOWNLOADER, "grant": GRANT, "object": OBJECT, "block": 7}, **changed)
        vectors.add("block-" + name, "block-key", of,
                    lambda: {"key": m.block_key(of["key"], of["member"], of["grant"], of["object"], of["block"])})

    secret("plain")
    secret("zeros", key=bytes(32), member=bytes(32), serial=bytes(16))
    secret("ones", key=b"\xff" * 32, member=b"\xff" * 32, serial=b"\xff" * 16)
    block("plain")
    block("zeros", key=bytes(32), member=bytes(32), grant=bytes(16), object=bytes(32), block=0)
    block("of-a-secret", key=m.seal_secret(KEY, MEMBER, SERIAL))
    for number in (0, 1, 255, 256, 65536, 2**31, 2**32 - 1):
        block("number-%d" % number, block=number)
    for at in (0, 15):
        secret("serial-%d" % at, serial=flipped(SERIAL, at))
        block("grant-%d" % at, grant=flipped(GRANT, at))
    for at in (0, 31):
        secret("key-%d" % at, key=flipped(KEY, at))
        secret("member-%d" % at, member=flipped(MEMBER, at))
        block("key-%d" % at, key=flipped(KEY, at))
        block("downloader-%d" % at, member=flipped(DOWNLOADER, at))
        block("object-%d" % at, object=flipped(OBJECT, at))
    return vectors
