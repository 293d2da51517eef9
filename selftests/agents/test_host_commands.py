#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""duet-host-agent: checks by command, which only the host's own configuration allows. The bed is that of test_host_agent.py."""
import json
import os
import subprocess
import sys

import test_host_agent as base
from test_host_agent import AGENT, DIP, HOST, VIP, VIP2, W, check, equal, sh, until

TESTS, RULE = [], []
FOLDER = os.path.join(base.DIR, "checks")
QUICK = {"type": "command", "interval_ms": 50, "timeout_ms": 5000 * base.PATIENCE, "rise": 1, "fall": 1}


def test(function):
    TESTS.append(function)
    return function


def script(name, text, mode=0o755, folder=FOLDER):
    path = os.path.join(folder, name)
    with open(path, "w", encoding="ascii") as f:
        f.write("#!/bin/sh\n" + text + "\n")
    os.chmod(path, mode)
    return path


def command(name, **more):
    return {**QUICK, "command": name, **more}


def put(*checks, ok=True):
    """each time the state of something else: none is known of it before"""
    RULE.append(len(RULE))
    return W.agent.put({"vip": VIP, "dip": DIP, "checks": [{**c, "rule": len(RULE)} for c in checks]}, ok=ok)


def states():
    return [(c["state"], c["reason"]) for v in W.agent.status()["vips"] for c in v["checks"]]


def reason(name, text, **more):
    """the check by that command fails with a reason that has that text"""
    put(command(name, **more))
    until(lambda: states()[0][0] == "down" and text in states()[0][1], f"{name}: down, {text!r}", 20)


def conf(*lines):
    with open(W.agent.conf, encoding="ascii") as f:
        kept = f.read().split("[checks]")[0]
    with open(W.agent.conf, "w", encoding="ascii") as f:
        f.write(kept + "".join(f"{line}\n" for line in lines))


def restart(*lines):
    W.agent.stop()
    conf(*lines)
    W.agent.start()


def allow(*more):
    restart("[checks]", f"command-dir = {FOLDER}", *more)


def how():
    return W.agent.status()["command-checks"]["left-behind-ends"]


def alive(word):
    """processes that were started with this argument"""
    found = []
    for pid in os.listdir("/proc"):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                if word.encode() in f.read().split(b"\0"):
                    found.append(int(pid))
        except (OSError, ValueError):
            pass
    return found


@test
def off():
    """off unless the host's configuration allows it: refused with a sentence, nothing changes, status and --doctor say so"""
    os.mkdir(FOLDER, 0o755)
    os.chmod(base.DIR, 0o755)
    mark = os.path.join(base.DIR, "ran")
    script("touch", f"touch {mark}")
    W.agent.put({"vip": VIP2, "dip": DIP})
    with open(f"/proc/{W.agent.child.pid}/status", encoding="ascii") as f:
        s = dict(l.split(":\t", 1) for l in f.read().splitlines())
    few = sum(1 << n for n in (12, 13, 21, 38, 39))
    equal([int(s[c], 16) & ~few for c in ("CapEff", "CapPrm", "CapInh", "CapBnd")], [0, 0, 0, 0], "capabilities of the agent beyond those it needs")
    equal(s["NoNewPrivs"], "1", "NoNewPrivs of the agent")
    before = W.agent.status()
    status, answer = put(command("touch"), ok=False)
    equal(status, 422, f"PUT ({answer})")
    check("off on this host" in answer["detail"] and "command-dir" in answer["detail"] and VIP in answer["detail"], f"the sentence: {answer}")
    after = W.agent.status()
    for key in ("vips", "muxes", "generation", "epoch", "synced"):
        equal(after[key], before[key], key)
    check(not os.path.exists(mark), "it didn't run")
    equal(after["command-checks"]["allowed"], False, "status")
    check("command-dir" in after["command-checks"]["reason"], "why, in status")
    done = subprocess.run(["ip", "netns", "exec", HOST, AGENT, "-c", W.agent.conf, "--doctor", "--json"], stdout=subprocess.PIPE, check=False)
    said = {c["name"]: c for c in json.loads(done.stdout)}["commands"]
    check(said["result"] == "ok" and "off" in said["detail"], f"--doctor: {said}")


@test
def names():
    """a check is named by a file's name alone: paths, arguments and shell are refused, and change nothing"""
    allow()
    for name in ("../touch", "/bin/true", "a/b", "..", ".", ".hidden", "touch x", "touch;id", "$(id)", "-x", "a\nb", "\u00e4", "a" * 65, ""):
        status, answer = put(command(name), ok=False)
        equal(status, 400, f"{name!r} ({answer})")
        check("command" in answer["detail"], f"{name!r}: {answer['detail']}")
    equal(W.agent.status()["command-checks"]["folder"], FOLDER, "status")
    put(command("touch"))
    until(lambda: states()[0][0] == "down" and "status 1" in states()[0][1], "one by its name runs")
    check(os.path.exists(os.path.join(base.DIR, "ran")) is False, "as one who can't write in root's folder")


SHOW = """grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs)' /proc/self/status >%(out)s
env >>%(out)s; ls /proc/self/fd >>%(out)s; cat /proc/self/cgroup >>%(out)s; exit 3"""


@test
def unprivileged():
    """it runs as the configured user, without groups, capabilities, a way to get any, or files of the agent"""
    out = os.path.join(base.DIR, "out")
    script("show", SHOW % {"out": out})
    with open(out, "w", encoding="ascii"):
        pass
    os.chmod(out, 0o666)
    for user, uid in (("nobody", 65534), ("daemon", 1)):
        allow(f"user = {user}")
        put(command("show", port=80, interval_ms=3600000))
        until(lambda: states()[0][0] == "down" and "status 3" in states()[0][1], "its status is the reason")
        with open(out, encoding="ascii") as f:
            text = f.read()
        lines = dict(l.split(":\t", 1) for l in text.splitlines() if ":\t" in l)
        equal(set(lines["Uid"].split()), {str(uid)}, "uids")
        check("0" not in lines["Gid"].split() and not lines["Groups"].split(), f"groups: {lines}")
        for cap in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            equal(int(lines[cap], 16), 0, cap)
        equal(lines["NoNewPrivs"], "1", "NoNewPrivs")
        env = dict(l.split("=", 1) for l in text.splitlines() if l.split("=")[0].isidentifier())
        check((env["DUET_VIP"], env["DUET_DIP"], env["DUET_PORT"]) == (VIP, DIP, "80"), f"environment: {env}")
        check(set(env) <= {"DUET_VIP", "DUET_DIP", "DUET_PORT", "DUET_TARGET", "PATH", "LC_ALL", "PWD", "SHLVL", "_", "OLDPWD"}, f"nothing else: {env}")
        check(not [l for l in text.splitlines() if l.isdigit() and int(l) > 4], f"no descriptor but its own: {text}")
    for user in ("root", "nosuchuser"):
        conf("[checks]", f"command-dir = {FOLDER}", f"user = {user}")
        said = sh(AGENT, "-c", W.agent.conf, "--check-config", ok=False)
        check("[checks] user" in said and user in said, f"{user}: {said}")
    allow()


@test
def not_roots():
    """a file or folder that others than root can change isn't run from, at each use"""
    path = script("good", "true")
    put(command("good"))
    until(lambda: states()[0][0] == "up", "up")
    undo = [(lambda: os.chmod(path, 0o757), lambda: os.chmod(path, 0o755), "written by others"),
            (lambda: os.chmod(path, 0o775), lambda: os.chmod(path, 0o755), "written by others"),
            (lambda: os.chown(path, 1, 0), lambda: os.chown(path, 0, 0), "belongs to uid 1"),
            (lambda: os.chmod(path, 0o644), lambda: os.chmod(path, 0o755), "not executable"),
            (lambda: os.chmod(FOLDER, 0o777), lambda: os.chmod(FOLDER, 0o755), "written by others"),
            (lambda: os.chown(FOLDER, 1, 0), lambda: os.chown(FOLDER, 0, 0), "belongs to uid 1"),
            (lambda: os.chmod(base.DIR, 0o777), lambda: os.chmod(base.DIR, 0o755), "written by others"),
            (lambda: os.rename(path, path + "x"), lambda: os.rename(path + "x", path), "No such file")]
    for do, back, text in undo:
        do()
        reason("good", text)
        said = {c["name"]: c for c in json.loads(sh(AGENT, "-c", W.agent.conf, "--doctor", "--json", ns=HOST, ok=False))}["commands"]
        equal(said["result"] == "ok", "No such" in text, f"--doctor, {text}: {said}")
        back()
        put(command("good"))
        until(lambda: states()[0][0] == "up", f"up again after {text}")
    os.symlink("/bin/true", os.path.join(FOLDER, "link"))
    reason("link", "no regular file")
    os.unlink(os.path.join(FOLDER, "link"))
    os.mkdir(os.path.join(FOLDER, "dir"))
    reason("dir", "no regular file")
    os.rmdir(os.path.join(FOLDER, "dir"))
    os.chmod(FOLDER, 0o777)
    check("written by others" in sh(AGENT, "-c", W.agent.conf, "--check-config", ok=False), "--check-config")
    os.chmod(FOLDER, 0o755)


STAYS = """setsid sh -c 'trap "" TERM HUP; setsid tail -f /dev/null %(word)s & exec tail -f /dev/null %(word)s' &
%(then)s"""


def leaves_nothing():
    """however a command ends, and though it runs away from its session"""
    for name, then, text in (("late", "exec tail -f /dev/null", "300 ms"), ("status", "exit 5", "status 5"), ("gone", "kill -9 $$", "signal 9")):
        word = f"/dev/./{name}/../null"
        script(name, STAYS % {"word": word, "then": f"until test $(grep -l {word} /proc/[0-9]*/cmdline 2>/dev/null | wc -l) -ge 3; do :; done; {then}"})
        put(command(name, timeout_ms=300 if name == "late" else 60000))
        until(lambda text=text: states()[0][0] == "down" and text in states()[0][1], f"{name}: {text}")
        put()
        until(lambda word=word: not alive(word), f"nothing of {name} is left")
    word = "/dev/./up/../null"
    script("up", STAYS % {"word": word, "then": "exit 0"})
    put(command("up"))
    until(lambda: states()[0][0] == "up", "up")
    put()
    until(lambda: not alive(word), "nothing is left of one that succeeded")
    word = "/dev/./killed/../null"
    script("killed", STAYS % {"word": word, "then": "exec tail -f /dev/null"})
    put(command("killed", timeout_ms=3600000))
    until(lambda: len(alive(word)) > 1, "it runs")
    W.agent.child.kill()
    W.agent.child.wait()
    until(lambda: not alive(word), "nothing is left when the agent is killed")
    W.agent.start()


@test
def by_cgroup():
    """what a command leaves behind ends with it, by setsid() or not: by its cgroup"""
    if how() != "by cgroup":
        return how()
    put()
    leaves_nothing()
    return None


@test
def by_adoption():
    """the same where the agent may make no cgroup"""
    cgroups = os.path.join(base.DIR, "cgroups")
    os.mkdir(cgroups)
    if subprocess.run(["mount", "-t", "cgroup2", "none", cgroups], check=False).returncode:
        return "no cgroup2"
    mine = os.path.join(cgroups, f"dha-{os.getpid()}")
    os.mkdir(mine)
    real = base.AGENT
    try:
        with open(os.path.join(mine, "cgroup.max.descendants"), "w", encoding="ascii") as f:
            f.write("0")
        base.AGENT = script("start", f"echo $$ >{mine}/cgroup.procs\nexec {real} \"$@\"", folder=base.DIR)
        allow()
        check("by adoption" in how(), f"how: {how()}")
        leaves_nothing()
    finally:
        base.AGENT = real
        allow()
        until(lambda: os.rmdir(mine) is None, "its cgroup is empty")
        sh("umount", cgroups)
    return None


@test
def output():
    """the first line of its output is in the reason, safe to print; one that writes without end is killed"""
    script("says", "printf 'disk \\033[31mfull\\nmore\\n' >&2; exit 1")
    reason("says", "status 1: disk ?[31mfull")
    check("more" not in states()[0][1], "one line")
    script("floods", "exec yes")
    reason("floods", "65536 bytes")
    script("nointerpreter", "")
    with open(os.path.join(FOLDER, "nointerpreter"), "w", encoding="ascii") as f:
        f.write("#!/no/such/interpreter\n")
    reason("nointerpreter", "status 127: No such file")


@test
def cgroup():
    """each runs in a cgroup for it alone, which is gone with it"""
    out = os.path.join(base.DIR, "out")
    script("show", SHOW % {"out": out})
    if how() != "by cgroup":
        return how()
    put(command("show", interval_ms=3600000))
    until(lambda: states()[0][0] == "down" and "status 3" in states()[0][1], "it ran")
    with open(out, encoding="ascii") as f:
        check([l for l in f.read().splitlines() if l.startswith("0::") and "/duet-checks." in l], "in a cgroup of ours")
    return None


if __name__ == "__main__":
    sys.exit(base.main(TESTS))
