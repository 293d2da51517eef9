#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""The mux as a link: what rtnetlink is told and tells, and what the stack and AF_PACKET put into it."""
import errno
import json
import os
import socket
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import *  # noqa: E402,F403 pylint: disable=wildcard-import,unused-wildcard-import
from lib import CLIENT, ETH_P_ALL, ETH_P_IP, VIP, Failed, Net, batch, check, dip, drain, duet, duet_json, equal, inside, ip4, is_ipip, main
from lib import outer_dst, receive, refused, run, test, udp, until, verdicts
from genl import C, NLM_F_ACK, SOL_NETLINK, Refused, attr, attrs, nest, nested  # noqa: E402

RTM_NEWLINK, RTM_GETLINK, NLM_F_CREATE, NLM_F_EXCL = 16, 18, 0x400, 0x200
IFLA_ADDRESS, IFLA_IFNAME, IFLA_LINKINFO, IFLA_INFO_KIND, IFLA_INFO_DATA = 1, 3, 18, 1, 2
NETLINK_EXT_ACK = 11


class Route:
    """rtnetlink of a namespace, by hand."""

    def __init__(self, ns):
        with inside(ns):
            self.s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
        self.s.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
        self.s.bind((0, 0))

    def link(self, kind, name, *parts, flags=0):
        body = struct.pack("BxHiII", 0, 0, 0, 0, 0) + attr(IFLA_IFNAME, name.encode() + b"\0") + b"".join(parts)
        self.s.send(struct.pack("IHHII", 16 + len(body), kind, 1 | NLM_F_ACK | flags, 1, 0) + body)
        answer = None
        while True:
            data = self.s.recv(1 << 18)
            size, kind, flags = struct.unpack("IHH", data[:8])
            if kind != 2:	# NLMSG_ERROR
                answer = dict(attrs(data[32:size]))
                continue
            error = struct.unpack("i", data[16:20])[0]
            if not error:
                return answer
            at = 20 if flags & 0x100 else 20 + struct.unpack("I", data[20:24])[0]	# NLM_F_CAPPED: the header only
            told = dict(attrs(data[36 if flags & 0x100 else at:size])) if flags & 0x200 else {}
            raise Refused("link", -error, told.get(1, b"").rstrip(b"\0").decode())

    def add(self, name, *data, more=()):
        return self.link(RTM_NEWLINK, name, *more, nested(IFLA_LINKINFO, attr(IFLA_INFO_KIND, b"duet\0"), nested(IFLA_INFO_DATA, *data)),
                         flags=NLM_F_CREATE | NLM_F_EXCL)

    def data(self, name):
        info = nest(self.link(RTM_GETLINK, name)[IFLA_LINKINFO])
        equal(info[IFLA_INFO_KIND], b"duet\0", "kind")
        return nest(info[IFLA_INFO_DATA])


def number(name, value):
    return attr(name, struct.pack("I", value))


@test
def info_data():
    """a link is made in a mode, and tells what it is; nothing else is taken there, and each refusal has a sentence"""
    Net()
    route = Route("m")
    route.add("mux1", number("IFLA_DUET_MODE", C["DUET_MODE_SMUX"]))
    route.add("mux2", number("IFLA_DUET_MODE", C["DUET_MODE_HMUX"]))
    route.add("mux3")
    equal([duet_json("dev", "show", f"mux{n}")[0]["mode"] for n in (1, 2, 3)], ["smux", "hmux", "hmux"], "modes")
    equal(duet_json("dev", "show", "mux1")[0]["limits"]["vips"], 0, "limits of an smux")
    check(duet_json("dev", "show", "mux1")[0]["flows"]["max"] > 0, "an smux has a flow table")
    duet("dev", "set", "mux1", "local", "192.0.2.1")
    duet("dev", "set", "mux1", "local", "2001:db8::1")
    duet("vip", "set", "mux1", VIP, "dip", dip(1))
    duet("port", "add", "mux1", "d0m")
    told = {C["IFLA_DUET_MODE"]: struct.pack("I", 1), C["IFLA_DUET_LOCAL4"]: socket.inet_aton("192.0.2.1"),
            C["IFLA_DUET_LOCAL6"]: socket.inet_pton(socket.AF_INET6, "2001:db8::1"), C["IFLA_DUET_PORTS"]: struct.pack("I", 1),
            C["IFLA_DUET_VIPS"]: struct.pack("I", 1), C["IFLA_DUET_TOS"]: bytes([1]), C["IFLA_DUET_SPREAD4"]: b"\x20"}
    equal(route.data("mux1"), told, "IFLA_INFO_DATA of mux1")
    duet("dev", "set", "mux1", "link", "c0m", "fwmark", "0x29", "tos", "0x28", "spread", "30")
    index = json.loads(run("ip", "-n", "m", "-j", "link", "show", "c0m")[1])[0]["ifindex"]
    told |= {C["IFLA_DUET_LINK"]: struct.pack("I", index), C["IFLA_DUET_MARK"]: struct.pack("I", 0x29), C["IFLA_DUET_TOS"]: b"\x28",
             C["IFLA_DUET_SPREAD4"]: b"\x1e"}
    equal(route.data("mux1"), told, "IFLA_INFO_DATA of mux1 with all settings")
    zero = struct.pack("I", 0)
    equal(route.data("mux3"), {C["IFLA_DUET_MODE"]: zero, C["IFLA_DUET_PORTS"]: zero, C["IFLA_DUET_VIPS"]: zero, C["IFLA_DUET_TOS"]: b"\1",
                               C["IFLA_DUET_SPREAD4"]: b"\x20"}, "IFLA_INFO_DATA of mux3")
    equal(json.loads(run("ip", "-n", "m", "-d", "-j", "link", "show", "mux1")[1])[0]["linkinfo"]["info_kind"], "duet", "what ip says")
    for data, more, error, words in (([number("IFLA_DUET_MODE", 7)], (), errno.ERANGE, ""),
                                     ([attr("IFLA_DUET_LOCAL4", b"\x0a\0\0\1")], (), errno.EINVAL, ""),
                                     ([], [attr(IFLA_ADDRESS, b"\2\0\0\0\0\1")], errno.EINVAL, "link-layer")):
        try:
            route.add("mux9", *data, more=more)
        except Refused as e:
            equal(e.errno, error, f"error of {data} {more}")
            check(e.sentence and words in e.sentence, f"{data}: the sentence {e.sentence!r}")
        else:
            raise Failed(f"a link with {data} {more} is made")
    try:
        route.link(RTM_NEWLINK, "mux3", nested(IFLA_LINKINFO, attr(IFLA_INFO_KIND, b"duet\0"), nested(IFLA_INFO_DATA, number("IFLA_DUET_MODE", 1))))
    except Refused as e:
        check("duet dev set" in e.sentence, f"a change by rtnetlink: {e.sentence!r}")
    else:
        raise Failed("a change by rtnetlink is taken")
    duet("dev", "add", "mux4", "mode", "smux")
    duet("dev", "add", "mux5")
    equal([duet_json("dev", "show", f"mux{n}")[0]["mode"] for n in (4, 5)], ["smux", "hmux"], "modes by the tool")
    refused("m", "dev", "add", "mux4", because="mux4")
    for n in (1, 2, 3, 4, 5):
        run("ip", "-n", "m", "link", "del", f"mux{n}")


@test
def quiet():
    """a mux has no address of its own, and nothing goes into it by itself"""
    net = Net()
    net.vip([dip(1)])
    batch("m", "link set mux0 down\nlink set mux0 up\n")
    # as long as it takes a link with an address to have it
    batch("m", "link add dummy0 type dummy\nlink set dummy0 up\n")
    until(lambda: "fe80" in run("ip", "-n", "m", "-6", "addr", "show", "dev", "dummy0")[1], "an address of another link")
    equal(run("ip", "-n", "m", "-6", "addr", "show", "dev", "mux0")[1], "", "IPv6 addresses of mux0")
    equal({k: v for k, v in verdicts().items() if v}, {}, "packets of mux0")


@test
def af_packet():
    """a packet that AF_PACKET puts into the device is forwarded: raw or not, with its protocol named or not"""
    net = Net()
    net.vip([dip(1)])
    packet = ip4(CLIENT, VIP, 17, udp(CLIENT, VIP, 4711, 53))
    for kind in (socket.SOCK_RAW, socket.SOCK_DGRAM):
        for proto in (ETH_P_IP, ETH_P_ALL, 0):
            if kind == socket.SOCK_DGRAM and proto != ETH_P_IP:
                continue	# who builds no header says what follows it
            with inside("m"):
                s = socket.socket(socket.AF_PACKET, kind, 0)
                s.bind(("mux0", proto))
            drain(net.d)
            if kind == socket.SOCK_DGRAM:
                s.sendto(packet, ("mux0", proto))
            else:
                s.send(packet)
            got = receive(net.d, is_ipip, seconds=5)
            check(got and outer_dst(got[0]) == dip(1), f"AF_PACKET, type {kind}, protocol {proto:#x}: {verdicts()}")
            s.close()
    # what is no packet at all is dropped
    with inside("m"):
        s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        s.bind(("mux0", ETH_P_ALL))
        for junk in (b"\0", b"\x45", packet[:19], b"\xf0" * 40):
            s.send(junk)
    equal(net.exchange(packet) is not None, True, "a packet through the port afterwards")


def send_to(net, mac, packet):
    """From c to another MAC address; the DIP it comes out at, or None."""
    drain(net.d)
    net.c.send(mac + net.c_mac + b"\x08\x00" + packet)
    got = receive(net.d, is_ipip, seconds=3)
    return outer_dst(got[0]) if got else None


@test
def members():
    """a member of a bridge or bond is no port, nor becomes a port one; the sentence names the right device, and that works"""
    net = Net()
    net.vip([dip(1)])
    packet = ip4(CLIENT, VIP, 17, udp(CLIENT, VIP, 4712, 53))
    generation = duet_json("dev", "show", "mux0")[0]["generation"]
    batch("m", "link add br0 type bridge\nlink set br0 up\nlink add bond0 type bond\nlink add red type vrf table 100\nlink set red up\n"
          "link add one type dummy\nlink add two type dummy\nlink set one master br0\nlink set two master bond0\n")
    refused("m", "port", "add", "mux0", "one", because="br0")
    refused("m", "port", "add", "mux0", "two", because="bond0")
    for master in ("br0", "bond0"):
        batch("m", "link set c0m down\n")
        status, _, err = run("ip", "-n", "m", "link", "set", "c0m", "master", master, ok=False)
        check(status and "mux0" in err and master in err, f"a port becomes a member of {master}: {err.strip()!r}")
    equal(duet_json("dev", "show", "mux0")[0]["generation"], generation, "generation")
    batch("m", "link set c0m up\n")
    # a VRF's member is one
    batch("m", "link set c0m master red\n")
    equal(send_to(net, net.m_mac, packet), dip(1), "a packet by a port in a VRF")
    batch("m", "link set c0m nomaster\n")
    # the right device takes what comes for its own address by any member
    duet("port", "del", "mux0", "c0m")
    batch("m", "link set br0 address 02:00:00:00:01:01\nlink set c0m master br0\n")
    duet("port", "add", "mux0", "br0")
    # a bridge forwards what its member got only when it has seen the member's carrier
    until(lambda: send_to(net, bytes.fromhex("020000000101"), packet) == dip(1), "a packet for the bridge's address is taken")
    duet("port", "del", "mux0", "br0")


@test
def vrrp():
    """a macvlan above a port: said, and a port of its own, for its own address"""
    net = Net()
    net.vip([dip(1)])
    packet = ip4(CLIENT, VIP, 17, udp(CLIENT, VIP, 4713, 53))
    vrrp_mac = bytes.fromhex("00005e000107")
    batch("m", f"link add vrrp7 link c0m address {vrrp_mac.hex(':')} type macvlan mode private\nlink set vrrp7 up\n")
    duet("port", "del", "mux0", "c0m")
    err = duet("port", "add", "mux0", "c0m")[2]
    check("vrrp7" in err and "c0m" in err, f"no warning of the other address: {err!r}")
    duet("port", "add", "mux0", "vrrp7")
    equal([send_to(net, mac, packet) for mac in (vrrp_mac, net.m_mac)], [dip(1)] * 2, "packets for both addresses")
    duet("port", "del", "mux0", "c0m")
    equal(duet("port", "add", "mux0", "c0m")[2], "", "a warning when both are ports")


if __name__ == "__main__":
    main()
