#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""duet-host-agent takes out of tunnels what the VIP's rules accept, from muxes and clients that it may believe, and nothing else.

The bed is that of test_host_delivery.py; each packet goes through tc in IPv4 and XDP in IPv6 by BPF_PROG_TEST_RUN, or over
the wire, and its counter must move.
"""
import os
import select
import socket
import struct
import sys

import test_host_agent as base
import test_host_delivery as delivery
from test_host_agent import CLIENT, DIP, HOST, MUX, OTHER, VIP, VIP2, W, check, csum, equal, inside, ip4, sh
from test_host_delivery import CLIENT6, DIP6, MUX6, VIP6, ip6, udp

delivery.TESTS.clear()
test = delivery.test
HOP, ROUTING, FRAGMENT, DEST = 0, 43, 44, 60


def put(*rules, muxes=(MUX, MUX6), fragments=None, member="accept", ok=200):
    W.agent.generation += 1
    more = {} if rules == (None,) else {member: list(rules)}
    if fragments:
        more["fragments"] = fragments
    status, answer = W.agent.ask("PUT", "/v1/state", {"epoch": 1, "generation": W.agent.generation, "muxes": list(muxes), "vips": [
        {"vip": v, "dip": d, **more} for v in (VIP, VIP6) for d in (DIP, DIP6)]})
    equal(status, ok, f"PUT ({answer})")
    return answer


def tcp(sport, dport, flags=2):
    return struct.pack("!HHIIBBHHH", sport, dport, 1, 0, 0x50, flags, 65535, 0, 0)


def icmp(kind, code, rest, body=b""):
    m = struct.pack("!BBH", kind, code, 0) + rest + body
    return m[:2] + struct.pack("!H", csum(m)) + m[4:]


def v4(payload, proto, src=CLIENT, dst=VIP, frag=0):
    return ip4(src, dst, proto, payload, frag=frag)


def v6(payload, proto, src=CLIENT6, dst=VIP6):
    return ip6(src, dst, proto, payload)


def ext(kind, then, payload, octets=0):
    """an IPv6 extension header before a payload"""
    if kind == FRAGMENT:
        return bytes([then, 0]) + struct.pack("!HI", octets, 7) + payload
    return bytes([then, octets]) + bytes(6 + 8 * octets) + payload


def fate(packet, hook="duet_decap", six=False):
    """counters that moved by a packet in a tunnel"""
    before = W.agent.status()["counters"]
    outer = W.wire.wrap(packet, six)
    delivery.prog_run(hook, bytes(12) + (b"\x86\xdd" if six else b"\x08\x00") + outer)
    after = W.agent.status()["counters"]
    return {k: after[k] - before[k] for k in after if after[k] != before[k]}


def all_ways(packet, counter, what):
    for hook, six in (("duet_decap", False), ("duet_decap_xdp", True)):
        equal(fate(packet, hook, six), {counter: 1}, f"{what} ({hook}, {'IPv6' if six else 'IPv4'} outside)")


@test
def port_22():
    """a SYN to VIP:22 in a tunnel of a true mux, when only tcp/80 is served: dropped and counted; on the wire too"""
    with inside(HOST):
        listeners = [socket.create_server(("0.0.0.0", port)) for port in (80 + 8000, 22 + 8000)]
    put({"proto": "tcp", "port": 8080})
    before = W.agent.status()["counters"]
    for port, answered in ((8080, True), (8022, False)):
        t = tcp(4000, port)
        pseudo = socket.inet_aton(CLIENT) + socket.inet_aton(VIP) + struct.pack("!HH", 6, len(t))
        W.wire.tunnel(v4(t[:16] + struct.pack("!H", csum(pseudo + t)) + t[18:], 6))
        got = W.answered(port)
        equal(got, answered, f"port {port}: a SYN+ACK")
    after = W.agent.status()["counters"]
    equal(after["no-rule"] - before["no-rule"], 1, "counted")
    check('duet_host_tunnel_packets_total{result="no-rule"}' in W.agent.ask("GET", "/metrics", raw=True)[1], "/metrics")
    equal(W.agent.status()["vips"][0]["accept"], ["tcp/8080"], "status")
    for s in listeners:
        s.close()


@test
def matched():
    """protocols, ports, ranges, echo: as a mux would by the same rules, IPv4 and IPv6, tc and XDP"""
    delivery.restart(attach="xdp")
    put({"proto": "tcp", "port": 80}, {"proto": "udp", "port": "5000-5010"}, {"proto": 47})
    for wrap, name in ((v4, "IPv4"), (v6, "IPv6")):
        ping = (icmp(8, 0, b"\1\2\0\1"), 1) if wrap is v4 else (icmp(128, 0, b"\1\2\0\1"), 58)
        for payload, proto, ok in ((tcp(1, 80), 6, True), (tcp(80, 81), 6, False), (tcp(1, 79), 6, False), (udp(1, 80, b""), 17, False),
                                   (udp(1, 5000, b""), 17, True), (udp(1, 5010, b""), 17, True), (udp(1, 4999, b""), 17, False),
                                   (udp(1, 5011, b""), 17, False), (b"\0" * 8, 47, True), (b"\0" * 8, 46, False), (*ping, False)):
            all_ways(wrap(payload, proto), "decapsulated" if ok else "no-rule", f"{name}, protocol {proto}, {payload[:4].hex()}")
        all_ways(wrap(b"\0\0", 6), "malformed", f"{name}: no ports in TCP")
    put({"proto": "icmp"}, {"proto": 58})
    all_ways(v4(icmp(8, 0, b"\1\2\0\1"), 1), "decapsulated", "echo by a rule for it")
    all_ways(v6(icmp(128, 0, b"\1\2\0\1"), 58), "decapsulated", "IPv6 echo by a rule for it")
    all_ways(v4(tcp(1, 80), 6), "no-rule", "TCP without a rule")
    put({})
    for packet in (v4(icmp(8, 0, b"\1\2\0\1"), 1), v4(tcp(1, 80), 6), v6(tcp(1, 22), 6)):
        all_ways(packet, "decapsulated", "the rule for all")
    # a VIP whose definition changes has the rules of both
    put(*[{"proto": "tcp", "port": 1000 + n} for n in range(128)])
    all_ways(v4(tcp(1, 1127), 6), "decapsulated", "the last of many rules")
    all_ways(v4(tcp(1, 1128), 6), "no-rule", "none of many rules")
    put()
    all_ways(v4(tcp(1, 80), 6), "no-rule", "no rules: nothing")
    put(None)
    all_ways(v4(tcp(1, 22), 6), "decapsulated", "a controller that says nothing of rules: as before")
    equal(W.agent.status()["vips"][0]["accept"], None, "status")
    put({"proto": "tcp", "port": 80, "dips": [{"address": DIP}]}, member="rules")
    all_ways(v4(tcp(1, 22), 6), "no-rule", "by the rules that SNAT needs")


@test
def errors():
    """an ICMP error is accepted if it is about a flow that the VIP accepts"""
    put({"proto": "tcp", "port": 80})

    def about4(payload, proto, src=VIP, frag=0):
        return v4(icmp(3, 4, b"\0\0\5\0", ip4(src, CLIENT, proto, payload, frag=frag)), 1, src="10.99.0.0")

    def about6(payload, proto, src=VIP6):
        return v6(icmp(2, 0, b"\0\0\5\0", ip6(src, CLIENT6, proto, payload)), 58)

    for about, name in ((about4, "IPv4"), (about6, "IPv6")):
        all_ways(about(tcp(80, 4000)[:8], 6), "decapsulated", f"{name}: about a flow of the VIP")
        all_ways(about(tcp(22, 4000)[:8], 6), "no-rule", f"{name}: about another port")
        all_ways(about(tcp(4000, 80)[:8], 6), "no-rule", f"{name}: about a flow to port 80")
        all_ways(about(udp(80, 4000, b""), 17), "no-rule", f"{name}: about another protocol")
        all_ways(about(tcp(80, 4000)[:7], 6), "no-rule", f"{name}: less than eight bytes")
    all_ways(about4(tcp(80, 4000)[:8], 6, src=VIP2), "no-rule", "about another's packet")
    all_ways(about6(tcp(80, 4000)[:8], 6, src="2001:db8::5"), "no-rule", "about another's packet, IPv6")
    all_ways(about4(tcp(80, 4000)[:8], 6, frag=5), "no-rule", "about a later fragment")
    all_ways(about6(ext(DEST, 6, tcp(80, 4000)[:8]), DEST), "decapsulated", "behind an extension header")
    options = bytearray(ip4(VIP, CLIENT, 6, b"\1" * 4 + tcp(80, 4000)[:8]))
    options[0] = 0x46
    all_ways(v4(icmp(11, 0, bytes(4), bytes(options)), 1), "decapsulated", "behind IPv4 options")


@test
def headers6():
    """IPv6 extension headers are walked over as a mux does"""
    put({"proto": "tcp", "port": 80})
    for port, counter in ((80, "decapsulated"), (22, "no-rule")):
        t = tcp(1, port)
        all_ways(v6(ext(HOP, 6, t), HOP), counter, f"hop-by-hop, port {port}")
        all_ways(v6(ext(DEST, ROUTING, ext(ROUTING, 6, t, 2), 30), DEST), counter, f"long ones, port {port}")
        all_ways(v6(ext(FRAGMENT, 6, t), FRAGMENT), counter, f"an atomic fragment, port {port}")
    chain = tcp(1, 80)
    for n in range(9):
        chain = ext(DEST, DEST if n else 6, chain)
        all_ways(v6(chain, DEST), "decapsulated" if n < 7 else "malformed", f"{n + 1} headers")
    all_ways(v6(bytes([6, 255]) + bytes(6), DEST), "malformed", "cut short")


@test
def fragments():
    """fragments: by the VIP's policy, and by rules without a port alone"""
    later6 = v6(ext(FRAGMENT, 17, b"x" * 16, 8 | 1), FRAGMENT)
    for rules, policy, counter in (([{"proto": "udp", "port": 53}], None, "inner-fragment"), ([{"proto": "udp"}], "drop", "inner-fragment"),
                                   ([{"proto": "udp", "port": 53}], "hash", "no-rule"), ([{"proto": "udp"}], "hash", "decapsulated"),
                                   ([{}], "hash", "decapsulated"), ([{"proto": "tcp"}], "hash", "no-rule")):
        put(*rules, fragments=policy)
        all_ways(v4(udp(1, 53, b"x" * 16), 17, frag=0x2000), counter, f"first, {rules} {policy}")
        all_ways(v4(b"x" * 16, 17, frag=3), counter, f"last, {rules} {policy}")
        all_ways(later6, counter, f"IPv6, {rules} {policy}")


@test
def hops():
    """a packet whose hops are used up isn't delivered"""
    put({"proto": "tcp", "port": 80})
    dead = bytearray(v4(tcp(1, 80), 6))
    dead[8] = 0
    all_ways(bytes(dead), "ttl", "TTL 0")
    dead = bytearray(v6(tcp(1, 80), 6))
    dead[7] = 0
    all_ways(bytes(dead), "ttl", "hop limit 0")


@test
def gone():
    """a mux that the state names no more is believed no more, from the answer on, also if the rest of the state can't be made"""
    put({})
    all_ways(v4(tcp(1, 80), 6), "decapsulated", "a mux")
    put({}, muxes=[OTHER])
    all_ways(v4(tcp(1, 80), 6), "unknown-source", "a mux no more")
    equal(W.agent.status()["muxes"], [OTHER], "muxes")


@test
def prefixes():
    """[host] mux-prefixes and client-prefixes: muxes and clients outside are not believed, whatever the controller says"""
    # to [host], which is the configuration's last section here
    delivery.restart(**{"mux-prefixes": "10.99.9.0/31 2001:db8:9::/64", "client-prefixes": f"{CLIENT}/32, {CLIENT6}/128"})
    put({}, muxes=[MUX, MUX6, OTHER])
    s = W.agent.status()
    equal((sorted(s["muxes"]), s["muxes-left-out"]), ([MUX, MUX6], 1), "muxes")
    all_ways(v4(tcp(1, 80), 6), "decapsulated", "a client of a prefix")
    all_ways(v6(tcp(1, 80), 6), "decapsulated", "a client of a prefix, IPv6")
    all_ways(v4(tcp(1, 80), 6, src="192.0.2.1"), "client-prefix", "a client of none")
    all_ways(v6(tcp(1, 80), 6, src="2001:db8::1"), "client-prefix", "a client of none, IPv6")
    for key in ("mux-prefixes", "client-prefixes"):
        for bad in ("10.0.0.1/8", "10.0.0.0/8 nonsense", ", ,"):
            path = os.path.join(base.DIR, "bad.conf")
            with open(W.agent.conf, encoding="ascii") as f, open(path, "w", encoding="ascii") as to:
                to.write("".join(l for l in f if not l.startswith(key)) + f"{key} = {bad}\n")
            said = sh(base.AGENT, "-c", path, "--check-config", ok=False)
            check(f"[host] {key}" in said, f"{key} = {bad}: {said}")
    delivery.restart(**{"mux-prefixes": None, "client-prefixes": None})
    put({})
    all_ways(v4(tcp(1, 80), 6, src="192.0.2.1"), "decapsulated", "any client again")


@test
def refused():
    """rules that make no sense are refused with a sentence and change nothing"""
    put({"proto": "tcp", "port": 80})
    for rules, words in (([{"proto": "tcp", "port": 0}], "port"), ([{"port": 80}], "proto"), ([{"proto": "nosuch"}], "proto"), (["tcp/80"], "object"),
                         ([{"proto": "tcp", "port": "90-80"}], "port"), ([{"proto": "tcp", "port": n + 1} for n in range(129)], "128")):
        answer = put(*rules, ok=400)
        check(words in answer["detail"] and VIP in answer["detail"], f"{rules[:1]}: {answer['detail']}")
    all_ways(v4(tcp(1, 80), 6), "decapsulated", "still")
    all_ways(v4(tcp(1, 22), 6), "no-rule", "still")


def answered(port):
    """is there a SYN+ACK of that port?"""
    end = 1.0
    while select.select([W.wire.s], [], [], end)[0]:
        p = W.wire.s.recv(2000)[14:]
        if p[0] == 0x45 and p[9] == 6 and p[33] == 0x12 and struct.unpack("!H", p[20:22])[0] == port:
            return True
    return False


W.answered = answered

if __name__ == "__main__":
    sys.exit(delivery.main())
