#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""What an installation brings: `make install` and `make uninstall`, and the
configurations that come with it, against the tables of keys in the programs."""
import os
import re
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OUT = os.environ.get("O", os.path.join(TOP, "out"))

FILES = """bin/duet bin/duetctl bin/duet-setup bin/duet-sim sbin/duet-mux-agent sbin/duet-host-agent sbin/duet-controller
share/man/man8/duet.8 share/man/man8/duetctl.8 share/man/man8/duet-mux-agent.8 share/man/man8/duet-host-agent.8
share/man/man8/duet-controller.8 share/man/man1/duet-sim.1 share/bash-completion/completions/duetctl
share/man/man8/duet-setup.8 share/duet/setup/duet_setup/main.py share/duet/setup/install.sh
share/duet/bird/switch.conf share/duet/bird/smux.conf share/duet/bird/examples/tor1/node.conf""".split()

# program: (source with its table of keys, its configuration, the section of a table that doesn't say)
PROGRAMS = {"duet-mux-agent": ("agents/mux/main.c", "agents/mux/mux-agent.conf", None),
            "duet-host-agent": ("agents/host/config.c", "agents/host/host-agent.conf", None),
            "duet-controller": ("controller/main.c", "controller/controller.conf", "controller")}
# known so that an old file gets a sentence that says what replaced them
OLD = {("controller", "seed")}

number = 0
failed = 0


def check(good, what, why=""):
    global number, failed
    number += 1
    failed += not good
    if not good and why:
        print("# " + "\n# ".join(str(why).splitlines()[:20]))
    print(f"{'ok' if good else 'not ok'} {number} - {what}", flush=True)


def run(*command, **more):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **more)


def read(path):
    with open(os.path.join(TOP, path), encoding="utf-8") as f:
        return f.read()


def below(folder):
    return {os.path.relpath(os.path.join(where, f), folder) for where, _, files in os.walk(folder) for f in files}


def make(target, root, prefix="/usr/local"):
    return run("make", "-s", "-C", TOP, "O=" + OUT, target, "DESTDIR=" + root, "PREFIX=" + prefix, "UNITDIR=/lib/systemd/system")


def keys_of(source, section):
    """The keys that a program knows: (section, key)."""
    text = read(source)
    found = set()
    for named, words in re.findall(r'^\t(?:(\w+)_KEY|KEY|CONF)\((.*)', text, re.M):
        names = re.findall(r'"([^"]*)"', words.split(" CONF_")[0] if " CONF_" in words else words)
        found.add(tuple(names[:2]) if section is None else (named.lower() or section, names[0]))
    for macro, header in (("HTTP_CONF_KEYS", "lib/http.h"), ("AUTH_CONF_KEYS", "lib/auth.h")):
        for used in re.findall(macro + r'\("(\w+)"', text):
            body = re.search(r"#define " + macro + r"\(.*?(?<!\\)\n", read(header), re.S).group(0)
            found |= {(used, key) for key in re.findall(r'\.key = "([^"]*)"', body)}
    return found


def keys_in(config):
    """The keys that a configuration names, also in comments."""
    found, section = set(), None
    for line in read(config).splitlines():
        if match := re.match(r"\[(\w+)\]", line):
            section = match.group(1)
        elif match := re.match(r"(?:; )?([a-z0-9_-]+) =( |$)", line):
            found.add((section, match.group(1)))
    return found


def main():
    with tempfile.TemporaryDirectory() as root:
        made = make("install", root)
        have = below(root)
        want = {f"usr/local/{f}" for f in FILES} | {f"etc/duet/{os.path.basename(c)}" for _, c, _ in PROGRAMS.values()} | \
            {f"lib/systemd/system/{p}.service" for p in PROGRAMS} | {"etc/duet/topology.dot"}
        check(not made.returncode and want <= have, "make install: everything is there", made.stdout + "\n".join(sorted(want - have)))
        unit = read(os.path.join(root, "lib/systemd/system/duet-mux-agent.service"))
        check("/usr/local/sbin/duet-mux-agent" in unit and "/usr/sbin/" not in unit, "units start what was installed", unit)
        mine = os.path.join(root, "etc/duet/mux-agent.conf")
        with open(mine, "w", encoding="utf-8") as f:
            f.write("[agent]\nname = mine\n")
        again = make("install", root)
        check(not again.returncode and "mine" in read(mine), "installed again, a configuration stays as its owner wrote it", again.stdout)
        gone = make("uninstall", root)
        check(not gone.returncode and below(root) == {"etc/duet/mux-agent.conf"},
              "make uninstall takes all away but what was changed", gone.stdout + "\n".join(sorted(below(root))))
        with open(mine, encoding="utf-8") as f:
            check("mine" in f.read(), "and leaves that as it was")
    for program, (source, config, section) in PROGRAMS.items():
        known, named = keys_of(source, section) - OLD, keys_in(config)
        check(len(known) > 10 and known == named, f"{config} names every key of {program}, and no other",
              f"missing: {sorted(known - named)}\nunknown: {sorted(named - known)}")
        said = run(os.path.join(OUT, "bin", program), "-c", os.path.join(TOP, config), "--check-config")
        check(said.returncode and "/etc/duet/tls/" in said.stdout and "No such file" in said.stdout,
              "it is right, but for certificates that aren't there yet", said.stdout)
    version = re.search(r'DUET_VERSION\s+"(.*)"', read("include/duet/version.h")).group(1)
    for name in sorted(f[4:] for f in FILES if f.startswith("bin/")) + sorted(PROGRAMS):
        built = os.path.join(OUT, "bin", name)
        said = run(built if os.path.exists(built) else os.path.join(TOP, "setup", name), "--version")
        check(not said.returncode and said.stdout == f"{name} {version}\n", f"{name} --version", said.stdout)
    changes = read("debian/changelog").split(")")[0].split("(")[1]
    check(changes == version and f"## {version}\n" in read("CHANGELOG.md"),
          "the newest entry of debian/changelog and CHANGELOG.md is this version", f"{version}, {changes}")
    used = set()
    for name in run("git", "-C", TOP, "ls-files").stdout.split() if os.path.exists(os.path.join(TOP, ".git")) else []:
        if os.path.isfile(os.path.join(TOP, name)) and name.endswith((".c", ".h", ".py", ".sh", ".yaml", ".mk", ".bash")):
            used |= set(re.findall(r"SPDX-License-Identifier: ([^*\n]*)", read(name)[:300]))
    words = {w for u in used for w in re.findall(r"[\w.-]+", u)} - {"OR", "AND", "WITH", "--"}
    texts = {os.path.splitext(f)[0] for f in os.listdir(os.path.join(TOP, "LICENSES"))}
    check(words <= texts, "each licence that a file names has its text in LICENSES", words - texts)
    print(f"1..{number}")
    return failed


sys.exit(1 if main() else 0)
