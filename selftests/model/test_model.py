#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""The muxes' hash and table against the model, and the properties that
failover and migration stand on. TAP. out/test/vectors must have been built
(make unit)."""
import collections
import ipaddress
import json
import os
import random
import subprocess
import sys

import duet_model as model
import gen_vectors

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
VECTORS = os.path.join(os.environ.get("O", os.path.join(TOP, "out")), "test", "vectors")
SEED = int(os.environ.get("DUET_VECTOR_SEED", "1"))


class Wrong(Exception):
    pass


def check(condition, text):
    if not condition:
        raise Wrong(text)


def ask(lines):
    """The answers of the C code, one for each question."""
    done = subprocess.run([VECTORS], input="\n".join(lines) + "\n", stdout=subprocess.PIPE, text=True, check=False)
    answers = done.stdout.splitlines()
    check(done.returncode == 0, f"vectors ended with status {done.returncode}")
    check(len(answers) == len(lines), f"{len(answers)} answers to {len(lines)} questions")
    return answers


def tables(sets):
    """What the muxes hold for each set: a list of addresses, one a bucket."""
    result = []
    for dips, line in zip(sets, ask([gen_vectors.question(d) for d in sets])):
        _, _, *owners = line.split()
        check(":" in owners, f"no table but {line[:40]}")
        owners = owners[owners.index(":") + 1:]
        order = sorted((d[0] for d in dips), key=model.mapped)
        result.append(None if owners == ["-"] else [order[int(o, 16)] for o in owners])
    return result


def short(text):
    return text if len(text) < 120 else text[:117] + "..."


def same_answers(kinds, least):
    lines = [q for q in gen_vectors.questions(SEED) if q.split()[0] in kinds]
    check(len(lines) >= least, f"only {len(lines)} questions")
    for line, got in zip(lines, ask(lines)):
        want = gen_vectors.answer(line)
        check(got == want, f"{short(line)}: C says {short(got)}, the model {short(want)}")


def test_hash():
    """hash, level-2 key, fingerprint, bucket and size agree with the model"""
    same_answers(("hash4", "hash6", "level2", "bucket", "size"), 4000)


def test_siphash():
    """the model's SipHash-1-3 is the one that this Python hashes strings with"""
    if sys.hash_info.algorithm != "siphash13":
        return
    data = [bytes(range(n)) for n in range(1, 40)] + [random.Random(n).randbytes(n % 60 + 8) for n in range(60)]
    for number in (0, 1, 4711, 2**32 - 1):
        script = "import sys; print([hash(bytes.fromhex(d)) for d in sys.argv[1:]])"
        got = subprocess.run([sys.executable, "-c", script, *(d.hex() for d in data)], env={"PYTHONHASHSEED": str(number)},
                             capture_output=True, text=True, check=True).stdout
        # Python's own way from PYTHONHASHSEED to a key (Python/bootstrap_hash.c); 0: all zeros
        state, key = number, []
        for _ in range(16):
            state = (state * 214013 + 2531011) % 2**32
            key.append(state >> 16 & 0xff if number else 0)
        for d, h in zip(data, json.loads(got)):
            check(model.Sip(bytes(key).hex())(d) == h % 2**64, f"PYTHONHASHSEED={number}, {len(d)} bytes {d.hex()}")


def test_table():
    """table and digest agree with the model, refusals too"""
    same_answers(("table",), 340)


def test_choice():
    """the fields of a rule: what is left out of the hash does not move a flow"""
    rng = random.Random(SEED)
    table = model.Table([(f"10.1.1.{i}", 1, 0) for i in range(1, 9)])
    moved = collections.Counter()
    for _ in range(500):
        src, dst = (str(ipaddress.IPv4Address(rng.getrandbits(32))) for _ in range(2))
        sport, dport, other, key = rng.getrandbits(16), rng.getrandbits(16), rng.getrandbits(16), f"{rng.getrandbits(128):032x}"
        for fields in ("5tuple", "src-port", "src"):
            here = table.choose(src, dst, 6, sport, dport, key, fields)
            moved[fields, "dport"] += here != table.choose(src, dst, 6, sport, other, key, fields)
            moved[fields, "sport"] += here != table.choose(src, dst, 6, other, dport, key, fields)
            moved[fields, "proto"] += here != table.choose(src, dst, 17, sport, dport, key, fields)
    still = {key for key in (("src-port", "dport"), ("src", "dport"), ("src", "sport"), ("src", "proto"))}
    for fields in ("5tuple", "src-port", "src"):
        for what in ("dport", "sport", "proto"):
            count = moved[fields, what]
            if (fields, what) in still:
                check(count == 0, f"{fields}: {count} flows moved with their {what}")
            else:
                check(count > 380, f"{fields}: only {count} of 500 flows noticed their {what}")


def some_sets(count):
    rng = random.Random(SEED + 7)
    for _ in range(count):
        n = rng.randint(2, 60)
        yield rng, [(a, w, 0) for a, w, _ in gen_vectors.random_set(rng, n)]


def weighted(dips):
    return [d for d in dips if d[1]]


def without(dips, dead):
    return [(a, w, int(a in dead)) for a, w, _ in dips]


def test_down():
    """a DIP down moves its own flows and no other, to DIPs that are up"""
    for rng, dips in some_sets(60):
        if len(weighted(dips)) < 2:
            continue
        order = [d[0] for d in weighted(dips)]
        rng.shuffle(order)
        steps = [set(order[:k]) for k in range(min(len(order), 6))]
        held = tables([without(dips, dead) for dead in steps])
        for dead, before, after in zip(steps[1:], held, held[1:]):
            failed = dead - steps[len(dead) - 1]
            for b, (was, now) in enumerate(zip(before, after)):
                check(now not in dead, f"bucket {b} is given to {now}, which is down")
                check(was == now or was in failed, f"bucket {b} of {was}, which is up, moved to {now}")
            check(before != after, f"{failed} went down and nothing moved")


def test_up():
    """the table depends on what is down now, not on what was: up restores it"""
    for rng, dips in some_sets(30):
        names = [d[0] for d in weighted(dips)]
        if len(names) < 3:
            continue
        one, two = rng.sample(names, 2)
        first, gone, last = tables([dips, without(dips, {one, two}), without(without(dips, {one, two}), set())])
        check(first == last and first != gone, "recovery did not restore the table")


def test_order():
    """the order in which DIPs are given does not matter"""
    for rng, dips in some_sets(40):
        dips = [(a, w, int(rng.random() < 0.3)) for a, w, _ in dips]
        other = rng.sample(dips, len(dips))
        check(len(set(ask([gen_vectors.question(d) for d in (dips, other, dips[::-1])]))) == 1,
              "another order gave another table")


def bound(buckets, n, weight, total):
    """The least and most buckets of a DIP. After R rounds it has claimed
    ceil(R w / wmax), and the rounds of all sum up to the number of buckets:
    1 % less its ideal share and one bucket, to two buckets more."""
    ideal = buckets * weight / total
    return ideal * (1 - n / buckets) - 1, ideal + 2


def test_shares():
    """shares follow the weights, within 1 % and two buckets; weight 0 gets none"""
    for _, dips in some_sets(60):
        total = sum(d[1] for d in dips)
        if not total:
            continue
        table, = tables([dips])
        counts = collections.Counter(table)
        for address, weight, _ in dips:
            got = counts[address]
            if not weight:
                check(got == 0, f"{address} has weight 0 and {got} buckets")
                continue
            low, high = bound(len(table), len(dips), weight, total)
            check(max(low, 1) <= got <= high,
                  f"{address} of weight {weight}/{total} has {got} of {len(table)} buckets, not {low:.1f} to {high:.1f}")


def test_ratio():
    """only the ratios of weights count"""
    tried = 0
    for rng, dips in some_sets(40):
        most = 65535 // (max(d[1] for d in dips) or 1)
        if most < 2 or not weighted(dips):
            continue
        factor = rng.randint(2, most)
        table, again = tables([dips, [(a, w * factor, d) for a, w, d in dips]])
        check(table == again, f"weights times {factor} gave another table")
        tried += 1
    check(tried > 10, f"only {tried} sets tried")


def test_heirs():
    """the flows of a DIP that is down spread over the others by weight"""
    dips = [(f"10.1.{i}.1", 1 + i % 2, 0) for i in range(16)]
    table, after = tables([dips, without(dips, {"10.1.5.1"})])
    heirs = collections.Counter(now for was, now in zip(table, after) if was != now)
    moved = sum(heirs.values())
    check(moved == table.count("10.1.5.1"), "some of its buckets stayed")
    heavy = sum(heirs[a] for a, w, _ in dips if w == 2)
    # 7 heavy DIPs of 15 weigh 14 of 22; five standard deviations
    spread = 5 * (moved * 14 / 22 * 8 / 22) ** 0.5
    check(abs(heavy - moved * 14 / 22) <= spread, f"{heavy} of {moved} went to the DIPs of weight 2")
    check(max(heirs.values()) <= moved / 4 and len(heirs) == 15, f"uneven: {heirs}")


def test_all_down():
    """all down: no table; one comes back: it has every bucket"""
    dips = [("10.1.1.1", 1, 1), ("10.1.1.2", 3, 1), ("10.1.1.3", 0, 0)]
    none, one = tables([dips, without(dips, {"10.1.1.1"})])
    check(none is None, "a table of DIPs that are all down")
    check(set(one) == {"10.1.1.2"}, f"owners {set(one)}")


def main():
    tests = [(n, f) for n, f in globals().items() if n.startswith("test_")]
    print(f"TAP version 13\n1..{len(tests)}")
    failed = 0
    for number, (name, function) in enumerate(tests, 1):
        try:
            function()
            print(f"ok {number} model.{name[5:]}: {function.__doc__}")
        except (Wrong, OSError) as error:
            failed += 1
            print(f"not ok {number} model.{name[5:]}: {function.__doc__}\n# {error}\n# DUET_VECTOR_SEED={SEED} repeats it")
        sys.stdout.flush()
    return 1 if failed else 0


sys.exit(main())
