#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""A mux agent that answers rubbish: too much, too deep, no JSON, another
thing, or slowly. It is quarantined and shown with the reason, the loop is
never held, and it is let back in when its answers are good."""
import json
import socket
import sys
import threading

from fabric import run_test, sentences, until
from trust import Health, TrustLab, configured

KINDS = {	# what: (the answer's body, a word of the reason)
    "30 MB of [],": (b"[" + b"[]," * (10 << 20) + b"[]]", "larger than"),
    "500,000 values": (b"[" + b"1," * 500000 + b"1]", "values"),
    "10,000 brackets": (b"[" * 10000 + b"]" * 10000, "nested"),
    "no JSON": (b"<html>it works</html>", "not JSON"),
    "half of an answer": (b'{"name": "core1", "instance": ', "not JSON"),
    "another object": (b'{"instance": 7, "epoch": "x"}', "not the status"),
    "a list": (b'[1, 2]', "not the status"),
}
SLOW = "a byte each half second"


class Broken:
    """In a mux agent's place: answers every request with the same bytes"""

    def __init__(self, port, body, slow=False):
        self.body, self.slow, self.asked = body, slow, 0
        self.server = socket.socket()
        self.server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.server.bind(("127.0.0.1", port))
        self.server.listen(64)
        self.stop = threading.Event()
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                peer = self.server.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.answer, args=(peer,), daemon=True).start()

    def answer(self, peer):
        try:
            head = b""
            while b"\r\n\r\n" not in head:
                data = peer.recv(65536)
                if not data:
                    return
                head += data
            self.asked += head.startswith(b"GET")
            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(self.body))
            for i in range(0, len(self.body), 1 if self.slow else 1 << 20):
                peer.sendall(self.body[i:i + (1 if self.slow else 1 << 20)])
                if self.slow and self.stop.wait(0.5):
                    return
        except OSError:
            pass
        finally:
            peer.close()

    def close(self):
        self.stop.set()
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()


def mux(lab, name):
    return next(m for m in lab.get("/v1/muxes")["muxes"] if m["name"] == name)


def attack(tap, lab):
    """all kinds at once, each in the place of another mux"""
    names = dict(zip(["core1", "core2", "agg1", "agg2", "agg3", "agg4", "tor1", "smux3"], list(KINDS) + [SLOW]))
    memory, bad = lab.memory(), {}
    for name, what in names.items():
        lab.mux[name].stop()
        body = KINDS[what][0] if what in KINDS else json.dumps({"instance": "x" * 1000}).encode()
        bad[name] = Broken(lab.mux[name].port, body, slow=what == SLOW)
    with Health(lab) as health:
        for name, what in names.items():
            state = "unreachable" if what == SLOW else "quarantined"
            tap.ok(until(lambda: mux(lab, name)["state"] == state, 20), f"{what}: {state}", mux(lab, name))
            code = f"mux-{state}"	# mux-unreachable, mux-quarantined
            tap.ok(until(lambda: [f for f in lab.get("/v1/status")["faults"] if f["code"] == code and f["object"]["name"] == name], 5), code)
            word = KINDS[what][1] if what in KINDS else "imed out"
            tap.ok(until(lambda: any(name in f and word in f for f in sentences(lab.get("/v1/status"))), 5), "a fault has the reason", sentences(lab.get("/v1/status")))
        asked = {name: b.asked for name, b in bad.items()}
        until(lambda: len(health.ms) > 50, 20)
    health.told(tap, "broken answers of eight muxes")
    more = {name: b.asked - asked[name] for name, b in bad.items() if names[name] != SLOW}
    tap.ok(all(n < 3 for n in more.values()), "they are asked rarely", more)
    tap.ok(lab.memory() < memory + 100, f"memory: {memory:.0f}, now {lab.memory():.0f} MiB")
    for name, b in bad.items():
        b.close()
        lab.mux[name].start()
    tap.ok(until(lambda: all(m["state"] == "in-sync" for m in lab.get("/v1/muxes")["muxes"]), 30), "good again: let back in", lab.get("/v1/muxes"))


def steps(tap, place):
    lab = configured(tap, TrustLab(place))
    for name in lab.host:
        lab.report(name, dips=lab.dips(name, "up"))
    attack(tap, lab)
    # an event can be read once it is stored, which is a moment after what it tells of
    kinds = lambda: {e["kind"] for e in lab.get("/v1/events?limit=1000")["events"]}
    tap.ok(until(lambda: kinds() >= {"mux-quarantined", "mux-released"}, 10), "events tell of both", kinds())


if __name__ == "__main__":
    sys.exit(run_test(steps))
