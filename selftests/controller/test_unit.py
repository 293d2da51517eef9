#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""The systemd units: systemd has nothing to say against them, the controller's
is well enclosed; and the controller keeps its side: ready when it serves, a
word for the watchdog in time, a word when it stops."""
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time

from fabric import BIN, TOP, free_ports, rest, run_test, topology

UNITS = ("agents/mux/duet-mux-agent.service", "agents/host/duet-host-agent.service", "controller/duet-controller.service")
WATCHDOG_S = 1.0


def analyze(*args):
    got = subprocess.run(["systemd-analyze", *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    return got.returncode, got.stdout


def units(tap, place):
    for unit in UNITS:
        with open(os.path.join(TOP, unit), encoding="utf-8") as f:
            text = f.read()
        # the programs stand here, and not where they will be installed
        text = re.sub(r"/usr/sbin/(duet-\S+)", lambda m: os.path.join(os.path.abspath(BIN), m.group(1)), text)
        file = place.write(os.path.basename(unit), text)
        code, said = analyze("verify", "--man=no", file)
        ours = [line for line in said.splitlines() if os.path.basename(unit) in line]
        tap.ok(code == 0 and not ours, f"{os.path.basename(unit)}: systemd has nothing against it", said)
        program = re.search(r"^ExecStart=(\S+)", text, re.M).group(1)
        tap.ok(os.access(program, os.X_OK) and os.path.basename(program) + ".service" == os.path.basename(unit), "and it starts what there is", program)
    code, said = analyze("security", "--offline=yes", "--threshold=20", "--no-pager", place.path("duet-controller.service"))
    tap.ok(code == 0, "the controller's exposure is at most 2.0 of 10", *said.splitlines()[-3:])


class Notified:
    """the socket that systemd would have"""

    def __init__(self, place):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(place.path("notify"))
        self.said = []

    def hear(self, word, seconds):
        """the time when the word came, or None"""
        deadline = time.monotonic() + seconds
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.socket], [], [], left)[0]:
                return None
            self.said.append(self.socket.recv(4096).decode())
            if word in self.said[-1].split("\n"):
                return time.monotonic()


def notify(tap, place):
    port = free_ports(1)[0]
    dot = place.write("topology.dot", topology({"tor1": "http://127.0.0.1:1"}, {}))
    conf = place.write("c.conf", f"[controller]\nlisten=127.0.0.1:{port}\ninsecure=yes\nstore={place.path('s.sqlite')}\ntopology={dot}\n"
                                 "aggregate=203.0.113.0/24\n")
    systemd = Notified(place)
    child = subprocess.Popen(["env", f"NOTIFY_SOCKET={place.path('notify')}", f"WATCHDOG_USEC={int(WATCHDOG_S * 1e6)}",
                              f"{BIN}/duet-controller", "-c", conf], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    place.running.append(child)
    tap.ok(systemd.hear("READY=1", 20) and rest("GET", f"http://127.0.0.1:{port}/healthz") == "ok\n", "READY=1 when it serves", systemd.said)
    times = [systemd.hear("WATCHDOG=1", 10) for _ in range(4)]
    gaps = [b - a for a, b in zip(times, times[1:]) if a and b]
    tap.ok(len(gaps) == 3 and max(gaps) < WATCHDOG_S, "WATCHDOG=1 in time, again and again", gaps)
    child.send_signal(signal.SIGTERM)
    tap.ok(systemd.hear("STOPPING=1", 10) and child.wait(20) == 0, "STOPPING=1 when it ends", systemd.said)
    place.running.remove(child)


def steps(tap, place):
    units(tap, place)
    notify(tap, place)


if __name__ == "__main__":
    sys.exit(run_test(steps))
