#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""The keys of the hash: how they are given, shown and hidden, and VIPs that go from one to the other."""
import os
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import *  # noqa: E402,F403 pylint: disable=wildcard-import,unused-wildcard-import
from lib import CLIENT, DUET, TESTS, VIP, Net, check, dip, drain, duet, duet_json, equal, ip4, is_ipip, main, outer_dst, receive, refused, run, tcp, test
from test_datapath import expected, flows, model

TESTS.clear()	# those of the file that the helpers are from
KEYS = [model.key(7), "00112233445566778899aabbccddeeff"]


def device():
    return duet_json("dev", "show", "mux0")[0]


@test
def given_and_hidden():
    """a key comes as hex digits, from a file or from standard input; it is shown only to who asks for it by name"""
    Net()
    made = duet("genkey")[1].strip()
    check(len(made) == 32 and made != duet("genkey")[1].strip(), f"genkey: {made}")
    with open("/run/test-key", "w", encoding="ascii") as f:
        f.write(KEYS[1] + "\n")
    for words, stdin in ((("key", KEYS[1]), None), (("key", "/run/test-key"), None), (("key-file", "/run/test-key"), None), (("key", "-"), KEYS[1] + "\n")):
        duet("dev", "set", "mux0", "key", made)
        duet("dev", "set", "mux0", *words, stdin=stdin)
        equal(duet("dev", "show", "mux0", "key")[1].strip(), KEYS[1], f"key after {words}")
    shown = "".join(duet(*words)[1] for words in (("dev", "show", "mux0"), ("-j", "dev", "show"), ("stats", "mux0"), ("-j", "vip", "show", "mux0")))
    check(KEYS[1] not in shown.lower() and "(hidden)" in shown, f"shown: {shown}")
    equal(device()["key"], {"key": "(hidden)", "fingerprint": model.fingerprint(KEYS[1])}, "key in JSON")
    duet("dev", "set", "mux0", "key", "none", "key1", KEYS[0])
    equal((device()["key"], duet("dev", "show", "mux0", "key1")[1].strip()), ({"key": "none", "fingerprint": "none"}, KEYS[0]), "no key, and key 1")
    before = device()
    for bad, because in ((KEYS[1][1:], KEYS[1][1:]), ("0" * 32, "0" * 32), ("/nowhere", "/nowhere"), ("/proc/self/status", "32 hex digits"), (KEYS[1] + "0", KEYS[1])):
        refused("m", "dev", "set", "mux0", "key", bad, because=because)
    refused("m", "dev", "set", "mux0", "key", "-", because="standard input", stdin="xyz")
    status, _, err = run("ip", "netns", "exec", "m", DUET, "dev", "set", "mux0", "seed", "7", ok=False)
    check(status == 2 and "128 bits" in err and "key" in err, f"a seed: {err}")
    equal(device(), before, "the device afterwards")


@test
def two_keys():
    """a VIP chooses by the key that it names; one in use can't change, the other can; replaced, a VIP goes to the other key"""
    net = Net()
    dips = [{"address": dip(n)} for n in range(1, 8)]
    packets = flows(120)
    rules = [{"dips": dips}]
    refused("m", "vip", "set", "mux0", VIP, "key", "1", "dip", dip(1), because="key 1")
    refused("m", "vip", "set", "mux0", VIP, "key", "2", "dip", dip(1), because="key")
    duet("dev", "set", "mux0", "key1", KEYS[1])
    for turn in range(3):
        key = turn % 2
        put(rules, key)
        equal(duet_json("vip", "show", "mux0")[0].get("key", 0), key, "the VIP's key")
        equal(net.choices([p[3] for p in packets]), expected(packets, dips, KEYS[key]), f"DIPs under key {key}")
        refused("m", "dev", "set", "mux0", ("key", "key1")[key], model.key(99), because="other key")
        refused("m", "dev", "set", "mux0", ("key", "key1")[key], "none", because="other key")
        duet("dev", "set", "mux0", ("key1", "key")[key], model.key(99))
        duet("dev", "set", "mux0", ("key1", "key")[key], KEYS[1 - key])
    generation = device()["generation"]
    put(rules, 0)
    duet("dev", "set", "mux0", "key", KEYS[0], "key1", KEYS[1])
    equal(device()["generation"], generation, "generation after requests that change nothing")
    duet("dev", "set", "mux0", "key1", "none")
    equal(net.choices([p[3] for p in packets]), expected(packets, dips, KEYS[0]), "DIPs afterwards")


def put(rules, key):
    words = [w for r in rules for w in ["dip"] + [d["address"] for d in r["dips"]]]
    duet("vip", "set", "mux0", VIP, "key", str(key), *words)


@test
def flows_stay():
    """an SMux: connections stay on their DIPs while their VIP goes to another key, new ones are chosen by it"""
    net = Net("smux")
    dips = [{"address": dip(n)} for n in range(1, 8)]
    duet("dev", "set", "mux0", "key1", KEYS[1])
    rules = [{"dips": dips}]
    put(rules, 0)

    def where(ports, flags):
        drain(net.d)
        out = {}
        for port in ports:
            net.send(ip4(CLIENT, VIP, 6, tcp(port, 80, flags)))
        for frame in receive(net.d, is_ipip, seconds=10, count=len(ports)):
            out[struct.unpack("!H", frame[54:56])[0]] = outer_dst(frame)
        return out

    def chosen(ports, key):
        return {p: d for (_, p), d in expected([(6, p, 80, b"") for p in ports], dips, key).items()}

    old, new = range(20000, 20050), range(30000, 30050)
    equal(where(old, 0x02), chosen(old, KEYS[0]), "DIPs of new connections")
    equal(where(old, 0x10), chosen(old, KEYS[0]), "and of their second packets")
    put(rules, 1)
    equal(where(old, 0x10), chosen(old, KEYS[0]), "DIPs of connections after the VIP's key has changed")
    equal(where(new, 0x02), chosen(new, KEYS[1]), "DIPs of new connections by then")
    check(chosen(old, KEYS[0]) != chosen(old, KEYS[1]), "the two keys choose alike")


main()
