#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""duet-mux-agent's probes of DIPs, against servers played packet by packet at the other end of its port: what it sends is
what a mux's tunnel carries, every kind of answer is told apart, and what is no answer to this very probe isn't one."""
import os
import socket
import struct
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import muxlab  # noqa: E402
from lib import CLEANUP, check, equal, inside, main, run, test  # noqa: E402

LOCAL, VIP, TIMEOUT = "10.254.0.7", "203.0.113.1", 300
FIRST, PORTS = 61440, 512


def summed(data):
    total = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def ip(src, dst, proto, payload):
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 0, 0, 64, proto, 0, socket.inet_aton(src), socket.inet_aton(dst))
    return head[:10] + struct.pack("!H", summed(head)) + head[12:] + payload


def tcp(src, dst, sport, dport, seq, ack, flags):
    segment = struct.pack("!HHIIBBHHH", sport, dport, seq, ack, 0x50, flags, 1024, 0, 0)
    pseudo = socket.inet_aton(src) + socket.inet_aton(dst) + struct.pack("!HH", 6, len(segment))
    return segment[:16] + struct.pack("!H", summed(pseudo + segment)) + segment[18:]


def icmp(kind, code, rest):
    packet = struct.pack("!BBH", kind, code, 0) + rest
    return packet[:2] + struct.pack("!H", summed(packet)) + packet[4:]


def parse(packet):
    """(src, dst, protocol, payload); the checksum must be right"""
    size = (packet[0] & 15) * 4
    equal(summed(packet[:size]), 0, "checksum of an IP header")
    return socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20]), packet[9], packet[size:struct.unpack_from("!H", packet, 2)[0]]


class Servers:
    """What stands behind the port: plays[DIP](packet that came for it) -> packets that go back."""

    def __init__(self, **plays):
        self.plays, self.came, self.wrong = {k.replace("_", "."): v for k, v in plays.items()}, [], []
        with inside(muxlab.PEER):
            self.sniff = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x800))
            self.out = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self.sniff.bind(("swp1", 0x800))
        self.sniff.settimeout(0.1)
        self.ended = False
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()
        CLEANUP.append(self.stop)

    def stop(self):
        self.ended = True
        self.thread.join()

    def serve(self):
        while not self.ended:
            try:
                packet, where = self.sniff.recvfrom(2048)
            except TimeoutError:
                continue
            if where[2] == socket.PACKET_OUTGOING or packet[9] not in (1, 4):
                continue
            try:
                src, dip, proto, payload = parse(packet)
                self.came.append((src, dip, proto, payload))
                for back in self.plays.get(dip, lambda *_: [])(packet, proto, payload):
                    self.out.sendto(back, (LOCAL, 0))
            except Exception as e:	# pylint: disable=broad-except
                self.wrong.append(repr(e))


def inner(proto, payload):
    """a probe's SYN: (source port, port, sequence number); its form is checked"""
    equal(proto, 4, "protocol of a tunnel")
    src, dst, kind, segment = parse(payload)
    equal((src, dst, kind, len(segment)), (LOCAL, VIP, 6, 20), "what the tunnel carries")
    sport, dport, seq, _, _, flags = struct.unpack_from("!HHIIBB", segment)
    equal(summed(socket.inet_aton(src) + socket.inet_aton(dst) + struct.pack("!HH", 6, len(segment)) + segment), 0, "checksum of TCP")
    check(FIRST <= sport < FIRST + PORTS, f"source port {sport}")
    return sport, dport, seq, flags


def answering(flags, ack=1, source=VIP):
    def play(_packet, proto, payload):
        sport, dport, seq, kind = inner(proto, payload)
        return [ip(source, LOCAL, 6, tcp(source, LOCAL, dport, sport, 99, (seq + ack) & 0xffffffff, flags))] if kind == 2 else []
    return play


def unreachable_tunnel(packet, _proto, _payload):
    return [ip("10.255.0.1", LOCAL, 1, icmp(3, 1, b"\0" * 4 + packet[:28]))]


def unreachable_inside(_packet, _proto, payload):
    return [ip(VIP, LOCAL, 1, icmp(3, 3, b"\0" * 4 + payload[:28]))]


def echo(packet, proto, payload):
    if proto == 4:
        _, whom, _, request = parse(payload)
    else:
        whom, request = socket.inet_ntoa(packet[16:20]), payload
    equal(summed(request), 0, "checksum of ICMP")
    return [ip(whom, LOCAL, 1, icmp(0, 0, request[4:]))]


def lab():
    one = muxlab.Lab(bird=False)
    for ns in (muxlab.NS, muxlab.PEER):
        for where in ("all", "swp1"):
            run("ip", "netns", "exec", ns, "sysctl", "-qw", f"net.ipv4.conf.{where}.rp_filter=0")
    run("ip", "-n", muxlab.NS, "link", "set", "lo", "up")
    run("ip", "-n", muxlab.NS, "addr", "add", f"{LOCAL}/32", "dev", "lo")
    run("ip", "-n", muxlab.PEER, "route", "add", f"{LOCAL}/32", "via", "10.255.0.0")
    return one


def target(dip, **more):
    return {"vip": VIP, "proto": "tcp", "port": 80, "dip": dip, **more}


@test
def answers():
    """SYN-ACK, RST, both kinds of unreachable, silence, no route, echo with and without a tunnel: each is told apart"""
    one = lab()
    servers = Servers(**{"10_1_1_1": answering(0x12), "10_1_1_2": answering(0x14), "10_1_1_3": unreachable_tunnel,
                         "10_1_1_4": unreachable_inside, "10_1_1_6": echo})
    status, got = one.ask("POST", "/v1/probes", {"timeout-ms": TIMEOUT, "targets": [
        target("10.1.1.1"), target("10.1.1.2"), target("10.1.1.3"), target("10.1.1.4"), target("10.1.1.5"), target("172.31.9.9"),
        target("10.1.1.6", proto="icmp"), {"dip": "10.1.1.6"}, target("2001:db8:1::1")]})
    equal(status, 200, "status")
    equal([(t["dip"], t["answered"]) for t in got["targets"]],
          [("10.1.1.1", "syn-ack"), ("10.1.1.2", "rst"), ("10.1.1.3", "unreachable"), ("10.1.1.4", "unreachable"), ("10.1.1.5", "no-answer"),
           ("172.31.9.9", "no-route"), ("10.1.1.6", "echo"), ("10.1.1.6", "echo"), ("2001:db8:1::1", "not-probed")], "answers")
    check(all("ms" in t for t in got["targets"] if t["answered"] in ("syn-ack", "rst", "echo")), "with the time they took")
    equal({src for src, *_ in servers.came}, {LOCAL}, "source of the tunnels")
    tries = [inner(proto, payload) for _, dip, proto, payload in servers.came if dip == "10.1.1.5"]
    check(len(tries) == 3 and len(set(tries)) == 1, f"who doesn't answer is asked three times: {tries}")
    resets = [inner(proto, payload)[3] for _, dip, proto, payload in servers.came if dip == "10.1.1.1"]
    check(4 in resets, f"what a SYN-ACK has half opened is closed by that DIP's tunnel: flags {resets}")
    equal(servers.wrong, [], "packets of another form")


@test
def others():
    """answers to something else, or of somebody else, are none"""
    one = lab()
    Servers(**{"10_1_1_1": answering(0x12, ack=2), "10_1_1_2": answering(0x12, source="203.0.113.9"), "10_1_1_3": answering(0x10)})
    got = one.ask("POST", "/v1/probes", {"timeout-ms": 100, "targets": [target(f"10.1.1.{n}") for n in (1, 2, 3)]})[1]
    equal([t["answered"] for t in got["targets"]], ["no-answer"] * 3, "answers")


@test
def bounds():
    """too many, too fast, or nonsense: refused with a sentence, and the agent answers others meanwhile"""
    one = lab()
    for body, word in (({}, "targets"), ({"targets": []}, "targets"), ({"targets": [target("10.1.1.1")] * 257}, "256"),
                       ({"targets": [{"vip": VIP, "dip": "x"}]}, "dip"), ({"targets": [target("10.1.1.1", port=0)]}, "port"),
                       ({"targets": [target("10.1.1.1", proto="udp")]}, "proto"), ({"targets": [7]}, "dip"),
                       ({"targets": [target("10.1.1.1")], "timeout-ms": 9}, "timeout-ms")):
        status, got = one.ask("POST", "/v1/probes", body)
        check(status == 422 and word in got["detail"], f"{body}: {status} {got}")
    full = {"timeout-ms": 2000, "targets": [target(f"10.1.2.{n}") for n in range(256)]}
    got = []
    threads = [threading.Thread(target=lambda: got.append(one.ask("POST", "/v1/probes", full)[0])) for _ in range(3)]
    for t in threads:
        t.start()
    muxlab.until(lambda: got == [429], "the third has no port left: 429", 10)
    equal(one.ask("GET", "/healthz")[0], 200, "the agent answers meanwhile")
    for t in threads:
        t.join()
    equal(got, [429, 200, 200], "and the first two")
    equal(one.ask("POST", "/v1/probes", {"targets": [target("10.1.1.1")], "timeout-ms": 50})[0], 200, "ports are free again")


if __name__ == "__main__":
    main()
