# SPDX-License-Identifier: GPL-2.0
"""What the controller's tests share: the testbed's fabric (the paper's Figure
10) as topology.dot, daemons run and ended, REST, TAP."""
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.error
import urllib.request

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.path.join(os.environ.get("O", os.path.join(TOP, "out")), "bin")
SWITCHES = ["core1", "core2", "agg1", "agg2", "agg3", "agg4", "tor1", "tor2", "tor3", "tor4"]


def fabric_links():
    """(a, b, Mbps): tor to both aggs of its container, agg to both cores"""
    links = []
    for t in range(1, 5):
        for a in ((1, 2) if t <= 2 else (3, 4)):
            links.append((f"tor{t}", f"agg{a}", 10000))
    for a in range(1, 5):
        for c in (1, 2):
            links.append((f"agg{a}", f"core{c}", 40000))
    return links


def topology(agents, servers):
    """topology.dot; agents: node to URL; servers: name to (address, tor)"""
    ports = {}

    def port(node):
        ports[node] = ports.get(node, 0) + 1
        return ("eth" if node.startswith(("srv", "smux")) else "swp") + str(ports[node])

    out = ["graph duet {"]
    for k, name in enumerate(SWITCHES, 1):
        role = name[:-1]
        attrs = [f"role={role}"]
        if role != "core":
            attrs.append(f"container={1 if int(name[-1]) <= 2 else 2}")
        if name in agents:
            attrs += [f'agent="{agents[name]}"', f'local="10.254.0.{k}"', "profile=paper"]
        out.append(f'  "{name}" [{", ".join(attrs)}]')
    for s in range(1, 4):
        if f"smux{s}" in agents:
            out.append(f'  "smux{s}" [role=smux, agent="{agents[f"smux{s}"]}", local="10.254.1.{s}", capacity="3.6G"]')
    for name, (address, _) in servers.items():
        agent = f', agent="{agents[name]}"' if name in agents else ""
        out.append(f'  "{name}" [role=server, address="{address}"{agent}]')
    for a, b, mbps in fabric_links():
        out.append(f'  "{a}":"{port(a)}" -- "{b}":"{port(b)}" [speed="{mbps // 1000}G"]')
    for s in range(1, 4):
        if f"smux{s}" in agents:
            out.append(f'  "smux{s}":"eth0" -- "tor{s}":"{port(f"tor{s}")}"')
    for name, (_, tor) in servers.items():
        out.append(f'  "{name}":"eth0" -- "{tor}":"{port(tor)}"')
    return "\n".join(out + ["}"]) + "\n"


def free_ports(n):
    """n TCP ports of the loopback that nobody has now"""
    held = [socket.socket() for _ in range(n)]
    for s in held:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in held]
    for s in held:
        s.close()
    return ports


class Refused(Exception):
    def __init__(self, status, body):
        super().__init__(f"{status}: {body.get('detail') if isinstance(body, dict) else body}")
        self.status, self.body = status, body
        self.detail = body.get("detail", "") if isinstance(body, dict) else str(body)


def rest(method, url, body=None, timeout=10):
    """The answer's JSON; Refused for any status that is not 2xx, OSError if there is none."""
    data = json.dumps(body, separators=(",", ":")).encode() if body is not None else None
    request = urllib.request.Request(url, data=data, method=method, headers={"Content-Type": "application/json"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=timeout) as answer:
            text = answer.read().decode()
    except urllib.error.HTTPError as e:
        text = e.read().decode()
        try:
            raise Refused(e.code, json.loads(text)) from None
        except ValueError:
            raise Refused(e.code, text) from None
    except urllib.error.URLError as e:
        raise OSError(str(e.reason)) from None
    try:
        return json.loads(text)
    except ValueError:
        return text


def until(what, seconds=10):
    """Call what() until it returns something true, which is returned; None at the deadline."""
    deadline = time.monotonic() + seconds
    pause = 0.002
    while True:
        try:
            got = what()
        except (OSError, Refused):
            got = None
        if got:
            return got
        if time.monotonic() > deadline:
            return None
        select.select([], [], [], pause)
        pause = min(pause * 1.5, 0.05)


def sentences(status):
    """What is wrong, of a GET /v1/status"""
    return [f["sentence"] for f in status["faults"]]


def run_test(steps):
    """A test's main(): steps(tap, place); whatever ends it early is a failure, told with the logs."""
    tap, place = Tap(), Place()
    try:
        steps(tap, place)
    except (AssertionError, LookupError, OSError, Refused, TypeError, ValueError, subprocess.TimeoutExpired):
        tap.ok(False, "the test runs to its end", traceback.format_exc())
    finally:
        if tap.failed:
            place.logs()
        place.close()
    tap.end()


class Place:
    """A temporary folder and the daemons that live in it."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="duet-test-")
        os.chmod(self.dir, 0o755)
        self.running = []

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as f:
            f.write(text)
        return self.path(name)

    def run(self, *command):
        log = open(self.path(os.path.basename(command[0]) + ".log"), "a", encoding="utf-8")
        child = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        log.close()
        self.running.append(child)
        return child

    def stop(self, child, how=signal.SIGTERM):
        child.send_signal(how)
        child.wait(20)
        self.running.remove(child)
        return child.returncode

    def close(self):
        for child in list(self.running):
            self.stop(child, signal.SIGKILL)
        if os.environ.get("KEEP"):
            print(f"# kept: {self.dir}")
        else:
            shutil.rmtree(self.dir, ignore_errors=True)

    def logs(self):
        for name in sorted(os.listdir(self.dir)):
            if name.endswith(".log"):
                with open(self.path(name), encoding="utf-8", errors="replace") as f:
                    for line in f.readlines()[-60:]:
                        print(f"# {name}: {line.rstrip()}")


class Tap:
    def __init__(self):
        self.n = self.failed = 0

    def ok(self, good, what, *detail):
        self.n += 1
        self.failed += not good
        print(f"{'ok' if good else 'not ok'} {self.n} - {what}", flush=True)
        if not good:
            for line in "\n".join(str(d) for d in detail).split("\n"):
                print(f"#   {line}", flush=True)
        return good

    def refused(self, call, status, words, what):
        """call() must be refused with this status and a sentence with these words."""
        try:
            got = call()
            return self.ok(False, what, f"was not refused: {got}")
        except Refused as e:
            return self.ok(e.status == status and all(w in e.detail for w in words), what, f"got {e.status}: {e.detail}")

    def end(self):
        print(f"1..{self.n}", flush=True)
        sys.exit(1 if self.failed else 0)
