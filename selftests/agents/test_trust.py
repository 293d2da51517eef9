#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Who may do what, over every route of every daemon: each identity against each operation of the OpenAPI documents,
whose x-right says what is needed. A route that a daemon serves and its document doesn't name, or the other way, fails."""
import http.client
import json
import os
import re
import select
import socket
import ssl
import sys
import time

import yaml

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "controller"))
from lib import BIN, CLEANUP, TOP, Daemon, check, equal, folder, inside, main, namespace, run, test, until  # noqa: E402
from ctl import Certificates  # noqa: E402
from fabric import topology  # noqa: E402

NS = "duet-t-trust"
# what a role includes, said a second time on purpose
INCLUDES = {
    None: {"any"}, "metrics": {"any", "metrics"}, "agent": {"any", "agent"}, "read": {"any", "metrics", "read"},
    "operate": {"any", "metrics", "read", "operate"}, "admin": {"any", "metrics", "read", "operate", "agent", "admin"},
    "command": {"any", "metrics", "read", "command", "admin"},
    "root": {"any", "metrics", "read", "operate", "agent", "admin", "command", "part"},
}
DOCUMENTS = {"controller": "controller/api/openapi.yaml", "mux": "agents/mux/api.yaml", "host": "agents/host/api.yaml"}
PORTS = {"controller": 8470, "mux": 8471, "host": 8472}
# the roles of certificates, by daemon; all others have none
ROLES = {"controller": {"alice": "admin", "oscar": "operate", "eve": "read", "prom": "metrics", "srv1": "agent"},
         "mux": {"ctl": "command", "eve": "read", "prom": "metrics"},
         "host": {"ctl": "command", "eve": "read", "prom": "metrics"}}


class Pki(Certificates):
    """a CA in a folder, and another"""

    def __init__(self, path):
        self.dir = path
        super().__init__(self)
        Certificates(self, "other")

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="ascii") as f:
            f.write(text)
        return self.path(name)

    def conf(self, name):
        crl = self.path("crl.pem")
        return self.keys(name) + (f"tls-crl = {crl}\n" if os.path.exists(crl) else "")

    def context(self, name):
        context = ssl.create_default_context(cafile=self.path("ca.pem"))
        if name:
            context.load_cert_chain(self.path(f"{name}.pem"), self.path(f"{name}.key"))
        return context


class World:
    """one daemon of each kind, with certificates of one CA"""

    def __init__(self, revoked=None):
        """revoked: names; None: no revocation list"""
        namespace(NS)
        self.pki = Pki(folder())
        for name in ("ctl", "alice", "oscar", "eve", "prom", "srv1", "tor1", "nosan"):
            self.pki.make(name)
        if revoked is not None:
            self.pki.revoke(*revoked)
        self.contexts = {}
        run("ip", "-n", NS, "addr", "add", "10.1.1.1/24", "dev", "lo")
        run("ip", "-n", NS, "link", "add", "e0", "type", "veth", "peer", "name", "e1")
        run("ip", "-n", NS, "link", "set", "e0", "up")
        dot = self.write("topology.dot", topology({"tor1": f"https://127.0.0.1:{PORTS['mux']}"}, {"srv1": ("10.1.1.1", "tor1")}))
        agents = "controllers = cert:ctl\nreaders = eve\nmetrics = cert:prom\n"
        self.start("controller", f"[controller]\nname = ctl\nstore = {self.path('s.sqlite')}\ntopology = {dot}\naggregate = 203.0.113.0/24\n"
                                 "admins = cert:alice\noperators = oscar\nreaders = eve\nmetrics = cert:prom\nagents = cert:srv1\n", "ctl")
        self.start("mux", f"[agent]\nname = tor1\nrun_dir = {self.dir}\n{agents}", "tor1",
                   f"[device]\nname = hmux0\nmode = hmux\nlocal = 10.254.0.7\nbackend = sim\n[bird]\nsocket = {self.path('bird.ctl')}\n")
        self.start("host", f"[agent]\nname = srv1\ncontroller = https://127.0.0.1:{PORTS['controller']}\n{agents}", "srv1",
                   f"[host]\ninterface = e0\naddress = 10.1.1.1\npin = /sys/fs/bpf/duet-t-trust\n")

    @property
    def dir(self):
        return self.pki.dir

    def path(self, name):
        return self.pki.path(name)

    def write(self, name, text):
        return self.pki.write(name, text)

    def start(self, kind, section, name, rest=""):
        sock = self.path(f"{kind}.sock")
        conf = self.write(f"{kind}.conf", f"{section}listen = 127.0.0.1:{PORTS[kind]} unix:{sock}\n{self.pki.conf(name)}{rest}")
        binary = f"{BIN}/duet-controller" if kind == "controller" else f"{BIN}/duet-{kind}-agent"
        daemon = Daemon(NS, kind, binary, "-c", conf)
        setattr(self, kind, daemon)
        if kind == "host":
            CLEANUP.append(lambda: run("ip", "netns", "exec", NS, binary, "-c", conf, "--uninstall", ok=False))
        CLEANUP.append(daemon.remove)

        def up():
            check(daemon.child.poll() is None, f"{kind} ended: {daemon.text()[-600:]}")
            try:
                return self.unix(kind, "GET", "/healthz")[0] in (200, 503)
            except OSError:
                return False
        until(up, f"{kind} serves")

    def unix(self, kind, method, path, headers=None, body=None):
        connection = http.client.HTTPConnection("localhost", timeout=20)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(20)
        connection.sock.connect(self.path(f"{kind}.sock"))
        return self.ask(connection, method, path, headers, body)

    def https(self, kind, name, method, path, headers=None, body=None):
        if name not in self.contexts:
            self.contexts[name] = self.pki.context(name)
        with inside(NS):
            connection = http.client.HTTPSConnection("127.0.0.1", PORTS[kind], context=self.contexts[name], timeout=20)
            connection.connect()
        return self.ask(connection, method, path, headers, body)

    @staticmethod
    def ask(connection, method, path, headers, body=None):
        """(status, text); of a stream only its beginning"""
        if body is None and method in ("PUT", "POST"):
            body = "{}"
        try:
            connection.request(method, path, body, {**({} if body is None else {"Content-Type": "application/json"}), **(headers or {})})
            answer = connection.getresponse()
            return answer.status, answer.read(65536).decode("utf-8", "replace")
        finally:
            connection.close()


def operations(kind):
    """(method, path with "*", right) of the document"""
    with open(os.path.join(TOP, DOCUMENTS[kind]), encoding="utf-8") as f:
        document = yaml.safe_load(f)
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method != "parameters":
                yield method.upper(), re.sub(r"\{[^}]*\}", "*", path), operation.get("x-right")


def refused(probe):
    """False if the request got through to a handler"""
    try:
        return probe()[0] in (401, 403)
    except (ssl.SSLError, ConnectionError, http.client.HTTPException):
        return True


class Counts:
    def __init__(self):
        self.routes, self.allowed, self.refused = 0, [], []

    def judge(self, what, right, role, probe):
        may = right in INCLUDES[role]
        if refused(probe) == may:
            (self.refused if may else self.allowed).append(what)


@test
def routes():
    """every identity against every route of every daemon: allowed or refused as the documents' x-right says"""
    world, begin = World(), time.monotonic()
    count = Counts()
    for kind in DOCUMENTS:
        served = {(r["method"], r["path"], r["right"]) for r in json.loads(world.unix(kind, "GET", "/v1/routes")[1])}
        named = set(operations(kind))
        equal(sorted(served ^ named, key=str), [], f"{kind}: the routes served, and the documented ones, with their rights")
        count.routes += len(named)
    tokens = {}
    for role in ("admin", "operate", "read", "agent", "metrics"):
        status, text = world.unix("controller", "PUT", f"/v1/tokens/t-{role}", body=json.dumps({"role": role}))
        equal(status, 201, f"a token for {role}: {text}")
        tokens[role] = json.loads(text)["token"]
    wrong = {"server-only": {"ext": "extendedKeyUsage=serverAuth"}, "expired": {"days": -1}, "foreign": {"subject": "/CN=alice"},
             "uid": {"subject": "/CN=uid:0"}, "typed": {"subject": "/CN=cert:alice"}, "list": {"subject": "/CN=alice, ctl"},
             "star": {"subject": "/CN=*"}, "long": {"subject": "/CN=" + "a" * 64, "san": "DNS:alice"}}
    for name, how in wrong.items():
        (Certificates(world.pki, "other") if name == "foreign" else world.pki).make(name, **how)
    world.pki.make("both", subject="/CN=eve", ext="extendedKeyUsage=serverAuth,clientAuth")
    world.pki.make("byname", "IP:127.0.0.1,DNS:eve", subject="/O=duet")
    cases = 0
    for kind in DOCUMENTS:
        # paths that no route has are nobody's who has no role
        unknown = [("GET", "/v1/nothing", "read"), ("PATCH", "/v1/status", "read"), ("GET", "/../etc/passwd", "read")]
        for method, path, right in sorted(operations(kind), key=str) + unknown:
            # names that are none, so that what is allowed changes nothing
            at = path.replace("*", "nothing")
            listed = (method, path, right) not in unknown
            for name in ("alice", "oscar", "eve", "prom", "srv1", "ctl", "nosan"):
                role = ROLES[kind].get(name)
                needs = right if listed else "any" if role else "nothing"
                count.judge(f"{kind} cert:{name} {method} {path}", needs, role, lambda: world.https(kind, name, method, at))
                cases += 1
            for name in wrong:
                count.judge(f"{kind} {name} {method} {path}", right if name == "long" and listed else "nothing", None,
                            lambda: world.https(kind, name, method, at))
                cases += 1
            for name in ("both", "byname"):
                count.judge(f"{kind} {name} {method} {path}", right if listed else "any", "read", lambda: world.https(kind, name, method, at))
                cases += 1
            count.judge(f"{kind} uid:0 {method} {path}", right, "root", lambda: world.unix(kind, method, at))
            count.judge(f"{kind} no certificate {method} {path}", "nothing", None, lambda: world.https(kind, None, method, at))
            for scheme in ("Basic YWxpY2U6YWxpY2U=", "Bearer wrong", "Bearer", "bearer  ", "Negotiate x"):
                # whoever shows credentials has what these give, and not the certificate's or the user's rights beside
                count.judge(f"{kind} cert:alice {scheme} {method} {path}", right if listed else "nothing", None,
                            lambda: world.https(kind, "alice", method, at, {"Authorization": scheme}))
                cases += 1
            for role, token in tokens.items():
                has = role if kind == "controller" and path != "/v1/tokens/*" else None
                if path == "/v1/tokens/*":	# deleting them would end the test early
                    continue
                needs = right if listed else "any" if has else "nothing"
                count.judge(f"{kind} token:t-{role} {method} {path}", needs, has,
                            lambda: world.https(kind, "nosan", method, at, {"Authorization": f"Bearer {token}"}))
                cases += 1
    print(f"# trust: routes {count.routes}")
    print(f"# trust: cases {cases}")
    print(f"# trust: wrongly_allowed {len(count.allowed)}")
    print(f"# trust: wrongly_refused {len(count.refused)}")
    equal((count.allowed[:8], count.refused[:8]), ([], []), "wrongly allowed, wrongly refused")
    for kind in DOCUMENTS:
        daemon = getattr(world, kind)
        equal(daemon.child.poll(), None, f"{kind} lives")
        for why in ("server-only is for another purpose", "expired expired", "not signed by tls-ca", "no common name or DNS name"):
            check(why in daemon.text(), f"{kind} logs why: {why!r} is not in {daemon.text()[-600:]}")
        # once a minute
        told, minutes = daemon.text().count("and cert:nosan has no role"), int(time.monotonic() - begin) // 60
        check("refused: " in daemon.text() and told <= 2 + minutes, f"{kind} logs a refused peer, and not each time: {told} in {minutes} min")


def memory(daemon):
    """MiB that the process has resident"""
    with open(f"/proc/{daemon.child.pid}/statm", encoding="ascii") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE") >> 20


def pour(world, kind, name, method, path, size):
    """(status, seconds to it, bytes sent) of a request whose body is size bytes of "[],", sent for as long as it is accepted"""
    piece = b"[]," * 20000
    with inside(NS):
        connection = http.client.HTTPSConnection("127.0.0.1", PORTS[kind], context=world.pki.context(name), timeout=20)
        connection.connect()
    sent, begin = 0, time.monotonic()
    try:
        connection.putrequest(method, path)
        connection.putheader("Content-Length", str(size))
        connection.endheaders()
        try:
            while sent < size and not select.select([connection.sock], [], [], 0)[0]:
                connection.sock.sendall(piece)
                sent += len(piece)
        except OSError:
            pass	# the answer is here, or it isn't
        status = connection.getresponse().status
        return status, time.monotonic() - begin, sent
    finally:
        connection.close()


@test
def floods():
    """250 MB from a peer without a role, or for a route that takes less: refused at once, unread, and no memory grows"""
    world = World()
    for kind, name, method, path, want in (
            ("controller", "nosan", "PUT", "/v1/config", 401), ("controller", "nosan", "POST", "/v1/engine/plan", 401),
            ("controller", "srv1", "PUT", "/v1/config", 403), ("controller", "eve", "GET", "/v1/status", 413),
            ("controller", "alice", "PUT", "/v1/config", 413), ("mux", "nosan", "GET", "/v1/status", 403),
            ("mux", "eve", "GET", "/v1/status", 413), ("mux", "eve", "PUT", "/v1/state", 403), ("mux", "ctl", "PUT", "/v1/log", 413),
            ("host", "srv1", "PUT", "/v1/state", 403), ("host", "nosan", "PUT", "/v1/nothing", 403)):
        daemon = getattr(world, kind)
        before = memory(daemon)
        status, seconds, sent = pour(world, kind, name, method, path, 250 << 20)
        what = f"{kind} cert:{name} {method} {path}"
        equal(status, want, what)
        # sockets' buffers, and what is thrown away unread
        check(sent < 20 << 20 and memory(daemon) - before < 16, f"{what}: {sent >> 20} MiB sent, {memory(daemon) - before} MiB more")
        print(f"# trust: {what.replace(' ', '_')} {1000 * seconds:.1f} ms")


if __name__ == "__main__":
    main()
