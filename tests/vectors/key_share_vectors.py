"""The cases of key_share.vec."""

import mssl_key_share as m
from mssl_protocol import sha256
from vector_lines import Vectors

REALM = sha256(b"realm")
HELLO = m.hello({"version": 1, "abilities": 1, "hash": 1, "max_block_log2": 18, "realm": REALM})
DH, AUTH, SERIAL, R = (sha256(word) for word in (b"dh", b"auth", b"serial", b"r"))
SERIAL, R = SERIAL[:16], R[:16]
EXPIRY = 1800000000
TOKEN = m.token(AUTH, R, SERIAL, EXPIRY)


def tlvs(vectors):
    def read(name, side, data):
        vectors.add("tlvs-" + name, "tlvs", {"side": side, "bytes": data}, lambda: m.read_tlvs(data, side))

    hello, token, accepted = m.tlv(1, HELLO), m.tlv(2, TOKEN), m.tlv(3, b"\1")
    for side in ("client", "server"):
        for name, data in (("hello", hello), ("token", hello + token), ("accepted", hello + accepted),
                           ("not-accepted", hello + m.tlv(3, b"\0")),
                           ("both", hello + token + accepted), ("nothing", b""), ("no-hello", token),
                           ("order", accepted + hello), ("token-first", token + hello),
                           ("unknown", m.tlv(4, b"x") + hello + m.tlv(0x7fff, b"") + m.tlv(0, b"") + accepted * (side == "server")),
                           ("unknown-twice", hello + m.tlv(4, b"") * 2 + accepted * (side == "server")),
                           ("zero-twice", m.tlv(0, b"") + hello + m.tlv(0, b"y") + accepted * (side == "server")),
                           ("critical", hello + m.tlv(0x8000, b"")), ("critical-hello", m.tlv(0x8001, HELLO) + hello),
                           ("hello-twice", hello * 2), ("token-twice", hello + token * 2),
                           ("accepted-twice", hello + accepted * 2)):
            read("%s-%s" % (side, name), side, data)
    for n in range(len(hello)):
        read("cut-%d" % n, "client", hello[:n])
    for at in (0, 1, 6, 7):
        for value in (0, 2, 15, 16, 18, 19, 255):
            read("hello-%d-%d" % (at, value), "client", m.tlv(1, HELLO[:at] + bytes([value]) + HELLO[at + 1:]))
    for name, value in (("short", HELLO[:-1]), ("long", HELLO + b"\0"), ("one-byte", b"\0"), ("empty", b""),
                        ("version-2-short", b"\0\2"), ("version-2-long", b"\0\2" + bytes(99))):
        read("hello-" + name, "client", m.tlv(1, value))
    for n in (55, 57, 0):
        read("token-of-%d" % n, "client", hello + m.tlv(2, bytes(n)))
    for name, value in (("of-0", b""), ("of-2", b"\0\0"), ("2", b"\2"), ("255", b"\xff")):
        read("accepted-" + name, "server", hello + m.tlv(3, value))
    room = m.MAX_TLVS - len(hello) - 4
    read("most", "client", hello + m.tlv(5, bytes(room)))
    read("more", "client", hello + m.tlv(5, bytes(room + 1)))


def key_share():
    vectors = Vectors("Key shares and handshake tokens.", HELLO + TOKEN)
    tlvs(vectors)
    client = sha256(b"client") + m.tlv(1, HELLO) + m.tlv(2, TOKEN)
    server_public, plain = sha256(b"server"), m.tlv(1, HELLO) + m.tlv(3, b"\1")
    sealed = m.seal(m.answer_key(DH, client, server_public), plain)
    vectors.put("answer", "answer", {"dh": DH, "client": client, "server_public": server_public, "tlvs": plain},
                "ok sealed=" + sealed.hex())
    # Of a hybrid: a longer secret, and a ciphertext in the place of the public key.
    hybrid_dh, ciphertext = DH + sha256(b"second"), b"".join(sha256(bytes([i])) for i in range(35))
    sealed_hybrid = m.seal(m.answer_key(hybrid_dh, client, ciphertext), plain)
    vectors.put("answer-hybrid", "answer", {"dh": hybrid_dh, "client": client, "server_public": ciphertext, "tlvs": plain},
                "ok sealed=" + sealed_hybrid.hex())
    for name, member in (("hybrid-member", m.member_secret(AUTH, SERIAL, EXPIRY)), ("hybrid-nobody", b"")):
        vectors.add("shared-" + name, "shared", {"dh": hybrid_dh, "member": member, "client": client,
                                                 "server": ciphertext + sealed_hybrid},
                    lambda member=member: {"secret": m.shared_secret(hybrid_dh, member, client, ciphertext + sealed_hybrid)})
    for name, member in (("member", m.member_secret(AUTH, SERIAL, EXPIRY)), ("nobody", b"")):
        vectors.add("shared-" + name, "shared", {"dh": DH, "member": member, "client": client,
                                                 "server": server_public + sealed},
                    lambda member=member: {"secret": m.shared_secret(DH, member, client, server_public + sealed)})
    for expiry in (0, 1, EXPIRY, 2**63 - 1):
        vectors.add("token-%d" % expiry, "token", {"auth": AUTH, "r": R, "serial": SERIAL, "expiry": expiry},
                    lambda expiry=expiry: {"token": m.token(AUTH, R, SERIAL, expiry),
                                           "secret": m.member_secret(AUTH, SERIAL, expiry)})
    for name, data in [("good", TOKEN)] + [("flipped-%d" % at, TOKEN[:at] + bytes([TOKEN[at] ^ 1]) + TOKEN[at + 1:])
                                           for at in (0, 15, 16, 39, 40, 55)]:
        vectors.add("open-" + name, "open", {"auth": AUTH, "token": data}, lambda data=data: m.open_token(AUTH, data))
    vectors.add("open-elsewhere", "open", {"auth": DH, "token": TOKEN}, lambda: m.open_token(DH, TOKEN))
    return vectors
