#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""A standby in front of the leader, over TLS, with a real etcd: what it carries has the rights of who sent it and not
its own, is told from its own in the audit, arrives byte for byte, and isn't read before the right is known. Clients
without a certificate, where they may connect, have what their token has."""
import json
import socket
import ssl
import sys

from ctl import Certificates, Ctl
from fabric import BIN, run_test, until
from test_store import Etcd, Lab, vip


class Pair:
    def __init__(self, place, lab, etcd, certificates):
        self.place, self.lab, self.etcd, self.certificates = place, lab, etcd, certificates

    def start(self, n, extra=""):
        conf = self.place.write(f"pair{n}.conf", f"[controller]\nname=ctl{n}\nlisten=127.0.0.1:{self.lab.ports[n]} unix:{self.place.path(f'c{n}.sock')}\n"
                                f"store={self.etcd.spec}\ntopology={self.lab.dot}\naggregate=203.0.113.0/24\nlease_s=2\n"
                                f"auth=required\nadmins=alice,uid:0\nreaders=eve\nagents=nobody\npart_secret={self.place.path('secret')}\n"
                                f"{self.certificates.keys(f'ctl{n}')}{extra}")
        self.lab.child[n] = self.place.run(f"{BIN}/duet-controller", "-c", conf)

    def ask(self, n, who, method, target, body=None, headers=(), wait=False):
        """(status, head, body) as they came; wait: send the body only if the server says 100 Continue"""
        context = ssl.create_default_context(cafile=self.place.path("ca.pem"))
        if who:
            context.load_cert_chain(*self.certificates.files(who)[:2])
        data = json.dumps(body).encode() if body is not None and not isinstance(body, bytes) else body or b""
        with socket.create_connection(("127.0.0.1", self.lab.ports[n]), timeout=20) as plain, context.wrap_socket(plain, server_hostname="127.0.0.1") as s:
            lines = [f"{method} {target} HTTP/1.1", "Host: 127.0.0.1", "Connection: close", *headers]
            if body is not None:
                lines += ["Content-Type: application/json", f"Content-Length: {len(data)}"] + (["Expect: 100-continue"] if wait else [])
            s.sendall("\r\n".join(lines + ["", ""]).encode() + (b"" if wait else data))
            got = b""
            while b"\r\n\r\n" not in got and (piece := s.recv(65536)):
                got += piece
            if wait and got.startswith(b"HTTP/1.1 100"):
                s.sendall(data)
                got = got.split(b"\r\n\r\n", 1)[1]
            try:
                while piece := s.recv(65536):
                    got += piece
            except (ssl.SSLError, ConnectionError):
                pass
        head, _, text = got.decode().partition("\r\n\r\n")
        return int(head.split()[1]) if head else 0, head, text


def bearer(token):
    return [f"Authorization: Bearer {token}"]


def asked(pair, *args, **more):
    """as ask(); (0, why, "") where the handshake fails"""
    try:
        return pair.ask(*args, **more)
    except (ssl.SSLError, ConnectionError) as e:
        return 0, str(e), ""


def audited(pair, what):
    lines = json.loads(pair.ask(0, "alice", "GET", "/v1/audit?limit=1000")[2])["audit"]
    return [(a["who"], a.get("by-way-of")) for a in lines if what in a["what"]]


def rights(tap, pair, token):
    """before the body, by the leader's word"""
    large = b'{"vips": [' + b" " * 3_000_000 + b"]}"
    for name, value in (("one that is none", "x" * 40), ("none at all", ""), ("a reader's", token["read"])):
        code, head, _ = pair.ask(1, "nosan", "PUT", "/v1/config", large, bearer(value), wait=True)
        tap.ok(code in (401, 403) and "100 Continue" not in head, f"standby, a token that may not ({name}): refused, and its body isn't asked for", code, head)
    code, _, text = pair.ask(1, "alice", "PUT", "/v1/config", large, bearer("x" * 40), wait=True)
    tap.ok(code == 401, "whoever shows a token has no right but the token's", code, text)
    code, _, text = pair.ask(1, "nosan", "GET", "/v1/vips", headers=bearer(token["read"]))
    tap.ok(code == 200, "a reader's token reads by the standby", code, text)
    code, _, text = pair.ask(1, "nosan", "GET", "/v1/whoami", headers=bearer(token["read"]))
    tap.ok((code, json.loads(text)) == (200, {"identity": "token:t-read", "role": "read"}), "which says who it is", text)
    code, _, text = pair.ask(1, "ctl1", "PUT", "/v1/config", {"vips": []}, ["X-Duet-As: admin cert:alice", "X-Duet-Relayed: 1"])
    tap.ok(code in (401, 403), "a certificate says itself that it carries for alice: refused", code, text)
    code, _, text = pair.ask(0, "ctl1", "PUT", "/v1/config", {"vips": []}, ["X-Duet-As: admin cert:alice", *bearer("x" * 48)])
    tap.ok(code == 401, "and with a word that isn't ours", code, text)


def carried(tap, pair, token):
    code, head, text = pair.ask(1, "nosan", "PUT", "/v1/vips/203.0.113.1", vip(1), bearer(token["admin"]), wait=True)
    tap.ok(code in (200, 201), "an admin's token changes by the standby", code, text)
    tap.ok(audited(pair, "/v1/vips/203.0.113.1") == [("token:t-admin", "cert:ctl1")], "the audit has the token, and who carried it", audited(pair, "/v1/vips"))
    code, head, text = pair.ask(1, "alice", "PUT", "/v1/vips/203.0.113.2", vip(2))
    tap.ok(code in (200, 201) and audited(pair, "/v1/vips/203.0.113.2") == [("cert:alice", "cert:ctl1")], "a certificate's likewise", text,
           audited(pair, "/v1/vips"))
    pair.ask(0, "alice", "PUT", "/v1/vips/203.0.113.3", vip(3))
    tap.ok(audited(pair, "/v1/vips/203.0.113.3") == [("cert:alice", None)], "at the leader itself nobody carried it", audited(pair, "/v1/vips"))
    tags = [h.split(": ")[1] for h in pair.ask(1, "alice", "GET", "/v1/vips/203.0.113.1")[1].split("\r\n") if h.lower().startswith("etag: ")]
    tap.ok(len(tags) == 1, "the ETag comes through the standby", tags)
    got = [pair.ask(1, "alice", "PUT", "/v1/vips/203.0.113.1", vip(1), [f"If-Match: {tag}"])[0] for tag in ('"' + "9" * 60 + '"', *tags)]
    tap.ok(got == [412, 200], "and If-Match goes through whole", got)
    for target in ("/v1/vips/%3Flimit=1", "/v1/vips/203.0.113.1%2F..%2Fx", "/v1/vips/../vips/203.0.113.1", "/v1/vips?limit=%31&after=%20", "/v1/moves/%00"):
        told = [pair.ask(n, "alice", "GET", target) for n in (0, 1)]
        tap.ok(told[0][0] == told[1][0] and told[0][2] == told[1][2], f"{target}: the same answer as the leader's", told)
    code, _, text = pair.ask(1, "alice", "GET", "/v1/vips", headers=["Authorization: Bearer " + token["read"] + " " * 10 + "x" * 3000])
    tap.ok(code == 401, "a long header isn't cut to a good one", code, text)


def tokens_alone(tap, pair, token):
    """clients without a certificate"""
    tap.ok(asked(pair, 0, None, "GET", "/healthz")[0] == 0, "not allowed: the handshake fails")
    for n in (1, 0):
        pair.lab.kill(n)
    for n in (0, 1):
        pair.start(n, "certificate-optional=yes\n")
        tap.ok(until(lambda: asked(pair, n, "alice", "GET", "/healthz")[2] == ("standby\n" if n else "ok\n"), 40), f"ctl{n} with certificate-optional")
    for n, name in ((0, "leader"), (1, "standby")):
        tap.ok(asked(pair, n, None, "GET", "/healthz")[0] == 200, f"{name}, no certificate: what everybody may have")
        codes = [asked(pair, n, None, "GET", t)[0] for t in ("/v1/vips", "/v1/nothing", "/metrics")]
        tap.ok(codes == [401] * 3, "nothing else", codes)
        code, _, text = asked(pair, n, None, "POST", "/v1/reports", {"host": "srv1", "seq": 1})
        tap.ok(code == 401, "reports least of all, whatever the address", code, text)
        code, _, text = asked(pair, n, None, "GET", "/v1/vips", headers=bearer(token["read"]))
        tap.ok(code == 200, "a token reads", code, text)
        code, _, text = asked(pair, n, None, "PUT", "/v1/config", b'{"vips": [' + b" " * 2_000_000 + b"]}", bearer(token["read"]), wait=True)
        tap.ok(code == 403, "and no more", code, text)
        code, _, text = asked(pair, n, None, "PUT", "/v1/vips/203.0.113.4", vip(4), bearer(token["admin"]))
        tap.ok(code in (200, 201), "an admin's changes", code, text)
        codes = [asked(pair, n, w, "GET", "/v1/vips", headers=bearer(token["admin"]))[0] for w in ("expired", "foreign")]
        tap.ok(codes == [0, 0], "a certificate that is shown must be good, token or not", codes)
    ctl = Ctl(tap, f"https://127.0.0.1:{pair.lab.ports[1]}")
    file = pair.place.write("token", token["read"] + "\n")
    ctl.ok("duetctl with a token and the CA alone", ctl("vip", "list", "--tls-ca", pair.place.path("ca.pem"), "--token-file", file), "203.0.113.1")


def steps(tap, place):
    certificates = Certificates(place)
    for name in ("alice", "eve", "nosan", "ctl0", "ctl1"):
        certificates.make(name)
    certificates.make("expired", days=-1)
    Certificates(place, "other").make("foreign")
    place.write("secret", "a-word-of-more-than-16-characters\n")
    pair = Pair(place, Lab(place), Etcd(place), certificates)
    for n in (0, 1):
        pair.start(n)
        tap.ok(until(lambda: asked(pair, n, "alice", "GET", "/healthz")[2] == ("standby\n" if n else "ok\n"), 40), f"ctl{n} {'stands by' if n else 'leads'}")
    pair.ask(0, "alice", "PUT", "/v1/config", {"vips": []})
    token = {}
    for role in ("read", "admin"):
        token[role] = json.loads(pair.ask(0, "alice", "PUT", f"/v1/tokens/t-{role}", {"role": role})[2])["token"]
    rights(tap, pair, token)
    carried(tap, pair, token)
    tokens_alone(tap, pair, token)


if __name__ == "__main__":
    sys.exit(run_test(steps))
