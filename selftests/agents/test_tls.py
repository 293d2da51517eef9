#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Certificates over time, on one daemon of each kind: new ones without a restart, broken ones, revoked peers, lists that
change, revocation lists that expire, what expires soon; and that a daemon has one TLS library."""
import http.client
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import BIN, CLEANUP, TESTS, check, equal, inside, main, test, until  # noqa: E402
from test_trust import DOCUMENTS, NS, PORTS, Certificates, World  # noqa: E402

TESTS.clear()	# those of test_trust.py
OWN = {"controller": "ctl", "mux": "tor1", "host": "srv1"}
READER = {"controller": "eve", "mux": "eve", "host": "eve"}


class Kept:
    """a connection that stays, with a certificate"""

    def __init__(self, world, kind, name):
        with inside(NS):
            self.connection = http.client.HTTPSConnection("127.0.0.1", PORTS[kind], context=world.pki.context(name), timeout=20)
            self.connection.connect()
        CLEANUP.append(self.connection.close)

    def get(self, path="/v1/status"):
        self.connection.request("GET", path)
        answer = self.connection.getresponse()
        return answer.status, answer.read().decode()


def serial(world, kind):
    """of the certificate that the daemon presents"""
    context = world.pki.context("eve")
    with inside(NS):
        plain = http.client.HTTPConnection("127.0.0.1", PORTS[kind], timeout=20)
        plain.connect()
    with context.wrap_socket(plain.sock, server_hostname="127.0.0.1") as s:
        return s.getpeercert()["serialNumber"]


def status(world, kind):
    return json.loads(world.unix(kind, "GET", "/v1/status")[1])


def troubles(world, kind):
    got = status(world, kind)
    return json.dumps([(f["code"], f["sentence"]) for f in got["faults"]] if kind == "controller" else got["trouble"])


def reaches(world, kind, name):
    try:
        return world.https(kind, name, "GET", "/healthz")[0] in (200, 503)
    except (ssl.SSLError, ConnectionError, http.client.HTTPException):
        return False


def replace(world, name, files=("pem", "key")):
    """the new certificate, both files moved into place"""
    for end in files:
        os.rename(world.pki.path(f"next.{end}"), world.pki.path(f"{name}.{end}"))


@test
def renewed():
    """a new certificate and key: presented within seconds, on files that change and on SIGHUP; connections under way stay"""
    world = World()
    for kind, name in OWN.items():
        daemon = getattr(world, kind)
        kept, pid, before = Kept(world, kind, "eve"), daemon.child.pid, serial(world, kind)
        equal(kept.get()[0], 200, f"{kind}: a connection before")
        world.pki.make("next", subject=f"/CN={name}")
        replace(world, name)
        until(lambda: serial(world, kind) != before, f"{kind}: the new certificate is presented", 20)
        equal(kept.get()[0], 200, f"{kind}: the connection before goes on")
        before = serial(world, kind)
        world.pki.make("next", subject=f"/CN={name}")
        replace(world, name)
        daemon.child.send_signal(signal.SIGHUP)
        until(lambda: serial(world, kind) != before, f"{kind}: reloaded on SIGHUP", 20)
        equal((daemon.child.poll(), daemon.child.pid), (None, pid), f"{kind}: without a restart")
        check("certificates loaded again" in daemon.text(), f"{kind}: the log has it")
        check("tls-" not in troubles(world, kind) and "reloaded" not in troubles(world, kind), f"{kind}: nothing is wrong: {troubles(world, kind)}")


@test
def broken():
    """half a file, a key of another certificate, no file: the set before stays, one sentence in log and status"""
    world = World()
    world.pki.make("next")
    other = open(world.pki.path("next.key"), encoding="ascii").read()
    before = {kind: serial(world, kind) for kind in OWN}
    good = {f"{name}.{end}": open(world.pki.path(f"{name}.{end}"), encoding="ascii").read() for name in OWN.values() for end in ("pem", "key")}
    cases = (("half a certificate", "pem", lambda text: text[:200], "tls-cert"), ("half a key", "key", lambda text: text[:90], "tls-key"),
             ("a key of another", "key", lambda text: other, "tls-key"), ("an empty file", "pem", lambda text: "", "tls-cert"),
             ("no file", "key", None, "No such file"))
    for what, end, change, because in cases:
        for name in OWN.values():
            if change:
                world.write(f"{name}.{end}", change(good[f"{name}.{end}"]))
            else:
                os.unlink(world.pki.path(f"{name}.{end}"))
        for kind in OWN:
            until(lambda: because in troubles(world, kind), f"{kind}: {what} is shown", 20)
            until(lambda: kind != "controller" or "certificate-not-loaded" in troubles(world, kind), f"{kind}: {what}: its code", 20)
            equal(serial(world, kind), before[kind], f"{kind}: {what}: the certificate before stays")
            check(reaches(world, kind, "eve"), f"{kind}: {what}: peers are served")
            getattr(world, kind).child.send_signal(signal.SIGHUP)
            until(lambda: "not reloaded" in troubles(world, kind), f"{kind}: {what}: nor on SIGHUP", 20)
        for kind, name in OWN.items():
            world.write(f"{name}.{end}", good[f"{name}.{end}"])
            getattr(world, kind).child.send_signal(signal.SIGHUP)
        for kind in OWN:	# the controller shows what its muxes say
            until(lambda: "certificates" not in troubles(world, kind) and "not reloaded" not in troubles(world, kind), f"{kind}: {what}: mended", 20)
    for kind in OWN:
        lines = [x for x in getattr(world, kind).text().splitlines() if "are not loaded again" in x]
        check(0 < len(lines) <= len(cases), f"{kind}: one line for each: {lines}")


@test
def revoked():
    """a peer whose certificate is revoked: refused by name on connections that are there, and in the handshake; a stream ends"""
    world = World(revoked=["nosan"])
    with inside(NS):
        stream = http.client.HTTPSConnection("127.0.0.1", PORTS["controller"], context=world.pki.context("eve"), timeout=30)
        stream.connect()
    stream.request("GET", "/v1/events", headers={"Accept": "text/event-stream"})
    answer = stream.getresponse()
    equal(answer.status, 200, "a stream of eve")
    kept = {kind: Kept(world, kind, "eve") for kind in DOCUMENTS}
    others = {kind: Kept(world, kind, "prom") for kind in DOCUMENTS}
    for kind in DOCUMENTS:
        check(not reaches(world, kind, "nosan"), f"{kind}: revoked at the start")
        equal((kept[kind].get()[0], others[kind].get("/metrics")[0]), (200, 200), f"{kind}: eve's connection, and another's")
    world.pki.revoke("nosan", "eve")
    for kind in DOCUMENTS:
        until(lambda: not reaches(world, kind, "eve"), f"{kind}: eve is refused in the handshake", 20)
        code, text = kept[kind].get()
        check(code == 403 and "cert:eve is revoked" in text, f"{kind}: and on the connection that was there: {code} {text}")
        equal(others[kind].get("/metrics")[0], 200, f"{kind}: another's connection goes on")
        # the first may have been refused after its handshake, if that was just before
        until(lambda: not reaches(world, kind, "eve") and "certificate of eve is revoked" in getattr(world, kind).text(), f"{kind}: the log says why", 5)
    answer.read()	# to its end, or this times out
    world.pki.revoke()
    until(lambda: all(reaches(world, kind, "eve") for kind in DOCUMENTS), "a list without them: they are accepted again", 20)


@test
def expired_list():
    """an expired revocation list accepts nobody, is a fault, and --check-config says so; root's socket stays"""
    world = World(revoked=[])
    kept = {kind: Kept(world, kind, "eve") for kind in DOCUMENTS}
    for kind in DOCUMENTS:
        equal(kept[kind].get()[0], 200, f"{kind}: served while the list is good")
    world.pki.revoke(days=0)
    for kind in DOCUMENTS:
        until(lambda: not reaches(world, kind, "eve"), f"{kind}: the list expires, and nobody is accepted", 20)
        code, text = kept[kind].get()
        check(code == 403 and "tls-crl expired" in text, f"{kind}: nor on a connection: {code} {text}")
        until(lambda: "tls-crl" in troubles(world, kind) and "expired on" in troubles(world, kind), f"{kind}: a fault", 10)
        until(lambda: kind != "controller" or "certificate-expired" in troubles(world, kind), f"{kind}: its code", 10)
        code, text = checked(world, kind)
        check(code == 1 and "tls-crl" in text and "expired on" in text, f"{kind}: --check-config: {code} {text}")
    world.pki.revoke()
    until(lambda: all(reaches(world, kind, "eve") for kind in DOCUMENTS), "a new list: all is as before", 20)


def checked(world, kind, conf=None):
    binary = f"{BIN}/duet-controller" if kind == "controller" else f"{BIN}/duet-{kind}-agent"
    got = subprocess.run([binary, "-c", conf or world.path(f"{kind}.conf"), "--check-config"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                         text=True, timeout=30, check=False)
    return got.returncode, got.stdout


@test
def roles():
    """a list that changes counts from SIGHUP on, for connections and streams that are there; a file that is wrong changes nothing"""
    world = World()
    for kind in DOCUMENTS:
        daemon, kept = getattr(world, kind), Kept(world, kind, "eve")
        equal(kept.get()[0], 200, f"{kind}: eve reads")
        conf = open(world.path(f"{kind}.conf"), encoding="ascii").read()
        world.write(f"{kind}.conf", conf.replace("readers = eve", "readers = oscar").replace("metrics = cert:prom", "metrics = uid:0:7"))
        daemon.child.send_signal(signal.SIGHUP)
        until(lambda: "no identity" in troubles(world, kind), f"{kind}: a list that is wrong is shown", 10)
        equal(kept.get()[0], 200, f"{kind}: and nothing of the file counts")
        world.write(f"{kind}.conf", conf.replace("readers = eve", "readers = oscar"))
        stream = Kept(world, kind, "eve") if kind == "controller" else None
        if stream:
            stream.connection.request("GET", "/v1/events", headers={"Accept": "text/event-stream"})
            answer = stream.connection.getresponse()
        daemon.child.send_signal(signal.SIGHUP)
        until(lambda: kept.get()[0] in (401, 403), f"{kind}: eve's role is gone, on the connection that was there", 10)
        if stream:
            answer.read()	# to its end, or this times out
        until(lambda: "no identity" not in troubles(world, kind), f"{kind}: the fault is gone", 10)
        world.write(f"{kind}.conf", conf)
        daemon.child.send_signal(signal.SIGHUP)
        until(lambda: world.https(kind, "eve", "GET", "/v1/status")[0] == 200, f"{kind}: and back", 10)


@test
def soon():
    """what expires within 30 days: a fault, a metric, a line of --check-config; what is far off is none"""
    world = World(revoked=[])
    for kind, name in OWN.items():
        got = status(world, kind)["tls"]
        check(all(got[f"{what}-expires-ms"] > 0 for what in ("certificate", "ca", "crl")), f"{kind}: {got}")
        code, text = checked(world, kind)
        check(code == 0 and "warning" not in text, f"{kind}: far off: {code} {text}")
        check("expires on" not in troubles(world, kind), f"{kind}: no fault: {troubles(world, kind)}")
        world.pki.make("next", subject=f"/CN={name}", days=10)
        replace(world, name)
        until(lambda: "tls-cert" in troubles(world, kind) and "expires on" in troubles(world, kind), f"{kind}: a fault", 20)
        until(lambda: kind != "controller" or "certificate-expires" in troubles(world, kind), f"{kind}: its code", 20)
        code, text = checked(world, kind)
        check(code == 0 and re.search(r"warning: tls-cert \S+ expires on \d{4}-", text), f"{kind}: --check-config: {code} {text}")
        left = re.search(r'duet_tls_expires_seconds{what="certificate"} (\d+)', world.unix(kind, "GET", "/metrics")[1])
        check(left and 9 * 86400 < int(left[1]) <= 10 * 86400, f"{kind}: metric: {left and left[1]}")
    world.pki.make("next", subject="/CN=tor1", days=-1)
    replace(world, "tor1")
    code, text = checked(world, "mux")
    check(code == 1 and "expired on" in text, f"an expired certificate: --check-config: {code} {text}")


@test
def servers():
    """the controller as a client: a mux whose certificate is revoked, or is no server's, isn't spoken to, and a fault says why"""
    world = World(revoked=[])
    until(lambda: "unreachable" not in troubles(world, "controller"), "the mux is reached", 20)
    world.pki.revoke("tor1")
    until(lambda: re.search("mux tor1 is unreachable: the certificate of 127.0.0.1 port 8471 is revoked", troubles(world, "controller")),
          "a revoked mux: on the connection that was there", 20)
    world.pki.revoke()
    until(lambda: "unreachable" not in troubles(world, "controller"), "reached again", 20)
    world.pki.make("next", subject="/CN=tor1", ext="extendedKeyUsage=clientAuth")
    replace(world, "tor1")
    world.mux.child.send_signal(signal.SIGHUP)
    until(lambda: "loaded again" in world.mux.text(), "the mux has the new one", 20)
    world.pki.make("next", subject="/CN=ctl")	# with a new certificate new connections are made
    replace(world, "ctl")
    until(lambda: "is for another purpose than to be a server" in troubles(world, "controller"), "a client's certificate is no server's", 20)


@test
def lists():
    """what can be no revocation list is refused, with a sentence"""
    world = World()
    good = open(world.path("mux.conf"), encoding="ascii").read()
    foreign = Certificates(world.pki, "other").revoke(file="foreign.pem")
    shutil.copy(world.pki.path("ca.pem"), world.path("nolist.pem"))
    both = world.write("both.pem", open(world.pki.revoke(file="ours.pem"), encoding="ascii").read() + open(foreign, encoding="ascii").read())
    for crl, because in ((foreign, "was not signed by a CA of tls-ca"), (world.path("nolist.pem"), "no revocation list in it"),
                         (world.path("none.pem"), "none.pem: No such file"), (both, "list 2 was not signed by a CA of tls-ca")):
        code, text = checked(world, "mux", world.write("x.conf", good.replace("[device]", f"tls-crl = {crl}\n[device]")))
        check(code == 1 and because in text, f"{because!r} is not in {text!r}")
    plain = "".join(x for x in good.splitlines(True) if not x.startswith(("tls-", "controllers", "readers", "metrics")))
    code, text = checked(world, "mux", world.write("x.conf", plain.replace("[device]", f"insecure = yes\ntls-crl = {foreign}\n[device]")))
    check(code == 1 and "tls-ca, and that is missing" in text, text)
    code, text = checked(world, "mux", world.write("x.conf", plain.replace("[device]", "insecure = yes\n[device]")))
    check(code == 0 and "warning: insecure = yes: REST on 127.0.0.1 port 8471 is plain HTTP" in text, text)


@test
def library():
    """one TLS library in a daemon: GnuTLS, libcurl's too"""
    world = World()
    for kind in DOCUMENTS:
        with open(f"/proc/{getattr(world, kind).child.pid}/maps", encoding="utf-8") as f:
            maps = set(re.findall(r"/(lib(?:ssl|gnutls|nss3|mbedtls|wolfssl)\S*?\.so[.\d]*)", f.read()))
        check(len(maps) == 1 and next(iter(maps)).startswith("libgnutls.so"), f"{kind}: {maps}")


if __name__ == "__main__":
    main()
