#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""What the module does to packets, byte by byte, and which DIP it chooses."""
import json
import select
import socket
import struct
import sys
import os

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import *  # noqa: E402,F403 pylint: disable=wildcard-import,unused-wildcard-import
from lib import CLIENT, LOCAL, VIP, Net, check, dip, duet, duet_json, echo, equal, ip4, is_ipip, main, outer_dst, packet_socket
from lib import batch, csum, drain, inside, receive, run, tcp, test, udp, until, verdicts
import duet_model as model  # noqa: E402


def flows(count, kinds=("udp", "tcp", "echo")):
    """count packets to the VIP with different ports, and their model keys."""
    packets = []
    for n in range(count):
        kind, port = kinds[n % len(kinds)], 1024 + 7 * n
        if kind == "udp":
            packets.append((17, port, 53, ip4(CLIENT, VIP, 17, udp(CLIENT, VIP, port, 53))))
        elif kind == "tcp":
            packets.append((6, port, 80, ip4(CLIENT, VIP, 6, tcp(port, 80))))
        else:
            packets.append((1, port, 0, ip4(CLIENT, VIP, 1, echo(port))))
    return packets


def expected(packets, dips, key=model.key(7), fields="5tuple"):
    """What the Python model says: {(proto, sport): DIP}."""
    table = model.Table([(d["address"], d.get("weight", 1), d.get("down", False)) for d in dips])
    return {(proto, sport): table.choose(CLIENT, VIP, proto, sport, dport, key, fields)
            for proto, sport, dport, _ in packets}


@test
def encapsulation():
    """every byte of the outer header, and of the inner packet"""
    net = Net()
    net.vip([dip(1)])
    for tos in (0, 0x28, 0x2a, 0x03, 0xb9):
        for frag in (0x4000, 0):
            packet = ip4(CLIENT, VIP, 17, udp(CLIENT, VIP, 4000, 53, b"x" * 33), ttl=17, tos=tos, frag=frag)
            frame = net.exchange(packet)
            check(frame, "no encapsulated packet came")
            outer, inner = frame[14:34], frame[34:]
            equal(inner, ip4(CLIENT, VIP, 17, packet[20:], ttl=16, tos=tos, frag=frag), "inner packet")
            ident = struct.unpack("!H", outer[4:6])[0]
            if frag:
                equal(ident, 0, "ID of an atomic datagram")
            equal(outer, ip4(LOCAL, dip(1), 4, b"", ttl=64, tos=tos, ident=ident, frag=frag, length=20 + len(packet)), "outer header")


@test
def agreement():
    """600 flows of TCP, UDP and ICMP echo go where the Python model says"""
    net = Net()
    dips = [{"address": dip(n)} for n in range(1, 8)]
    net.vip(dips)
    packets = flows(600)
    equal(net.choices([p[3] for p in packets]), expected(packets, dips), "DIPs")


@test
def weights():
    """weights 1 to 4 and a weight of 0, as the model says"""
    net = Net()
    dips = [{"address": dip(n), "weight": n % 5} for n in range(1, 9)]
    net.vip(dips)
    packets = flows(300)
    got = net.choices([p[3] for p in packets])
    equal(got, expected(packets, dips), "DIPs")
    check(dip(5) not in got.values(), "a DIP of weight 0 got a flow")


@test
def fields():
    """a rule hashes what it is told: 5-tuple, source and port, source"""
    net = Net()
    dips = [{"address": dip(n)} for n in range(1, 8)]
    for name in ("5tuple", "src-port", "src"):
        net.vip(None, rules=[{"fields": name, "dips": dips}])
        packets = flows(120)
        equal(net.choices([p[3] for p in packets]), expected(packets, dips, fields=name), name)


@test
def rules():
    """port ranges, protocols and the default rule each take their own"""
    net = Net()
    net.vip(None, rules=[{"proto": "tcp", "port": 80, "dips": [{"address": dip(1)}]},
                         {"proto": "tcp", "port": "8000-8080", "dips": [{"address": dip(2)}]},
                         {"proto": "tcp", "dips": [{"address": dip(3)}]},
                         {"proto": "udp", "port": 53, "dips": [{"address": dip(4)}]},
                         {"dips": [{"address": dip(5)}]}])
    for proto, port, want in ((6, 80, 1), (6, 79, 3), (6, 8000, 2), (6, 8080, 2), (6, 8081, 3), (17, 53, 4), (17, 80, 5), (1, 0, 5), (47, 0, 5)):
        payload = {6: tcp(999, port), 17: udp(CLIENT, VIP, 999, port), 1: echo(999), 47: b"\0" * 8}[proto]
        frame = net.exchange(ip4(CLIENT, VIP, proto, payload))
        check(frame, f"protocol {proto} port {port}: nothing came")
        equal(outer_dst(frame), dip(want), f"DIP of protocol {proto} port {port}")
    net.vip(None, rules=[{"proto": "tcp", "port": 80, "dips": [{"address": dip(1)}]}])
    before = verdicts()
    net.send(ip4(CLIENT, VIP, 6, tcp(999, 81)))
    until(lambda: verdicts()["no-rule"] == before["no-rule"] + 1, "a packet that no rule takes is counted")


@test
def trace():
    """`duet trace` answers what the data path does"""
    net = Net()
    net.vip([dip(n) for n in range(1, 8)])
    packets = flows(24, kinds=("udp", "tcp"))
    got = net.choices([p[3] for p in packets])
    for proto, sport, dport, _ in packets:
        answer = duet_json("trace", "mux0", f"{CLIENT}:{sport}", f"{VIP}:{dport}", {6: "tcp", 17: "udp"}[proto])
        equal(answer["dip"], got[(proto, sport)], f"trace of {proto} {sport}")
        equal(answer["verdict"], "encap", "verdict")
    equal(duet_json("trace", "mux0", f"{CLIENT}:1", "192.0.2.1:80", "tcp")["verdict"], "pass", "not a VIP")


@test
def down_and_up():
    """a DIP that goes down moves only its own flows, and its recovery restores all"""
    net = Net()
    dips = [{"address": dip(n)} for n in range(1, 8)]
    net.vip(dips)
    packets = flows(300, kinds=("udp",))
    raw = [p[3] for p in packets]
    before = net.choices(raw)
    digest = duet_json("vip", "show", "mux0", VIP)[0]["rules"][0]["digest"]
    duet("dip", "set", "mux0", dip(3), "down")
    down = net.choices(raw)
    check(dip(3) not in down.values(), "a DIP that is down got a flow")
    moved = {k for k in before if before[k] != down[k]}
    equal(moved, {k for k in before if before[k] == dip(3)}, "flows that moved")
    equal(down, expected(packets, [dict(d, down=d["address"] == dip(3)) for d in dips]), "DIPs by the model")
    duet("dip", "set", "mux0", dip(3), "up")
    equal(net.choices(raw), before, "DIPs after the recovery")
    equal(duet_json("vip", "show", "mux0", VIP)[0]["rules"][0]["digest"], digest, "digest")
    for n in range(1, 8):
        duet("dip", "set", "mux0", dip(n), "down")
    count = verdicts()["no-dip"]
    net.send(raw[0])
    until(lambda: verdicts()["no-dip"] == count + 1, "all down is counted")


@test
def smux_agrees():
    """an smux sends every flow where the hmux sent it"""
    packets = flows(200)
    result = {}
    for mode in ("hmux", "smux"):
        net = Net(mode)
        net.vip([dip(n) for n in (5, 2, 9, 4)] if mode == "hmux" else [dip(n) for n in (9, 4, 2, 5)])
        result[mode] = net.choices([p[3] for p in packets])
    equal(result["smux"], result["hmux"], "DIPs")


@test
def passing():
    """packets of no VIP are forwarded as if there were no mux"""
    net = Net()
    net.vip([dip(1)])
    before = verdicts()
    packet = ip4(CLIENT, "10.2.0.2", 17, udp(CLIENT, "10.2.0.2", 5000, 6000), ttl=9)
    drain(net.d)
    net.send(packet)
    got = receive(net.d, lambda f: f[30:34] == socket.inet_aton("10.2.0.2"), seconds=5)
    check(got, "it did not arrive")
    equal(got[0][14:], ip4(CLIENT, "10.2.0.2", 17, packet[20:], ttl=8), "forwarded packet")
    equal(verdicts()["encap"], before["encap"], "encapsulated packets")
    check(verdicts()["pass"] > before["pass"], "it is counted as passed")


@test
def icmp_errors():
    """an ICMP error to a VIP goes to the DIP of the flow that it quotes"""
    net = Net()
    dips = [{"address": dip(n)} for n in range(1, 8)]
    net.vip(dips)
    table = model.Table([(d["address"], 1, False) for d in dips])
    for n in range(40):
        port = 2000 + n
        quoted = ip4(VIP, CLIENT, 6, tcp(80, port, 0x10))[:28]
        frame = net.exchange(ip4("10.1.0.77", VIP, 1, struct.pack("!BBHHH", 3, 4, 0, 0, 1400) + quoted))
        check(frame, "the error did not arrive")
        equal(outer_dst(frame), table.choose(CLIENT, VIP, 6, port, 80, model.key(7), "5tuple"), f"DIP of the error about port {port}")


@test
def too_big():
    """DF and too big: answered byte by byte, dropped, counted; without DF: fragmented"""
    net = Net()
    net.vip([dip(1)])
    packet = ip4(CLIENT, VIP, 17, udp(CLIENT, VIP, 4000, 53, b"y" * 1472))
    equal(len(packet), 1500, "length")
    drain(net.c)
    net.send(packet)
    got = receive(net.c, lambda f: f[12:14] == b"\x08\x00" and f[23] == 1 and f[:6] == net.c_mac, seconds=5)
    check(got, "no ICMP came")
    answer = got[0][14:]
    equal(answer[12:16], socket.inet_aton(VIP), "source is the VIP")
    equal(answer[16:20], socket.inet_aton(CLIENT), "destination")
    equal(csum(answer[:20]), 0, "IP checksum")
    icmp = answer[20:]
    equal(struct.unpack("!BBHHH", icmp[:8])[:2] + struct.unpack("!HH", icmp[4:8]), (3, 4, 0, 1480), "type, code, MTU less the outer header")
    equal(csum(icmp), 0, "ICMP checksum")
    equal(icmp[8:], packet[:576 - 28], "quoted bytes")
    check(verdicts()["too-big"] == 1, "it is counted")
    # without DF the outer packet is fragmented, and whole again at the other end
    drain(net.d)
    net.send(ip4(CLIENT, VIP, 17, packet[20:], frag=0))
    parts = receive(net.d, is_ipip, seconds=5, count=2)
    equal(len(parts), 2, "fragments")
    parts.sort(key=lambda f: struct.unpack("!H", f[20:22])[0] & 0x1fff)
    whole = b"".join(p[34:14 + struct.unpack("!H", p[16:18])[0]] for p in parts)
    equal(whole, ip4(CLIENT, VIP, 17, packet[20:], frag=0, ttl=63), "inner packet, put together")


@test
def malformed():
    """what is broken is dropped and counted under its own name"""
    net = Net()
    net.vip([dip(1)])
    good = ip4(CLIENT, VIP, 6, tcp(1000, 80))
    bad_sum = good[:10] + b"\xde\xad" + good[12:]
    cases = [("ttl", ip4(CLIENT, VIP, 6, tcp(1000, 80), ttl=1)),
             ("fragment", ip4(CLIENT, VIP, 17, udp(CLIENT, VIP, 1, 2), frag=0x2000)),
             ("fragment", ip4(CLIENT, VIP, 17, b"z" * 16, frag=0x0010)),
             ("header", bad_sum),
             ("header", ip4(CLIENT, VIP, 6, tcp(1000, 80), length=1000)),
             ("header", ip4(CLIENT, VIP, 6, b"\0\0")),
             ("header", ip4(CLIENT, VIP, 1, struct.pack("!BBHHH", 3, 1, 0, 0, 0) + b"\x45")),
             ("header", b"\x43" + good[1:])]
    for name, packet in cases:
        before = verdicts()
        drain(net.d)
        net.send(packet)
        until(lambda: verdicts()[name] == before[name] + 1, f"counted as {name}")
        equal(verdicts()["encap"], before["encap"], "encapsulated")
    frame = net.exchange(good + b"\0" * 6)
    check(frame, "a padded packet did not arrive")
    equal(len(frame), 14 + 20 + len(good), "length of a packet whose padding is cut")


@test
def no_route_no_local():
    """no route to the DIP, no local address: dropped and counted"""
    net = Net()
    net.vip(["192.0.2.9"])
    before = verdicts()
    net.send(ip4(CLIENT, VIP, 6, tcp(1000, 80)))
    until(lambda: verdicts()["no-route"] == before["no-route"] + 1, "no route is counted")
    batch("m", "route add 192.0.2.9 via 10.2.0.2\n")
    frame = net.exchange(ip4(CLIENT, VIP, 6, tcp(1000, 80)))
    check(frame, "after the route came, the packet did not")
    batch("m", "route del 192.0.2.9\n")
    net.send(ip4(CLIENT, VIP, 6, tcp(1000, 80)))
    until(lambda: verdicts()["no-route"] == before["no-route"] + 2, "the route is gone again")
    duet("dev", "set", "mux0", "local", "none")
    net.vip([dip(1)])
    net.send(ip4(CLIENT, VIP, 6, tcp(1000, 80)))
    until(lambda: verdicts()["no-local"] == 1, "no local address is counted")


@test
def route_into_device():
    """a route into the device is the other way in"""
    net = Net()
    net.vip([dip(n) for n in range(1, 8)])
    packets = flows(60)
    by_port = net.choices([p[3] for p in packets])
    duet("port", "del", "mux0", "c0m")
    batch("m", f"route add {VIP} dev mux0\n")
    equal(net.choices([p[3] for p in packets]), by_port, "DIPs")
    frame = net.exchange(ip4(CLIENT, VIP, 17, udp(CLIENT, VIP, 1, 2), ttl=20))
    equal(frame[34 + 8], 19, "TTL: the route took one, the mux none: it is one hop")
    # what the stack may still forward, it forwards; and what it may not, it answers
    frame = net.exchange(ip4(CLIENT, VIP, 17, udp(CLIENT, VIP, 1, 2), ttl=2))
    check(frame, "TTL 2 dies")
    equal(frame[34 + 8], 1, "TTL 2 by the route")


@test
def whole_connections():
    """TCP through the mux at full size: segments stay together as GSO, checksums are right"""
    net = Net()
    net.vip([dip(1), dip(2)])
    run("modprobe", "ipip")
    batch("d", f"addr add {VIP}/32 dev lo\nlink set tunl0 up\n")
    with inside("d"):
        for dev in os.listdir("/proc/sys/net/ipv4/conf"):
            with open(f"/proc/sys/net/ipv4/conf/{dev}/rp_filter", "w", encoding="ascii") as f:
                f.write("0")
        server = socket.socket()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((VIP, 80))
        server.listen(16)
    # no DF clamp is needed: the client learns 1480 by ICMP
    size, blob = 3 << 20, os.urandom(1 << 16)
    with inside("c"):
        # however slow the machine: TCP makes segments by what it could send in a millisecond
        with open("/proc/sys/net/ipv4/tcp_min_tso_segs", "w", encoding="ascii") as f:
            f.write("16")
        client = socket.create_connection((VIP, 80), timeout=10)
    server.settimeout(10)
    peer, _ = server.accept()
    client.setblocking(False)
    peer.setblocking(False)
    biggest, sent, got, data = 0, 0, 0, bytearray()
    while got < size:
        readable, writable, _ = select.select([peer, net.d], [client] if sent < size else [], [], 20)
        check(readable or writable, f"stuck after {got} of {size} bytes")
        if client in writable:
            sent += client.send((blob * 2)[sent % len(blob):][:min(len(blob), size - sent)])
        if peer in readable:
            part = peer.recv(1 << 18)
            check(part == (blob * 6)[got % len(blob):][:len(part)], f"bytes differ at {got}")
            got += len(part)
        if net.d in readable:
            biggest = max(biggest, len(net.d.recv(70000)))
    check(biggest > 3000, f"largest encapsulated packet was {biggest} bytes: segments were not kept together")
    client.close()
    peer.close()
    server.close()
    del data


@test
def counters():
    """VIP, DIP and device count the same packets, and bytes of inner packets"""
    net = Net()
    net.vip([dip(n) for n in range(1, 5)])
    packets = flows(200, kinds=("udp",))
    net.choices([p[3] for p in packets])
    vip = duet_json("vip", "show", "mux0", VIP)[0]
    equal(vip["packets"], 200, "packets of the VIP")
    equal(vip["bytes"], sum(len(p[3]) for p in packets), "bytes of the VIP")
    equal(sum(d["packets"] for d in vip["rules"][0]["dips"]), 200, "packets of the DIPs")
    equal(verdicts()["encap"], 200, "packets of the device")
    link = json.loads(run("ip", "-n", "m", "-s", "-j", "link", "show", "mux0")[1])[0]["stats64"]
    equal(link["tx"]["packets"], 200, "ip -s link")
    # a replacement of the set keeps the VIP's counters
    net.vip([dip(n) for n in range(1, 6)])
    equal(duet_json("vip", "show", "mux0", VIP)[0]["packets"], 200, "packets of the VIP, set replaced")


@test
def atomic_replacement():
    """a set replaced under traffic: every packet meets the old one or the new one, none is lost"""
    net = Net()
    sets = ([dip(n) for n in range(1, 5)], [dip(n) for n in range(11, 15)])
    net.vip(sets[0])
    packets = [p[3] for p in flows(40, kinds=("udp",))]
    drain(net.d)
    sent, seen = 0, set()
    for turn in range(12):
        for packet in packets:
            net.send(packet)
            sent += 1
        net.vip(sets[(turn + 1) % 2])
        for packet in packets:
            net.send(packet)
            sent += 1
    frames = receive(net.d, is_ipip, seconds=10, count=sent)
    equal(len(frames), sent, "packets that arrived")
    seen = {outer_dst(f) for f in frames}
    equal(seen, set(sets[0]) | set(sets[1]), "DIPs seen")


if __name__ == "__main__":
    main()
