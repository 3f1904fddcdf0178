"""AES-256-GCM (FIPS 197, NIST SP 800-38D), slowly: for test vectors, never for secrets."""


def times_x(byte):
    return (byte << 1 ^ 0x11b) & 0xff if byte & 0x80 else byte << 1


def multiply(a, b):
    product = 0
    while b:
        if b & 1:
            product ^= a
        a, b = times_x(a), b >> 1
    return product


def make_sbox():
    sbox = []
    for value in range(256):
        inverse = next((i for i in range(256) if multiply(value, i) == 1), 0)
        rotated = inverse
        for _ in range(4):
            inverse = (inverse << 1 | inverse >> 7) & 0xff
            rotated ^= inverse
        sbox.append(rotated ^ 0x63)
    return sbox


SBOX = make_sbox()


def expand(key):
    """The 15 round keys of AES-256, as 60 words of four bytes."""
    words, constant = [list(key[i:i + 4]) for i in range(0, 32, 4)], 1
    for i in range(8, 60):
        word = words[-1]
        if i % 8 == 0:
            word = [SBOX[b] for b in word[1:] + word[:1]]
            word[0] ^= constant
            constant = times_x(constant)
        elif i % 8 == 4:
            word = [SBOX[b] for b in word]
        words.append([a ^ b for a, b in zip(words[i - 8], word)])
    return words


def encrypt_block(words, block):
    def add_key(state, number):
        return [a ^ b for a, b in zip(state, sum(words[4 * number:4 * number + 4], []))]

    state = add_key(list(block), 0)
    for number in range(1, 15):
        state = [SBOX[state[(i + 4 * (i % 4)) % 16]] for i in range(16)]
        if number != 14:
            mixed = []
            for column in range(0, 16, 4):
                c = state[column:column + 4]
                mixed += [times_x(c[i]) ^ times_x(c[(i + 1) % 4]) ^ c[(i + 1) % 4] ^ c[(i + 2) % 4] ^ c[(i + 3) % 4]
                          for i in range(4)]
            state = mixed
        state = add_key(state, number)
    return bytes(state)


def ghash(h, data):
    y = 0
    for at in range(0, len(data), 16):
        x, v, z = y ^ int.from_bytes(data[at:at + 16], "big"), h, 0
        for bit in range(127, -1, -1):
            if x >> bit & 1:
                z ^= v
            v = v >> 1 ^ (0xe1 << 120 if v & 1 else 0)
        y = z
    return y.to_bytes(16, "big")


def padded(data):
    return data + bytes(-len(data) % 16)


def xor(a, b):
    return bytes(x ^ y for x, y in zip(a, b))


def crypt(key, iv, data):
    words = expand(key)
    stream = b"".join(encrypt_block(words, iv + (2 + i).to_bytes(4, "big")) for i in range(-(-len(data) // 16)))
    return xor(data, stream)


def tag(key, iv, sealed):
    words = expand(key)
    h = int.from_bytes(encrypt_block(words, bytes(16)), "big")
    lengths = bytes(8) + (8 * len(sealed)).to_bytes(8, "big")
    return xor(ghash(h, padded(sealed) + lengths), encrypt_block(words, iv + b"\0\0\0\1"))


def seal(key, iv, plain):
    """Ciphertext and 16 bytes of tag; no associated data."""
    sealed = crypt(key, iv, plain)
    return sealed + tag(key, iv, sealed)


def open_sealed(key, iv, data):
    """The plaintext, or None."""
    if len(data) < 16 or tag(key, iv, data[:-16]) != data[-16:]:
        return None
    return crypt(key, iv, data[:-16])
