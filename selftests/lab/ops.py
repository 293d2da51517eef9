# SPDX-License-Identifier: GPL-2.0
"""What an operator does with a testbed that is up: wait until all is well, move
VIPs, look at muxes. What scripts/demo and the experiments share."""
import json
import time

from testbed import Failed, until


# of where VIPs rest, which is what whoever asks may want
RESTING = ("vips-unassigned", "smux-overload")


def wait_ok(bed, seconds=60.0):
    """until the controller has nothing to complain of and nothing moves; seconds it took"""
    started = time.monotonic()
    last = {}

    def fine():
        last.update(bed.controller("GET", "/v1/status"))
        # a host that is not told yet answers tunnel packets with an ICMP error
        wrong = [f for f in last["faults"] if f["code"] not in RESTING]
        return (not wrong and not last["vips"]["moving"] and last["muxes"]["in-sync"] == last["muxes"]["total"]
                and last["hosts"]["told"] == last["hosts"]["total"])

    if not until(fine, seconds, 0.1):
        why = "; ".join(f["sentence"] for f in last.get("faults", [])[:3]) or json.dumps(last.get("muxes"))
        raise Failed(f"after {seconds:.0f} s not all is well: {why}", bed.log_of("ctl", "controller"))
    return time.monotonic() - started


def places(bed):
    """{VIP: switch or "smux"} and {VIP: name}, as the controller has them"""
    found = bed.controller("GET", "/v1/assignment")["assignment"]
    return {a["vip"]: a["mux"] for a in found}, {a["vip"]: a["name"] for a in found}


def mux_status(bed, node):
    return bed.rest("GET", f"{bed.topo.nodes[node].agent}/v1/status")[1]


def await_move(bed, move, seconds=60.0):
    """until a move is over, or Failed"""
    state = {}

    def over():
        state.update(bed.controller("GET", f"/v1/moves/{move}"))
        return state["over"]

    until(over, seconds, 0.02)
    if state["state"] != "done":
        raise Failed(f"move of {state['vip']} to {state['to']}: {state['state']} {state.get('note', '')}",
                     bed.log_of("ctl", "controller"))


def move(bed, vip, to):
    """move a VIP by hand; seconds from the request until the controller says it is done"""
    started = time.monotonic()
    number = bed.controller("POST", "/v1/moves", {"vip": vip, "to": to})["id"]
    if number is not None:
        await_move(bed, number)
    return time.monotonic() - started


def wave(bed, where):
    """{VIP: switch or "smux"} as one wave, like an assignment's; numbers of its moves"""
    body = {"assignment": [{"vip": vip, "mux": mux} for vip, mux in where.items()]}
    return bed.controller("PUT", "/v1/updater/assignment", body)["moves"]
