#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""The REST server every daemon has (lib/http): certificates, unix sockets, and clients that mean no good.
Run on duet-mux-agent with its simulated data plane."""
import http.client
import json
import os
import random
import select
import socket
import ssl
import stat
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import BIN, CLEANUP, Daemon, Failed, check, equal, folder, inside, main, namespace, run, test, until  # noqa: E402

NS, PORT = "duet-t-rest", 8471
EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


class Rest:
    """an agent with certificates of a CA of its own, on TCP and on a unix socket"""

    def __init__(self, insecure=False):
        namespace(NS)
        self.dir = folder()
        self.sock = f"{self.dir}/mux.sock"
        if not insecure:
            for ca in ("ca", "other"):
                run("openssl", "req", "-x509", *EC, "-keyout", self.path(f"{ca}.key"), "-out", self.path(f"{ca}.pem"), "-subj", f"/CN={ca}")
            self.certificate("tor1", "ca")
        self.conf = self.write(insecure)
        self.daemon = Daemon(NS, "agent", f"{BIN}/duet-mux-agent", "-c", self.conf)
        CLEANUP.append(self.daemon.remove)
        until(lambda: os.path.exists(self.sock), "the socket is there")

    def path(self, name):
        return os.path.join(self.dir, name)

    def certificate(self, name, ca):
        run("openssl", "req", *EC, "-keyout", self.path(f"{name}.key"), "-out", self.path(f"{name}.csr"), "-subj", f"/CN={name}")
        with open(self.path("ext"), "w", encoding="ascii") as f:
            f.write("subjectAltName=IP:127.0.0.1\n")
        run("openssl", "x509", "-req", "-in", self.path(f"{name}.csr"), "-CA", self.path(f"{ca}.pem"), "-CAkey", self.path(f"{ca}.key"),
            "-CAcreateserial", "-out", self.path(f"{name}.pem"), "-extfile", self.path("ext"))

    def write(self, insecure, name="a.conf", tls="tor1"):
        secure = "insecure = yes\n" if insecure else "controllers = cert:controller\n" + "".join(
            f"tls-{k} = {self.path(v)}\n" for k, v in (("cert", f"{tls}.pem"), ("key", f"{tls}.key"), ("ca", "ca.pem")))
        with open(self.path(name), "w", encoding="ascii") as f:
            f.write(f"[agent]\nname = tor1\nlisten = 127.0.0.1:{PORT} unix:{self.sock}\nrun_dir = {self.dir}\n{secure}"
                    f"[device]\nname = hmux0\nmode = hmux\nlocal = 10.254.0.7\nbackend = sim\n[bird]\nsocket = {self.dir}/bird.ctl\n")
        return self.path(name)

    def context(self, name, maximum=None):
        context = ssl.create_default_context(cafile=self.path("ca.pem"))
        if name:
            context.load_cert_chain(self.path(f"{name}.pem"), self.path(f"{name}.key"))
        if maximum:
            context.maximum_version = maximum
        return context

    def https(self, name, method="GET", path="/healthz", body=None, **how):
        with inside(NS):
            connection = http.client.HTTPSConnection("127.0.0.1", PORT, context=self.context(name, **how), timeout=10)
            connection.connect()
        return ask(connection, method, path, body)

    def unix(self, method="GET", path="/healthz", body=None):
        connection = http.client.HTTPConnection("localhost", timeout=20)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(20)
        connection.sock.connect(self.sock)
        return ask(connection, method, path, body)


def ask(connection, method, path, body):
    try:
        connection.request(method, path, body if isinstance(body, (str, bytes, type(None))) else json.dumps(body))
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or "null")
    finally:
        connection.close()


def refused(function, what):
    try:
        answer = function()
    except (OSError, http.client.HTTPException):
        return
    raise Failed(f"{what}: answered {answer}")


@test
def certificates():
    """TCP: only who has a certificate of the CA gets a word in; the peer's name is known"""
    rest = Rest()
    rest.certificate("controller", "ca")
    rest.certificate("stranger", "other")
    equal(rest.https("controller"), (200, {"status": "ok"}), "with a certificate")
    refused(lambda: rest.https(None), "no certificate")
    refused(lambda: rest.https("stranger"), "a certificate of another CA")
    refused(lambda: rest.https("controller", maximum=ssl.TLSVersion.TLSv1_1), "TLS 1.1")
    with inside(NS):
        plain = http.client.HTTPConnection("127.0.0.1", PORT, timeout=10)
        plain.connect()
    refused(lambda: ask(plain, "GET", "/healthz", None), "plain HTTP")
    equal(rest.https("controller", "PUT", "/v1/log", {"level": "debug"}), (200, {"level": "debug"}), "log level")
    check("as cert:controller asked" in rest.daemon.text(), "the log names the certificate's owner")


@test
def local():
    """the unix socket is root's alone, names the user, and survives a kill"""
    rest = Rest()
    equal(stat.S_IMODE(os.stat(rest.sock).st_mode), 0o600, "mode of the socket")
    equal(rest.unix(), (200, {"status": "ok"}), "answer")
    equal(rest.unix("PUT", "/v1/log", {"level": "loud"})[0], 422, "a level that is none")
    equal(rest.unix("PUT", "/v1/log", {"level": "debug"})[0], 200, "a level")
    check("as uid:0 asked" in rest.daemon.text(), "the log names the user")
    rest.daemon.kill()
    rest.daemon.start()
    until(lambda: answers(rest), "it takes its own dead socket over")
    second = subprocess.run(["ip", "netns", "exec", NS, f"{BIN}/duet-mux-agent", "-c", rest.conf], stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, timeout=20, check=False)
    check(second.returncode and "in use" in second.stdout, f"but not a living one: {second.stdout}")


def answers(rest):
    try:
        return rest.unix()[0] == 200
    except OSError:
        return False


@test
def configuration():
    """TCP without certificates, half of them, a wrong key: refused with a sentence"""
    rest = Rest()
    rest.certificate("second", "ca")
    with open(rest.conf, encoding="ascii") as f:
        good = f.read()

    def said(change):
        with open(rest.path("b.conf"), "w", encoding="ascii") as f:
            f.write(change(good))
        got = subprocess.run([f"{BIN}/duet-mux-agent", "-c", rest.path("b.conf"), "--check-config"], stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, timeout=20, check=False)
        return got.returncode, got.stdout

    code, text = said(lambda t: t.replace("[device]", "readers = eve, uid:33\nmetrics = cert:*\n[device]"))
    equal(code, 0, "the good one")
    for line in ("cert:controller may read, and change what the agent does (controllers)", "cert:eve may read", "uid:33 may read",
                 "any certificate of tls-ca may read metrics", "uid:0 may do everything"):
        check(line in text, f"who may what: {line!r} is not in {text!r}")
    for change, because in ((lambda t: "".join(x for x in t.splitlines(True) if "tls" not in x), "insecure = yes"),
                            (lambda t: "".join(x for x in t.splitlines(True) if "tls-key" not in x), "tls-key is missing"),
                            (lambda t: t.replace("tor1.key", "second.key"), "second.key"),
                            (lambda t: t.replace("ca.pem", "none.pem"), "none.pem: No such file"),
                            (lambda t: t.replace("ca.pem", "ca.key"), "no certificate in it"),
                            (lambda t: t.replace("tls-cert", "insecure = yes\ntls-cert"), "one of the two"),
                            (lambda t: t.replace("controllers = cert:controller\n", ""), "listen on TCP needs controllers"),
                            (lambda t: t.replace("cert:controller", "*"), "name them"),
                            (lambda t: t.replace("cert:controller", "token:ci"), '"token:ci" is no identity'),
                            (lambda t: t.replace("cert:controller", "cert:uid:0"), "is no identity"),
                            (lambda t: t.replace("cert:controller", "uid:-1"), "is no identity"),
                            (lambda t: t.replace("cert:controller", "uid:4294967295"), "is no identity"),
                            (lambda t: t.replace("cert:controller", ", ,"), "listen on TCP needs controllers"),
                            (lambda t: "".join(x for x in t.splitlines(True) if "tls" not in x).replace("[device]", "insecure = yes\n[device]"),
                             "has no names"),
                            (lambda t: t.replace(".sock\n", ".socket\n"), ".sock")):
        code, text = said(change)
        check(code == 1 and because in text, f"{because!r} is not in {text!r}")


@test
def hostile():
    """requests made of noise, cut short, oversized, deep: an answer or an end, and the next one is served"""
    rest = Rest(insecure=True)
    rng = random.Random(5)
    good = b'PUT /v1/state HTTP/1.1\r\nHost: x\r\nContent-Length: 102\r\n\r\n{"epoch": 1, "generation": 1, "key": "00000000000000000000000000000007", "vips": [], "aggregate": null}'
    deep = b"[" * 100000
    cases = [bytes(rng.randrange(256) for _ in range(rng.randrange(1, 400))) for _ in range(60)]
    for _ in range(300):
        broken = bytearray(good)
        for _ in range(rng.randrange(1, 8)):
            at = rng.randrange(len(broken))
            broken[at:at + rng.randrange(3)] = bytes(rng.randrange(256) for _ in range(rng.randrange(3)))
        cases.append(bytes(broken))
    cases += [good[:n] for n in range(0, len(good), 7)]
    cases += [b"PUT /v1/state HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(deep) + deep,
              b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20000,
              b"PUT /v1/vips/203.0.113.1 HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
              b"PUT /v1/vips/%s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n" % (b"%ff%00" * 30)]
    for case in cases:
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(0.1)	# half a request is waited for longer than we wait here
            s.connect(rest.sock)
            try:
                s.sendall(case)
                s.shutdown(socket.SHUT_WR)
                while s.recv(65536):
                    pass
            except OSError:
                pass
    equal(rest.unix(), (200, {"status": "ok"}), "the next one")
    equal(rest.unix("PUT", "/v1/log", "x" * 5000)[0], 413, "a body larger than its route takes")
    equal(rest.unix("PUT", "/v1/log", '{"level": "info", "level": "info"}')[0], 400, "a member twice")
    large = {"epoch": 1, "generation": 1, "key": "7".zfill(32), "aggregate": None, "vips": [
        {"vip": "203.0.113.1", "name": "x" * 3000000, "rules": [{"dips": [{"address": "10.1.1.1"}]}]}]}
    equal(rest.unix("PUT", "/v1/state", dict(large, vips="x" * 3000000))[0], 422, "a large body that is no state")
    status, said = rest.unix("PUT", "/v1/state", "[" + "1,\n" * 1000000 + "]")
    check(status == 400 and "line 1000001" in said["detail"], f"a large body that is no JSON: {status} {said}")
    for _ in range(20):	# who asks doesn't wait for the answer
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(rest.sock)
            text = json.dumps(large).encode()
            s.sendall(b"PUT /v1/state HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(text) + text)
    equal(rest.unix("PUT", "/v1/state", dict(large, generation=2))[0], 200, "a large body")
    equal(rest.daemon.child.poll(), None, "the agent lives")
    check("twice" not in rest.daemon.text(), rest.daemon.text()[-500:])


@test
def full_disk():
    """a full disk under the log: the agent goes on"""
    rest = Rest(insecure=True)
    rest.daemon.kill()
    with open("/dev/full", "w", encoding="ascii") as full:
        rest.daemon.log.close()
        os.unlink(rest.daemon.log.name)
        rest.daemon.log = full
        rest.daemon.start()
        rest.daemon.log = open(rest.path("log"), "w+", encoding="utf-8")
    until(lambda: answers(rest), "it starts")
    for generation in range(1, 20):
        body = {"epoch": 1, "generation": generation, "key": "7".zfill(32), "aggregate": None,
                "vips": [{"vip": "203.0.113.1", "rules": [{"dips": [{"address": f"10.1.1.{generation}"}]}]}]}
        status, answer = rest.unix("PUT", "/v1/state", body)
        equal((status, sum(answer["changed"].values())), (200, 1), "a change")
    equal(rest.unix(), (200, {"status": "ok"}), "/healthz")


@test
def crowd():
    """1,000 idle connections and a slow one: the next client is served, and the crowd is cut"""
    rest = Rest(insecure=True)
    crowd = []
    CLEANUP.append(lambda: [c.close() for c in crowd])
    with inside(NS):
        for _ in range(1000):
            s = socket.socket()
            s.settimeout(20)
            s.connect(("127.0.0.1", PORT))
            crowd.append(s)
        slow = socket.create_connection(("127.0.0.1", PORT), timeout=20)
        crowd.append(slow)
    slow.sendall(b"PUT /v1/log HTTP/1.1\r\nHo")
    for _ in range(20):
        equal(rest.unix(), (200, {"status": "ok"}), "served beside the crowd, locally")
    with inside(NS):
        other = http.client.HTTPConnection("127.0.0.1", PORT, timeout=20)
        other.connect()
    equal(ask(other, "GET", "/healthz", None), (200, {"status": "ok"}), "and over TCP")
    trickle = iter(b"st: a\r\n" * 1000)

    def cut():
        """one byte more; has it been cut off?"""
        try:
            slow.send(bytes([next(trickle)]))
        except OSError:
            return True
        readable, _, _ = select.select([slow], [], [], 0.05)
        return bool(readable) and slow.recv(1) == b""

    until(cut, "who sends a byte now and then is cut off", 40)

    # the first ones gave way to the later ones at once, the others after their time
    until(lambda: len(select.select(crowd[:900], [], [], 0)[0]) == 900, "the idle ones are cut off", 40)
    equal(rest.unix(), (200, {"status": "ok"}), "in the end")


if __name__ == "__main__":
    main()
