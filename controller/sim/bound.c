// SPDX-License-Identifier: GPL-2.0
/*
 * A bound from outside: the LP relaxation of the assignment, in which a VIP may
 * be cut into parts on many switches. No assignment puts more traffic on
 * switches than that. Written in CPLEX LP format, solved by glpsol.
 */
#include "sim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../engine/priv.h"

struct lp {
	FILE *out;
	struct engine *e;
	/* rows by link and direction, as text of terms */
	char **row;
	size_t *size;
	FILE **stream;
};

static int columns(struct lp *lp)
{
	struct engine *e = lp->e;
	unsigned int v, s, i;

	for (v = 0; v < e->model->n_vips; v++) {
		for (s = 0; s < e->model->n_switches; s++) {
			if (!e->model->switches[s].candidate)
				continue;
			if (any_add(e, &e->jobs[v], s))
				return -EHOSTUNREACH;
			for (i = 0; i < e->n_touched; i++) {
				uint32_t l = e->touched[i];

				fprintf(lp->stream[l], " + %.9g x%u_%u\n", e->add[l] * e->inv[l], v, s);
			}
			any_clear(e);
		}
	}
	return 0;
}

static void tables_rows(struct lp *lp)
{
	const struct engine_model *m = lp->e->model;
	unsigned int v, s, n = 0;

	for (s = 0; s < m->n_switches; s++) {
		if (!m->switches[s].candidate || !m->switches[s].tunnels)
			continue;
		fprintf(lp->out, " t%u:\n", s);
		for (v = 0; v < m->n_vips; v++)
			fprintf(lp->out, " + %u x%u_%u\n", m->vips[v].n_dips, v, s);
		fprintf(lp->out, " <= %u\n", m->switches[s].tunnels);
	}
	fprintf(lp->out, " hosts:\n");
	for (v = 0; v < m->n_vips; v++)
		for (s = 0; s < m->n_switches; s++)
			if (m->switches[s].candidate && ++n)
				fprintf(lp->out, " + x%u_%u\n", v, s);
	fprintf(lp->out, " <= %u\n", lp->e->min_hosts ? lp->e->min_hosts : n);
	for (v = 0; v < m->n_vips; v++) {
		fprintf(lp->out, " v%u:\n", v);
		for (s = 0; s < m->n_switches; s++)
			if (m->switches[s].candidate)
				fprintf(lp->out, " + x%u_%u\n", v, s);
		fprintf(lp->out, " <= 1\n");
	}
}

static int write_lp(struct engine *e, const char *file, double total)
{
	size_t links = 2 * (size_t)e->model->n_links, l;
	struct lp lp = { .e = e, .out = fopen(file, "w") };
	unsigned int v, s;
	int ret = lp.out ? 0 : -errno;

	lp.row = calloc(links, sizeof(*lp.row));
	lp.size = calloc(links, sizeof(*lp.size));
	lp.stream = calloc(links, sizeof(*lp.stream));
	if (!lp.row || !lp.size || !lp.stream)
		ret = -ENOMEM;
	for (l = 0; !ret && l < links; l++)
		lp.stream[l] = open_memstream(&lp.row[l], &lp.size[l]);
	if (!ret)
		ret = columns(&lp);
	if (!ret) {
		fprintf(lp.out, "Maximize\n obj:\n");
		for (v = 0; v < e->model->n_vips; v++)
			for (s = 0; s < e->model->n_switches; s++)
				if (e->model->switches[s].candidate)
					fprintf(lp.out, " + %.9g x%u_%u\n",
						e->model->vips[v].mbps / total, v, s);
		fprintf(lp.out, "Subject To\n");
		for (l = 0; l < links; l++) {
			fflush(lp.stream[l]);
			if (lp.size[l])
				fprintf(lp.out, " l%zu:\n%s <= 1\n", l, lp.row[l]);
		}
		tables_rows(&lp);
		fprintf(lp.out, "End\n");
	}
	for (l = 0; l < links; l++) {
		if (lp.stream && lp.stream[l])
			fclose(lp.stream[l]);
		if (lp.row)
			free(lp.row[l]);
	}
	free(lp.row);
	free(lp.size);
	free(lp.stream);
	if (lp.out && fclose(lp.out))
		ret = -errno;
	return ret;
}

int bound_find(const struct workload *w, double link_share, double *share, struct err *e)
{
	struct engine_options o = { .link_share = link_share };
	char folder[] = "/tmp/duet-sim-XXXXXX", file[64], result[64], line[256], command[256];
	struct engine *engine = engine_new(&w->model, &o);
	FILE *in;
	int ret;

	if (!engine || !mkdtemp(folder)) {
		engine_free(engine);
		return err_set(e, -errno, "no folder for the LP");
	}
	snprintf(file, sizeof(file), "%s/lp", folder);
	snprintf(result, sizeof(result), "%s/out", folder);
	ret = write_lp(engine, file, w->total);
	engine_free(engine);
	snprintf(command, sizeof(command), "glpsol --tmlim 600 --lp %s -o %s >/dev/null 2>&1", file, result);
	if (!ret && system(command))
		ret = err_set(e, -EIO, "glpsol failed: is glpk-utils installed?");
	in = ret ? NULL : fopen(result, "r");
	if (!ret)
		ret = -EIO;
	while (in && fgets(line, sizeof(line), in)) {
		if (strstr(line, "Status:") && !strstr(line, "OPTIMAL")) {
			err_set(e, -EIO, "glpsol found no optimum");
			break;
		}
		if (sscanf(line, "Objective: obj = %lf", share) == 1) {
			ret = 0;
			break;
		}
	}
	if (in)
		fclose(in);
	unlink(file);
	unlink(result);
	rmdir(folder);
	return ret;
}

static int greedy_share(const struct workload *w, const struct engine_options *o, double *share)
{
	struct engine_choice *c;
	struct engine *engine;
	int ret = sim_assign(w, o, &engine, &c);

	if (ret)
		return ret;
	*share = on_switches(&w->model, c);
	engine_free(engine);
	free(c);
	return 0;
}

/* A fabric small enough for glpsol, loaded until the links are full */
int bound_rows(const struct sim *s, FILE *csv, struct err *e)
{
	static const double loads[] = { 1, 1.5, 2, 3, 4, 6 };
	struct habits h = s->habits;
	struct engine_options o[3];
	struct workload w;
	struct fabric f;
	double bound, share[3] = { 0 };
	unsigned int i, k;
	int ret;

	fabric_paper(&f);
	f.containers = 4;
	f.tors = 4;
	f.aggs = f.planes = 2;
	f.cores = 4;
	f.servers = 500;
	ret = fabric_build(&f, e);
	if (ret)
		return ret;
	for (k = 0; k < 3; k++) {
		o[k] = s->options;
		o[k].tips = false;
		o[k].go_on = k > 0;
		o[k].rounds = k > 1 ? 5 : 0;
	}
	/* none that is larger than a switch could ever take: the paper's VIPs 21 to 120 by size */
	h.vips = 100;
	h.skip = 20;
	h.of = 30000;
	h.wave = 0;
	fprintf(csv, "load,gbps,bound,greedy,goes_on,local_search,gap_percent,best_gap_percent\n");
	for (i = 0; !ret && i < sizeof(loads) / sizeof(*loads); i++) {
		/* as loaded as the paper's at 10 Tbps: 6.25 Gbps a rack, times so much */
		h.tbps = loads[i] * f.racks * 6.25 / 1000;
		ret = workload_new(&w, &f, &h, e);
		if (ret)
			break;
		ret = bound_find(&w, s->options.link_share, &bound, e);
		for (k = 0; !ret && k < 3; k++)
			ret = greedy_share(&w, &o[k], &share[k]);
		if (!ret)
			fprintf(csv, "%g,%.1f,%.5f,%.5f,%.5f,%.5f,%.2f,%.2f\n", loads[i], w.total / 1000,
				bound, share[0], share[1], share[2], 100 * (1 - share[0] / bound),
				100 * (1 - share[2] / bound));
		progress(s, "bound at %g times: %.4f, greedy %.4f", loads[i], bound, share[0]);
		workload_free(&w);
	}
	fabric_free(&f);
	return ret;
}
