#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""The transmit side: whatever an operator puts on the netdev that tunnels leave by sees every packet, and the neighbour is always the kernel's current one."""
import json
import os
import socket
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import *  # noqa: E402,F403 pylint: disable=wildcard-import,unused-wildcard-import
from lib import CLIENT, ETH_P_ALL, VIP, Net, batch, check, dip, drain, equal, inside, ip4, is_ipip, main
from lib import packet_socket, receive, run, test, udp, until, verdicts
from hosts import sysctl  # noqa: E402

PACKET = ip4(CLIENT, VIP, 17, udp(CLIENT, VIP, 4242, 53))


def arrives(net, count=1):
    """Frames at d of the packets that c sends now; every one was counted as encapsulated."""
    drain(net.d)
    before = verdicts()["encap"]
    for _ in range(count):
        net.send(PACKET)
    until(lambda: verdicts()["encap"] >= before + count, "all packets are encapsulated")
    return receive(net.d, is_ipip, seconds=1, count=count)


def one_way(net):
    """A VIP with one DIP, and a first packet through it."""
    net.vip([dip(1)])
    equal(len(arrives(net)), 1, "frames with nothing on the netdev")


@test
def taps():
    """a tap on the netdev, or on all of them, sees each outer frame once"""
    net = Net()
    one_way(net)
    for dev in ("d0m", ""):
        tap = packet_socket("m", "d0m") if dev else any_tap("m")
        equal(len(arrives(net, 5)), 5, "frames under a tap")
        equal(len(receive(tap, is_ipip, seconds=2, count=6)), 5, f"frames that a tap on {dev or 'everything'} sees")
        tap.close()
    equal(len(arrives(net)), 1, "frames after the taps")


def any_tap(ns):
    with inside(ns):
        s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    s.setblocking(False)
    return s


@test
def egress_filters():
    """filters of tc and nftables at egress drop outer frames, from the first packet after they are there until the last before they go"""
    net = Net()
    one_way(net)
    run("tc", "qdisc", "add", "dev", "d0m", "clsact", inside="m")
    equal(len(arrives(net)), 1, "frames with an empty clsact")
    run("tc", "filter", "add", "dev", "d0m", "egress", "matchall", "action", "drop", inside="m")
    equal(len(arrives(net, 3)), 0, "frames past tc's drop")
    run("tc", "qdisc", "del", "dev", "d0m", "clsact", inside="m")
    equal(len(arrives(net)), 1, "frames after tc")
    run("nft", "add table netdev t; add chain netdev t c { type filter hook egress device d0m priority 0; }; "
        "add rule netdev t c ip protocol 4 drop", inside="m")
    equal(len(arrives(net, 3)), 0, "frames past nft's drop")
    run("nft", "delete table netdev t", inside="m")
    equal(len(arrives(net)), 1, "frames after nft")


@test
def queueing_disciplines():
    """a queueing discipline sees every frame; without one again, frames still come; several queues, too"""
    net = Net()
    one_way(net)
    run("tc", "qdisc", "add", "dev", "d0m", "root", "handle", "7:", "pfifo", inside="m")
    equal(len(arrives(net, 4)), 4, "frames by a discipline")
    sent = json.loads(run("tc", "-s", "-j", "qdisc", "show", "dev", "d0m", inside="m")[1])[0]["packets"]
    check(sent >= 4, f"the discipline counts {sent} packets")
    run("tc", "qdisc", "del", "dev", "d0m", "root", inside="m")
    equal(len(arrives(net)), 1, "frames after the discipline")
    # 8 queues, and a bond above a netdev, which chooses one by itself
    mac = net.mac("d", "d0").hex(":")
    batch("m", "link add x0 numtxqueues 8 numrxqueues 8 type veth peer name x1 netns d\n"
          "addr add 10.9.0.1/24 dev x0\nlink set x0 up\nneigh add 10.9.0.2 lladdr 02:00:00:00:00:09 dev x0\n"
          "link add bond0 type bond mode balance-rr\nlink add y0 type veth peer name y1 netns d\nlink set y0 master bond0\n"
          "addr add 10.10.0.1/24 dev bond0\nlink set bond0 up\nneigh add 10.10.0.2 lladdr 02:00:00:00:00:0a dev bond0\n")
    batch("d", "link set x1 up\nlink set y1 up\n")
    until(lambda: "LOWER_UP" in run("ip", "-n", "m", "link", "show", "bond0")[1], "the bond has a carrier")
    for dev, via in (("x1", "10.9.0.2"), ("y1", "10.10.0.2")):
        batch("m", f"route replace {dip(1)}/32 via {via}\n")
        there = packet_socket("d", dev)
        before = verdicts()["encap"]
        for port in range(20):
            net.send(ip4(CLIENT, VIP, 17, udp(CLIENT, VIP, 5000 + port, 53)))
        equal(len(receive(there, is_ipip, seconds=5, count=20)), 20, f"frames by {dev}")
        equal(verdicts()["encap"] - before, 20, "packets encapsulated")
        there.close()
    batch("m", f"route del {dip(1)}/32\nneigh replace {dip(1)} lladdr {mac} dev d0m nud permanent\n")
    equal(len(arrives(net)), 1, "frames by the first netdev again")


@test
def neighbours():
    """a neighbour's new address, a deleted neighbour, an IPv6 next hop: each packet has the header that the kernel would give it"""
    net = Net()
    one_way(net)
    every = packet_socket("d", "d0")

    def header():
        drain(every)
        net.send(PACKET)
        frame = receive(every, is_ipip, seconds=5)[0]
        return frame[:6].hex(":"), frame[6:12], frame[12:14]

    mac, own = net.mac("d", "d0").hex(":"), net.mac("m", "d0m")
    equal(header(), (mac, own, b"\x08\x00"), "header")
    for new in ("02:00:00:00:00:01", "02:00:00:00:00:02"):
        batch("m", f"neigh replace {dip(1)} lladdr {new} dev d0m nud permanent\n")
        equal(header()[0], new, "address of the neighbour")
    batch("m", f"neigh del {dip(1)} dev d0m\n")
    equal(header()[0], mac, "address that was resolved again")
    until(lambda: "REACHABLE" in run("ip", "-n", "m", "neigh", "show", dip(1))[1], "the neighbour is reachable")
    equal(header()[0], mac, "address of a reachable neighbour")
    # another MAC address of the netdev
    batch("m", "link set d0m down\nlink set d0m address 02:00:00:00:00:77\nlink set d0m up\n"
          f"neigh replace {dip(1)} lladdr {mac} dev d0m nud permanent\n")
    equal(header()[1].hex(":"), "02:00:00:00:00:77", "source address of the frame")
    # BGP unnumbered: an IPv4 route by an IPv6 next hop
    batch("m", f"neigh replace fe80::9 lladdr 02:00:00:00:00:09 dev d0m nud permanent\nroute add {dip(1)}/32 via inet6 fe80::9 dev d0m\n")
    equal(header(), ("02:00:00:00:00:09", bytes.fromhex("020000000077"), b"\x08\x00"), "header by an IPv6 next hop")
    batch("m", f"route replace {dip(1)}/32 via 10.2.0.2 dev d0m\nneigh replace 10.2.0.2 lladdr 02:00:00:00:00:0a dev d0m nud permanent\n")
    equal(header()[0], "02:00:00:00:00:0a", "address of an IPv4 gateway")
    batch("m", f"route del {dip(1)}/32\n")
    equal(header()[0], mac, "address of the DIP itself")


@test
def dead_neighbour():
    """once a DIP's neighbour failed, packets count as no-route until it answers; then they are encapsulated again"""
    net = Net()
    sysctl("m", ipv4__neigh__d0m__retrans_time_ms=100, ipv4__neigh__d0m__mcast_solicit=2, ipv4__icmp_ratelimit=0)
    dead = "10.2.0.222"
    net.vip([dead])
    os.sched_setaffinity(0, {0})	# each processor remembers for itself that the neighbour failed
    net.send(PACKET)
    until(lambda: "FAILED" in run("ip", "-n", "m", "neigh", "show", dead)[1], "the neighbour failed", 20)
    was = verdicts()
    for _ in range(20):
        net.send(PACKET)
    until(lambda: verdicts()["no-route"] == was["no-route"] + 20, "packets to a neighbour that failed count as no-route")
    equal(verdicts()["encap"], was["encap"], "encapsulated meanwhile")
    batch("d", f"addr add {dead}/24 dev d0\n")

    def back():
        drain(net.d)
        net.send(PACKET)
        return receive(net.d, is_ipip, seconds=0.2)
    until(back, "packets come again", 20)
    check(verdicts()["encap"] > was["encap"], "encapsulated again")


if __name__ == "__main__":
    main()
