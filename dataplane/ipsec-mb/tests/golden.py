#!/usr/bin/env python3
"""Regenerates golden.txt with python-cryptography (OpenSSL): an implementation independent of IPsec-MB.

One line per packet: algorithm, high half of the sequence number or "-", cipher key, integrity key, salt,
packet before sealing (ICV zero), packet after."""
import hashlib, hmac, struct
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

SUITES = [  # name, cipher, key octets, hash, hash key octets, IV, ICV, block
    ("AesGcm128", "gcm", 16, None, 0, 8, 16, 4), ("AesGcm256", "gcm", 32, None, 0, 8, 16, 4),
    ("AesGmac128", "gmac", 16, None, 0, 8, 16, 4), ("AesGmac256", "gmac", 32, None, 0, 8, 16, 4),
    ("ChaCha20Poly1305", "chacha", 32, None, 0, 8, 16, 4),
    ("AesCbc128Sha1", "cbc", 16, hashlib.sha1, 20, 16, 12, 16), ("AesCbc256Sha1", "cbc", 32, hashlib.sha1, 20, 16, 12, 16),
    ("AesCbc128Sha256", "cbc", 16, hashlib.sha256, 32, 16, 16, 16), ("AesCbc256Sha256", "cbc", 32, hashlib.sha256, 32, 16, 16, 16),
    ("NullSha1", "null", 0, hashlib.sha1, 20, 0, 12, 4), ("NullSha256", "null", 0, hashlib.sha256, 32, 0, 16, 4),
    ("AesCbc128Sha256T96", "cbc", 16, hashlib.sha256, 32, 16, 12, 16), ("AesCbc256Sha256T96", "cbc", 32, hashlib.sha256, 32, 16, 12, 16),
    ("NullSha256T96", "null", 0, hashlib.sha256, 32, 0, 12, 4),
    ("TripleDesSha1", "3des", 24, hashlib.sha1, 20, 8, 12, 8), ("TripleDesSha256", "3des", 24, hashlib.sha256, 32, 8, 16, 8),
    ("TripleDesSha256T96", "3des", 24, hashlib.sha256, 32, 8, 12, 8),
]

def octets(label, n):
    out = b""
    while len(out) < n:
        out += hashlib.sha256(f"{label}/{len(out)}".encode()).digest()
    return out[:n]

def seal(cipher, hash_, key, auth, salt, head, iv, text, high, icv_len):
    spi_seq = head[:4] + (high or b"") + head[4:]
    if cipher in ("gcm", "gmac", "chacha"):
        aead = ChaCha20Poly1305(key) if cipher == "chacha" else AESGCM(key)
        if cipher == "gmac":
            return head + iv + text + aead.encrypt(salt + iv, b"", spi_seq + iv + text)
        return head + iv + aead.encrypt(salt + iv, text, spi_seq)
    if cipher in ("cbc", "3des"):
        def enc(mode, data):
            e = Cipher((TripleDES if cipher == "3des" else algorithms.AES)(key), mode).encryptor()
            return e.update(data) + e.finalize()
        iv = enc(modes.ECB(), iv)  # SP 800-38A, appendix C
        text = enc(modes.CBC(iv), text)
    body = head + iv + text
    return body + hmac.new(auth, body + (high or b""), hash_).digest()[:icv_len]

for name, cipher, klen, hash_, alen, ivlen, icvlen, block in SUITES:
    for high in (None, 0, 0x89abcdef):
        for n in (1, 5, 9, 40):
            label = f"{name}/{high}/{n}"
            key, auth, salt = octets(label + "k", klen), octets(label + "a", alen), octets(label + "s", 4)
            head, iv, text = octets(label + "h", 8), octets(label + "i", ivlen), octets(label + "t", n * block)
            hi = None if high is None else struct.pack(">I", high)
            sealed = seal(cipher, hash_, key, auth, salt, head, iv, text, hi, icvlen)
            plain = head + iv + text + bytes(icvlen)
            print(name, "-" if high is None else f"{high:x}", *(x.hex() or "-" for x in (key, auth, salt, plain, sealed)))
