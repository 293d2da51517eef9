#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""DIPs and hosts that operators take out, against agents that watch: what the
muxes are told and in which order, that it outlives reports, restarts and other
definitions, and that the last DIP of a VIP is not taken by mistake. All of it
by duetctl."""
import json
import os
import signal
import subprocess
import sys

from fabric import BIN, rest, run_test, until
from test_moves import DIPS, Lab, dip_states, vip

ON_HMUX, ON_SMUX, SINGLE = "203.0.113.1", "203.0.113.2", "203.0.113.3"
SWITCH = "tor4"


class Ctl:
    def __init__(self, lab):
        self.lab = lab

    def __call__(self, *args):
        return subprocess.run([os.path.join(BIN, "duetctl"), "-c", self.lab.url, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=60, check=False)


def dips(lab, address):
    return {d["dip"]: d for d in lab.get(f"/v1/dips?vip={address}")["dips"]}


def everywhere(lab, address, want):
    """is this what every mux has that holds the VIP"""
    return until(lambda: all(dip_states(m, address) == want for m in lab.mux.values() if address in m.vips))


def good(tap, got, name):
    tap.ok(got.returncode == 0, name, got.stdout, got.stderr)


def no(tap, got, words, name):
    tap.ok(got.returncode == 1 and words in got.stderr, name, got.returncode, got.stdout, got.stderr)


def on_smux(tap, lab, ctl):
    good(tap, ctl("dip", "drain", ON_SMUX, DIPS[0]), "a DIP is drained")
    tap.ok(everywhere(lab, ON_SMUX, {DIPS[0]: "drain", DIPS[1]: "up"}), "the muxes give it no new connections")
    one = dips(lab, ON_SMUX)[DIPS[0]]
    tap.ok(one["state"] == "drained", "and its state says so", one)
    lab.host["srv1"].report(lab.url, [(ON_SMUX, 0, "down")])
    tap.ok(everywhere(lab, ON_SMUX, {DIPS[0]: "down", DIPS[1]: "up"}), "it goes down: it is down")
    lab.host["srv1"].report(lab.url, [(ON_SMUX, 0, "up")])
    tap.ok(everywhere(lab, ON_SMUX, {DIPS[0]: "drain", DIPS[1]: "up"}), "its host reports it up: it is drained as before")
    no(tap, ctl("dip", "drain", ON_SMUX, DIPS[1]), "is the last", "the last one in use is refused")
    no(tap, ctl("dip", "down", ON_SMUX, DIPS[1]), "--force", "with the word that does it")
    good(tap, ctl("dip", "drain", ON_SMUX, DIPS[1], "--force"), "with --force it is drained")
    tap.ok(everywhere(lab, ON_SMUX, {DIPS[0]: "up", DIPS[1]: "drain"}), "and the other one, which is drained without force, serves on")
    good(tap, ctl("dip", "undrain", ON_SMUX, DIPS[1]), "back")
    good(tap, ctl("dip", "up", ON_SMUX, DIPS[0]), "both of them")
    tap.ok(everywhere(lab, ON_SMUX, {DIPS[0]: "up", DIPS[1]: "up"}) and not lab.get("/v1/drains")["drains"], "all are used again")
    got = ctl("dip", "up", ON_SMUX, DIPS[0])
    tap.ok(got.returncode == 0 and "neither" in got.stdout, "one that is not out is not taken back", got.stdout)
    no(tap, ctl("dip", "drain", ON_SMUX, "10.9.9.9"), "10.9.9.9", "a DIP that the VIP hasn't")
    no(tap, ctl("dip", "drain", "203.0.113.77", DIPS[0]), "203.0.113.77", "a VIP that isn't there")
    for body, status in (({}, 400), ({"state": "sideways"}, 422), ({"state": "up", "weight": 1}, 400), ({"weight": "x"}, 422), ({"stat": "up"}, 400),
                         ([], 400), (5, 400)):
        tap.refused(lambda body=body: lab.put(f"/v1/vips/{ON_SMUX}/dips/{DIPS[0]}", body), status, [], f"nonsense: {body}")
    good(tap, ctl("dip", "down", ON_SMUX, DIPS[0]), "a DIP is taken out")
    tap.ok(everywhere(lab, ON_SMUX, {DIPS[0]: "down", DIPS[1]: "up"}) and dips(lab, ON_SMUX)[DIPS[0]]["state"] == "off", "at once")
    good(tap, ctl("dip", "up", ON_SMUX, DIPS[0]), "and used again")


def on_hmux(tap, lab, ctl):
    """a drain goes through the SMuxes, and is in force nowhere before"""
    lab.move(ON_HMUX, SWITCH)
    lab.settled()
    lab.clear()
    got = ctl("dip", "drain", ON_HMUX, DIPS[0], "--wait")
    good(tap, got, "a DIP of a VIP on a switch is drained, and waited for")
    order = sorted((t, n, b["announce"], {d["address"]: d["state"] for d in b["rules"][0]["dips"]}[DIPS[0]]) for n, m in lab.mux.items()
                   for t, how, p, b in m.puts if how == "PUT" and p.endswith(ON_HMUX))
    here = [(a, s) for _, n, a, s in order if n == SWITCH]
    first = min(t for t, n, _, s in order if s == "drain")
    left = [t for t, n, a, _ in order if n == SWITCH and a == "no"]
    tap.ok(left and left[0] < first, "the VIP leaves its switch before the table changes anywhere", order)
    tap.ok(here[-1] == ("yes", "drain") and ("yes", "up") not in here[here.index(("no", "up")):], "and comes back with it", here)
    tap.ok(lab.places()[ON_HMUX] == SWITCH and everywhere(lab, ON_HMUX, {DIPS[0]: "drain", DIPS[1]: "up", DIPS[2]: "up"}), "all muxes agree")
    drains = lab.get("/v1/drains")["drains"]
    tap.ok([(d["kind"], d["name"], d["vips-left"]) for d in drains] == [("dip", f"{ON_HMUX}/{DIPS[0]}", 0)], "it is among the drains", drains)
    lab.clear()
    good(tap, ctl("dip", "down", ON_HMUX, DIPS[1]), "a DIP is taken out")
    tap.ok(everywhere(lab, ON_HMUX, {DIPS[0]: "drain", DIPS[1]: "down", DIPS[2]: "up"}) and not lab.get("/v1/moves?running=1")["moves"],
           "at once, on the switch too")
    good(tap, ctl("dip", "up", ON_HMUX, DIPS[1]), "and is back")


def waits(tap, lab, ctl):
    """while the VIP is on its way nothing is in force; a restart changes nothing of that"""
    lab.mux[SWITCH].lag = 2
    moves = json.loads(ctl("-j", "dip", "drain", ON_HMUX, DIPS[1]).stdout)["moves"]
    until(lambda: lab.get(f"/v1/moves/{moves[0]}")["state"] == "withdrawing")
    tap.ok(all(dip_states(m, ON_HMUX)[DIPS[1]] == "up" for m in lab.mux.values() if ON_HMUX in m.vips), "on its way to the SMuxes the DIP is used")
    tap.ok([d["vips-left"] for d in lab.get("/v1/drains")["drains"] if d["name"].endswith(DIPS[1])] == [1], "and the drain says that it waits")
    tap.refused(lambda: rest("DELETE", f"{lab.url}/v1/moves/{moves[0]}"), 409, ["undrain"], "its move is not aborted")
    lab.kill(signal.SIGKILL)
    lab.start()
    tap.ok(all(dip_states(m, ON_HMUX)[DIPS[1]] == "up" for m in lab.mux.values() if ON_HMUX in m.vips), "a restart does not hurry it")
    lab.mux[SWITCH].lag = 0.005
    tap.ok(lab.settled() and everywhere(lab, ON_HMUX, {DIPS[0]: "drain", DIPS[1]: "drain", DIPS[2]: "up"}), "and it comes into force", dips(lab, ON_HMUX))
    tap.ok(lab.places()[ON_HMUX] == SWITCH, "with the VIP back on its switch")
    lab.put(f"/v1/vips/{ON_HMUX}", vip(1, DIPS[:4]))
    tap.ok(lab.settled() and everywhere(lab, ON_HMUX, {DIPS[0]: "drain", DIPS[1]: "drain", DIPS[2]: "up", DIPS[3]: "up"}),
           "another definition keeps what an operator set")
    lab.put(f"/v1/vips/{ON_HMUX}", vip(1, DIPS[1:4]))
    lab.settled()
    lab.put(f"/v1/vips/{ON_HMUX}", vip(1, DIPS[:3]))
    tap.ok(lab.settled() and everywhere(lab, ON_HMUX, {DIPS[0]: "up", DIPS[1]: "drain", DIPS[2]: "up"}), "a DIP that left it comes back as new")
    good(tap, ctl("dip", "undrain", ON_HMUX, DIPS[1], "--wait"), "undrained")
    tap.ok(everywhere(lab, ON_HMUX, {a: "up" for a in DIPS[:3]}), "all are used again")


def weights(tap, lab, ctl):
    good(tap, ctl("dip", "weight", ON_HMUX, DIPS[0], "5", "--wait"), "a DIP gets another weight")
    tap.ok([d["weight"] for d in lab.get(f"/v1/vips/{ON_HMUX}")["rules"][0]["dips"]] == [5, 1, 1], "in the definition")
    tap.ok(until(lambda: all(m.vips[ON_HMUX]["rules"][0]["dips"][0]["weight"] == 5 for m in lab.mux.values() if ON_HMUX in m.vips)), "and on the muxes")
    no(tap, ctl("dip", "weight", ON_HMUX, DIPS[0], "70000"), "from 0 to 65535", "one that is too large")
    tap.ok(ctl("dip", "weight", ON_HMUX, DIPS[0], "heavy").returncode == 2, "one that is no number")
    no(tap, ctl("dip", "weight", SINGLE, DIPS[7], "0"), "weight 0", "the only one to 0")


def hosts(tap, lab, ctl):
    no(tap, ctl("host", "drain", "srv8"), SINGLE, "the host of a VIP's only DIP is refused")
    no(tap, ctl("host", "drain", "srv99"), "srv99", "a host that isn't there")
    no(tap, ctl("host", "undrain", "srv1"), "not drained", "one that isn't drained")
    good(tap, ctl("host", "drain", "srv1", "--wait"), "a host is drained")
    tap.ok(everywhere(lab, ON_HMUX, {DIPS[0]: "drain", DIPS[1]: "up", DIPS[2]: "up"}) and everywhere(lab, ON_SMUX, {DIPS[0]: "drain", DIPS[1]: "up"}),
           "its DIPs get no new connections, in all VIPs")
    tap.ok(next(h for h in lab.get("/v1/hosts")["hosts"] if h["name"] == "srv1")["drained"], "the list of hosts says so")
    lab.put("/v1/vips/203.0.113.9", vip(9, DIPS[:2]))
    lab.settled()
    tap.ok(everywhere(lab, "203.0.113.9", {DIPS[0]: "drain", DIPS[1]: "up"}), "nor in a VIP that is new")
    lab.kill(signal.SIGKILL)
    lab.start()
    lab.settled()
    lab.host["srv1"].report(lab.url, [(v, 0, "up") for v in (ON_HMUX, ON_SMUX)])
    tap.ok(everywhere(lab, ON_HMUX, {DIPS[0]: "drain", DIPS[1]: "up", DIPS[2]: "up"}) and everywhere(lab, ON_SMUX, {DIPS[0]: "drain", DIPS[1]: "up"}),
           "after a restart and a report neither")
    good(tap, ctl("host", "undrain", "srv1", "--wait"), "it is used again")
    tap.ok(everywhere(lab, ON_HMUX, {a: "up" for a in DIPS[:3]}) and everywhere(lab, "203.0.113.9", {a: "up" for a in DIPS[:2]}), "in all VIPs")
    kinds = [a["what"] for a in lab.get("/v1/audit?limit=1000")["audit"]]
    tap.ok("PUT /v1/drains/host/srv1" in kinds and f"PUT /v1/vips/{ON_HMUX}/dips/{DIPS[0]}" in kinds, "the audit has it", kinds[-6:])


def steps(tap, place):
    lab = Lab(place)
    ctl = Ctl(lab)
    lab.start()
    lab.put("/v1/config", {"vips": [vip(1, DIPS[:3]), vip(2, DIPS[:2]), vip(3, DIPS[7:8])]})
    lab.settled()
    lab.watch.must = {ON_HMUX, ON_SMUX, SINGLE}
    on_smux(tap, lab, ctl)
    on_hmux(tap, lab, ctl)
    waits(tap, lab, ctl)
    weights(tap, lab, ctl)
    hosts(tap, lab, ctl)
    tap.ok(not lab.watch.wrong, "no VIP was without a mux, on two, or on two tables", lab.watch.wrong)


if __name__ == "__main__":
    sys.exit(run_test(steps))
