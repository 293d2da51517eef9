# SPDX-License-Identifier: GPL-2.0
"""What is wanted against what is on disk; the daemons' own checks of it; and the writing, which comes last."""
import difflib
import os
import shutil
import subprocess
import tempfile

from . import Refused, authority, files

SECRET = ("ca.key", "key.pem", "hash.key", "part.secret")


def is_secret(path):
    return os.path.basename(path) in SECRET


class Output:
    """{path: bytes} of all that is wanted: below folder, and of the CA"""

    def __init__(self, inv, folder, ca_folder, renew=(), revoke=None):
        self.folder = folder
        self.ca = authority.Authority(ca_folder, inv.deployment)
        self.want, self.issued, self.notes = {}, {}, []
        self.gone = []
        if revoke:
            self.revoke(revoke)
        deployment_key = self.kept("hash.key", lambda: os.urandom(16).hex())
        part_secret = self.kept("part.secret", lambda: os.urandom(32).hex()) if len(inv.of("controllers")) > 1 else None
        for node in inv.nodes.values():
            below = f"nodes/{node.name}"
            for path, text in files.of_node(inv, node).items():
                self.put(f"{below}/{path}", text)
            if node.kind == "controllers":
                self.put(f"{below}/etc/duet/hash.key", deployment_key)
                if part_secret:
                    self.put(f"{below}/etc/duet/part.secret", part_secret)
            if node.has_mux or node.kind in ("hosts", "controllers"):
                self.certificate(f"{below}/etc/duet/tls", node.name, node.addresses, inv.days, renew)
        for name in inv.operators:
            self.put(f"operators/{name}/duetctl.conf", files.duetctl(inv))
            self.certificate(f"operators/{name}", name, [], inv.days, renew)
        unknown = [name for name in renew if name not in self.issued and name != "--all"]
        if unknown:
            raise Refused(f"{inv.path}: there is no machine or operator '{unknown[0]}' with a certificate")
        crl = self.ca.crl(authority.read(self.ca.path("crl.pem")))
        for folder_ in list(self.folders):
            self.put(f"{folder_}/crl.pem", crl)
        for name, data in {**self.ca.new, "crl.pem": crl}.items():
            self.want[self.ca.path(name)] = data
        self.leftovers(inv)

    @property
    def folders(self):
        """where certificates are, in the folder"""
        return sorted({os.path.relpath(os.path.dirname(p), self.folder) for p in self.want if p.endswith("/cert.pem")})

    def put(self, path, text):
        self.want[os.path.join(self.folder, path)] = text.encode() if isinstance(text, str) else text

    def kept(self, name, make):
        """a secret of the whole deployment, beside the CA"""
        have = authority.read(self.ca.path(name))
        text = have.decode() if have else make() + "\n"
        self.want[self.ca.path(name)] = text.encode()
        return text

    def certificate(self, below, name, addresses, days, renew):
        paths = [os.path.join(self.folder, below, f) for f in ("cert.pem", "key.pem")]
        have = [None if p in self.gone else authority.read(p) for p in paths]
        why = "the old one was revoked, and it is in the inventory" if paths[0] in self.gone else self.ca.why_new(*have, name, addresses)
        if not why and (name in renew or "--all" in renew):
            why = "asked for"
        self.issued[name] = why
        if why:
            have = self.ca.issue(name, addresses, days)
        for path, data in zip(paths, have):
            self.want[path] = data
        self.put(f"{below}/ca.pem", authority.pem(self.ca.cert))

    def revoke(self, name):
        """its certificate is on the list, and gone from here"""
        for below in (f"nodes/{name}/etc/duet/tls", f"operators/{name}"):
            path = os.path.join(self.folder, below, "cert.pem")
            cert = authority.read(path)
            if cert:
                self.ca.revoke(cert)
                self.gone = [path, os.path.join(self.folder, below, "key.pem")]
                return
        raise Refused(f"{self.folder}: there is no certificate of '{name}' to revoke")

    def leftovers(self, inv):
        for kind, known in (("nodes", inv.nodes), ("operators", inv.operators)):
            path = os.path.join(self.folder, kind)
            for name in sorted(os.listdir(path)) if os.path.isdir(path) else []:
                if name in known:
                    continue
                below = os.path.join(path, name, "etc/duet/tls" if kind == "nodes" else "", "cert.pem")
                if os.path.exists(below) and below not in self.gone:
                    self.notes.append(f"{name} is no longer in the inventory, and its certificate still good: duet-setup revoke {name}")

    def differences(self):
        """[(path, old or None, new or None)] in order"""
        found = []
        for path in sorted(self.want):
            old = authority.read(path)
            if old != self.want[path]:
                found.append((path, old, self.want[path]))
        for path in self.gone:
            if path not in self.want:
                found.append((path, authority.read(path), None))
        ours = {os.path.join(self.folder, "nodes", n) for n in {os.path.relpath(p, self.folder).split("/")[1]
                for p in self.want if p.startswith(os.path.join(self.folder, "nodes") + "/")}}
        for node in sorted(ours):	# a role may have files less than before
            for where, _, names in os.walk(os.path.join(node, "etc")):
                for name in sorted(names):
                    path = os.path.join(where, name)
                    if path not in self.want and path not in self.gone:
                        found.append((path, authority.read(path), None))
        return found

    def check(self):
        """[(machine, file, what its program says)] of all configurations, before any is written; and programs that aren't here"""
        wrong, absent = [], set()
        prefix = os.path.join(self.folder, "nodes") + "/"
        with tempfile.TemporaryDirectory(prefix="duet-setup-") as scratch:
            for path, data in self.want.items():
                if path.startswith(prefix):
                    name = os.path.relpath(path, prefix)
                    node = name.split("/")[0]
                    if name.endswith(".conf") and "/etc/duet/" in name:
                        # the paths that the file will find on its machine
                        data = data.replace(b"/etc/duet/", f"{scratch}/{node}/etc/duet/".encode())
                    write(os.path.join(scratch, name), data)
            for node in sorted(os.listdir(scratch)):
                for name, program in (*files.PROGRAM.items(), ("bird.conf", "bird")):
                    path = os.path.join(scratch, node, "etc", "bird" if program == "bird" else "duet", name)
                    if not os.path.exists(path):
                        continue
                    binary = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
                    if not binary:
                        absent.add(program)
                        continue
                    said = subprocess.run([binary, "-p", "-c", path] if program == "bird" else [binary, "-c", path, "--check-config"],
                                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
                    if said.returncode:
                        text = said.stdout.replace(f"{scratch}/{node}/", "/").strip().splitlines()
                        wrong.append((node, f"/etc/{'bird' if program == 'bird' else 'duet'}/{name}", " ".join(text[-3:])))
        return wrong, sorted(absent)

    def save(self, changes):
        for folder in (self.folder, self.ca.folder):
            os.makedirs(folder, mode=0o700, exist_ok=True)
        for path, _, new in changes:
            if new is None:
                os.unlink(path)
            else:
                write(path, new)


def write(path, data):
    """whole or not at all; secrets are their owner's"""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    mode = 0o600 if is_secret(path) else 0o755 if path.endswith("install.sh") else 0o644
    if os.path.exists(path + ".new"):
        os.unlink(path + ".new")
    with os.fdopen(os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as f:
        f.write(data)
        os.fchmod(f.fileno(), mode)
    os.rename(path + ".new", path)


def diff(path, old, new):
    """lines of a unified diff; of keys and certificates only that they change"""
    if is_secret(path) or path.endswith(".pem"):
        return [f"{'-' if new is None else '+' if old is None else '~'} {path}"]
    texts = [(data or b"").decode(errors="replace").splitlines() for data in (old, new)]
    return list(difflib.unified_diff(*texts, path if old is not None else "/dev/null", path if new is not None else "/dev/null", lineterm="", n=2))
