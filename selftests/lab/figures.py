# SPDX-License-Identifier: GPL-2.0
"""Figures 11 to 14 in the paper's layout, PNG and SVG by gnuplot, from the CSV
files that the experiments left in out/results/experiments."""
import csv
import os
import subprocess

from experiment import FIGURES
from testbed import Failed, program

SIZES = {"png": "pngcairo size 900,{h} font 'sans,11'", "svg": "svg size 900,{h} font 'sans,13' background 'white'"}


def gnuplot(name, height, script):
    """the script once for every format; files NAME.png, NAME.svg"""
    for kind, terminal in SIZES.items():
        text = (f"set terminal {terminal.format(h=height)}\nset output '{FIGURES}/{name}.{kind}'\n"
                "set datafile separator ','\nset key noenhanced\nset grid lc rgb '#dddddd'\n" + script)
        told = subprocess.run([program("gnuplot")], input=text, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if told.returncode or "error" in told.stdout.lower():
            raise Failed(f"gnuplot, {name}: {told.stdout.strip()[:400]}")


def rows(name):
    with open(os.path.join(FIGURES, name + ".csv"), encoding="ascii", newline="") as f:
        return list(csv.DictReader(f))


def have(name):
    return os.path.exists(os.path.join(FIGURES, name + ".csv"))


def block(points):
    """inline data of gnuplot"""
    return "".join(f"{x},{y}\n" for x, y in points) + "e\n"


def panels(name, title, column, marks=(), unit="msec"):
    """one panel a VIP: answered pings as dots at their round trip, lost ones as red crosses on the axis"""
    found, text = rows(name), ""
    names = sorted({r[column] for r in found})
    top = 1.2 * max([float(r["rtt_ms"]) for r in found if r["rtt_ms"]] + [0.1])
    end = max(float(r["ms"]) for r in found)
    text += f"set multiplot layout {len(names)},1 title \"{title}\"\nset xrange [0:{end}]\nset yrange [0:{top}]\nset ylabel 'Latency (msec)'\n"
    for mark, at in marks:
        text += f"set arrow from {at}, graph 0 to {at}, graph 1 nohead dt 2 lc rgb 'black'\nset label '{mark}' at {at}, graph 0.92 offset 0.4,0\n"
    for i, panel in enumerate(names):
        if i == len(names) - 1:
            text += f"set xlabel 'Time ({unit})'\n"
        own = [r for r in found if r[column] == panel]
        lost = [(r["ms"], 0.02 * top) for r in own if not r["rtt_ms"]]
        text += f"plot '-' using 1:2 with points pt 7 ps 0.4 lc rgb '#1f77b4' title '{panel}'"
        text += ", '-' using 1:2 with points pt 2 ps 0.7 lc rgb '#d62728' title 'lost'\n" if lost else "\n"
        text += block([(r["ms"], r["rtt_ms"]) for r in own if r["rtt_ms"]] or [(0, -1)])
        text += block(lost) if lost else ""
    return text + "unset multiplot\n"


def figure11(clock):
    colours = {"smux_low": ("#1f77b4", "3 SMuxes, low load"), "smux_high": ("#d62728", "3 SMuxes, high load"), "hmux_high": ("#2ca02c", "1 HMux, high load")}
    found = rows("figure11")
    plots = [f"'-' using 1:2 with points pt 7 ps 0.4 lc rgb '{colour}' title '{title}'" for colour, title in colours.values()]
    text = (f"set title \"Figure 11: ping of an idle VIP while ten others are loaded\\n{clock}; SMux capacity emulated\"\n"
            "set xlabel 'Time (sec)'\nset ylabel 'Latency (msec)'\nset yrange [0:*]\nplot " + ", ".join(plots) + "\n")
    for phase in colours:
        text += block([(r["s"], r["rtt_ms"]) for r in found if r["phase"] == phase and r["rtt_ms"]])
    gnuplot("figure11", 420, text)


def figure12(cause, title, clock):
    gnuplot(f"figure12-{cause}", 620, panels(f"figure12-{cause}", f"Figure 12: {title}\\n{clock}", "vip", (("Tfail", 100),)))


def figure13(clock):
    marks = [(r["mark"], r["ms"]) for r in rows("figure13-marks")]
    gnuplot("figure13", 620, panels("figure13", f"Figure 13: VIPs migrate in one wave\\n{clock}", "vip", marks))


def figure14():
    """two panels, add and delete; a bar for each clock and number of other VIPs, its parts on top of each other"""
    found = rows("figure14")
    cases = list(dict.fromkeys((r["clock"], r["others"]) for r in found))
    text = ("set multiplot layout 1,2 title 'Figure 14: where the time of a change goes'\nset style data histograms\n"
            "set style histogram rowstacked\nset style fill solid 0.8\nset boxwidth 0.6\nset yrange [0:*]\nset xtics rotate by -25\nset ylabel 'Latency (msec)'\nset key below\n")
    for title, parts in (("Add", ("dip_add", "vip_add", "announce")), ("Delete", ("dip_delete", "vip_delete", "withdraw"))):
        text += f"set title '{title}'\nplot " + ", ".join(f"'-' using 2:xtic(1) title '{p}'" for p in parts) + "\n"
        for part in parts:
            for clock, others in cases:
                ms = next((r["ms"] for r in found if (r["clock"], r["others"], r["step"]) == (clock, others, part)), "0")
                text += f"\"{clock}, {others} VIPs\",{ms}\n"
            text += "e\n"
    gnuplot("figure14", 460, text + "unset multiplot\n")
