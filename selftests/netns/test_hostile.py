#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""What an unprivileged user can do to the machine through a mux in a namespace of his own (`unshare -Urn`).

Every test runs as nobody, as root of a user namespace of his. The kernel may refuse, drop or answer; it may not complain:
a panic ends the VM, a warning taints the kernel, and scripts/vm reads the kernel's log.
"""
import json
import os
import random
import select
import socket
import struct
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import DUET, PATIENCE, Failed, check, csum, equal, ip4, main, run, tcp, test, udp, until  # noqa: E402

# Every queueing discipline of the kernel that can be the root of a device, as busy as it can be made. Several lines: one after the other.
QDISCS = {
    "bfifo": "root bfifo limit 300000", "pfifo": "root pfifo limit 1000", "pfifo_fast": "root pfifo_fast",
    "pfifo_head_drop": "root pfifo_head_drop limit 100",
    "sfb": "root sfb rehash 1 db 1", "cake": "root cake bandwidth 1gbit\nroot cake unlimited ack-filter nat wash split-gso",
    "codel": "root codel target 1us interval 10us ecn", "fq_codel": "root fq_codel target 1us interval 10us flows 4 ecn",
    "fq": "root fq flow_limit 50 maxrate 1gbit", "fq_pie": "root fq_pie target 1us tupdate 1ms", "pie": "root pie target 1us tupdate 1ms ecn",
    "netem": "root netem delay 1ms 1ms reorder 30% 50%\nroot netem duplicate 50% corrupt 20%\nroot netem loss 20% rate 1gbit\nroot netem slot 1ms 2ms",
    "sfq": "root sfq perturb 1\nroot sfq headdrop divisor 64 redflowlimit 100000 ecn",
    "red": "root red limit 400000 min 3000 max 9000 avpkt 1000 ecn",
    "gred": "root gred setup DPs 2 default 0 grio\nchange gred DP 0 limit 60000 min 1500 max 4500 avpkt 1000 burst 4 bandwidth 1gbit probability 0.5 prio 2",
    "choke": "root choke limit 1000 min 2 max 4 avpkt 1000 burst 4 bandwidth 1gbit ecn", "hhf": "root hhf",
    "tbf": "root tbf rate 1gbit burst 100k latency 10ms", "prio": "root prio", "multiq": "root multiq", "mqprio": "root mqprio num_tc 1 map 0 queues 1@0 hw 0",
    "htb": "root handle 1: htb default 1\nCLASS parent 1: classid 1:1 htb rate 1gbit\nparent 1:1 sfb rehash 1 db 1",
    "hfsc": "root handle 1: hfsc default 1\nCLASS parent 1: classid 1:1 hfsc sc rate 1gbit ul rate 1gbit\nparent 1:1 fq_codel",
    "drr": "root handle 1: drr\nCLASS parent 1: classid 1:1 drr\nFILTER parent 1: matchall classid 1:1",
    "qfq": "root handle 1: qfq\nCLASS parent 1: classid 1:1 qfq weight 1 maxpkt 2048\nFILTER parent 1: matchall classid 1:1",
    "ets": "root ets bands 2 quanta 1500 1500", "cbs": "root cbs idleslope 100000 sendslope -900000 hicredit 100 locredit -100",
    "etf": "root etf clockid CLOCK_TAI delta 100000", "skbprio": "root skbprio limit 64", "plug": "root plug", "taprio": "root taprio num_tc 1 map 0 queues 1@0",
}
HELPERS = ("cls_matchall", "act_mirred", "veth", "dummy")


def tainted():
    with open("/proc/sys/kernel/tainted", encoding="ascii") as f:
        return int(f.read())


def as_nobody(step, *args):
    """Run step() of this file as root of a namespace that belongs to nobody."""
    before = tainted()
    done = subprocess.run(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "unshare", "-Urn", sys.executable,
                           os.path.abspath(__file__), "--step", step] + list(args),
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=300 * PATIENCE)
    for line in done.stdout.splitlines()[-12:]:
        print(f"# {line}", flush=True)
    equal(done.returncode, 0, f"exit status of {step}")
    equal(tainted(), before, "the kernel's taint")


# The steps: in the namespace, with nothing of the tests' own around.

def ip(text):
    run("ip", "-batch", "-", stdin=text)


def vip(address, dips, **policy):
    run(DUET, "vip", "set", "d0", "-f", "-", stdin=json.dumps({"vips": [{"vip": address, "rules": [{"dips": dips}], **policy}]}))


def counted():
    return {k: v["packets"] for k, v in json.loads(run(DUET, "-j", "stats", "d0")[1])["verdicts"].items()}


V4 = {"none": "10.9.0.9", "down": "10.9.0.50", "big": "10.9.0.51", "noroute": "10.9.0.52", "six": "10.9.0.53"}
V6 = {"none": "2001:db8:9::9", "down": "2001:db8:9::50", "big": "2001:db8:9::51", "noroute": "2001:db8:9::52", "six": "2001:db8:9::53"}


def mux():
    """d0 with a VIP for each kind of ICMP: no DIP up, a DIP behind a small MTU, a DIP without a route; and none at all."""
    ip("link set lo up\nlink add d0 type duet\nlink set d0 up\naddr add 10.9.0.1/24 dev d0\naddr add 2001:db8:9::1/64 dev d0 nodad\n"
       "link add u0 type dummy\nlink set u0 mtu 1280 up\naddr add 10.8.0.1/24 dev u0\naddr add 2001:db8:8::1/64 dev u0 nodad\n"
       "neigh add 10.8.0.2 lladdr 02:00:00:00:00:02 dev u0\nneigh add 2001:db8:8::2 lladdr 02:00:00:00:00:02 dev u0\n")
    run(DUET, "dev", "set", "d0", "local", "10.8.0.1")
    run(DUET, "dev", "set", "d0", "local", "2001:db8:8::1")
    for have, dip, far, other in ((V4, "10.8.0.2", "192.0.2.1", "2001:db8:8::2"), (V6, "2001:db8:8::2", "2001:db8:77::1", "10.8.0.2")):
        vip(have["down"], [{"address": dip, "state": "down"}], all_down="reject")
        vip(have["big"], [{"address": dip}])
        vip(have["noroute"], [{"address": far}])
        vip(have["six"], [{"address": other}], oversize="refuse")


def sockets():
    """Datagram sockets of both families that set DF, one of them with IP options, and raw ones."""
    found = []
    for family, have in ((socket.AF_INET, V4), (socket.AF_INET6, V6)):
        sock = socket.socket(family, socket.SOCK_DGRAM)
        if family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_IP, 10, 3)	# IP_MTU_DISCOVER: IP_PMTUDISC_PROBE
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, 23, 3)
        found.append((sock, have))
    options = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    options.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, bytes((7, 39, 4)) + bytes(36) + b"\0")	# record route, as long as can be
    found.append((options, V4))
    for sock, _ in found:
        sock.setblocking(False)
    return found


def traffic(count):
    """Datagrams to every VIP and to none, of many sizes."""
    socks = sockets()
    for n in range(count):
        sock, have = socks[n % len(socks)]
        name = list(have)[n // 3 % len(have)]
        try:
            sock.sendto(b"x" * (n * 37 % 1400), (have[name], 1024 + n % 5000))
        except OSError:		# the answer to an earlier one, or no room
            continue
    for sock, _ in socks:
        sock.close()


def install(lines):
    """A queueing discipline on d0: True if the kernel has it for such a device."""
    run("tc", "qdisc", "del", "dev", "d0", "root", ok=False)
    for line in lines.splitlines():
        words = line.split()
        kind, verb = "qdisc", "add" if "root" in words or "parent" in words else words.pop(0)
        if words[0] in ("CLASS", "FILTER"):
            kind = words.pop(0).lower()
        if run("tc", kind, verb, "dev", "d0", *words, ok=False)[0]:
            return False
    return True


def step_qdiscs(*names):
    mux()
    able = []
    for name in names:
        lines, variants = QDISCS[name], []
        # one queueing discipline of several lines, or several of one line each
        variants = [lines] if "handle" in lines or "change" in lines else lines.splitlines()
        for variant in variants:
            if not install(variant):
                continue
            before = counted()
            traffic(2400 if name == "sfb" else 500)
            garbage(60)
            if name not in ("plug", "etf", "taprio", "cbs"):	# these keep what they get until told, or for long
                until(lambda: counted()["pass"] > before["pass"] + 10, f"packets leave {name}")  # pylint: disable=cell-var-from-loop
            able.append(name)
    run("tc", "qdisc", "del", "dev", "d0", "root", ok=False)
    print("tried: " + " ".join(dict.fromkeys(able)))
    missing = sorted(set(names) - set(able))
    print("refused for such a device, or not in this kernel: " + " ".join(missing))
    check(len(set(able)) >= min(len(names), 12), f"only {able} could be tried")


def shapes(seed):
    """Packets that nobody sends, without end: every length, IPv4 and IPv6 by turns, whole, cut short, with options, garbage."""
    rng = random.Random(seed)
    n = 0
    while True:
        n += 1
        size = n % 101
        target4, target6 = rng.choice(list(V4.values())), rng.choice(list(V6.values()))
        raw4 = ip4("10.9.0.1", target4, rng.choice((1, 4, 6, 17, 41, 47, 58, 132, 255)), rng.randbytes(size), ttl=rng.choice((0, 1, 2, 64)),
                   frag=rng.choice((0, 0x4000, 0x2000, 0x1fff, 0x2001)))
        raw6 = struct.pack("!IHBB", 0x60000000, size, rng.choice((0, 4, 6, 17, 41, 43, 44, 58, 60, 59)), rng.choice((0, 1, 64))) \
            + socket.inet_pton(socket.AF_INET6, "2001:db8:9::1") + socket.inet_pton(socket.AF_INET6, target6) + rng.randbytes(size)
        yield 0x0800, raw4[:size]
        yield 0x0800, raw4
        yield 0x86dd, raw6[:size]
        yield 0x86dd, raw6
        yield rng.choice((0x0800, 0x86dd, 0x8100, 0x0806, 0, 0xffff, 0x0060)), rng.randbytes(size)
        options = bytes((0x40 | 5 + n % 11,)) + raw4[1:20] + rng.randbytes(n % 11 * 4)
        options = options[:10] + b"\0\0" + options[12:]
        yield 0x0800, options[:10] + struct.pack("!H", csum(options)) + options[12:] + raw4[20:]


def garbage(count, dev="d0"):
    """AF_PACKET, raw and cooked, and with a virtio header that promises segments and checksums that aren't there."""
    rng = random.Random(count)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw, socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM) as cooked, \
            socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as vnet:
        vnet.setsockopt(263, 15, 1)		# SOL_PACKET, PACKET_VNET_HDR
        for number, (proto, packet) in zip(range(count), shapes(count)):
            big = packet + rng.randbytes(rng.choice((0, 0, 1400, 9000)))
            header = struct.pack("<BBHHHH", rng.choice((0, 1, 2)), rng.choice((0, 1, 3, 4, 5, 0x81, 0x84)), rng.randrange(120),
                                 rng.choice((0, 1, 8, 100, 1400, 65535)), rng.randrange(80), rng.choice((0, 6, 16)))
            for sock, data in ((raw, packet), (cooked, packet), (vnet, header + big)):
                sock.setblocking(False)
                try:
                    sock.sendto(data, (dev, proto))
                except OSError:
                    continue
            if number % 64 == 63:
                select.select([], [raw], [], 1)


def step_garbage():
    mux()
    garbage(1500)
    run("tc", "qdisc", "add", "dev", "d0", "root", "netem", "delay", "1ms", "duplicate", "50%", ok=False)
    garbage(400)
    before = counted()
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:	# with a route, and what the sender makes of the header
        sock.setblocking(False)
        for _, (proto, packet) in zip(range(1200), shapes(7)):
            try:
                if proto == 0x0800 and len(packet) >= 20:
                    sock.sendto(packet, (V4["none"], 0))
            except OSError:
                continue
    until(lambda: sum(counted().values()) > sum(before.values()), "raw packets reach the mux")


def step_redirect():
    """Packets of other devices, put into the mux by tc, and the mux's own put back into it."""
    mux()
    ip("link add x0 type veth peer name x1\nlink set x0 up\nlink set x1 up\n"
       "link add d1 type duet\nlink set d1 up\n")
    mac = json.loads(run("ip", "-j", "link", "show", "x1")[1])[0]["address"]
    head = bytes.fromhex(mac.replace(":", "")) * 2
    for dev, where, action in (("x1", "ingress", "redirect"), ("x1", "ingress", "mirror")):
        run("tc", "qdisc", "replace", "dev", dev, "clsact")
        run("tc", "filter", "replace", "dev", dev, where, "prio", "1", "handle", "1", "matchall",
            "action", "mirred", "egress", action, "dev", "d0")
        before = sum(counted().values())
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
            sock.bind(("x0", 0))
            sock.setblocking(False)
            for n, (proto, packet) in zip(range(900), shapes(3)):
                tag = b"\x81\x00\x00\x07" if n % 9 == 0 else b""
                try:
                    sock.send(head + tag + struct.pack("!H", proto) + packet)
                    for name in V4:
                        sock.send(head + b"\x08\x00" + ip4("10.1.0.2", V4[name], 17, udp("10.1.0.2", V4[name], n, 53, b"x" * 1240)))
                        sock.send(head + b"\x08\x00" + ip4("10.1.0.2", V4[name], 6, tcp(n, 80)))
                except OSError:
                    continue
        until(lambda: sum(counted().values()) > before + 100, f"tc's {action} reaches the mux")  # pylint: disable=cell-var-from-loop
        run("tc", "filter", "del", "dev", dev, where)
    # a circle: what the mux sends by u0 comes back into it, and what goes into it goes into another mux and back
    run("tc", "qdisc", "replace", "dev", "u0", "clsact")
    run("tc", "filter", "add", "dev", "u0", "egress", "matchall", "action", "mirred", "egress", "redirect", "dev", "d0")
    traffic(300)
    for here, there in (("d0", "d1"), ("d1", "d0")):
        run("tc", "qdisc", "replace", "dev", here, "clsact")
        run("tc", "filter", "add", "dev", here, "egress", "matchall", "action", "mirred", "egress", "redirect", "dev", there)
    traffic(300)
    garbage(60)


@test
def queueing_disciplines():
    """every queueing discipline on a mux, and traffic that makes each kind of ICMP: its notes in the packet are never read as IP options"""
    for helper in HELPERS:
        run("modprobe", helper, ok=False)
    loaded = [q for q in QDISCS if q in ("bfifo", "pfifo", "pfifo_fast", "pfifo_head_drop") or run("modprobe", f"sch_{q}", ok=False)[0] == 0]
    check("sfb" in loaded, f"sch_sfb isn't among {loaded}")
    as_nobody("qdiscs", *loaded)


@test
def packets_of_every_shape():
    """AF_PACKET and raw sockets put garbage of every length into a mux, also as segments with a virtio header"""
    as_nobody("garbage")


@test
def redirected_packets():
    """tc puts the packets of other devices into a mux, and the mux's own back into it"""
    as_nobody("redirect")


STEPS = {"qdiscs": step_qdiscs, "garbage": step_garbage, "redirect": step_redirect}

if __name__ == "__main__":
    if sys.argv[1:2] == ["--step"]:
        try:
            STEPS[sys.argv[2]](*sys.argv[3:])
        except Failed as error:
            sys.exit(str(error))
        sys.exit(0)
    main()
