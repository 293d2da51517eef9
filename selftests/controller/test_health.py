#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""DIPs that come and go, against agents that watch: who is kept out of the
muxes' tables, that the last healthy DIPs never are, what the log says of it,
and that an operator can end it."""
import signal
import sys
import time

from fabric import Refused, rest, run_test, until
from test_moves import DIPS, Lab, dip_states, vip

ONE, TWO, ALL = "203.0.113.1", "203.0.113.2", "203.0.113.3"
FLIPS = 200


def dips(lab, address):
    return {d["dip"]: d for d in lab.get(f"/v1/dips?vip={address}")["dips"]}


def states(lab, address):
    return [dips(lab, address)[a]["state"] for a in dips(lab, address)]


def events(lab, kind):
    return [e for e in lab.get("/v1/events?limit=1000")["events"] if e["kind"] == kind]


def flap(lab, n, address, times):
    for _ in range(times):
        for state in ("down", "up"):
            lab.host[f"srv{n}"].report(lab.url, [(address, 0, state)])


def on_muxes(lab, address, want):
    """is this what every SMux has"""
    return until(lambda: all(dip_states(lab.mux[f"smux{s}"], address) == want for s in (1, 2, 3)))


def damped(tap, lab):
    tap.ok(until(lambda: set(states(lab, TWO)) == {"unknown"}), "a DIP of which nothing was reported is unknown", dips(lab, TWO))
    for n in range(1, 9):
        lab.host[f"srv{n}"].report(lab.url, [(v, 0, "up") for v in (ONE, TWO, ALL)])
    tap.ok(until(lambda: states(lab, TWO) == ["up", "up"]), "one that was reported up is up", dips(lab, TWO))
    flap(lab, 1, TWO, 4)
    tap.ok(until(lambda: states(lab, TWO) == ["damped", "up"]), "one that comes and goes is damped", dips(lab, TWO))
    one = dips(lab, TWO)[DIPS[0]]
    tap.ok(one["table"] == "down" and one["penalty"] > 2500 and one["since-ms"] and "kept out" in one["reason"], "with its penalty, since when, and why", one)
    tap.ok(on_muxes(lab, TWO, {DIPS[0]: "down", DIPS[1]: "up"}), "the muxes don't use it")
    tap.ok([d["state"] for d in lab.get(f"/v1/vips/{TWO}")["status"]["down"]] == ["damped"], "its VIP says so")
    began = time.monotonic()
    lab.host["srv2"].report(lab.url, [(TWO, 0, "down")])
    tap.ok(on_muxes(lab, TWO, {DIPS[0]: "up", DIPS[1]: "down"}) and time.monotonic() - began < 2, "the other one dies: it is let in at once", dips(lab, TWO))
    lab.host["srv2"].report(lab.url, [(TWO, 0, "up")])
    tap.ok(on_muxes(lab, TWO, {DIPS[0]: "up", DIPS[1]: "up"}), "and stays when the other one is back")


def together(tap, lab):
    for times in (1, 2):
        for state in ("down", "up"):
            for n in range(1, 9):
                lab.host[f"srv{n}"].report(lab.url, [(ALL, 0, state)])
        tap.ok(on_muxes(lab, ALL, {a: "up" for a in DIPS}), f"all of a VIP's DIPs failed together {times} times: all are used again at once", states(lab, ALL))
    for state in ("down", "up"):
        for n in range(1, 9):
            lab.host[f"srv{n}"].report(lab.url, [(ALL, 0, state)])
    tap.ok(until(lambda: sorted(states(lab, ALL)) == ["damped"] * 4 + ["up"] * 4), "the third time in quick succession half of them are damped", states(lab, ALL))


def hostile(tap, lab):
    """a host that flips as fast as it may, of a VIP with another DIP and of one without"""
    lab.clear()
    said = 0
    for address in (TWO, ONE):
        for k in range(FLIPS):
            try:
                lab.host["srv1"].report(lab.url, [(address, 0, "up" if k % 2 else "down")])
                said += 1
            except Refused:	# there is a budget
                break
    mine = [e for e in lab.get("/v1/events?limit=1000")["events"] if e["subject"] == DIPS[0] and ONE in e["text"]]
    tap.ok(said > 100 and len(mine) <= 12, "a host that flips its DIP leaves a handful of events", said, len(mine), mine[-5:])
    holds = [e for e in mine if e["kind"] == "dip-damped"]
    tap.ok(len(holds) == 1, "one of them for the hold", mine)
    puts = sum(len(lab.mux[f"smux{s}"].puts) for s in (1, 2, 3))
    tap.ok(puts < said, "and the muxes are not kept busy", puts, said)


def released(tap, lab):
    lab.host["srv3"].report(lab.url, [("203.0.113.4", 0, "up")])
    flap(lab, 3, "203.0.113.4", 6)
    tap.ok(until(lambda: dips(lab, "203.0.113.4")[DIPS[2]]["state"] == "damped"), "another is damped", dips(lab, "203.0.113.4"))
    got = rest("DELETE", f"{lab.url}/v1/vips/203.0.113.4/dips/{DIPS[2]}/damping")
    tap.ok(got["released"] == 1 and until(lambda: dips(lab, "203.0.113.4")[DIPS[2]]["state"] == "up") and
           until(lambda: dip_states(lab.mux["smux1"], "203.0.113.4")[DIPS[2]] == "up"), "an operator ends that", got)
    tap.ok(rest("DELETE", f"{lab.url}/v1/vips/203.0.113.4/dips/{DIPS[2]}/damping")["released"] == 0, "once more: there is nothing to end")
    tap.refused(lambda: rest("DELETE", f"{lab.url}/v1/vips/203.0.113.4/dips/10.9.9.9/damping"), 404, ["10.9.9.9"], "of a DIP that the VIP hasn't")
    tap.refused(lambda: lab.get("/v1/dips?vip=203.0.113.77"), 404, ["203.0.113.77"], "DIPs of no VIP")
    first = lab.get("/v1/dips?limit=1")
    tap.ok({d["vip"] for d in first["dips"]} == {ONE} and first["next"] == ONE and
           {d["vip"] for d in lab.get(f"/v1/dips?limit=1&after={ONE}")["dips"]} == {TWO}, "pages end at the end of a VIP", first)


def restart(tap, lab):
    """what was reported down is in the store; a DIP that is up again is let in"""
    lab.host["srv5"].report(lab.url, [("203.0.113.4", 0, "down")])
    until(lambda: dips(lab, "203.0.113.4")[DIPS[4]]["state"] == "down")
    until(lambda: [e for e in events(lab, "dip-down") if "203.0.113.4" in e["text"] and e["subject"] == DIPS[4]])
    lab.kill(signal.SIGKILL)
    lab.start()
    tap.ok(until(lambda: dips(lab, "203.0.113.4")[DIPS[4]]["state"] == "down"), "a DIP that was down is so after a restart", dips(lab, "203.0.113.4"))
    lab.host["srv5"].report(lab.url, [("203.0.113.4", 0, "up")])
    tap.ok(until(lambda: dips(lab, "203.0.113.4")[DIPS[4]]["state"] == "up"), "and up when its host says so")


def policy(tap, lab):
    """min-share, panic and last resort, from the definition to the muxes; each change leaves one table on all of them"""
    v, five = "203.0.113.5", DIPS[:5]

    def define(**health):
        return lab.put(f"/v1/vips/{v}", dict(vip(5, five), health=health))

    def report(*states):
        for n, state in enumerate(states, 1):
            lab.host[f"srv{n}"].report(lab.url, [(v, 0, state)])

    def table(*want):
        return on_muxes(lab, v, dict(zip(five, want)))

    def faults():
        return {f["code"] for f in lab.get("/v1/status")["faults"] if f["object"]["name"] == v}
    for bad, words in (({"min-share": 101}, "from 0 to 100"), ({"min-share": 0.5}, "whole number"), ({"panic": "some"}, "keep"),
                       ({"last-resort": "10.9.9.9"}, "10.9.9.9"), ({"last-resort": five}, "nothing would be used"), ({"share": 1}, "share")):
        tap.refused(lambda bad=bad: define(**bad), 422, [v, words], f"a policy {bad}")
    define()
    lab.settled()
    report("up", "down", "down", "down", "up")
    tap.ok(table("up", "down", "down", "down", "up"), "without a policy the table is as health says")
    define(**{"min-share": 50})
    tap.ok(until(lambda: "vip-below-min-share" in faults()) and table("up", "down", "down", "down", "up"), "below min-share it is kept, with a warning", faults())
    define(**{"min-share": 50, "panic": "all"})
    tap.ok(table(*["up"] * 5) and until(lambda: "vip-panic" in faults()), "panic all: every DIP is used as if up", faults())
    tap.ok(states(lab, v) == ["up", "down", "down", "down", "up"] and lab.get(f"/v1/vips/{v}")["status"]["health"] == "panic-all", "and health is shown as it is",
           dips(lab, v))
    lab.host["srv2"].report(lab.url, [(v, 0, "up")])
    tap.ok(table("up", "up", "down", "down", "up") and until(lambda: "vip-panic" not in faults()), "one more is up: the panic is over", faults())
    lab.host["srv2"].report(lab.url, [(v, 0, "down")])
    tap.ok(table(*["up"] * 5), "and begins again")
    define(**{"min-share": 50, "panic": "none"})
    tap.ok(table(*["down"] * 5), "panic none: no DIP is used")
    spare = {"last-resort": five[4], "panic": "all"}
    define(**spare)
    tap.ok(table("up", "down", "down", "down", "down") and states(lab, v)[4] == "standby", "a DIP of last resort stands by", dips(lab, v))
    lab.host["srv1"].report(lab.url, [(v, 0, "down")])
    tap.ok(table("down", "down", "down", "down", "up") and until(lambda: "vip-last-resort" in faults()), "until no other is up, with a warning", faults())
    lab.host["srv5"].report(lab.url, [(v, 0, "down")])
    tap.ok(table("up", "up", "up", "up", "down"), "when it is down too, the panic begins")
    until(lambda: [e for e in events(lab, "dip-down") if f"VIP {v}" in e["text"] and e["subject"] == five[4]])	# it is in the store
    exported = lab.get("/v1/config")
    tap.ok([x["health"] for x in exported["vips"] if x["vip"] == v] == [spare], "the policy is exported as it was given", exported)
    tap.ok(lab.put("/v1/config", exported)["unchanged"] == len(exported["vips"]) and not lab.post("/v1/config/diff", exported)["changes"],
           "and applied again it changes nothing")
    lab.kill(signal.SIGKILL)
    lab.start()
    tap.ok(table("up", "up", "up", "up", "down") and until(lambda: "vip-panic" in faults()), "a restart changes nothing", faults(), dips(lab, v))
    tap.ok(not lab.watch.wrong, "no two muxes had different tables", lab.watch.wrong)


def steps(tap, place):
    lab = Lab(place)
    lab.start()
    vips = [vip(1, DIPS[:1]), vip(2, DIPS[:2]), vip(3, DIPS), vip(4, DIPS[2:6])]
    lab.put("/v1/config", {"vips": vips})
    lab.settled()
    damped(tap, lab)
    together(tap, lab)
    hostile(tap, lab)
    released(tap, lab)
    restart(tap, lab)
    policy(tap, lab)


if __name__ == "__main__":
    sys.exit(run_test(steps))
