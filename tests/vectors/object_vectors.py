"""Vectors of manifest, head and ticket. What is refused is signed rightly unless the case is the signature."""

import calendar

import ed25519
from merkle_vectors import made_up
from mssl_protocol import (BODIES, BOOLEAN, DOMAINS, ENUM, IA5, INTEGER, OCTETS, OID, OID_PREFIX, SEQUENCE, TIME, TYPES,
                           Der, block_size, check_validity, decode, der, der_number,
                           encode, leaf_count, peak_positions, peaks, seal, sha256)
from vector_lines import Vectors, letters

SIGNER = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")  # RFC 8032, TEST 1
OTHER = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")  # TEST 2
PUBLIC = ed25519.public_key(SIGNER)
OBJECT = bytes(range(32))
NOON = calendar.timegm((2027, 1, 15, 8, 0, 0))
LATEST = 253402300799


def long_form(tag, content, octets):
    """An element with so many octets of length after the first."""
    return bytes([tag, 0x80 | octets]) + len(content).to_bytes(octets, "big") + content


class Objects(Vectors):
    def __init__(self, kind, usual):
        super().__init__("Signed %ss." % kind, encode(kind, usual, SIGNER) + PUBLIC + SIGNER)
        self.kind, self.usual = kind, usual
        self.elements = self.split(BODIES[kind](usual))

    def split(self, body):
        """The elements of a body, each with its tag and length."""
        inner, elements = Der(body).sequence(), []
        while inner.at < len(inner.data):
            start = inner.at
            inner.content(inner.data[start])
            elements.append(inner.data[start:inner.at])
        return elements

    def good(self, name, **changes):
        fields = self.usual | changes
        data = encode(self.kind, fields, SIGNER)
        assert decode(self.kind, data, PUBLIC) == fields
        self.put(name, "object", {"private": SIGNER} | fields, "ok der=" + data.hex())

    def refused(self, name, data, public=PUBLIC):
        def call():
            decode(self.kind, data, public)
            raise AssertionError(name)
        self.add(name, "decode", {"public": public, "der": data}, call)

    def wrong(self, name, **changes):
        """A value that the syntax can say and the page forbids."""
        self.refused(name, encode(self.kind, self.usual | changes, SIGNER))

    def body(self, name, content):
        self.refused(name, seal(self.kind, der(SEQUENCE, content), SIGNER))

    def element(self, name, index, *elements):
        parts = list(self.elements)
        parts[index:index + 1] = elements
        self.body(name, b"".join(parts))

    def swapped(self):
        for index in range(len(self.elements) - 1):
            if self.elements[index][0] != self.elements[index + 1][0]:
                parts = list(self.elements)
                parts[index:index + 2] = parts[index + 1], parts[index]
                self.body("swapped-%d" % index, b"".join(parts))

    def everywhere(self):
        """What is wrong in the same way in every object."""
        data = encode(self.kind, self.usual, SIGNER)
        body = BODIES[self.kind](self.usual)
        public = {"public": PUBLIC, "der": data}
        self.put("every-truncation", "truncations", public, "ok codes=" + letters(
            (lambda n=n: decode(self.kind, data[:n], PUBLIC)) for n in range(len(data))))
        self.put("flips", "flips", public, "ok codes=" + letters(
            (lambda wrong=wrong: decode(self.kind, wrong, PUBLIC)) for wrong in flips(data)))
        self.refused("empty", b"")
        self.refused("byte-behind", data + b"\0")
        self.refused("twice", data + data)
        self.refused("indefinite", b"\x30\x80" + Der(data).content(SEQUENCE) + b"\0\0")
        self.refused("long-length", long_form(SEQUENCE, Der(data).content(SEQUENCE), 3))
        self.refused("longer-length", long_form(SEQUENCE, Der(data).content(SEQUENCE), 9))
        self.refused("set", b"\x31" + data[1:])
        self.refused("largest-garbage", bytes(65536))
        self.refused("too-large-garbage", bytes(65537))
        self.refused("too-large", der(SEQUENCE, Der(data).content(SEQUENCE) + bytes(65536 - len(data))))
        for index, element in enumerate(self.elements):
            self.element("without-%d" % index, index)
            self.element("double-%d" % index, index, element, element)
            self.element("tag-%d" % index, index, bytes([element[0] ^ 1]) + element[1:])
            self.element("class-%d" % index, index, bytes([element[0] ^ 0x80]) + element[1:])
            content = Der(element).content(element[0])
            if len(content) < 128:
                self.element("long-length-%d" % index, index, long_form(element[0], content, 1))
            else:
                self.element("long-length-%d" % index, index, long_form(element[0], content, 2))
            self.element("indefinite-%d" % index, index, bytes([element[0], 0x80]) + content + b"\0\0")
            beyond = element[:1] + (b"\x7f" if element[1] < 0x7f else b"\x82\x7f\xff") + content
            self.element("beyond-%d" % index, index, beyond)
            if element[0] in (INTEGER, ENUM):
                self.element("empty-%d" % index, index, der(element[0], b""))
                self.element("negative-%d" % index, index, der(element[0], b"\xff"))
                self.element("zero-before-%d" % index, index, der(element[0], b"\0" + content))
            if element[0] == INTEGER:
                self.element("65-bits-%d" % index, index, der(INTEGER, b"\1" + bytes(8)))
                self.element("9-octets-zero-%d" % index, index, der(INTEGER, bytes(9)))
            if element[0] == ENUM:
                self.element("unknown-%d" % index, index, der(ENUM, b"\x03"))
                self.element("unknown-large-%d" % index, index, der(ENUM, b"\x01\x01"))
            if element[0] == OCTETS:
                self.element("short-%d" % index, index, der(OCTETS, content[1:]))
                self.element("long-%d" % index, index, der(OCTETS, content + b"\0"))
                self.element("constructed-%d" % index, index, der(OCTETS | 0x20, der(OCTETS, content)))
            if element[0] == TIME:
                self.times(index)
        self.swapped()
        self.body("one-more", b"".join(self.elements) + der(INTEGER, b"\0"))
        self.body("no-elements", b"")
        self.frame_around(body)
        self.signatures(body)

    def times(self, index):
        for text in (b"20270229080000Z", b"20280230080000Z", b"20270431080000Z", b"21000229080000Z", b"20271301080000Z",
                     b"20270001080000Z", b"20270100080000Z", b"20270132080000Z", b"20270115240000Z", b"20270115086000Z",
                     b"20270115080060Z", b"19691231235959Z", b"00000101000000Z", b"270115080000Z", b"202701150800Z",
                     b"20270115080000", b"20270115080000z", b"20270115080000.0Z", b"20270115080000+0000",
                     b"2027 115080000Z", b"+0270115080000Z", b"", b"20270115080000ZZ", b"2027\xb2115080000Z"):
            self.element("time-%d-%s" % (index, text.hex() or "none"), index, der(TIME, text))

    def frame_around(self, body):
        """The elements around the body."""
        identifier, signer_id = der(OID, OID_PREFIX + TYPES[self.kind]), der(OCTETS, sha256(PUBLIC))
        signature = Der(seal(self.kind, body, SIGNER)).sequence().data[-66:]
        around = {
            "one-element-more": identifier + body + signer_id + signature + b"\x05\0",
            "no-signature": identifier + body + signer_id,
            "no-signer": identifier + body + signature,
            "no-body": identifier + signer_id + signature,
            "no-type": body + signer_id + signature,
            "signer-short": identifier + body + der(OCTETS, sha256(PUBLIC)[1:]) + signature,
            "signer-long": identifier + body + der(OCTETS, sha256(PUBLIC) + b"\0") + signature,
            "signature-short": identifier + body + signer_id + der(OCTETS, signature[2:-1]),
            "signature-long": identifier + body + signer_id + der(OCTETS, signature[2:] + b"\0"),
            "signature-bits": identifier + body + signer_id + der(3, b"\0" + signature[2:]),
            "signature-no-tag": identifier + body + signer_id + signature[2:],
            "type-long-length": long_form(OID, OID_PREFIX + TYPES[self.kind], 1) + body + signer_id + signature,
        }
        for name, content in around.items():
            self.refused(name, der(SEQUENCE, content))
        for name, content in (("type-0", OID_PREFIX + b"\0"), ("type-4", OID_PREFIX + b"\4"),
                              ("type-shorter", OID_PREFIX), ("type-longer", OID_PREFIX + TYPES[self.kind] + b"\1"),
                              ("type-other", bytes.fromhex("2a864886f70d010702"))):
            self.refused(name, der(SEQUENCE, der(OID, content) + body + signer_id + signature))

    def signatures(self, body):
        for kind, domain in DOMAINS.items():
            if kind != self.kind:
                self.refused("domain-" + kind, seal(self.kind, body, SIGNER, domain))
                self.refused("type-" + kind, seal(kind, body, SIGNER))
        self.refused("domain-empty", seal(self.kind, body, SIGNER, b"\0"))
        self.refused("domain-2", seal(self.kind, body, SIGNER, DOMAINS[self.kind].replace(b"1", b"2")))
        good = seal(self.kind, body, SIGNER)
        self.refused("other-signer", seal(self.kind, body, OTHER))
        self.refused("other-verifier", good, ed25519.public_key(OTHER))
        self.refused("other-key-same-signer", seal(self.kind, body, OTHER, signer_id=sha256(PUBLIC)))
        # S + L is the same number modulo L; RFC 8032 section 5.1.7 wants the lesser one.
        s = int.from_bytes(good[-32:], "little") + ed25519.L
        self.refused("signature-malleable", good[:-32] + s.to_bytes(32, "little"))
        self.refused("signature-zero", good[:-64] + bytes(64))
        self.refused("syntax-before-signer", seal(self.kind, body + b"", OTHER).replace(b"\x30", b"\x31", 1))
        broken = der(SEQUENCE, b"".join(self.elements[1:]))
        self.refused("body-before-signer", seal(self.kind, broken, OTHER))
        self.refused("signer-before-signature", seal(self.kind, body, SIGNER, b"\0", sha256(ed25519.public_key(OTHER))))


def flips(data):
    """Of every byte i the bit i mod 8 flipped."""
    for index in range(len(data)):
        yield data[:index] + bytes([data[index] ^ 1 << index % 8]) + data[index + 1:]


def head_of(length, leaves=None):
    """A head of a made-up tree."""
    size = block_size(length)
    total = leaf_count(length)
    leaves = total if leaves is None else leaves
    blocks = -(-leaves // (size // 32768))
    nodes = peaks(made_up(blocks)) if blocks < 5000 else made_up(len(peak_positions(blocks)))
    return {"object": OBJECT, "length": length, "block_size": size, "leaves": leaves, "final": leaves == total,
            "peaks": nodes}


def heads():
    vectors = Objects("head", head_of(163841))
    for length in (0, 1, 32768, 32769, 65536, 65537, 458752, 458753, 2**26, 2**26 + 1, 2**27, 2**27 + 1, 2**40 + 1,
                   2**48 - 1, 2**48):
        vectors.good("final-%d" % length, **head_of(length))
    vectors.good("most-peaks", **head_of((2**30 - 1) * 262144))
    for length, leaves in ((163841, 2), (163841, 4), (2**26 + 1, 4), (2**27 + 1, 8), (2**27 + 1, 4096), (65537, 2)):
        vectors.good("growing-%d-%d" % (length, leaves), **head_of(length, leaves))
    vectors.everywhere()
    nodes = made_up(8)
    for leaves in (0, 1, 3, 5, 6, 7, 8, 2**33, 2**33 + 1, 2**64 - 1):
        vectors.wrong("growing-of-6-%d" % leaves, leaves=leaves, final=False, peaks=nodes[:bin((leaves + 1) // 2).count("1")])
    for leaves in (0, 1, 2, 4, 5, 7, 8):
        vectors.wrong("final-of-6-%d" % leaves, leaves=leaves, peaks=nodes[:bin((leaves + 1) // 2).count("1")])
    for count in (0, 1, 3, 31, 32, 33):
        vectors.wrong("peaks-%d-of-2" % count, peaks=made_up(count))
    vectors.wrong("peak-short", peaks=[nodes[0], nodes[1][1:]])
    vectors.wrong("peak-long", peaks=[nodes[0], nodes[1] + b"\0"])
    vectors.wrong("peak-empty", peaks=[nodes[0], b""])
    vectors.element("peak-integer", 5, der(SEQUENCE, der(INTEGER, nodes[0][:1]) * 2))
    vectors.element("peaks-set", 5, der(0x31, der(OCTETS, nodes[0]) + der(OCTETS, nodes[1])))
    for size in (0, 1, 32768, 131072, 262144, 524288, 65535, 65537):
        vectors.wrong("block-size-%d" % size, block_size=size)
    vectors.wrong("block-size-small", **(head_of(2**26 + 1) | {"block_size": 65536}))
    vectors.wrong("length-0", length=0)
    vectors.wrong("empty-with-peak", **(head_of(0) | {"peaks": nodes[:1]}))
    vectors.wrong("empty-growing", **(head_of(0) | {"final": False}))
    for length in (2**48 + 1, 2**63, 2**64 - 1):
        vectors.wrong("length-%d" % length, length=length)
    vectors.element("length-2^64", 1, der_number(INTEGER, 2**64))
    for octet in (b"\1", b"\x7f", b"\xfe", b"", b"\xff\xff"):
        vectors.element("final-%s" % (octet.hex() or "none"), 4, der(BOOLEAN, octet))
    return vectors


def tickets():
    usual = {"grant": bytes(range(0xa0, 0xb0)), "member": sha256(PUBLIC), "object": OBJECT, "exchange": 0, "price": 0,
             "not_before": NOON, "not_after": NOON + 600}
    vectors = Objects("ticket", usual)
    vectors.good("usual")
    for price in (1, 127, 128, 255, 256, 65535, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1):
        vectors.good("price-%d" % price, price=price)
    vectors.good("proof-of-service", exchange=1)
    vectors.good("purchase", exchange=2, price=7)
    vectors.good("one-second", not_after=NOON + 1)
    vectors.good("longest", not_before=0, not_after=LATEST)
    for year, month, day in ((2028, 2, 29), (2000, 2, 29), (2400, 2, 29), (2027, 2, 28), (2027, 12, 31), (2100, 3, 1)):
        moment = calendar.timegm((year, month, day, 23, 59, 59))
        vectors.good("from-%d-%d-%d" % (year, month, day), not_before=moment, not_after=moment + 1)
    vectors.everywhere()
    vectors.wrong("same-times", not_after=NOON)
    vectors.wrong("turned-times", not_after=NOON - 1)
    vectors.element("time-of-year-10000", 6, der(TIME, b"100000101000000Z"))
    for now in (-121, -120, -1, 0, 600, 601, 720, 721):
        times = {"not_before": NOON, "not_after": NOON + 600, "now": NOON + now}
        vectors.add("validity-%d" % now, "validity", times, lambda: check_validity(**times) or {})
    return vectors


def manifests():
    usual = {"object": OBJECT, "url": b"http://files.example.org:80/a", "etag": b'"v1"', "last_modified": 0,
             "fields": [(b"Content-Type", b"text/plain")], "length": 163841, "block_size": 65536, "hash": 1, "access": 0,
             "exchange": 0, "price": 0, "not_before": NOON, "not_after": NOON + 86400}
    vectors = Objects("manifest", usual)
    vectors.good("usual")
    urls = {"https": b"https://a:443/", "query": b"http://a:1/b?c=d&e=%20/../?", "port-65535": b"http://a:65535/",
            "ipv6": b"http://[2001:db8::1]:8080/x", "odd-path": b"http://a.b-c_d:80//%zz/;@:|^{}\"<>\\`",
            "upper-case-path": b"http://a:80/ABC", "longest": b"http://a:80/" + b"x" * 8180, "ipv4": b"http://192.0.2.1:80/"}
    for name, url in urls.items():
        vectors.good("url-" + name, url=url)
    wrong_urls = {
        "empty": b"", "ftp": b"ftp://a:21/", "upper-case-scheme": b"HTTP://a:80/", "upper-case-host": b"http://A:80/",
        "no-port": b"http://a/", "empty-port": b"http://a:/", "port-0": b"http://a:0/", "port-080": b"http://a:080/",
        "port-65536": b"http://a:65536/", "port-letters": b"http://a:8x/", "port-plus": b"http://a:+80/",
        "no-path": b"http://a:80", "query-alone": b"http://a:80?x", "fragment": b"http://a:80/#x", "space": b"http://a:80/ b",
        "delete": b"http://a:80/\x7f", "no-host": b"http://:80/", "user": b"http://u@a:80/", "no-scheme": b"//a:80/",
        "one-slash": b"http:/a:80/", "open-bracket": b"http://[::1:80/", "upper-case-ipv6": b"http://[2001:DB8::1]:80/",
        "ipv6-bare": b"http://::1:80/", "ipv6-empty": b"http://[]:80/", "tilde-host": b"http://a~b:80/",
        "zero": b"http://a:80/\0", "percent-host": b"http://a%2eb:80/", "port-huge": b"http://a:99999999999999999999/",
        "ipv6-letters": b"http://[::g]:80/", "too-long": b"http://a:80/" + b"x" * 8181}
    for name, url in wrong_urls.items():
        vectors.wrong("url-" + name, url=url)
    vectors.element("url-above-7f", 1, der(IA5, b"http://a:80/\x80"))
    vectors.element("url-utf8", 1, der(12, usual["url"]))
    validator(vectors)
    header_fields(vectors)
    two_faults(vectors)
    for length in (0, 1, 2**26, 2**26 + 1, 2**27 + 1, 2**48):
        vectors.good("length-%d" % length, length=length, block_size=block_size(length))
    for length in (2**48 + 1, 2**64 - 1):
        vectors.wrong("length-%d" % length, length=length, block_size=262144)
    for size in (0, 32768, 131072, 524288):
        vectors.wrong("block-size-%d" % size, block_size=size)
    vectors.good("restricted", access=1)
    vectors.good("proof-of-service", exchange=1)
    vectors.good("purchase", exchange=2, price=2**64 - 1)
    vectors.element("access-2", 7, der_number(ENUM, 2))
    vectors.element("hash-0", 6, der_number(ENUM, 0))
    vectors.element("hash-2", 6, der_number(ENUM, 2))
    vectors.element("hash-integer", 6, der_number(INTEGER, 1))
    vectors.everywhere()
    vectors.wrong("same-times", not_after=NOON)
    vectors.wrong("turned-times", not_after=NOON - 1)
    return vectors


def two_faults(vectors):
    """What is refused twice: the order of the checks."""
    long_url = der(IA5, b"http://a:80/" + b"x" * 8181)
    behind = {"hash": (6, der_number(ENUM, 2)), "url": (1, long_url), "price": (9, der(INTEGER, b"\1" + bytes(8))),
              "etag": (2, der(SEQUENCE, der(OCTETS, b'"' + b"e" * 1024 + b'"') + der_number(INTEGER, 0))),
              "fields": (3, der(SEQUENCE, der(SEQUENCE, der(IA5, b"X") + der(OCTETS, b"")) * 65)),
              "name": (3, der(SEQUENCE, der(SEQUENCE, der(IA5, b"X" * 256) + der(OCTETS, b"")))),
              "access-length": (7, der(ENUM, b"\1" + bytes(8))), "object": (0, der(OCTETS, bytes(33))),
              "together": (3, der(SEQUENCE, der(SEQUENCE, der(IA5, b"X") + der(OCTETS, bytes(16384))))),
              "modified": (2, der(SEQUENCE, der(OCTETS, b"") + der_number(INTEGER, LATEST + 1)))}
    for name, (index, element) in behind.items():
        parts = list(vectors.elements)
        parts[index] = element
        vectors.body("two-element-more-" + name, b"".join(parts) + der(INTEGER, b"\0"))
    for name, changes in {"access-url": {"access": 2, "url": b"x"}, "hash-validator": {"hash": 2, "etag": b""},
                          "length-hash": {"length": 2**48 + 1, "hash": 2}, "exchange-times": {"exchange": 3, "not_after": NOON},
                          "url-etag": {"url": b"x", "etag": b'"' + b"e" * 1024 + b'"'},
                          "etag-url": {"etag": b"x", "url": b"http://a:80/" + b"x" * 8181},
                          "fields-url": {"fields": [(b"X", b"")] * 65, "url": b"x"},
                          "length-url": {"length": 2**48 + 1, "url": b"x"},
                          "length-fields": {"length": 2**48 + 1, "fields": [(b"A B", b"")]},
                          "times-length": {"not_after": NOON, "length": 2**48 + 1}}.items():
        vectors.wrong("two-" + name, **changes)


def validator(vectors):
    for name, etag, modified in (("both", b'"x"', 1700000000), ("modified", b"", 1), ("latest", b"", LATEST),
                                 ("empty-quotes", b'""', 0), ("longest", b'"' + b"e" * 1022 + b'"', 0),
                                 ("above-7f", b'"\xe9"', 0)):
        vectors.good("validator-" + name, etag=etag, last_modified=modified)
    for name, etag, modified in (("none", b"", 0), ("weak", b'W/"x"', 0), ("bare", b"x", 0), ("open", b'"x', 0),
                                 ("quote-inside", b'"a"b"', 0), ("quote", b'"', 0), ("space", b'"a b"', 0),
                                 ("delete", b'"\x7f"', 0), ("zero", b'"\0"', 0), ("line", b'"\n"', 0),
                                 ("too-long", b'"' + b"e" * 1023 + b'"', 0), ("too-late", b"", LATEST + 1)):
        vectors.wrong("validator-" + name, etag=etag, last_modified=modified)
    vectors.element("validator-more", 2, der(SEQUENCE, der(OCTETS, b'"x"') + der_number(INTEGER, 0) * 2))
    vectors.element("validator-less", 2, der(SEQUENCE, der(OCTETS, b'"x"')))
    vectors.element("validator-text", 2, der(SEQUENCE, der(IA5, b'"x"') + der_number(INTEGER, 0)))


def header_fields(vectors):
    many = [(b"X", b"")] * 64
    for name, fields in (("none", []), ("64", many), ("empty-value", [(b"A", b"")]), ("longest-name", [(b"n" * 255, b"v")]),
                         ("all-token", [(b"!#$%&'*+-.^_`|~09azAZ", b"\x01\t \x7f\x80\xff")]),
                         ("largest", [(b"N", b"v" * 16383)]), ("same-name", [(b"A", b"1"), (b"A", b"2")])):
        vectors.good("fields-" + name, fields=fields)
    for name, fields in (("65", many + many[:1]), ("too-long-name", [(b"n" * 256, b"v")]), ("empty-name", [(b"", b"v")]),
                         ("too-large", [(b"N", b"v" * 16384)]), ("too-large-together", [(b"N", b"v" * 8192)] * 2),
                         ("space-name", [(b"A B", b"v")]), ("colon-name", [(b"A:", b"v")]), ("cr", [(b"A", b"a\rb")]),
                         ("lf", [(b"A", b"a\nb")]), ("nul", [(b"A", b"a\0b")]), ("bracket-name", [(b"A(", b"v")])):
        vectors.wrong("fields-" + name, fields=fields)
    vectors.element("fields-three", 3, der(SEQUENCE, der(SEQUENCE, der(IA5, b"A") + der(OCTETS, b"v") * 2)))
    vectors.element("fields-one", 3, der(SEQUENCE, der(SEQUENCE, der(IA5, b"A"))))
    vectors.element("fields-flat", 3, der(SEQUENCE, der(IA5, b"A") + der(OCTETS, b"v")))
    vectors.element("fields-name-above-7f", 3, der(SEQUENCE, der(SEQUENCE, der(IA5, b"\x80") + der(OCTETS, b"v"))))
