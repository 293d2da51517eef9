#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""duet-host-agent is two processes: what faces the network has no privileges, and its helper does nothing that a hostile agent asks for.
The bed is that of test_host_agent.py."""
import functools
import os
import random
import select
import signal
import socket
import struct
import subprocess
import sys
import threading

import messages as m
import test_host_agent as base
from test_host_agent import DIP, HOST, MUX, OTHER, OUT, VIP, VIP2, W, check, equal, sh, until, vip

HELPER = os.path.join(OUT, "test", "helper")
CAPS = {"NET_ADMIN": 12, "NET_RAW": 13, "SYS_ADMIN": 21, "PERFMON": 38, "BPF": 39}
TESTS = []


def test(function):
    @functools.wraps(function)
    def run():
        if W.agent.child.poll() is not None:    # the test before failed
            W.agent.start()
        return function()
    TESTS.append(run)
    return run


def status(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
        return [int(p) for p in f.read().split()]


def helper():
    """the pid of the agent's helper"""
    agent = W.agent.child.pid
    return next((p for p in children(agent) if status(p)["Name"] == "duet-helper"), None)


def sockets(pid):
    """(protocol, local address) of the sockets of a process that reach the network"""
    with base.inside(HOST):
        names = {}
        for table in ("tcp", "tcp6", "udp", "udp6", "raw", "raw6"):
            with open(f"/proc/thread-self/net/{table}", encoding="ascii") as f:
                names |= {line.split()[9]: table for line in f.readlines()[1:]}
    links = (os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd"))
    return [names[link[8:-1]] for link in links if link.startswith("socket:[") and link[8:-1] in names]


@test
def powerless():
    """every thread of the process that faces the network is an ordinary user's, without a capability or a way to get one"""
    W.agent.put(vip(VIP, base.HTTP_CHECK))
    agent = W.agent.child.pid
    for task in os.listdir(f"/proc/{agent}/task"):
        s = status(f"{agent}/task/{task}")
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            equal(int(s[name], 16), 0, f"{name} of thread {task}")
        equal((s["NoNewPrivs"], s["Seccomp"], s["Groups"].strip()), ("1", "2", ""), f"thread {task}")
        for ids in (s["Uid"].split(), s["Gid"].split()):
            check(len(set(ids)) == 1 and ids[0] != "0", f"ids of thread {task}: {ids}")
    check(sockets(agent), "it has the sockets")
    fds = [os.readlink(f"/proc/{agent}/fd/{fd}") for fd in os.listdir(f"/proc/{agent}/fd")]
    equal([f for f in fds if "bpf" in f], [], "and no map or program")


@test
def helper_alone():
    """the helper has five capabilities and no socket that reaches the network, and can be looked into by nobody but root"""
    pid = helper()
    check(pid, "there is a helper")
    s = status(pid)
    equal(int(s["CapEff"], 16), sum(1 << n for n in CAPS.values()), "its capabilities")
    equal(int(s["CapEff"], 16), int(s["CapPrm"], 16), "and none to come")
    equal(s["NoNewPrivs"], "1", "no new privileges")
    equal(sockets(pid), [], "its sockets")
    equal(len(children(pid)), 0, "its processes")


@test
def user_refused():
    """an agent that should face the network as root, as nobody that there is, or as the user of its checks is refused"""
    with open(W.agent.conf, encoding="ascii") as f:
        text = f.read()
    checks = f"[checks]\ncommand-dir = {base.DIR}\nuser = nobody\n"
    for user, more, words in (("root", "", "never runs as root"), ("nosuchuser", "", "there is no user nosuchuser"), ("nobody", checks, "another user"),
                              ("0", "", "there is no user 0")):
        path = os.path.join(base.DIR, "user.conf")
        with open(path, "w", encoding="ascii") as f:
            f.write(text.replace("[host]", f"user = {user}\n[host]") + more)
        done = subprocess.run([base.AGENT, "-c", path, "--check-config"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        check(done.returncode == 1 and words in done.stdout, f"user = {user}: {done.stdout}")


@test
def unreadable_key():
    """a key that only root can read is read at the start, and the log says what a reload needs"""
    path, keys = os.path.join(base.DIR, "tls.conf"), os.path.join(base.DIR, "keys")
    os.mkdir(keys, 0o755)
    os.chmod(base.DIR, 0o755)
    sh("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=host",
       "-keyout", f"{keys}/key", "-out", f"{keys}/cert")
    os.chmod(f"{keys}/key", 0o600)
    os.chmod(f"{keys}/cert", 0o644)
    with open(W.agent.conf, encoding="ascii") as f:
        text = f.read()
    with open(path, "w", encoding="ascii") as f:
        f.write(text.replace("insecure = yes", f"tls-cert = {keys}/cert\ntls-key = {keys}/key\ntls-ca = {keys}/cert\ncontrollers = c").replace("8472", "8473"))
    W.agent.stop()
    with open(f"{keys}/log", "w", encoding="ascii") as log:
        child = subprocess.Popen(["ip", "netns", "exec", HOST, base.AGENT, "-c", path], stderr=log)
    try:
        until(lambda: "can't be read by user" in open(log.name, encoding="ascii").read() or child.poll() is not None, "the log names it", 60)
        with open(log.name, encoding="ascii") as f:
            text = f.read()
        check("tls-key" in text and "tls-cert" not in text, text)
        check(child.poll() is None, "it serves with what it read as root")
    finally:
        child.kill()
        child.wait(20 * base.PATIENCE)
    W.agent.start()


class Hostile:
    """A helper whose agent is this test."""

    def __init__(self, more=""):
        if W.agent.child.poll() is None:
            W.agent.stop()
        path = os.path.join(base.DIR, "hostile.conf")
        with open(W.agent.conf, encoding="ascii") as f:
            text = f.read()
        with open(path, "w", encoding="ascii") as f:
            f.write(text + more)
        self.s, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.s.settimeout(20 * base.PATIENCE)
        self.log = open(os.path.join(base.DIR, "hostile.log"), "w", encoding="utf-8")
        self.child = subprocess.Popen(["ip", "netns", "exec", HOST, HELPER, path, str(theirs.fileno())], pass_fds=(theirs.fileno(),),
                                      stderr=self.log)
        theirs.close()
        equal(self.answer(), (0, 0, b""), "it is ready")

    def answer(self):
        data = self.s.recv(65536)
        if not data:
            return None
        ret, n, _ = struct.unpack("iII", data[:12])
        return ret, n, data[12:]

    def send(self, *parts):
        for part in parts:
            self.s.send(part)

    def ask(self, *parts):
        self.send(*parts)
        return self.answer()

    def alive(self):
        return self.ask(m.message("status"))[0] == 0

    def end(self):
        self.s.close()
        self.child.wait(20 * base.PATIENCE)
        self.log.close()


def everything():
    """all that a helper could change"""
    return (base.picture(), base.kernel_state(), sh("ip", "-o", "-6", "addr", "show", "dev", "lo", ns=HOST), sh("ip", "-o", "route", ns=HOST),
            sh("nft", "list", "ruleset", ns=HOST), sh("sysctl", "-a", "--pattern", "^net.ipv4.conf", ns=HOST))


@test
def refuses_values():
    """a state with values that the host may not have changes nothing, whatever else is right in it; the next one is made"""
    W.agent.put(vip())
    h = Hostile("vip-prefixes = 203.0.113.0/24 2001:db8::/32\nmux-prefixes = 10.0.0.0/8\n")
    before = everything()
    bad = {
        "multicast": m.pair("224.0.0.1", DIP), "loopback": m.pair("127.0.0.1", DIP), "broadcast": m.pair("255.255.255.255", DIP),
        "unspecified": m.pair("0.0.0.0", DIP), "link-local": m.pair("169.254.0.1", DIP), "link-local of IPv6": m.pair("fe80::1", DIP),
        "not in vip-prefixes": m.pair("198.51.100.1", DIP), "its own address": m.pair(DIP, DIP), "a DIP of others": m.pair(VIP, "10.99.0.7"),
        "a DIP that is no host": m.pair(VIP, "224.0.0.9"), "no such delivery": m.pair(VIP, DIP, delivery=3), "no such key": m.pair(VIP, DIP, key=2),
        "targets that aren't there": m.pair(VIP, DIP, delivery=1, targets=1), "nat without a target": m.pair(VIP, DIP, delivery=1),
        "more matches than a map holds": m.pair(VIP, DIP, accepts=1, matches=129), "matches that aren't there": m.pair(VIP, DIP, accepts=1, matches=1),
        "no such policy": m.pair(VIP, DIP, accepts=1, fragments=2), "rules of none": m.pair(VIP, DIP, rules=1),
        "rules that aren't there": m.pair(VIP, DIP, rules=1, n_rules=1), "ports on lo": m.pair(VIP, DIP, ports=1),
    }
    for what, one in bad.items():
        ret, _, text = h.ask(m.begin(), m.message("muxes", m.prefix(MUX)), m.message("pairs", m.pair(VIP2, DIP), one), m.message("commit"))
        check(ret < 0 and text, f"{what}: {ret} {text}")
        equal(everything(), before, f"what is there after: {what}")
    pairs = m.message("pairs", m.pair(VIP, DIP))
    nat = m.message("pairs", m.pair(VIP, DIP, delivery=1, targets=1))
    lists = {
        "a mux that is multicast": [m.message("muxes", m.prefix("224.0.0.1"))], "all the world as a mux": [m.message("muxes", m.prefix("0.0.0.0/0"))],
        "a /8 as a mux": [m.message("muxes", m.prefix("10.0.0.0/8"))], "host bits": [m.message("muxes", m.prefix("10.1.0.1/28"))],
        "a prefix of 200 bits": [m.message("muxes", m.address("10.1.0.0") + struct.pack("I", 200))],
        "a rack without a name": [m.message("racks", m.rack("198.51.100.0/24", b""))], "a name without end": [m.message("racks", m.rack("198.51.100.0/24", b"x" * 64))],
        "bytes behind a name": [m.message("racks", m.rack("198.51.100.0/24", b"x\0y"))], "SNAT of what isn't served": [m.message("snat", m.span(VIP2, 2048, 4095))],
        "SNAT without rules": [m.message("snat", m.span(VIP, 2048, 4095))], "SNAT below 1024": [m.message("snat", m.span(VIP, 80, 90))],
        "rows of no pair": [m.message("targets", m.target("192.0.2.8"))], "a pair twice": [pairs],
        "more pairs than a map holds": [m.message("pairs", *[m.pair(f"203.0.{i}.{j}", DIP) for j in range(125)]) for i in range(40)],
    }
    for what, more in lists.items():
        ret, _, text = h.ask(m.begin(), pairs, *more, m.message("commit"))
        check(ret < 0 and text, f"{what}: {ret} {text}")
        equal(everything(), before, f"what is there after: {what}")
    for what, one in (("a target that is multicast", m.target("224.0.0.1")), ("a target that is loopback", m.target("127.0.0.1")),
                      ("a target that is its VIP", m.target(VIP)), ("a target of IPv6", m.target("2001:db8::8"))):
        check(h.ask(m.begin(), nat, m.message("targets", one), m.message("commit"))[0] < 0, what)
        equal(everything(), before, f"what is there after: {what}")
    ret, n, _ = h.ask(m.begin(), m.message("muxes", m.prefix(MUX), m.prefix("192.0.2.1")), pairs, m.message("commit"))
    equal((ret, n), (0, 1), "a state that is right")
    got = h.ask(m.message("muxes_get"))
    equal((got[1], got[2][:16]), (1, m.address(MUX)), "a mux outside mux-prefixes was left out")
    h.end()
    W.agent.start()


@test
def refuses_frames():
    """what isn't a message ends the helper, and changes nothing; so does any number of random ones"""
    W.agent.put(vip())
    before = everything()
    broken = [b"", b"x", b"\0" * 7, struct.pack("II", 25, 0), struct.pack("II", 0xffffffff, 0), m.message("pairs", n=1), m.message("pairs", m.pair(VIP, DIP), n=2),
              m.message("pairs", m.pair(VIP, DIP) + b"x", n=1), m.message("commit", b"x", n=1), m.message("status", n=7), m.message("begin", n=0),
              m.message("fence", bytes(16), bytes(16)), m.message("pairs", n=0x80000000), m.message("pairs", n=0x04ec4ec5), b"\0" * 32769,
              m.message("targets", m.target("192.0.2.8"))]
    for one in broken:
        h = Hostile()
        if one:
            h.send(one)
        else:
            h.s.shutdown(socket.SHUT_WR)
        until(lambda h=h: h.child.poll() is not None, f"the helper ends: {one[:40]}", 20)
        equal(everything(), before, f"what is there after {one[:40]}")
        h.end()
        W.agent.start()
    rng = random.Random(20)
    h = Hostile()
    for number in range(3000):
        name = rng.choice([n for n in m.NAMES if n not in ("unfence", "fence")])
        size = m.SIZES.get(name, 0)
        records = [rng.randbytes(size) for _ in range(1 if name in ("begin", "down", "health_set", "health_get", "forwards", "socket") else rng.randint(0, 5))]
        try:
            h.send(m.message(name, *(records if size else [])))
            while select.select([h.s], [], [], 0)[0] and h.answer() is not None:
                pass
        except ConnectionError:     # a list of no state ends it, too
            pass
        if h.child.poll() is not None:
            equal(h.child.returncode, 1, "it ended, and didn't crash")
            h.end()
            h = Hostile()
        if number % 500 == 0:
            equal(everything(), before, f"what is there after {number} random messages")
    h.end()
    check(h.child.returncode in (0, 1), f"no crash: {h.child.returncode}")
    equal(everything(), before, "what is there in the end")
    W.agent.start()


@test
def fence_and_sockets():
    """no fence that no controller has, no state of a check that there isn't, no socket but to probe what is served here"""
    W.agent.put(vip())
    h = Hostile()
    held = struct.unpack("QQ", h.ask(m.message("status"))[2][:16])
    for pair in ((2**63, 1), (2**53, 1), (held[0] + 2**41, 1), (0, 0)):
        check(h.ask(m.message("fence", struct.pack("QQ", *pair)))[0] < 0, f"fence {pair}")
    equal(struct.unpack("QQ", h.ask(m.message("status"))[2][:16]), held, "the fence")
    h.send(m.health(VIP, DIP, number=77, state=9), m.health(VIP, DIP, number=5, reason=b"r" * 160))
    key = m.address(VIP) + m.address(DIP) + bytes(16)
    check(h.ask(m.message("health_get", key + struct.pack("I", 77)))[0] < 0, "a state that no check has isn't kept")
    ret, _, row = h.ask(m.message("health_get", key + struct.pack("I", 5)))
    check(ret == 0 and row[-1:] == b"\0", f"a reason ends: {row[-4:]}")
    for what, at in (("not served", m.address(VIP2) + m.address(DIP) + bytes(16)), ("no target", m.address(VIP) + m.address(DIP) + m.address("192.0.2.9"))):
        check(h.ask(m.message("socket", at + struct.pack("I", 1)))[0] < 0, f"a socket: {what}")
    h.send(m.message("socket", key + struct.pack("I", 1)))
    data, fds, _, _ = socket.recv_fds(h.s, 4096, 4)
    equal((struct.unpack("i", data[:4])[0], len(fds)), (0, 1), "a socket for echo requests")
    with socket.socket(fileno=fds[0]) as raw:
        for value in (0, 1):
            try:
                raw.setsockopt(socket.SOL_SOCKET, 27, value)    # SO_DETACH_FILTER
                check(False, "its filter could be taken off")
            except OSError:
                pass
    h.end()
    W.agent.start()


@test
def halves():
    """either half killed at any moment of a push: the other ends, traffic goes on, and the next agent and push make it whole"""
    W.agent.put(vip())
    rng = random.Random(7)
    wanted = [vip(VIP), vip(VIP2)]
    for number in range(24):
        agent, other = W.agent.child.pid, helper()
        W.agent.generation += 1
        pushed = threading.Thread(target=push, args=(wanted[:1 + number % 2], W.agent.generation))
        pushed.start()
        select.select([], [], [], rng.uniform(0, 0.012))
        os.kill(other if number % 2 else agent, signal.SIGKILL)
        W.agent.child.wait(20 * base.PATIENCE)
        pushed.join()
        until(lambda other=other: not os.path.exists(f"/proc/{other}") or status(other)["State"][0] == "Z", "the helper ends with its agent", 20)
        got = W.wire.answer(W.wire.ping())
        check(got and got["src"] == VIP, f"{number}: traffic goes on")
        W.agent.start()
        W.agent.put(*wanted[:1 + number % 2])
        equal(sorted(v["vip"] for v in W.agent.status()["vips"]), [VIP, VIP2][:1 + number % 2], f"{number}: what is served")
        equal(sorted(a for a in base.kernel_state()[0] if a.startswith("203.")), [VIP, VIP2][:1 + number % 2], f"{number}: addresses on lo")
    check("the helper has ended" in W.agent.text(), "the log says why the agent ended")


def push(vips, generation):
    try:
        W.agent.put(*vips, generation=generation, ok=False)
    except (OSError, ValueError, base.http.client.HTTPException):
        pass


@test
def mux_prefixes():
    """a mux may send from all of a prefix, and no longer when it leaves the list; another's address beside it is not believed"""
    check(not W.wire.answer(W.wire.ping(src="10.99.9.17"), 0.3), "not before")
    W.agent.put(vip(), muxes=(MUX, "10.99.9.16/28"))
    equal(W.agent.status()["muxes"], [MUX, "10.99.9.16/28"], "the list")
    for last in (16, 17, 31):
        check(W.wire.answer(W.wire.ping(src=f"10.99.9.{last}")), f"source .{last}")
    for last in (15, 32):
        check(not W.wire.answer(W.wire.ping(src=f"10.99.9.{last}"), 0.3), f"source .{last}")
    W.agent.put(vip(), muxes=(MUX, "10.99.9.16/29"))
    check(W.wire.answer(W.wire.ping(src="10.99.9.23")) and not W.wire.answer(W.wire.ping(src="10.99.9.24"), 0.3), "a narrower one")
    W.agent.stop(signal.SIGKILL)
    W.agent.start()
    check(W.wire.answer(W.wire.ping(src="10.99.9.23")), "over a restart")
    W.agent.put(vip(), muxes=(MUX,))
    check(not W.wire.answer(W.wire.ping(src="10.99.9.23"), 0.3) and W.wire.answer(W.wire.ping()), "it left; the other didn't")
    W.agent.put(vip(), muxes=(OTHER,))
    check(not W.wire.answer(W.wire.ping(), 0.3) and W.wire.answer(W.wire.ping(src=OTHER)), "an address that left")
    before = W.agent.status()["muxes"]
    for bad, words in (("10.99.9.17/28", "host bits"), ("0.0.0.0/0", "wider"), ("10.0.0.0/8", "wider"), ("224.0.0.0/24", "multicast"), ("10.99.9.16/33", "no prefix"),
                       ("2001:db8::/32", "wider"), ("fe80::/64", "link-local"), ("10.99.9.16/", "no prefix")):
        code, answer = W.agent.put(vip(), muxes=(bad,), ok=False)
        check(code == 400 and words in answer["detail"], f"{bad}: {code} {answer}")
        equal(W.agent.status()["muxes"], before, f"the list after {bad}")
    W.agent.put(vip())


@test
def vip_prefixes():
    """[host] vip-prefixes bounds what a controller may have served here: another VIP is refused, and nothing changes"""
    with open(W.agent.conf, encoding="ascii") as f:
        text = f.read()
    with open(W.agent.conf, "a", encoding="ascii") as f:
        f.write("vip-prefixes = 203.0.113.0/31 2001:db8::/64\n")
    W.agent.stop()
    W.agent.start()
    W.agent.put(vip())
    before = everything()
    for address in (VIP2, "198.51.100.1", DIP):
        code, answer = W.agent.put(vip(), {"vip": address, "dip": DIP} if address != DIP else {"vip": DIP, "dip": "10.99.0.1"}, ok=False)
        check(code in (400, 422), f"{address}: {code} {answer}")
        equal(everything(), before, f"what is there after {address}")
    check("vip-prefixes" in W.agent.put(vip(VIP2), ok=False)[1]["detail"], "the sentence names the key")
    with open(W.agent.conf, "w", encoding="ascii") as f:
        f.write(text)
    W.agent.stop()
    W.agent.start()


if __name__ == "__main__":
    sys.exit(base.main(TESTS))
