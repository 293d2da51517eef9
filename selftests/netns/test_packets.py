#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""The golden packets of selftests/packets, one by one, through the module.

One topology serves all cases; what differs between neighbours is set, and
nothing else. A case's packet is followed by a marker, a packet of no VIP: when
that one is through, everything that the first one caused has been seen, so
nothing waits for time to pass, and "no answer" is a fact. (All is sent from
one CPU: veth queues in order there.)

      c (client)                       m (mux)                           d (DIPs)
   10.1.0.2, 2001:db8:1::2  c0 -- c0m  10.1.0.1, 2001:db8:1::1
                                  d0m  10.2.0.1, 2001:db8:2::1 -- d0  10.2.0.11 ..., 2001:db8:2::11 ...

c and d have no addresses of their own: they only watch, and answer nothing.

usage: test_packets.py [--tool] [--smux] [CASE | TOPIC ...]
  --tool   VIPs are set by `duet vip set -f`, not by netlink: slower
  --smux   all cases in smux mode: the flow table must not make a difference
"""
import fcntl
import json
import os
import select
import socket
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import DUET, ETH_P_ALL, TOP, Failed, Net, batch, check, csum, inside, ip4, packet_socket, run, udp  # noqa: E402
from genl import Genl  # noqa: E402

sys.path.insert(0, os.path.join(TOP, "selftests", "packets"))
import packets  # noqa: E402 pylint: disable=wrong-import-position

SIOCSIFMTU = 0x8922
MARKER = "10.2.0.250"
GONE, MARKED = object(), object()
JUMBO = 65535


def dips():
    """Every address that a case may use as DIP, or as router towards the VIPs."""
    numbers = list(range(11, 51)) + [2]
    return [f"10.2.0.{n}" for n in numbers] + [MARKER], [f"2001:db8:2::{n}" for n in numbers]


class Wire(Net):
    """lib.Net's namespaces with both families, silent ends, and everything resolved."""

    def __init__(self, by_tool=False):  # pylint: disable=super-init-not-called
        self.by_tool = by_tool
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        self.remove()
        for ns in ("c", "m", "d"):
            run("ip", "netns", "add", ns)
        for ns in ("c", "d"):
            self.sysctl(ns, {"ipv6/conf/all/disable_ipv6": 1, "ipv6/conf/default/disable_ipv6": 1})
        self.sysctl("m", {"ipv4/ip_forward": 1, "ipv4/conf/all/rp_filter": 0, "ipv4/conf/default/rp_filter": 0, "ipv4/icmp_ratelimit": 0,
                          "ipv6/icmp/ratelimit": 0, "ipv6/conf/default/accept_dad": 0, "ipv6/conf/default/router_solicitations": 0,
                          "ipv6/conf/default/addr_gen_mode": 1, "ipv6/conf/all/forwarding": 1})
        batch("m", "link set lo up\n"
              f"link add c0m mtu {JUMBO} type veth peer name c0 mtu {JUMBO} netns c\n"
              f"link add d0m mtu 1500 type veth peer name d0 mtu {JUMBO} netns d\n"
              "addr add 10.1.0.1/24 dev c0m\naddr add 2001:db8:1::1/64 dev c0m nodad\nlink set c0m up\n"
              "addr add 10.2.0.1/24 dev d0m\naddr add 2001:db8:2::1/64 dev d0m nodad\nlink set d0m up\n"
              "link add mux0 type duet\nlink set mux0 up\n")
        batch("c", "link set c0 arp off up\n")
        batch("d", "link set d0 arp off up\n")
        self.c_mac, self.m_mac, self.d_mac = self.mac("c", "c0"), self.mac("m", "c0m"), self.mac("d", "d0")
        d4, d6 = dips()
        batch("m", "".join(f"neigh replace {a} lladdr {self.d_mac.hex(':')} dev d0m nud permanent\n" for a in d4 + d6)
              + "".join(f"neigh replace {a} lladdr {self.c_mac.hex(':')} dev c0m nud permanent\n" for a in ("10.1.0.2", "2001:db8:1::2"))
              # other clients and routers are behind the client; the VIPs have another way, for what the mux lets pass
              + "route add 198.51.100.0/24 via 10.1.0.2\nroute add 2001:db8:77::/64 via 2001:db8:1::2\n"
              "route add 203.0.113.0/24 via 10.2.0.2\nroute add 2001:db8:f::/64 via 2001:db8:2::2\n")
        self.duet("port", "add", "mux0", "c0m")
        self.ends = {"client": packet_socket("c", "c0", ETH_P_ALL), "dip": packet_socket("d", "d0", ETH_P_ALL)}
        with inside("m"):
            self.control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.genl = Genl("mux0")
        self.device, self.vips, self.mtu, self.marks, self.before = {}, None, 1500, 0, None
        self.refusals = set()

    @staticmethod
    def sysctl(ns, values):
        with inside(ns):
            for key, value in values.items():
                with open(f"/proc/sys/net/{key}", "w", encoding="ascii") as f:
                    f.write(str(value))

    @staticmethod
    def duet(*args, stdin=None):
        """The tool, without the price of `ip netns exec`."""
        with inside("m"):
            done = subprocess.run((DUET,) + args, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise Failed(f"duet {' '.join(args)}: {done.stderr.strip()}")
        return done.stdout

    def local(self, address):
        """A mux that can't have one of them yet is tried with the other: cases that need it fail by themselves."""
        try:
            self.duet("dev", "set", "mux0", "local", address)
        except Failed as error:
            if str(error) not in self.refusals:
                self.refusals.add(str(error))
                print(f"# {error}", flush=True)

    def configure(self, case):
        """Device, VIPs and MTU of a case; what the last one had already is left alone."""
        if case.mtu != self.mtu:
            fcntl.ioctl(self.control, SIOCSIFMTU, struct.pack("16sI12x", b"d0m", case.mtu))
            self.mtu = case.mtu
        if case.device == self.device and case.vips == self.vips:
            return
        self.before = self.vips = None
        self.genl.flush()
        if case.device != self.device:
            self.device = {}
            self.duet("dev", "set", "mux0", "mode", case.device["mode"], "key", f"{case.device['key']:032x}")
            if None in (case.device["local4"], case.device["local6"]):
                self.duet("dev", "set", "mux0", "local", "none")
            for key in ("local4", "local6"):
                if case.device[key]:
                    self.local(case.device[key])
            self.device = case.device
        if self.by_tool and case.vips:
            self.duet("vip", "set", "mux0", "-f", "-", stdin=json.dumps({"vips": case.vips}))
        for vip in case.vips if not self.by_tool else ():
            self.genl.vip_set(vip, packets.rule_key)
        self.vips = case.vips

    def counters(self):
        """Everything that counts packets: {what: (packets, bytes)}. Bytes of verdicts are left out: what a broken packet
        counts for is nobody's promise."""
        have = {("verdict", packets.VERDICTS[n]): (count, 0) for n, count in self.genl.verdicts().items() if n < len(packets.VERDICTS)}
        have.update(self.genl.vips())
        return have

    def send_frame(self, ethertype, packet):
        self.ends["client"].send(self.m_mac + self.c_mac + struct.pack("!H", ethertype) + packet)

    def arrived(self, end):
        """The next IP packet that was sent to this end, MARKED for the marker, GONE if there is none."""
        own = self.c_mac if end == "client" else self.d_mac
        while True:
            try:
                frame, sender = self.ends[end].recvfrom(70000)
            except BlockingIOError:
                return GONE
            if sender[2] == socket.PACKET_OUTGOING or frame[:6] != own or frame[12:14] not in (b"\x08\x00", b"\x86\xdd"):
                continue
            return MARKED if frame.endswith(b"marker %08d" % self.marks) else frame[14:]

    def exchange(self, ethertype, packet, seconds=10):
        """What a packet causes at both ends: [(end, packet)]."""
        self.marks += 1
        got, end, marked = [], time.monotonic() + seconds, False
        self.send_frame(ethertype, packet)
        self.send_frame(0x0800, ip4("10.1.0.2", MARKER, 17, udp("10.1.0.2", MARKER, 9, 9, b"marker %08d" % self.marks)))
        while not marked:
            check(time.monotonic() < end, "the marker behind the packet was lost")
            select.select(list(self.ends.values()), [], [], 0.5)
            for name in self.ends:
                while (one := self.arrived(name)) is not GONE:
                    marked = marked or one is MARKED
                    if one is not MARKED:
                        got.append((name, one))
        # what went to the client before the marker went to d is there as well
        while (one := self.arrived("client")) is not GONE:
            got.append(("client", one))
        return got


def sums_wrong(packet):
    """A masked ID hides the header checksum from the comparison; it has to be right all the same."""
    return packet[0] >> 4 == 4 and csum(packet[:(packet[0] & 15) * 4]) != 0


def same_datagram(parts):
    """Masked IDs of fragments: equal in all of a datagram, 0 in none."""
    ids = {p[4:6] if p[0] >> 4 == 4 else p[44:48] for p in parts}
    return len(ids) == 1 and any(ids.pop())


def any_label(mask):
    """The outer label is of the flow's hash: the cases say nothing of it, test_underlay does"""
    return mask[:1] + bytes([mask[1] & 0xf0]) + b"\0\0" + mask[4:]


def labels(packets_out):
    """What is wrong with the labels of outer IPv6 headers: RFC 6438, one for a flow, and never 0"""
    found = {int.from_bytes(p[1:4], "big") & 0xfffff for p in packets_out if p[0] >> 4 == 6}
    return [f"outer flow labels: {found}"] if len(found) > 1 or 0 in found else []


def compare(case, got):
    """Packets that came against packets wanted: what is wrong, as lines."""
    wrong, left = [], list(got)
    for port, want, mask in case.out:
        if case.verdict == "encap" and port == "dip" and want[0] >> 4 == 6:
            mask = any_label(mask)
        hit = next((g for g in left if g[0] == port and packets.matches(g[1], want, mask)), None)
        if hit:
            left.remove(hit)
            continue
        near = next((g for g in left if g[0] == port), None)
        if near is None:
            wrong.append(f"to {port}: nothing came, want: " + "; ".join(packets.show(want)))
            continue
        left.remove(near)
        wrong += [f"to {port}: {line}" for line in packets.differences(near[1], want, mask)]
    wrong += [f"to {port}: came and isn't wanted: " + "; ".join(packets.show(packet)) for port, packet in left]
    wrong += [f"to {port}: wrong header checksum" for port, packet in got if sums_wrong(packet)]
    sent = [packet for port, packet in got if port == "dip"]
    if case.verdict == "encap":
        wrong += labels(sent)
        if len(sent) > 1 and not same_datagram(sent):
            wrong.append("outer fragments are not of one datagram")
    return wrong


def expected(case):
    """Counters that move, by how much. The marker is a packet of no VIP."""
    want = {("verdict", "pass"): (1, 0)}
    want[("verdict", case.verdict)] = (2 if case.verdict == "pass" else 1, 0)
    if case.counts:
        vip, rule, dip, size = case.counts
        want[(vip, None)] = want[(vip, packets.rule_key(case.vips[case.vip]["rules"][rule]), dip)] = (1, size)
    return want


def try_case(wire, case):
    """Run one case; what is wrong with it, as lines."""
    try:
        wire.configure(case)
        before = wire.before or wire.counters()
        wire.before = None
        got = wire.exchange(case.ethertype, case.packet)
        after = wire.before = wire.counters()
    except (Failed, OSError, ValueError) as error:
        return [str(error)]
    wrong = compare(case, got)
    want, none = expected(case), (0, 0)
    for key in list(after) + [k for k in want if k not in after]:
        moved = tuple(a - b for a, b in zip(after.get(key, none), before.get(key, none)))
        if moved != want.get(key, none):
            wrong.append(f"{key}: counted {moved}, want {want.get(key, none)} packets and bytes")
    return wrong


def main():
    only = set(sys.argv[1:]) - {"--tool", "--smux"}
    cases = [c for c in packets.load() if not only or c.name in only or c.topic in only]
    for case in cases:
        if "--smux" in sys.argv:
            case.device["mode"] = "smux"
    print(f"1..{len(cases)}", flush=True)
    wire, failed, started = Wire("--tool" in sys.argv), 0, time.monotonic()
    # neighbours with the same configuration cost one
    order = {}
    for case in cases:
        order.setdefault(json.dumps([case.device, case.mtu, case.vips], sort_keys=True), []).append(case)
    number = 0
    for group in sorted(order.items(), key=lambda g: g[0]):
        for case in group[1]:
            number += 1
            wrong = try_case(wire, case)
            for line in wrong[:12]:
                print(f"# {line[:400]}")
            if wrong:
                failed += 1
                print(f"# {case.why}")
            print(f"{'not ok' if wrong else 'ok'} {number} - {case.topic}/{case.name}", flush=True)
    took = time.monotonic() - started
    print(f"# {len(cases)} cases, {failed} failed, {1000 * took / max(1, len(cases)):.0f} ms each", flush=True)
    Net.remove()
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
