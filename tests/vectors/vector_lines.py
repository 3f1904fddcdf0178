"""The lines of a .vec file (README): values as text, and what a call gave or refused."""

import re

from mssl_protocol import Refused

LETTERS = {"ok": "o", "malformed": "m", "too_large": "t", "unexpected": "x", "unsupported": "u", "wrong_realm": "r",
           "bad_signature": "s", "bad_proof": "p", "expired": "e", "incomplete": "i"}
LONG_HEX = re.compile(r"(?<=[=,:])[0-9a-f]{24,}(?=[ ,:]|$)")


def shortened(data, base):
    """Hexadecimal digits; {HH*N} for a run of one byte, {A+N} for N bytes of the base from its byte A."""
    parts, at = [], 0
    while at < len(data):
        run = at + 1
        while run < len(data) and data[run] == data[at]:
            run += 1
        found = base.find(data[at:at + 12]) if at + 12 <= len(data) else -1
        if run - at >= 8:
            parts.append("{%02x*%d}" % (data[at], run - at))
        elif found >= 0:
            run = at + 12
            while run < len(data) and found + run - at < len(base) and data[run] == base[found + run - at]:
                run += 1
            parts.append("{%d+%d}" % (found, run - at))
        else:
            run = at + 1
            parts.append("%02x" % data[at])
        at = run
    return "".join(parts)


def value_text(value):
    if isinstance(value, bytes):
        return value.hex() or "-"
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, list):
        return ",".join(item_text(item) for item in value) or "-"
    return str(value)


def item_text(item):
    if isinstance(item, dict):
        item = tuple(item.values())
    return ":".join(value_text(part) for part in item) if isinstance(item, tuple) else value_text(item)


def pairs(values):
    return "".join(" %s=%s" % (name, value_text(value)) for name, value in values.items())


def outcome(call):
    """What call gives, a dictionary, or what refuses it."""
    try:
        return "ok" + pairs(call())
    except Refused as refused:
        return "error " + refused.code


def letter(call):
    try:
        call()
        return LETTERS["ok"]
    except Refused as refused:
        return LETTERS[refused.code]


def letters(calls):
    """One letter a call, equal neighbours counted: m3s1."""
    return re.sub(r"(.)\1*", lambda run: "%s%d" % (run[1], len(run[0])), "".join(letter(call) for call in calls))


class Vectors:
    def __init__(self, title, base):
        self.lines, self.names, self.base = [
            "# %s Made by make_vectors.py; the format is in README." % title, "base " + base.hex()], set(), base

    def add(self, name, operation, inputs, call):
        self.put(name, operation, inputs, outcome(call))

    def put(self, name, operation, inputs, expected):
        assert name not in self.names, name
        self.names.add(name)
        text = "%s %s%s -> %s" % (name, operation, pairs(inputs), expected)
        self.lines.append(LONG_HEX.sub(lambda digits: shortened(bytes.fromhex(digits[0]), self.base), text))

    def text(self):
        return "\n".join(self.lines) + "\n"
