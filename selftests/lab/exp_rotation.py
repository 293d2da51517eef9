# SPDX-License-Identifier: GPL-2.0
"""The hash's key is rotated under connections, and the controller killed while it
is: to a VIP that rests on the SMuxes, from begin to end; to one that lives on a
switch, until it goes back there, for a switch keeps no connections."""
import signal

import ops
from chain import PLACES, kept, lost_pings
from testbed import Failed, until

HOME, RESTS = "203.0.113.2", "203.0.113.8"
LEARN_S, HOLD_S = 2, 20
CONTROLLER = [("ctl", "controller")]


def key_state(bed):
    try:
        return bed.controller("GET", "/v1/key")
    except (Failed, OSError):
        return None		# it is being started again


def wait_key(chain, what, test, seconds):
    state = {}

    def seen():
        state.update(key_state(chain.bed) or {"state": "no answer", "keys": []})
        return test(state)
    if not until(seen, seconds, 0.1):
        raise chain.failed(f"{what}: {state}")
    return state


def fingerprints(chain):
    return {(d["device"]["key-fingerprint"], d["device"].get("key1-fingerprint", "none")) for d in
            (ops.mux_status(chain.bed, n.name) for n in chain.bed.topo.muxes)}


def rotate(chain, connections):
    bed = chain.bed
    before = key_state(bed)["keys"][0]
    with chain.probe(chain.client("tor3"), [RESTS], [RESTS], connections) as rests, \
            chain.probe(chain.client("tor1"), [HOME], [HOME], connections) as moves:
        rests.ready()
        moves.ready()
        bed.controller("POST", "/v1/key/rotate", {})
        wait_key(chain, "VIPs begin to change", lambda s: s["state"] == "changing" and s["changing"], 60)
        bed.kill(CONTROLLER, signal.SIGKILL)
        chain.restart(CONTROLLER)
        wait_key(chain, "all VIPs choose by the new key", lambda s: s["keys"] and not [k for k in s["keys"] if not k["current"] and k["vips"]], 120)
        chain.run_for(1)
        on_smux = moves.stop()
        wait_key(chain, "it ends", lambda s: s["state"] == "settled", 180)
        chain.run_for(0.5)
        through = rests.stop()
    after = key_state(bed)["keys"]
    chain.settle()
    one = {("none", after[0]["fingerprint"]), (after[0]["fingerprint"], "none")}
    if len(after) != 1 or after[0]["fingerprint"] == before["fingerprint"] or len(fingerprints(chain)) != 1 or not fingerprints(chain) <= one:
        raise Failed(f"the key before was {before}, after it {after}, the muxes have {fingerprints(chain)}")
    found = {}
    for name, report in (("smux_vip", through), ("hmux_vip_on_smuxes", on_smux)):
        total, whole = kept(report, chain.say)
        found[name] = {"connections": total, "connections_lost": total - whole, "pings": sum(s["sent"] for s in report["pings"]),
                       "packets_lost": lost_pings(report)[1]}
        chain.say(f"rotation {name}: {total - whole} of {total} connections lost, {found[name]['packets_lost']} of {found[name]['pings']} pings")
    return found


def measure(chain, connections=20):
    bed = chain.bed
    bed.controller("PUT", "/v1/control", {"change-learn-s": LEARN_S, "change-hold-s": HOLD_S, "key-moves": len(PLACES)})
    try:
        if not until(lambda: not bed.controller("GET", "/v1/status")["behind"], 30, 0.2):
            raise chain.failed("the store is behind for good")
        return {"rotation": rotate(chain, connections)}
    finally:
        bed.controller("PUT", "/v1/control", {"change-learn-s": 0, "change-hold-s": 0, "key-moves": 1})
