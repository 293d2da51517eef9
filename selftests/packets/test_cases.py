#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""The golden packets themselves: are they well written, do builder and parser
agree, is every packet that comes out a good one. TAP; no root, no VM."""
import ipaddress
import os
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import packets  # noqa: E402 pylint: disable=wrong-import-position

LEAST = 120


def check(condition, what):
    if not condition:
        raise packets.Bad(what)


def written(cases):
    """every case is well written, and says why"""
    check(len(cases) >= LEAST, f"only {len(cases)} cases")
    for case in cases:
        check(len(case.why) > 5, f"{case.name}: why?")
    check({c.verdict for c in cases} == set(packets.VERDICTS) - {"memory"}, "a verdict without a case")


def outputs(cases):
    """what comes out has good lengths and checksums wherever what went in had"""
    for case in cases:
        broken = {layer for layer, fields in packets.parse(case.packet) if fields.get("good") is False}
        for _, data, mask in case.out:
            for layer, fields in packets.parse(data):
                check(fields.get("good") is not False or layer in broken, f"{case.name}: checksum of {layer}")
            length = int.from_bytes(data[2:4], "big") if data[0] >> 4 == 4 else 40 + int.from_bytes(data[4:6], "big")
            check(length == len(data), f"{case.name}: {len(data)} bytes that say they are {length}")
            check(len(mask) == len(data), f"{case.name}: the mask's length")


def contract(cases):
    """what every outer header and every answer has in common"""
    for case in cases:
        vips = {ipaddress.ip_address(v["vip"]) for v in case.vips}
        for port, data, _ in case.out:
            layers = packets.parse(data)
            first = layers[0][1]
            ttl = first.get("ttl", first.get("hop"))
            if case.verdict == "encap":
                check(ttl == 64 and first["src"] == str(ipaddress.ip_address(case.device["local4" if data[0] >> 4 == 4 else "local6"])),
                      f"{case.name}: TTL and source of the outer header")
            elif case.verdict != "pass":
                size = 576 if data[0] >> 4 == 4 else 1280
                check(port == "client" and ttl == 64 and len(data) <= size and layers[1][0] in ("icmp4", "icmp6"), f"{case.name}: the answer")
                # a packet that died on its way is answered by the mux, all else by the VIP
                hop = {ipaddress.ip_address(a) for a in ("10.1.0.1", "2001:db8:1::1")} if case.verdict == "ttl" else vips
                check((case.vips[0].get("kind") == "tip" and hop == vips) or ipaddress.ip_address(first["src"]) in hop, f"{case.name}: the answer's source")


def masks(cases):
    """only IDs, and traffic class and flow label of answers, are masked"""
    for case in cases:
        for port, data, mask in case.out:
            free = {n for n, m in enumerate(mask) if m != 0xff}
            allowed = {4, 5, 10, 11} if data[0] >> 4 == 4 else {0, 1, 2, 3} if port == "client" else {44, 45, 46, 47}
            check(free <= allowed, f"{case.name}: masked bytes {sorted(free - allowed)}")


def parser(_cases):
    """what the builder was told is what the parser finds"""
    layers = [{"ip6": {"src": "2001:db8::1", "dst": "2001:db8::2", "tc": 3, "flow": 5, "hop": 9}}, {"hbh": {}}, {"frag6": {"id": 7}},
              {"ip4": {"src": "192.0.2.1", "dst": "192.0.2.2", "tos": 1, "id": 2, "df": True, "ttl": 3, "options": "01010101"}},
              {"icmp4": {"type": 3, "code": 4, "mtu": 1400}}, {"quote": [{"ip4": {"src": "192.0.2.2", "dst": "192.0.2.9"}}, {"udp": {"sport": 1}}]}]
    found = packets.parse(packets.Builder().packet(layers)[0])
    check([name for name, _ in found][:-1] == ["ip6", "hbh", "frag6", "ip4", "icmp4", "quote", "ip4", "udp"], f"layers {found}")
    for want, (name, have) in zip(layers[:5], found):
        for field, value in want[name].items():
            got = int(have["rest"], 16) if field == "mtu" else have[field]
            check(got == value, f"{name}.{field}: got {got}, want {value}")
    # RFC 1071's example, and a header from RFC-independent practice
    check(packets.csum(bytes.fromhex("0001f203f4f5f6f7")) == 0xffff ^ 0xddf2, "RFC 1071, 3")
    check(packets.csum(bytes.fromhex("45000073000040004011b861c0a80001c0a800c7")) == 0, "an IPv4 header")
    data = packets.Builder().packet(layers)[0]
    check(packets.matches(data, data, b"\xff" * len(data)), "a packet is itself")
    for n in range(len(data)):
        other = data[:n] + bytes([data[n] ^ 1]) + data[n + 1:]
        check(not packets.matches(other, data, b"\xff" * len(data)), f"byte {n} doesn't count")
        check(packets.differences(other, data, b"\xff" * len(data)), f"byte {n} makes no difference")


def strict(_cases):
    """a case with a slip in it is refused"""
    good = {"name": "x", "why": "because it is so", "config": {"vips": [{"vip": "203.0.113.1", "rules": [{"dips": [{"address": "10.2.0.11"}]}]}]},
            "in": [{"ip4": {"src": "10.1.0.2", "dst": "203.0.113.1"}}, {"tcp": {}}], "verdict": "ttl", "out": []}
    packets.Case(good, {}, "x")
    for change in ({"verdict": "lost"}, {"verdict": "encap"}, {"extra": 1}, {"in": [{"ip5": {}}]}, {"in": [{"ip4": {"src": "10.1.0.2"}}]},
                   {"in": [{"ip4": {"src": "::1", "dst": "::2"}}]}, {"in": [{"ip4": {"src": "10.1.0.2", "dst": "10.1.0.2", "proto": 256}}]},
                   {"in": [{"ip4": {"src": "10.1.0.2", "dst": "10.1.0.2", "speed": 1, "proto": 6}}]}, {"config": "none"}, {"mtu": 1000},
                   {"out": [{"port": "nobody", "packet": [{"raw": "00"}]}]}, {"out": [{"port": "client", "packet": [{"tcp": {}}]}]},
                   {"in": [{"ip4": {"src": "10.1.0.2", "dst": "10.1.0.2", "ttl": "?"}}, {"tcp": {}}]},
                   {"flow": ["10.1.0.2", "203.0.113.1", 6, 0, 0], "not": [["10.1.0.2", "203.0.113.1", 6, 1, 0]]}):
        try:
            packets.Case({**good, **change}, {}, "x")
        except (packets.Bad, ValueError):
            continue
        raise packets.Bad(f"taken: {change}")


def emitted(cases):
    """the flat file has every case, each complete"""
    with tempfile.NamedTemporaryFile("r", encoding="ascii") as f:
        check(packets.main(["--emit", f.name]) == 0, "packets.py --emit")
        lines = f.read().splitlines()
    check(max(map(len, lines)) < 1 << 18, "a line of 256 KiB")
    words, inside = {"config", "in", "verdict", "count", "out"}, None
    found = []
    for line in lines:
        word, _, rest = line.partition(" ")
        if inside is None:
            check(word == "case", f"{line[:40]} outside of a case")
            inside = [rest]
        elif word == "end":
            found.append(inside[0])
            check(inside.count("in") == 1 and inside.count("verdict") == 1, f"{inside[0]}: in and verdict")
            inside = None
        else:
            check(word in words, f"{line[:40]}")
            inside.append(word)
    check(found == [c.name for c in cases], "names")


def main():
    tests = (written, outputs, contract, masks, parser, strict, emitted)
    print(f"1..{len(tests)}")
    try:
        cases = packets.load()
    except packets.Bad as error:
        print(f"# {error}\nnot ok 1 - cases can be read")
        return 1
    failed = 0
    for number, function in enumerate(tests, 1):
        try:
            function(cases)
            print(f"ok {number} - {function.__doc__}")
        except packets.Bad as error:
            failed = 1
            print(f"# {error}\nnot ok {number} - {function.__doc__}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
