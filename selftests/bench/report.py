#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""What datapath.py measured, told and judged.

usage: report.py table RESULT.json            a table, in Markdown
       report.py picture RESULT.json OUT.png  a picture of it, by gnuplot
       report.py compare BEFORE.json AFTER.json
       report.py check BASELINE.json RESULT.json   TAP; fails what got dearer
"""
import json
import subprocess
import sys

NAMED = 0.02		# compare names changes above this
DEARER = 0.05		# check fails what got dearer than this
DEARER_ELSEWHERE = 0.10	# on another kernel than the baseline's, whose stack weighs otherwise in each path
RIVAL = "forward"	# what check measures by
NOISE = 12		# instructions that two boots of one build may differ by


def load(path):
    with open(path, encoding="ascii") as f:
        return json.load(f)


def cost(row):
    return row.get("net_instructions", row["instructions_per_packet"])


def ours(result):
    """Net figures only: what the generator costs is not ours to judge."""
    return {name: row for name, row in result["paths"].items() if "net_instructions" in row}


def table(path):
    result = load(path)
    print(f"Kernel {result['kernel']}, {result['clock']}.\n")
    print("| path | net | in all | less | what |\n|---|---:|---:|---|---|")
    for name in result["order"]:
        row = result["paths"][name]
        net = f"{row['net_instructions']:,.0f}" if "net_instructions" in row else ""
        print(f"| `{name}` | {net} | {row['instructions_per_packet']:,.0f} | "
              f"{row.get('base', '')} | {row['config']} |")
    for part in ("program", "memory", "multi_core"):
        if part in result:
            print(f"\n| {part} | |\n|---|---:|")
            for key, value in sorted(result[part].items()):
                print(f"| {key.replace('_', ' ')} | {value:,} |" if isinstance(value, (int, float))
                      else f"| {key.replace('_', ' ')} | {value} |")


def picture(path, out):
    result = load(path)
    names = [n for n in result["order"] if result["paths"][n].get("base", "").startswith("receive")]
    data = "\n".join(f"{n.replace('_', ' ')}\t{result['paths'][n]['net_instructions']}" for n in reversed(names))
    script = f"""set terminal pngcairo size 1000,{120 + 26 * len(names)} font 'sans,10'
set output '{out}'
set datafile separator "\\t"
set title 'Instructions a packet, net of generator and receive ({result['kernel']})'
set yrange [-0.7:{len(names) - 0.3}]
set xrange [0:*]
set grid x
unset key
set style fill solid 0.7
$data << EOD
{data}
EOD
plot $data using ($2/2):0:($2/2):(0.38):ytic(1) with boxxyerror lc rgb '#3465a4', \\
     $data using 2:0:(sprintf(' %.0f', $2)) with labels left
"""
    subprocess.run(["gnuplot"], input=script, text=True, check=True)


def compare(before, after):
    old, new = load(before), load(after)
    named = 0
    print(f"{'path':20}{'before':>10}{'after':>10}{'change':>9}")
    for name, row in ours(new).items():
        if name not in ours(old):
            continue
        was, now = cost(old["paths"][name]), cost(row)
        change = (now - was) / was
        mark = ""
        if abs(change) > NAMED and abs(now - was) > NOISE:
            named += 1
            mark = "  <- dearer" if change > 0 else "  <- cheaper"
        print(f"{name:20}{was:10.1f}{now:10.1f}{100 * change:8.1f}%{mark}")
    print(f"{named} of these changed by more than {100 * NAMED:.0f} %")


def check(baseline, path):
    """Each path against the rival of its own run, so that a kernel's own costs cancel out and no kernel is passed over."""
    old, new = load(baseline), load(path)
    rows = {name: row for name, row in ours(old).items() if name != RIVAL}
    allowed = DEARER if old["kernel"] == new["kernel"] else DEARER_ELSEWHERE
    was_rival, now_rival = cost(old["paths"][RIVAL]), cost(new["paths"][RIVAL])
    failed = 0
    print(f"1..{len(rows)}")
    for n, (name, row) in enumerate(rows.items(), 1):
        was, now = cost(row), cost(new["paths"][name]) if name in new["paths"] else float("inf")
        expected = was * now_rival / was_rival
        bad = now > expected * (1 + allowed) and now > expected + NOISE
        failed += bad
        print(f"{'not ok' if bad else 'ok'} {n} - {name}: {now:.1f} instructions a packet on {new['kernel']}, "
              f"{100 * now / now_rival:.1f} % of {RIVAL}; baseline {100 * was / was_rival:.1f} % on {old['kernel']}")
    return 1 if failed else 0


def main():
    commands = {"table": (table, 1), "picture": (picture, 2), "compare": (compare, 2), "check": (check, 2)}
    function, n = commands.get(sys.argv[1] if len(sys.argv) > 1 else "", (None, 0))
    if not function or len(sys.argv) != n + 2:
        sys.exit(__doc__)
    return function(*sys.argv[2:]) or 0


if __name__ == "__main__":
    sys.exit(main())
