# SPDX-License-Identifier: GPL-2.0
"""docs/netlink/duet.yaml as numbers, requests made from it, and ways to spoil them.

A request is a tree: a list of [number, is a nest, value], where the value of a nest is such a list and that of a leaf
its bytes."""
import ipaddress
import os
import struct

import yaml

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NLA_F_NESTED = 0x8000
SIZES = {"u8": "B", "u16": "H", "u32": "I", "u64": "Q"}
# few enough that requests meet
VIPS = [ipaddress.ip_address(a).packed for a in ("203.0.113.1", "203.0.113.2", "203.0.113.3", "2001:db8:f::1", "2001:db8:f::2")]
DIPS = [ipaddress.ip_address(a).packed for a in ("10.2.0.11", "10.2.0.12", "10.2.0.13", "10.2.0.14", "2001:db8:2::11", "2001:db8:2::12")]
BAD = [ipaddress.ip_address(a).packed for a in ("0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "::", "::1", "ff02::1",
                                                 "fe80::1", "::ffff:10.2.0.11")]
VALUES = (0, 1, 2, 3, 4, 16, 80, 255, 256, 65535, 65536, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)


class Spec:
    def __init__(self):
        with open(f"{TOP}/docs/netlink/duet.yaml", encoding="utf-8") as f:
            spec = yaml.load(f, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        self.enums = {d["name"]: len(d["entries"]) for d in spec["definitions"]}
        self.sets = {s["name"]: {a["name"]: {**a, "number": n} for n, a in enumerate(s["attributes"], 1)} for s in spec["attribute-sets"]}
        self.numbers = {s: {name: a["number"] for name, a in found.items()} for s, found in self.sets.items()}
        operations = spec["operations"]["list"]
        self.commands = {o["name"]: n for n, o in enumerate(operations, 1)}
        self.last = len(operations)
        self.requests = [(self.commands[o["name"]], kind == "dump", o["name"], o[kind].get("request", {}).get("attributes", []))
                         for o in operations for kind in ("do", "dump") if kind in o]


class Requests:
    """Good requests: every attribute of a command, where it makes sense."""

    def __init__(self, spec, rng, index, devices, ports):
        self.spec, self.rng, self.index, self.devices, self.ports = spec, rng, index, devices, ports

    def any(self):
        """(command, is it a dump, tree)"""
        command, dump, name, attributes = self.rng.choice(self.spec.requests)
        # VIPs are what there is most to say about
        if self.rng.random() < 0.3:
            command, dump, name, attributes = next(r for r in self.spec.requests if r[2] == "vip-set")
        tree = []
        for one in attributes:
            if one == "ifname" and self.rng.random() < 0.9 or one == "ifindex" and self.rng.random() < 0.05:
                continue
            sparse = name in ("dev-set", "vip-del", "dip-set", "flow-get", "flow-flush") and one not in ("ifindex", "dip")
            if sparse and self.rng.random() < 0.6:
                continue
            tree.append(self.leaf("duet", one, name))
        return command, dump, tree

    def leaf(self, where, name, command):
        found, rng = self.spec.sets[where][name], self.rng
        number, kind = found["number"], found["type"]
        made = self.special(where, name)
        if made is not None:
            return [number, False, made]
        if kind == "nest":
            return [number, True, self.nest(found["nested-attributes"], command, name)]
        if kind == "indexed-array":
            count = rng.choice((1, 1, 2, 3, 5))
            return [number, True, [[n, True, self.nest(found["nested-attributes"], command, name)] for n in range(1, count + 1)]]
        if kind in SIZES:
            value = rng.randrange(self.spec.enums[found["enum"]]) if "enum" in found else rng.choice((1, 2, 5, 80, 200, 1000))
            return [number, False, struct.pack(SIZES[kind], value % (1 << 8 * struct.calcsize(SIZES[kind])))]
        return [number, False, b"" if kind == "flag" else rng.randbytes(4)]

    def special(self, where, name):
        """Values that have to fit what is there."""
        rng = self.rng
        if (where, name) == ("duet", "ifindex"):
            return struct.pack("I", self.index[rng.choice(self.devices)])
        if (where, name) == ("duet", "ifname"):
            return rng.choice(self.devices).encode() + b"\0"
        if (where, name) == ("duet", "port-ifindex"):
            return struct.pack("I", self.index[rng.choice(self.ports * 3 + self.devices + ("lo",))])
        if name == "local4":
            return ipaddress.ip_address(rng.choice(("10.2.0.1", "10.2.0.2", "0.0.0.0"))).packed
        if name == "local6":
            return ipaddress.ip_address(rng.choice(("2001:db8:2::1", "::"))).packed
        if (where, name) == ("duet", "link"):
            return struct.pack("I", rng.choice((0, 0, self.index["lo"], self.index[self.ports[0]], self.index[self.devices[0]], 9999)))
        if (where, name) == ("duet", "tos"):
            return bytes([rng.choice((0, 1, 1, 0x28, 0xb8, 3))])
        if (where, name) == ("duet", "spread4"):
            return bytes([rng.choice((16, 24, 28, 32, 32))])
        if name == "addr":
            return rng.choice(VIPS if where == "vip" else DIPS)
        if where == "flow" and name in ("src", "dst"):
            return rng.choice(VIPS if name == "dst" else DIPS)
        if name == "proto":
            return bytes([rng.choice((6, 17, 132, 1))])
        return None

    def nest(self, where, command, parent):
        """A VIP that is only named has an address and no more."""
        tree = []
        for name, found in self.spec.sets[where].items():
            if "(reply)" in found.get("doc", "") or name in ("pad", "stats"):
                continue
            if where == "vip" and command != "vip-set" and name != "addr":
                continue
            if where == "dip" and parent == "dip" and (name == "weight" or name == "state" and command != "dip-set"):
                continue
            needed = name in ("addr", "rules", "dips", "src", "dst", "proto") and where != "rule" or name == "dips"
            if not needed and command != "dip-set" and self.rng.random() < 0.6:
                continue
            tree.append(self.leaf(where, name, command))
        if where == "rule" and self.rng.random() < 0.5:		# the default, or a protocol with or without ports
            tree = [leaf for leaf in tree if leaf[0] not in (self.spec.numbers[where][n] for n in ("proto", "port", "port-last"))]
        return tree


MOST = 80000	# attributes, or bytes of one: more than a message can hold


def encode(tree):
    data = bytearray()
    for number, is_nest, value in tree:
        body = value if isinstance(value, bytes) else encode(value)
        size = min(4 + len(body), 65535)
        data += struct.pack("HH", size, number | (NLA_F_NESTED if is_nest else 0)) + body[:size - 4] + b"\0" * (-size % 4)
    return bytes(data)


def places(tree):
    """Every (list, position) in a tree."""
    found = []
    for n, (_, _, value) in enumerate(tree):
        found.append((tree, n))
        if isinstance(value, list):
            found += places(value)
    return found


def mutate(rng, spec, tree):
    """Spoil a request in one to three ways; their names."""
    return [rng.choice(MUTATIONS)(rng, spec, tree) for _ in range(rng.choice((1, 1, 2, 3)))]


def anywhere(rng, tree):
    found = places(tree)
    return rng.choice(found) if found else (tree, None)


def leave_out(rng, _spec, tree):
    where, n = anywhere(rng, tree)
    if n is not None:
        del where[n]
    return "one left out"


def twice(rng, _spec, tree):
    where, n = anywhere(rng, tree)
    if n is not None:
        where.insert(rng.randrange(len(where) + 1), where[n])
    return "one twice"


def renumber(rng, _spec, tree):
    where, n = anywhere(rng, tree)
    if n is not None:
        where[n][0] = rng.choice((0, rng.randrange(32), 100, 0x3fff))
    return "another number"


def resize(rng, _spec, tree):
    where, n = anywhere(rng, tree)
    if n is not None and isinstance(where[n][2], bytes):
        value = where[n][2]
        where[n][2] = rng.choice((b"", value[:-1], value + b"\0", value + b"\xff" * 3, value * 2, value * min(5000, MOST // (len(value) or 1))))
    return "another length"


def revalue(rng, _spec, tree):
    where, n = anywhere(rng, tree)
    if n is not None and isinstance(where[n][2], bytes):
        size = len(where[n][2])
        where[n][2] = rng.choice((rng.randbytes(size), (rng.choice(VALUES) & ((1 << 8 * size) - 1)).to_bytes(size, "little"), rng.choice(BAD),
                                  rng.choice(VIPS + DIPS)))
    return "another value"


def flip_nest(rng, _spec, tree):
    where, n = anywhere(rng, tree)
    if n is not None:
        where[n][1] = not where[n][1]
    return "nest flag"


def flatten(rng, _spec, tree):
    where, n = anywhere(rng, tree)
    if n is not None and isinstance(where[n][2], list):
        where[n][2] = rng.choice((b"", b"\1", struct.pack("I", 7), encode(where[n][2])[:-3]))
    return "a nest's bytes"


def deepen(rng, _spec, tree):
    where, n = anywhere(rng, tree)
    if n is not None:
        for _ in range(rng.choice((1, 2, 20, 200))):
            where[n] = [where[n][0], True, [where[n]]]
    return "nested deeper"


def foreign(rng, spec, tree):
    """An attribute of the set that this command doesn't take, or of another set."""
    where, _ = anywhere(rng, tree)
    numbers = rng.choice(list(spec.numbers.values()))
    where.insert(rng.randrange(len(where) + 1), [rng.choice(list(numbers.values())), rng.random() < 0.5, rng.randbytes(rng.choice((0, 1, 4, 8, 16)))])
    return "a foreign one"


def many(rng, _spec, tree):
    """More of something than there may be: rules, DIPs, or only bytes."""
    nests = [(where, n) for where, n in places(tree) if isinstance(where[n][2], list) and where[n][2]]
    if not nests:
        return "many"
    where, n = rng.choice(nests)
    one = where[n][2][0]
    count = min(rng.choice((65, 300, 513, 705, 3000)), MOST // len(places([one])))	# many of many are none too many
    where[n][2] = [vary(one, i) for i in range(count)]
    return f"{count} of one"


def vary(node, i):
    """A copy, with another address where it has one."""
    number, is_nest, value = node
    if isinstance(value, list):
        return [number, is_nest, [vary(v, i) for v in value]]
    if len(value) in (4, 16) and value[0] in (10, 0x20):
        return [number, is_nest, value[:-2] + struct.pack("!H", i + 1)]
    return [number, is_nest, value]


MUTATIONS = (leave_out, twice, renumber, resize, revalue, revalue, flip_nest, flatten, deepen, foreign, many)
