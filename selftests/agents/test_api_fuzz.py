#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Requests made from the OpenAPI documents of all three daemons, built with ASan and UBSan: valid ones, nearly valid ones
and garbage. None may end a daemon, go without an answer or be answered by 500.

usage: test_api_fuzz.py [SECONDS [SEED]]   20 s in the suite; hours by command"""
import http.client
import json
import os
import random
import re
import socket
import subprocess
import sys
import time

import yaml

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OUT = os.environ.get("O", os.path.join(TOP, "out"))
os.environ["O"] = os.path.join(OUT, "san")
# LeakSanitizer wants ptrace when a daemon ends, which sandboxes may forbid
os.environ["ASAN_OPTIONS"] = "detect_leaks=0:abort_on_error=1:handle_abort=1"
os.environ["UBSAN_OPTIONS"] = "print_stacktrace=1"
sys.path.insert(0, os.path.join(TOP, "selftests/agents"))
from lib import TESTS, check, equal, inside, main, test  # noqa: E402
from test_trust import DOCUMENTS, NS, PORTS, World  # noqa: E402

SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 20
SEED = int(sys.argv[2]) if len(sys.argv) > 2 else 1
sys.argv[1:] = []
ADMIN = {"controller": "alice", "mux": "ctl", "host": "ctl"}
WORDS = ["203.0.113.1", "203.0.113.255", "10.1.1.1", "2001:db8::1", "0.0.0.0", "::", "srv1", "tor1", "smux", "hmux0", "tcp/80", "udp", "", "..", "%00", "a" * 300,
         "\u202e", "\x1b[31m", "-1", "1e308", "../../etc/passwd", "x y", "ü" * 40, "203.0.113.0/24", "cert:alice", "null"]
NUMBERS = [0, 1, -1, 2, 80, 100, 255, 65535, 65536, 2**31 - 1, 2**31, 2**53, 2**63 - 1, -2**63, 0.1, 1e308, -1e-308, 4294967295]

TESTS.clear()	# those of test_trust.py


class Document:
    def __init__(self, kind):
        with open(os.path.join(TOP, DOCUMENTS[kind]), encoding="utf-8") as f:
            self.all = yaml.safe_load(f)
        self.operations = [(m.upper(), path, op) for path, item in self.all["paths"].items() for m, op in item.items() if m != "parameters"]

    def resolve(self, node):
        while isinstance(node, dict) and "$ref" in node:
            at = self.all
            for part in node["$ref"][2:].split("/"):
                at = at[part]
            node = at
        return node or {}


class Maker:
    def __init__(self, rng, doc):
        self.rng, self.doc = rng, doc

    def any(self, depth=0):
        r = self.rng
        kind = r.randrange(8 if depth < 4 else 6)
        if kind < 3:
            return r.choice(WORDS)
        if kind < 5:
            return r.choice(NUMBERS)
        if kind == 5:
            return r.choice([None, True, False])
        if kind == 6:
            return [self.any(depth + 1) for _ in range(r.randrange(4))]
        return {r.choice(WORDS): self.any(depth + 1) for _ in range(r.randrange(4))}

    def value(self, schema, depth=0, wild=0.05):
        """of the schema; wild: how often a part is not"""
        r, s = self.rng, self.doc.resolve(schema)
        if r.random() < wild or depth > 10:
            return self.any()
        for key in ("allOf", "oneOf", "anyOf"):
            if key in s:
                return self.value(r.choice(s[key]), depth + 1, wild)
        if "enum" in s:
            return r.choice(s["enum"])
        kind = s.get("type")
        kind = r.choice(kind) if isinstance(kind, list) else kind
        if kind == "object" or "properties" in s:
            names = s.get("properties", {})
            out = {n: self.value(p, depth + 1, wild) for n, p in names.items() if n in s.get("required", []) and r.random() > wild or r.random() < 0.5}
            if r.random() < wild or not names:
                out[r.choice(WORDS)] = self.any()
            return out
        if kind == "array":
            return [self.value(s.get("items"), depth + 1, wild) for _ in range(r.choice((0, 1, 1, 2, 3, 40 if depth < 3 else 1)))]
        if kind in ("integer", "number"):
            low, high = s.get("minimum", 0), s.get("maximum", 2**31)
            return r.choice([low, high, r.choice(NUMBERS), r.randint(int(low), max(int(low), min(int(high), 2**53)))])
        if kind == "boolean":
            return r.random() < 0.5
        return r.choice(WORDS[:12] + [str(s.get("default", ""))]) if kind == "string" else self.any()

    def request(self):
        """(method, target, headers, body) of bytes"""
        r = self.rng
        method, path, op = r.choice(self.doc.operations)
        if r.random() < 0.05:
            method = r.choice(["GET", "PUT", "POST", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "X" * 40])
        quote = (lambda w: w) if r.random() < 0.1 else __import__("urllib.parse").parse.quote
        target = re.sub(r"\{[^}]*\}", lambda m: quote(r.choice(WORDS), safe="") if quote.__name__ == "quote" else r.choice(WORDS), path)
        names = [p["name"] for p in map(self.doc.resolve, op.get("parameters", [])) if p.get("in") == "query"] + r.sample(["limit", "after", "vips", "running", "x"], 1)
        if r.random() < 0.5:
            target += "?" + "&".join(f"{n}={quote(str(r.choice(WORDS + NUMBERS)))}" for n in r.sample(names, r.randint(1, len(names))))
        content = self.doc.resolve(op.get("requestBody")).get("content", {})
        body = None
        if method in ("PUT", "POST"):
            schema = next(iter(content.values()), {}).get("schema", {})
            body = json.dumps(self.value(schema, wild=r.choice((0, 0.03, 0.3))), ensure_ascii=r.random() < 0.5).encode("utf-8", "replace")
            if r.random() < 0.2 and body:
                broken = bytearray(body)
                for _ in range(r.randint(1, 4)):
                    at = r.randrange(len(broken) or 1)
                    broken[at:at + r.randrange(4)] = r.choice((b"", b"\x00", b"\xff\xfe", b"[" * 50, b'"', b"\\u0000", b"1e999"))
                body = bytes(broken)
        headers = {}
        if body is not None and r.random() > 0.03:
            headers["Content-Type"] = r.choice(("application/json",) * 9 + ("text/plain", "application/json; charset=x", "a" * 500))
        for name in r.sample(["If-Match", "Authorization", "Accept", "X-Duet-As", "X-Duet-Relayed", "Last-Event-ID", "Origin", "Sec-Fetch-Site", "Host"], 1 if r.random() < 0.3 else 0):
            headers[name] = r.choice(["*", '"1"', "Bearer x", "text/event-stream", "admin cert:alice", "9" * 30, "https://evil.example", "cross-site", "a" * 3000])
        return method, target, headers, body


def encode(method, target, headers, body):
    lines = [f"{method} {target} HTTP/1.1"] + [f"{k}: {v}" for k, v in {"Host": "127.0.0.1", **headers}.items()]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    text = "\r\n".join(lines + ["Connection: close", "", ""])
    return text.encode("utf-8", "replace") + (body or b"")


@test
def fuzz():
    """requests of all kinds to a controller, a mux agent and a host agent under ASan and UBSan"""
    made = subprocess.run(["make", "-s", "-C", TOP, "san"], env={**os.environ, "O": OUT}, capture_output=True, text=True, check=False)
    check(not made.returncode, f"make san: {made.stderr[-500:]}")
    world = World()
    rng = random.Random(SEED)
    makers = {kind: Maker(rng, Document(kind)) for kind in DOCUMENTS}
    requests, statuses, silent, bad = 0, {}, [], []
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        kind = rng.choice(list(DOCUMENTS))
        request = makers[kind].request()
        raw = encode(*request)
        status = ask(world, kind, raw, rng.random() < 0.1)
        requests += 1
        statuses[status] = statuses.get(status, 0) + 1
        alive = getattr(world, kind).child.poll() is None
        if not alive or "ERROR: AddressSanitizer" in (getattr(world, kind).text()[-20000:] if not alive else ""):
            bad.append((kind, raw[:2000], getattr(world, kind).text()[-3000:]))
            break
        if status in (0, 500):
            silent.append((kind, status, raw[:600]))
    crashes = len(bad)
    for kind in DOCUMENTS:
        text = getattr(world, kind).text()
        crashes += "runtime error:" in text or ("ERROR: AddressSanitizer" in text and not bad)
    print(f"# trust: fuzz requests {requests} crashes {crashes}")
    print(f"# statuses: {dict(sorted(statuses.items()))}")
    equal(crashes, 0, f"crashes, seed {SEED}: {bad[:1]}")
    equal([s for s in silent if s[1] == 500][:3], [], "answered by 500")
    # what is no HTTP is cut without an answer; what has the form of a request is answered
    check(len(silent) < requests / 10, f"without an answer: {len(silent)} of {requests}: {silent[:3]}")
    check(sum(n for s, n in statuses.items() if 200 <= s < 300) > requests / 20, f"some are valid: {statuses}")


def ask(world, kind, raw, tls):
    """status; 0: none"""
    try:
        if tls:
            with inside(NS):
                connection = http.client.HTTPSConnection("127.0.0.1", PORTS[kind], context=world.pki.context(ADMIN[kind]), timeout=20)
                connection.connect()
            s = connection.sock
        else:
            s = socket.socket(socket.AF_UNIX)
            s.settimeout(20)
            s.connect(world.path(f"{kind}.sock"))
        with s:
            s.sendall(raw)
            line = s.recv(64)
        return int(line.split()[1]) if line.startswith(b"HTTP/1.1 ") else 0
    except (OSError, ValueError, IndexError):
        return 0


if __name__ == "__main__":
    main()
