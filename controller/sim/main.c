// SPDX-License-Identifier: GPL-2.0
/* duet-sim: the paper's evaluation, on simulated fabrics. */
#include "sim.h"
#include <duet/version.h>

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char usage[] =
	"usage: duet-sim run FIGURE [--csv FILE] [--plot FILE.png|.svg]... [OPTION]...\n"
	"       duet-sim run all --out FOLDER     every figure as CSV, PNG and SVG\n"
	"       duet-sim list                     the figures\n"
	"       duet-sim trace [--csv FILE]       the generated workload's first interval, as a trace\n"
	"       duet-sim assign [--csv FILE]      its assignment with all loads, as JSON\n"
	"       duet-sim bench [--csv FILE] [--checks N]   times and memory of the engine, as JSON\n"
	"       duet-sim equal [--csv FILE] [--jobs N]   does the plain search place all VIPs alike?\n"
	"options: --fabric FILE.json  --trace FILE  --seed N  --vips N  --tbps X  --intervals N  --churn X  --quiet  --version\n";

struct args {
	const char *csv, *out, *plots[8];
	unsigned int n_plots, checks, jobs;
};

static int number(const char *text, double low, double high, double *v, struct err *e)
{
	char *end;

	*v = strtod(text, &end);
	if (end == text || *end || !(*v >= low) || *v > high)
		return err_set(e, -EINVAL, "%s: a number from %g to %g is wanted", text, low, high);
	return 0;
}

static int parse(int argc, char **argv, struct sim *s, struct args *a, const char **fabric,
		 struct err *e)
{
	static const struct option options[] = {
		{ "csv", 1, NULL, 'c' },    { "plot", 1, NULL, 'p' },	   { "out", 1, NULL, 'o' },
		{ "fabric", 1, NULL, 'f' }, { "trace", 1, NULL, 't' },	   { "seed", 1, NULL, 's' },
		{ "vips", 1, NULL, 'v' },   { "tbps", 1, NULL, 'b' },	   { "quiet", 0, NULL, 'q' },
		{ "checks", 1, NULL, 'k' }, { "intervals", 1, NULL, 'i' }, { "help", 0, NULL, 'h' },
		{ "churn", 1, NULL, 'u' },  { "jobs", 1, NULL, 'j' },	   { "version", 0, NULL, 'V' },
		{ NULL, 0, NULL, 0 },
	};
	double v = 0;
	int c, ret = 0;

	while (!ret && (c = getopt_long(argc, argv, "qhV", options, NULL)) >= 0) {
		switch (c) {
		case 'c':
			a->csv = optarg;
			break;
		case 'p':
			if (a->n_plots == 8)
				return err_set(e, -EINVAL, "eight plots at most");
			a->plots[a->n_plots++] = optarg;
			break;
		case 'o':
			a->out = optarg;
			break;
		case 'f':
			*fabric = optarg;
			break;
		case 't':
			s->trace = optarg;
			break;
		case 's':
			ret = number(optarg, 0, 1e15, &v, e);
			s->habits.seed = v;
			break;
		case 'v':
			ret = number(optarg, 1, 4e6, &v, e);
			s->habits.vips = v;
			break;
		case 'b':
			ret = number(optarg, 0.000001, 1000, &v, e);
			s->habits.tbps = v;
			break;
		case 'i':
			ret = number(optarg, 1, 10000, &v, e);
			s->habits.intervals = v;
			break;
		case 'u':
			ret = number(optarg, 0, 1, &v, e);
			s->habits.churn = v;
			break;
		case 'k':
			ret = number(optarg, 0, 10000, &v, e);
			a->checks = v;
			break;
		case 'j':
			ret = number(optarg, 1, 256, &v, e);
			a->jobs = v;
			break;
		case 'q':
			s->quiet = true;
			break;
		case 'h':
			fputs(usage, stdout);
			exit(0);
		case 'V':
			puts("duet-sim " DUET_VERSION);
			exit(0);
		default:
			fputs(usage, stderr);
			exit(2);
		}
	}
	return ret;
}

static int one_figure(const struct sim *s, const struct figure *f, const char *csv,
		      const char *const *plots, unsigned int n_plots, struct err *e)
{
	char temporary[] = "/tmp/duet-sim-XXXXXX";
	unsigned int i;
	FILE *out;
	int fd, ret;

	if (!csv && n_plots) {
		fd = mkstemp(temporary);
		if (fd < 0)
			return err_set(e, -errno, "no temporary file: %s", strerror(errno));
		close(fd);
		csv = temporary;
	}
	out = csv ? fopen(csv, "w") : stdout;
	if (!out)
		return err_set(e, -errno, "%s: %s", csv, strerror(errno));
	progress(s, "%s", f->title);
	ret = f->rows(s, out, e);
	if ((out == stdout ? fflush(out) : fclose(out)) && !ret)
		ret = err_set(e, -EIO, "%s: %s", csv ? csv : "standard output", strerror(errno));
	for (i = 0; !ret && i < n_plots; i++)
		ret = figure_plot(f, csv, plots[i], e);
	if (csv == temporary)
		unlink(temporary);
	return ret;
}

static int all_figures(const struct sim *s, const char *folder, struct err *e)
{
	char csv[512], png[512], svg[512];
	const char *plots[2] = { png, svg };
	const struct figure *f;
	int ret = 0;

	if (!folder)
		return err_set(e, -EINVAL, "run all: --out says into which folder");
	for (f = figure_next(NULL); !ret && f; f = figure_next(f)) {
		snprintf(csv, sizeof(csv), "%s/%s.csv", folder, f->name);
		snprintf(png, sizeof(png), "%s/%s.png", folder, f->name);
		snprintf(svg, sizeof(svg), "%s/%s.svg", folder, f->name);
		ret = one_figure(s, f, csv, plots, 2, e);
	}
	return ret;
}

static int command(const struct sim *s, int argc, char **argv, const struct args *a, struct err *e)
{
	const char *what = argc > 0 ? argv[0] : "", *name = argc > 1 ? argv[1] : "";
	FILE *out = a->csv && strcmp(what, "run") ? fopen(a->csv, "w") : stdout;
	const struct figure *f;
	struct workload w;
	int ret;

	if (!out)
		return err_set(e, -errno, "%s: %s", a->csv, strerror(errno));
	if (!strcmp(what, "run") && argc == 2) {
		if (!strcmp(name, "all"))
			return all_figures(s, a->out, e);
		f = figure_find(name);
		if (!f)
			return err_set(e, -EINVAL, "there is no figure \"%s\": see duet-sim list", name);
		return one_figure(s, f, a->csv, a->plots, a->n_plots, e);
	}
	if (!strcmp(what, "list") && argc == 1) {
		for (f = figure_next(NULL); f; f = figure_next(f))
			printf("%-8s %s\n", f->name, f->title);
		return 0;
	}
	if (!strcmp(what, "trace") && argc == 1) {
		ret = sim_workload(s, 0, &w, e);
		if (!ret) {
			ret = workload_write(&w, &s->fabric, out);
			workload_free(&w);
		}
	} else if (!strcmp(what, "assign") && argc == 1) {
		ret = assign_json(s, out, e);
	} else if (!strcmp(what, "equal") && argc == 1) {
		ret = equal_json(s, a->jobs, out, e);
		fputc('\n', out);
	} else if (!strcmp(what, "bench") && argc == 1) {
		ret = bench_json(s, a->checks ? 16384 / a->checks + 1 : 0, out, e);
		fputc('\n', out);
	} else {
		fputs(usage, stderr);
		exit(2);
	}
	if (out != stdout && fclose(out) && !ret)
		ret = err_set(e, -EIO, "%s: %s", a->csv, strerror(errno));
	return ret;
}

int main(int argc, char **argv)
{
	struct sim s = { .options = { .link_share = 0.8, .delta = 0.05, .tips = true } };
	struct args a = { .jobs = 1 };
	const char *fabric = NULL;
	struct err e = { "" };
	int ret;

	habits_paper(&s.habits);
	ret = parse(argc, argv, &s, &a, &fabric, &e);
	if (!ret && fabric)
		ret = fabric_read(&s.fabric, fabric, &e);
	if (!ret && !fabric) {
		fabric_paper(&s.fabric);
		ret = fabric_build(&s.fabric, &e);
	}
	if (!ret)
		ret = command(&s, argc - optind, argv + optind, &a, &e);
	fabric_free(&s.fabric);
	if (ret)
		fprintf(stderr, "duet-sim: %s\n", e.text[0] ? e.text : strerror(-ret));
	return ret ? 1 : 0;
}
