# SPDX-License-Identifier: GPL-2.0
"""What clients of the testbed do: HTTP requests counted segment by segment, and
duet-probe running in a client's namespace."""
import json
import os
import select
import signal
import socket
import subprocess
import time

from testbed import Failed, program


LATE_S = 4.0	# after the last line was sent an echo is late


def fetch(ns, vip, port=80, timeout=10.0):
    """one HTTP request from a namespace: (status, server's name, X-Peer seen there, own address:port)"""
    with ns:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    with sock:
        sock.settimeout(timeout)
        sock.connect((vip, port))
        own = "%s:%d" % sock.getsockname()
        sock.sendall(f"GET / HTTP/1.0\r\nHost: {vip}\r\n\r\n".encode())
        answer = b""
        while True:
            part = sock.recv(65536)
            if not part:
                break
            answer += part
    head, _, body = answer.decode(errors="replace").partition("\r\n\r\n")
    status = int(head.split()[1]) if head.startswith("HTTP/") else 0
    headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
    return status, body.strip(), headers.get("X-Peer"), own


def segments(ns):
    """(sent, received) TCP segments of a namespace, retransmissions among the sent"""
    with ns:
        with open("/proc/thread-self/net/snmp", encoding="ascii") as f:
            lines = [line.split() for line in f if line.startswith("Tcp:")]
    tcp = dict(zip(lines[0][1:], lines[1][1:]))
    return int(tcp["OutSegs"]) + int(tcp["RetransSegs"]), int(tcp["InSegs"])


def backlog_drops():
    """packets this kernel has dropped instead of queueing them for a CPU: too many waited, or their link was down"""
    with open("/proc/net/softnet_stat", encoding="ascii") as f:
        return sum(int(line.split()[1], 16) for line in f)


class Probe:
    """duet-probe in a client's namespace; use as a context, so that it always ends"""

    def __init__(self, ns, args, log):
        argv = [program("duet-probe")] + args
        self.what = f"duet-probe in {ns.name}"
        self.log = log
        self.buffer = b""
        self.ready_at = None
        self.drops = backlog_drops()
        with ns, open(log, "ab") as errors:
            self.child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors,
                                          start_new_session=True)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()
        self.child.stdout.close()

    def _line(self, seconds, what):
        deadline = time.monotonic() + seconds
        while b"\n" not in self.buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.child.stdout], [], [], left)[0]:
                raise Failed(f"{self.what}: {what} within {seconds:.0f} s", self.log)
            part = os.read(self.child.stdout.fileno(), 1 << 16)
            if not part:
                raise Failed(f"{self.what} ended with status {self.child.wait()}", self.log)
            self.buffer += part
        line, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(line)

    def ready(self, seconds=30.0):
        """wait until all connections stand and all pings are answered"""
        self._line(seconds, "not everything it asks answers")
        self.ready_at = time.monotonic()

    def stop(self, seconds=60.0, when_late=None):
        """end it; its report, without what was lost before all answered; "backlog-drops": see above; when_late() is
        called if answers are still awaited after LATE_S"""
        self.child.send_signal(signal.SIGTERM)
        if when_late and not select.select([self.child.stdout], [], [], LATE_S)[0]:
            when_late()
        report = self._line(seconds, "no report")
        self.child.wait()
        report["backlog-drops"] = backlog_drops() - self.drops
        for stream in report["pings"]:
            stream["lost-runs"] = [run for run in stream["lost-runs"] if run[0] >= self.ready_at]
            stream["lost"] = sum(run[1] for run in stream["lost-runs"])
        return report


def ended(report):
    """connections that are not what they were"""
    return [c for c in report["connections"] if c["state"] != "open"]


def unanswered(report):
    """connections that stand but whose last lines did not come back"""
    return [c for c in report["connections"] if c["state"] == "open" and c["echoed"] < c["sent"]]


def excuse(report):
    """what is to be said beside a loss, or nothing"""
    n = report["backlog-drops"]
    return f"; meanwhile this kernel dropped {n} packets because too many waited for a CPU or their link was down" if n else ""


def outage(report, since=0.0, until=float("inf")):
    """(longest time without answers in ms, pings lost) of loss that began in a window"""
    runs = [run for s in report["pings"] for run in s["lost-runs"] if since <= run[0] < until]
    return max((run[2] for run in runs), default=0.0), sum(run[1] for run in runs)
