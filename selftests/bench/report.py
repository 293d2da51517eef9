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


def cost(row, figure="net_instructions"):
    return row.get(figure, row["instructions_per_packet"])


def figure_of(*results):
    """gross figures, where all of these have them: what the net ones are less ends in a drop that no path pays"""
    rows = [row for result in results for row in ours(result).values()]
    return "gross_instructions" if rows and all("gross_instructions" in row for row in rows) else "net_instructions"


RATIOS = (	# who does the same as whom
	("ipvs_mh", "smux_hit", "keeps connections"), ("ipvs_mh", "hmux_port", "keeps none there"), ("ipip", "hmux_port", "a tunnel, no choice"),
	("flower_ipip", "hmux_port", "a tunnel, no choice"), ("flowtable_dnat", "smux_hit", "NAT, keeps connections"),
	("forward", "hmux_port", "no tunnel, no choice"), ("flowtable", "hmux_port", "no tunnel, no choice"),
	("ipvs_mh_train", "smux_hit_train", "trains, keeps connections"), ("forward_train", "hmux_port_train", "trains, no tunnel"))


def ratios(result):
    """| rival | ours | what the rival does | gross | net |"""
    paths = result["paths"]
    for rival, mine, what in RATIOS:
        if rival not in paths or mine not in paths or "gross_instructions" not in paths[rival]:
            continue
        gross, net = (paths[rival][f] / paths[mine][f] if paths[mine][f] > 0 else 0 for f in ("gross_instructions", "net_instructions"))
        yield f"| `{rival}` : `{mine}` | {what} | {gross:.2f} | {net:.2f} |"


def ours(result):
    """Net figures only: what the generator costs is not ours to judge."""
    return {name: row for name, row in result["paths"].items() if "net_instructions" in row}


def table(path):
    result = load(path)
    print(f"Kernel {result['kernel']}, {result['clock']}, {result.get('mitigations', 'mitigations not recorded')}.\n")
    print("| path | gross | net | in all | less | what |\n|---|---:|---:|---:|---|---|")
    for name in result["order"]:
        row = result["paths"][name]
        gross, net = (f"{row[f]:,.0f}" if f in row else "" for f in ("gross_instructions", "net_instructions"))
        print(f"| `{name}` | {gross} | {net} | {row['instructions_per_packet']:,.0f} | "
              f"{row.get('base', '')} | {row['config']} |")
    lines = list(ratios(result))
    if lines:
        print("\n| rival : ours | the rival | gross | net |\n|---|---|---:|---:|")
        print("\n".join(lines))
    for part in ("program", "memory", "multi_core"):
        if part in result:
            print(f"\n| {part} | |\n|---|---:|")
            for key, value in sorted(result[part].items()):
                print(f"| {key.replace('_', ' ')} | {value:,} |" if isinstance(value, (int, float))
                      else f"| {key.replace('_', ' ')} | {value} |")


def picture(path, out):
    result = load(path)
    figure = figure_of(result)
    names = [n for n in result["order"] if result["paths"][n].get("base", "").startswith("receive")]
    data = "\n".join(f"{n.replace('_', ' ')}\t{cost(result['paths'][n], figure)}" for n in reversed(names))
    script = f"""set terminal pngcairo size 1000,{120 + 26 * len(names)} font 'sans,10'
set output '{out}'
set datafile separator "\\t"
set title 'Instructions a packet, {figure.split('_')[0]} ({result['kernel']}, {result.get('mitigations', '')})'
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
    named, figure = 0, figure_of(old, new)
    print(f"{'path, ' + figure.split('_')[0]:20}{'before':>10}{'after':>10}{'change':>9}")
    for name, row in ours(new).items():
        if name not in ours(old):
            continue
        was, now = cost(old["paths"][name], figure), cost(row, figure)
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
    figure = figure_of(old, new)
    was_rival, now_rival = cost(old["paths"][RIVAL], figure), cost(new["paths"][RIVAL], figure)
    failed = 0
    print(f"1..{len(rows)}")
    for n, (name, row) in enumerate(rows.items(), 1):
        was, now = cost(row, figure), cost(new["paths"][name], figure) if name in new["paths"] else float("inf")
        expected = was * now_rival / was_rival
        bad = now > expected * (1 + allowed) and now > expected + NOISE
        failed += bad
        print(f"{'not ok' if bad else 'ok'} {n} - {name}: {now:.1f} instructions a packet ({figure.split('_')[0]}) on {new['kernel']}, "
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
