#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""duet-host-agent on this kernel, with the module as the mux: those of its own tests that show what kernels differ in
(what the verifier takes, functions of conntrack, hooks of sockets), smaller than where they run natively."""
import os
import subprocess
import sys

AGENTS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "agents")
# in this order: SNAT of sockets goes without nf_nat, which targets bring
PARTS = (
    ("test_host_snat.py", ()),
    ("test_host_agent.py", ("decapsulates", "end_of_service")),
    ("test_host_delivery.py", ("families", "xdp", "clamped")),
    ("test_host_rules.py", ("port_22",)),
)
LESS = {"DUET_REAL_MUX": "1", "DUET_SNAT_CONNECTIONS": "800", "DUET_PATIENCE": str(6 * int(os.environ.get("DUET_PATIENCE", "1")))}

subprocess.run(["modprobe", "-a", "veth", "tun", "ipv6"], check=False)
if not os.path.exists("/sys/module/duet"):
    print("1..0 # SKIP the module isn't loaded")
    sys.exit(4)
if not os.path.exists("/proc/sys/kernel/unprivileged_bpf_disabled"):
    print("1..0 # SKIP this kernel has no BPF")	# the debug kernel
    sys.exit(4)
failed = 0
for name, only in PARTS:
    failed |= subprocess.run([os.path.join(AGENTS, name), *only], env={**os.environ, **LESS}, check=False).returncode
sys.exit(1 if failed else 0)
