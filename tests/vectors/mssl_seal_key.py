"""The keys under which blocks are sealed, written from mssl-protocol(7) and nothing else."""

from mssl_key_share import hkdf


def seal_secret(seal_key, member, serial):
    return hkdf(seal_key, b"mssl/1 seal secret", member + serial)


def block_key(secret, downloader, grant, object_id, block):
    return hkdf(secret, b"mssl/1 block key", downloader + grant + object_id + block.to_bytes(4, "big"))
