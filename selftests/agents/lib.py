# SPDX-License-Identifier: GPL-2.0
"""What the agents' tests share: TAP, namespaces, daemons, REST."""
import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import http.client

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OUT = os.environ.get("O", os.path.join(TOP, "out"))
BIN = os.path.join(OUT, "bin")
LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
TESTS = []


def test(function):
    TESTS.append(function)
    return function


class Failed(Exception):
    pass


def check(condition, what):
    if not condition:
        raise Failed(what)


def equal(got, want, what):
    if got != want:
        raise Failed(f"{what}: got {got!r}, want {want!r}")


def until(probe, what, seconds=60):
    end = time.monotonic() + seconds
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > end:
            raise Failed(f"not within {seconds} s: {what}")
        select.select([], [], [], 0.01)


def run(*args, ok=True, stdin=None):
    done = subprocess.run(args, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    if ok and done.returncode != 0:
        raise Failed(f"{' '.join(args)}: {done.stderr.strip()}")
    return done.stdout


class inside:
    def __init__(self, ns):
        self.ns = ns

    def __enter__(self):
        self.own = os.open("/proc/self/ns/net", os.O_RDONLY)
        other = os.open(f"/run/netns/{self.ns}", os.O_RDONLY)
        if LIBC.setns(other, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns {self.ns}")
        os.close(other)

    def __exit__(self, *_):
        LIBC.setns(self.own, CLONE_NEWNET)
        os.close(self.own)


def rest(ns, port, method, path, body=None):
    """(status, JSON or text) of a daemon that listens on 127.0.0.1 in ns."""
    with inside(ns):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.connect()
    try:
        data = body if isinstance(body, (str, type(None))) else json.dumps(body)
        connection.request(method, path, data, {} if data is None else {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read().decode()
        try:
            return answer.status, json.loads(text)
        except ValueError:
            return answer.status, text
    finally:
        connection.close()


class Daemon:
    """A program in a namespace; its log is kept, and looked at in the end."""

    def __init__(self, ns, name, *args):
        self.ns, self.name, self.args = ns, name, args
        self.log = tempfile.NamedTemporaryFile("w+", prefix=f"duet-{name}-", suffix=".log", delete=False)
        self.child = None
        self.start()

    def start(self):
        self.child = subprocess.Popen(["ip", "netns", "exec", self.ns, *self.args], stdin=subprocess.DEVNULL,
                                      stdout=self.log, stderr=subprocess.STDOUT)

    def kill(self, sig=signal.SIGKILL):
        if self.child:
            self.child.send_signal(sig)
            self.child.wait(10)
            self.child = None

    def text(self):
        with open(self.log.name, encoding="utf-8") as f:
            return f.read()

    def remove(self):
        self.kill()
        os.unlink(self.log.name)


CLEANUP = []


def namespace(name):
    run("ip", "netns", "del", name, ok=False)
    run("ip", "netns", "add", name)
    CLEANUP.append(lambda: run("ip", "netns", "del", name, ok=False))
    run("ip", "-n", name, "link", "set", "lo", "up")


def folder():
    path = tempfile.mkdtemp(prefix="duet-test-")
    os.chmod(path, 0o755)   # daemons that face the network run as users
    CLEANUP.append(lambda: shutil.rmtree(path, ignore_errors=True))
    return path


def main():
    if os.geteuid():
        print("1..0 # SKIP needs root for network namespaces")
        sys.exit(4)
    only = sys.argv[1:]
    chosen = [t for t in TESTS if not only or t.__name__ in only]
    print(f"1..{len(chosen)}", flush=True)
    failed = 0
    for number, function in enumerate(chosen, 1):
        name = (function.__doc__ or function.__name__).splitlines()[0]
        try:
            function()
            print(f"ok {number} - {name}", flush=True)
        except Exception as error:  # every failure of a test is its result
            failed += 1
            for line in (str(error) if isinstance(error, Failed) else traceback.format_exc()).splitlines()[-20:]:
                print(f"# {line[:500]}")
            print(f"not ok {number} - {name}", flush=True)
        finally:
            while CLEANUP:
                CLEANUP.pop()()
    sys.exit(1 if failed else 0)
