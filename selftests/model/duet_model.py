# SPDX-License-Identifier: GPL-2.0
"""A second implementation of hash and table, for tests: written from the words
in include/duet/hash.h, lookup3.h and table.h, not from their code, and in another shape
(big integers, lists of generators), so that the two don't share mistakes."""
import ipaddress
import itertools

M = 2**32
LOOKUP3_INIT, TABLE_SEED = 0x64756574, 0x6d61676c
PRIMES = (251, 509, 1021, 2039, 4093, 8191, 16381, 32749, 65521)
PROBES, PER_DIP, SET_MAX = 32, 100, 512
FNV_BASIS, FNV_PRIME = 0xcbf29ce484222325, 0x100000001b3


def rot(x, k):
    return ((x << k) | (x >> (32 - k))) % M


def final(a, b, c):
    v = {"a": a % M, "b": b % M, "c": c % M}
    for x, y, k in ("cb", "cb", 14), ("ac", "ac", 11), ("ba", "ba", 25), ("cb", "cb", 16), ("ac", "ac", 4), ("ba", "ba", 14), ("cb", "cb", 24):
        v[x[0]] ^= v[x[1]]
        v[y[0]] = (v[y[0]] - rot(v[y[1]], k)) % M
    return v["c"]


def mix(a, b, c):
    v = [a % M, b % M, c % M]
    # x -= y; x ^= rot(y, k); y += z
    for x, y, z, k in (0, 2, 1, 4), (1, 0, 2, 6), (2, 1, 0, 8), (0, 2, 1, 16), (1, 0, 2, 19), (2, 1, 0, 4):
        v[x] = (v[x] - v[y]) % M ^ rot(v[y], k)
        v[y] = (v[y] + v[z]) % M
    return v


def words(address):
    packed = ipaddress.ip_address(address).packed
    return [int.from_bytes(packed[i:i + 4], "big") for i in range(0, len(packed), 4)]


def lookup3_words(src, dst, ports, proto, seed):
    init = (LOOKUP3_INIT + seed + (proto << 8)) % M
    if len(src) == 1:
        return final(init + src[0], init + dst[0], init + ports)
    a, b, c = mix(init + src[0], init + src[1], init + src[2])
    a, b, c = mix(a + src[3], b + dst[0], c + dst[1])
    return final(a + dst[2], b + dst[3], c + ports)


class Sip:
    """SipHash-1-3, a byte string at a time. key: 32 hex digits."""

    def __init__(self, key):
        k0, k1 = (int.from_bytes(bytes.fromhex(key)[i:i + 8], "little") for i in (0, 8))
        self.v = [a ^ int.from_bytes(b, "big") for a, b in zip((k0, k1, k0, k1), (b"somepseu", b"dorandom", b"lygenera", b"tedbytes"))]

    def half(self, a, b, c, d, k, l):
        """a += b, c += d; b and d are turned by k and l and take in what they were added to; a is turned by 32"""
        v = self.v
        v[a], v[c] = (v[a] + v[b]) % 2**64, (v[c] + v[d]) % 2**64
        v[b], v[d] = turn(v[b], k) ^ v[a], turn(v[d], l) ^ v[c]
        v[a] = turn(v[a], 32)

    def round(self):
        self.half(0, 1, 2, 3, 13, 16)
        self.half(2, 1, 0, 3, 17, 21)

    def __call__(self, data):
        data += b"\0" * (-(len(data) + 1) % 8) + bytes([len(data) % 256])
        for i in range(0, len(data), 8):
            word = int.from_bytes(data[i:i + 8], "little")
            self.v[3] ^= word
            self.round()
            self.v[0] ^= word
        self.v[2] ^= 0xff
        for _ in range(3):
            self.round()
        return self.v[0] ^ self.v[1] ^ self.v[2] ^ self.v[3]


def turn(x, k):
    return (x << k | x >> (64 - k)) % 2**64


def key(number):
    """A key for tests, whose text ends with the number."""
    return f"{number:032x}"


def hash_words(src, dst, ports, proto, key):
    """hash.h gives the words of the message, most significant number first; as a byte string each of them is
    little-endian, and the top byte of the last one is the length, which Sip() adds."""
    words = [a << 32 | b for a, b in ([(src[0], dst[0])] if len(src) == 1 else zip((src + dst)[::2], (src + dst)[1::2]))]
    data = b"".join(w.to_bytes(8, "little") for w in words) + (proto << 32 | ports).to_bytes(5, "little")
    assert len(data) == (13 if len(src) == 1 else 37)
    return Sip(key)(data) % M


def hash_flow(src, dst, proto, sport, dport, key, fields="5tuple"):
    ports = {"5tuple": sport << 16 | dport, "src-port": sport << 16, "src": 0}[fields]
    if proto in (1, 58) and fields != "src":
        ports = sport << 16
    return hash_words(words(src), words(dst), ports, 0 if fields == "src" else proto, key)


def key_level2(key):
    return "".join(Sip(key)(bytes([what])).to_bytes(8, "little").hex() for what in (1, 2))


def fingerprint(key):
    return f"{Sip(key)(bytes([3])):016x}"


def bucket(value, buckets):
    return value * buckets // M


def table_hash(x, y):
    return final(x, y, TABLE_SEED)


def mapped(address):
    """The 16 bytes by which DIPs are sorted and keyed."""
    packed = ipaddress.ip_address(address).packed
    return b"\0" * 10 + b"\xff\xff" + packed if len(packed) == 4 else packed


def dip_key(address):
    w = [int.from_bytes(mapped(address)[i:i + 4], "big") for i in range(0, 16, 4)]
    return lookup3_words(w, w, 0, 0, TABLE_SEED)


def buckets_for(n):
    """The size of the table of n DIPs, 0 if there can be none."""
    return next(p for p in PRIMES if p >= PER_DIP * n) if 0 < n <= SET_MAX else 0


class Table:
    """dips: (address, weight, down) in any order."""

    def __init__(self, dips):
        self.dips = sorted(dips, key=lambda d: mapped(d[0]))
        n = len(self.dips)
        if not 0 < n <= SET_MAX or len({mapped(d[0]) for d in dips}) != n:
            raise ValueError("DIPs")
        self.buckets = buckets_for(n)
        self.keys = [dip_key(d[0]) for d in self.dips]
        self.base = self._fill()
        self.table = self._down()

    def _walk(self, key):
        at = bucket(key, self.buckets)
        skip = bucket(table_hash(key, 1), self.buckets - 1) + 1
        while True:
            yield at
            at = (at + skip) % self.buckets

    def _fill(self):
        heaviest = max(d[1] for d in self.dips)
        if not heaviest:
            raise ValueError("weights")
        walks = [self._walk(k) for k in self.keys]
        owners, taken = {}, [0] * len(self.dips)
        for turn in itertools.count(1):
            for i, (_, weight, _) in enumerate(self.dips):
                if taken[i] * heaviest < turn * weight:
                    owners[next(b for b in walks[i] if b not in owners)] = i
                    taken[i] += 1
                if len(owners) == self.buckets:
                    return [owners[b] for b in range(self.buckets)]
        raise AssertionError

    def _down(self):
        up = [not d[2] for d in self.dips]
        if not any(u and d[1] for u, d in zip(up, self.dips)):
            return None

        def heirs(b):
            yield self.base[b]
            for j in range(PROBES):
                yield self.base[bucket(table_hash(b, j), self.buckets)]
            for i in range(self.buckets):
                yield self.base[(b + i) % self.buckets]
        return [next(o for o in heirs(b) if up[o]) for b in range(self.buckets)]

    def digest(self):
        if self.table is None:
            return 0
        digest = FNV_BASIS
        for word in [self.buckets] + [self.keys[o] for o in self.table]:
            for byte in word.to_bytes(4, "little"):
                digest = (digest ^ byte) * FNV_PRIME % 2**64
        return digest

    def choose(self, src, dst, proto, sport, dport, key, fields="5tuple"):
        if self.table is None:
            return None
        return self.dips[self.table[bucket(hash_flow(src, dst, proto, sport, dport, key, fields), self.buckets)]][0]
