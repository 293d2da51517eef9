#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""gen_vectors.py - questions for out/test/vectors, and what the model answers.

usage: gen_vectors.py [--seed N] [--answers]
prints one question a line; with --answers QUESTION = ANSWER. The same seed
gives the same questions: selftests/model/gen_vectors.py | out/test/vectors"""
import argparse
import ipaddress
import random

import duet_model as model


def question(dips):
    """The question for the table of (address, weight, down) triples."""
    return "table " + " ".join(f"{model.mapped(a).hex()}/{w:x}/{int(d):x}" for a, w, d in dips)


def answer_table(dips):
    """What vectors must say to question(dips)."""
    try:
        table = model.Table(dips)
    except ValueError as error:
        return {"DIPs": "EINVAL", "weights": "ENOENT"}[str(error)]
    owners = ["-"] if table.table is None else [f"{o:x}" for o in table.table]
    return " ".join([f"{table.buckets:x}", f"{table.digest():x}"] + [f"{o:x}" for o in table.base] + [":"] + owners)


def words(text):
    return [int(text[i:i + 8], 16) for i in range(0, 32, 8)]


def answer(line):
    """The model's answer to any question."""
    verb, *args = line.split()
    if verb == "table":
        dips = []
        for arg in args:
            address, weight, down = arg.split("/")
            dips.append((str(ipaddress.IPv6Address(bytes.fromhex(address))), int(weight, 16), int(down, 16)))
        return answer_table(dips)
    if verb == "hash6":
        src, dst = words(args[0]), words(args[1])
        ports, proto = (int(a, 16) for a in args[2:4])
        return f"{model.hash_words(src, dst, ports, proto, args[4]):x}"
    if verb == "hash4":
        src, dst, ports, proto = (int(a, 16) for a in args[:4])
        return f"{model.hash_words([src], [dst], ports, proto, args[4]):x}"
    if verb == "level2":
        flow = [0x0a000001], [0xcb007101], 40000 << 16 | 80, 6
        return f"{model.hash_words(*flow, model.key_level2(args[0])):x} {int(model.fingerprint(args[0]), 16):x}"
    numbers = [int(a, 16) for a in args]
    if verb == "bucket":
        return f"{model.bucket(*numbers):x}"
    if verb == "size":
        return f"{model.buckets_for(*numbers):x}"
    raise ValueError(line)


def addresses(rng, n, kind):
    """n different addresses: neighbours as in a rack, strewn IPv4, or IPv6."""
    if kind == "rack":
        first = rng.randrange(0x0a000000, 0x0affff00 - 4 * n)
        return [str(ipaddress.IPv4Address(first + 2 * i)) for i in range(n)]
    found = set()
    while len(found) < n:
        found.add(str(ipaddress.IPv4Address(rng.getrandbits(32))) if kind == "v4"
                  else str(ipaddress.IPv6Address(0x20010db8 << 96 | rng.getrandbits(64))))
    return rng.sample(sorted(found), n)


WEIGHTS = {
    "equal": lambda rng: 1,
    "few": lambda rng: rng.randint(1, 8),
    "zeros": lambda rng: rng.choice((0, 1, 1, 3)),
    "wide": lambda rng: rng.choice((1, 7, 100, 4096, 65535, rng.randint(0, 65535))),
}


def random_set(rng, n):
    """n DIPs, some weights, some of them down (none, a few, most, all)."""
    weight = WEIGHTS[rng.choice(list(WEIGHTS))]
    dead = rng.choice((0, 0, 0.1, 0.5, 0.95, 1))
    return [(a, weight(rng), int(rng.random() < dead)) for a in addresses(rng, n, rng.choice(("rack", "v4", "v6")))]


def set_sizes():
    """Every small size, both sides of every prime, the largest, one too many."""
    sizes = [n for n in range(1, 41) for _ in range(8)]
    for prime in model.PRIMES:
        edge = prime // model.PER_DIP
        sizes += [n for n in (edge, edge + 1) if n <= model.SET_MAX]
    return sizes + [100, 150, 200, model.SET_MAX, model.SET_MAX + 1]


def questions(seed):
    """All questions, a few thousand."""
    rng = random.Random(seed)
    edge = (0, 1, 0x7fffffff, 0x80000000, 0xffffffff)

    def key():
        return f"{rng.choice((0, 1, 2**64, 2**127, 2**128 - 1)) if rng.random() < 0.1 else rng.getrandbits(128):032x}"
    for _ in range(1500):
        src, dst, ports = (rng.choice(edge) if rng.random() < 0.1 else rng.getrandbits(32) for _ in range(3))
        yield f"hash4 {src:x} {dst:x} {ports:x} {rng.getrandbits(8):x} {key()}"
    for _ in range(1500):
        yield (f"hash6 {rng.getrandbits(128):032x} {rng.getrandbits(128):032x} {rng.getrandbits(32):x} "
               f"{rng.getrandbits(8):x} {key()}")
    for value in edge + tuple(rng.getrandbits(32) for _ in range(200)):
        yield f"level2 {key()}"
        for buckets in (1, 250, rng.choice(model.PRIMES)):
            yield f"bucket {value:x} {buckets:x}"
    for n in range(model.SET_MAX + 2):
        yield f"size {n:x}"
    for n in set_sizes():
        yield question(random_set(rng, n))
    yield question([("10.0.0.1", 1, 0), ("10.0.0.1", 2, 0)])
    yield question([("10.0.0.1", 0, 0), ("10.0.0.2", 0, 0)])
    # exactly the widest spread of weights that one set can have
    yield question([(f"10.0.0.{i}", 65535 if i else 1, 0) for i in range(10)])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--answers", action="store_true")
    args = parser.parse_args()
    for line in questions(args.seed):
        print(f"{line} = {answer(line)}" if args.answers else line)


if __name__ == "__main__":
    main()
