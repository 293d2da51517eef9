# SPDX-License-Identifier: GPL-2.0
"""What the paper only describes, or not even that: SMux, link and container
failure, DIPs that die and come, a controller that dies while VIPs move, a flood
on one VIP, and all at once. Each: pings lost, connections broken, time."""
import random
import time

import config
import ops
from chain import PLACES, SECOND, kept, lost_pings
from client import ended
from testbed import until

RANDOM_SECONDS = 30
SEED = 2014
LEARN_S, HOLD_S = 1, 6		# a VIP with other DIPs is on the SMuxes for so long before and after


def told(report, since, ms=None, **more):
    longest, lost = lost_pings(report, None, since)
    total, whole = kept(report)
    return dict({"ms": round(longest if ms is None else ms, 3), "longest_ms": round(longest, 3), "packets_lost": lost,
                 "pings": sum(s["sent"] for s in report["pings"]), "connections": total, "connections_kept": whole}, **more)


def smux(chain):
    """an SMux loses its links: VIPs on the SMuxes go on at the others, which choose the same DIPs"""
    node = chain.bed.topo.nodes["smux1"]
    vips = [v for v in chain.vips if PLACES[v] == "smux"]
    with chain.probe(chain.client("tor4"), vips, vips, 10, udp=vips[:1]) as probe:
        probe.ready()
        began = chain.faults.strike(node, "links_down")
        chain.run_for(0.5)
        chain.faults.heal(node, "links_down")
        chain.settle()
        return told(probe.stop(), began)


def link(chain):
    """one link between an Agg and a Core goes: ECMP has others"""
    node = chain.bed.topo.nodes["agg3"]
    vips = chain.vips[:7]
    with chain.probe(chain.client("tor4"), vips, vips[:4], 5) as probe:
        probe.ready()
        began = time.monotonic()
        chain.faults.links(node, False, node.ports[:1])
        chain.run_for(0.5)
        chain.faults.links(node, True, node.ports[:1])
        chain.settle()
        return told(probe.stop(), began)


def container(chain):
    """a whole container goes: what is left must live on, with the DIPs that are left"""
    bed = chain.bed
    nodes = [n for n in bed.topo.switches if n.attrs.get("container") == "2"]
    racks = {n.name for n in nodes if n.role == "tor"}
    gone = {n.name for n in bed.topo.dips if bed.topo.rack_of(n).name in racks}
    vips = [v for v in chain.vips if PLACES[v] == "smux" or bed.topo.nodes[PLACES[v]] not in nodes]
    with chain.probe(chain.client("tor1"), vips, vips, 5, line_ms=200) as probe:
        probe.ready()
        began = time.monotonic()
        for node in nodes:
            chain.faults.links(node, False)
        chain.run_for(1.0)
        for node in nodes:
            chain.faults.links(node, True)
        chain.settle()
        report = probe.stop()
    theirs = [c for c in report["connections"] if c["server"] in gone]
    broken = [c for c in ended(report) if c["server"] not in gone]
    return told(report, began, others_broken=len(broken), at_dips_of_the_container=len(theirs))


def dip_failure(chain):
    """a DIP dies: its own connections end and no other"""
    bed, vip = chain.bed, "203.0.113.1"
    entry = next(v for v in bed.vips["vips"] if v["vip"] == vip)
    address = entry["rules"][0]["dips"][-1]["address"]
    server = next(n.name for n in bed.topo.dips if n.address == address)
    muxes = [n.name for n in bed.topo.of("smux")] + [PLACES[vip]]

    def all_say(state):
        return all(d["state"] == state for m in muxes for v in ops.mux_status(bed, m)["vips"] if v["vip"] == vip
                   for d in v["rules"][0]["dips"] if d["address"] == address)

    with chain.probe(chain.client("tor4"), [vip], [vip], 40) as probe:
        probe.ready()
        began = time.monotonic()
        bed.kill([(server, "nginx"), (server, "echo")])
        if not until(lambda: all_say("down"), 30, 0.02):
            raise chain.failed(f"{server} is dead and still in a table", server, "host-agent")
        out = (time.monotonic() - began) * 1000
        chain.restart([(server, "nginx"), (server, "echo")])
        if not until(lambda: all_say("up"), 30, 0.05):
            raise chain.failed(f"{server} is back and not in a table", server, "host-agent")
        report = probe.stop()
    chain.settle()
    its = [c for c in report["connections"] if c["server"] == server]
    others = [c for c in ended(report) if c["server"] != server]
    return told(report, began, ms=out, its_connections=len(its), others_broken=len(others))


def dip_added(chain):
    """a DIP more, and gone again: through the SMuxes, which have met the connections and keep them for longer than these live"""
    bed, vip = chain.bed, "203.0.113.2"
    entry = next(v for v in bed.vips["vips"] if v["vip"] == vip)
    used = {d["address"] for d in entry["rules"][0]["dips"]}
    new = next(n for n in reversed(bed.topo.dips) if n.address not in used)
    more = dict(entry, rules=[dict(entry["rules"][0], dips=entry["rules"][0]["dips"] + [{"address": new.address}])])
    bed.controller("PUT", "/v1/control", {"change-learn-s": LEARN_S, "change-hold-s": HOLD_S})

    def change(body):
        """(report of connections that live as long as they are kept, ms until the DIPs are changed on the SMuxes)"""
        with chain.probe(chain.client("tor4"), [vip], [vip], 40) as probe:
            probe.ready()
            began = time.monotonic()
            move = bed.controller("PUT", f"/v1/vips/{vip}", body)["moves"][0]
            if not until(lambda: bed.controller("GET", f"/v1/moves/{move}")["state"] == "switching", 30, 0.02):
                raise chain.failed(f"the DIPs of {vip} are not changed")
            ms = (time.monotonic() - began) * 1000
            chain.run_for(HOLD_S / 2)
            report = probe.stop()
        ops.await_move(bed, move)
        ops.wait_ok(bed)
        return report, began, ms
    added, began, took = change(more)
    removed, back, _ = change(entry)
    bed.controller("PUT", "/v1/control", {"change-learn-s": 0, "change-hold-s": 0})
    chain.place()
    its = [c for c in removed["connections"] if c["server"] == new.name]
    others = [c for c in ended(removed) if c["server"] != new.name]
    return told(added, began, ms=took, removal={
        "connections": len(removed["connections"]), "its_connections": len(its), "others_broken": len(others),
        "packets_lost": lost_pings(removed, None, back)[1]})


def controller(chain):
    """the controller is killed in the middle of a wave, and starts again"""
    bed = chain.bed
    where = SECOND
    with chain.probe(chain.client("tor3"), list(where), list(where), 10) as probe:
        probe.ready()
        began = time.monotonic()
        ops.wave(bed, where)
        bed.kill([("ctl", "controller")])
        chain.run_for(0.5)
        again = time.monotonic()
        chain.restart([("ctl", "controller")])
        if not until(lambda: controller_there(bed), 30, 0.02):
            raise chain.failed("the controller does not start again")
        chain.settle()
        took = (time.monotonic() - again) * 1000
        found = ops.places(bed)[0]
        report = probe.stop()
    wrong = [v for v, mux in where.items() if found[v] != mux]
    if wrong:
        raise chain.failed(f"{wrong[0]} is on {found[wrong[0]]}, not on {where[wrong[0]]}: the wave was forgotten")
    chain.place()
    return told(report, began, ms=took)


def controller_there(bed):
    try:
        return bed.rest("GET", f"http://{config.CONTROLLER}/healthz", ok=False)[0] == 200
    except OSError:
        return False
    except Exception as e:		# Failed: nobody listens yet
        return False if "GET" in str(e) else (_ for _ in ()).throw(e)


def flood(chain):
    """VIP flood: many packets to one VIP; what do the others on its mux feel of it"""
    vip, other = "203.0.113.1", "203.0.113.5"	# both on core1
    with chain.probe(chain.client("tor4"), [other, "203.0.113.2"], [other], 10) as probe:
        probe.ready()
        chain.run_for(0.5)
        with chain.probe(chain.client("tor3"), (), (), 0, more=["--flood", f"{vip}:9*4000"]) as load:
            load.ready()
            began = time.monotonic()
            chain.run_for(1.5)
            sent = sum(load.stop()["floods"])
        chain.run_for(0.2)
        report = probe.stop()
    return told(report, began, flood_packets=sent)


def random_faults(chain, seconds=RANDOM_SECONDS, seed=SEED):
    """a fault every second, each undone two seconds later; then all must be as before"""
    bed, rng = chain.bed, random.Random(seed)
    topo = bed.topo
    switches = topo.of("core", "agg")
    open_faults, done = [], []
    before = {m.name: digests(bed, m.name) for m in topo.muxes}

    def strike():
        """one of what may fail now; never both Cores, both Aggs of a container or more than one SMux"""
        busy = {n.name for n, _, _ in open_faults}
        kind = rng.choice(("switch", "switch", "smux", "agents", "controller", "link"))
        if kind == "switch":
            node = rng.choice(switches)
            twins = {n.name for n in switches if n.role == node.role and n.attrs.get("container") == node.attrs.get("container")}
            if busy & twins:
                return
            cause = rng.choice(("links_down", "power", "bird_killed", "device_down"))
        elif kind == "smux":
            node, cause = rng.choice(topo.of("smux")), "links_down"
            if busy & {n.name for n in topo.of("smux")}:
                return
        elif kind == "agents":
            node, cause = rng.choice(topo.of("tor")), "agent_killed"
        elif kind == "link":
            node, cause = rng.choice(switches), "link"
        else:
            node, cause = None, "controller"
        name = node.name if node else "ctl"
        if name in busy or (node is None and any(c == "controller" for _, c, _ in open_faults)):
            return
        if cause == "link":
            chain.faults.links(node, False, node.ports[:1])
        elif cause == "controller":
            bed.kill([("ctl", "controller")])
            node = type("Controller", (), {"name": "ctl"})
        else:
            chain.faults.strike(node, cause)
        open_faults.append((node, cause, time.monotonic()))
        done.append(f"{cause} {name}")

    def heal(node, cause):
        if cause == "link":
            chain.faults.links(node, True, node.ports[:1])
        elif cause == "controller":
            chain.restart([("ctl", "controller")])
        else:
            chain.faults.heal(node, cause)

    with chain.probe(chain.client("tor4"), chain.vips, chain.vips, 3, ping_ms=10, line_ms=500) as probe:
        probe.ready()
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            strike()
            chain.run_for(1.0)
            for fault in [f for f in open_faults if time.monotonic() - f[2] > 2.0]:
                heal(*fault[:2])
                open_faults.remove(fault)
        for fault in open_faults:
            heal(*fault[:2])
        ending = time.monotonic()
        until(lambda: controller_there(bed), 30, 0.05)
        chain.settle()
        healed = (time.monotonic() - ending) * 1000
        quiet = time.monotonic()
        chain.run_for(0.5)
        report = probe.stop()
    after = {m.name: digests(bed, m.name) for m in topo.muxes}
    changed = [name for name in before if before[name] != after[name]]
    if changed:
        name = changed[0]
        raise chain.failed(f"after all faults {name} has other tables than before: {before[name]} was, {after[name]} is", name, "mux-agent")
    if lost_pings(report, None, quiet)[1]:
        raise chain.failed(f"{lost_pings(report, None, quiet)[1]} pings lost when all faults were over")
    return told(report, began, ms=healed, faults=len(done), seconds=seconds, seed=seed, list=done)


def digests(bed, node):
    """{VIP: digest of its table} of a mux, without those that have left it and are served on for a while"""
    return {v["vip"]: v["digest"] if "digest" in v else [r["digest"] for r in v["rules"]] for v in ops.mux_status(bed, node)["vips"]
            if PLACES[v["vip"]] == node or node.startswith("smux")}


FAULTS = {"smux": smux, "link": link, "container": container, "dip_failure": dip_failure, "dip_added": dip_added,
          "controller": controller, "flood": flood, "random": random_faults}


def measure(chain, names=None):
    found = {}
    for name, fault in FAULTS.items():
        if names and name not in names:
            continue
        seen = found[name] = fault(chain)
        chain.say(f"fault {name:11} {seen['ms']:8.1f} ms, longest silence {seen['longest_ms']:.1f} ms, {seen['packets_lost']} of {seen['pings']} pings "
                  f"lost, {seen['connections_kept']} of {seen['connections']} connections kept")
        chain.settle()
    return {"faults": found}
