#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""What a page of others may make an administrator's browser send; names and
reasons that a terminal or a log would obey; tokens that expire; stores and
backups that others may not read."""
import os
import sqlite3
import stat
import sys
import time

from ctl import Ctl
from fabric import run_test, until
from test_moves import DIPS, Lab, vip
from trust import TrustLab, configured

EVIL = {"Origin": "https://evil.example"}


def pages(tap, lab):
    own = {"Origin": f"https://127.0.0.1:{lab.port}", "Sec-Fetch-Site": "same-origin"}
    before = lab.get("/v1/events?limit=1000")["events"]
    changes = [("POST", "/v1/moves", b'{"vip": "203.0.113.1", "to": "core1"}'), ("POST", "/v1/assign", b"{}"), ("POST", "/v1/backup", b'{"name": "b"}'),
               ("PUT", "/v1/control", b'{"stop": true}'), ("DELETE", "/v1/vips/203.0.113.1", None), ("PUT", "/v1/tokens/x", b'{"role": "admin"}'),
               ("DELETE", "/v1/muxes/core1/fence", None), ("PUT", "/v1/drains/switch/core1", b"{}"), ("POST", "/v1/assign", None)]
    for method, path, body in changes:
        for what, heads, want in (("of another origin", EVIL, 403), ("of no origin at all (null)", {"Origin": "null"}, 403),
                                  ("from another site", {"Sec-Fetch-Site": "cross-site"}, 403),
                                  ("from a neighbour", {"Sec-Fetch-Site": "same-site"}, 403)):
            got = lab.as_("alice", method, path, raw=body, headers=heads)
            tap.ok(got[0] == want, f"{method} {path} {what}: refused", got)
        if body:
            for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonx"):
                got = lab.as_("alice", method, path, raw=body, headers={"Content-Type": kind})
                tap.ok(got[0] == 415, f"{method} {path} as {kind}: refused", got)
    tap.ok(lab.get("/v1/events?limit=1000")["events"] == before, "nothing has happened")
    for heads in (own, {}, {"Content-Type": "application/json; charset=utf-8"}, {"Sec-Fetch-Site": "none"}):
        tap.ok(lab.as_("alice", "PUT", "/v1/control", raw=b'{"stop": false}', headers=heads)[0] == 200, f"our own page, or none: {heads}")
    tap.ok(lab.as_("alice", "GET", "/v1/status", headers={"Sec-Fetch-Site": "cross-site"})[0] == 200, "to look is not to change")


def names(tap, lab, place):
    for name in ("\x1b[2J", "a\nb", "x" * 64, "x" * 100000, "", "a b", "<b>", "../etc", "-x", "\u202eab", "ä"):
        got = lab.as_("alice", "PUT", "/v1/vips/203.0.113.1", dict(vip(1, DIPS[:3]), name=name))
        tap.ok(got[0] in (400, 422) and "letters" in got[2]["detail"], f"a VIP's name {name[:20]!a}: refused", got)
    for name in ("%1b%5b2J", "a%0ab", "x" * 64, "a%20b"):
        got = lab.as_("alice", "PUT", f"/v1/tokens/{name}", {"role": "read"})
        tap.ok(got[0] == 422, f"a token's name {name[:20]}: refused", got)
    for name in ("../x", ".x", "a\nb", ""):
        tap.ok(lab.as_("alice", "POST", "/v1/backup", {"name": name})[0] == 422, f"a backup's name {name!a}: refused")
    tap.ok(lab.as_("alice", "PUT", "/v1/vips/203.0.113.1", dict(vip(1, DIPS[:3]), name="Web-1.x_y"))[0] == 200, "a good name is taken")
    reason = "\x1b[31mred\x1b[0m\n02:00:00.000 duet-controller notice: forged \u202e\u009b31m"
    lab.report("srv1", dips=[dict(d, reason=reason) for d in lab.dips("srv1", "down", [1])])
    tap.ok(until(lambda: "down" in lab.states(lab.host["srv1"].address), 5), "a reason with escapes, newline and direction marks")
    ctl = Ctl(tap, f"unix:{lab.sock}")
    for command in (("dip", "list"), ("host", "show", "srv1"), ("events",)):
        got = ctl(*command)
        tap.ok(got.returncode == 0 and "red" in got.stdout and not any(c in got.stdout for c in "\x1b\u202e\u009b") and "\n02:00" not in got.stdout,
               f"duetctl {' '.join(command)} prints none of them", got.stdout, got.stderr)
    log = place.path("duet-controller.log")
    until(lambda: "forged" in open(log, encoding="utf-8").read(), 5)
    text = open(log, "rb").read().decode()
    tap.ok("forged" in text and not any(c in text for c in "\x1b\u202e\u009b") and not any(line.startswith("02:00:00.000") for line in text.split("\n")),
           "nor has the log a line of it", text[-2000:])
    lab.report("srv1", dips=lab.dips("srv1", "up", [1]))


def tokens(tap, lab, place):
    ctl = Ctl(tap, f"unix:{lab.sock}")
    for days in (0, -1, 3651, "x", 1.5):
        tap.ok(lab.as_("alice", "PUT", "/v1/tokens/t", {"role": "read", "days": days})[0] == 422, f"a token for {days} days: refused")
    token = ctl("token", "add", "t", "read", "1").stdout.strip()
    tap.ok(lab.as_("eve", "GET", "/v1/vips", headers={"Authorization": f"Bearer {token}"})[0] == 200, "a token for a day reads")
    t = next(t for t in lab.get("/v1/tokens")["tokens"] if t["name"] == "t")
    tap.ok(0 < t["expires-ms"] / 1000 - time.time() <= 86400, "its end is in the list", t)
    lab.kill()
    db = sqlite3.connect(place.path("store.sqlite"))
    db.execute("UPDATE token SET value = json_set(value, '$.\"expires-ms\"', 1)")
    db.commit()
    kept = db.execute("SELECT value FROM token").fetchall()
    db.close()
    tap.ok(token not in str(kept), "the store has no token, but its hash")
    lab.start()
    tap.ok(lab.as_("eve", "GET", "/v1/vips", headers={"Authorization": f"Bearer {token}"})[0] == 401, "a day later it is good for nothing")
    tap.ok(not lab.get("/v1/tokens")["tokens"] and any(e["kind"] == "token-expired" for e in lab.get("/v1/events?limit=1000")["events"]), "it is gone, and an event says so")


def files(tap, lab, place):
    def others(name):
        return os.stat(place.path(name)).st_mode & stat.S_IRWXO
    tap.ok(not any(others(n) for n in os.listdir(place.dir) if n.startswith("store.sqlite")), "the store is its owner's alone")
    tap.ok(lab.as_("alice", "POST", "/v1/backup", {"name": "copy.sqlite"})[0] == 201 and not others("copy.sqlite"), "and so is a backup")
    with open(place.path("copy.sqlite"), "rb") as f:
        was = f.read()
    got = lab.as_("alice", "POST", "/v1/backup", {"name": "copy.sqlite"})
    with open(place.path("copy.sqlite"), "rb") as f:
        same = f.read() == was
    tap.ok(got[0] == 409 and "already" in got[2]["detail"] and same, "a second of that name is refused, the first as it was", got)
    lab.kill()
    os.chmod(place.path("store.sqlite"), 0o644)
    lab.start()
    tap.ok(not others("store.sqlite"), "a store that others could read is closed to them")
    lab.kill()


def rebinding(tap, place):
    """without TLS a name of somebody else may lead here"""
    lab = Lab(place)
    lab.conf = lab.config("plain.conf", lab.port, "hosts=duet.example, ctl.example\n", store="plain.sqlite")
    lab.start()
    from test_api import ask
    for host, want in (("evil.example", 421), (f"evil.example:{lab.port}", 421), ("", 400), ("127.0.0.1.evil.example", 421), ("duet.example", 200),
                       ("CTL.example:8470", 200), ("127.0.0.1", 200), (f"[::1]:{lab.port}", 200), ("localhost", 200)):
        status = ask(lab, "GET", "/v1/status", headers={"Host": host})[0]
        tap.ok(status == want or (not host and status in (400, 421)), f"Host: {host} is answered {status}")
    lab.kill()


def steps(tap, place):
    lab = configured(tap, TrustLab(place))
    for name in lab.host:
        lab.report(name, dips=lab.dips(name, "up"))
    pages(tap, lab)
    names(tap, lab, place)
    tokens(tap, lab, place)
    files(tap, lab, place)
    rebinding(tap, place)


if __name__ == "__main__":
    sys.exit(run_test(steps))
