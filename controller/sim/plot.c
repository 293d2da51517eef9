// SPDX-License-Identifier: GPL-2.0
/* The list of figures, and their drawing by gnuplot. */
#include "sim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* STRATEGIES_OF - a column of Figure 20, a line for each strategy */
#define STRATEGY(name, title, column) \
	"(strcol(2) eq '" name "'?column(1):NaN):" column " with linespoints title '" title "'"
#define STRATEGIES_OF(column) \
	"plot DATA using " STRATEGY("sticky", "Sticky", column) ", '' using " \
	STRATEGY("non-sticky", "Non-sticky", column) ", '' using " STRATEGY("one-time", "One-time", column) "\n"

static const struct figure figures[] = {
	{ "fig15", "Figure 15: traffic and DIPs by VIP", fig15_rows,
	  "set key bottom right; set xlabel 'fraction of all VIPs'; set ylabel 'CDF'; set yrange [0:1]\n"
	  "set logscale x; set format x '%g'; set xrange [1.0/30000:1]; set grid\n"
	  "plot DATA using 1:2 with lines lw 2 title 'bytes', '' using 1:3 with lines lw 2 title 'packets',"
	  " '' using 1:4 with lines lw 2 title 'DIPs', '' using 1:5 with lines dt 2 title 'bytes, slides'\n" },
	{ "fig16", "Figure 16: SMuxes, Duet and Ananta", fig16_rows,
	  "set logscale y; set logscale x 2; set xtics (1.25,2.5,5,10); set key top left; set grid y; set yrange [5:100000]\n"
	  "set xlabel 'traffic (Tbps)'; set ylabel 'SMuxes'\n"
	  "plot DATA every 2::0 using 1:3 with linespoints title 'Ananta, 3.6 Gbps',"
	  " '' every 2::1 using 1:3 with linespoints title 'Ananta, 10 Gbps',"
	  " '' every 2::0 using 1:4 with linespoints title 'Duet, 3.6 Gbps',"
	  " '' every 2::1 using 1:4 with linespoints title 'Duet, 10 Gbps',"
	  " '+' using (10):(230) with points pt 6 ps 2 title 'Duet, 3.6 Gbps, paper'\n" },
	{ "fig17", "Figure 17: latency against SMuxes at 10 Tbps", fig17_rows,
	  "set logscale x; set logscale y; set xrange [100:20000]; set grid y; set xlabel 'SMuxes';"
	  " set ylabel 'median latency (us)'\n"
	  "plot DATA using (strcol(1) eq 'ananta'?column(2):NaN):3 with linespoints title 'Ananta',"
	  " '' using (strcol(1) eq 'duet'?column(2):NaN):3 with points pt 7 ps 2 title 'Duet',"
	  " '+' using (230):(474) with points pt 6 ps 2 title 'Duet, paper', '+' using (15000):(474) with points pt 4 ps 2"
	  " title 'Ananta, paper'\n" },
	{ "fig18", "Figure 18: SMuxes, Duet and Random", fig18_rows,
	  "set logscale y; set logscale x 2; set xtics (1.25,2.5,5,10); set key top left; set grid y\n"
	  "set xlabel 'traffic (Tbps)'; set ylabel 'SMuxes'\n"
	  "plot DATA using 1:3 with linespoints title 'Random', '' using 1:2 with linespoints title 'Duet'\n" },
	{ "fig19", "Figure 19: highest link utilisation under failures", fig19_rows,
	  "set style data histograms; set style fill solid 0.6; set yrange [0:1.1]; set grid y\n"
	  "set xlabel 'traffic (Tbps)'; set ylabel 'highest link utilisation'; set key top left\n"
	  "plot DATA using 2:xtic(1) title 'normal', '' using 3 title 'three switches',"
	  " '' using 4 title 'container'\n" },
	{ "fig20", "Figure 20: three hours of change", fig20_rows,
	  "set multiplot layout 3,1; set xrange [0:17]; set grid y; set key outside right\n"
	  "set title 'Figure 20a: share of traffic on HMuxes'; set yrange [0:1.05]\n" STRATEGIES_OF("3")
	  "set title '20b: share of traffic shuffled'; set yrange [0:0.7]\n" STRATEGIES_OF("4")
	  "set title '20c: SMuxes'; set xlabel 'interval of ten minutes'; set logscale y; set yrange [30:5000]\n"
	  STRATEGIES_OF("6") "unset multiplot\n" },
	{ "growth", "Time of a full assignment", growth_rows,
	  "set logscale xy; set grid; set key top left; set rmargin 4; set xlabel 'VIPs, switches'; set ylabel 'processor seconds'\n"
	  "plot DATA using (strcol(1) eq 'vips'?column(2):NaN):4 with linespoints title 'VIPs, 1,800 switches',"
	  " '' using (strcol(1) eq 'switches'?column(3):NaN):4 with linespoints title 'switches, 30,000 VIPs'\n" },
	{ "bound", "Traffic on switches: the greedy and a bound", bound_rows,
	  "set grid y; set yrange [0:1.05]; set key bottom left; set xlabel 'load (times the paper fabric share)';"
	  " set ylabel 'share on switches'\n"
	  "plot DATA using 1:3 with linespoints title 'LP bound', '' using 1:4 with linespoints title 'greedy',"
	  " '' using 1:5 with linespoints title 'greedy, goes on', '' using 1:6 with linespoints title 'and local search'\n" },
	{ "beyond", "Beyond the paper's rule", beyond_rows,
	  "set style data histograms; set style fill solid 0.6; set grid y; set ylabel 'SMuxes (3.6 Gbps)'\n"
	  "set logscale y; set yrange [100:20000]; set xrange [-0.7:14.7]; set key top left; set xtics rotate by -45 offset -0.5,0\n"
	  "plot DATA using 7:xtic(sprintf('%s T, %s', strcol(1), strcol(2))) title 'three random', '' using 8 title 'three busiest'\n" },
};

const struct figure *figure_find(const char *name)
{
	unsigned int i;

	for (i = 0; i < sizeof(figures) / sizeof(*figures); i++)
		if (!strcmp(figures[i].name, name))
			return &figures[i];
	return NULL;
}

const struct figure *figure_next(const struct figure *f)
{
	f = f ? f + 1 : figures;
	return f < figures + sizeof(figures) / sizeof(*figures) ? f : NULL;
}

int figure_plot(const struct figure *f, const char *csv, const char *file, struct err *e)
{
	const char *dot = strrchr(file, '.');
	bool svg = dot && !strcmp(dot, ".svg");
	FILE *gnuplot;

	if (!dot || (!svg && strcmp(dot, ".png")))
		return err_set(e, -EINVAL, "%s: a plot is a .png or an .svg", file);
	if (strpbrk(csv, "'\\\n") || strpbrk(file, "'\\\n"))
		return err_set(e, -EINVAL, "%s: no quotes or backslashes in names of plots", file);
	gnuplot = popen("gnuplot", "w");
	if (!gnuplot)
		return err_set(e, -errno, "gnuplot can't be started: is gnuplot-nox installed?");
	fprintf(gnuplot, "set terminal %s size 640,%d\nset output '%s'\nDATA = '%s'\n",
		svg ? "svg" : "pngcairo", strcmp(f->name, "fig20") ? 400 : 800, file, csv);
	fprintf(gnuplot, "set datafile separator ','\nset key autotitle columnhead\nset title \"%s\"\n%s",
		f->title, f->plot);
	if (pclose(gnuplot))
		return err_set(e, -EIO, "gnuplot refused the plot of %s", f->name);
	return 0;
}
