#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""A mux is a router: what it answers, to whom and how often, and what it learns from other routers."""
import contextlib
import json
import os
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import *  # noqa: E402,F403 pylint: disable=wildcard-import,unused-wildcard-import
from lib import CLIENT, ETH_P_ALL, LOCAL, PATIENCE, VIP, Failed, Net, batch, check, csum, dip, drain, duet, duet_json, equal, inside, ip4, main
from lib import OUT, packet_socket, receive, run, tcp, test, udp, until, verdicts
from hosts import LOCAL6, VIP6, Hosts, far, sysctl  # noqa: E402

CLIENT6, DIP6, ROUTER6 = "2001:db8:1::2", "2001:db8:2::11", "2001:db8:2::2"
WORLD = []


def world(port="c0m"):
    if not WORLD:
        WORLD.append(Hosts(2))
    return WORLD[0].reset("hmux", port)


def both(mode="hmux"):
    """lib.Net with IPv6 on both sides, and no limits but those that a test sets."""
    net = Net(mode)
    sysctl("m", ipv6__conf__all__forwarding=1, ipv4__icmp_ratelimit=0, ipv6__icmp__ratelimit=0)
    for ns, dev, addr in (("m", "c0m", "2001:db8:1::1"), ("m", "d0m", LOCAL6), ("c", "c0", CLIENT6), ("d", "d0", ROUTER6)):
        batch(ns, f"addr add {addr}/64 dev {dev} nodad\n")
    mac = net.mac("d", "d0").hex(":")
    batch("m", f"neigh replace {DIP6} lladdr {mac} dev d0m nud permanent\nneigh replace {ROUTER6} lladdr {mac} dev d0m nud permanent\n"
          f"neigh replace {CLIENT6} lladdr {net.c_mac.hex(':')} dev c0m nud permanent\n")
    duet("dev", "set", "mux0", "local", LOCAL6)
    net.all_d = packet_socket("d", "d0", ETH_P_ALL)
    net.router_mac = net.mac("m", "d0m"), net.mac("d", "d0")
    return net


def ip6(src, dst, proto, payload, hop=64):
    return struct.pack("!IHBB", 0x60000000, len(payload), proto, hop) + socket.inet_pton(socket.AF_INET6, src) \
        + socket.inet_pton(socket.AF_INET6, dst) + payload


def icmp6(src, dst, kind, code, word, quoted):
    body = struct.pack("!BBHI", kind, code, 0, word) + quoted
    pseudo = socket.inet_pton(socket.AF_INET6, src) + socket.inet_pton(socket.AF_INET6, dst) + struct.pack("!II", len(body), 58)
    return body[:2] + struct.pack("!H", csum(pseudo + body)) + body[4:]


class Way:
    """The way to one DIP, 4 in 4 or 6 in 6: probed by packets of a length, told of by a router's errors."""

    def __init__(self, net, family):
        self.net, self.family, self.outer = net, family, 20 if family == 4 else 40
        self.dip, self.vip = (dip(1), VIP) if family == 4 else (DIP6, VIP6)
        net.vip([self.dip], self.vip)

    def packet(self, length):
        if self.family == 4:
            return ip4(CLIENT, VIP, 17, udp(CLIENT, VIP, 5000, 53, b"x" * (length - 28)))
        return ip6(CLIENT6, VIP6, 17, struct.pack("!HHHH", 5000, 53, length - 40, 0) + b"x" * (length - 48))

    def send(self, length):
        proto = b"\x08\x00" if self.family == 4 else b"\x86\xdd"
        self.net.c.send(self.net.m_mac + self.net.c_mac + proto + self.packet(length))

    def mtu(self, length=1460):
        """What the mux answers to a packet of this length; None: it was sent on."""
        drain(self.net.c)
        before = verdicts()
        self.send(length)
        now = until(lambda: (now := verdicts())["encap"] + now["too-big"] > before["encap"] + before["too-big"] and now, "the packet is counted")
        if now["encap"] > before["encap"]:
            return None
        return self.heard((3, 4) if self.family == 4 else (2, 0))[0]

    def heard(self, want, seconds=5):
        """(second word of the ICMP error that the client got, its source)."""
        at = 34 if self.family == 4 else 54
        proto = b"\x08\x00" if self.family == 4 else b"\x86\xdd"

        def match(frame):
            return frame[:6] == self.net.c_mac and frame[12:14] == proto and frame[at:at + 2] == bytes(want) \
                and frame[23 if self.family == 4 else 20] == (1 if self.family == 4 else 58)
        got = receive(self.net.c, match, seconds=seconds)
        check(got, f"the client heard nothing of type and code {want}")
        frame = got[0]
        source = socket.inet_ntoa(frame[26:30]) if self.family == 4 else socket.inet_ntop(socket.AF_INET6, frame[22:38])
        return struct.unpack("!I", frame[at + 4:at + 8])[0], source

    def too_big(self, mtu, local=LOCAL):
        """A router behind the mux says so, about a packet in the tunnel; what the client hears of it."""
        inner = self.packet(1400)[:self.outer + 8]
        drain(self.net.c)
        before = verdicts()["outer-error"]
        if self.family == 4:
            quoted = ip4(local, self.dip, 4, inner, length=1420)
            body = struct.pack("!BBHHH", 3, 4, 0, 0, mtu) + quoted
            packet = ip4("10.2.0.2", local, 1, body[:2] + struct.pack("!H", csum(body)) + body[4:])
        else:
            quoted = struct.pack("!IHBB", 0x60000000, 1400, 41, 63) + socket.inet_pton(socket.AF_INET6, LOCAL6) \
                + socket.inet_pton(socket.AF_INET6, DIP6) + inner
            packet = ip6(ROUTER6, LOCAL6, 58, icmp6(ROUTER6, LOCAL6, 2, 0, mtu, quoted))
        self.net.all_d.send(b"".join(self.net.router_mac) + (b"\x08\x00" if self.family == 4 else b"\x86\xdd") + packet)
        until(lambda: verdicts()["outer-error"] == before + 1, "the router's error is taken, and its interface is no port")
        return self.heard((3, 4) if self.family == 4 else (2, 0))[0]


def kernel_mtu(way):
    """What the kernel would use for the same destination."""
    route = json.loads(run("ip", "-n", "m", "-j", "route", "get", way.dip)[1])[0]
    metrics = route.get("metrics", [{}])[0] if isinstance(route.get("metrics"), list) else {}
    return metrics.get("mtu", 1500)


@test
def too_big_under_flood():
    """400 packets that don't fit are all answered though the machine's limit of ICMP is 10 a second, its own time exceeded too; one client is limited"""
    net = Net()
    net.vip([dip(1)])
    sysctl("m", ipv4__icmp_ratelimit=0)
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cpus)})		# each CPU has its own buckets
    try:
        with inside("m"):
            for name, value in (("icmp_msgs_per_sec", "10"), ("icmp_msgs_burst", "20")):
                with open(f"/proc/sys/net/ipv4/{name}", "w", encoding="ascii") as f:
                    f.write(value)

        def answers(count, source=CLIENT, at_once=50):
            drain(net.c)
            want, got = verdicts()["too-big"] + count, 0
            for n in range(count):
                net.send(ip4(source, VIP, 17, udp(source, VIP, 2000 + n, 53, b"x" * 1472)))
                if n % at_once == at_once - 1:
                    got += len(receive(net.c, needed, seconds=0.3, count=50))
            until(lambda: verdicts()["too-big"] == want, f"{count} packets are too big")
            return got + len(receive(net.c, needed, seconds=2, count=count - got))

        def needed(frame):
            return frame[12:14] == b"\x08\x00" and frame[23] == 1 and frame[34:36] == b"\x03\x04" and frame[:6] == net.c_mac
        answered = answers(400)
        print(f"# robust: pmtu_under_flood 400 {answered}")
        equal(answered, 400, "answers to 400 packets of one client")
        drain(net.c)
        for n in range(5):
            net.send(ip4(CLIENT, "10.2.0.2", 17, udp(CLIENT, "10.2.0.2", 3000 + n, 33434), ttl=1))
        got = receive(net.c, lambda f: f[12:14] == b"\x08\x00" and f[23] == 1 and f[34:36] == b"\x0b\x00", seconds=5, count=5)
        equal(len(got), 5, "the machine's own time exceeded to the same client")
        batch("m", "route add 198.51.100.0/24 via 10.1.0.2\n")
        # a client that doesn't listen: no more than a thousand at once, and a thousand a second
        start = time.monotonic()
        first = answers(6000, "198.51.100.7", 6000)
        most = 1000 + 1100 * (time.monotonic() - start)
        check(400 <= first <= most, f"{first} answers to 6000 packets of one client, {most:.0f} would be right")
        equal(answers(100, "198.51.100.8"), 100, "answers to another client meanwhile")
    finally:
        os.sched_setaffinity(0, cpus)
        with inside("m"):
            for name, value in (("icmp_msgs_per_sec", "1000"), ("icmp_msgs_burst", "50")):
                with open(f"/proc/sys/net/ipv4/{name}", "w", encoding="ascii") as f:
                    f.write(value)


@test
def other_errors_are_limited():
    """unreachable and time exceeded keep to net.ipv4.icmp_ratelimit for each client"""
    net = Net()
    net.vip(["192.0.2.9"])
    sysctl("m", ipv4__icmp_ratelimit=60000)
    for name, ttl, kind in (("no-route", 64, (3, 1)), ("ttl", 1, (11, 0))):
        batch("m", "route flush cache\n")
        source = f"10.1.0.{10 + ttl}"
        batch("m", f"neigh replace {source} lladdr {net.c_mac.hex(':')} dev c0m\n")
        drain(net.c)
        before = verdicts()[name]
        for n in range(30):
            net.send(ip4(source, VIP, 6, tcp(1000 + n, 80), ttl=ttl))
        until(lambda: verdicts()[name] == before + 30, f"30 packets are counted as {name}")  # pylint: disable=cell-var-from-loop
        got = receive(net.c, lambda f: f[12:14] == b"\x08\x00" and f[23] == 1 and f[34:36] == bytes(kind), seconds=1, count=30)  # pylint: disable=cell-var-from-loop
        # a bucket of six for each CPU
        check(1 <= len(got) <= 6 * os.cpu_count(), f"{len(got)} answers to 30 packets counted as {name}")


@test
def expired():
    """TTL 1 and hop limit 1 are answered, from the address that the kernel would take towards the client"""
    net = both()
    for family, source in ((4, "10.1.0.1"), (6, "2001:db8:1::1")):
        way = Way(net, family)
        drain(net.c)
        packet = bytearray(way.packet(100))
        if family == 4:
            packet = ip4(CLIENT, VIP, 17, bytes(packet[20:]), ttl=1)
        else:
            packet[7] = 1
        net.c.send(net.m_mac + net.c_mac + (b"\x08\x00" if family == 4 else b"\x86\xdd") + bytes(packet))
        equal(way.heard((11, 0) if family == 4 else (3, 0))[1], source, "source of the time exceeded")
        duet("vip", "del", "mux0", "all")
    equal(verdicts()["ttl"], 2, "packets whose TTL ran out")


@test
def unreachable():
    """no route to the DIP, and a DIP whose neighbour is dead: the client hears of both, from the VIP"""
    net = both()
    for ns in ("ipv4", "ipv6"):
        sysctl("m", **{f"{ns}__neigh__d0m__retrans_time_ms": 200, f"{ns}__neigh__d0m__mcast_solicit": 2})
    for family, nowhere, dead in ((4, "192.0.2.9", "10.2.0.222"), (6, "2001:db8:99::9", "2001:db8:2::222")):
        way = Way(net, family)
        for name, address in (("no-route", nowhere), ("outer-error", dead)):
            net.vip([address], way.vip)
            drain(net.c)
            before = verdicts()[name]
            way.send(100)
            equal(way.heard((3, 1) if family == 4 else (1, 3), 20)[1], way.vip, f"source of the answer, {name}")
            until(lambda: verdicts()[name] > before, f"counted as {name}")  # pylint: disable=cell-var-from-loop
        duet("vip", "del", "mux0", "all")


@test
def learned_mtu():
    """what a router said of the path is what the mux uses, like the kernel: after a flush, again, smaller, renewed, aged, another route, another device MTU"""
    net = both()
    for family in (4, 6):
        way = Way(net, family)
        flush = ["ip", "-n", "m"] + (["-6"] if family == 6 else []) + ["route", "flush", "cache"]
        check(way.mtu(1500 - way.outer) is None, "1500 bytes fit")
        equal(way.too_big(1400), 1400 - way.outer, "MTU that the client hears")
        equal(way.mtu(), 1400 - way.outer, "MTU learned")
        equal(kernel_mtu(way), 1400, "the kernel's")
        # flushed, a small packet, and again: the exception is there already, and filled in place
        run(*flush)
        check(way.mtu(100) is None, "a small packet fits")
        way.too_big(1400)
        equal((way.mtu(), kernel_mtu(way)), (1400 - way.outer, 1400), "MTU learned again after a flush")
        run(*flush)
        check(way.mtu(1500 - way.outer) is None, "after a flush nothing is known")
        way.too_big(1350)
        equal((way.mtu(), kernel_mtu(way)), (1350 - way.outer, 1350), "a smaller one")
        way.too_big(1300)
        equal((way.mtu(1290), kernel_mtu(way)), (1280, 1300), "a smaller one still, renewed in place")
        # it ages: in the kernel, and in the mux at the same time
        run(*flush)
        key = "ipv4__route__mtu_expires" if family == 4 else "ipv6__route__mtu_expires"
        sysctl("m", **{key: 1})
        check(way.mtu(100) is None, "a small packet fits")
        way.too_big(1400)
        until(lambda: way.mtu() is None, "the learned MTU ages", 20)  # pylint: disable=cell-var-from-loop
        sysctl("m", **{key: 600})
        way.too_big(1400)
        equal(way.mtu(), 1400 - way.outer, "MTU learned after it had aged")
        # another route, another device MTU
        bits, via = ("/32", "10.2.0.2") if family == 4 else ("/128", ROUTER6)
        batch("m", f"route add {way.dip}{bits} via {via} dev d0m mtu 1450\n")
        equal(way.mtu(), 1450 - way.outer, "MTU of another route")
        way.too_big(1380)
        equal(way.mtu(), 1380 - way.outer, "MTU learned on it")
        batch("m", f"route replace {way.dip}{bits} via {via} dev d0m mtu 1440\n")
        equal(way.mtu(), 1440 - way.outer, "MTU of the route that took its place")
        batch("m", f"route del {way.dip}{bits}\n")
        run(*flush)
        batch("m", "link set d0m mtu 1420\n")
        equal(way.mtu(), 1420 - way.outer, "MTU of the device")
        batch("m", "link set d0m mtu 1500\n")
        check(way.mtu() is None, "the device's MTU is back")
        duet("vip", "del", "mux0", "all")


def second_link():
    """Another netdev of the mux, x0, with a router of each family behind it; a socket that sees what goes there"""
    batch("m", "link add x0 type veth peer name x1 netns d\naddr add 10.9.0.1/24 dev x0\naddr add 2001:db8:9::1/64 dev x0 nodad\nlink set x0 up\n"
          "neigh add 10.9.0.2 lladdr 02:00:00:00:00:09 dev x0\nneigh add 2001:db8:9::2 lladdr 02:00:00:00:00:09 dev x0\n")
    batch("d", "link set x1 up\n")
    return packet_socket("d", "x1", ETH_P_ALL)


@test
def next_hop():
    """rules and routes that come and go: the mux sends where the kernel would, IPv6 rules within two seconds"""
    net, other = both(), second_link()
    for family, via, kind in ((4, "10.9.0.2", b"\x08\x00"), (6, "2001:db8:9::2", b"\x86\xdd")):
        way = Way(net, family)
        option = [] if family == 4 else ["-6"]
        run("ip", "-n", "m", *option, "route", "add", "default", "via", via, "dev", "x0", "table", "77")

        def there(way=way, kind=kind):
            drain(other)
            way.send(100)
            return bool(receive(other, lambda f: f[12:14] == kind and f[14 + (9 if kind == b"\x08\x00" else 6)] in (4, 41), seconds=0.3))
        check(not there(), "the packet goes by d0m")
        run("ip", "-n", "m", *option, "rule", "add", "to", way.dip, "lookup", "77")
        until(there, "the rule is seen", 5)
        run("ip", "-n", "m", *option, "rule", "del", "to", way.dip, "lookup", "77")
        until(lambda: not there(), "the rule is gone", 5)  # pylint: disable=cell-var-from-loop
        bits = 32 if family == 4 else 128
        run("ip", "-n", "m", *option, "route", "add", f"{way.dip}/{bits}", "via", via, "dev", "x0")
        check(there(), "a better route is seen at once")
        run("ip", "-n", "m", *option, "route", "del", f"{way.dip}/{bits}")
        check(not there(), "it is gone at once")
        duet("vip", "del", "mux0", "all")


@test
def other_errors_pass():
    """ICMP errors that are not about tunnels reach who they are for, and each of two muxes takes its own"""
    net = both()
    way = Way(net, 4)
    with inside("m"):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(20)
    sock.connect(("10.2.0.2", 9))
    sock.send(b"nobody listens")
    with contextlib.suppress(ConnectionRefusedError):
        sock.recv(10)
        raise Failed("the error about a socket's own packet didn't reach it")
    batch("m", "link add mux1 type duet\nlink set mux1 up\n")
    duet("dev", "set", "mux1", "local", LOCAL)
    duet("vip", "set", "mux1", "203.0.113.2", "dip", dip(2))
    way.too_big(1400)
    equal(verdicts("mux1")["outer-error"], 0, "errors that the other mux took")
    # and the last mux takes the hooks with it
    batch("m", "link del mux1\n")
    way.too_big(1390)
    batch("m", "link del mux0\n")
    sock.send(b"nobody listens")
    with contextlib.suppress(ConnectionRefusedError):
        sock.recv(10)
        raise Failed("the error about a socket's own packet didn't reach it, with no mux there")
    sock.close()


@test
def traced_martian():
    """`duet trace` names a martian"""
    net = Net()
    net.vip([dip(1)])
    for source in (VIP, LOCAL):
        equal(duet_json("trace", "mux0", f"{source}:1000", f"{VIP}:80", "tcp")["verdict"], "martian", f"verdict of {source}")
    equal(duet_json("trace", "mux0", f"{CLIENT}:1000", f"{VIP}:80", "tcp")["verdict"], "encap", "verdict of a client")


def ways_in(ports):
    """Ports of mux0 as said; where the client's side is none, a route leads into the device."""
    for port in ("c0m", "br0"):
        run("ip", "netns", "exec", "m", os.path.join(OUT, "bin", "duet"), "port", "del", "mux0", port, ok=False)
    for port in ports:
        duet("port", "add", "mux0", port)
    for option, vip, bits in ((), VIP, 32), (("-6",), VIP6, 128):
        run("ip", "-n", "m", *option, "route", "del", f"{vip}/{bits}", ok=False)
        if "c0m" not in ports:
            run("ip", "-n", "m", *option, "route", "add", f"{vip}/{bits}", "dev", "mux0")


@test
def narrow_path():
    """TCP, tracepath and mtr through a router with MTU 1400 behind the mux, with ports at the client's side, the other, both, none"""
    net = world()
    net.far_away(1400)
    for ports in (("c0m",), ("br0",), ("c0m", "br0"), ()):
        what = " ".join(ports) or "none"
        ways_in(ports)
        for vip, family in ((VIP, 4), (VIP6, 6)):
            for ns in ("c", "m"):
                run("ip", "-n", ns, "route", "flush", "cache")
                run("ip", "-n", ns, "-6", "route", "flush", "cache")
            net.vip([far(family)], vip)
            before = verdicts()["outer-error"]
            sock = net.connect(vip)
            net.bulk(sock, 1 << 18)
            sock.close()
            check(verdicts()["outer-error"] > before, f"ports {what}: the router's error about {vip} is taken")
            first = "10.1.0.1" if family == 4 else "2001:db8:1::1"
            run("ip", "-n", "c", "route", "flush", "cache")
            run("ip", "-n", "c", "-6", "route", "flush", "cache")
            if ports in (("c0m",), ()):
                out = run("ip", "netns", "exec", "c", "timeout", str(60 * PATIENCE), "tracepath", "-n", "-m", "6", vip)[1]
                check(f" {first} " in out, f"ports {what}: tracepath to {vip} doesn't show the mux:\n{out}")
                check(f"pmtu {1400 - (20 if family == 4 else 40)}" in out and "reached" in out, f"ports {what}: tracepath to {vip}:\n{out}")
                report = json.loads(run("ip", "netns", "exec", "c", "mtr", "-n", "--json", "-c", "1", "-m", "5", vip)[1])["report"]["hubs"]
                equal([h["host"] for h in report], [first, vip], f"ports {what}: hops that mtr shows to {vip}")
            duet("vip", "del", "mux0", vip)


if __name__ == "__main__":
    try:
        main()
    finally:
        for left in WORLD:
            left.stop()
