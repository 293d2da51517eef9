#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""What the host agent costs and how fast it is: out/results/host-agent.json (`make out/results/host-agent.json`).

receive: instructions a packet on the way from the wire to the service's socket, in the VM under icount (one
    instruction is one nanosecond of guest time), IPv4 in IPv4 from a raw socket over veth, all ways in one boot; each is
    net of what the sender, veth and a drop at the device's ingress cost.
snat, probes, dip_death_ms: on this machine, real time.

With --here only these last, and nothing is written; with --receive only the first, in the kernel it is called in: in the VM,
or here in nanoseconds (then without the ipip device if this kernel has none).
"""
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "selftests", "agents"))
import test_host_agent as base  # pylint: disable=wrong-import-position
from test_host_agent import CLIENT, DIP, HOST, MUX, PEER, VIP, W, inside, ip4, sh, until  # pylint: disable=wrong-import-position

PACKETS, FLOWS, TIMEOUT_MS = 20000, 64, 300
SERVERS = []	# all that were started: none outlives a failure


def frames(outer):
    def udp(sport):
        return struct.pack("!HHHH", sport, 7, 8 + 18, 0) + b"x" * 18
    inner = [ip4(CLIENT, VIP, 17, udp(1024 + n)) for n in range(FLOWS)]
    return [W.wire.header + ip4(MUX, DIP, 4, p) if outer else W.wire.header + p for p in inner]


def cost(name):
    """Instructions a packet: all of it, sender included."""
    with inside(PEER):
        s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        s.bind(("p0", 0))
    send = frames(True)
    for n in range(2000):
        s.send(send[n % FLOWS])
    start = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    for n in range(PACKETS):
        s.send(send[n % FLOWS])
    took = (time.clock_gettime_ns(time.CLOCK_MONOTONIC) - start) / PACKETS
    s.close()
    print(f"# {name}: {took:.0f} with the sender", file=sys.stderr, flush=True)
    return took


def agent(*vips, **conf):
    """An agent told this; the packets need none that runs."""
    W.agent = base.Agent()
    W.agent.stop()
    with open(W.agent.conf, "a", encoding="ascii") as f:
        f.writelines(f"{k} = {v}\n" for k, v in conf.items())
    W.agent.start()
    W.agent.put(*vips)
    W.agent.stop()


def gone():
    sh(base.AGENT, "-c", W.agent.conf, "--uninstall", ns=HOST)


def received(port):
    """A socket whose buffer is full: all that comes is counted as such, at once."""
    with inside(HOST):
        s, filler = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    s.bind(("0.0.0.0", port))
    for _ in range(100):
        filler.sendto(b"full", ("127.0.0.1", port))
    filler.close()
    return s


def receive():
    """In the VM: each way from a fresh start, all in one boot."""
    base.setup()
    W.wire, W.controller, out = base.Wire(), base.Controller(), {}
    sh("ip", "addr", "add", f"{VIP}/32", "dev", "lo", ns=HOST)
    for dev in ("all", "e0"):
        sh("sysctl", "-qw", f"net.ipv4.conf.{dev}.rp_filter=0", ns=HOST)
    sock = received(7)
    sh("nft", "add table netdev floor; add chain netdev floor in { type filter hook ingress device e0 priority 0; policy drop; }", ns=HOST)
    floor = cost("drop at the device's ingress")
    sh("nft", "delete", "table", "netdev", "floor", ns=HOST)

    def way(name):
        before = snmp()
        out[name] = round(cost(name) - floor)
        got = snmp() - before
        if got != PACKETS + 2000:
            raise RuntimeError(f"{name}: {got} of {PACKETS + 2000} packets reached the socket")

    sh("ip", "link", "add", "tun0", "type", "ipip", "local", DIP, "remote", "any", ns=HOST, ok=False)
    if "tun0" in sh("ip", "link", ns=HOST):
        sh("ip", "link", "set", "tun0", "up", ns=HOST)
        sh("sysctl", "-qw", "net.ipv4.conf.tun0.rp_filter=0", ns=HOST)
        way("ipip_device")
        sh("ip", "link", "del", "tun0", ns=HOST)
    agent(base.vip(), meter="no")
    way("decap")
    gone()
    agent(base.vip())
    way("decap_metering")
    gone()
    agent({**base.vip(), "accept": [{"proto": "udp", "port": 7}]}, meter="no")
    way("decap_rule")
    gone()
    agent({**base.vip(), "accept": [{"proto": "udp", "port": 1000 + n} for n in range(63)] + [{"proto": "udp", "port": 7}]}, meter="no")
    way("decap_64_rules")
    gone()
    sock.close()
    sock = received(5007)
    agent({"vip": VIP, "dip": DIP, "delivery": "nat", "ports": [{"proto": "udp", "port": 7, "to": 5007}]})
    way("decap_nat")
    gone()
    out["unit"] = "ns"
    print(json.dumps(out))
    base.cleanup()


def snmp():
    """UDP packets that found a socket: taken, or dropped because its buffer is full."""
    names, values = [l.split() for l in sh("cat", "/proc/net/snmp", ns=HOST).splitlines() if l.startswith("Udp:")]
    return sum(int(values[names.index(n)]) for n in ("InDatagrams", "InErrors"))


def nginx(port):
    SERVERS.append(base.nginx(HOST, port, "hello"))
    return SERVERS[-1]


def deaths(times=10):
    """Milliseconds from kill -9 of a DIP's nginx to its report at the controller."""
    took = []
    for n in range(times):
        server = nginx(80)
        W.agent.put(base.vip(VIP, {**base.HTTP_CHECK, "interval_ms": 500, "timeout_ms": TIMEOUT_MS}))
        until(lambda: W.controller.state() == "up", "up")
        # at another moment of the interval each time
        threading.Event().wait(0.05 * n)
        start = time.monotonic()
        server.send_signal(signal.SIGKILL)
        until(lambda: W.controller.state() == "down", "down")
        at = next(r[0] for r in W.controller.reports if r[0] > start and r[2]["dips"] and r[2]["dips"][0]["state"] == "down")
        took.append((at - start) * 1000)
        server.wait()
    took.sort()
    return {"median": round(took[times // 2], 1), "max": round(took[-1], 1), "probe_timeout": TIMEOUT_MS, "runs": times, "clock": "real time"}


def probes(seconds=4):
    """Probes a second that one core can do: HTTP to nginx, 200 of them every 10 ms or as fast as it goes."""
    server = nginx(80)
    W.agent.put(base.vip(VIP, *[{**base.HTTP_CHECK, "rule": n, "interval_ms": 10, "timeout_ms": 5000} for n in range(200)]))
    until(lambda: W.controller.state() == "up", "up")

    def now():
        with open(f"/proc/{pid}/stat", encoding="ascii") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return sum(c["probes"] for c in W.agent.status()["vips"][0]["checks"]), (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    pid = W.agent.child.pid
    a = now()
    threading.Event().wait(seconds)
    b = now()
    server.kill()
    server.wait()
    return round((b[0] - a[0]) / (b[1] - a[1]))


def snat():
    with tempfile.NamedTemporaryFile(suffix=".json") as f:
        subprocess.run([os.path.join(TOP, "selftests/agents/test_host_snat.py"), "ten_thousand"], check=True, stdout=sys.stderr,
                       env={**os.environ, "DUET_SNAT_RESULT": f.name})
        return json.load(open(f.name, encoding="ascii"))


def here():
    """What needs no other kernel than this machine's"""
    result = {"snat": snat()}
    base.setup()
    try:
        W.wire, W.controller, W.agent = base.Wire(), base.Controller(), base.Agent()
        result["dip_death_ms"] = deaths()
        result["probes_per_second_core"] = probes()
    finally:
        for server in SERVERS:
            server.kill()
        W.agent.stop()
        base.cleanup()
    return result


def main():
    if sys.argv[1:] == ["--receive"]:
        receive()
        return
    if sys.argv[1:] == ["--here"]:
        print(json.dumps(here(), indent=1))
        return
    vm = subprocess.run([os.path.join(TOP, "scripts/vm"), "--icount", "--timeout", "1500", "--name", "bench-host", "--",
                         "env", "DUET_PATIENCE=20", os.path.abspath(__file__), "--receive"], check=True, stdout=subprocess.PIPE, text=True).stdout
    result = {"receive": json.loads([l for l in vm.splitlines() if l.startswith("{")][-1])}
    if "ipip_device" not in result["receive"]:
        raise RuntimeError("the VM's kernel has no ipip device to compare with")
    result["receive"]["unit"] = "instructions"	# under icount each takes one nanosecond
    result.update(here())
    os.makedirs(os.path.join(TOP, "out", "results"), exist_ok=True)
    with open(os.path.join(TOP, "out", "results", "host-agent.json"), "w", encoding="ascii") as f:
        json.dump(result, f, indent=1)
        f.write("\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
