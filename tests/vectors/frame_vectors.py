"""Vectors of frames, of the answer to a resolve and of the field that asks for it."""

import certificates
import mssl_frames
from mssl_frames import FRAMES, TYPES, decode, encode, frame
from object_vectors import NOON, OBJECT, OTHER, PUBLIC, SIGNER, head_of
from mssl_protocol import encode as encode_object, sha256
from vector_lines import Vectors, letters

ID = sha256(PUBLIC)
DER = bytes.fromhex("30030201ff")
NODE = sha256(b"node")
BIG = 2**32
SIGNER_CERTIFICATE = certificates.signer_certificate(sha256(b"realm"), SIGNER, NOON)
MEMBER_CERTIFICATE = certificates.member_certificate(SIGNER, OTHER, NOON)
REQUEST = mssl_frames.encode_request(MEMBER_CERTIFICATE, SIGNER_CERTIFICATE, bytes(range(64)))


def peer(port=4434, gone=0):
    return {"member": ID, "address": bytes(10) + b"\xff\xff\xc0\x00\x02\x01", "port": port, "gone": gone}


def ranges(*items):
    return {"ranges": [{"first": first, "count": count} for first, count in items]}


SAMPLES = [
    ("HELLO", {"version": 1, "abilities": 1, "hash": 1, "max_block_log2": 18, "realm": ID}),
    ("HELLO", {"version": 1, "abilities": BIG - 1, "hash": 1, "max_block_log2": 16, "realm": bytes(32)}),
    ("ERROR", {"code": 3, "text": b"not for this side"}),
    ("ERROR", {"code": 18, "text": "größer".encode()}),
    ("ERROR", {"code": 1, "text": b""}),
    ("ERROR", {"code": 14, "text": b"t" * 512}),
    ("PING", {"cookie": 2**64 - 1}),
    ("PONG", {"cookie": 0x0102030405060708}),
    ("ENROL", {"key": PUBLIC, "proof": bytes(range(64)), "token": b""}),
    ("ENROL", {"key": PUBLIC, "proof": bytes(range(64)), "token": b"x" * 256}),
    ("ENROLLED", {"realm": DER, "signer": DER, "member": DER}),
    ("ENROLLED", {"realm": b"r" * 2048, "signer": b"0" * 2048, "member": b"1" * 2048}),
    ("ANNOUNCE", {"port": 65535}),
    ("ANNOUNCE", {"port": 0}),
    ("ANNOUNCED", {"reachable": 1, "text": b"192.0.2.1"}),
    ("ANNOUNCED", {"reachable": 0, "text": b""}),
    ("OPEN", {"handle": 7, "object": OBJECT, "ticket": DER, "signer": DER}),
    ("OPEN", {"handle": BIG - 1, "object": OBJECT, "ticket": b"t" * 65536, "signer": b"s" * 2048}),
    ("OPENED", {"handle": 7, "blocks": 0, "bitfield": b""}),
    ("OPENED", {"handle": 7, "blocks": 3, "bitfield": b"\xa0"}),
    ("OPENED", {"handle": 7, "blocks": 8, "bitfield": b"\xff"}),
    ("OPENED", {"handle": 7, "blocks": 9, "bitfield": b"\xff\x80"}),
    ("OPENED", {"handle": 7, "blocks": 1048576, "bitfield": b"\xff" * 131072}),
    ("OPENED", {"handle": 7, "blocks": 1048577, "bitfield": b""}),
    ("OPENED", {"handle": 7, "blocks": BIG, "bitfield": b""}),
    ("CLOSE", {"handle": 7, "by_provider": 1, "code": 0}),
    ("CLOSE", {"handle": 7, "by_provider": 0, "code": 18}),
    ("HAVE", {"handle": 7} | ranges((0, 2), (5, 1))),
    ("HAVE", {"handle": 7} | ranges((0, 2), (2, 1))),
    ("HAVE", {"handle": 7} | ranges((0, BIG - 1), (BIG - 1, 1))),
    ("HAVE", {"handle": 7} | ranges(*((2 * index, 1) for index in range(64)))),
    ("HEAD", {"handle": 7, "head": DER}),
    ("REQUEST", {"handle": 7, "block": 0, "head_blocks": 3, "mask": 1, "nodes_only": 0}),
    ("REQUEST", {"handle": 7, "block": 2, "head_blocks": 3, "mask": 0, "nodes_only": 1}),
    ("REQUEST", {"handle": 7, "block": BIG - 1, "head_blocks": BIG, "mask": BIG - 1, "nodes_only": 0}),
    ("REQUEST", {"handle": 7, "block": 5, "head_blocks": 7, "mask": 1, "nodes_only": 0}),
    ("CANCEL", {"handle": 7, "block": BIG - 1}),
    ("BLOCK", {"handle": 7, "block": 0, "length": 65536, "head_blocks": 3, "mask": 1, "nodes": [NODE]}),
    ("BLOCK", {"handle": 7, "block": 0, "length": 0, "head_blocks": 8, "mask": 5, "nodes": [NODE, ID]}),
    ("BLOCK", {"handle": 7, "block": 9, "length": 262144, "head_blocks": 10, "mask": 0, "nodes": []}),
    ("BLOCK", {"handle": 7, "block": 1, "length": 1, "head_blocks": BIG, "mask": BIG - 1, "nodes": [b"n" * 32] * 32}),
    ("DATA", {"handle": 7, "block": 0, "offset": 65533, "payload": b"\1\2\3"}),
    ("DATA", {"handle": 7, "block": 0, "offset": 0, "payload": b"d" * 16368}),
    ("REFUSE", {"handle": 7, "block": 9, "code": 12}),
    ("ANY", {"handle": 7, "tokens": 64, "level": 3, "with_path": 1}),
    ("ANY", {"handle": 7, "tokens": 0, "level": 0, "with_path": 0}),
    ("ALL_OUT", {"handle": 7}),
    ("PEERS", {"handle": 7, "peers": []}),
    ("PEERS", {"handle": 7, "peers": [peer(), peer(0, 1)]}),
    ("PEERS", {"handle": 7, "peers": [{"member": bytes(32), "address": bytes(16), "port": 0, "gone": 0}] * 128}),
    ("PROGRESS", {"handle": 7, "have_count": 2, "bitfield": b"\xa0"}),
    ("PROGRESS", {"handle": 7, "have_count": BIG, "bitfield": b""}),
    ("RENEW", {"handle": 7}),
    ("TICKET", {"handle": 7, "ticket": DER}),
    ("REPORT", {"handle": 7, "member": ID, "code": 10}),
]

# Values that can be written and that the page forbids.
FORBIDDEN = [
    ("HELLO", "version", (0, 2, 65535)), ("HELLO", "hash", (0, 2, 255)), ("HELLO", "max_block_log2", (0, 15, 19, 255)),
    ("ERROR", "code", (0, 19, 255)), ("ERROR", "text", (b"a\nb", b"\0", b"\x1f", b"\x7f", b"t" * 513)),
    ("ENROL", "token", (b"x" * 257,)), ("ENROLLED", "realm", (b"r" * 2049,)), ("ENROLLED", "member", (b"m" * 2049,)),
    ("ANNOUNCED", "reachable", (2, 255)), ("ANNOUNCED", "text", (b"\x1b[2J", b"t" * 513)),
    ("OPEN", "ticket", (b"t" * 65537,)), ("OPEN", "signer", (b"s" * 2049,)),
    ("OPENED", "blocks", (BIG + 1, 2**64 - 1)), ("OPENED", "bitfield", (bytes(131073),)),
    ("CLOSE", "by_provider", (2,)), ("CLOSE", "code", (19, 255)), ("HEAD", "head", (b"h" * 65537,)),
    ("REQUEST", "head_blocks", (BIG + 1, 2**63)), ("REQUEST", "mask", (BIG, 2**63)), ("REQUEST", "nodes_only", (2,)),
    ("BLOCK", "length", (262145, BIG - 1)), ("BLOCK", "head_blocks", (BIG + 1,)),
    ("BLOCK", "mask", (0, 2, 3, BIG)), ("BLOCK", "nodes", ([], [NODE, NODE])),
    ("DATA", "payload", (b"", b"d" * 16369)), ("REFUSE", "code", (0, 19)), ("REPORT", "code", (0, 19)),
    ("ANY", "tokens", (65, 255)), ("ANY", "level", (4, 255)), ("ANY", "with_path", (2,)),
    ("PEERS", "peers", ([peer(gone=2)], [peer(), peer(gone=255)])),
    ("PROGRESS", "have_count", (BIG + 1, 2**64 - 1)), ("PROGRESS", "bitfield", (bytes(131073),)),
    ("TICKET", "ticket", (b"t" * 65537,)),
    ("HAVE", "ranges", [ranges(*items)["ranges"] for items in (
        [(0, 0)], [(5, 1), (0, 1)], [(0, 2), (1, 1)], [(0, 1), (0, 1)], [(BIG - 1, 2)], [(BIG - 1, BIG - 1)],
        [(0, 1), (1, 0)])]),
]


def decoded(vectors, name, data):
    def call():
        kind, values = decode(data)
        return {"type": kind} | values
    vectors.add(name, "decode", {"frame": data}, call)


def with_body(data, body):
    return frame(data[0], body)


def frames():
    vectors = Vectors("Frames.", ID + NODE + OBJECT)
    first, seen = {}, {}
    for kind, values in SAMPLES:
        data = encode(kind, values)
        assert decode(data) == (kind, values), kind
        seen[kind] = seen.get(kind, 0) + 1
        decoded(vectors, "%s-%d" % (kind, seen[kind]), data)
        if kind not in first or kind == "OPENED" and seen[kind] == 2:
            first[kind] = (values, data)
    for kind, field, values in FORBIDDEN:
        for index, value in enumerate(values):
            decoded(vectors, "%s-%s-%d" % (kind, field, index), encode(kind, first[kind][0] | {field: value}))
    for kind, (_, data) in first.items():
        body, most = data[4:], FRAMES[TYPES[kind]][1]
        cut = [with_body(data, body[:n]) for n in range(len(body))]
        flipped = [with_body(data, body[:i // 8] + bytes([body[i // 8] ^ 128 >> i % 8]) + body[i // 8 + 1:])
                   for i in range(8 * len(body))]
        vectors.put(kind + "-truncations", "truncations", {"frame": data}, "ok codes=" + letters(
            (lambda wrong=wrong: decode(wrong)) for wrong in cut))
        vectors.put(kind + "-flips", "flips", {"frame": data}, "ok codes=" + letters(
            (lambda wrong=wrong: decode(wrong)) for wrong in flipped))
        decoded(vectors, kind + "-longer", with_body(data, body + b"\0"))
        decoded(vectors, kind + "-empty", with_body(data, b""))
        decoded(vectors, kind + "-most", with_body(data, bytes(most)))
        decoded(vectors, kind + "-above-most", data[:1] + (most + 1).to_bytes(3, "big"))
        decoded(vectors, kind + "-largest-header", data[:1] + b"\xff\xff\xff")
        decoded(vectors, kind + "-incomplete", data[:-1])
    vectors.put("types", "types", {}, "ok codes=" + letters(
        (lambda number=number: decode(bytes([number, 0, 0, 0]))) for number in range(256)))
    decoded(vectors, "type-ff-largest", b"\xff\xff\xff\xff")
    header(vectors)
    return vectors


def header(vectors):
    for n in range(4):
        decoded(vectors, "header-%d" % n, b"\x03\0\0\x08"[:n])
    inner = {"HELLO-unsupported-first": (0x01, bytes.fromhex("0002000000010019") + ID),
             "ERROR-text-length-before-bytes": (0x02, b"\x01\x02\x01"),
             "ERROR-code-before-text": (0x02, b"\0\xff\xff"),
             "ENROL-token-length-before-bytes": (0x08, bytes(96) + b"\x01\x01"),
             "OPENED-blocks-before-bitfield": (0x11, bytes(4) + b"\xff" * 11),
             "OPENED-bitfield-length-before-bytes": (0x11, bytes(4) + bytes(7) + b"\x03\x02\0\x01"),
             "HAVE-count-before-bytes": (0x13, bytes(4) + b"\x04\x01"),
             "HAVE-range-before-bytes": (0x13, bytes(4) + b"\0\x02" + bytes(8)),
             "PEERS-count-before-bytes": (0x22, bytes(4) + b"\x81"),
             "BLOCK-length-before-head": (0x17, bytes(8) + b"\xff" * 20),
             "BLOCK-nodes-missing": (0x17, bytes(20) + b"\2" + bytes(7) + b"\1" + bytes(31)),
             "HEAD-length-before-bytes": (0x14, bytes(4) + b"\x01\0\x01"),
             "HEAD-length-at-limit": (0x14, bytes(4) + b"\x01\0\0")}
    for name, (kind, body) in inner.items():
        decoded(vectors, name, frame(kind, body))


def answer_of(**changes):
    ticket = {"grant": bytes(range(16)), "member": ID, "object": OBJECT, "exchange": 0, "price": 0, "not_before": NOON,
              "not_after": NOON + 600}
    return {"version": 1, "manifest": DER, "ticket": encode_object("ticket", ticket, SIGNER),
            "head": encode_object("head", head_of(163841), SIGNER), "signer": DER,
            "fields": [{"name": b"Content-Type", "value": b"text/plain"}]} | changes


def resolved():
    vectors = Vectors("The answer to a resolve, and the field that asks for it.", mssl_frames.encode_answer(answer_of()) +
                      REQUEST + MEMBER_CERTIFICATE + SIGNER_CERTIFICATE)

    def answer(name, data):
        vectors.add(name, "answer", {"body": data}, lambda: mssl_frames.decode_answer(data))

    def changed(name, **changes):
        answer(name, mssl_frames.encode_answer(answer_of(**changes)))

    def field(name, value):
        return {"name": name, "value": value}

    usual = mssl_frames.encode_answer(answer_of())
    small = mssl_frames.encode_answer(answer_of(ticket=DER, head=DER))
    answer("usual", usual)
    answer("small", small)
    vectors.put("truncations", "truncations", {"body": small}, "ok codes=" + letters(
        (lambda n=n: mssl_frames.decode_answer(small[:n])) for n in range(len(small))))
    answer("byte-behind", usual + b"\0")
    for version in (0, 2, 255):
        changed("version-%d" % version, version=version)
    changed("largest", manifest=b"m" * 65536, ticket=b"t" * 4096, head=b"h" * 65536, signer=b"s" * 2048)
    changed("manifest-too-large", manifest=b"m" * 65537)
    changed("ticket-too-large", ticket=b"t" * 4097)
    changed("head-too-large", head=b"h" * 65537)
    changed("signer-too-large", signer=b"s" * 2049)
    for count in (0, 128, 129):
        changed("fields-%d" % count, fields=[field(b"X", b"")] * count)
    changed("longest-name", fields=[field(b"n" * 255, b"v")])
    changed("largest-value", fields=[field(b"N", b"v" * 16384)])
    changed("value-too-large", fields=[field(b"N", b"v" * 16385)])
    changed("values-together", fields=[field(b"N", b"v" * 16384)] * 4)
    changed("answer-too-large", fields=[field(b"N", b"v" * 16384)] * 16)
    answer("answer-largest", bytes(262144))
    answer("answer-larger", bytes(262145))
    changed("empty-name", fields=[field(b"", b"v")])
    changed("space-name", fields=[field(b"A B", b"v")])
    for name, value in (("cr", b"a\rb"), ("lf", b"a\nb"), ("nul", b"a\0b")):
        changed("value-" + name, fields=[field(b"A", value)])
    requests(vectors)
    return vectors


def requests(vectors):
    def call(value):
        found = mssl_frames.decode_request(value)
        return dict(zip(("member", "signer", "proof"), found or (b"", b"", b"")))

    def request(name, value):
        vectors.add("request-" + name, "request", {"value": value}, lambda: call(value))

    good = REQUEST
    parts = good.split(b"; ")
    request("usual", good)
    request("later", b"v=1")
    request("version-2", good.replace(b"v=1", b"v=2"))
    request("version-2-alone", b"v=2")
    request("version-01", b"v=01")
    for at, name in enumerate(("version", "member", "signer", "proof")):
        request("without-" + name, b"; ".join(parts[:at] + parts[at + 1:]))
        request("twice-" + name, b"; ".join(parts + parts[at:at + 1]))
        request("only-" + name, b"; ".join([b"v=1"] + parts[at:at + 1]))
    request("unknown", good + b"; x=1")
    request("unknown-alone", b"v=1; x=1")
    request("upper-case", good.replace(b"member", b"MEMBER"))
    request("empty", b"")
    request("no-equals", b"v=1; member")
    request("unpadded", good[:-1])
    request("bad-digit", good.replace(b"; proof=A", b"; proof=!"))
    request("url-digits", good.replace(b"; proof=A", b"; proof=_"))
    request("spare-bits", good[:-3] + b"x==")
    request("empty-member", good.replace(parts[1], b"member="))
    request("proof-63", mssl_frames.encode_request(MEMBER_CERTIFICATE, SIGNER_CERTIFICATE, bytes(63)))
    request("proof-65", mssl_frames.encode_request(MEMBER_CERTIFICATE, SIGNER_CERTIFICATE, bytes(65)))
    request("other-order", b"; ".join(reversed(parts)))
    request("no-spaces", b";".join(parts))
    request("spaces", b" ;\t ".join(parts) + b" ")
    request("spaces-inside", good.replace(b"v=1", b"v= 1"))
    request("semicolon-behind", good + b";")
    request("semicolon-behind-short", b"v=1;")
    request("semicolon-before", b";v=1")
    request("two-semicolons", good.replace(b";", b";;", 1))
    request("comma", b", ".join(parts))
    request("quoted", b'v="1"')
    request("certificate-too-large", good.replace(parts[1], b"member=" + b"MAAA" * 700))
    request("certificate-cut", mssl_frames.encode_request(MEMBER_CERTIFICATE[:-1], SIGNER_CERTIFICATE, bytes(64)))
    request("certificate-byte-behind", mssl_frames.encode_request(MEMBER_CERTIFICATE + b"\0", SIGNER_CERTIFICATE, bytes(64)))
