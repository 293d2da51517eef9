#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""The part of selftests/bench/mux_agent.py that needs the module, run in a VM: traffic while VIPs change and agent and
BIRD are killed, and 16,384 VIPs from REST to the kernel's tables.
usage: mux_kernel.py --out FILE [--changes N] [--vips N] [--clock TEXT]"""
import argparse
import json
import multiprocessing
import os
import socket
import sys
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "selftests", "agents"))
sys.path.insert(0, os.path.join(TOP, "selftests", "bench"))
import lib  # noqa: E402
from faults import VIPS, Storm  # noqa: E402
from lib import inside, run, until  # noqa: E402
from mux_agent import Kept, clean, say  # noqa: E402
from muxlab import NS, PEER, Lab, wish  # noqa: E402


def send(pipe):
    """datagrams to every VIP in turn; one that the routing has a way for counts as sent"""
    with inside(PEER):
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sent = unrouted = n = 0
    while not pipe.poll(0.002):
        n += 1
        try:
            s.sendto(b"x" * 32, (VIPS[n % len(VIPS)], 1024 + n % 60000))
            sent += 1
        except OSError:
            unrouted += 1
    pipe.send((sent, unrouted))


def counters(lab):
    return {k: v["packets"] for k, v in lab.status()["device"]["counters"].items() if v["packets"]}


def storm(changes):
    s = Storm(rate=50, seed=3, backend="kmod", ports="swp1", keepalive_ms=0)
    run("ip", "-n", PEER, "route", "add", "unreachable", "203.0.113.0/24")
    # the kernel finds no route from an address that it hasn't got
    run("ip", "-n", NS, "addr", "add", "10.254.0.7/32", "dev", "lo")
    # the first packets need the neighbours' addresses, which is none of the mux's business
    run("ip", "-n", PEER, "neigh", "replace", "10.255.0.0", "lladdr", mac(NS), "dev", "swp1", "nud", "permanent")
    run("ip", "-n", NS, "neigh", "replace", "10.255.0.1", "lladdr", mac(PEER), "dev", "swp1", "nud", "permanent")
    before = counters(s.lab)
    ours, other = multiprocessing.Pipe()
    child = multiprocessing.Process(target=send, args=(other,), daemon=True)
    child.start()
    began = time.monotonic()
    s.run(changes, 25, say)
    rate = s.changes / (time.monotonic() - began)
    ours.send("stop")
    sent, unrouted = ours.recv()
    converged = s.converge()
    after = counters(s.lab)
    s.end()
    clean()
    encap = after.get("encap", 0) - before.get("encap", 0)
    return {"packets_lost_beyond_routing": sent - encap,
            "traffic": {"changes": s.changes, "rate": round(rate, 1), "kills": s.kills, "sent": sent, "encapsulated": encap,
                        "no_route_at_the_sender": unrouted, "counters": after, "converged_seconds": round(converged, 3)}}


def mac(ns):
    return json.loads(run("ip", "-n", ns, "-j", "link", "show", "swp1"))[0]["address"]


def full_sync(n, clock):
    lab = Lab(bird=False, backend="kmod", max_vips=n, max_members=0xfffffffe, max_tunnels=0xfffffffe, keepalive_ms=0)
    vips = [wish(f"198.{18 + i // 65536}.{i // 256 % 256}.{i % 256}", dips=[f"10.1.{i % 16}.{1 + (i + k * 7) % 250}" for k in range(4)],
                 announce="no") for i in range(1, n + 1)]
    state = {"key": f"{7:032x}", "aggregate": None, "vips": vips}
    answer, began, ended = Kept(lab).change("PUT", "/v1/state", state)
    result = {"vips": answer["changed"]["added"], "seconds": round(ended - began, 3), "clock": clock}
    generation = lab.status()["device"]["generation"]
    lab.daemons["agent"].kill()
    began = time.monotonic()
    lab.start("agent", NS)
    until(lab.answers, "the agent answers", 300)
    result["restart_seconds"] = round(time.monotonic() - began, 3)
    answer, began, ended = Kept(lab).change("PUT", "/v1/state", state)
    result["same_again"] = {"seconds": round(ended - began, 3), "kernel_writes": lab.status()["device"]["generation"] - generation}
    vips[n // 2] = {**vips[n // 2], "rules": wish("203.0.113.1")["rules"]}
    answer, began, ended = Kept(lab).change("PUT", "/v1/state", state)
    result["one_differs"] = {"seconds": round(ended - began, 3), "kernel_writes": lab.status()["device"]["generation"] - generation}
    clean()
    return result


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--changes", type=int, default=1000)
    parser.add_argument("--vips", type=int, default=16384)
    parser.add_argument("--clock", default="VM in software emulation, 2 CPUs, CLOCK_MONOTONIC")
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    run("modprobe", "-a", "veth", "ipv6", ok=False)
    result = {}
    try:
        if args.vips:
            result["full_sync_kernel"] = full_sync(args.vips, args.clock)
            say(f"full sync: {result}")
        if args.changes:
            result.update(storm(args.changes))
            say(f"storm: {result}")
    finally:
        clean()
    with open(args.out, "w", encoding="ascii") as f:
        json.dump(result, f, indent=1)


if __name__ == "__main__":
    main()
