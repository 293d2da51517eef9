#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""The controller dies as by kill -9 at steps of plans, all of them: see kills.py,
which does it a thousand times for out/results/controller.json."""
from fabric import Tap
from kills import kills

COUNT = 80
STEPS = {"before-commit", "after-commit", "full-sent", "full-acked", "vip-sent", "vip-acked", "host-sent", "host-acked"}


def main():
    tap = Tap()
    got = kills(COUNT)
    tap.ok(got["count"] == COUNT and set(got["at"]) <= STEPS and len(got["at"]) >= len(STEPS) - 1, f"{COUNT} deaths, at steps of every kind", got)
    tap.ok(not got["lost_moves"], "every plan ended where it was told to", got)
    tap.ok(not got["vip_without_mux"], "no VIP was without a mux, on two, or on two tables", got)
    tap.end()


main()
