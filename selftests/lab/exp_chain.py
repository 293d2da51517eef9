#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""The experiments that need the module, one testbed for all of them: Figures 11
to 14 and what goes beyond. Meant for a VM that counts instructions (scripts/vm
--icount): its clock stands still while others have the processor.

usage: exp_chain.py [--runs N] [--parts failover,migration,breakdown,faults,capacity,rotation] [--faults NAME,...]"""
import argparse
import os
import signal
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import config  # noqa: E402
import exp_breakdown  # noqa: E402
import exp_capacity  # noqa: E402
import exp_failover  # noqa: E402
import exp_faults  # noqa: E402
import exp_migration  # noqa: E402
import exp_rotation  # noqa: E402
import experiment  # noqa: E402
import ops  # noqa: E402
import place  # noqa: E402
from chain import BFD_MS, Chain  # noqa: E402
from testbed import Failed, Testbed  # noqa: E402

PARTS = ("failover", "migration", "breakdown", "faults", "capacity", "rotation")


def say(text):
    print(f"chain: {text}", flush=True)


def measure(chain, part, opt):
    if part == "failover":
        return exp_failover.measure(chain, opt.runs)
    if part == "migration":
        return exp_migration.measure(chain, opt.runs)
    if part == "breakdown":
        return {"breakdown": exp_breakdown.measure(chain, "203.0.113.200", len(chain.vips), 5 * opt.runs)}
    if part == "faults":
        return exp_faults.measure(chain, opt.faults.split(",") if opt.faults else None)
    if part == "rotation":
        return exp_rotation.measure(chain)
    return exp_capacity.measure(chain)


def run(bed, opt):
    """all parts; one that fails is told of and the next one tried. True: all went well"""
    good = True
    bed.load_vips()
    bed.controller("PUT", "/v1/control", {"change-learn-s": 0, "change-hold-s": 0})
    ops.wait_ok(bed, 120)
    chain = Chain(bed, say)
    try:
        chain.place()
        say("VIPs are in their places")
        for part in opt.parts.split(","):
            began = time.monotonic()
            try:
                found = measure(chain, part, opt)
            except Failed as e:
                good = False
                say(f"{part} failed: {e} (log: {e.log})")
                bed.keep_logs(os.path.join(config.OUT, "log", f"exp-{part}"))
                chain.recover()
                continue
            experiment.keep(part + ("-native" if chain.stand_in else ""),
                            dict(found, seconds=round(time.monotonic() - began, 1), bfd_ms=opt.bfd_ms))
    finally:
        chain.close()
    return good


def main():
    p = argparse.ArgumentParser(allow_abbrev=False)
    p.add_argument("--runs", type=int, default=3)
    p.add_argument("--parts", default=",".join(PARTS))
    p.add_argument("--faults", help="only these of " + ", ".join(exp_faults.FAULTS))
    p.add_argument("--device", choices=("duet", "sim"), default="duet")
    p.add_argument("--servers", type=int)
    p.add_argument("--bfd-ms", type=int, default=BFD_MS)
    p.add_argument("--netem", help="links of the fabric: see scripts/lab")
    opt = p.parse_args()
    if not set(opt.parts.split(",")) <= set(PARTS):
        p.error(f"parts are {', '.join(PARTS)}")
    for sig in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(sig, signal.default_int_handler)
    experiment.programs_to_memory()
    # BIRD first: on a real switch it has a CPU of its own, here it shares one with 130 programs. Then who measures.
    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(5))
    bed = Testbed(f"exp{os.getpid() % 1000}-", servers=opt.servers, device=opt.device, site={"BFD_MS": opt.bfd_ms}, first=("bird",),
                  patient=False, netem=opt.netem)
    with place.module(opt.device == "duet"):
        began = time.monotonic()
        bed.claim()
        try:
            bed.up()
            say(f"{len(bed.programs)} programs up in {time.monotonic() - began:.1f} s")
            good = run(bed, opt)
        except Failed as e:
            bed.keep_logs(os.path.join(config.OUT, "log", "exp-chain"))
            say(f"failed: {e} (log: {e.log}, kept in out/log/exp-chain)")
            return 1
        finally:
            bed.down()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
