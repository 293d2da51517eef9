#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""SNAT ports: who gets which block, when one is given back, and that no port
is ever with two hosts, wherever the controller is killed; over SQLite and etcd.
With agents that keep no kernel; the real ones are in selftests/agents/test_snat_ports.py."""
import itertools
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

from agents import Host, Mux, Ports, Watch, fingerprint
from ctl import Ctl
from fabric import BIN, Refused, free_ports, rest, run_test, sentences, topology, until
from test_store import Etcd

SERVERS = {f"srv{n}": (f"10.{n}.0.1", f"tor{(n - 1) // 2 + 1}") for n in range(1, 9)}
DIPS = [a for a, _ in SERVERS.values()]
VIP = "203.0.113.1"
KEY = "ab" * 16	# an export has none, and the controller goes on from one
QUARANTINE = 1


def vip(dips=DIPS, n=1, snat=None, down=(), **rule):
    out = {"vip": f"203.0.113.{n}", "name": f"web{n}", "rules": [dict({"dips": [{"address": a, **({"state": "down"} if a in down else {})}
                                                                          for a in dips]}, **rule)]}
    return out if snat is None else dict(out, snat=snat)


SMALL = {"first": 40000, "last": 40000 + 16 * 16 - 1, "block": 16}	# 16 blocks


class Lab:
    """An HMux, an SMux, eight hosts"""

    def __init__(self, place, store):
        self.place, self.store, self.watch, self.ports = place, store, Watch(), Ports(QUARANTINE)
        ports = free_ports(3 + len(SERVERS))
        self.url = f"http://127.0.0.1:{ports[0]}"
        self.mux = {"tor1": Mux("tor1", ports[1], self.watch).start(), "smux1": Mux("smux1", ports[2], self.watch, smux=True, tunnels=0).start()}
        self.host = {n: Host(n, p, SERVERS[n][0], self.ports).start() for n, p in zip(SERVERS, ports[3:])}
        self.dot = place.write("topology.dot", topology({n: a.url for n, a in list(self.mux.items()) + list(self.host.items())}, SERVERS))
        key_file = place.write("key", KEY)
        os.chmod(key_file, 0o600)
        self.conf = place.write("controller.conf", f"[controller]\nname=ctl\nlisten=127.0.0.1:{ports[0]}\nstore={store}\ntopology={self.dot}\n"
                                                   f"aggregate=203.0.113.0/24\nlease_s=2\ninsecure=yes\nkey-file={key_file}\n")
        self.child = None

    def start(self, fault=None):
        env = dict(os.environ, **({"DUET_FAULT": fault, "DUET_LOG": "warn"} if fault else {}))
        with open(self.place.path("duet-controller.log"), "a", encoding="utf-8") as log:
            self.child = subprocess.Popen([f"{BIN}/duet-controller", "-c", self.conf], stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=env)
        self.place.running.append(self.child)
        return until(lambda: self.child.poll() is not None or self.get("/v1/status")["hosts"]["total"] == 8, 30)

    def kill(self, how=signal.SIGKILL):
        self.place.stop(self.child, how)

    def get(self, path):
        return rest("GET", self.url + path)

    def config(self, *vips, hold=2):
        return rest("PUT", self.url + "/v1/config", {"vips": list(vips), "settings": {
            "snat-quarantine-s": QUARANTINE, "snat-hold-s": hold, "snat-idle-s": 1}})

    def pool(self, address=VIP):
        return next((p for p in self.get("/v1/snat")["snat"] if p["vip"] == address), None)

    def held(self, address=VIP):
        """host: number of its blocks, as the controller says"""
        return {h["host"]: h["blocks"] for h in self.pool(address)["hosts"]}

    def agrees(self, rule=lambda held: True):
        """Every host has what the controller says, nothing is on its way, and rule() holds of who has how many blocks of VIP: of one answer,
        as what a second one says may be on its way"""
        pools = self.get("/v1/snat")["snat"]
        if not rule({h["host"]: h["blocks"] for p in pools if p["vip"] == VIP for h in p["hosts"]}):
            return False
        want = {n: {(p["vip"], b["first"], b["last"]) for p in pools for b in p["blocks"] if b["host"] == n and b["state"] == "held"}
                for n in self.host}
        have = {n: {(b["vip"], b["first"], b["last"]) for b in (h.state or {"snat": []})["snat"]} for n, h in self.host.items()}
        return want == have and not any(p["leaving"] for p in pools)

    def use(self, name, share, address=VIP, exhausted=0):
        h = self.host[name]
        h.report(self.url, [], h.using(address, share, exhausted))


def definitions(tap, lab):
    def no(words, **more):
        for path, body in ((f"/v1/vips/{VIP}", vip(**more)), ("/v1/config/diff", {"vips": [vip(**more)]})):
            tap.refused(lambda p=path, b=body: rest("PUT" if "vips/" in p else "POST", lab.url + p, b), 422, [VIP, *words],
                        f"{path.split('/')[2]}: refused: {more.get('snat')} {words}")

    no(["object"], snat=5)
    no(["no such member", "blocks"], snat={"blocks": 5})
    no(["first", "1024"], snat={"first": 80})
    no(["before"], snat={"first": 50000, "last": 40000})
    no(["power of two"], snat={"block": 48})
    no(["power of two", "100 ports"], snat={"first": 40000, "last": 40099, "block": 64})
    no(["max_blocks", "16"], snat={"max_blocks": 17})
    no(["4 blocks", "8 DIPs"], snat={"first": 40000, "last": 40255, "block": 64})
    no(["one SNAT port in 8"], snat={"block": 4})
    no(["5tuple"], snat={}, fields="src")
    no(["no rule takes", "32768-65535"], snat={}, proto="tcp", port=80)
    cut = vip(snat={})
    cut["rules"].append({"proto": "tcp", "port": "40000-40009", "dips": [{"address": DIPS[0]}]})
    tap.refused(lambda: rest("PUT", lab.url + f"/v1/vips/{VIP}", cut), 422, ["32768-65535", "40000", "beside"], "a rule amid the ports: refused, with the port")
    whole = vip(n=9, dips=DIPS[:2], snat={"first": 50000, "last": 50063, "block": 16}, proto="tcp", port="50000-50063")
    rest("PUT", lab.url + "/v1/vips/203.0.113.9", whole)
    tap.ok(until(lambda: lab.held("203.0.113.9") == {"srv1": 1, "srv2": 1}), "a rule of just these ports does, and only its DIPs get some", lab.pool("203.0.113.9"))


def sharing(tap, lab, what):
    ctl = Ctl(tap, lab.url)
    lab.config(vip(snat=SMALL), vip(n=2))
    tap.ok(until(lambda: lab.agrees(lambda held: held == dict.fromkeys(SERVERS, 1))), f"{what}: each of eight hosts has a block", lab.get("/v1/snat"))
    state = lab.host["srv1"].state
    tap.ok(fingerprint(state["key"]) == lab.get("/v1/status")["key-fingerprint"] and {v["vip"]: "rules" in v for v in state["vips"]} == {VIP: True, "203.0.113.2": False}
           and [d["address"] for d in state["vips"][0]["rules"][0]["dips"]] == DIPS, f"{what}: with key and rules, for this VIP only", state)
    lab.host["srv3"].report(lab.url, [(VIP, 0, "down")])
    tap.ok(until(lambda: all([d["state"] for d in h.state["vips"][0]["rules"][0]["dips"]][2] == "down" for h in lab.host.values())),
           f"{what}: a DIP goes down: every host's table follows the muxes'")
    tap.ok(lab.held()["srv3"] == 1, f"{what}: and it keeps its block")
    lab.host["srv3"].report(lab.url, [(VIP, 0, "up")])
    lab.use("srv1", 0.5)
    lab.use("srv2", 1)
    tap.ok(until(lambda: lab.agrees(lambda held: held.get("srv2", 0) == 2)) and lab.held()["srv1"] == 1, f"{what}: one that has no free ports gets more, one with half of them not", lab.held())
    lab.use("srv2", 1)
    tap.ok(until(lambda: lab.agrees(lambda held: held.get("srv2", 0) == 4)) and len(lab.host["srv2"].blocks(VIP)) == 4, f"{what}: and more", lab.held())
    tap.ok(lab.host["srv2"].blocks(VIP) == sorted(lab.host["srv2"].blocks(VIP), reverse=True), f"{what}: the newest is looked at first", lab.host["srv2"].blocks(VIP))
    lab.use("srv4", 0.1, exhausted=1)
    lab.use("srv4", 0.1, exhausted=2)
    tap.ok(until(lambda: lab.agrees(lambda held: held.get("srv4", 0) == 2)), f"{what}: one that refused a connection too", lab.held())
    lab.use("srv2", 1)
    tap.ok(until(lambda: lab.agrees(lambda held: held.get("srv2", 0) == 8) and lab.pool()["free"] == 0), f"{what}: as far as there are any", lab.pool())
    lab.use("srv5", 1)
    tap.ok(until(lambda: lab.pool()["hosts-wanting"] == 1) and any("SNAT" in f and VIP in f for f in sentences(lab.get("/v1/status")))
           and until(lambda: any(e["kind"] == "snat-exhausted" for e in lab.get("/v1/events?limit=1000")["events"])),
           f"{what}: none left: a fault, an event", lab.pool(), sentences(lab.get("/v1/status")))
    metrics = lab.get("/metrics")
    tap.ok('duet_controller_snat_ports{state="held"} 256' in metrics and "duet_controller_snat_short 1" in metrics
           and "duet_controller_snat_refused 2" in metrics, f"{what}: metrics", [m for m in metrics.split("\n") if "snat" in m])
    ctl.ok(f"{what}: duetctl snat show", ctl("snat", "show"), VIP, "srv2", "8", "40000-40255")
    tap.ok({p["vip"]: p["hosts"] for p in ctl.json("snat", "show")["snat"]}[VIP] == lab.pool()["hosts"], f"{what}: and as JSON")
    ctl.ok(f"{what}: duetctl vip show names the ports", ctl("vip", "show", VIP), "ports 40000-40255 in blocks of 16")
    mine = set(lab.host["srv2"].blocks(VIP))
    lab.use("srv2", 0)
    got = until(lambda: lab.agrees(lambda held: held.get("srv5", 0) == 2), 20)
    tap.ok(got and lab.held()["srv2"] < 8 and mine & set(lab.host["srv5"].blocks(VIP)), f"{what}: what a host doesn't use goes to the other, after the quarantine", lab.pool())
    before = lab.get("/v1/export")["tables"]["snat"]
    lab.kill()
    lab.start()
    tap.ok(until(lambda: lab.agrees() and {k: v for k, v in before.items() if v["state"] == "held"}.items() <= lab.get("/v1/export")["tables"]["snat"].items()),
           f"{what}: killed and started again, each has what it had", before, lab.get("/v1/snat"))


def leaving(tap, lab, what):
    """Hosts that go: with and without a word"""
    lab.config(vip(snat=SMALL))
    until(lambda: lab.agrees(lambda held: len(held) == 8))
    lab.config(vip(dips=DIPS[:7], snat=SMALL))
    tap.ok(until(lambda: lab.agrees(lambda held: "srv8" not in held) and not lab.host["srv8"].blocks(VIP)) and until(lambda: lab.pool()["quarantined"]),
           f"{what}: a DIP is removed: its host gives its ports back", lab.pool())
    tap.ok(until(lambda: not lab.pool()["quarantined"]), f"{what}: which are free after the quarantine", lab.pool())
    lab.host["srv7"].stop()
    lab.config(vip(dips=DIPS[:6], snat=SMALL))
    tap.ok(until(lambda: lab.pool()["leaving"]), f"{what}: one whose host can't be told is not free", lab.pool())
    lab.host["srv7"].start()
    tap.ok(until(lambda: lab.pool()["quarantined"] and not lab.host["srv7"].blocks(VIP)), f"{what}: until the host is back and has taken it", lab.pool())
    lab.host["srv6"].stop()
    lab.config(vip(dips=DIPS[:5], snat=SMALL))
    until(lambda: lab.pool()["leaving"])
    started = time.monotonic()
    lab.ports.gone.add("srv6")
    tap.ok(until(lambda: not lab.pool()["leaving"]) and time.monotonic() - started > 1.5 and
           until(lambda: any(e["kind"] == "snat-host-gone" for e in lab.get("/v1/events?limit=1000")["events"])), f"{what}: or is gone for longer than the hold", lab.pool())
    lab.host["srv6"].start()
    until(lambda: not lab.host["srv6"].blocks(VIP))
    lab.ports.gone.clear()
    other = dict(SMALL, first=40008, last=40008 + 255)
    lab.config(vip(dips=DIPS[:5], snat=other))
    tap.ok(until(lambda: lab.agrees(lambda held: len(held) == 5) and all((b - 40008) % 16 == 0 for h in list(lab.host.values())[:5] for b in h.blocks(VIP)), 20),
           f"{what}: other ports: all get blocks of them as the old ones come free", lab.pool())
    lab.config(vip(n=2))
    tap.ok(until(lambda: not any(h.blocks(VIP) for h in lab.host.values())) and until(lambda: lab.pool() is None, 20),
           f"{what}: the VIP goes: its ports are given back and forgotten", lab.get("/v1/snat"))


def learning(lab):
    return any(f["code"] == "snat-learning" for f in lab.get("/v1/status")["faults"])


def events(lab, kind):
    return [e for e in lab.get("/v1/events?limit=1000")["events"] if e["kind"] == kind]


def restored(tap, lab, what, hold, copy, back):
    """The store of a while ago: what has been given, and given back, since then it doesn't know. copy() makes it, back() puts it in place."""
    lab.config()
    until(lambda: lab.pool() is None, 20)
    lab.config(vip(snat=SMALL), hold=hold)
    until(lambda: lab.agrees(lambda held: held == dict.fromkeys(SERVERS, 1)))
    for n in SERVERS:
        lab.use(n, 0.5)
    old = lab.host["srv2"].blocks(VIP)
    copy()
    lab.config(vip(dips=DIPS[:1] + DIPS[2:], snat=SMALL), hold=hold)
    until(lambda: not lab.host["srv2"].blocks(VIP) and not lab.pool()["leaving"] and not lab.pool()["quarantined"], 20)
    for _ in range(3):
        have = lab.held()["srv1"]
        lab.use("srv1", 1)
        until(lambda n=have: lab.agrees(lambda held: held.get("srv1", 0) > n))
    lab.config(vip(snat=SMALL), hold=hold)
    until(lambda: lab.agrees(lambda held: "srv2" in held))
    mine = {n: h.blocks(VIP) for n, h in lab.host.items()}
    tap.ok(set(old) <= set(mine["srv1"]) and mine["srv2"] and mine["srv2"] != old, f"{what}: a block has gone from one host to another since", old, mine)
    lab.kill()
    back()
    puts = {n: h.puts for n, h in lab.host.items()}
    lab.start()
    tap.ok(learning(lab), f"{what}: it is known to be a copy, and shown as a fault", sentences(lab.get("/v1/status")))
    first = list(SERVERS)[:4]
    for n in first:
        lab.use(n, 0.5)
    tap.ok(until(lambda: all(lab.host[n].puts > puts[n] for n in first)) and all(sorted(lab.host[n].blocks(VIP)) == sorted(mine[n]) for n in first),
           f"{what}: hosts that have reported are told what they hold, and nothing else", mine, {n: h.blocks(VIP) for n, h in lab.host.items()})
    tap.ok(all(h.puts == puts[n] for n, h in lab.host.items() if n not in first) and learning(lab), f"{what}: those that have not are told nothing")
    return mine


def by_reports(tap, lab, what, copy, back):
    mine = restored(tap, lab, what, 600, copy, back)
    for n in list(SERVERS)[4:]:
        lab.use(n, 0.5)
    tap.ok(until(lambda: not learning(lab) and lab.agrees()) and {n: sorted(h.blocks(VIP)) for n, h in lab.host.items()} == {n: sorted(b) for n, b in mine.items()},
           f"{what}: when all have, each has what it had, and it is known", mine, lab.get("/v1/snat"), events(lab, "snat-unknown"))
    tap.ok(events(lab, "snat-learned") and not lab.ports.wrong, f"{what}: no port was with two hosts", *lab.ports.wrong[:9])
    lab.kill()
    lab.start()
    tap.ok(not learning(lab), f"{what}: it is learnt once")


def by_hold(tap, lab, what, copy, back):
    restored(tap, lab, what, 5, copy, back)
    for n in list(SERVERS)[4:7]:
        lab.use(n, 0.5)
    tap.ok(until(lambda: not learning(lab) and lab.agrees(), 20) and not lab.ports.wrong and "7 of 8" in events(lab, "snat-learned")[-1]["text"],
           f"{what}: a host that says nothing is waited for no longer than the hold", events(lab, "snat-learned"), *lab.ports.wrong[:9])


def copies(tap, lab, place):
    def backup():
        rest("POST", lab.url + "/v1/backup", {"name": f"old{len(events(lab, 'started'))}.sqlite"})
        lab.old = place.path(f"old{len(events(lab, 'started'))}.sqlite")

    def backup_back():
        for end in ("", "-wal", "-shm"):
            if os.path.exists(lab.store + end):
                os.unlink(lab.store + end)
        shutil.copy(lab.old, lab.store)

    def export():
        lab.old = place.write("old.json", json.dumps(lab.get("/v1/export")))

    def export_back():
        for end in ("", "-wal", "-shm"):
            if os.path.exists(lab.store + end):
                os.unlink(lab.store + end)
        subprocess.run([f"{BIN}/duet-controller", "-c", lab.conf, "--import", lab.old], check=True, stderr=subprocess.DEVNULL)

    by_reports(tap, lab, "a backup", backup, backup_back)
    by_hold(tap, lab, "a backup", backup, backup_back)
    by_reports(tap, lab, "an import", export, export_back)


def contradicted(tap, lab):
    """Hosts that report what the store says is another's, or nobody's"""
    lab.config()
    until(lambda: lab.pool() is None, 20)
    lab.config(vip(snat=SMALL))
    until(lambda: lab.agrees(lambda held: held == dict.fromkeys(SERVERS, 1)))
    h, other, puts = lab.host["srv3"], lab.host["srv4"], lab.host["srv3"].puts

    def says(first):
        r = {"first": first, "last": first + 15, "used": 1}
        h.report(lab.url, [], {"exhausted": 0, "vips": [{"vip": VIP, "ports": 16, "used": 1, "fit": 16, "busiest": 1, "ranges": [r]}]})

    says(other.blocks(VIP)[0])
    tap.ok(until(lambda: h.puts > puts and events(lab, "snat-conflict")) and any(f["code"] == "snat-conflict" and f["object"]["name"] == "srv3" for f in lab.get("/v1/status")["faults"])
           and "srv4" in events(lab, "snat-conflict")[-1]["text"], "a host that reports another's ports is told to let go; an event and a fault say so",
           sentences(lab.get("/v1/status")))
    tap.ok(lab.agrees() and lab.held()["srv4"] == 1, "and the other keeps them")
    lab.use("srv3", 0.5)
    tap.ok(until(lambda: not any("another's" in f for f in sentences(lab.get("/v1/status")))), "the fault goes when it has let go")
    free = next(f for f in range(40000, 40256, 16) if not any(f in x.blocks(VIP) for x in lab.host.values()))
    says(free)
    tap.ok(until(lambda: events(lab, "snat-unknown") and any(b["first"] == free and b["state"] == "quarantined" for b in lab.pool()["blocks"])) and
           until(lambda: lab.pool()["quarantined"] == 0), "ports that nobody has, says the store, and one reports: taken back the usual way", lab.pool())


def older(tap, lab):
    """A store of before there were SNAT ports"""
    lab.kill(signal.SIGTERM)
    db = sqlite3.connect(lab.store)
    db.executescript("DROP TABLE snat; PRAGMA user_version = 2;")
    db.close()
    lab.start()
    tap.ok(lab.get("/v1/vips")["vips"][0]["vip"] == "203.0.113.2" and lab.config(vip(snat=SMALL)) and
           until(lambda: lab.agrees(lambda held: len(held) == 8)), "a store of version 2 goes on, and holds blocks now", lab.get("/v1/snat"))


def killed(tap, lab, what, points):
    """At every point of a change of hosts and of a want, then at the next; the same again until all is done"""
    sets = itertools.cycle([DIPS, DIPS[:4], DIPS[2:], DIPS[4:] + DIPS[:1]])
    kills, stuck = 0, 0
    lab.config(vip(snat=SMALL))
    until(lab.agrees)
    for point in points:
        lab.kill()
        lab.start(point)
        dips = next(sets)
        try:
            lab.config(vip(dips=dips, snat=SMALL))
            until(lambda: lab.child.poll() is not None or set(lab.held()) == {n for n in SERVERS if SERVERS[n][0] in dips} and lab.agrees(), 8)
            for n in list(lab.held())[:2]:
                lab.use(n, 1)
            until(lambda: lab.child.poll() is not None or any(c > 1 for c in lab.held().values()), 0.5)
        except (OSError, Refused, TypeError):
            pass
        if lab.child.poll() is not None:
            kills += 1
            lab.place.running.remove(lab.child)
            lab.start()
            lab.config(vip(dips=dips, snat=SMALL))
            if not until(lambda: set(lab.held()) == {n for n in SERVERS if SERVERS[n][0] in dips} and lab.agrees(), 10):
                stuck += 1
                print(f"# {point}: {lab.get('/v1/snat')}")
    tap.ok(kills * 3 >= len(points) * 2 and not stuck, f"{what}: killed {kills} times at {len(points)} points, it ends where it was told to", kills, stuck)
    tap.ok(not lab.ports.wrong, f"{what}: no port was ever with two hosts, or with another within {QUARANTINE} s ({lab.ports.seen} states looked at)", *lab.ports.wrong[:9])


def steps(tap, place):
    lab = Lab(place, place.path("a.sqlite"))
    tap.ok(lab.start(), "a controller, eight hosts")
    rest("PUT", lab.url + "/v1/config", {"vips": []})
    definitions(tap, lab)
    sharing(tap, lab, "SQLite")
    contradicted(tap, lab)
    copies(tap, lab, place)
    leaving(tap, lab, "SQLite")
    older(tap, lab)
    killed(tap, lab, "SQLite", [f"{name}:{n}" for n in (1, 3) for name in ("snat-shared", "host-sent", "host-acked", "before-commit", "after-commit")]
           + [str(n) for n in range(7, 60, 20)])
    lab.kill()
    etcd = Etcd(place)
    lab = Lab(place, etcd.spec)
    lab.start()
    sharing(tap, lab, "etcd")
    killed(tap, lab, "etcd", [f"{name}:{n}" for n, name in ((1, "snat-shared"), (3, "host-acked"), (2, "after-commit"))])
    lab.kill(signal.SIGTERM)
    etcd.kill("m0")
    shutil.rmtree(place.path("etcd-m0"), ignore_errors=True)


if __name__ == "__main__":
    sys.exit(run_test(steps))
