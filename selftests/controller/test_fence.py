#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Stores that are behind what agents obey: restored, copied, made under a
clock in the past. The controller puts its epoch above theirs by itself and
says so; where another controller may be alive it doesn't, and an operator can."""
import os
import shutil
import sqlite3
import sys

from ctl import Ctl
from fabric import rest, run_test, sentences, until
from test_moves import DIPS, Lab, vip


def obeyed(lab):
    with lab.watch.lock:
        return {m.epoch for m in lab.mux.values()} | {h.epoch for h in lab.host.values() if h.state}


def again(lab, times):
    for _ in range(times):
        lab.kill()
        lab.start()
        lab.settled()


def powerful(tap, lab, what):
    """it commands all muxes: a new VIP is on every SMux"""
    tap.ok(lab.settled(20), f"{what}: all muxes are in sync", lab.get("/v1/status"))
    lab.put("/v1/vips/203.0.113.9", vip(9, DIPS[:2]))
    tap.ok(until(lambda: all("203.0.113.9" in lab.mux[f"smux{s}"].vips for s in (1, 2, 3)), 10), "and take a new VIP")
    lab.as_delete("/v1/vips/203.0.113.9")
    lab.settled()
    tap.ok(until(lambda: not lab.get("/v1/status")["behind"], 10), "with all muxes heard to obey it, its store isn't behind any more", lab.get("/v1/status"))


class FenceLab(Lab):
    def as_delete(self, path):
        return rest("DELETE", self.url + path)


def restored(tap, lab, place):
    backup = place.path("backup.sqlite")
    lab.post("/v1/backup", {"name": "backup.sqlite"})
    again(lab, 3)
    before = max(obeyed(lab))
    lab.kill()
    for end in ("", "-wal", "-shm"):
        if os.path.exists(place.path("store.sqlite" + end)):
            os.unlink(place.path("store.sqlite" + end))
    shutil.copy(backup, place.path("store.sqlite"))
    tap.ok(lab.start(), "a backup is restored after three more starts")
    for host in lab.host.values():	# one that was not heard is sent nothing by a copy: it may have ports (duet-controller(8), SNAT)
        host.report(lab.url, [])
    powerful(tap, lab, "restored")
    s = lab.get("/v1/status")
    tap.ok(s["epoch"] > before and s["epoch-raised-from"] <= before, "its epoch is above what agents obeyed", s["epoch"], before)
    tap.ok(any(e["kind"] == "epoch-raised" for e in lab.get("/v1/events?limit=1000")["events"]), "an event says so")
    tap.ok(until(lambda: obeyed(lab) == {s["epoch"]}, 10), "all agents obey that", obeyed(lab))


def copied(tap, lab, place):
    shutil.copy(place.path("store.sqlite"), place.path("old.sqlite"))
    again(lab, 2)
    lab.kill()
    for end in ("", "-wal", "-shm"):
        if os.path.exists(place.path("store.sqlite" + end)):
            os.unlink(place.path("store.sqlite" + end))
    os.rename(place.path("old.sqlite"), place.path("store.sqlite"))
    lab.start()
    powerful(tap, lab, "a file that was copied")


def answered(tap, lab):
    """a store that is behind isn't, once all muxes acknowledged its state: none need be polled, nor all be in sync at one moment"""
    lab.kill()
    store = lab.place.path("store.sqlite")
    db = sqlite3.connect(store)
    db.execute("UPDATE meta SET value = '1' WHERE key = 'behind'")
    db.commit()
    db.close()
    with lab.watch.lock:
        for m in lab.mux.values():
            m.no_status = True
    lab.start()
    tap.ok(until(lambda: not lab.get("/v1/status")["behind"], 10), "muxes that acknowledge states and answer no poll: its store isn't behind any more",
           lab.get("/v1/status"))
    with lab.watch.lock:
        for m in lab.mux.values():
            m.no_status = False
    tap.ok(lab.settled(20), "polled again, they are in sync", lab.get("/v1/status"))


def past(tap, lab, place):
    """agents have obeyed epochs of the years to come; the store is new"""
    lab.kill()
    ahead = max(obeyed(lab)) + 10 * 365 * 86400
    with lab.watch.lock:
        for agent in list(lab.mux.values()) + list(lab.host.values()):
            agent.epoch = ahead
    lab.conf = lab.config("new.conf", lab.port, store="new.sqlite")
    lab.start()
    lab.put("/v1/config", {"vips": [vip(n, DIPS[:3]) for n in (1, 2)]})
    powerful(tap, lab, "a new store under a clock ten years back")
    tap.ok(lab.get("/v1/status")["epoch"] > ahead, "the epoch is above theirs")


def alive(tap, lab, place):
    """one mux obeys another controller, and this one's store is its own"""
    core = lab.mux["core1"]
    ours = lab.get("/v1/status")["epoch"]
    again(lab, 1)
    with lab.watch.lock:
        core.epoch = lab.get("/v1/status")["epoch"] + 1000

    def fenced():
        return any("core1" in f and "fenced" in f and str(core.epoch) in f for f in sentences(lab.get("/v1/status")))
    tap.ok(until(fenced, 10), "a mux that obeys a later controller is left alone, and the fault has its epoch", sentences(lab.get("/v1/status")))
    tap.ok(lab.get("/v1/status")["epoch"] == ours + 1, "the epoch stays", ours)
    ctl = Ctl(tap, lab.url)
    ctl.refused("a mux that there isn't", ctl("mux", "unfence", "core9"), "core9")
    ctl.ok("duetctl mux unfence", ctl("mux", "unfence", "core1"), "obeys this controller")
    tap.ok(lab.settled(15) and core.epoch == ours + 1, "it obeys this one again", core.epoch, sentences(lab.get("/v1/status")))
    tap.ok("/v1/muxes/core1/fence" in ctl("audit").stdout, "the audit has it")
    srv = lab.host["srv1"]
    srv.epoch = ours + 1000
    lab.put("/v1/vips/203.0.113.1", vip(1, DIPS[:2]))
    tap.ok(until(lambda: any("srv1" in f and str(srv.epoch) in f for f in sentences(lab.get("/v1/status"))), 10), "a host likewise", sentences(lab.get("/v1/status")))
    ctl.ok("duetctl host unfence", ctl("host", "unfence", "srv1"), "obeys this controller")
    tap.ok(until(lambda: srv.epoch == ours + 1 and not any("srv1" in f for f in sentences(lab.get("/v1/status"))), 10), "it obeys this one again")
    for what, epoch in (("2^53", 2**53), ("2^63 - 1", 2**63 - 1)):
        with lab.watch.lock:
            core.epoch = epoch
        tap.ok(until(lambda: any("core1" in f and "no controller's" in f for f in sentences(lab.get("/v1/status"))), 10), f"an epoch of {what} is shown as what it is")
        ctl("mux", "unfence", "core1")
        tap.ok(lab.settled(15), "and mended the same way", sentences(lab.get("/v1/status")))
    with lab.watch.lock:
        core.generation = 2**63 - 1
    lab.put("/v1/vips/203.0.113.2", vip(2, DIPS[:2]))
    lab.move("203.0.113.2", "core1", 1)
    tap.ok(until(lambda: any("core1" in f and "generation" in f for f in sentences(lab.get("/v1/status"))), 10), "a generation of 2^63 - 1 spoils nobody's", sentences(lab.get("/v1/status")))
    tap.ok(lab.get("/v1/status")["generation"] < 2**32, "the controller's own stays")
    ctl("mux", "unfence", "core1")
    tap.ok(lab.settled(20), "and is mended the same way", sentences(lab.get("/v1/status")))


def steps(tap, place):
    lab = FenceLab(place)
    tap.ok(lab.start(), "the controller starts")
    lab.put("/v1/config", {"vips": [vip(n, DIPS[:3]) for n in (1, 2)]})
    tap.ok(lab.settled(), "two VIPs on all muxes")
    restored(tap, lab, place)
    copied(tap, lab, place)
    answered(tap, lab)
    past(tap, lab, place)
    alive(tap, lab, place)


if __name__ == "__main__":
    sys.exit(run_test(steps))
