#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Peers that mean no good, each kind while a DIP of srv8 dies again and again: a crowd of connections, slow headers, slow
and unfinished bodies, deep, wide and large JSON, streams without end. Others are served, a death is on all muxes in time,
memory stays bounded and comes back."""
import json
import signal
import socket
import ssl
import sys
import threading
import time

from fabric import run_test, until
from trust import Health, TrustLab, configured

VITAL_S = 5	# an administrator's request is answered within


class Peak:
    """the most memory that the controller had, MiB"""

    def __init__(self, lab):
        self.lab, self.rest, self.top, self.stop = lab, lab.memory(), 0, threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.stop.wait(0.05):
            self.top = max(self.top, self.lab.memory())

    def end(self):
        self.stop.set()
        self.thread.join()
        return max(0, self.top - self.rest)


def connect(lab, name=None):
    """a connection as TLS has it, or bare if no name is given"""
    s = socket.create_connection(("127.0.0.1", lab.port), timeout=20)
    if not name:
        return s
    context = ssl.create_default_context(cafile=lab.certificates.files("ctl")[2])
    context.load_cert_chain(*lab.certificates.files(name)[:2])
    return context.wrap_socket(s, server_hostname="127.0.0.1")


def status_of(s):
    try:
        line = s.recv(4096)
        return int(line.split()[1]) if line.startswith(b"HTTP/1.1 ") else 0
    except (OSError, ValueError, IndexError):
        return 0


def head(method, path, length, more=""):
    return f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{more}\r\n".encode()


def served(tap, lab, what):
    """an administrator and a host are, meanwhile"""
    start = time.monotonic()
    status = lab.as_("alice", "PUT", "/v1/control", {"max-moves": 17})[0]
    report = lab.report("srv1", dips=lab.dips("srv1", "up"))
    tap.ok(status == 200 and report == 200 and time.monotonic() - start < VITAL_S, f"{what}: an administrator and a host are served",
           status, report, time.monotonic() - start)


def under(tap, lab, what, attack, worst=100):
    """attack() returns connections that stay open meanwhile"""
    with Health(lab) as health:
        held = attack()
        served(tap, lab, what)
        until(lambda: len(health.ms) > 15, 20)
    health.told(tap, what, worst)
    for s in held:
        s.close()


def crowd(lab):
    return [connect(lab) for _ in range(1000)]


def slowloris(lab):
    held = [connect(lab) for _ in range(100)] + [connect(lab, "eve") for _ in range(40)]
    for s in held[:100]:
        s.sendall(b"\x16\x03\x01")	# the beginning of a handshake
    for s in held[100:]:
        s.sendall(b"GET /v1/status HTTP/1.1\r\nHo")
    return held


def slow_bodies(lab):
    held = [connect(lab, "eve") for _ in range(40)]
    for s in held:
        s.sendall(head("POST", "/v1/config/diff", 60 << 20) + b"[")
    return held


def unfinished(lab):
    """as much of as many large bodies as is taken"""
    held = [connect(lab, name) for name in ("eve", "srv2", "srv3", "srv4") for _ in range(6)]
    piece = b"[]," * 340000
    for n, s in enumerate(held):
        path, size = ("/v1/config/diff", 60 << 20) if n < 6 else ("/v1/reports", 8 << 20)
        s.settimeout(0.3)
        try:
            s.sendall(head("POST", path, size))
            for _ in range(12):
                s.sendall(piece)
        except OSError:
            pass
    return held


def ask(lab, name, path, raw):
    """(status, text); the answer may come before the body is sent"""
    with connect(lab, name) as s:
        try:
            s.sendall(head("POST", path, len(raw), "Connection: close\r\n") + raw)
        except OSError:
            pass
        text = b""
        try:
            while piece := s.recv(65536):
                text += piece
        except OSError:
            pass
    return (int(text.split()[1]) if text.startswith(b"HTTP/1.1 ") else 0), text.decode("utf-8", "replace")


def shapes(tap, lab):
    deep, wide, large = b"[" * 4000000 + b"]" * 4000000, b"[" + b"1," * 3999999 + b"1]", b"[" + b"[]," * 2700000 + b"[]]"
    objects = json.dumps({str(n): n for n in range(500000)}).encode()
    for what, raw, want in (("deep", deep, {400, 413}), ("wide", wide, {413}), ("many values", large, {413}), ("an object of 500,000 members", objects, {400, 413})):
        got = ask(lab, "srv2", "/v1/reports", raw)
        tap.ok(got[0] in want, f"{what}: refused before it is parsed", got)
    got = ask(lab, "alice", "/v1/moves", b'{"vip": "' + b"x" * 70000 + b'"}')
    tap.ok(got[0] == 413 and "65536" in got[1], "a route that says nothing takes 64 KiB", got)
    got = ask(lab, "alice", "/v1/moves", b"[" * 40 + b"]" * 40)
    tap.ok(got[0] == 400 and "deeper than 32" in got[1], "nothing is nested deeper than 32", got)
    return []


def streams(tap, lab):
    held = [connect(lab, "eve") for _ in range(40)]
    got = []
    for s in held:
        s.sendall(b"GET /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n")
        got.append(status_of(s))
    tap.ok(got.count(200) == 16 and got.count(503) == 24, "one certificate has 16 streams", got)
    more = [connect(lab, "eve") for _ in range(70)]
    got = []
    for s in more:
        try:
            s.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            got.append(status_of(s))
        except OSError:
            got.append(0)
    tap.ok(503 in got and 200 in got, "and 64 connections", got)
    return held + more


def cut(tap, lab):
    """slow ones are, and their bodies' memory is there again"""
    held = slow_bodies(lab)[:3] + [connect(lab, "eve")]
    held[-1].sendall(b"GET /v1/status HTTP/1.1\r\nHo")

    def gone(s):
        s.settimeout(0.01)
        try:
            return s.recv(65536) == b""
        except (TimeoutError, ssl.SSLWantReadError):
            return False
        except OSError:
            return True
    start = time.monotonic()
    left = list(held)
    tap.ok(until(lambda: not left.__setitem__(slice(None), [s for s in left if not gone(s)]) and not left, 25),
           f"a body and a header that don't come are cut after {time.monotonic() - start:.0f} s")
    text = lab.as_("alice", "GET", "/metrics")[2]
    tap.ok(any(line.startswith("duet_http_slow_bodies_total ") and float(line.split()[1]) >= 3 for line in text.splitlines()), "and counted", text[-2000:])


def steps(tap, place):
    lab = configured(tap, TrustLab(place, "connections=300\n"))
    for name in lab.host:
        lab.report(name, dips=lab.dips(name, "up"))
    peak = Peak(lab)
    under(tap, lab, "1,000 connections", lambda: crowd(lab))
    under(tap, lab, "slow headers", lambda: slowloris(lab))
    under(tap, lab, "slow bodies", lambda: slow_bodies(lab))
    under(tap, lab, "unfinished large bodies", lambda: unfinished(lab))
    under(tap, lab, "deep, wide and large JSON", lambda: shapes(tap, lab), 150)
    under(tap, lab, "streams", lambda: streams(tap, lab))
    cut(tap, lab)
    top = peak.end()
    print(f"# trust: peak_mib_under_attack {top:.0f}", flush=True)
    tap.ok(top < 300, f"memory: at most {top:.0f} MiB more than at rest", peak.rest)
    tap.ok(until(lambda: lab.memory() < peak.rest + 60, 30), f"and comes back: {lab.memory() - peak.rest:.0f} MiB more")
    lab.kill(signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(run_test(steps))
