"""Realm, signer and membership certificates as mssl-protocol(7), CERTIFICATES, has them."""

import datetime

import ed25519
from mssl_protocol import BOOLEAN, INTEGER, OCTETS, OID, SEQUENCE, der, der_number, sha256

SET, BITS, UTF8, UTC = 0x31, 0x03, 0x0c, 0x17
ED25519 = der(SEQUENCE, der(OID, bytes.fromhex("2b6570")))
TRUE = der(BOOLEAN, b"\xff")


def name(**parts):
    types = {"O": b"\x55\x04\x0a", "CN": b"\x55\x04\x03"}
    return der(SEQUENCE, b"".join(der(SET, der(SEQUENCE, der(OID, types[key]) + der(UTF8, value.encode())))
                                  for key, value in parts.items()))


def utc(seconds):
    moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=seconds)
    return der(UTC, moment.strftime("%y%m%d%H%M%SZ").encode())


def extension(number, value, critical=False):
    return der(SEQUENCE, der(OID, bytes([0x55, 0x1d, number])) + (TRUE if critical else b"") + der(OCTETS, value))


def certificate(serial, issuer, issuer_key, subject, public, not_before, not_after, extensions):
    key_bits = der(BITS, b"\0" + public)
    own_id, issuer_id = sha256(public)[:20], sha256(ed25519.public_key(issuer_key))[:20]
    extensions = extensions + [extension(14, der(OCTETS, own_id))]
    if issuer_id != own_id:
        extensions.append(extension(35, der(SEQUENCE, der(0x80, issuer_id))))
    body = der(SEQUENCE, b"".join([
        der(0xa0, der_number(INTEGER, 2)), der_number(INTEGER, serial | 1 << 126), ED25519, issuer,
        der(SEQUENCE, utc(not_before) + utc(not_after)), subject, der(SEQUENCE, ED25519 + key_bits),
        der(0xa3, der(SEQUENCE, b"".join(extensions)))]))
    return der(SEQUENCE, body + ED25519 + der(BITS, b"\0" + ed25519.sign(issuer_key, body)))


def usage(octet, unused):
    return extension(15, der(BITS, bytes([unused, octet])), True)


def signer_certificate(realm_key, key, not_before):
    public = ed25519.public_key(key)
    limits = der(SEQUENCE, TRUE + der_number(INTEGER, 0))
    return certificate(2, name(CN="realm"), realm_key, name(O="mSSL signer", CN=sha256(public).hex()), public, not_before,
                       not_before + 90 * 86400, [extension(19, limits, True), usage(0x84, 2)])


def member_certificate(signer_key, key, not_before):
    public, signer = ed25519.public_key(key), sha256(ed25519.public_key(signer_key)).hex()
    purposes = b"".join(der(OID, bytes.fromhex("2b060105050703") + bytes([last])) for last in (1, 2))
    return certificate(3, name(O="mSSL signer", CN=signer), signer_key, name(CN=sha256(public).hex()), public, not_before,
                       not_before + 7 * 86400, [extension(19, der(SEQUENCE, b""), True), usage(0x80, 7),
                                                extension(37, der(SEQUENCE, purposes))])
