#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Requests for every command of docs/netlink/duet.yaml to the real module: as the specification has them, and then cut
short, overgrown, nested wrongly, with attributes of other commands, of wrong lengths, twice or nowhere defined.

After each: the answer to a refusal has a sentence, and neither configuration nor generation saw anything of it, nor
listeners, whom a full table is told of and nothing else; a change bumps the generation and is told to listeners, and the same again is no change. (What a request does when
it is good is what selftests/netns tests.) The kernel's complaints are seen by scripts/vm. A failure names the request's
number: the same seed makes the same requests.

usage: scripts/vm --insmod -- selftests/fuzz/netlink.py [--seconds N] [--seed S]
"""
import argparse
import contextlib
import ctypes
from errno import ENOSPC, EOPNOTSUPP, EPERM
import os
import random
import socket
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "netns"))
from genl import (GENL_ID_CTRL, NETLINK_EXT_ACK, NETLINK_GENERIC, NLA_F_NESTED, NLM_F_ACK, NLM_F_ACK_TLVS,  # noqa: E402
                  NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NLMSGERR_ATTR_MSG, SOL_NETLINK, attr, attrs, nest)
from spec import Requests, Spec, encode, mutate  # noqa: E402

CLONE_NEWNET, NETLINK_ADD_MEMBERSHIP = 0x40000000, 1
DEVICES, PORTS = ("mux0", "mux1"), ("p0", "p1")
TABLE_MAX = 1 << 16	# entries
PER_KIND = 5		# failures told of each kind


class Answer:
    """What came back: one entry a message that was answered."""

    def __init__(self):
        self.errors, self.silent, self.full, self.replies = [], 0, 0, []

    @property
    def error(self):
        return next((e for e in self.errors if e), 0)


@contextlib.contextmanager
def nobody():
    """As an ordinary user: the kernel asks who opened the socket, and who sends."""
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


class Netlink:
    def __init__(self, forced=True):
        self.s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_GENERIC)
        self.s.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
        if forced:
            self.s.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)	# SO_RCVBUFFORCE
        self.s.bind((0, 0))

    def send(self, message):
        """All is answered when send() and recv() return: netlink is synchronous."""
        answer = Answer()
        self.s.send(message)
        while True:
            try:
                data = self.s.recv(1 << 20, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return answer
            while data:
                size, kind, flags = struct.unpack("IHH", data[:8])
                part, data = data[16:size], data[(size + 3) & ~3:]
                if kind not in (NLMSG_ERROR, NLMSG_DONE):
                    answer.replies.append(part)
                    continue
                error = -struct.unpack("i", part[:4])[0]
                answer.errors.append(error)
                if error:
                    skip = 4 if kind == NLMSG_DONE else 20 if flags & 0x100 else 4 + (struct.unpack("I", part[4:8])[0] + 3 & ~3)
                    why = nest(part[skip:]) if flags & NLM_F_ACK_TLVS else {}
                    sentence = why.get(NLMSGERR_ATTR_MSG, b"").strip(b"\0")
                    answer.silent += not sentence
                    answer.full += error == ENOSPC and b" table full: " in sentence


def message(family, command, payload, flags=NLM_F_ACK, version=1, reserved=0):
    body = struct.pack("BBH", command, version, reserved) + payload
    return struct.pack("IHHII", 16 + len(body), family, NLM_F_REQUEST | flags, 1, 0) + body


class Module:
    """The family, two devices in a namespace of our own, and what can be seen of them."""

    def __init__(self, spec):
        self.spec = spec
        if ctypes.CDLL(None).unshare(CLONE_NEWNET):
            raise OSError("unshare")
        lines = [f"link add {d} type duet" for d in DEVICES] + [f"link add {p} type dummy" for p in PORTS]
        self.ip("\n".join(lines + [f"link set {d} up" for d in DEVICES]))
        self.request, self.look, self.events = Netlink(), Netlink(), Netlink()
        with nobody():
            self.ordinary = Netlink(forced=False)
        reply = nest(self.look.send(message(GENL_ID_CTRL, 3, attr(2, b"duet\0"), version=2)).replies[0][4:])
        self.family = struct.unpack("H", reply[1])[0]
        group = nest(attrs(reply[7])[0][1])
        self.events.s.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, struct.unpack("I", group[2])[0])
        self.index = {name: socket.if_nametoindex(name) for name in DEVICES + PORTS + ("lo",)}

    @staticmethod
    def ip(text):
        subprocess.run(["ip", "-batch", "-"], input=text, text=True, check=True)

    def ask(self, command, payload=b"", flags=NLM_F_ACK):
        return self.look.send(message(self.family, self.spec.commands[command], payload, flags))

    def devices(self):
        """{name: (generation, all the rest but counters)}"""
        found, top, flows = {}, self.spec.numbers["duet"], self.spec.numbers["flows"]
        for reply in self.ask("dev-get", flags=NLM_F_DUMP).replies:
            have = nest(reply[4:])
            rest = {k: v for k, v in have.items() if k not in (top["generation"], top["stats"], top["flows"])}
            if top["flows"] in have:
                rest["flows"] = [(k, v) for k, v in attrs(have[top["flows"]]) if k <= flows["timeout-other"]]
            found[have[top["ifname"]]] = (have[top["generation"]], rest)
        return found

    def vips(self, name):
        top = self.spec.numbers["duet"]
        replies = self.ask("vip-get", attr(top["ifindex"], struct.pack("I", self.index[name])), NLM_F_DUMP).replies
        return [[(k, v) for k, v in attrs(r[4:]) if k != top["generation"]] for r in replies]

    def state(self):
        """({device: generation}, everything that is configured)"""
        devices = self.devices()
        return {d: g for d, (g, _) in devices.items()}, {d: rest for d, (_, rest) in devices.items()}, [self.vips(d) for d in DEVICES]

    def told(self):
        """The commands of the events there were."""
        commands = []
        while True:
            try:
                data = self.events.s.recv(1 << 20, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return commands
            while data:
                size, = struct.unpack("I", data[:4])
                commands.append(data[16])
                data = data[(size + 3) & ~3:]


class Fuzzer:
    CHECKS = ("every refusal has its sentence", "a refusal changes nothing, and only a full table is told of",
              "a change bumps the generation and is told", "the same again is no change",
              "devices answer, and end up empty", "an ordinary user gets EPERM, and nothing else")

    def __init__(self, seed):
        self.seed, self.spec = seed, Spec()
        self.module = Module(self.spec)
        self.failures = {check: [] for check in self.CHECKS}
        self.counts = {"accepted": 0, "refused": 0, "full": 0, "unanswered": 0, "changes": 0, "ordinary": 0}
        self.number = 0

    def fail(self, check, what, request):
        kind = self.failures[check]
        kind.append(what)
        if len(kind) <= PER_KIND:
            print(f"# {check}: seed {self.seed}, request {self.number}: {what}\n#   {request[:120].hex()} ({len(request)} bytes)", flush=True)

    def one(self):
        """One request, and what is to be seen after it."""
        rng = random.Random(f"{self.seed}/{self.number}")
        requests = Requests(self.spec, rng, self.module.index, DEVICES, PORTS)
        command, dump, tree = requests.any()
        good = rng.random() < 0.3
        changes = [] if good else mutate(rng, self.spec, tree)
        payload, header = encode(tree), {}
        whole = True
        if not good and rng.random() < 0.3:
            payload = self.damage(rng, payload)
            changes.append("bytes")
        if not good and rng.random() < 0.1:
            whole = False
            header = {"version": rng.choice((0, 2, 255)), "reserved": rng.choice((0, 1, 0xffff))}
            command = rng.choice((0, command, command, self.spec.last + 1, 255))
            dump = rng.random() < 0.3
        flags = NLM_F_DUMP if dump else NLM_F_ACK | rng.choice((0, 0, 0, 8))	# NLM_F_ECHO
        request = message(self.module.family, command, payload, flags, **header)
        if not whole and rng.random() < 0.3:
            request = self.damage_header(rng, request)
            changes.append("header")
        if whole and rng.random() < 0.1:
            self.ordinary(request, f"command {command}")
        self.judge(request, f"command {command}, {'as specified' if good else ', '.join(changes)}", whole, good)

    def tame(self):
        """A flow table of a gigabyte was tested by being made; kept, it makes all that follows slow."""
        top, size = self.spec.numbers["duet"], self.spec.numbers["flows"]["size"]
        for name, rest in self.before[1].items():
            have = dict(rest.get("flows", [])).get(size)
            if have and struct.unpack("I", have)[0] > TABLE_MAX:
                self.module.ask("dev-set", attr(top["ifname"], name) + attr(top["flows"] | NLA_F_NESTED, attr(size, struct.pack("I", TABLE_MAX))))
                self.before = self.module.state()
                self.module.told()

    @staticmethod
    def damage(rng, payload):
        payload = bytearray(payload)
        for _ in range(rng.randint(1, 3)):
            if payload:
                payload[rng.randrange(len(payload))] = rng.choice((0, 1, 4, 255, rng.randrange(256)))
        return bytes(payload[:rng.randint(0, len(payload))] if rng.random() < 0.4 else payload)

    @staticmethod
    def damage_header(rng, request):
        size = rng.choice((0, 4, 15, 16, 17, 19, len(request) - 1, len(request) + 1, 1 << 31))
        return struct.pack("I", size) + request[4:]

    def ordinary(self, request, what):
        before = self.before
        with nobody():
            answer = self.module.ordinary.send(request)
        self.before = self.module.state()
        self.counts["ordinary"] += 1
        if answer.errors != [EPERM] or answer.replies or self.before != before or self.module.told():
            self.fail(self.CHECKS[5], f"{what}: errors {answer.errors}, {len(answer.replies)} replies", request)

    def judge(self, request, what, whole, good):
        before = self.before
        answer = self.module.request.send(request)
        after, told = self.module.state(), self.module.told()
        self.before = after
        if whole and answer.silent and EOPNOTSUPP not in answer.errors:
            self.fail(self.CHECKS[0], f"{what}: {os.strerror(answer.error)}, and not a word", request)
        if not answer.errors:
            self.counts["unanswered"] += 1
            if whole:
                self.fail(self.CHECKS[4], f"{what}: no answer", request)
            if after != before or told:
                self.fail(self.CHECKS[1], f"{what}: no answer, but a change", request)
            return
        self.counts["refused" if answer.error else "accepted"] += 1
        if answer.error:
            self.counts["full"] += answer.full
            if after != before or told != [self.spec.commands["full-ntf"]] * answer.full:
                self.fail(self.CHECKS[1], f"{what}: {os.strerror(answer.error)}, {self.difference(before, after)}, events {told}", request)
            return
        changed = after[1:] != before[1:]
        self.counts["changes"] += changed
        if changed != (after[0] != before[0]) or changed and not told:
            self.fail(self.CHECKS[2], f"{what}: {self.difference(before, after)}, events {told}", request)
        if good and changed:
            again = self.module.request.send(request)
            last, told = self.module.state(), self.module.told()
            self.before = last
            if not again.error and (last != after or told):
                self.fail(self.CHECKS[3], f"{what}: {self.difference(after, last)}, events {told}", request)

    @staticmethod
    def difference(a, b):
        if a[1:] == b[1:]:
            return f"generation {a[0]} -> {b[0]}" if a[0] != b[0] else "nothing changed"
        return f"configuration changed ({'devices' if a[1] != b[1] else 'VIPs'}), generation {'too' if a[0] != b[0] else 'not'}"

    def run(self, seconds):
        self.before, end, started = self.module.state(), time.monotonic() + seconds, time.monotonic()
        self.module.told()
        said = started
        while time.monotonic() < end and sum(map(len, self.failures.values())) < 100:
            self.number += 1
            self.one()
            self.tame()
            if time.monotonic() - said > 30:
                said = time.monotonic()
                print(f"# {said - started:.0f} s, {self.number} requests, {self.counts}", flush=True)
        self.finish()
        print(f"# seed {self.seed}: {self.number} requests in {time.monotonic() - started:.0f} s, {self.counts}")

    def finish(self):
        """Devices can be emptied, and nothing of what was in them is still counted."""
        top = self.spec.numbers["duet"]
        for name in DEVICES:
            device = attr(top["ifindex"], struct.pack("I", self.module.index[name]))
            self.module.ask("vip-del", device + attr(top["flush"], b""))
            used = self.module.devices().get(name.encode() + b"\0", (0, {}))[1].get(top["used"])
            if used is None or any(int.from_bytes(v, "little") for _, v in attrs(used)):
                self.fail(self.CHECKS[4], f"{name}: after flush {used!r} in use", b"")
        self.module.ip("\n".join(f"link del {d}" for d in DEVICES + PORTS))
        if self.module.devices():
            self.fail(self.CHECKS[4], "deleted devices are there", b"")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    args = parser.parse_args()
    print(f"1..{len(Fuzzer.CHECKS) + 1}", flush=True)
    fuzzer = Fuzzer(args.seed)
    fuzzer.run(args.seconds)
    results = [(check, not fuzzer.failures[check]) for check in fuzzer.CHECKS]
    results.append(("requests were taken, refused and made changes", all(fuzzer.counts[k] for k in ("accepted", "refused", "changes"))))
    for number, (check, ok) in enumerate(results, 1):
        print(f"{'ok' if ok else 'not ok'} {number} - netlink fuzz: {check}")
    return not all(ok for _, ok in results)


if __name__ == "__main__":
    sys.exit(main())
