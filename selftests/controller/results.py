#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""results.py OUT [KILLS] - out/results/controller.json: how long the death of a
DIP takes to all muxes that hold it (from before the host's report is sent to
the last agent's having been told, by this machine's clock, over the loopback),
and kills at every step of plans. The run at scale is not in it yet: null."""
import json
import sys
import time

from fabric import Place, until
from kills import kills
from test_moves import DIPS, Lab, dip_states, vip

DEATHS = 200


def deaths():
    place, took = Place(), []
    try:
        lab = Lab(place)
        lab.start()
        # a VIP each, so that the damping of DIPs that come and go is not what is measured
        vips = [vip(n, DIPS[:3]) for n in range(1, DEATHS + 1)]
        lab.put("/v1/config", {"vips": vips})
        lab.settled(60)
        host = lab.host["srv1"]
        states = {v["vip"]: "up" for v in vips}
        host.report(lab.url, [(v, 0, s) for v, s in states.items()])
        for v in list(states):
            lab.clear()
            states[v] = "down"
            start = time.monotonic()
            host.report(lab.url, [(v, 0, "down")])
            holders = [m for m in lab.mux.values() if v in m.vips]
            if not until(lambda: all(dip_states(m, v)[DIPS[0]] == "down" for m in holders)):
                raise SystemExit(f"{v}: its DIP's death did not reach every mux")
            took.append((max(m.puts[0][0] for m in holders) - start) * 1000)
    finally:
        place.close()
    took.sort()
    return {"count": len(took), "median": round(took[len(took) // 2], 2), "p99": round(took[len(took) * 99 // 100], 2),
            "max": round(took[-1], 2)}


def main():
    result = {"scale": None, "dip_death_ms": deaths()}
    result["kills"] = kills(int(sys.argv[2]) if len(sys.argv) > 2 else 1000, progress=True)
    with open(sys.argv[1], "w", encoding="utf-8") as f:
        json.dump(result, f, indent=1)
    print(json.dumps(result))
    return 1 if result["kills"]["lost_moves"] or result["kills"]["vip_without_mux"] else 0


sys.exit(main())
