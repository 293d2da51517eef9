// SPDX-License-Identifier: GPL-2.0
/* How many SMuxes failures and migration call for (sections 8.2 and 8.6), and their delay. */
#include "sim.h"

#include <math.h>
#include <stdlib.h>

/* fails - traffic that falls to the SMuxes when these switches fail: of VIPs on them, and of those
 * of other VIPs' TIPs that are on them
 */
static double fails(const struct engine_model *m, const struct engine_choice *c,
		    const bool *failed)
{
	double sum = 0;
	unsigned int i, k;

	for (i = 0; i < m->n_vips; i++) {
		if (c[i].mux < 0)
			continue;
		if (failed[c[i].mux]) {
			sum += m->vips[i].mbps;
			continue;
		}
		for (k = 0; k < c[i].n_tips; k++)
			if (failed[c[i].tips[k].mux])
				sum += m->vips[i].mbps * c[i].tips[k].n_dips / m->vips[i].n_dips;
	}
	return sum;
}

static void by_switch(const struct engine_model *m, const struct engine_choice *c, double *mbps)
{
	unsigned int i, k;

	for (i = 0; i < m->n_vips; i++) {
		if (c[i].mux < 0)
			continue;
		mbps[c[i].mux] += m->vips[i].mbps;
		for (k = 0; k < c[i].n_tips; k++)
			mbps[c[i].tips[k].mux] +=
				m->vips[i].mbps * c[i].tips[k].n_dips / m->vips[i].n_dips;
	}
}

static int rising(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double three_random(const double *mbps, const struct fabric *f, uint64_t *seed)
{
	unsigned int at[3], i;

	for (i = 0; i < 3; i++) {
		do {
			at[i] = sim_uniform(seed) * f->n_switches;
		} while (at[i] == f->border || (i > 0 && at[i] == at[0]) ||
			 (i > 1 && at[i] == at[1]));
	}
	return mbps[at[0]] + mbps[at[1]] + mbps[at[2]];
}

void need_find(const struct fabric *f, const struct engine_model *m, const struct engine_choice *c,
	       uint64_t seed, struct need *n)
{
	double *mbps = calloc(f->n_switches, sizeof(*mbps)), draw[DRAWS], sum;
	bool *failed = calloc(f->n_switches, sizeof(*failed));
	unsigned int i, x;

	*n = (struct need){ 0 };
	for (i = 0; i < m->n_vips; i++)
		if (c[i].mux < 0)
			n->unassigned += m->vips[i].mbps;
	if (!mbps || !failed)
		goto out;
	for (x = 0; x < f->containers; x++) {
		for (i = 0; i < f->aggs; i++)
			failed[f->agg0 + x * f->aggs + i] = true;
		for (i = 0; i < f->tors; i++)
			failed[f->tor0 + x * f->tors + i] = true;
		sum = fails(m, c, failed);
		if (sum > n->container)
			n->container = sum;
		for (i = 0; i < f->n_switches; i++)
			failed[i] = false;
	}
	by_switch(m, c, mbps);
	for (i = 0; i < DRAWS; i++) {
		draw[i] = three_random(mbps, f, &seed);
		n->three_mean += draw[i] / DRAWS;
	}
	qsort(draw, DRAWS, sizeof(*draw), rising);
	n->three = draw[DRAWS - 1];
	n->three_p99 = draw[DRAWS * 99 / 100];
	qsort(mbps, f->n_switches, sizeof(*mbps), rising);
	for (i = 1; i <= 3 && i <= f->n_switches; i++)
		n->three_worst += mbps[f->n_switches - i];
out:
	free(mbps);
	free(failed);
}

unsigned int need_smuxes(const struct need *n, double mbps)
{
	double most = n->container > n->three ? n->container : n->three;

	return ceil((n->unassigned + (n->transit > most ? n->transit : most)) / mbps);
}

unsigned int ananta_smuxes(double total, double mbps)
{
	return ceil(total / mbps);
}

/* The one curve that is published: bars on page 5 of the authors' slides, measured on their
 * production SMux; 196 us without load is quoted from the paper from memory. Nothing is published
 * above 450 kpps: there the queue is full, and the delay is taken to stay. Between points the
 * logarithm of the delay is linear.
 */
double smux_delay_us(double kpps)
{
	static const struct { double kpps, us; } curve[] = {
		{ 0, 196 }, { 100, 200 }, { 300, 230 }, { 450, 13500 },
	};
	unsigned int i;

	for (i = 1; i < 4; i++)
		if (kpps <= curve[i].kpps)
			return curve[i - 1].us *
			       pow(curve[i].us / curve[i - 1].us, (kpps - curve[i - 1].kpps) /
					   (curve[i].kpps - curve[i - 1].kpps));
	return curve[3].us;
}

double on_switches(const struct engine_model *m, const struct engine_choice *c)
{
	double on = 0, all = 0;
	unsigned int i;

	for (i = 0; i < m->n_vips; i++) {
		all += m->vips[i].mbps;
		on += c[i].mux >= 0 ? m->vips[i].mbps : 0;
	}
	return all > 0 ? on / all : 1;
}

unsigned int vips_on(const struct engine_model *m, const struct engine_choice *c)
{
	unsigned int i, on = 0;

	for (i = 0; i < m->n_vips; i++)
		on += c[i].mux >= 0;
	return on;
}
