#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""The store, the same tests over SQLite and over a real etcd: what is kept
survives kill -9, exports go from one to the other, an older SQLite file is
brought to the present form, damage and a full disk are told. With etcd: two
controllers, one of three members killed, a paused leader fenced."""
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

from agents import Host, Mux, Watch, fingerprint
from fabric import BIN, Refused, free_ports, rest, run_test, sentences, topology, until

SERVERS = {f"srv{n}": (f"10.{n}.0.1", f"tor{n}") for n in range(1, 5)}
DIPS = [a for a, _ in SERVERS.values()]


def vip(n, dips=DIPS[:3]):
    return {"vip": f"203.0.113.{n}", "name": f"web{n}", "traffic": {"mbps": 100, "sources": {"internet": 1}},
            "rules": [{"proto": "any", "dips": [{"address": a, "weight": 1} for a in dips]}]}


class Etcd:
    def __init__(self, place, members=1, tls=None):
        """tls: (certificate, key, CA) of the members, which then want one of their clients too"""
        self.place, self.children, self.tls = place, {}, tls
        ports = free_ports(2 * members)
        self.member = {f"m{i}": (ports[2 * i], ports[2 * i + 1]) for i in range(members)}
        for name in self.member:
            self.start(name)
        if not until(self.healthy, 60):
            raise OSError("etcd does not start")

    def healthy(self):
        if self.tls:
            cert, key, ca = self.tls
            return all(subprocess.run(["curl", "-sf", "--noproxy", "*", "--cacert", ca, "--cert", cert, "--key", key, f"https://127.0.0.1:{c}/health"],
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False).returncode == 0 for c, _ in self.member.values())
        return all(rest("GET", f"http://127.0.0.1:{c}/health")["health"] == "true" for c, _ in self.member.values())

    def start(self, name):
        client, peer = self.member[name]
        cluster = ",".join(f"{n}=http://127.0.0.1:{p}" for n, (_, p) in self.member.items())
        log = open(self.place.path("etcd.out"), "a", encoding="utf-8")
        self.children[name] = subprocess.Popen(
            ["etcd", "--name", name, "--data-dir", self.place.path(f"etcd-{name}"), "--log-level", "error",
             "--listen-client-urls", f"{self.scheme}://127.0.0.1:{client}", "--advertise-client-urls", f"{self.scheme}://127.0.0.1:{client}",
             *(("--client-cert-auth", "--cert-file", self.tls[0], "--key-file", self.tls[1], "--trusted-ca-file", self.tls[2]) if self.tls else ()),
             "--listen-peer-urls", f"http://127.0.0.1:{peer}", "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}",
             "--initial-cluster", cluster], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        log.close()
        self.place.running.append(self.children[name])

    def kill(self, name):
        self.place.stop(self.children[name], signal.SIGKILL)

    @property
    def scheme(self):
        return "https" if self.tls else "http"

    @property
    def spec(self):
        return "etcd:" + ",".join(f"{self.scheme}://127.0.0.1:{c}" for c, _ in self.member.values())


class Lab:
    """Two switches, two SMuxes, four hosts"""

    def __init__(self, place):
        self.place, self.watch = place, Watch()
        ports = free_ports(10)
        self.ports = ports[:2]
        self.mux = {n: Mux(n, p, self.watch).start() for n, p in zip(("tor1", "tor2"), ports[2:])}
        self.mux.update({n: Mux(n, p, self.watch, smux=True, tunnels=0).start() for n, p in zip(("smux1", "smux2"), ports[4:])})
        self.host = {n: Host(n, p, SERVERS[n][0]).start() for n, p in zip(SERVERS, ports[6:])}
        self.dot = place.write("topology.dot", topology({n: a.url for n, a in list(self.mux.items()) + list(self.host.items())}, SERVERS))
        self.child = {}

    def config(self, store, n=0, extra=""):
        return self.place.write(f"controller{n}.conf", f"[controller]\nname=ctl{n}\nlisten=127.0.0.1:{self.ports[n]}\nstore={store}\n"
                                                       f"topology={self.dot}\naggregate=203.0.113.0/24\nlease_s=2\ninsecure=yes\n{extra}")

    def url(self, n=0):
        return f"http://127.0.0.1:{self.ports[n]}"

    def start(self, store, n=0, wait=True, extra=""):
        self.child[n] = self.place.run(f"{BIN}/duet-controller", "-c", self.config(store, n, extra))
        return not wait or until(lambda: self.get("/v1/status", n)["muxes"]["total"] == 4, 30)

    def kill(self, n=0, how=signal.SIGKILL):
        return self.place.stop(self.child[n], how)

    def get(self, path, n=0):
        return rest("GET", self.url(n) + path)

    def settled(self, n=0, seconds=20):
        return until(lambda: not self.get("/v1/moves?running=1", n)["moves"]
                     and self.get("/v1/status", n)["muxes"]["in-sync"] == 4, seconds)

    def move(self, address, to, n=0, seconds=20):
        answer = rest("POST", self.url(n) + "/v1/moves", {"vip": address, "to": to})
        return until(lambda: (m := self.get(f"/v1/moves/{answer['id']}", n))["over"] and m, seconds)

    def command(self, store, *args):
        return subprocess.run([f"{BIN}/duet-controller", "-c", self.config(store, 1), *args], capture_output=True, text=True, timeout=60)


def same_over_both(tap, lab, store, other, what):
    """store: where it is tested; other: an empty one that the export goes to"""
    vips = [vip(n) for n in range(1, 6)]
    tap.ok(lab.start(store), f"{what}: a controller starts on an empty store")
    got = rest("PUT", lab.url() + "/v1/config", {"vips": vips})
    tap.ok(len(got["added"]) == 5 and lab.settled(), f"{what}: a configuration is kept", got)
    lab.watch.must = {v["vip"] for v in vips}
    tap.ok(lab.move("203.0.113.1", "tor1")["state"] == "done", f"{what}: a VIP moves")
    lab.host["srv1"].report(lab.url(), [(v["vip"], 0, "down" if v["vip"] == "203.0.113.2" else "up") for v in vips])
    tap.ok(until(lambda: lab.get("/v1/vips/203.0.113.2")["status"]["down"]), f"{what}: a DIP is down")
    rest("PUT", lab.url() + "/v1/control", {"max-moves": 17})
    token = rest("PUT", lab.url() + "/v1/tokens/ann", {"role": "operate"})
    tap.ok(len(token["token"]) == 48 and token["token"] not in json.dumps(rest("GET", lab.url() + "/v1/export")),
           f"{what}: a token is given once and kept as a hash")
    until(lambda: any(e["kind"] == "dip-down" for e in lab.get("/v1/events")["events"]))
    before, epoch = lab.get("/v1/vips"), lab.get("/v1/status")["epoch"]
    events = len(lab.get("/v1/events?limit=1000")["events"])
    audit = lab.get("/v1/audit")["audit"]
    tap.ok(len(audit) >= 4 and all(a["who"] == "127.0.0.1" for a in audit), f"{what}: the audit says who did what", audit)
    lab.kill()
    tap.ok(lab.start(store) and lab.settled(), f"{what}: kill -9, and it starts again")
    after = lab.get("/v1/vips")
    tap.ok([(v["vip"], v["rules"], v["status"]["mux"], v["status"]["down"], v["status"]["generation"]) for v in before["vips"]] ==
           [(v["vip"], v["rules"], v["status"]["mux"], v["status"]["down"], v["status"]["generation"]) for v in after["vips"]],
           f"{what}: with everything as it was", before, after)
    tap.ok(lab.get("/v1/control")["max-moves"] == 17 and [t["name"] for t in lab.get("/v1/tokens")["tokens"]] == ["ann"] and
           until(lambda: len(lab.get("/v1/events?limit=1000")["events"]) > events), f"{what}: settings, tokens and events too",
           lab.get("/v1/control"), lab.get("/v1/tokens"), events, lab.get("/v1/events?limit=1000"))
    tap.ok(lab.get("/v1/status")["epoch"] > epoch, f"{what}: and a later epoch")
    many = {"vips": [vip(n) for n in range(1, 250)]}
    rest("PUT", lab.url() + "/v1/config", many)
    tap.ok(lab.settled() and len(lab.get("/v1/vips")["vips"]) == 249, f"{what}: 249 VIPs at once")
    page = lab.get("/v1/vips?limit=100")
    tap.ok(len(page["vips"]) == 100 and len(lab.get(f"/v1/vips?limit=200&after={page['next']}")["vips"]) == 149, f"{what}: in pages")
    export = lab.get("/v1/export")
    lab.kill(how=signal.SIGTERM)
    check = lab.command(store, "--check")
    tap.ok(check.returncode == 0 and "249 VIPs" in check.stdout, f"{what}: --check", check)
    file = lab.place.path(f"export-{what}.json")
    tap.ok(lab.command(store, "--export", file).returncode == 0 and
           json.load(open(file, encoding="utf-8"))["tables"]["vip"] == export["tables"]["vip"], f"{what}: exported, running and stopped, alike")
    again = lab.command(store, "--import", file)
    tap.ok(again.returncode == 1 and "holds VIPs already" in again.stderr, f"{what}: no import over what is there", again)
    bad = lab.place.write("bad.json", json.dumps(dict(export, tables={"vip": {"203.0.113.1": 5}})))
    got = lab.command(other, "--import", bad)
    tap.ok(got.returncode == 1 and "makes no sense" in got.stderr, f"{what}: an export that makes no sense is refused whole", got)
    got = lab.command(other, "--import", file)
    tap.ok(got.returncode == 0, f"{what}: imported into the other kind of store", got)
    with lab.watch.lock:
        puts = sum(len(m.puts) for m in lab.mux.values())
        for m in lab.mux.values():
            m.puts.clear()
    tap.ok(lab.start(other) and lab.settled(seconds=40) and lab.get("/v1/export")["tables"]["vip"] == export["tables"]["vip"],
           f"{what}: which goes on with the same agents", puts, lab.get("/v1/status"))
    tap.ok(not lab.watch.wrong, f"{what}: no VIP was ever without a mux, or on two", *lab.watch.wrong)
    lab.kill(how=signal.SIGTERM)


def sqlite_only(tap, lab, place):
    old = place.path("old.sqlite")
    db = sqlite3.connect(old)
    db.executescript("""
        CREATE TABLE meta(key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
        CREATE TABLE vip(vip TEXT PRIMARY KEY, def TEXT NOT NULL, mux TEXT NOT NULL, mru REAL, reason TEXT) STRICT;
        CREATE TABLE move(id INTEGER PRIMARY KEY AUTOINCREMENT, wave INTEGER NOT NULL, vip TEXT NOT NULL, kind TEXT NOT NULL,
         mux_from TEXT NOT NULL, mux_to TEXT NOT NULL, def TEXT, state TEXT NOT NULL, note TEXT, created_ms INTEGER NOT NULL,
         changed_ms INTEGER NOT NULL, over INTEGER NOT NULL) STRICT;
        CREATE INDEX move_running ON move(over, id);
        CREATE TABLE dip_down(vip TEXT NOT NULL, dip TEXT NOT NULL, rule INTEGER NOT NULL, reason TEXT, since_ms INTEGER NOT NULL,
         PRIMARY KEY(vip, dip, rule)) STRICT, WITHOUT ROWID;
        CREATE TABLE event(id INTEGER PRIMARY KEY AUTOINCREMENT, at_ms INTEGER NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL,
         text TEXT NOT NULL) STRICT;
        PRAGMA user_version = 1;""")
    for n in (1, 2, 3):
        db.execute("INSERT INTO vip VALUES(?, ?, 'smux', NULL, 'old')", (f"203.0.113.{n}", json.dumps(vip(n))))
    db.execute("INSERT INTO meta VALUES('epoch', ?), ('seed', 77), ('configured', 1), ('wave', 4)", (int(time.time()) + 1000,))
    db.execute("INSERT INTO move VALUES(9, 4, '203.0.113.2', 'move', 'smux', 'tor2', NULL, 'preparing', NULL, 1, 1, 0)")
    db.execute("INSERT INTO move VALUES(8, 4, '203.0.113.1', 'move', 'tor1', 'smux', NULL, 'done', NULL, 1, 2, 1)")
    db.execute("INSERT INTO dip_down VALUES('203.0.113.3', ?, 0, 'gone', 5)", (DIPS[0],))
    db.execute("INSERT INTO event VALUES(3, 1, 'old', 'x', 'an old event')")
    db.commit()
    db.close()
    lab.watch.must = set()
    tap.ok(lab.start(old) and lab.settled(), "an older version's file is brought to the present one")
    places = {a["vip"]: a["mux"] for a in lab.get("/v1/assignment")["assignment"]}
    tap.ok(places == {"203.0.113.1": "smux", "203.0.113.2": "tor2", "203.0.113.3": "smux"} and len(lab.get("/v1/status")["key-fingerprint"]) == 16 and
           lab.get("/v1/moves/8")["state"] == "done" and lab.get("/v1/vips/203.0.113.3")["status"]["down"][0]["dip"] == DIPS[0] and
           any(e["kind"] == "old" for e in lab.get("/v1/events")["events"]), "with its VIPs, moves (one was carried out), DIPs, events", places)
    rest("POST", lab.url() + "/v1/backup", {"name": "copy.sqlite"})
    tap.refused(lambda: rest("POST", lab.url() + "/v1/backup", {"name": "../x"}), 422, ["name"], "a backup elsewhere: refused")
    export = lab.get("/v1/export")
    key = next(body["key"] for _, _, path, body in reversed(lab.mux["smux1"].puts) if path == "/v1/state")
    halves = [str(int.from_bytes(bytes.fromhex(key)[at:at + 8], "little", signed=True)) for at in (0, 8)]
    tap.ok(not any(word in json.dumps(export) for word in (key, *halves)), "an export has no key")
    modes = [os.stat(place.path(f)).st_mode & 0o777 for f in ("copy.sqlite", os.path.basename(old))]
    tap.ok(not any(mode & 7 for mode in modes), "store and backup, which have it, are closed to others", modes)
    lab.kill()
    got = lab.command(place.path("copy.sqlite"), "--check")
    tap.ok(got.returncode == 0 and "3 VIPs" in got.stdout, "a backup made while running is whole", got)
    db = sqlite3.connect(old)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    with open(old, "r+b") as f:
        size = os.path.getsize(old)
        for at in range(4096, size, 4096):
            f.seek(at)
            f.write(os.urandom(512))
    got = lab.command(old, "--check")
    tap.ok(got.returncode == 1 and "damaged" in got.stderr and "--import" in got.stderr, "a damaged store is told, with the way out", got)
    child = place.run(f"{BIN}/duet-controller", "-c", lab.config(old))
    tap.ok(child.wait(20) == 1, "and no controller starts on it")
    place.running.remove(child)
    os.rename(old, old + ".damaged")
    for f in ("-wal", "-shm"):
        if os.path.exists(old + f):
            os.unlink(old + f)
    tap.ok(lab.command(old, "--import", place.write("e.json", json.dumps(export))).returncode == 0, "an export is imported")
    child = place.run(f"{BIN}/duet-controller", "-c", lab.config(old))
    with open(place.path("duet-controller.log"), encoding="utf-8") as f:
        tap.ok(child.wait(20) == 1 and "key-file" in f.read(), "without the key no controller starts on it: another would move every connection")
    place.running.remove(child)
    file = place.write("key", key)
    os.chmod(file, 0o600)
    tap.ok(lab.start(old, extra=f"key-file={file}\n") and lab.settled() and
           {a["vip"]: a["mux"] for a in lab.get("/v1/assignment")["assignment"]} == places, "from an export and the key it goes on as before")
    lab.kill()
    tap.ok(lab.start(old) and lab.settled() and lab.get("/v1/status")["key-fingerprint"] == fingerprint(key), "the store has the key from then on")
    lab.kill()


def full_disk(tap, lab, place):
    """A file system of its own that can be filled (root)"""
    if os.geteuid():
        tap.ok(True, "a full disk # SKIP needs root")
        return
    small = place.path("small")
    os.mkdir(small)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", small], check=True)
    try:
        store = small + "/s.sqlite"
        lab.start(store)
        rest("PUT", lab.url() + "/v1/config", {"vips": [vip(1), vip(2)]})
        lab.settled()
        before = lab.get("/v1/vips")
        fill = os.open(small + "/fill", os.O_WRONLY | os.O_CREAT)
        try:
            while True:
                os.write(fill, b"x" * 4096)
        except OSError:
            pass
        os.close(fill)

        def refused():
            try:
                rest("PUT", lab.url() + "/v1/config", {"vips": [vip(n) for n in range(1, 200)]})
            except Refused as e:
                return e
            return None
        e = until(refused, 5)
        tap.ok(e and e.status == 507 and "full" in e.detail and "nothing was changed" in e.detail, "a full disk: refused with the reason", e and e.detail)
        tap.ok([v["rules"] for v in lab.get("/v1/vips")["vips"]] == [v["rules"] for v in before["vips"]] and
               not any("203.0.113.9" in m.vips for m in lab.mux.values()), "and nothing has changed, here or on any mux")
        tap.ok(until(lambda: any("full" in f["sentence"] and f["code"] == "store-unwritable" for f in lab.get("/v1/status")["faults"])), "status says so",
               lab.get("/v1/status")["faults"])
        lab.host["srv1"].report(lab.url(), [("203.0.113.1", 0, "down"), ("203.0.113.2", 0, "up")])
        tap.ok(until(lambda: [d["state"] for d in lab.mux["smux1"].vips["203.0.113.1"]["rules"][0]["dips"]][0] == "down"),
               "a DIP's death reaches the muxes all the same")
        os.unlink(small + "/fill")
        got = until(lambda: rest("PUT", lab.url() + "/v1/config", {"vips": [vip(n) for n in range(1, 20)]}), 5)
        tap.ok(got and len(got["added"]) == 17 and lab.settled() and
               until(lambda: any(e["kind"] == "dip-down" for e in lab.get("/v1/events")["events"])), "with room again all goes on", got)
        lab.kill(how=signal.SIGTERM)
    finally:
        subprocess.run(["umount", "-l", small], check=True)


def several(tap, lab, place):
    etcd = Etcd(place, 3)
    tap.ok(lab.start(etcd.spec), "three etcd members: a controller leads")
    lab.start(etcd.spec, 1, wait=False)
    tap.ok(until(lambda: rest("GET", lab.url(1) + "/healthz") == "standby\n", 30), "a second one stands by")
    vips = [vip(n) for n in range(1, 6)]
    until(lambda: rest("PUT", lab.url(1) + "/v1/config", {"vips": vips}))
    tap.ok(lab.settled() and lab.get("/v1/vips", 1) == lab.get("/v1/vips"), "what it is asked it carries to the one that leads")
    tap.refused(lambda: rest("PUT", lab.url(1) + "/v1/vips/203.0.113.9", {"rules": []}), 422, ["203.0.113.9"], "refusals too")
    lab.watch.must = {v["vip"] for v in vips}
    etcd.kill("m0")
    tap.ok(lab.move("203.0.113.1", "tor1", seconds=30)["state"] == "done", "one of three members killed: VIPs move on")
    # whichever leads after that: a member's death may have cost the first its lease
    lead, other = until(lambda: [(n, 1 - n) for n in (0, 1) if rest("GET", lab.url(n) + "/healthz") == "ok\n"], 30)[0]
    epoch = lab.get("/v1/status", lead)["epoch"]
    for m in lab.mux.values():
        m.lag = 0.3
    rest("PUT", lab.url(lead) + "/v1/updater/assignment", {"assignment": [{"vip": v["vip"], "mux": "tor2"} for v in vips]})
    lab.child[lead].send_signal(signal.SIGSTOP)	# in the middle of a wave
    taken = until(lambda: lab.get("/v1/status", other)["epoch"] > epoch, 40)
    tap.ok(taken, "the leader is stopped amid a wave: the other takes over, with a later epoch")
    tap.ok(lab.settled(other, 30) and all(a["mux"] == "tor2" for a in lab.get("/v1/assignment", other)["assignment"]), "and finishes the wave",
           lab.get("/v1/moves?running=1", other))
    rest("POST", lab.url(other) + "/v1/moves", {"vip": "203.0.113.3", "to": "smux"})
    lab.settled(other)
    with lab.watch.lock:
        state = {m.name: (sorted(m.vips), {v for v in m.export if m.exported(v)}) for m in lab.mux.values()}
        epochs = {m.name: m.epoch for m in lab.mux.values()}
    lab.child[lead].send_signal(signal.SIGCONT)
    tap.ok(until(lambda: rest("GET", lab.url(lead) + "/healthz") == "standby\n", 30), "the old leader, continued, stands by")
    with lab.watch.lock:
        tap.ok(state == {m.name: (sorted(m.vips), {v for v in m.export if m.exported(v)}) for m in lab.mux.values()} and
               epochs == {m.name: m.epoch for m in lab.mux.values()}, "and has done no harm")
    tap.ok(until(lambda: {a["vip"]: a["mux"] for a in lab.get("/v1/assignment", lead)["assignment"]}["203.0.113.3"] == "smux"), "it shows what the leader says")
    lab.kill(other)
    tap.ok(until(lambda: rest("GET", lab.url(lead) + "/healthz") == "ok\n", 40) and lab.settled(lead, 30), "the new one killed: the first leads again")
    tap.ok(not lab.watch.wrong, "no VIP was ever without a mux, or on two", *lab.watch.wrong)
    lab.child[other] = lab.start(etcd.spec, other, wait=False) and lab.child[other]
    until(lambda: rest("GET", lab.url(other) + "/healthz") == "standby\n", 30)
    rotation_taken_over(tap, lab, lead, other)


def rotation_taken_over(tap, lab, lead, other):
    """the leader of a rotation of the key is killed while VIPs change: the standby continues"""
    rest("PUT", lab.url(lead) + "/v1/control", {"change-learn-s": 1, "change-hold-s": 0})
    until(lambda: not lab.get("/v1/status", lead)["behind"], 10)
    old = lab.get("/v1/status", lead)["key-fingerprint"]
    rest("POST", lab.url(lead) + "/v1/key/rotate", {})
    tap.ok(until(lambda: lab.get("/v1/key", lead)["state"] == "changing", 20), "a rotation of the key is under way", lab.get("/v1/key", lead))
    lab.kill(lead)
    tap.ok(until(lambda: lab.get("/v1/status", other)["key-rotation"] == "changing", 40), "its leader killed: the standby has it")
    s = until(lambda: (k := lab.get("/v1/key", other))["state"] == "settled" and k, 60)
    tap.ok(s and len(s["keys"]) == 1 and s["keys"][0]["fingerprint"] != old and s["keys"][0]["vips"] == 5, "and ends it", s or lab.get("/v1/key", other))
    tap.ok(until(lambda: all(m.fingerprints == {f"key{s['keys'][0]['slot'] or ''}-fingerprint": s["keys"][0]["fingerprint"]} for m in lab.mux.values())),
           "on all muxes", {n: m.fingerprints for n, m in lab.mux.items()})
    tap.ok(not lab.watch.wrong, "no VIP was without a mux, on two, or under two keys", *lab.watch.wrong)
    lab.kill(other, signal.SIGTERM)


def steps(tap, place):
    lab = Lab(place)
    etcd = Etcd(place)
    same_over_both(tap, lab, place.path("a.sqlite"), etcd.spec, "SQLite")
    shutil.rmtree(place.path("etcd-m0"), ignore_errors=True)
    etcd.kill("m0")
    lab2, etcd = Lab(place), Etcd(place)
    same_over_both(tap, lab2, etcd.spec, place.path("b.sqlite"), "etcd")
    etcd.kill("m0")
    sqlite_only(tap, Lab(place), place)
    full_disk(tap, Lab(place), place)
    shutil.rmtree(place.path("etcd-m0"), ignore_errors=True)
    several(tap, Lab(place), place)


if __name__ == "__main__":
    sys.exit(run_test(steps))
