#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""How tunnels leave: VRFs of the tunnels and of clients, fwmark, TOS, flow labels, a prefix of sources."""
import json
import os
import socket
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import *  # noqa: E402,F403 pylint: disable=wildcard-import,unused-wildcard-import
from lib import CLIENT, LOCAL, VIP, Net, batch, check, dip, drain, duet, duet_json, equal, ip4, main, receive
from lib import refused, run, test, udp, until, verdicts
from hosts import LOCAL6  # noqa: E402
from test_manners import CLIENT6, DIP6, ROUTER6, Way, both, second_link  # noqa: E402

del TESTS[:]	# those of test_manners


def enslave(net, dev, vrf, table):
    """Into a VRF; what the kernel flushes then is put back."""
    batch("m", f"link add {vrf} type vrf table {table}\nlink set {vrf} up\nlink set {dev} master {vrf}\n")
    mac = net.mac("d", "d0").hex(":")
    batch("m", f"addr replace {'2001:db8:1::1' if dev == 'c0m' else LOCAL6}/64 dev {dev} nodad\n")
    if dev == "c0m":
        batch("m", f"neigh replace {CLIENT} lladdr {net.c_mac.hex(':')} dev c0m nud permanent\n"
              f"neigh replace {CLIENT6} lladdr {net.c_mac.hex(':')} dev c0m nud permanent\n")
    else:
        batch("m", "".join(f"neigh replace {a} lladdr {mac} dev d0m nud permanent\n" for a in (dip(1), DIP6, ROUTER6)))


def arrives(way):
    """The outer frame of a packet of 100 bytes, None: none came."""
    at, proto = (23, 4) if way.family == 4 else (20, 41)
    drain(way.net.all_d)
    before = sum(verdicts().values())
    way.send(100)
    until(lambda: sum(verdicts().values()) > before, "the packet is counted")
    got = receive(way.net.all_d, lambda f: f[12:14] == (b"\x08\x00" if way.family == 4 else b"\x86\xdd") and f[at] == proto, seconds=1)
    return got[0] if got else None


@test
def tunnels_in_a_vrf():
    """the tunnels' netdev is in a VRF: no route without `link`, one with it; what routers there say is learned; a deleted link is no route"""
    net = both()
    enslave(net, "d0m", "blue", 200)
    for family in (4, 6):
        way = Way(net, family)
        duet("dev", "set", "mux0", "link", "none")
        before = verdicts()["no-route"]
        check(arrives(way) is None, "a packet arrives without link")
        equal(verdicts()["no-route"], before + 1, "no-route")
        duet("dev", "set", "mux0", "link", "blue")
        equal(duet_json("dev", "show", "mux0")[0]["link"], "blue", "link that is shown")
        check(arrives(way), "no packet arrives with link blue")
        equal(way.mtu(1460 if family == 4 else 1440), None, "answer to a packet that fits")
        equal(way.too_big(1400), 1400 - way.outer, "MTU that the client hears")
        equal(way.mtu(), 1400 - way.outer, "MTU learned in the VRF")
        duet("dev", "set", "mux0", "link", "d0m")
        check(arrives(way), "no packet arrives with the VRF's member as link")
        duet("dev", "set", "mux0", "link", "blue")
        duet("vip", "del", "mux0", "all")
    way = Way(net, 4)
    batch("m", "link add x0 type dummy\n")
    duet("dev", "set", "mux0", "link", "x0")
    batch("m", "link del x0\n")
    check(arrives(way) is None, "a packet arrives by a link that was deleted")
    check("(deleted)" in duet("dev", "show", "mux0")[1], "a link that was deleted is shown so")


@test
def clients_in_a_vrf():
    """clients in a VRF, tunnels outside or in another: packets are sent on, and every error reaches the client"""
    net = both()
    enslave(net, "c0m", "red", 100)
    for link in ("none", "blue"):
        if link == "blue":
            enslave(net, "d0m", "blue", 200)
        duet("dev", "set", "mux0", "link", link)
        for family in (4, 6):
            way = Way(net, family)
            check(arrives(way), f"IPv{family}, link {link}: no packet arrives")
            equal(way.mtu(1500), 1500 - way.outer, f"IPv{family}, link {link}: MTU that the mux tells")
            equal(way.too_big(1400), 1400 - way.outer, f"IPv{family}, link {link}: MTU that a router told")
            net.vip(["192.0.2.9" if family == 4 else "2001:db8:99::9"], way.vip)
            drain(net.c)
            way.send(100)
            equal(way.heard((3, 1) if family == 4 else (1, 3))[1], way.vip, f"IPv{family}, link {link}: who says unreachable")
            duet("vip", "del", "mux0", "all")
    net.vip([dip(1)])
    drain(net.c)
    net.send(ip4(CLIENT, VIP, 17, udp(CLIENT, VIP, 5000, 53), ttl=1))
    equal(Way(net, 4).heard((11, 0))[1], "10.1.0.1", "who says that time is exceeded")
    # what isn't a VIP's is forwarded within the VRF
    batch("m", "route add 192.0.2.0/24 via 10.1.0.77 dev c0m vrf red\nneigh replace 10.1.0.77 lladdr 02:00:00:00:00:77 dev c0m nud permanent\n")
    net.send(ip4(CLIENT, "192.0.2.5", 17, udp(CLIENT, "192.0.2.5", 5000, 53)))
    check(receive(net.c, lambda f: f[:6] == b"\x02\0\0\0\0\x77", seconds=5), "a packet of no VIP goes by its VRF's table")


@test
def no_local():
    """a mux without a local address of the DIP's family: the client hears that the VIP is unreachable"""
    net = both()
    duet("dev", "set", "mux0", "local", "none")
    for family in (4, 6):
        way = Way(net, family)
        before = verdicts()["no-local"]
        drain(net.c)
        way.send(100)
        equal(way.heard((3, 1) if family == 4 else (1, 3))[1], way.vip, "who says unreachable")
        equal(verdicts()["no-local"], before + 1, "no-local")


@test
def fwmark():
    """a mark chooses the routing table of the tunnels, packets carry it, and what routers say is learned there"""
    net, other = both(), second_link()
    run("nft", "add table netdev t; add chain netdev t c { type filter hook egress device x0 priority 0; }; "
        "add rule netdev t c meta mark 0x29 counter", inside="m")
    for family, via, option in ((4, "10.9.0.2", []), (6, "2001:db8:9::2", ["-6"])):
        way = Way(net, family)
        run("ip", "-n", "m", *option, "route", "add", "default", "via", via, "dev", "x0", "table", "77")
        run("ip", "-n", "m", *option, "rule", "add", "fwmark", "0x29", "lookup", "77")
        check(arrives(way), "without a mark, no packet comes by d0m")
        duet("dev", "set", "mux0", "fwmark", "0x29")
        equal(duet_json("dev", "show", "mux0")[0]["fwmark"], 0x29, "mark that is shown")
        check(arrives(way) is None, "with the mark, a packet comes by d0m")
        check(receive(other, lambda f, n=family: f[12] == (0x08 if n == 4 else 0x86) and f[23 if n == 4 else 20] in (4, 41), seconds=5),
              "with the mark, no packet comes by x0")
        equal(way.mtu(1440), None, "answer to a packet that fits")
        equal(way.too_big(1400), 1400 - way.outer, "MTU that the client hears")
        equal(way.mtu(1440), 1400 - way.outer, "MTU learned for marked packets")
        duet("dev", "set", "mux0", "fwmark", "none")
        equal(way.mtu(1440), None, "answer by the other route, of which nothing was learned")
        duet("vip", "del", "mux0", "all")
    counted = json.loads(run("nft", "-j", "list", "chain", "netdev", "t", "c", inside="m")[1])
    check([e["counter"]["packets"] for n in counted["nftables"] for e in n.get("rule", {}).get("expr", []) if "counter" in e][0] >= 4,
          "packets carry the mark")


@test
def tos():
    """the outer DSCP is the inner one, or a fixed one by which routes are looked up, too; ECN is always the inner one"""
    net = both()
    way = Way(net, 4)

    def outer(inner):
        drain(net.all_d)
        net.send(ip4(CLIENT, VIP, 17, udp(CLIENT, VIP, 5000, 53), tos=inner))
        return receive(net.all_d, lambda f: f[12:14] == b"\x08\x00" and f[23] == 4, seconds=5)[0][15]
    for name, want in (("inherit", {0: 0, 0xb8: 0xb8, 0xbb: 0xbb, 1: 1}), ("0x28", {0: 0x28, 0xb8: 0x28, 0xbb: 0x2b, 2: 0x2a}),
                       ("0", {0xb8: 0, 0xb9: 1})):
        duet("dev", "set", "mux0", "tos", name)
        equal(duet_json("dev", "show", "mux0")[0]["tos"], name if name != "0" else "0x00", "TOS that is shown")
        equal({inner: outer(inner) for inner in want}, want, f"outer TOS, {name}")
    way = Way(net, 6)
    duet("dev", "set", "mux0", "tos", "0x28")
    frame = arrives(way)
    equal(struct.unpack("!I", frame[14:18])[0] >> 20 & 0xff, 0x28, "outer traffic class")
    for bad in ("0x29", "256", "x"):
        refused_usage("dev", "set", "mux0", "tos", bad)


def refused_usage(*args):
    status, _, err = duet(*args, ok=False)
    check(status == 2 and len(err) > 20, f"duet {' '.join(args)}: {status}, {err!r}")


@test
def flow_labels():
    """outer IPv6 headers have a label for each flow, the same for all of its packets, whether the table or a kept flow chose the DIP"""
    for mode in ("hmux", "smux"):
        net = both(mode)
        way = Way(net, 6)
        seen = {}
        for _ in range(3):
            for port in range(6000, 6040):
                drain(net.all_d)
                packet = way.packet(100)
                packet = packet[:40] + struct.pack("!H", port) + packet[42:]
                net.c.send(net.m_mac + net.c_mac + b"\x86\xdd" + packet)
                frame = receive(net.all_d, lambda f: f[12:14] == b"\x86\xdd" and f[20] == 41, seconds=5)[0]
                seen.setdefault(port, set()).add(struct.unpack("!I", frame[14:18])[0] & 0xfffff)
        check(all(len(labels) == 1 for labels in seen.values()), f"{mode}: a flow has several labels: {seen}")
        labels = {next(iter(s)) for s in seen.values()}
        check(0 not in labels and len(labels) > 35, f"{mode}: {len(labels)} labels of 40 flows")


@test
def sources():
    """`spread`: outer sources are of the prefix, one for each flow; errors about any of them are taken; the whole prefix is the mux's own"""
    net = both()
    batch("m", "addr add 10.254.0.5/32 dev lo\nroute add local 10.254.0.0/28 dev lo\n")
    duet("dev", "set", "mux0", "local", "10.254.0.5")
    way = Way(net, 4)
    duet("dev", "set", "mux0", "spread", "28")
    equal(duet_json("dev", "show", "mux0")[0]["spread"], 28, "spread that is shown")
    seen = {}
    for _ in range(2):
        for port in range(6000, 6060):
            frame = net.exchange(ip4(CLIENT, VIP, 17, udp(CLIENT, VIP, port, 53)))
            seen.setdefault(port, set()).add(socket.inet_ntoa(frame[26:30]))
    check(all(len(s) == 1 for s in seen.values()), f"a flow has several sources: {seen}")
    used = {next(iter(s)) for s in seen.values()}
    check(len(used) >= 12, f"{len(used)} of 16 sources are used by 60 flows")
    check(used <= {f"10.254.0.{n}" for n in range(16)}, f"sources outside the prefix: {used}")
    for source in ("10.254.0.0", "10.254.0.5", "10.254.0.15"):
        run("ip", "-n", "m", "route", "flush", "cache")
        equal(way.mtu(1460), None, "answer to a packet that fits")
        equal(way.too_big(1400, source), 1400 - way.outer, f"MTU that the client hears of an error to {source}")
        equal(way.mtu(1460), 1400 - way.outer, f"MTU learned of an error to {source}")
    # by a port, no local route is needed
    batch("m", "route del local 10.254.0.0/28 dev lo\n")
    duet("port", "add", "mux0", "d0m")
    run("ip", "-n", "m", "route", "flush", "cache")
    equal(way.too_big(1390, "10.254.0.9"), 1390 - way.outer, "MTU of an error that comes by a port")
    equal(way.mtu(1460), 1390 - way.outer, "MTU learned")
    # its own addresses
    before = verdicts()["martian"]
    net.send(ip4("10.254.0.9", VIP, 17, udp("10.254.0.9", VIP, 5000, 53)))
    until(lambda: verdicts()["martian"] == before + 1, "a packet from a source of the mux is a martian")
    refused("m", "vip", "set", "mux0", "10.254.0.7", "dip", dip(1), because="source of mux0's tunnels")
    refused("m", "vip", "set", "mux0", "203.0.113.9", "dip", "10.254.0.8", because="source of mux0's tunnels")
    duet("dev", "set", "mux0", "spread", "none")
    equal(net.exchange(ip4(CLIENT, VIP, 17, udp(CLIENT, VIP, 6000, 53)))[26:30], socket.inet_aton("10.254.0.5"), "source without spread")
    duet("vip", "set", "mux0", "10.254.0.7", "dip", dip(1))
    refused("m", "dev", "set", "mux0", "spread", "28", because="10.254.0.7 is a VIP of mux0")
    duet("vip", "set", "mux0", "203.0.113.9", "dip", "10.254.0.16")
    duet("dev", "set", "mux0", "local", "10.254.0.17")
    refused("m", "dev", "set", "mux0", "spread", "28", because="10.254.0.16 is a DIP of mux0")
    duet("dev", "set", "mux0", "local", LOCAL)
    refused("m", "dev", "set", "mux0", "spread", "24", because="10.2.0.")
    refused("m", "dev", "set", "mux0", "link", "mux0", because="a mux can't be the link")
    for bad in ("15", "33", "x"):
        refused_usage("dev", "set", "mux0", "spread", bad)
    refused_usage("dev", "set", "mux0", "link", "nowhere")
    equal(duet_json("dev", "show", "mux0")[0]["spread"], None, "spread after all refusals")



if __name__ == "__main__":
    main()
