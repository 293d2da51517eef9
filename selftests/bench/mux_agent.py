#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""duet-mux-agent measured, into out/results/mux-agent.json (make out/results/mux-agent.json).

Natively, with its simulated data plane, real trigger routes, real BIRD and a BGP neighbour in another namespace:
10,000 changes while agent and BIRD are killed, watched; one VIP's steps (the parts of the paper's Figure 14); 16,384
VIPs. Two clocks: CLOCK_MONOTONIC of a machine that may be busy with other things (medians, and the fastest tenth), and
the time that the agent itself was on a CPU (/proc/PID/schedstat), which others' load hardly changes.
usage: selftests/bench/mux_agent.py [--changes N] [--rounds N] [--vips N] [--out FILE]"""
import argparse
import http.client
import json
import os
import select
import statistics
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "selftests", "agents"))
import lib  # noqa: E402
from faults import Storm  # noqa: E402
from lib import inside, until  # noqa: E402
from muxlab import NS, PEER, PORT, Lab, Watcher, wish  # noqa: E402

CLOCK = "native, CLOCK_MONOTONIC, simulated data plane"


def say(text):
    print(f"# {text}", flush=True)


def clean():
    while lib.CLEANUP:
        lib.CLEANUP.pop()()


def spread(seconds):
    ordered = sorted(seconds)
    return {"median_ms": round(statistics.median(ordered) * 1e3, 3), "p10_ms": round(ordered[len(ordered) // 10] * 1e3, 3),
            "p90_ms": round(ordered[len(ordered) * 9 // 10] * 1e3, 3), "n": len(ordered)}


def on_cpu(lab):
    """seconds that the agent has run"""
    with open(f"/proc/{lab.daemons['agent'].child.pid}/schedstat", encoding="ascii") as f:
        return int(f.read().split()[0]) / 1e9


class Kept:
    """one connection to the agent, kept open as the controller keeps it"""

    def __init__(self, lab):
        self.lab = lab
        with inside(NS):
            self.connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=900)
            self.connection.connect()

    def ask(self, method, path, body=None):
        """status, answer, when it was asked, when it was answered"""
        text = json.dumps(body) if body is not None else None
        began = time.monotonic()
        self.connection.request(method, path, text)
        answer = self.connection.getresponse()
        data = answer.read()
        ended = time.monotonic()
        if answer.status >= 300:
            raise lib.Failed(f"{method} {path}: {answer.status} {data[:300]}")
        return json.loads(data or b"null"), began, ended

    def change(self, method, path, body=None):
        self.lab.generation += 1
        fence = {"epoch": self.lab.epoch, "generation": self.lab.generation}
        if method == "DELETE":
            return self.ask(method, f"{path}?epoch={fence['epoch']}&generation={fence['generation']}")
        return self.ask(method, path, {**fence, **(body or {})})


def storm(changes):
    s = Storm(rate=50, seed=7)
    began = time.monotonic()
    s.run(changes, 100, say)
    took = time.monotonic() - began
    converged = s.converge()
    seen = s.end()
    clean()
    return {"changes": s.changes, "announced_unprogrammed": len(seen["violations"]), "kills": s.kills, "refused": s.refused,
            "rate": round(s.changes / took, 1), "converged_seconds": round(converged, 3), "watcher_looks": seen["looks"],
            "neighbour_route_events": len(seen["events"])}


def one_vip(rounds):
    """every step alone, its answer and, where it shows there, its arrival in the neighbour's kernel"""
    lab = Lab(hold_ms=0)
    lab.put(*[wish(f"203.0.113.{n}") for n in range(100, 150)])
    until(lambda: len(lab.peer_routes()) == 50, "the neighbour has the others", 60)
    kept, vip = Kept(lab), "203.0.113.1"
    watch = Watcher(PEER, lambda v: True)
    asked = {}
    steps = {}
    cpu = {}

    def step(name, method, path, body=None, shows=None):
        ran = on_cpu(lab)
        _, began, ended = kept.change(method, path, body)
        cpu.setdefault(name, []).append(on_cpu(lab) - ran)
        steps.setdefault(name, []).append(ended - began)
        if shows is not None:
            asked.setdefault(name, []).append((began, shows))
            until(lambda: (vip in lab.peer_routes()) == shows, f"the neighbour after {name}", 30)
            # the agent's own look at BIRD is over, and nothing is on its way
            select.select([], [], [], 0.02)

    for n in range(rounds):
        step("vip_add", "PUT", f"/v1/vips/{vip}", wish(vip, announce="no"))
        step("announce", "POST", f"/v1/vips/{vip}/announce", shows=True)
        step("dip_add", "PUT", f"/v1/vips/{vip}", wish(vip, dips=("10.1.1.1", "10.1.1.2", "10.1.1.3", "10.1.1.4")))
        step("dip_remove", "PUT", f"/v1/vips/{vip}", wish(vip))
        step("withdraw", "POST", f"/v1/vips/{vip}/withdraw", shows=False)
        step("vip_remove", "DELETE", f"/v1/vips/{vip}")
        until(lambda: not os.path.exists(f"{lab.dir}/vips/{vip}"), "it is removed", 30)
        step("vip_add_announced", "PUT", f"/v1/vips/{vip}", wish(vip), shows=True)
        step("vip_remove_announced", "DELETE", f"/v1/vips/{vip}", shows=False)
        until(lambda: not os.path.exists(f"{lab.dir}/vips/{vip}"), "it is removed", 30)
    events = watch.stop()["events"]
    clean()
    result = {"rest_to_answer": {name: spread(times) for name, times in steps.items()}, "rest_to_neighbour": {},
              "agent_on_cpu": {name: spread(times) for name, times in cpu.items()}}
    for name, list_ in asked.items():
        arrivals = []
        for began, shows in list_:
            at = next((t for t, v, new in events if v == vip and new == shows and t >= began), None)
            if at is not None:
                arrivals.append(at - began)
        result["rest_to_neighbour"][name] = spread(arrivals)
    return result


def full_sync(n):
    """n VIPs from REST to tables; restart; one that differs; all announced to the neighbour"""
    lab = Lab(max_vips=0xfffffffe, max_members=0xfffffffe, max_tunnels=0xfffffffe)
    vips = [wish(f"198.{18 + i // 65536}.{i // 256 % 256}.{i % 256}", dips=[f"10.1.{i % 16}.{1 + (i + k * 7) % 250}" for k in range(4)],
                 announce="no") for i in range(1, n + 1)]
    kept = Kept(lab)
    state = {"key": f"{7:032x}", "aggregate": None, "vips": vips}
    ran = on_cpu(lab)
    answer, began, ended = kept.change("PUT", "/v1/state", state)
    result = {"vips": answer["changed"]["added"], "seconds": round(ended - began, 3), "clock": CLOCK,
              "agent_on_cpu_seconds": round(on_cpu(lab) - ran, 3)}
    before = lab.status()["device"]["generation"]
    lab.daemons["agent"].kill()
    began = time.monotonic()
    lab.start("agent", NS)
    until(lab.answers, "the agent answers", 60)
    result["restart_seconds"] = round(time.monotonic() - began, 3)
    kept = Kept(lab)
    answer, began, ended = kept.change("PUT", "/v1/state", state)
    result["same_again"] = {"seconds": round(ended - began, 3), "changed": sum(answer["changed"].values()),
                            "writes": lab.status()["device"]["generation"] - before}
    vips[n // 2] = {**vips[n // 2], "rules": wish("203.0.113.1")["rules"]}
    answer, began, ended = kept.change("PUT", "/v1/state", state)
    result["one_differs"] = {"seconds": round(ended - began, 3), "changed": sum(answer["changed"].values()),
                             "writes": lab.status()["device"]["generation"] - before}
    _, began, ended = kept.change("PUT", f"/v1/vips/{vips[0]['vip']}", {**vips[0], "rules": wish("203.0.113.1")["rules"]})
    result["one_put"] = {"seconds": round(ended - began, 4)}
    for vip in vips:
        vip["announce"] = "yes"
    _, began, ended = kept.change("PUT", "/v1/state", state)
    result["announce_all"] = {"rest_seconds": round(ended - began, 3)}
    until(lambda: lab.status()["bird"]["exported"] == n, "BIRD has them all", 120)
    until(lambda: len(lab.peer_routes()) == n, "the neighbour has them all", 120)
    result["announce_all"].update(neighbour_seconds_at_most=round(time.monotonic() - began, 3), reloads=lab.status()["bird"]["reloads"])
    clean()
    return result


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--changes", type=int, default=10000)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--vips", type=int, default=16384)
    parser.add_argument("--kernel", help="what selftests/bench/mux_kernel.py measured, to be put in")
    parser.add_argument("--out", default=os.path.join(lib.OUT, "results", "mux-agent.json"))
    args = parser.parse_args()
    if os.path.isdir("/dev/shm"):
        tempfile.tempdir = "/dev/shm"	# the simulated tables are files: of memory, as a kernel's are
    try:
        result = {"command": "make out/results/mux-agent.json", "clock": CLOCK, "load_average": os.getloadavg()[0]}
        result["one_vip"] = one_vip(args.rounds)
        say(f"one VIP: {result['one_vip']}")
        result["full_sync"] = full_sync(args.vips)
        say(f"full sync: {result['full_sync']}")
        result.update(storm(args.changes))
        say(f"storm: {result['changes']} changes, {result['announced_unprogrammed']} announced unprogrammed")
        # lost packets need a data plane: None until it was measured on the module
        result["packets_lost_beyond_routing"] = None
        if args.kernel and os.path.exists(args.kernel):
            with open(args.kernel, encoding="ascii") as f:
                result.update(json.load(f))
    finally:
        clean()
    os.makedirs(os.path.dirname(args.out), exist_ok=True)
    with open(args.out, "w", encoding="ascii") as f:
        json.dump(result, f, indent=1)
        f.write("\n")
    print(args.out)


if __name__ == "__main__":
    main()
