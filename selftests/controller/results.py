#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""results.py OUT [KILLS] - out/results/controller.json: the run at scale (scale.py),
how long the death of a
DIP takes to all muxes that hold it (from before the host's report is sent to
the last agent's having been told, by this machine's clock, over the loopback),
and kills at every step of plans."""
import json
import os
import subprocess
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


def scale():
    """in a process of its own, for it leaves this network namespace"""
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "scale.py")
    done = subprocess.run([sys.executable, script], stdout=subprocess.PIPE, text=True, check=False)
    return json.loads(done.stdout) if done.stdout else None		# it says on stderr what kept it from its end


def main():
    result = {"scale": scale(), "dip_death_ms": deaths()}
    result["kills"] = kills(int(sys.argv[2]) if len(sys.argv) > 2 else 1000, progress=True)
    with open(sys.argv[1], "w", encoding="utf-8") as f:
        json.dump(result, f, indent=1)
    print(json.dumps(result))
    return 1 if not result["scale"] or result["scale"]["wrong"] or result["kills"]["lost_moves"] or result["kills"]["vip_without_mux"] else 0


sys.exit(main())
