"""The signed objects and the Merkle tree of mSSL, written from mssl-protocol(7) and nothing else.

What the page refuses raises Refused with the name of the page's error code. Nothing here is fast.
"""

import calendar
import datetime
import hashlib
import re

import ed25519


class Refused(Exception):
    def __init__(self, code):
        super().__init__(code)
        self.code = code


def require(condition, code="malformed"):
    if not condition:
        raise Refused(code)


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


# --- Sizes ---------------------------------------------------------------------------------------------------

LEAF = 32768
MAX_LENGTH = 2**48


def block_size(length):
    size = 65536
    while size < 262144 and length > 1024 * size:
        size *= 2
    return size


def leaf_count(length):
    return -(-length // LEAF)


def block_count(length):
    return -(-length // block_size(length))


# --- Merkle tree ---------------------------------------------------------------------------------------------


def leaf_node(data):
    return sha256(b"\x00", data)


def inner_node(left, right):
    return sha256(b"\x01", left, right)


def tree(nodes):
    """The tree of RFC 9162 section 2.1 over nodes that are hashed already."""
    if not nodes:
        return sha256()
    if len(nodes) == 1:
        return nodes[0]
    k = 1
    while 2 * k < len(nodes):
        k *= 2
    return inner_node(tree(nodes[:k]), tree(nodes[k:]))


def leaf_nodes(data):
    return [leaf_node(data[at:at + LEAF]) for at in range(0, len(data), LEAF)]


def block_nodes(leaves, per_block):
    return [tree(leaves[at:at + per_block]) for at in range(0, len(leaves), per_block)]


def peak_positions(blocks):
    positions, first = [], 0
    while first < blocks:
        level = (blocks - first).bit_length() - 1
        positions.append((level, first >> level))
        first += 1 << level
    return positions


def peak_level(block, blocks):
    """Level of the peak over a block < blocks."""
    return (block ^ blocks).bit_length() - 1


def node_at(nodes, position):
    level, index = position
    return tree(nodes[index << level:index + 1 << level])


def peaks(nodes):
    return [node_at(nodes, position) for position in peak_positions(len(nodes))]


def fold(peak_nodes):
    if not peak_nodes:
        return sha256()
    root = peak_nodes[-1]
    for peak in reversed(peak_nodes[:-1]):
        root = inner_node(peak, root)
    return root


def need(block, known):
    """Mask of the siblings to ask for; known has the peaks."""
    mask, level = 0, 0
    while (level, block >> level) not in known:
        if (level, block >> level ^ 1) not in known:
            mask |= 1 << level
        level += 1
    return mask


def verify_block(known, block, node, mask, siblings):
    """What is known after a block's node was verified against the dictionary known."""
    given = dict(zip([level for level in range(32) if mask >> level & 1], siblings))
    learned, level = {}, 0
    while (level, block >> level) not in known:
        position, beside = (level, block >> level), (level, block >> level ^ 1)
        sibling = known[beside] if beside in known else given.get(level)
        require(sibling is not None, "incomplete")
        learned[position], learned[beside] = node, sibling
        node = inner_node(sibling, node) if position[1] & 1 else inner_node(node, sibling)
        level += 1
    require(known[level, block >> level] == node, "bad_proof")
    return known | learned


# --- DER -----------------------------------------------------------------------------------------------------

BOOLEAN, INTEGER, OCTETS, OID, ENUM, IA5, TIME, SEQUENCE = 0x01, 0x02, 0x04, 0x06, 0x0a, 0x16, 0x18, 0x30
MAX_OBJECT = 65536
OID_PREFIX = bytes.fromhex("6983dcffebf5f9c3e2b5bdb488ed9cb3def7ab3e01")


def der(tag, content):
    n = len(content)
    if n < 128:
        return bytes([tag, n]) + content
    size = n.to_bytes((n.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(size)]) + size + content


def der_number(tag, value):
    return der(tag, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def der_time(seconds):
    moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=seconds)
    return der(TIME, ("%04d" % moment.year + moment.strftime("%m%d%H%M%SZ")).encode())


class Der:
    """The elements of one constructed content, from the first to the last."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        require(self.at + n <= len(self.data))
        self.at += n
        return self.data[self.at - n:self.at]

    def content(self, tag, size=None, limit=None):
        require(self.take(1)[0] == tag)
        n = self.take(1)[0]
        if n >= 0x80:
            require(n != 0x80)
            octets = self.take(n & 0x7f)
            n = int.from_bytes(octets, "big")
            require(octets[0] != 0 and n >= 0x80)
        value = self.take(n)
        limit = size if limit is None else limit
        require(limit is None or n <= limit, "too_large")
        require(size is None or n == size)
        return value

    def sequence(self):
        return Der(self.content(SEQUENCE))

    def number(self, tag=INTEGER):
        value = self.content(tag)
        require(value and value[0] < 0x80)
        require(not (len(value) > 1 and value[0] == 0 and value[1] < 0x80))
        number = int.from_bytes(value, "big")
        require(number < 2**64, "too_large")
        return number

    def enumerated(self, last, first=0):
        value = self.number(ENUM)
        require(first <= value <= last, "unsupported")
        return value

    def boolean(self):
        value = self.content(BOOLEAN)
        require(value in (b"\x00", b"\xff"))
        return value == b"\xff"

    def text(self, limit):
        value = self.content(IA5, limit=limit)
        require(all(octet < 0x80 for octet in value))
        return value

    def time(self):
        value = self.content(TIME)
        require(re.fullmatch(rb"[0-9]{14}Z", value))
        year, month, day, hour, minute, second = (int(value[a:b]) for a, b in (
            (0, 4), (4, 6), (6, 8), (8, 10), (10, 12), (12, 14)))
        require(year >= 1970 and 1 <= month <= 12 and 1 <= day <= calendar.monthrange(year, month)[1])
        require(hour < 24 and minute < 60 and second < 60)
        return calendar.timegm((year, month, day, hour, minute, second))

    def end(self):
        require(self.at == len(self.data))


# --- The three objects: fields as dictionaries ------------------------------------------------------------------

DOMAINS = {"manifest": b"mssl/1 manifest", "head": b"mssl/1 head", "ticket": b"mssl/1 ticket"}
TYPES = {"manifest": b"\x01", "head": b"\x02", "ticket": b"\x03"}
TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def head_body(head):
    return der(SEQUENCE, b"".join([
        der(OCTETS, head["object"]), der_number(INTEGER, head["length"]), der_number(INTEGER, head["block_size"]),
        der_number(INTEGER, head["leaves"]), der(BOOLEAN, b"\xff" if head["final"] else b"\x00"),
        der(SEQUENCE, b"".join(der(OCTETS, peak) for peak in head["peaks"]))]))


def ticket_body(ticket):
    return der(SEQUENCE, b"".join([
        der(OCTETS, ticket["grant"]), der(OCTETS, ticket["member"]), der(OCTETS, ticket["object"]),
        der_number(ENUM, ticket["exchange"]), der_number(INTEGER, ticket["price"]),
        der_time(ticket["not_before"]), der_time(ticket["not_after"])]))


def manifest_body(m):
    return der(SEQUENCE, b"".join([
        der(OCTETS, m["object"]), der(IA5, m["url"]),
        der(SEQUENCE, der(OCTETS, m["etag"]) + der_number(INTEGER, m["last_modified"])),
        der(SEQUENCE, b"".join(der(SEQUENCE, der(IA5, name) + der(OCTETS, value)) for name, value in m["fields"])),
        der_number(INTEGER, m["length"]), der_number(INTEGER, m["block_size"]), der_number(ENUM, m["hash"]),
        der_number(ENUM, m["access"]), der_number(ENUM, m["exchange"]), der_number(INTEGER, m["price"]),
        der_time(m["not_before"]), der_time(m["not_after"])]))


BODIES = {"manifest": manifest_body, "head": head_body, "ticket": ticket_body}


def read_head(body):
    head = {"object": body.content(OCTETS, 32), "length": body.number(), "block_size": body.number(),
            "leaves": body.number(), "final": body.boolean()}
    inner = body.sequence()
    head["peaks"] = []
    while inner.at < len(inner.data):
        head["peaks"].append(inner.content(OCTETS, 32))
    body.end()
    check_sizes(head)
    leaves, total, per_block = head["leaves"], leaf_count(head["length"]), head["block_size"] // LEAF
    if head["final"]:
        require(leaves == total)
    else:
        require(0 < leaves < total and leaves % per_block == 0)
    require(len(head["peaks"]) == bin(-(-leaves // per_block)).count("1"))
    return head


def check_sizes(fields):
    require(fields["length"] <= MAX_LENGTH, "too_large")
    require(fields["block_size"] == block_size(fields["length"]))


def read_ticket(body):
    ticket = {"grant": body.content(OCTETS, 16), "member": body.content(OCTETS, 32),
              "object": body.content(OCTETS, 32), "exchange": body.enumerated(2), "price": body.number(),
              "not_before": body.time(), "not_after": body.time()}
    body.end()
    require(ticket["not_before"] < ticket["not_after"])
    return ticket


def read_manifest(body):
    m = {"object": body.content(OCTETS, 32), "url": body.text(8192)}
    validator = body.sequence()
    m["etag"], m["last_modified"] = validator.content(OCTETS, limit=1024), validator.number()
    validator.end()
    fields = body.sequence()
    m["fields"] = []
    while fields.at < len(fields.data):
        require(len(m["fields"]) < 64, "too_large")
        field = fields.sequence()
        m["fields"].append((field.text(255), field.content(OCTETS)))
        field.end()
    m["length"], m["block_size"] = body.number(), body.number()
    m["hash"], m["access"], m["exchange"] = body.enumerated(1, 1), body.enumerated(1), body.enumerated(2)
    m["price"], m["not_before"], m["not_after"] = body.number(), body.time(), body.time()
    body.end()
    check_url(m["url"])
    check_validator(m["etag"], m["last_modified"])
    check_fields(m["fields"])
    check_sizes(m)
    require(m["not_before"] < m["not_after"])
    return m


READERS = {"manifest": read_manifest, "head": read_head, "ticket": read_ticket}


def check_url(url):
    require(all(0x21 <= octet <= 0x7e and octet != 0x23 for octet in url))
    match = re.fullmatch(rb"https?://([a-z0-9._-]+|\[[0-9a-f:.]+\]):([1-9][0-9]{0,4})/.*", url)
    require(match and int(match[2]) <= 65535)


def check_validator(etag, last_modified):
    require(last_modified <= 253402300799)
    require(not etag or re.fullmatch(rb'"[\x21\x23-\x7e\x80-\xff]*"', etag))
    require(etag or last_modified)


def check_fields(fields):
    require(sum(len(name) + len(value) for name, value in fields) <= 16384, "too_large")
    for name, value in fields:
        require(TOKEN.fullmatch(name) and not re.search(rb"[\r\n\0]", value))


def signed_bytes(domain, signer_id, body):
    return domain + b"\x00" + signer_id + body


def seal(kind, body, private, domain=None, signer_id=None):
    """A signed object around the DER of a body, also a wrong one."""
    signer_id = signer_id or sha256(ed25519.public_key(private))
    signature = ed25519.sign(private, signed_bytes(domain or DOMAINS[kind], signer_id, body))
    return der(SEQUENCE, der(OID, OID_PREFIX + TYPES[kind]) + body + der(OCTETS, signer_id) + der(OCTETS, signature))


def encode(kind, fields, private):
    return seal(kind, BODIES[kind](fields), private)


def decode(kind, data, public):
    require(len(data) <= MAX_OBJECT, "too_large")
    outer = Der(data)
    inside = outer.sequence()
    outer.end()
    require(inside.content(OID) == OID_PREFIX + TYPES[kind], "unsupported")
    start = inside.at
    body = inside.sequence()
    body_der = inside.data[start:inside.at]
    fields = READERS[kind](body)
    signer_id = inside.content(OCTETS, 32)
    signature = inside.content(OCTETS, 64)
    inside.end()
    require(signer_id == sha256(public), "wrong_realm")
    require(ed25519.verify(public, signed_bytes(DOMAINS[kind], signer_id, body_der), signature), "bad_signature")
    return fields


def check_validity(not_before, not_after, now):
    require(not_before - 120 <= now <= not_after + 120, "expired")
