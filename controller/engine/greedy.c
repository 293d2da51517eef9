// SPDX-License-Identifier: GPL-2.0
/*
 * The paper's greedy. VIPs by falling traffic; each goes to the switch where
 * the maximum resource utilisation (MRU) over all links and switch tables is
 * lowest; when even that is over 100 %, this VIP and all later ones stay on
 * the SMuxes. Sticky: a VIP leaves its switch only if its MRU falls by more
 * than delta.
 *
 * Far from full, many switches tie, for one busy link elsewhere is the maximum
 * for all of them. Ties go to the lowest utilisation among what the VIP itself
 * touches, then to the least traffic added to links (no detour), then to where
 * links and tables on its way are least used in sum (so VIPs spread), then to
 * the first switch.
 */
#include "engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct greedy {
	const struct engine_model *model;
	const struct engine_options *options;
	struct engine_paths *paths;
	struct engine_load *load;
	uint8_t *has_dip;   /* switch * n_dips + DIP: it has this tunnel */
	double *add[2];	    /* what the VIP looked at adds to links */
	uint32_t min_hosts; /* smallest host table: every switch holds every /32 */
	uint32_t placed;
	double worst; /* highest utilisation so far */
};

/* struct offer - what it would mean to put the VIP on one switch */
struct offer {
	int mux;
	double mru, local, added, sum;
	enum engine_resource resource;
	unsigned int link;
};

void engine_load_free(struct engine_load *load)
{
	free(load->link[0]);
	free(load->link[1]);
	free(load->tunnels);
	free(load->members);
	free(load->rules);
	free(load->vips);
	memset(load, 0, sizeof(*load));
}

static int load_init(struct engine_load *load, const struct engine_model *m)
{
	unsigned int i;

	memset(load, 0, sizeof(*load));
	for (i = 0; i < 2; i++)
		load->link[i] = calloc(m->n_links + 1, sizeof(double));
	load->tunnels = calloc(m->n_switches + 1, sizeof(uint32_t));
	load->members = calloc(m->n_switches + 1, sizeof(uint32_t));
	load->rules = calloc(m->n_switches + 1, sizeof(uint32_t));
	load->vips = calloc(m->n_switches + 1, sizeof(uint32_t));
	if (load->link[0] && load->link[1] && load->tunnels && load->members && load->rules &&
	    load->vips)
		return 0;
	engine_load_free(load);
	return -ENOMEM;
}

static double table_use(uint32_t used, uint32_t size)
{
	return size ? (double)used / size : 0;
}

static uint32_t new_tunnels(const struct greedy *g, unsigned int s, const struct engine_vip *v)
{
	const uint8_t *has = g->has_dip + (size_t)s * g->model->n_dips;
	uint32_t n = 0;
	unsigned int i;

	for (i = 0; i < v->n_dips; i++)
		n += !has[v->dips[i]];
	return n;
}

static void touch(struct offer *o, double use, enum engine_resource resource, unsigned int link)
{
	o->sum += use;
	if (use <= o->local)
		return;
	o->local = use;
	o->resource = resource;
	o->link = link;
}

/* add_path - traffic from node to node onto add[]; 0, -ENOMEM or -EHOSTUNREACH */
static int add_path(struct greedy *g, unsigned int from, unsigned int to, double mbps)
{
	const struct engine_flow *flow = engine_paths_get(g->paths, from, to);
	unsigned int i;

	if (!flow)
		return -ENOMEM;
	if (!flow->reachable)
		return mbps > 0 ? -EHOSTUNREACH : 0;
	for (i = 0; i < flow->n; i++)
		g->add[flow->hops[i].dir][flow->hops[i].link] += mbps * flow->hops[i].share;
	return 0;
}

/* add_vip - all links' extra traffic with VIP v on switch s: sources to s, s to the racks */
static int add_vip(struct greedy *g, const struct engine_vip *v, unsigned int s)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; i < 2; i++)
		memset(g->add[i], 0, g->model->n_links * sizeof(double));
	for (i = 0; !ret && i < v->n_from; i++)
		ret = add_path(g, v->from[i].node, s, v->mbps * v->from[i].share);
	for (i = 0; !ret && i < v->n_to; i++)
		ret = add_path(g, s, v->to[i].node, v->mbps * v->to[i].share);
	return ret;
}

static int offer_of(struct greedy *g, const struct engine_vip *v, unsigned int s, struct offer *o)
{
	const struct engine_switch *sw = &g->model->switches[s];
	const struct engine_load *load = g->load;
	unsigned int dir, i;
	int ret;

	*o = (struct offer){ .mux = s, .local = -1 };
	ret = add_vip(g, v, s);
	if (ret)
		return ret;
	for (i = 0; i < g->model->n_links; i++) {
		for (dir = 0; dir < 2; dir++) {
			double add = g->add[dir][i];

			if (!add)
				continue;
			o->added += add;
			touch(o,
			      (load->link[dir][i] + add) /
				      (g->model->links[i].mbps * g->options->link_share),
			      ENGINE_LINK, i);
		}
	}
	touch(o, table_use(load->tunnels[s] + new_tunnels(g, s, v), sw->tunnels), ENGINE_TUNNELS,
	      0);
	touch(o, table_use(load->members[s] + v->members, sw->members), ENGINE_MEMBERS, 0);
	touch(o, table_use(load->rules[s] + v->rules, sw->rules), ENGINE_RULES, 0);
	touch(o, table_use(g->placed + 1, g->min_hosts), ENGINE_HOSTS, 0);
	o->mru = o->local > g->worst ? o->local : g->worst;
	return 0;
}

static int compare(double a, double b)
{
	if (a < b - ENGINE_EPSILON)
		return -1;
	return a > b + ENGINE_EPSILON;
}

static bool better(const struct offer *a, const struct offer *b)
{
	int c = compare(a->mru, b->mru);

	if (!c)
		c = compare(a->local, b->local);
	if (!c)
		c = compare(a->added, b->added);
	if (!c)
		c = compare(a->sum, b->sum);
	return c < 0;
}

/* fits_empty - could any switch's tables take it, were it alone there */
static bool fits_empty(const struct greedy *g, const struct engine_vip *v)
{
	unsigned int s;

	for (s = 0; s < g->model->n_switches; s++) {
		const struct engine_switch *sw = &g->model->switches[s];

		if (sw->candidate && (!sw->tunnels || v->n_dips <= sw->tunnels) &&
		    (!sw->members || v->members <= sw->members) &&
		    (!sw->rules || v->rules <= sw->rules))
			return true;
	}
	return false;
}

static int commit(struct greedy *g, const struct engine_vip *v, const struct offer *o)
{
	uint8_t *has = g->has_dip + (size_t)o->mux * g->model->n_dips;
	struct engine_load *load = g->load;
	unsigned int dir, i;
	int ret;

	ret = add_vip(g, v, o->mux);
	if (ret)
		return ret;
	for (dir = 0; dir < 2; dir++)
		for (i = 0; i < g->model->n_links; i++)
			load->link[dir][i] += g->add[dir][i];
	load->tunnels[o->mux] += new_tunnels(g, o->mux, v);
	for (i = 0; i < v->n_dips; i++)
		has[v->dips[i]] = 1;
	load->members[o->mux] += v->members;
	load->rules[o->mux] += v->rules;
	load->vips[o->mux]++;
	g->placed++;
	g->worst = o->mru;
	return 0;
}

/* choose - the place of one VIP; *stop is set when the greedy ends with it */
static int choose(struct greedy *g, const struct engine_vip *v, struct engine_choice *c, bool *stop)
{
	struct offer best = { .mux = -1 }, second = { .mux = -1 }, here = { .mux = -1 }, o;
	unsigned int s;
	int ret;

	*c = (struct engine_choice){ .mux = ENGINE_SMUX, .other = -1 };
	if (v->unplaceable) {
		c->why = ENGINE_UNPLACEABLE;
		return 0;
	}
	for (s = 0; s < g->model->n_switches; s++) {
		if (!g->model->switches[s].candidate)
			continue;
		ret = offer_of(g, v, s, &o);
		if (ret == -EHOSTUNREACH)
			continue;
		if (ret)
			return ret;
		if (g->options->sticky && v->current == (int)s)
			here = o;
		if (best.mux < 0 || better(&o, &best)) {
			second = best;
			best = o;
		} else if (second.mux < 0 || better(&o, &second)) {
			second = o;
		}
	}
	if (best.mux < 0) {
		c->why = ENGINE_NO_SWITCH;
		return 0;
	}
	c->resource = best.resource;
	c->link = best.link;
	c->mru = best.mru;
	if (!fits_empty(g, v)) {
		c->why = ENGINE_TOO_BIG;
		return 0;
	}
	if (best.mru > 1 + ENGINE_EPSILON) {
		c->why = ENGINE_FULL;
		c->other = best.mux;
		*stop = true;
		return 0;
	}
	c->why = ENGINE_BEST;
	c->other = second.mux;
	c->other_mru = second.mux < 0 ? 0 : second.mru;
	if (here.mux >= 0 && here.mux != best.mux && here.mru <= 1 + ENGINE_EPSILON &&
	    here.mru - best.mru <= g->options->delta + ENGINE_EPSILON) {
		c->why = ENGINE_KEPT;
		c->other = best.mux;
		c->other_mru = best.mru;
		best = here;
	}
	c->mux = best.mux;
	c->mru = best.mru;
	c->resource = best.resource;
	c->link = best.link;
	return commit(g, v, &best);
}

static int by_traffic(const void *a, const void *b)
{
	const struct engine_vip *x = *(const struct engine_vip *const *)a;
	const struct engine_vip *y = *(const struct engine_vip *const *)b;

	if (x->mbps != y->mbps)
		return x->mbps > y->mbps ? -1 : 1;
	return strcmp(x->vip, y->vip);
}

static int greedy_run(struct greedy *g, const struct engine_vip **order,
		      struct engine_choice *choices)
{
	bool stop = false;
	unsigned int i;
	int ret;

	for (i = 0; i < g->model->n_vips; i++) {
		struct engine_choice *c = &choices[order[i] - g->model->vips];

		if (stop) {
			*c = (struct engine_choice){ .mux = ENGINE_SMUX,
						     .why = ENGINE_STOPPED,
						     .other = -1 };
			continue;
		}
		ret = choose(g, order[i], c, &stop);
		if (ret)
			return ret;
	}
	g->load->mru = g->worst;
	return 0;
}

int engine_assign(const struct engine_model *m, const struct engine_options *options,
		  struct engine_choice *choices, struct engine_load *load)
{
	struct greedy g = { .model = m, .options = options, .load = load };
	const struct engine_vip **order = calloc(m->n_vips + 1, sizeof(*order));
	unsigned int i;
	int ret = -ENOMEM;

	if (!order)
		return ret;
	ret = load_init(load, m);
	if (ret)
		goto err_order;
	ret = -ENOMEM;
	g.paths = engine_paths_new(m);
	g.has_dip = calloc((size_t)m->n_switches * m->n_dips + 1, 1);
	for (i = 0; i < 2; i++)
		g.add[i] = calloc(m->n_links + 1, sizeof(double));
	if (!g.paths || !g.has_dip || !g.add[0] || !g.add[1])
		goto err_load;
	for (i = 0; i < m->n_switches; i++)
		if (m->switches[i].hosts && (!g.min_hosts || m->switches[i].hosts < g.min_hosts))
			g.min_hosts = m->switches[i].hosts;
	for (i = 0; i < m->n_vips; i++)
		order[i] = &m->vips[i];
	qsort(order, m->n_vips, sizeof(*order), by_traffic);
	ret = greedy_run(&g, order, choices);

err_load:
	if (ret)
		engine_load_free(load);
	free(g.add[0]);
	free(g.add[1]);
	free(g.has_dip);
	engine_paths_free(g.paths);
err_order:
	free(order);
	return ret;
}
