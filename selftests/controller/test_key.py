#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""The rotation of the hash's key by the controller: agents that watch it in
every phase, one that is away, --abort, kill -9 at each step, a standby that
takes over, two stores. Real daemons: selftests/lab/test_key.py."""
import json
import os
import random
import signal
import subprocess
import sys

from agents import fingerprint
from duet_model import Table
from ctl import Ctl
from fabric import BIN, Refused, rest, run_test, sentences, until
from test_moves import DIPS, Lab, vip

KEYS = ("key", "key1")
HMUXES = {1: "tor1", 2: "tor2", 3: "agg1"}	# VIP: its switch; the others rest on the SMuxes
VIPS = [vip(n, DIPS[(n - 1) % 6:(n - 1) % 6 + 3], 100) for n in range(1, 7)]
ALL = [v["vip"] for v in VIPS]


def key_state(lab):
    return lab.get("/v1/key")


def slots(lab):
    """the keys that each mux and host has now, as sets of (slot, fingerprint)"""
    with lab.watch.lock:
        muxes = {n: frozenset(m.fingerprints.items()) for n, m in lab.mux.items()}
    hosts = {n: frozenset((f"{k}-fingerprint", fingerprint(h.state[k])) for k in KEYS if k in h.state)
             for n, h in lab.host.items() if h.state and h.state["vips"]}
    return {**muxes, **hosts}


def told_keys(lab):
    """VIP: the keys that muxes and hosts have been told it chooses by"""
    out = {}
    with lab.watch.lock:
        for m in lab.mux.values():
            for v, told in m.vips.items():
                out.setdefault(v, set()).add(told.get("key", 0))
    for h in lab.host.values():
        for v in (h.state or {"vips": []})["vips"]:
            out.setdefault(v["vip"], set()).add(v.get("key", 0))
    return out


def settled_on(tap, lab, slot, was, what, seconds=40):
    """the rotation has ended: one key everywhere, in that slot; returns its fingerprint"""
    done = until(lambda: (s := key_state(lab))["state"] == "settled" and s, seconds)
    s = key_state(lab)
    if not tap.ok(done and len(s["keys"]) == 1 and s["keys"][0]["slot"] == slot and s["keys"][0]["vips"] == len(ALL), f"{what}: it ends", s,
                  sentences(lab.get("/v1/status"))):
        return s["keys"][0]["fingerprint"]
    print_ = s["keys"][0]["fingerprint"]
    tap.ok((print_ == was[0]) == was[1], f"{what}: the key is {'the old' if was[1] else 'another'} one", print_, was)
    tap.ok(until(lambda: set(slots(lab).values()) == {frozenset({(f"{KEYS[slot]}-fingerprint", print_)})}, 5), f"{what}: no mux or host has another", slots(lab))
    tap.ok(until(lambda: told_keys(lab) == {v: {slot} for v in ALL}, 5), f"{what}: every VIP chooses by it on all of them", told_keys(lab))
    tap.ok(lab.settled() and lab.places() == {v["vip"]: HMUXES.get(n, "smux") for n, v in enumerate(VIPS, 1)}, f"{what}: VIPs are where they were", lab.places())
    tap.ok(not lab.watch.wrong, f"{what}: no VIP was without a mux, on two, or under two keys", *lab.watch.wrong)
    return print_


def begin(lab):
    return lab.post("/v1/key/rotate")


def no_key(tap, lab, what):
    """none of what it shows has a key in it"""
    keys = {b[k] for m in lab.mux.values() for _, _, p, b in m.puts if p == "/v1/state" for k in KEYS if k in b}
    shown = "".join(json.dumps(lab.get(p)) for p in ("/v1/key", "/v1/status", "/v1/events?limit=1000", "/v1/audit", "/v1/vips", "/v1/moves", "/v1/export"))
    shown += rest("GET", lab.url + "/metrics")
    halves = {str(int.from_bytes(bytes.fromhex(k)[at:at + 8], "little", signed=True)) for k in keys for at in (0, 8)}
    tap.ok(keys and not any(k in shown for k in keys | halves), f"{what}: no answer has a key")


def whole(tap, lab):
    first = key_state(lab)["keys"][0]["fingerprint"]
    ctl = Ctl(tap, lab.url)
    ctl.refused("there is nothing to abort", ctl("key", "rotate", "--abort"), "no rotation")
    ctl.ok("duetctl key show", ctl("key", "show"), "settled", first, f"{len(ALL)} VIPs", ALL[0])
    tap.ok(ctl.json("key", "show") == lab.get("/v1/key") and ctl.json("vip", "list")["vips"][0]["status"]["key"] == 0, "with --json as the controller says it",
           ctl.json("key", "show"))
    tap.ok([v["vip"] for v in lab.get("/v1/vips?key=0")["vips"]] == ALL and not lab.get("/v1/vips?key=1")["vips"], "VIPs by key")
    lab.clear()
    ctl.ok("duetctl key rotate --wait", ctl("key", "rotate", "--wait"), "spreading", "changing", "settled")
    second = settled_on(tap, lab, 1, (first, False), "a rotation")
    kinds = [e["kind"] for e in lab.get("/v1/events?limit=1000")["events"] if e["subject"] == "key"]
    tap.ok(kinds[-4:] == ["key-rotation", "key-spread", "key-removing", "key-rotated"], "events say each phase", kinds)
    tap.ok(any("key/rotate" in a["what"] for a in lab.get("/v1/audit")["audit"]), "the audit has who began it", lab.get("/v1/audit")["audit"][-3:])
    moves = [m for m in lab.get("/v1/moves")["moves"] if m["kind"] == "rekey"]
    tap.ok(sorted(m["vip"] for m in moves) == ALL and all(m["state"] == "done" and m["from"] == m["to"] for m in moves), "each VIP had a move of its own", moves)
    spans = sorted((m["created-ms"], m["changed-ms"]) for m in moves)
    tap.ok(all(a[1] <= b[0] for a, b in zip(spans, spans[1:])), "one at a time", spans)
    # a switch hears the new key of its VIP only when it exports it no more
    with lab.watch.lock:
        puts = [b for _, _, p, b in lab.mux["tor1"].puts if p == f"/v1/vips/{ALL[0]}"]
    want = [("no", 0), ("no", 1), ("yes", 1)]
    seen = [(b["announce"], b.get("key", 0)) for b in puts]
    tap.ok([s for i, s in enumerate(seen) if not i or seen[i - 1] != s] == want, "withdrawn, then another key, then announced", seen)
    no_key(tap, lab, "settled")
    got = lab.get("/v1/trace?src=192.0.2.9&dst=203.0.113.1&proto=tcp&sport=1024&dport=80")
    with lab.watch.lock:
        secret = next(b["key1"] for _, _, p, b in reversed(lab.mux["smux1"].puts) if p == "/v1/state" and "key1" in b)
    table = Table([(d["address"], d["weight"], False) for d in VIPS[0]["rules"][0]["dips"]])
    tap.ok(got["key"] == 1 and got["dip"] == table.choose("192.0.2.9", ALL[0], 6, 1024, 80, secret), "a trace chooses by the VIP's own key", got)
    metrics = rest("GET", lab.url + "/metrics")
    tap.ok('duet_controller_key_rotation{phase="settled"} 1' in metrics and f'duet_controller_key_vips{{key="1"}} {len(ALL)}' in metrics, "metrics",
           [line for line in metrics.splitlines() if "_key_" in line])
    lab.put("/v1/control", {"key-moves": 4})
    begin(lab)
    return settled_on(tap, lab, 0, (second, False), "another, four VIPs at a time, back in slot 0")


def away(tap, lab, first):
    """a mux, then a host, that is away holds it up, is named, and what it had is never announced under another key"""
    ctl = Ctl(tap, lab.url)
    for kind, agent in (("mux", lab.mux["smux2"]), ("mux", lab.mux["tor2"]), ("host", lab.host["srv3"])):
        agent.stop()
        begin(lab)
        named = until(lambda: [w for w in key_state(lab)["waiting"] if w["name"] == agent.name and w["kind"] == kind], 10)
        tap.ok(named and named[0]["why"], f"{agent.name} away: named, with why", key_state(lab)["waiting"])
        others = until(lambda: [w["name"] for w in key_state(lab)["waiting"]] == [agent.name], 10)
        tap.ok(others and key_state(lab)["state"] == "spreading" and all(0 in ks or 1 in ks and len(ks) == 1 for ks in told_keys(lab).values()),
               f"{agent.name} away: all others have both keys, and no VIP changes", key_state(lab))
        tap.ok(until(lambda: any(f["code"] == "key-rotation-waits" and f["object"]["name"] == agent.name for f in lab.get("/v1/status")["faults"]), 10), "the status has it as a fault",
               sentences(lab.get("/v1/status")))
        ctl.refused("another rotation meanwhile", ctl("key", "rotate"), "under way", "abort")
        ctl.ok("key show says whom it waits for", ctl("key", "show"), f"waits for {kind} {agent.name}")
        if kind == "mux" and agent.name == "tor2":
            ctl.ok("it is turned back", ctl("key", "rotate", "--abort"), "turned back")
            agent.start()
            first = settled_on(tap, lab, key_state(lab)["keys"][0]["slot"], (first, True), "turned back while spreading")
            continue
        slot = 1 - next(k["slot"] for k in key_state(lab)["keys"] if k["vips"])
        agent.start()
        if kind == "host":
            agent.report(lab.url, [])
        first = settled_on(tap, lab, slot, (first, False), f"{agent.name} back")
    return first


def away_midway(tap, lab, first):
    """an SMux goes while VIPs change: no VIP begins before it is back; a switch: only its own VIP waits"""
    lab.put("/v1/control", {"key-moves": 1})
    for name in ("smux1", "tor1"):
        slot = 1 - key_state(lab)["keys"][0]["slot"]
        begin(lab)
        agent = lab.mux[name]
        until(lambda: key_state(lab)["state"] == "changing", 10)
        agent.stop()
        until(lambda: any(w["name"] == name for w in key_state(lab)["waiting"]), 10)
        if name == "tor1":
            rest_done = until(lambda: {k["slot"]: k["names"] for k in key_state(lab)["keys"]}.get(1 - slot) in (None, [ALL[0]]), 20)
            tap.ok(rest_done, f"{name} away midway: the other VIPs change", key_state(lab))
        elif key_state(lab)["state"] == "changing":
            tap.ok(until(lambda: any(w["name"] == name for w in key_state(lab)["waiting"]), 10), f"{name} away midway: named", key_state(lab))
        agent.start()
        first = settled_on(tap, lab, slot, (first, False), f"{name} away midway and back")
    return first


def turned_back(tap, lab, first):
    """--abort when some VIPs have changed; then once more, which is refused; and when the old key is erased"""
    slot = key_state(lab)["keys"][0]["slot"]
    lab.put("/v1/control", {"change-learn-s": 1, "key-moves": 1})
    begin(lab)
    tap.ok(until(lambda: any(k["slot"] != slot and k["vips"] >= 2 for k in key_state(lab)["keys"]), 30), "two VIPs have changed", key_state(lab))
    rekey = until(lambda: key_state(lab)["changing"], 10)
    tap.refused(lambda: rest("DELETE", f"{lab.url}/v1/moves/{rekey[0]['move']}"), 409, ["key rotate --abort"], "one VIP's change alone can't be aborted")
    lab.put("/v1/control", {"change-learn-s": 0})
    got = rest("DELETE", lab.url + "/v1/key/rotate")
    tap.ok(got["aborted"], "it is turned back", got)
    tap.refused(lambda: rest("DELETE", lab.url + "/v1/key/rotate"), 409, ["already"], "again: refused")
    tap.refused(lambda: begin(lab), 409, ["under way"], "nor does another begin")
    first = settled_on(tap, lab, slot, (first, True), "turned back while changing")
    begin(lab)
    until(lambda: key_state(lab)["state"] == "changing", 10)
    core = lab.mux["core2"]		# which no VIP waits for; the old key's removal does
    core.stop()
    tap.ok(until(lambda: key_state(lab)["state"] == "removing", 30), "a switch without VIPs holds up the old key's removal alone", key_state(lab))
    tap.refused(lambda: rest("DELETE", lab.url + "/v1/key/rotate"), 409, ["erased", "rotate again"], "an abort when the old key is erased: refused")
    core.start()
    return settled_on(tap, lab, 1 - slot, (first, False), "and it ends")


def amid(tap, lab, first):
    """VIPs are moved, changed, added and deleted amid a rotation"""
    slot = 1 - key_state(lab)["keys"][0]["slot"]
    lab.put("/v1/control", {"change-learn-s": 1, "key-moves": 2})
    begin(lab)
    until(lambda: key_state(lab)["changing"], 10)
    lab.put("/v1/vips/203.0.113.9", vip(9, DIPS[:2]))
    tap.ok(lab.get("/v1/vips/203.0.113.9")["status"]["key"] == slot, "a new VIP chooses by the new key", lab.get("/v1/vips/203.0.113.9")["status"])
    lab.put(f"/v1/vips/{ALL[4]}", vip(5, DIPS[:4]))
    lab.post("/v1/moves", {"vip": ALL[1], "to": "core1"})
    lab.host["srv1"].report(lab.url, [(ALL[0], 0, "down")])
    tap.ok(until(lambda: all(lab.mux[f"smux{s}"].vips[ALL[0]]["rules"][0]["dips"][0]["state"] == "down" for s in (1, 2, 3)), 5), "a DIP's death reaches all muxes")
    lab.host["srv1"].report(lab.url, [(ALL[0], 0, "up")])
    rest("DELETE", lab.url + "/v1/vips/203.0.113.9")
    lab.put("/v1/control", {"change-learn-s": 0})
    until(lambda: key_state(lab)["state"] == "settled", 40)
    lab.move(ALL[1], "tor2")
    lab.put(f"/v1/vips/{ALL[4]}", VIPS[4])
    lab.settled()
    return settled_on(tap, lab, slot, (first, False), "VIPs moved, changed, added and deleted meanwhile")


def died(lab, at):
    """the controller with DUET_FAULT dies there, or ends its work"""
    log = open(lab.place.path("duet-controller.log"), "a", encoding="utf-8")
    lab.child = subprocess.Popen([f"{BIN}/duet-controller", "-c", lab.conf], stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=dict(os.environ, DUET_FAULT=at))
    log.close()
    lab.place.running.append(lab.child)


def kills(tap, lab, first):
    """kill -9 at any step of rotations"""
    rng, deaths, phases = random.Random(7), 0, set()
    for _ in range(3):
        slot = 1 - key_state(lab)["keys"][0]["slot"]
        begin(lab)
        lab.kill()
        for n in range(40):
            died(lab, str(round(10 ** rng.uniform(0, 2.2))) if n < 15 else "")
            until(lambda: lab.child.poll() is not None or (s := key_state(lab)["state"]) == "settled" or phases.add(s), 20)
            if lab.child.poll() is None:
                break
            deaths += 1
            lab.place.running.remove(lab.child)
        first = settled_on(tap, lab, slot, (first, False), f"killed at its steps, {deaths} times by now")
        lab.kill()
        lab.start()
    tap.ok(deaths >= 15 and phases == {"spreading", "changing", "removing"}, f"{deaths} deaths amid three rotations", phases)
    return first


def exported(tap, lab, place, first):
    """an export without keys amid a rotation is of no use, and says so; one with them goes on where it was"""
    slot = 1 - key_state(lab)["keys"][0]["slot"]
    lab.put("/v1/control", {"change-learn-s": 2, "key-moves": 1})
    begin(lab)
    until(lambda: 0 < next(k["vips"] for k in key_state(lab)["keys"] if k["slot"] == slot) < len(ALL), 20)
    export = place.write("without.json", json.dumps(lab.get("/v1/export")))
    lab.kill()
    whole_, conf, key = place.path("with.json"), lab.conf, place.write("key", "7".zfill(32))
    os.chmod(key, 0o600)
    got = subprocess.run([f"{BIN}/duet-controller", "-c", conf, "--export", whole_], capture_output=True, text=True, timeout=60)
    for name, file in (("without", export), ("with", whole_)):
        lab.conf = lab.config(f"{name}.conf", lab.port, store=f"{name}.sqlite", extra=f"key-file={key}\n" if name == "without" else "")
        got = subprocess.run([f"{BIN}/duet-controller", "-c", lab.conf, "--import", file], capture_output=True, text=True, timeout=60)
        tap.ok(got.returncode == 0, f"imported {name} keys", got)
        if name == "with":
            break
        got = subprocess.run([f"{BIN}/duet-controller", "-c", lab.conf], capture_output=True, text=True, timeout=20)
        tap.ok(got.returncode == 1 and "amid a rotation" in got.stderr + got.stdout, "no controller starts on a store that lacks a VIP's key", got)
    lab.start()
    for host in lab.host.values():
        host.report(lab.url, [])
    first = settled_on(tap, lab, slot, (first, False), "an export with keys, taken amid a rotation")
    lab.kill(signal.SIGTERM)
    lab.conf = conf
    return first


def each_phase(tap, lab, first):
    """kill -9 in each phase, held there by an agent that is away"""
    for phase in ("spreading", "changing", "removing"):
        slot = 1 - key_state(lab)["keys"][0]["slot"]
        lab.put("/v1/control", {"change-learn-s": 1 if phase == "changing" else 0, "key-moves": 4})
        if phase == "spreading":
            lab.mux["core2"].stop()
        begin(lab)
        if phase == "removing":
            until(lambda: key_state(lab)["state"] == "changing", 10)
            lab.mux["core2"].stop()
        ok = until(lambda: key_state(lab)["state"] == phase, 30)
        lab.kill()
        lab.start()
        s = key_state(lab)
        tap.ok(ok and s["state"] in (phase, "changing", "removing", "settled"), f"killed while {phase}: the next one continues", s)
        if phase in ("spreading", "removing"):
            tap.ok(s["state"] == phase, f"it is {phase} still", s)
            lab.mux["core2"].start()
        first = settled_on(tap, lab, slot, (first, False), f"killed while {phase}")
    return first


def refused(tap, lab):
    lab.kill()
    empty = lab.conf
    lab.conf = lab.config("none.conf", lab.port, store="none.sqlite")
    lab.start()
    tap.refused(lambda: begin(lab), 409, ["configuration"], "with no configuration: refused")
    lab.kill(signal.SIGTERM)
    lab.conf = empty
    lab.start()


def steps(tap, place):
    lab = Lab(place)
    tap.ok(lab.start(), "the controller starts")
    lab.put("/v1/config", {"vips": VIPS})
    lab.settled()
    lab.watch.must = set(ALL)
    for n, to in HMUXES.items():
        lab.move(ALL[n - 1], to)
    until(lambda: not lab.get("/v1/status")["behind"], 10)
    first = whole(tap, lab)
    first = away(tap, lab, first)
    first = away_midway(tap, lab, first)
    first = turned_back(tap, lab, first)
    first = amid(tap, lab, first)
    first = kills(tap, lab, first)
    first = each_phase(tap, lab, first)
    refused(tap, lab)
    exported(tap, lab, place, first)


if __name__ == "__main__":
    sys.exit(run_test(steps))
