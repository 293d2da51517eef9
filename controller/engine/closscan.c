// SPDX-License-Identifier: GPL-2.0
/*
 * The search in a Clos fabric. All that a mux at some switch puts on a link
 * depends on where the link lies to it: in the mux's own rack, container,
 * plane, or elsewhere. So for one VIP the fabric's links fall into a few
 * classes with one addition each; with the highest load of every class at
 * hand, the highest utilisation for one switch is a handful of comparisons.
 * What is added, of `in` units entering (f at rack r, F at container x, g at
 * the border) and `out` leaving (d, D):
 *
 *   mux at       rack r up, down        container y up, down           border
 *   ToR s of x   f/A, d/A               F/L, D/L                       g/cores
 *                s: (out-d)/A, (in-f)/A x: (out-D)/L, (in-F)/L
 *   Agg i of x   f/a, d/a in its plane  F/ak, D/ak in its plane        g/k in its
 *                of x: f, d on i only   i: (out-D)/k, (in-F)/k         plane
 *   core         f/a, d/a in its plane  F/a, D/a on the core's links   g on its own
 */
#include "priv.h"

#include <stdlib.h>
#include <string.h>

#define NOBODY UINT32_MAX

/* struct top - the highest of some values, one each, and the highest without its owner's */
struct top {
	int64_t best, rest;
	uint32_t who;
};

/* struct most - highest and sum of the loads of some links */
struct most {
	int64_t max, sum;
};

struct scan {
	/* of the loads as they are; refreshed where they change */
	struct most *up1, *down1;	/* by ToR */
	struct most *up2, *down2;	/* by Agg */
	struct most *out, *in;		/* by container */
	struct most border, *plane_border;
	double inv1, inv2, inv3;
	unsigned int class1, class2, class3;
	uint32_t *owner;		/* by link and direction: 2 * (ToR or Agg) + 1 if up */
	uint8_t *tier;			/* by link and direction: 1, 2 or 3 */
	uint32_t *barred, n_barred;	/* switches that take no VIPs */

	/* of one job */
	int64_t *f, *d, *F, *D, g;
	uint32_t *racks, *containers;
	unsigned int n_racks, n_containers;
	struct top rack, container;
	int64_t rack_sum, container_sum;
	double *beyond;			/* by container: the most used of links above its ToRs */
	struct most *own;		/* container: its part of container_sum */
	struct most *agg_racks;		/* x * A + i: the racks of x on Agg i alone */
	struct most *plane_racks;	/* x * planes + p: the racks of x on the plane */
	struct most *plane_cores;	/* x * planes + p: its links to the cores of the plane */
	struct top *racks_top, *cores_top;	/* by plane, over containers */
	int64_t *racks_sum, *cores_sum;
	struct most *core;		/* by core: links to its Aggs */
};

static void top_add(struct top *t, int64_t value, uint32_t who)
{
	if (t->who == NOBODY || value > t->best) {
		t->rest = t->who == NOBODY ? 0 : t->best;
		t->best = value;
		t->who = who;
	} else if (value > t->rest) {
		t->rest = value;
	}
}

static int64_t top_without(const struct top *t, uint32_t who)
{
	return t->who == who ? t->rest : t->best;
}

static int64_t larger(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static void most_add(struct most *m, int64_t max, int64_t sum)
{
	m->max = larger(m->max, max);
	m->sum += sum;
}

static struct most most_of(const int64_t *load, const uint32_t *links, unsigned int n)
{
	struct most m = { 0 };
	unsigned int i;

	for (i = 0; i < n; i++)
		most_add(&m, load[links[i]], load[links[i]]);
	return m;
}

void scan_free(struct scan *s)
{
	if (!s)
		return;
	free(s->up1);
	free(s->down1);
	free(s->up2);
	free(s->down2);
	free(s->out);
	free(s->in);
	free(s->plane_border);
	free(s->owner);
	free(s->tier);
	free(s->barred);
	free(s->beyond);
	free(s->f);
	free(s->d);
	free(s->F);
	free(s->D);
	free(s->racks);
	free(s->containers);
	free(s->own);
	free(s->agg_racks);
	free(s->plane_racks);
	free(s->plane_cores);
	free(s->racks_top);
	free(s->cores_top);
	free(s->racks_sum);
	free(s->cores_sum);
	free(s->core);
	free(s);
}

/* whose - which ToR or Agg each link and direction belongs to */
static void whose(struct scan *s, const struct clos *c)
{
	size_t i;

	for (i = 0; i < (size_t)c->tors * c->A; i++) {
		s->tier[c->up1[i]] = s->tier[c->down1[i]] = 1;
		s->owner[c->up1[i]] = 2 * (i / c->A) + 1;
		s->owner[c->down1[i]] = 2 * (i / c->A);
	}
	for (i = 0; i < (size_t)c->aggs * c->k; i++) {
		s->tier[c->up2[i]] = s->tier[c->down2[i]] = 2;
		s->owner[c->up2[i]] = 2 * (i / c->k) + 1;
		s->owner[c->down2[i]] = 2 * (i / c->k);
	}
	for (i = 0; c->border >= 0 && i < c->cores; i++)
		s->tier[c->in[i]] = 3;
}

static void bar(struct scan *s, const struct engine *e)
{
	unsigned int i;

	for (i = 0; i < e->model->n_switches; i++)
		if (!e->model->switches[i].candidate || e->clos->tier[i] == ENGINE_OTHER)
			s->barred[s->n_barred++] = i;
}

struct scan *scan_new(const struct engine *e)
{
	const struct clos *c = e->clos;
	size_t links = 2 * (size_t)e->model->n_links, planes = (size_t)c->containers * c->planes;
	struct scan *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->up1 = calloc(c->tors, sizeof(*s->up1));
	s->down1 = calloc(c->tors, sizeof(*s->down1));
	s->up2 = calloc(c->aggs, sizeof(*s->up2));
	s->down2 = calloc(c->aggs, sizeof(*s->down2));
	s->out = calloc(c->containers, sizeof(*s->out));
	s->in = calloc(c->containers, sizeof(*s->in));
	s->plane_border = calloc(c->planes, sizeof(*s->plane_border));
	s->owner = calloc(links, sizeof(*s->owner));
	s->tier = calloc(links, 1);
	s->barred = calloc(e->model->n_switches + 1, sizeof(*s->barred));
	s->beyond = calloc(c->containers, sizeof(*s->beyond));
	s->f = calloc(c->tors, sizeof(*s->f));
	s->d = calloc(c->tors, sizeof(*s->d));
	s->F = calloc(c->containers, sizeof(*s->F));
	s->D = calloc(c->containers, sizeof(*s->D));
	s->racks = calloc(c->tors, sizeof(*s->racks));
	s->containers = calloc(c->containers, sizeof(*s->containers));
	s->own = calloc(c->containers, sizeof(*s->own));
	s->agg_racks = calloc(c->aggs, sizeof(*s->agg_racks));
	s->plane_racks = calloc(planes, sizeof(*s->plane_racks));
	s->plane_cores = calloc(planes, sizeof(*s->plane_cores));
	s->racks_top = calloc(c->planes, sizeof(*s->racks_top));
	s->cores_top = calloc(c->planes, sizeof(*s->cores_top));
	s->racks_sum = calloc(c->planes, sizeof(*s->racks_sum));
	s->cores_sum = calloc(c->planes, sizeof(*s->cores_sum));
	s->core = calloc(c->cores, sizeof(*s->core));
	if (!s->up1 || !s->down1 || !s->up2 || !s->down2 || !s->out || !s->in ||
	    !s->plane_border || !s->owner || !s->tier || !s->barred || !s->beyond || !s->f || !s->d || !s->F || !s->D ||
	    !s->racks || !s->containers || !s->own || !s->agg_racks || !s->plane_racks ||
	    !s->plane_cores || !s->racks_top || !s->cores_top || !s->racks_sum || !s->cores_sum ||
	    !s->core) {
		scan_free(s);
		return NULL;
	}
	s->inv1 = e->inv[c->up1[0]];
	s->inv2 = e->inv[c->up2[0]];
	s->class1 = e->class[c->up1[0]];
	s->class2 = e->class[c->up2[0]];
	if (c->border >= 0) {
		s->inv3 = e->inv[c->in[0]];
		s->class3 = e->class[c->in[0]];
	}
	whose(s, c);
	bar(s, e);
	return s;
}

static void refresh_tor(struct engine *e, uint32_t t)
{
	const struct clos *c = e->clos;

	e->scan->up1[t] = most_of(e->load, c->up1 + t * c->A, c->A);
	e->scan->down1[t] = most_of(e->load, c->down1 + t * c->A, c->A);
}

static void refresh_agg(struct engine *e, uint32_t agg)
{
	const struct clos *c = e->clos;

	e->scan->up2[agg] = most_of(e->load, c->up2 + (size_t)agg * c->k, c->k);
	e->scan->down2[agg] = most_of(e->load, c->down2 + (size_t)agg * c->k, c->k);
}

static void refresh_container(struct engine *e, uint32_t x)
{
	const struct clos *c = e->clos;
	struct scan *s = e->scan;
	unsigned int i;

	s->out[x] = s->in[x] = (struct most){ 0 };
	for (i = x * c->A; i < (x + 1) * c->A; i++) {
		most_add(&s->out[x], s->up2[i].max, s->up2[i].sum);
		most_add(&s->in[x], s->down2[i].max, s->down2[i].sum);
	}
}

static void refresh_border(struct engine *e)
{
	const struct clos *c = e->clos;
	struct scan *s = e->scan;
	unsigned int p;

	if (c->border < 0)
		return;
	s->border = (struct most){ 0 };
	for (p = 0; p < c->planes; p++) {
		s->plane_border[p] = most_of(e->load, c->in + p * c->k, c->k);
		most_add(&s->border, s->plane_border[p].max, s->plane_border[p].sum);
	}
}

void scan_refresh(struct engine *e)
{
	unsigned int i;

	for (i = 0; i < e->clos->tors; i++)
		refresh_tor(e, i);
	for (i = 0; i < e->clos->aggs; i++)
		refresh_agg(e, i);
	for (i = 0; i < e->clos->containers; i++)
		refresh_container(e, i);
	refresh_border(e);
}

void scan_refresh_links(struct engine *e, const uint32_t *links, unsigned int n)
{
	struct scan *s = e->scan;
	bool border = false;
	unsigned int i;

	for (i = 0; i < n; i++) {
		uint32_t who = s->owner[links[i]] / 2;

		switch (s->tier[links[i]]) {
		case 1:
			refresh_tor(e, who);
			break;
		case 2:
			refresh_agg(e, who);
			refresh_container(e, who / e->clos->A);
			break;
		default:
			border = true;
			break;
		}
	}
	if (border)
		refresh_border(e);
}

/* parts - the job's traffic by rack and container */
static void parts(struct engine *e, const struct job *j)
{
	const struct clos *c = e->clos;
	struct scan *s = e->scan;
	unsigned int i;

	for (i = 0; i < s->n_racks; i++)
		s->f[s->racks[i]] = s->d[s->racks[i]] = 0;
	for (i = 0; i < s->n_containers; i++)
		s->F[s->containers[i]] = s->D[s->containers[i]] = 0;
	s->n_racks = s->n_containers = 0;
	s->g = 0;
	for (i = 0; i < j->n_from + j->n_to; i++) {
		const struct part *p = i < j->n_from ? &j->from[i] : &j->to[i - j->n_from];
		uint32_t t, x;

		if ((int)p->node == c->border) {
			s->g += p->units;
			continue;
		}
		t = c->number[p->node];
		x = c->tor_container[t];
		if (!s->f[t] && !s->d[t])
			s->racks[s->n_racks++] = t;
		if (!s->F[x] && !s->D[x])
			s->containers[s->n_containers++] = x;
		*(i < j->n_from ? &s->f[t] : &s->d[t]) += p->units;
		*(i < j->n_from ? &s->F[x] : &s->D[x]) += p->units;
	}
}

/* one_way - a rack's links of one direction, on single Aggs and on planes */
static void one_way(struct engine *e, const uint32_t *links, int64_t units, uint32_t x)
{
	const struct clos *c = e->clos;
	struct scan *s = e->scan;
	unsigned int p, q, i = 0;

	for (p = 0; p < c->planes; p++) {
		struct most plane = { 0 };

		for (q = 0; q < c->a; q++, i++) {
			int64_t load = e->load[links[i]];

			most_add(&s->agg_racks[x * c->A + i], load + units, load + units);
			most_add(&plane, load, load);
		}
		most_add(&s->plane_racks[x * c->planes + p], plane.max + units / c->a,
			 plane.sum + units);
	}
}

static void rack(struct engine *e, uint32_t t)
{
	const struct clos *c = e->clos;
	struct scan *s = e->scan;
	struct most m = { 0 };

	if (s->f[t]) {
		most_add(&m, s->up1[t].max + s->f[t] / c->A, s->up1[t].sum + s->f[t]);
		one_way(e, c->up1 + t * c->A, s->f[t], c->tor_container[t]);
	}
	if (s->d[t]) {
		most_add(&m, s->down1[t].max + s->d[t] / c->A, s->down1[t].sum + s->d[t]);
		one_way(e, c->down1 + t * c->A, s->d[t], c->tor_container[t]);
	}
	top_add(&s->rack, m.max, t);
	s->rack_sum += m.sum;
}

/* cores - a container's links of one direction, on single cores and on planes */
static void cores(struct engine *e, const uint32_t *links, const struct most *aggs, int64_t units,
		  uint32_t x)
{
	const struct clos *c = e->clos;
	struct scan *s = e->scan;
	unsigned int p, q, m;

	for (p = 0; p < c->planes; p++) {
		struct most plane = { 0 };

		for (q = 0; q < c->a; q++) {
			size_t agg = (size_t)x * c->A + p * c->a + q;

			most_add(&plane, aggs[agg].max, aggs[agg].sum);
			for (m = 0; m < c->k; m++) {
				int64_t load = e->load[links[agg * c->k + m]];

				most_add(&s->core[p * c->k + m], load + units / c->a,
					 load + units / c->a);
			}
		}
		most_add(&s->plane_cores[x * c->planes + p], plane.max + units / (c->a * c->k),
			 plane.sum + units);
	}
}

static void container(struct engine *e, uint32_t x)
{
	const struct clos *c = e->clos;
	struct scan *s = e->scan;
	unsigned int p;

	s->own[x] = (struct most){ 0 };
	if (s->F[x]) {
		most_add(&s->own[x], s->out[x].max + s->F[x] / c->L, s->out[x].sum + s->F[x]);
		cores(e, c->up2, s->up2, s->F[x], x);
	}
	if (s->D[x]) {
		most_add(&s->own[x], s->in[x].max + s->D[x] / c->L, s->in[x].sum + s->D[x]);
		cores(e, c->down2, s->down2, s->D[x], x);
	}
	top_add(&s->container, s->own[x].max, x);
	s->container_sum += s->own[x].sum;
	for (p = 0; p < c->planes; p++) {
		size_t at = (size_t)x * c->planes + p;

		top_add(&s->racks_top[p], s->plane_racks[at].max, x);
		top_add(&s->cores_top[p], s->plane_cores[at].max, x);
		s->racks_sum[p] += s->plane_racks[at].sum;
		s->cores_sum[p] += s->plane_cores[at].sum;
	}
}

void scan_job(struct engine *e, const struct job *j)
{
	const struct clos *c = e->clos;
	struct scan *s = e->scan;
	unsigned int i, p;

	parts(e, j);
	s->rack = s->container = (struct top){ .who = NOBODY };
	s->rack_sum = s->container_sum = 0;
	memset(s->core, 0, c->cores * sizeof(*s->core));
	for (i = 0; i < s->n_containers; i++) {
		size_t x = s->containers[i];

		memset(s->agg_racks + x * c->A, 0, c->A * sizeof(*s->agg_racks));
		memset(s->plane_racks + x * c->planes, 0, c->planes * sizeof(*s->plane_racks));
		memset(s->plane_cores + x * c->planes, 0, c->planes * sizeof(*s->plane_cores));
	}
	for (p = 0; p < c->planes; p++) {
		s->racks_top[p] = s->cores_top[p] = (struct top){ .who = NOBODY };
		s->racks_sum[p] = s->cores_sum[p] = 0;
	}
	for (i = 0; i < s->n_racks; i++)
		rack(e, s->racks[i]);
	for (i = 0; i < s->n_containers; i++)
		container(e, s->containers[i]);
}

static double higher(double a, double b)
{
	return a > b ? a : b;
}

static double highest(const struct scan *s, int64_t tier1, int64_t tier2, int64_t tier3, double use)
{
	use = higher(use, tier1 * s->inv1);
	use = higher(use, tier2 * s->inv2);
	return higher(use, tier3 * s->inv3);
}

static int64_t with(int64_t load, int64_t units, unsigned int ways)
{
	return units ? load + units / ways : 0;
}

/* at_tor - one that may have clients or DIPs of the job; beyond: of the links farther up */
static double at_tor(struct engine *e, const struct job *j, uint32_t t, double beyond)
{
	const struct clos *c = e->clos;
	struct scan *s = e->scan;
	int64_t tier1 = top_without(&s->rack, t);
	double sum;

	tier1 = larger(tier1, with(s->up1[t].max, j->out - s->d[t], c->A));
	tier1 = larger(tier1, with(s->down1[t].max, j->in - s->f[t], c->A));
	return higher(higher(beyond, tier1 * s->inv1), state_tables(e, j, c->tor_node[t], &sum));
}

/* all_tors - as if none had clients or DIPs of the job: then what each adds to its own links is the
 * same, and tables are looked at where they could count; then those that have some, once more
 */
static void all_tors(struct engine *e, const struct job *j, int64_t tier3)
{
	const struct clos *c = e->clos;
	double *local = e->search.local, beyond = 0, sum, use;
	double tables = state_tables_most(e, j), hosts = (e->placed + 1) * e->inv_hosts;
	struct scan *s = e->scan;
	/* out of the way of what is written to: this loop is where most of the time goes */
	const struct most *up = s->up1, *down = s->down1;
	const uint32_t *node = c->tor_node, *container = c->tor_container;
	const double *table = e->table, inv = s->inv1;
	int64_t out = j->out / c->A, in = j->in / c->A, best = s->rack.best, tier1, tier2;
	uint32_t x = NOBODY, i, n, tors = c->tors;

	for (i = 0; i < tors; i++) {
		if (container[i] != x) {
			x = container[i];
			tier2 = top_without(&s->container, x);
			tier2 = larger(tier2, with(s->out[x].max, j->out - s->D[x], c->L));
			tier2 = larger(tier2, with(s->in[x].max, j->in - s->F[x], c->L));
			beyond = s->beyond[x] = highest(s, 0, tier2, tier3, hosts);
		}
		n = node[i];
		tier1 = larger(best, out ? up[i].max + out : 0);
		tier1 = larger(tier1, in ? down[i].max + in : 0);
		use = higher(beyond, tier1 * inv);
		if ((table[n] + tables) * (1 + ENGINE_EPSILON) >= use)
			use = higher(use, state_tables(e, j, n, &sum));
		local[n] = use;
	}
	for (i = 0; i < s->n_racks; i++) {
		uint32_t t = s->racks[i];

		local[c->tor_node[t]] = at_tor(e, j, t, s->beyond[c->tor_container[t]]);
	}
}

static double at_agg(struct engine *e, const struct job *j, uint32_t agg, double use)
{
	const struct clos *c = e->clos;
	struct scan *s = e->scan;
	uint32_t x = agg / c->A, p = agg % c->A / c->a;
	int64_t tier1 = top_without(&s->racks_top[p], x);
	int64_t tier2 = top_without(&s->cores_top[p], x);

	if (s->F[x] || s->D[x])
		tier1 = larger(tier1, s->agg_racks[agg].max);
	tier2 = larger(tier2, with(s->up2[agg].max, j->out - s->D[x], c->k));
	tier2 = larger(tier2, with(s->down2[agg].max, j->in - s->F[x], c->k));
	return highest(s, tier1, tier2, with(s->plane_border[p].max, s->g, c->k), use);
}

static double at_core(struct engine *e, uint32_t core, double use)
{
	struct scan *s = e->scan;
	int64_t in = s->g ? e->load[e->clos->in[core]] + s->g : 0;

	return highest(s, s->racks_top[core / e->clos->k].best, s->core[core].max, in, use);
}

void scan_search(struct engine *e, const struct job *j)
{
	const struct clos *c = e->clos;
	double *local = e->search.local, sum;
	struct scan *s = e->scan;
	uint32_t i;

	all_tors(e, j, with(s->border.max, s->g, c->cores));
	for (i = 0; i < c->aggs; i++) {
		uint32_t n = c->agg_node[i];

		local[n] = at_agg(e, j, i, state_tables(e, j, n, &sum));
	}
	for (i = 0; i < c->cores; i++) {
		uint32_t n = c->core_node[i];

		local[n] = at_core(e, i, state_tables(e, j, n, &sum));
	}
	for (i = 0; i < s->n_barred; i++)
		local[s->barred[i]] = UNREACHABLE;
}

void scan_added(const struct engine *e, const struct job *j, const uint32_t *list, unsigned int n)
{
	const struct clos *c = e->clos;
	const struct scan *s = e->scan;
	int64_t racks = j->in - s->g, core = 2 * (racks + j->out) + s->g;
	int64_t agg = 2 * racks + 3 * j->out + j->in + s->g, tor = agg + j->out + j->in;
	unsigned int i;

	for (i = 0; i < n; i++) {
		uint32_t at = list[i], number = c->number[at], x = c->container[at];

		if (c->tier[at] == ENGINE_TOR)
			e->search.added[at] =
				tor - 2 * (s->f[number] + s->d[number] + s->F[x] + s->D[x]);
		else if (c->tier[at] == ENGINE_AGG)
			e->search.added[at] = agg - 2 * (s->F[x] + s->D[x]);
		else
			e->search.added[at] = core;
	}
}

static int64_t all(int64_t sum, int64_t units)
{
	return units ? sum + units : 0;
}

static void sum_tor(struct engine *e, const struct job *j, uint32_t t, int64_t *tier)
{
	struct scan *s = e->scan;
	uint32_t x = e->clos->tor_container[t];

	tier[0] = s->rack_sum - all(s->up1[t].sum, s->f[t]) - all(s->down1[t].sum, s->d[t]) +
		  all(s->up1[t].sum, j->out - s->d[t]) + all(s->down1[t].sum, j->in - s->f[t]);
	tier[1] = s->container_sum - all(s->out[x].sum, s->F[x]) - all(s->in[x].sum, s->D[x]) +
		  all(s->out[x].sum, j->out - s->D[x]) + all(s->in[x].sum, j->in - s->F[x]);
	tier[2] = all(s->border.sum, s->g);
}

static void sum_agg(struct engine *e, const struct job *j, uint32_t agg, int64_t *tier)
{
	const struct clos *c = e->clos;
	struct scan *s = e->scan;
	uint32_t x = agg / c->A, p = agg % c->A / c->a;
	size_t at = (size_t)x * c->planes + p;

	tier[0] = s->racks_sum[p];
	tier[1] = s->cores_sum[p] + all(s->up2[agg].sum, j->out - s->D[x]) +
		  all(s->down2[agg].sum, j->in - s->F[x]);
	if (s->F[x] || s->D[x]) {
		tier[0] += s->agg_racks[agg].sum - s->plane_racks[at].sum;
		tier[1] -= s->plane_cores[at].sum;
	}
	tier[2] = all(s->plane_border[p].sum, s->g);
}

double scan_sum(struct engine *e, const struct job *j, unsigned int n)
{
	struct scan *s = e->scan;
	uint32_t number = e->clos->number[n];
	double links = 0, tables;
	int64_t tier[3];
	unsigned int i;

	if (e->clos->tier[n] == ENGINE_TOR) {
		sum_tor(e, j, number, tier);
	} else if (e->clos->tier[n] == ENGINE_AGG) {
		sum_agg(e, j, number, tier);
	} else {
		tier[0] = s->racks_sum[number / e->clos->k];
		tier[1] = s->core[number].sum;
		tier[2] = s->g ? e->load[e->clos->in[number]] + s->g : 0;
	}
	/* as the other searches sum: whole units by capacity, then capacities in order */
	e->class_sum[s->class1] += tier[0];
	e->class_sum[s->class2] += tier[1];
	e->class_sum[s->class3] += tier[2];
	for (i = 0; i < e->n_classes; i++) {
		links += e->class_sum[i] * e->class_inv[i];
		e->class_sum[i] = 0;
	}
	state_tables(e, j, n, &tables);
	return links + tables;
}

static void put(struct engine *e, const uint32_t *links, unsigned int n, int64_t units)
{
	unsigned int i;

	for (i = 0; units && i < n; i++)
		e->load[links[i]] += units;
}

/* the links of racks and containers when the mux is a ToR */
static void commit_tor(struct engine *e, const struct job *j, uint32_t t, int sign)
{
	const struct clos *c = e->clos;
	struct scan *s = e->scan;
	uint32_t x = c->tor_container[t];
	unsigned int i;

	for (i = 0; i < s->n_racks; i++) {
		uint32_t r = s->racks[i];

		if (r == t)
			continue;
		put(e, c->up1 + r * c->A, c->A, sign * s->f[r] / c->A);
		put(e, c->down1 + r * c->A, c->A, sign * s->d[r] / c->A);
	}
	put(e, c->up1 + t * c->A, c->A, sign * (j->out - s->d[t]) / c->A);
	put(e, c->down1 + t * c->A, c->A, sign * (j->in - s->f[t]) / c->A);
	for (i = 0; i < s->n_containers; i++) {
		uint32_t y = s->containers[i];

		if (y == x)
			continue;
		put(e, c->up2 + (size_t)y * c->L, c->L, sign * s->F[y] / c->L);
		put(e, c->down2 + (size_t)y * c->L, c->L, sign * s->D[y] / c->L);
	}
	put(e, c->up2 + (size_t)x * c->L, c->L, sign * (j->out - s->D[x]) / c->L);
	put(e, c->down2 + (size_t)x * c->L, c->L, sign * (j->in - s->F[x]) / c->L);
	put(e, c->in, c->border < 0 ? 0 : c->cores, sign * s->g / c->cores);
}

static void commit_agg(struct engine *e, const struct job *j, uint32_t agg, int sign)
{
	const struct clos *c = e->clos;
	struct scan *s = e->scan;
	uint32_t x = agg / c->A, p = agg % c->A / c->a, ak = c->a * c->k;
	unsigned int i;

	for (i = 0; i < s->n_racks; i++) {
		uint32_t r = s->racks[i], mine = c->tor_container[r] == x;
		size_t at = r * c->A + (mine ? agg % c->A : p * c->a);
		unsigned int n = mine ? 1 : c->a;

		put(e, c->up1 + at, n, sign * s->f[r] / n);
		put(e, c->down1 + at, n, sign * s->d[r] / n);
	}
	for (i = 0; i < s->n_containers; i++) {
		uint32_t y = s->containers[i];
		size_t at = (size_t)(y * c->A + p * c->a) * c->k;

		if (y == x)
			continue;
		put(e, c->up2 + at, ak, sign * s->F[y] / ak);
		put(e, c->down2 + at, ak, sign * s->D[y] / ak);
	}
	put(e, c->up2 + (size_t)agg * c->k, c->k, sign * (j->out - s->D[x]) / c->k);
	put(e, c->down2 + (size_t)agg * c->k, c->k, sign * (j->in - s->F[x]) / c->k);
	put(e, c->in + p * c->k, c->border < 0 ? 0 : c->k, sign * s->g / c->k);
}

static void commit_core(struct engine *e, uint32_t core, int sign)
{
	const struct clos *c = e->clos;
	struct scan *s = e->scan;
	uint32_t p = core / c->k, m = core % c->k;
	unsigned int i, q;

	for (i = 0; i < s->n_racks; i++) {
		uint32_t r = s->racks[i];

		put(e, c->up1 + r * c->A + p * c->a, c->a, sign * s->f[r] / c->a);
		put(e, c->down1 + r * c->A + p * c->a, c->a, sign * s->d[r] / c->a);
	}
	for (i = 0; i < s->n_containers; i++) {
		uint32_t y = s->containers[i];

		for (q = 0; q < c->a; q++) {
			size_t at = (size_t)(y * c->A + p * c->a + q) * c->k + m;

			put(e, c->up2 + at, 1, sign * s->F[y] / c->a);
			put(e, c->down2 + at, 1, sign * s->D[y] / c->a);
		}
	}
	put(e, c->in + core, c->border < 0 ? 0 : 1, sign * s->g);
}

void scan_commit(struct engine *e, const struct job *j, unsigned int n, int sign)
{
	const struct clos *c = e->clos;
	struct scan *s = e->scan;
	unsigned int i, q;

	parts(e, j);
	if (c->tier[n] == ENGINE_TOR) {
		commit_tor(e, j, c->number[n], sign);
		refresh_tor(e, c->number[n]);
	} else if (c->tier[n] == ENGINE_AGG) {
		commit_agg(e, j, c->number[n], sign);
	} else {
		commit_core(e, c->number[n], sign);
	}
	for (i = 0; i < s->n_racks; i++)
		refresh_tor(e, s->racks[i]);
	for (i = 0; i <= s->n_containers; i++) {
		uint32_t x = i < s->n_containers ? s->containers[i] : c->container[n];

		if (x == NOBODY)
			continue;
		for (q = x * c->A; q < (x + 1) * c->A; q++)
			refresh_agg(e, q);
		refresh_container(e, x);
	}
	refresh_border(e);
}
