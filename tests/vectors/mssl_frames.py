"""The frames of mSSL and the answer to a resolve, written from mssl-protocol(7) and nothing else.

A body is a list of (name, value); a kind of field is a pair of functions, one that reads and one that writes.
"""

import base64
import binascii
import re

from mssl_protocol import Der, Refused, TOKEN, require

MAX_BLOCKS = 2**32


class Body:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        require(self.at + n <= len(self.data))
        self.at += n
        return self.data[self.at - n:self.at]

    def number(self, size):
        return int.from_bytes(self.take(size), "big")

    def variable(self, size, limit):
        n = self.number(size)
        require(n <= limit, "too_large")
        return self.take(n)

    def rest(self):
        return self.take(len(self.data) - self.at)


def number(size, low=0, high=None, code="malformed"):
    def read(body, _):
        value = body.number(size)
        require(value >= low and (high is None or value <= high), code)
        return value
    return read, lambda value: value.to_bytes(size, "big")


def fixed(size):
    return lambda body, _: body.take(size), lambda value: value


def variable(size, limit, check=None):
    def read(body, _):
        value = body.variable(size, limit)
        require(check is None or check(value))
        return value
    return read, lambda value: len(value).to_bytes(size, "big") + value


def array(size, limit, fields, check=None):
    def read(body, _):
        n = body.number(size)
        require(n <= limit, "too_large")
        items = []
        for _ in range(n):
            items.append(read_fields(body, fields))
            require(check is None or check(items))
        return items
    return read, lambda items: len(items).to_bytes(size, "big") + b"".join(
        write_fields(item, fields) for item in items)


def ranges_hold(items):
    end = items[-2]["first"] + items[-2]["count"] if len(items) > 1 else 0
    return items[-1]["count"] > 0 and items[-1]["first"] >= end and \
        items[-1]["first"] + items[-1]["count"] <= MAX_BLOCKS


def _read_nodes(body, before):
    return [body.take(32) for _ in range(bin(before["mask"]).count("1"))]


u8, u16, u32, u64 = number(1), number(2), number(4), number(8)
boolean = number(1, high=1)
blocks = number(8, high=MAX_BLOCKS, code="too_large")
failure = number(1, low=1, high=18)
code = number(1, high=18)
text = variable(2, 512, lambda value: not re.search(rb"[\0-\x1f\x7f]", value))
certificate = variable(2, 2048)
object_der = variable(3, 65536)
mask = number(8, high=MAX_BLOCKS - 1)
nodes = (_read_nodes, b"".join)
bitfield = variable(3, 131072)
payload = (lambda body, _: (require(body.at < len(body.data)), body.rest())[1], lambda value: value)
handle = [("handle", u32)]
peers = array(1, 128, [("member", fixed(32)), ("address", fixed(16)), ("port", u16), ("gone", boolean)])
ranges = array(2, 1024, [("first", u32), ("count", u32)], ranges_hold)

# type: name, bytes of a body at most, fields
FRAMES = {
    0x01: ("HELLO", 40, [("version", number(2, 1, 1, "unsupported")), ("abilities", u32),
                         ("hash", number(1, 1, 1, "unsupported")), ("max_block_log2", number(1, 16, 18)),
                         ("realm", fixed(32))]),
    0x02: ("ERROR", 515, [("code", failure), ("text", text)]),
    0x03: ("PING", 8, [("cookie", u64)]),
    0x04: ("PONG", 8, [("cookie", u64)]),
    0x08: ("ENROL", 354, [("key", fixed(32)), ("proof", fixed(64)), ("token", variable(2, 256))]),
    0x09: ("ENROLLED", 6150, [("realm", certificate), ("signer", certificate), ("member", certificate)]),
    0x0a: ("ANNOUNCE", 2, [("port", u16)]),
    0x0b: ("ANNOUNCED", 515, [("reachable", boolean), ("text", text)]),
    0x10: ("OPEN", 67625, handle + [("object", fixed(32)), ("ticket", object_der), ("signer", certificate)]),
    0x11: ("OPENED", 131087, handle + [("blocks", blocks), ("bitfield", bitfield)]),
    0x12: ("CLOSE", 6, handle + [("by_provider", boolean), ("code", code)]),
    0x13: ("HAVE", 8198, handle + [("ranges", ranges)]),
    0x14: ("HEAD", 65543, handle + [("head", object_der)]),
    0x15: ("REQUEST", 25, handle + [("block", u32), ("head_blocks", blocks), ("mask", mask),
                                    ("nodes_only", boolean)]),
    0x16: ("CANCEL", 8, handle + [("block", u32)]),
    0x17: ("BLOCK", 1052, handle + [("block", u32), ("length", number(4, high=262144, code="too_large")),
                                    ("head_blocks", blocks), ("mask", mask), ("nodes", nodes)]),
    0x18: ("DATA", 16380, handle + [("block", u32), ("offset", u32), ("payload", payload)]),
    0x19: ("REFUSE", 9, handle + [("block", u32), ("code", failure)]),
    0x20: ("ANY", 7, handle + [("tokens", number(1, high=64, code="too_large")), ("level", number(1, high=3)),
                               ("with_path", boolean)]),
    0x21: ("ALL_OUT", 4, handle),
    0x22: ("PEERS", 6533, handle + [("peers", peers)]),
    0x23: ("PROGRESS", 131087, handle + [("have_count", blocks), ("bitfield", bitfield)]),
    0x24: ("RENEW", 4, handle),
    0x25: ("TICKET", 65543, handle + [("ticket", object_der)]),
    0x26: ("REPORT", 37, handle + [("member", fixed(32)), ("code", failure)]),
}
TYPES = {name: number for number, (name, _, _) in FRAMES.items()}


def read_fields(body, fields):
    values = {}
    for name, (read, _) in fields:
        values[name] = read(body, values)
    return values


def write_fields(values, fields):
    return b"".join(write(values[name]) for name, (_, write) in fields)


def frame(kind, body):
    return bytes([kind]) + len(body).to_bytes(3, "big") + body


def encode(name, values):
    return frame(TYPES[name], write_fields(values, FRAMES[TYPES[name]][2]))


def decode(data):
    """Name and values of the frame that is all of data; "incomplete" where more bytes have to come."""
    require(len(data) >= 4, "incomplete")
    require(data[0] in FRAMES, "unexpected")
    name, most, fields = FRAMES[data[0]]
    n = int.from_bytes(data[1:4], "big")
    require(n <= most, "too_large")
    require(n > 0)
    require(len(data) >= 4 + n, "incomplete")
    body = Body(data[4:])
    values = read_fields(body, fields)
    require(body.at == n)
    return name, values


# --- RESOLVE -------------------------------------------------------------------------------------------------

MAX_ANSWER = 262144


def field_name_holds(name):
    return TOKEN.fullmatch(name)


def field_value_holds(value):
    return not re.search(rb"[\r\n\0]", value)


ANSWER = [("version", number(1, 1, 1, "unsupported")), ("manifest", object_der), ("ticket", variable(2, 4096)),
          ("head", object_der), ("signer", certificate),
          ("fields", array(2, 128, [("name", variable(1, 255, field_name_holds)),
                                    ("value", variable(2, 16384, field_value_holds))]))]


def encode_answer(values):
    return write_fields(values, ANSWER)


def decode_answer(data):
    require(len(data) <= MAX_ANSWER, "too_large")
    body = Body(data)
    values = read_fields(body, ANSWER)
    require(body.at == len(data))
    return values


def encode_request(member, signer, proof):
    return b"v=1; " + b"; ".join(name + b"=" + base64.b64encode(value) for name, value in (
        (b"member", member), (b"signer", signer), (b"proof", proof)))


def decode_request(value):
    """The three byte strings of an MSSL-Resolve field; None without them."""
    found = {}
    for parameter in value.split(b";"):
        name, equals, text_value = parameter.strip(b" \t").partition(b"=")
        require(equals and name in (b"v", b"member", b"signer", b"proof") and name not in found)
        found[name] = text_value
    require(b"v" in found)
    require(found.pop(b"v") == b"1", "unsupported")
    require(len(found) in (0, 3))
    for name in found:
        try:
            decoded = base64.b64decode(found[name], validate=True)
        except binascii.Error:
            raise Refused("malformed") from None
        require(base64.b64encode(decoded) == found[name] and decoded)
        found[name] = decoded
    for name in found.keys() & {b"member", b"signer"}:
        require(len(found[name]) <= 2048, "too_large")
        outer = Der(found[name])
        outer.sequence()
        outer.end()
    if found:
        require(len(found[b"proof"]) == 64)
    return (found[b"member"], found[b"signer"], found[b"proof"]) if found else None
