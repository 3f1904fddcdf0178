"""The hello in the key share and handshake tokens, written from mssl-protocol(7) and nothing else."""

import hashlib
import hmac

import aes_gcm
import mssl_frames
from mssl_protocol import Refused, require, sha256

ZERO_IV = bytes(12)
MAX_TLVS = 16384


def hkdf(key, label, context):
    """RFC 5869 without salt; one block of output."""
    prk = hmac.new(bytes(32), key, hashlib.sha256).digest()
    return hmac.new(prk, label + b"\0" + context + b"\1", hashlib.sha256).digest()


def seal(key, plain):
    return aes_gcm.seal(key, ZERO_IV, plain)


def unseal(key, data):
    plain = aes_gcm.open_sealed(key, ZERO_IV, data)
    require(plain is not None, "bad_signature")
    return plain


def tlv(kind, value):
    return kind.to_bytes(2, "big") + len(value).to_bytes(2, "big") + value


def hello(values):
    return mssl_frames.encode("HELLO", values)[4:]


def read_hello(value):
    """The 40 bytes, or none where its sender's mSSL cannot be used."""
    try:
        mssl_frames.decode(b"\1" + len(value).to_bytes(3, "big") + value)
        return value
    except Refused as refused:
        require(refused.code == "unsupported" or len(value) >= 2 and value[:2] != b"\0\1")
        return b""


def read_tlvs(data, side):
    require(len(data) <= MAX_TLVS, "too_large")
    found, at = {}, 0
    while at < len(data):
        require(at + 4 <= len(data))
        kind, n = int.from_bytes(data[at:at + 2], "big"), int.from_bytes(data[at + 2:at + 4], "big")
        require(at + 4 + n <= len(data))
        value, at = data[at + 4:at + 4 + n], at + 4 + n
        if kind == 1:
            value = read_hello(value)
        elif kind == 2:
            require(side == "client" and n == 56)
        elif kind == 3:
            require(side == "server" and value in (b"\0", b"\1"))
        else:
            require(not kind & 0x8000, "unsupported")
            continue
        require(kind not in found)
        found[kind] = value
    require(1 in found and (3 in found or side == "client"))
    return {"hello": found[1], "token": found.get(2, b""), "accepted": found.get(3, b"\0") == b"\1"}


def answer_key(dh, client_share, server_public):
    return hkdf(dh, b"mssl/1 answer", sha256(client_share, server_public))


def shared_secret(dh, member, client_share, server_share):
    return hkdf(dh + member, b"mssl/1 member key", sha256(client_share, server_share)) if member else dh


def membership(serial, expiry):
    return serial + expiry.to_bytes(8, "big")


def token(auth, r, serial, expiry):
    return r + seal(hkdf(auth, b"mssl/1 token", r), membership(serial, expiry))


def open_token(auth, data):
    plain = unseal(hkdf(auth, b"mssl/1 token", data[:16]), data[16:])
    return {"serial": plain[:16], "expiry": int.from_bytes(plain[16:], "big")}


def member_secret(auth, serial, expiry):
    return hkdf(auth, b"mssl/1 member", membership(serial, expiry))
