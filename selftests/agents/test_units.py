#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""The units of the daemons: what systemd says of their exposure, and that the host agent does all its work in what its unit leaves it.
The bed is that of test_host_agent.py."""
import os
import re
import shutil
import signal
import subprocess
import sys

import test_host_agent as base
from test_host_agent import CLIENT, DIP, HOST, TOP, VIP, VIP2, W, check, equal, sh, until

TESTS = []
MAX = 3.0
CGROUP = f"/sys/fs/cgroup/dha-{os.getpid()}"
UNITS = {"controller": "controller/duet-controller.service", "mux": "agents/mux/duet-mux-agent.service",
         "host": "agents/host/duet-host-agent.service"}


def test(function):
    TESTS.append(function)
    return function


@test
def exposure():
    """systemd-analyze security: each below 3.0"""
    if not shutil.which("systemd-analyze"):
        return "no systemd-analyze"
    for name, unit in UNITS.items():
        said = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager", os.path.join(TOP, unit)], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False).stdout
        got = re.search(r"exposure level for \S+: ([0-9.]+)", said)
        check(got, f"{name}: {said[-300:]}")
        print(f"# trust: exposure_{name} {got[1]}")
        check(float(got[1]) < MAX, f"{name}: exposure {got[1]}, and {MAX} is too much already")
    return None


def confined():
    """the agent as its unit has it"""
    W.agent.stop()
    writable = ":".join((base.DIR, "/run/duet", "/sys/fs/cgroup", "/dev"))
    # the cgroup of the unit, which systemd makes and delegates
    os.makedirs(CGROUP, exist_ok=True)
    W.agent.child = subprocess.Popen(["sh", "-c", f'echo $$ >{CGROUP}/cgroup.procs; exec "$@"', "sh", "nsenter", f"--net=/run/netns/{HOST}", "unshare", "-m", "--propagation", "private", sys.executable,
                                      os.path.join(TOP, "selftests/agents/confine.py"), os.path.join(TOP, UNITS["host"]), writable,
                                      base.AGENT, "-c", W.agent.conf], stderr=W.agent.log)
    until(W.agent.healthy, "the agent answers", 120)


@test
def host_agent():
    """decapsulation, NAT, probes, checks by command, sysctls, a fence and a takeover work within the unit's bounds"""
    if not shutil.which("systemd-analyze"):
        return "no systemd-analyze"
    if not mounted():
        return "no BPF file system at /sys/fs/bpf, or no cgroup2 at /sys/fs/cgroup"
    checks = os.path.join(base.DIR, "checks")
    os.mkdir(checks, 0o755)
    os.chmod(base.DIR, 0o755)
    with open(os.path.join(checks, "id"), "w", encoding="ascii") as f:
        f.write("#!/bin/sh\ntest $(id -u) = 65534 && grep -q 'NoNewPrivs:.1' /proc/self/status && grep -q 'Seccomp:.2' /proc/self/status\n")
    os.chmod(f.name, 0o755)
    with open(W.agent.conf, "a", encoding="ascii") as f:
        f.write(f"[checks]\ncommand-dir = {checks}\n")
    with open(W.agent.conf, encoding="ascii") as f:
        text = f.read()
    with open(W.agent.conf, "w", encoding="ascii") as f:
        f.write(text.replace("[host]", f"state_dir = {base.DIR}/state\n[host]"))
    sh("sysctl", "-qw", "net.ipv4.conf.e0.rp_filter=1", ns=HOST)
    confined()
    with open(f"/proc/{W.agent.child.pid}/status", encoding="ascii") as f:
        status = f.read()
    check("Seccomp:\t2" in status and "NoNewPrivs:\t1" in status, "it is confined")
    equal(sh("sysctl", "-n", "net.ipv4.conf.e0.rp_filter", ns=HOST).strip(), "2", "a sysctl of the interface")
    quick = {"interval_ms": 50, "timeout_ms": 5000, "rise": 1, "fall": 1}
    W.agent.put({"vip": VIP, "dip": DIP, "accept": [{}], "checks": [{"rule": 0, "type": "http", "port": 80, **quick}, {"rule": 1, "type": "icmp", **quick},
                                                  {"rule": 2, "type": "command", "command": "id", **quick}]},
                {"vip": VIP2, "dip": DIP, "delivery": "nat", "accept": [{}]})
    until(lambda: [c["state"] for v in W.agent.status()["vips"] for c in v["checks"]] == ["up"] * 3, "probes and a command", 30)
    for address in (VIP, VIP2):
        got = W.wire.answer(W.wire.ping(address))
        check(got and got["src"] == address and got["dst"] == CLIENT, f"an answer of {address}: {got}")
    s = W.agent.status()
    check(s["decapsulator"].get("pinned"), f"pinned: {s['decapsulator']}")
    equal(s["command-checks"]["left-behind-ends"], "by cgroup", "how what commands leave behind ends")
    W.agent.generation += 1
    status, answer = W.agent.ask("PUT", "/v1/state", {
        "epoch": 1, "generation": W.agent.generation, "key": "1".zfill(32), "muxes": [base.MUX], "snat": [{"vip": VIP, "first": 40000, "last": 40063}],
        "snat_except": [], "vips": [{"vip": VIP, "dip": DIP, "rules": [{"dips": [{"address": DIP}]}]}]})
    equal(status, 200, f"SNAT ({answer})")
    sh("bash", "-c", f"echo >/dev/udp/{CLIENT}/9", ns=HOST)
    check('duet_host_snat_total{result="picked"} 1' in W.agent.ask("GET", "/metrics", raw=True)[1], "a connection with the VIP as source")
    W.agent.stop(signal.SIGKILL)
    W.agent.start()
    confined()
    s = W.agent.status()
    equal((s["decapsulator"]["taken-over"], s["generation"]), (True, W.agent.generation), "taken over, the fence too")
    lines = [l for l in W.agent.text().splitlines() if "not permitted" in l or "Read-only" in l]
    equal(lines, [], "nothing was refused to it")
    W.agent.stop()
    until(lambda: os.rmdir(CGROUP) is None, "nothing is left in its cgroup")
    return None


def mounted():
    return os.path.ismount("/sys/fs/bpf") and os.path.exists("/sys/fs/cgroup/cgroup.procs")


def main():
    if os.geteuid():
        print("1..0 # SKIP not root")
        return 0
    if not mounted() and "DUET_MOUNTED" not in os.environ:
        # in a mount namespace for this test alone, as systemd would have mounted them
        os.environ["DUET_MOUNTED"] = "1"
        os.execvp("unshare", ["unshare", "-m", "--propagation", "private", "sh", "-c",
                              'mount -t bpf none /sys/fs/bpf; mount -t cgroup2 none /sys/fs/cgroup; exec "$@"', "sh", sys.executable, __file__])
    return base.main(TESTS)


if __name__ == "__main__":
    sys.exit(main())
