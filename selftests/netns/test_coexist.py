#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""The mux beside the rest of the stack: tc, queues, conntrack, priority tags, rate limits, two levels of muxes."""
import json
import os
import socket
import struct
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import *  # noqa: E402,F403 pylint: disable=wildcard-import,unused-wildcard-import
from lib import CLIENT, ETH_P_IP, VIP, Net, batch, check, csum, dip, drain, duet, duet_json, equal, inside, ip4, is_ipip, main, outer_dst
from lib import packet_socket, receive, run, tcp, test, udp, until, verdicts
import duet_model as model  # noqa: E402


def burst(count, size=4, start=2000):
    return [ip4(CLIENT, VIP, 17, udp(CLIENT, VIP, start + n, 53, b"x" * size)) for n in range(count)]


def send_all(net, packets, want=None):
    """Send them; the frames that came out, all of them."""
    drain(net.d)
    for packet in packets:
        net.send(packet)
    frames = receive(net.d, is_ipip, seconds=20, count=want or len(packets))
    equal(len(frames), want or len(packets), "encapsulated packets that came")
    return frames


@test
def fair_queue():
    """arrival times are not taken for departure times: fq on the way out drops and delays nothing"""
    net = Net()
    net.vip([dip(1)])
    batch("m", "link set d0m txqueuelen 1000\n")
    run("tc", "-n", "m", "qdisc", "replace", "dev", "d0m", "root", "fq", "horizon", "1s", "horizon_drop")
    stamped = packet_socket("m", "c0m")
    stamped.setsockopt(socket.SOL_SOCKET, 29, 1)     # SO_TIMESTAMP: every packet of the machine gets its time of arrival
    send_all(net, burst(100))
    stats = json.loads(run("tc", "-n", "m", "-s", "-j", "qdisc", "show", "dev", "d0m")[1])[0]
    equal(stats["kind"], "fq", "queue")
    check(stats["packets"] >= 100, f"packets through the queue: {stats['packets']}")
    equal((stats["drops"], stats["overlimits"]), (0, 0), "drops and overlimits")
    stamped.close()


def tc_packets(dev, where):
    shown = json.loads(run("tc", "-n", "m", "-s", "-j", "filter", "show", "dev", dev, where)[1])
    return [f["options"]["actions"][0]["stats"]["packets"] for f in shown if "options" in f][0]


@test
def traffic_control():
    """tc on a port's ingress sees packets first, and may drop them; tc on the way out sees the outer ones"""
    net = Net()
    net.vip([dip(1)])
    for dev in ("c0m", "d0m"):
        run("tc", "-n", "m", "qdisc", "add", "dev", dev, "clsact")
    run("tc", "-n", "m", "filter", "add", "dev", "c0m", "ingress", "protocol", "ip", "matchall", "action", "ok")
    run("tc", "-n", "m", "filter", "add", "dev", "d0m", "egress", "protocol", "ip", "matchall", "action", "ok")
    send_all(net, burst(60))
    equal((tc_packets("c0m", "ingress"), tc_packets("d0m", "egress")), (60, 60), "packets seen by tc on the way in and out")
    for direction, dev in (("ingress", "c0m"), ("egress", "d0m")):
        run("tc", "-n", "m", "filter", "replace", "dev", dev, direction, "pref", "1", "protocol", "ip", "matchall", "action", "drop")
        before = verdicts()["encap"]
        for packet in burst(20):
            net.send(packet)
        until(lambda: tc_packets(dev, direction) >= 20, "tc drops them")  # pylint: disable=cell-var-from-loop
        equal(verdicts()["encap"] - before, 20 if direction == "egress" else 0, f"encapsulated, with a drop at {direction}")
        run("tc", "-n", "m", "filter", "del", "dev", dev, direction)


@test
def conntrack():
    """conntrack has no entry of packets that the mux took, fitting or not, and has one of a packet that it passed"""
    net = Net()
    net.vip([dip(n) for n in range(1, 4)])
    run("modprobe", "nf_conntrack")
    rules = "table inet t {\n" + "".join(f"chain {hook} {{ type filter hook {hook} priority 0; ct state new counter; }}\n"
                                         for hook in ("prerouting", "forward", "output", "postrouting")) + "}\n"
    run("nft", "-f", "-", inside="m", stdin=rules)

    def entries():
        with inside("m"), open("/proc/sys/net/netfilter/nf_conntrack_count", encoding="ascii") as f:
            return int(f.read())
    send_all(net, burst(50))
    # too big: answered; too big without DF: fragmented, the long way out
    for packet in burst(5, 1472, 8000):
        net.send(packet)
    until(lambda: verdicts()["too-big"] == 5, "answered")
    send_all(net, [ip4(CLIENT, VIP, 17, p[20:], frag=0) for p in burst(5, 1472, 9000)], want=10)
    equal(entries(), 0, "entries made by the mux's packets")
    net.send(ip4(CLIENT, "10.2.0.2", 17, udp(CLIENT, "10.2.0.2", 1, 2)))
    until(lambda: entries() == 1, "a packet that is forwarded makes an entry")


@test
def priority_tag():
    """a packet with a priority tag (VLAN 0) is taken and sent on without it; one of another VLAN is not"""
    net = Net()
    net.vip([dip(1)])
    packet = burst(1)[0]
    drain(net.d)
    net.c.send(net.m_mac + net.c_mac + struct.pack("!HHH", 0x8100, 0x6005, 0x0800) + packet)
    net.c.send(net.m_mac + net.c_mac + struct.pack("!HHH", 0x8100, 0xa000, 0x0800) + packet)
    frames = receive(net.d, is_ipip, seconds=20)
    check(frames, "the packet with a priority did not come")
    equal(frames[0][12:14], b"\x08\x00", "type of the frame that came: no tag")
    equal(verdicts()["encap"], 1, "packets taken")


@test
def rate_limit():
    """"too big" keeps to no limit of the whole machine, like the kernel's own: 400 of 400 are answered"""
    net = Net()
    net.vip([dip(1)])
    with inside("m"):
        for name, value in (("icmp_msgs_per_sec", "10"), ("icmp_msgs_burst", "20")):
            with open(f"/proc/sys/net/ipv4/{name}", "w", encoding="ascii") as f:
                f.write(value)
    drain(net.c)
    for packet in burst(400, 1472):
        net.send(packet)
    until(lambda: verdicts()["too-big"] == 400, "400 packets are too big")
    answers = receive(net.c, lambda f: f[12:14] == b"\x08\x00" and f[23] == 1 and f[:6] == net.c_mac, seconds=5, count=400)
    equal(len(answers), 400, "answers to 400 packets with a limit of 10 a second and bursts of 20")
    with inside("m"):
        for name, value in (("icmp_msgs_per_sec", "1000"), ("icmp_msgs_burst", "50")):
            with open(f"/proc/sys/net/ipv4/{name}", "w", encoding="ascii") as f:
                f.write(value)


@test
def errors_from_any_mux():
    """an ICMP error with 8 quoted transport bytes finds its flow's DIP by any mux, TCP, UDP, SCTP and echo"""
    dips = [dip(n) for n in range(1, 8)]
    table = model.Table([(d, 1, False) for d in dips])
    for mode, given in (("hmux", dips), ("smux", dips[::-1])):
        net = Net(mode)
        net.vip(given)
        for proto, port in ((6, 80), (17, 53), (132, 5060)):
            for sport in range(3000, 3010):
                quoted = ip4(VIP, CLIENT, proto, struct.pack("!HHI", port, sport, 7))
                frame = net.exchange(ip4("10.1.0.9", VIP, 1, error(quoted)))
                check(frame, f"{mode}: the error about protocol {proto} did not come")
                equal(outer_dst(frame), table.choose(CLIENT, VIP, proto, sport, port, model.key(7), "5tuple"), f"{mode}: DIP, protocol {proto}")
        for ident in range(10):
            quoted = ip4(VIP, CLIENT, 1, struct.pack("!BBHHH", 0, 0, 0, ident, 1))
            equal(outer_dst(net.exchange(ip4("10.1.0.9", VIP, 1, error(quoted)))), table.choose(CLIENT, VIP, 1, ident, 0, model.key(7), "5tuple"), f"{mode}: echo")


def error(quoted):
    body = struct.pack("!BBHHH", 3, 1, 0, 0, 0) + quoted
    return body[:2] + struct.pack("!H", csum(body)) + body[4:]


@test
def two_levels():
    """a VIP with more DIPs than a set holds: a mux sends to TIPs, whose mux chooses again with the second key"""
    tips, each = 6, 6
    net = Net()
    # another mux: its own namespace, between m and the DIPs' network
    run("ip", "netns", "del", "t", ok=False)
    run("ip", "netns", "add", "t")
    batch("t", "link set lo up\nlink add t0 type veth peer name t0m netns m\naddr add 10.5.0.2/24 dev t0\nlink set t0 up\n"
          "link add t1 type veth peer name t1d netns d\naddr add 10.6.0.1/24 dev t1\nlink set t1 up\n"
          "link add mux1 type duet\nlink set mux1 up\nroute add default via 10.5.0.1\n")
    batch("m", "addr add 10.5.0.1/24 dev t0m\nlink set t0m up\nroute add 10.9.0.0/24 via 10.5.0.2\n")
    batch("d", "addr add 10.6.0.2/24 dev t1d\nlink set t1d up\n")
    mac = net.mac("d", "t1d").hex(":")
    try:
        with inside("t"), open("/proc/sys/net/ipv4/ip_forward", "w", encoding="ascii") as f:
            f.write("1")
        real = [[f"10.6.{1 + t}.{1 + n}" for n in range(each)] for t in range(tips)]
        batch("t", "".join(f"route add 10.6.{1 + t}.0/24 dev t1\n" + "".join(
            f"neigh replace {d} lladdr {mac} dev t1 nud permanent\n" for d in real[t]) for t in range(tips)))
        duet("dev", "set", "mux1", "key", model.key(7), "local", "10.6.0.1", ns="t")
        duet("port", "add", "mux1", "t0", ns="t")
        duet("vip", "set", "mux1", "-f", "-", ns="t", stdin=json.dumps({"vips": [
            {"vip": f"10.9.0.{1 + t}", "kind": "tip", "rules": [{"dips": [{"address": d} for d in real[t]]}]} for t in range(tips)]}))
        net.vip([f"10.9.0.{1 + t}" for t in range(tips)])
        out = packet_socket("d", "t1d", ETH_P_IP)
        first = model.Table([(f"10.9.0.{1 + t}", 1, False) for t in range(tips)])
        second = [model.Table([(d, 1, False) for d in real[t]]) for t in range(tips)]
        want, seen = {}, {}
        for sport in range(4000, 4200):
            tip = int(first.choose(CLIENT, VIP, 17, sport, 53, model.key(7), "5tuple").rsplit(".", 1)[1]) - 1
            want[sport] = second[tip].choose(CLIENT, VIP, 17, sport, 53, model.key_level2(model.key(7)), "5tuple")
            net.send(ip4(CLIENT, VIP, 17, udp(CLIENT, VIP, sport, 53), ttl=64))
        for frame in receive(out, is_ipip, seconds=30, count=len(want)):
            inner = frame[34:]
            equal((inner[8], inner[9]), (62, 17), "TTL, one less at each mux, and protocol of what is inside")
            seen[struct.unpack("!H", inner[20:22])[0]] = outer_dst(frame)
        equal(seen, want, "DIPs by two levels")
        check(len(set(seen.values())) > tips * each * 3 // 4, f"only {len(set(seen.values()))} of {tips * each} DIPs got a flow")
        out.close()
    finally:
        run("ip", "netns", "del", "t", ok=False)


@test
def replaced_under_load():
    """a set replaced while packets stream in: each goes where the old or the new table sends it, none is lost or sent twice"""
    net = Net()
    sets = [[dip(n) for n in range(1, 6)], [dip(n) for n in range(4, 12)]]
    tables = [model.Table([(d, 1, False) for d in s]) for s in sets]
    allowed = {port: {t.choose(CLIENT, VIP, 17, port, 53, model.key(7), "5tuple") for t in tables} for port in range(2000, 2064)}
    packets, sent, stop = burst(64), [0], threading.Event()

    def stream():
        while not stop.is_set():
            for packet in packets:
                net.send(packet)
                sent[0] += 1
    net.vip(sets[0])
    drain(net.d)
    sender = threading.Thread(target=stream, daemon=True)
    sender.start()
    try:
        for turn in range(1, 30):
            net.vip(sets[turn % 2])
    finally:
        stop.set()
        sender.join()
    until(lambda: verdicts()["encap"] == sent[0], f"all {sent[0]} packets encapsulated; {verdicts()}")
    # nobody takes packets out of tunnels at these DIPs, and their kernel says so
    equal({k for k, v in verdicts().items() if v and k not in ("encap", "pass", "outer-error")}, set(), "drops")
    frames, seen = receive(net.d, is_ipip, seconds=5, count=sent[0]), {}
    for frame in frames:
        seen.setdefault(struct.unpack("!H", frame[54:56])[0], set()).add(outer_dst(frame))
    wrong = {p: d - allowed[p] for p, d in seen.items() if d - allowed[p]}
    equal(wrong, {}, "DIPs that neither table gives")
    check(any(len(d) == 2 for d in seen.values()), "no flow met both tables: the test shows nothing")
    shown = duet_json("vip", "show", "mux0", VIP)[0]
    equal(shown["packets"], sent[0], "packets counted for the VIP")


if __name__ == "__main__":
    main()
