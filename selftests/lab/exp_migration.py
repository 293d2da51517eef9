# SPDX-License-Identifier: GPL-2.0
"""Figure 13: VIPs move by the controller's own waves. VIP1 goes from its HMux to
the SMuxes, VIP2 from the SMuxes to an HMux, VIP3 from HMux to HMux through them."""
import time

import experiment
import ops
from chain import PLACES, SECOND, figure_rows, kept, lost_pings
from experiment import spread
from testbed import Failed

VIP1, VIP2, VIP3 = "203.0.113.2", "203.0.113.8", "203.0.113.4"
HOME = {vip: PLACES[vip] for vip in SECOND}
AWAY = SECOND
MARGIN = 0.1


def watch_wave(chain, where, before, began):
    """times of the wave's two halves, seen in the fabric's kernels: all withdrawn, all announced"""
    gone = [v for v, mux in before.items() if mux != "smux" and where[v] != mux]
    come = {v: mux for v, mux in where.items() if mux != "smux" and before[v] != mux}
    out = seen = began
    if gone:
        # VIP3 comes back from another switch: so short an absence that changes are read, not states. A
        # switch may hear of the new place before it has dropped the old one: that counts as dropped
        waiting = {(name, v + "/32") for v in gone for name in chain.others(before[v])}
        start = len(chain.watch.changes)
        while waiting:
            if not chain.watch.take(10):
                raise Failed(f"{len(waiting)} withdrawals of a wave not seen, one of {sorted(waiting)[0]}")
            for name, _, dst in chain.watch.changes[start:]:
                if (name, dst) in waiting:
                    waiting.discard((name, dst))
                    out = time.monotonic()
            start = len(chain.watch.changes)
    for vip, mux in come.items():
        when = chain.routes(lambda t: vip + "/32" in t, (mux,), 30)
        if when is None:
            raise Failed(f"{vip} is not announced by {mux}")
        seen = max(seen, when)
    return out, seen


def one_wave(chain, where, before, connections):
    bed = chain.bed
    with chain.probe(chain.client("tor3"), list(where), list(where), connections, udp=list(where)) as probe:
        probe.ready()
        chain.run_for(MARGIN)
        chain.watch.drain()
        began = time.monotonic()
        moves = ops.wave(bed, where)
        if len(moves) != len(where):
            raise Failed(f"a wave of {len(where)} VIPs has {len(moves)} moves", bed.log_of("ctl", "controller"))
        out, come = watch_wave(chain, where, before, began)
        for move in moves:
            ops.await_move(bed, move)
        done = time.monotonic()
        chain.run_for(MARGIN)
        report = probe.stop()
    total, whole = kept(report, chain.say)
    return {"t1": began, "t2": out, "t3": come, "controller_ms": (done - began) * 1000, "lost": lost_pings(report)[1],
            "pings": sum(s["sent"] for s in report["pings"]), "connections": total, "kept": whole, "trace": probe.trace}


def figure(wave):
    names = {VIP1: "VIP1", VIP2: "VIP2", VIP3: "VIP3"}
    zero = wave["t1"] - MARGIN
    rows = figure_rows(wave["trace"], names, zero, zero, wave["t3"] + MARGIN)
    experiment.csv("figure13", ("vip", "ms", "rtt_ms"), [(names[vip], at, rtt) for vip, at, rtt in rows])
    experiment.csv("figure13-marks", ("mark", "ms"), [(m.upper(), (wave[m] - zero) * 1000) for m in ("t1", "t2", "t3")])


def total_of(rows, **more):
    return dict(spread([r["ms"] for r in rows]), packets_lost=sum(r["lost"] for r in rows), pings=sum(r["pings"] for r in rows),
                connections=sum(r["connections"] for r in rows), connections_lost=sum(r["connections"] - r["kept"] for r in rows),
                controller_ms=spread([r["controller_ms"] for r in rows])["ms"], **more)


def measure(chain, runs=3, connections=10):
    found = {}
    waves = []
    for _ in range(runs):
        waves.append(one_wave(chain, AWAY, HOME, connections))
        chain.settle()
        one_wave(chain, HOME, AWAY, 1)
        chain.settle()
    figure(waves[0])
    for row in waves:
        row["ms"] = (row["t3"] - row["t1"]) * 1000
    found["wave"] = total_of(waves, first=spread([(w["t2"] - w["t1"]) * 1000 for w in waves]),
                             second=spread([(w["t3"] - w["t2"]) * 1000 for w in waves]))
    for name, vip, to, home in (("hmux_to_smux", VIP1, "smux", None), ("smux_to_hmux", VIP1, "core2", None),
                                ("hmux_to_hmux", VIP3, "agg1", "agg3")):
        rows = []
        for _ in range(runs):
            if name == "smux_to_hmux":
                ops.move(chain.bed, vip, "smux")
            before = {vip: HOME[vip] if name != "smux_to_hmux" else "smux"}
            row = one_wave(chain, {vip: to}, before, 2 * connections)
            row["ms"] = (max(row["t2"], row["t3"]) - row["t1"]) * 1000
            rows.append(row)
            if name != "smux_to_hmux":
                ops.move(chain.bed, vip, HOME[vip])
            chain.settle()
        found[name] = total_of(rows)
    for name, told in found.items():
        chain.say(f"migration {name:12} {told['ms']:6.1f} ms (worst {told['max_ms']:.1f}), {told['packets_lost']} of {told['pings']} pings lost, "
                  f"{told['connections_lost']} of {told['connections']} connections lost; the controller says so after {told['controller_ms']:.0f} ms")
    return {"migration": found}
