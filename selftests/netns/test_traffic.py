#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Real connections through the mux to real hosts, and what may happen to them."""
import os
import socket
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import *  # noqa: E402,F403 pylint: disable=wildcard-import,unused-wildcard-import
from lib import VIP, batch, check, drain, duet, duet_json, equal, main, receive, run, test, until, verdicts
from hosts import IP_PMTUDISC_DONT, TCP_INFO_PMTU, VIP6, Hosts, address_in, dip, far, offload, sysctl, tcp_info, watch  # noqa: E402

WORLD = []
ALL = ((VIP, 4), (VIP6, 6), (VIP, 6), (VIP6, 4))     # VIP, family of the tunnel


def world(mode="hmux", port="c0m"):
    if not WORLD:
        WORLD.append(Hosts())
    return WORLD[0].reset(mode, port)


def name_of(vip, family):
    return f"IPv{6 if ':' in vip else 4} in IPv{family}"


@test
def offloads():
    """TCP with all offloads on: super-packets stay whole through the tunnel, every segment arrives, in all four tunnels"""
    net, size = world(), 1 << 21
    # a sender that is slow, as on the debug kernel, makes packets of two segments: that would look like cut up ones
    sysctl("c", ipv4__tcp_min_tso_segs=8)
    capture = watch("m", "h1m")
    with net.direct(1):
        for vip, family in ALL:
            net.vip([dip(1, family)], vip)
            sock = net.connect(vip)
            net.ask(sock)
            drain(capture)
            before = duet_json("stats", "mux0")["verdicts"]["encap"]
            _, came, sent, again = net.bulk(sock, size)
            after = duet_json("stats", "mux0")["verdicts"]["encap"]
            packets, bytes_ = after["packets"] - before["packets"], after["bytes"] - before["bytes"]
            what = name_of(vip, family)
            biggest = max((len(f) for f in receive(capture, lambda f: True, seconds=1, count=4000)), default=0)
            check(came >= size // 1460, f"{what}: {came} segments for {size} bytes")
            check(sent - again <= came <= sent, f"{what}: {sent} segments left, {again} of them again, {came} came")
            check(packets < came // 2, f"{what}: {packets} packets in the mux for {came} segments: they were cut up")
            check(biggest > 9000, f"{what}: the largest encapsulated packet was {biggest} bytes")
            header = 52 if ":" not in vip else 72
            least, most = size + 4 + header * (packets - again - 8), size + (header + 1460) * (packets + again)
            check(least <= bytes_ <= most, f"{what}: {bytes_} bytes counted for {size} in {packets} packets")
            sock.close()
            duet("vip", "del", "mux0", "all")
    capture.close()


@test
def no_offloads():
    """the same without offloads: checksums are whole, nothing is lost"""
    net, size = world(), 1 << 18
    offload("c", "c0", False)
    try:
        for vip, family in ALL:
            net.vip([dip(1, family)], vip)
            sock = net.connect(vip)
            _, came, sent, again = net.bulk(sock, size)
            check(sent - again <= came <= sent, f"{name_of(vip, family)}: {sent} segments left, {came} came")
            sock.close()
            duet("vip", "del", "mux0", "all")
    finally:
        offload("c", "c0", True)


@test
def large_datagrams():
    """60,000-byte datagrams: all fragments to one host, or dropped and counted, by the VIP's policy; too large without DF refused, by policy"""
    net = world()
    for vip, family in ALL:
        net.vip([dip(n, family) for n in range(1, 5)], vip, fragments="hash")
        net.echoed(60000, vip)
        net.vip([dip(n, family) for n in range(1, 5)], vip, fragments="drop")
        before = verdicts()["fragment"]
        sock, data = net.datagram(60000, vip)
        sock.send(data)
        until(lambda: verdicts()["fragment"] >= before + 40, f"{name_of(vip, family)}: the fragments are counted")  # pylint: disable=cell-var-from-loop
        sock.close()
        duet("vip", "del", "mux0", "all")
    net.vip([dip(1)], VIP, oversize="fragment")
    net.echoed(1472, VIP, pmtu=IP_PMTUDISC_DONT)
    net.vip([dip(1)], VIP, oversize="refuse")
    before = verdicts()["too-big"]
    sock, data = net.datagram(1472, VIP, pmtu=IP_PMTUDISC_DONT)
    sock.send(data)
    until(lambda: verdicts()["too-big"] == before + 1, "one that doesn't fit is refused")
    sock.close()


@test
def path_mtu_first_hop():
    """PMTU through the VIP: a small MTU on the mux's own link; the client adapts and the transfer completes"""
    net = world()
    batch("m", f"route add {dip(1)}/32 dev br0 mtu 1400\nroute add {dip(1, 6)}/128 dev br0 mtu 1400\n")
    try:
        for vip, family in ALL:
            batch("c", "route flush cache\n")
            run("ip", "-n", "c", "-6", "route", "flush", "cache")
            net.vip([dip(1, family)], vip)
            before = verdicts()["too-big"]
            sock = net.connect(vip)
            net.bulk(sock, 1 << 19)
            equal(tcp_info(sock, TCP_INFO_PMTU), 1400 - (20 if family == 4 else 40), f"{name_of(vip, family)}: MTU that the client learnt")
            check(verdicts()["too-big"] > before, "too big is counted")
            sock.close()
            duet("vip", "del", "mux0", "all")
    finally:
        batch("m", f"route del {dip(1)}/32\nroute del {dip(1, 6)}/128\n")


@test
def path_mtu_far():
    """PMTU through the VIP: a small MTU behind a router in the tunnel; its errors are translated, the transfer completes"""
    net = world()
    net.far_away(1400)
    duet("port", "add", "mux0", "br0")
    for vip, family in ALL:
        batch("m", "route flush cache\n")
        batch("c", "route flush cache\n")
        for ns in ("c", "m"):
            run("ip", "-n", ns, "-6", "route", "flush", "cache")
        net.vip([far(family)], vip)
        before = verdicts()["outer-error"]
        sock = net.connect(vip)
        net.bulk(sock, 1 << 19)
        equal(tcp_info(sock, TCP_INFO_PMTU), 1400 - (20 if family == 4 else 40), f"{name_of(vip, family)}: MTU that the client learnt")
        check(verdicts()["outer-error"] > before, f"{name_of(vip, family)}: the router's error is counted")
        sock.close()
        duet("vip", "del", "mux0", "all")


@test
def answers_go_straight():
    """replies never pass the mux, the VIP is their source"""
    net = world()
    capture = watch("m", "br0")
    for vip in (VIP, VIP6):
        net.vip([dip(n) for n in range(1, 6)], vip)
        before = verdicts()
        names = {net.ask(net.connect(vip)) for _ in range(20)}
        check(len(names) > 1, f"all connections at {names}")
        check(verdicts()["encap"] - before["encap"] >= 60, "requests go through the mux")
        # the last thing that br0 sees of this: whatever was there before has been seen
        run("ip", "netns", "exec", "m", "ping", "-c", "1", "-W", "20", dip(1))
        frames = receive(capture, lambda f: address_in(f, vip), seconds=0.5)  # pylint: disable=cell-var-from-loop
        equal(len(frames), 0, f"replies from {vip} seen by the mux's host")
    capture.close()


def exchange(net, conns, gone=()):
    """Every connection answers, and from the same host as ever."""
    for sock, name in conns:
        if name not in gone:
            equal(net.ask(sock), name, "host of a connection")


@test
def connections_are_kept():
    """an smux keeps every connection where it is: DIP added, another removed, down, drained, set replaced, VIP replaced"""
    net = world("smux")
    for vip in (VIP, VIP6):
        four = [dip(n) for n in range(1, 5)]
        net.vip(four, vip)
        conns = [(s, net.ask(s)) for s in (net.connect(vip) for _ in range(16))]
        names = {n for _, n in conns}
        check(len(names) >= 3, f"all connections at {names}")
        net.vip(four + [dip(5)], vip)
        exchange(net, conns)
        net.vip([{"address": d, "weight": w} for d, w in zip(four + [dip(5)], (1, 9, 2, 7, 3))], vip)
        exchange(net, conns)
        duet("dip", "set", "mux0", dip(4), "drain")
        exchange(net, conns)
        new = {net.ask(net.connect(vip)) for _ in range(12)}
        check("h4" not in new, "a new connection at a DIP that drains")
        duet("dip", "set", "mux0", dip(4), "up")
        duet("dip", "set", "mux0", dip(3), "down")
        exchange(net, conns, gone=("h3",))
        duet("dip", "set", "mux0", dip(3), "up")
        exchange(net, conns, gone=("h3",))
        net.vip([dip(1), dip(2), dip(4), dip(5)], vip)
        exchange(net, conns, gone=("h3",))
        net.vip([dip(1), dip(2), dip(4), dip(5)], vip, fragments="hash", all_down="reject")
        exchange(net, conns, gone=("h3",))
        net.vip([dip(2), dip(1), dip(5), dip(4), dip(3)], vip)
        exchange(net, conns, gone=("h3",))
        for sock, _ in conns:
            sock.close()
        duet("vip", "del", "mux0", vip)
    check(duet_json("dev", "show", "mux0")[0]["flows"]["hits"] > 0, "the flow table was asked")


@test
def hmux_keeps_connections():
    """an hmux, with no state: a DIP down and up again leaves the others' connections alone, and a move to another mux all"""
    net = world("hmux")
    five = [dip(n) for n in range(1, 6)]
    net.vip(five)
    conns = [(s, net.ask(s)) for s in (net.connect() for _ in range(16))]
    duet("dip", "set", "mux0", dip(2), "down")
    exchange(net, conns, gone=("h2",))
    duet("dip", "set", "mux0", dip(2), "up")
    exchange(net, conns)
    # the VIP moves to another mux with the same set: mux1 takes the port over
    batch("m", "link add mux1 type duet\nlink set mux1 up\n")
    duet("dev", "set", "mux1", "mode", "smux", "key", f"{7:032x}", "local", "10.2.0.1")
    duet("vip", "set", "mux1", VIP, "dip", *reversed(five))
    duet("port", "del", "mux0", "c0m")
    duet("port", "add", "mux1", "c0m")
    exchange(net, conns)
    check(verdicts("mux1")["encap"] > 0, "the other mux did it")
    batch("m", "link del mux1\n")
    for sock, _ in conns:
        sock.close()


@test
def vlan_port():
    """a VLAN device is a port; the device below is not, for tagged packets"""
    net = world()
    batch("m", "link add link c0m name c0m.7 type vlan id 7\naddr add 10.7.0.1/24 dev c0m.7\nlink set c0m.7 up\n")
    batch("c", "link add link c0 name c0.7 type vlan id 7\naddr add 10.7.0.2/24 dev c0.7\nlink set c0.7 up\n"
          "route replace 203.0.113.0/24 via 10.7.0.1 src 10.1.0.2\n")
    try:
        net.vip([dip(n) for n in range(1, 5)])
        sock, data = net.datagram(100)
        sock.send(data)
        run("ip", "netns", "exec", "c", "ping", "-c", "1", "-W", "20", "10.7.0.1")
        equal(verdicts()["encap"], 0, "tagged packets taken at the device below")
        duet("port", "add", "mux0", "c0m.7")
        sock = net.connect()
        net.bulk(sock, 1 << 19)
        check(verdicts()["encap"] > 0, "tagged packets taken at the VLAN device")
        sock.close()
    finally:
        batch("c", "route replace 203.0.113.0/24 via 10.1.0.1\nlink del c0.7\n")
        batch("m", "link del c0m.7\n")
    equal(duet_json("dev", "show", "mux0")[0]["ports"], ["c0m"], "ports after the VLAN device is gone")


@test
def bond_port():
    """a bond is a port, whichever member packets come by, and connections survive the loss of one"""
    net = world()
    batch("m", "link add bond0 type bond mode balance-rr miimon 100\n"
          "link add b1m type veth peer name b1 netns c\nlink add b2m type veth peer name b2 netns c\n"
          "link set b1m master bond0\nlink set b2m master bond0\n"
          "addr add 10.8.0.1/24 dev bond0\nlink set bond0 up\nlink set b1m up\nlink set b2m up\n")
    batch("c", "link add bond0 type bond mode balance-rr miimon 100\nlink set b1 master bond0\nlink set b2 master bond0\n"
          "addr add 10.8.0.2/24 dev bond0\nlink set bond0 up\nlink set b1 up\nlink set b2 up\n"
          "route replace 203.0.113.0/24 via 10.8.0.1 src 10.1.0.2\n")
    try:
        duet("port", "add", "mux0", "bond0")
        net.vip([dip(n) for n in range(1, 5)])
        conns = [(s, net.ask(s)) for s in (net.connect() for _ in range(6))]
        batch("m", "link set b1m down\n")
        exchange(net, conns)
        check(verdicts()["encap"] >= 24, "packets taken at the bond")
        for sock, _ in conns:
            sock.close()
    finally:
        batch("c", "route replace 203.0.113.0/24 via 10.1.0.1\nlink del bond0\n")
        batch("m", "link del bond0\nlink del b1m\nlink del b2m\n")


if __name__ == "__main__":
    try:
        main()
    finally:
        for left in WORLD:
            left.stop()
