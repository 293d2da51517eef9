# SPDX-License-Identifier: GPL-2.0
"""The command line of duet-setup(8)."""
import argparse
import json
import os
import re
import sys

from . import Refused, output
from .bird import CONF
from .inventory import Inventory

USAGE = """usage: duet-setup [OPTION ...] [generate | check | renew NODE ... | renew --all | revoke NODE]
  generate   (default) write what differs from the inventory: certificates, configurations, install.sh per machine
  check      read the inventory and let the daemons check what would be written; write nothing
  renew      new certificates and keys for these machines or operators, or for all
  revoke     put a machine's or operator's certificate on the list of those revoked, and remove it here;
             who is still in the inventory gets a new one
options:
  -i, --inventory FILE   inventory.yaml
  -o, --output DIR       deployment: nodes/NAME and operators/NAME in it
      --ca DIR           where the CA's key is: OUTPUT/ca; other media are better
      --diff             show what would be written, write nothing; 1 if anything
  -j, --json             print what was done as JSON
      --version, --help
Exit status: 0 done; 1 refused (a sentence says why; nothing was changed), or --diff has differences; 2 wrong usage.
"""


def version():
    header = os.path.join(CONF, "..", "include", "duet", "version.h")
    if os.path.exists(header):
        with open(header, encoding="ascii") as f:
            return re.search(r'DUET_VERSION\s+"(.*)"', f.read()).group(1)
    with open(os.path.join(CONF, "..", "setup", "version"), encoding="ascii") as f:
        return f.read().strip()


class Parser(argparse.ArgumentParser):
    def error(self, message):
        print(f"duet-setup: {message}\n{USAGE}", end="", file=sys.stderr)
        sys.exit(2)


def arguments(argv):
    parser = Parser(prog="duet-setup", add_help=False, allow_abbrev=False)
    parser.add_argument("-i", "--inventory", default="inventory.yaml")
    parser.add_argument("-o", "--output", default="deployment")
    parser.add_argument("--ca")
    parser.add_argument("--diff", action="store_true")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("-j", "--json", action="store_true")
    parser.add_argument("--version", action="store_true")
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("command", nargs="?", default="generate")
    parser.add_argument("nodes", nargs="*")
    args = parser.parse_intermixed_args(argv)
    if args.help:
        print(USAGE, end="")
        sys.exit(0)
    if args.version:
        print(f"duet-setup {version()}")
        sys.exit(0)
    if args.command not in ("generate", "check", "renew", "revoke"):
        parser.error(f"there is no command '{args.command}'")
    if args.command in ("generate", "check") and (args.nodes or args.all):
        parser.error(f"{args.command} is for the whole deployment: no names")
    if args.command == "renew" and bool(args.nodes) == args.all:
        parser.error("renew NODE ..., or renew --all")
    if args.command == "revoke" and (len(args.nodes) != 1 or args.all):
        parser.error("revoke one NODE")
    return args


def work(args):
    inv = Inventory(args.inventory)
    ca = args.ca or os.path.join(args.output, "ca")
    out = output.Output(inv, args.output, ca, ["--all"] if args.all else args.nodes if args.command == "renew" else [],
                        args.nodes[0] if args.command == "revoke" else None)
    wrong, absent = out.check()
    if wrong:
        raise Refused("; ".join(f"{node}: {file}: {said}" for node, file, said in wrong[:3]) + ": nothing was written")
    changes = out.differences()
    dry = args.diff or args.command == "check"
    issued = {name: why for name, why in out.issued.items() if why}
    if not dry:
        out.save(changes)
    if args.json:
        print(json.dumps({"changed": [{"path": p, "how": "removed" if new is None else "changed" if old is not None else "new"} for p, old, new in changes],
                          "certificates": issued, "notes": out.notes, "not-checked-by": absent, "written": not dry}, indent=1))
    else:
        report(args, inv, out, changes, issued, absent)
    return 1 if args.diff and changes else 0


def report(args, inv, out, changes, issued, absent):
    if args.diff:
        for change in changes:
            print("\n".join(output.diff(*change)))
    elif args.command != "check":
        for name, why in issued.items():
            print(f"certificate of {name}: {why}")
        machines = {}
        for path, _, _ in changes:
            words = os.path.relpath(path, out.folder).split(os.sep)
            where = f"{words[0]}/{words[1]}" if words[0] in ("nodes", "operators") else "CA"
            machines.setdefault(where, []).append(path)
        for where, paths in sorted(machines.items()):
            print(f"{where}: {len(paths)} file{'s' if len(paths) > 1 else ''} written")
        nodes = [w for w in machines if w.startswith("nodes/")]
        if nodes:
            print(f"{len(nodes)} of {len(inv.nodes)} machines differ. To each: copy its folder there, run its install.sh as root")
        elif not changes:
            print("nothing differs")
    else:
        print(f"{args.inventory}: ok: {len(inv.nodes)} machines, {len(inv.operators)} operators"
              + (f"; {len(changes)} files differ in {args.output}" if changes else ""))
    for note in out.notes:
        print(f"duet-setup: {note}", file=sys.stderr)
    for program in absent:
        print(f"duet-setup: {program} isn't installed here: what is for it wasn't checked", file=sys.stderr)


def main(argv):
    args = arguments(argv)
    try:
        return work(args)
    except Refused as e:
        print(f"duet-setup: {e}", file=sys.stderr)
        return 1
    except OSError as e:
        print(f"duet-setup: {e.filename}: {e.strerror}", file=sys.stderr)
        return 1
