#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""duet-mux-agent while it and BIRD are killed: nothing is announced that isn't programmed, nothing is lost. The longer
form of this is selftests/bench/mux_agent.py."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import muxlab  # noqa: E402
from faults import Storm  # noqa: E402
from lib import check, equal, main, test, until  # noqa: E402


@test
def storm():
    """50 changes a second, agent and BIRD killed again and again: the watcher sees nothing unprogrammed, all converges"""
    s = Storm()
    s.run(600, 60)
    s.converge()
    seen = s.end()
    equal(seen["violations"], {}, "announced unprogrammed")
    equal(s.refused, 0, "changes refused")
    check(len(s.kills) == 3, f"each kind of kill happened: {s.kills}")


@test
def watcher():
    """the watcher is no decoration: it fires when a table goes away under an announced VIP"""
    lab = muxlab.Lab()
    lab.put(muxlab.wish("203.0.113.1"))
    seen = muxlab.Watcher(muxlab.PEER, lambda v: os.path.exists(f"{lab.dir}/vips/{v}"))
    lab.put(muxlab.wish("203.0.113.1"), muxlab.wish("203.0.113.2"))
    until(lambda: "203.0.113.2" in lab.peer_routes(), "the neighbour has the route")
    os.unlink(f"{lab.dir}/vips/203.0.113.2")
    until(lambda: seen.ours.poll(0.2) or True, "a few looks")
    equal(set(seen.stop()["violations"]), {"203.0.113.2"}, "violations")


@test
def burst():
    """a burst of triggers larger than BIRD's netlink buffer: what was lost is found and read again"""
    lab = muxlab.Lab(scan=3600, buffer="netlink rx buffer 8192;", max_members=0xfffffffe)
    vips = [f"198.51.{100 + n // 200}.{1 + n % 200}" for n in range(3000)]
    lab.put(*[muxlab.wish(v, dips=("10.1.1.1",)) for v in vips])
    equal(len(lab.triggers()), len(vips), "triggers")
    until(lambda: lab.status()["bird"]["exported"] == len(vips), "BIRD has them all", 60)
    until(lambda: len(lab.peer_routes()) == len(vips), "and so has the neighbour", 60)
    check(lab.status()["bird"]["reloads"] > 0, "some had been lost")


if __name__ == "__main__":
    main()
