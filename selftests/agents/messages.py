# SPDX-License-Identifier: GPL-2.0
"""The messages of agents/host/message.h, as a hostile agent would write them."""
import ipaddress
import struct

NAMES = ("begin muxes racks pairs targets ports matches rules dips snat excepts commit down health_set health_get fence unfence "
         "status served meters rack_names muxes_get held forwards socket").split()
TYPE = {name: number for number, name in enumerate(NAMES)}
SIZES = {"begin": 40, "muxes": 20, "racks": 84, "pairs": 52, "targets": 20, "ports": 6, "matches": 6, "rules": 10, "dips": 20, "snat": 20,
         "excepts": 20, "down": 52, "health_set": 232, "health_get": 52, "fence": 16, "forwards": 16, "socket": 52}


def address(text):
    a = ipaddress.ip_address(text)
    return a.packed if a.version == 6 else b"\0" * 10 + b"\xff\xff" + a.packed


def message(name, *records, n=None):
    return struct.pack("II", TYPE.get(name, name), len(records) if n is None else n) + b"".join(records)


def begin(key=b"\1" * 16, has_racks=0, has_ports=0):
    return message("begin", key + bytes(16) + struct.pack("II", has_racks, has_ports))


def prefix(text):
    where, _, length = text.partition("/")
    return address(where) + struct.pack("I", int(length or (128 if ":" in where else 32)))


def pair(vip, dip, delivery=0, key=0, fragments=0, accepts=0, rules=0, targets=0, ports=0, matches=0, n_rules=0):
    return address(vip) + address(dip) + struct.pack("10H", delivery, key, fragments, accepts, rules, targets, ports, matches, n_rules, 0)


def target(where, weight=1, down=0):
    return address(where) + struct.pack("HH", weight, down)


def port(proto, number, to):
    return struct.pack("HHH", proto, number, to)


def rule(number=0, last=0, proto=0, fields=0, dips=1):
    return struct.pack("5H", number, last, proto, fields, dips)


def dip(where, weight=1, state=0):
    return address(where) + struct.pack("HH", weight, state)


def rack(text, name):
    return prefix(text) + name.ljust(64, b"\0")


def span(vip, first, last):
    return address(vip) + struct.pack("HH", first, last)


def health(vip, own, where="::", number=0, state=1, reason=b"", forget=0):
    return message("health_set", address(vip) + address(own) + address(where) + struct.pack("III", number, forget, state) + bytes(4) +
                   struct.pack("Q", 1) + reason.ljust(160, b"\0"))


def state(vip="203.0.113.1", own="192.0.2.1", mux="10.1.0.0/28"):
    """one of everything"""
    return [begin(), message("muxes", prefix(mux)), message("racks", rack("198.51.100.0/24", b"r1")),
            message("pairs", pair(vip, own, delivery=2, accepts=1, rules=1, targets=2, ports=1, matches=1, n_rules=1)),
            message("targets", target("192.0.2.8"), target("192.0.2.9")), message("ports", port(6, 80, 8080)),
            message("matches", struct.pack("HHH", 80, 80, 6)), message("rules", rule()), message("dips", dip(own)),
            message("snat", span(vip, 2048, 4095)), message("excepts", prefix("10.0.0.0/8")), message("commit")]


def stream(messages):
    """as selftests/fuzz/fuzz_message.c reads them"""
    return b"".join(struct.pack("<H", len(m)) + m for m in messages)
