// SPDX-License-Identifier: GPL-2.0
/*
 * Loads of all links for a given assignment and given failures, on the graph
 * as it is then: all traffic to one switch is summed by where it starts, and
 * flows down the shortest paths, split evenly at every hop.
 */
#include "sim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct graph {
	const struct fabric *f;
	const bool *failed;
	unsigned int *first, *out;	/* out-edges as 2 * link + dir */
	unsigned int *queue;
	uint16_t *distance;
	double *amount;
	float *matrix;			/* to * switches + from, Mbps */
};

static void graph_free(struct graph *g)
{
	free(g->first);
	free(g->out);
	free(g->queue);
	free(g->distance);
	free(g->amount);
	free(g->matrix);
}

static unsigned int end_of(const struct fabric *f, unsigned int edge)
{
	return edge % 2 ? f->links[edge / 2].a : f->links[edge / 2].b;
}

static int graph_make(struct graph *g)
{
	const struct fabric *f = g->f;
	unsigned int i, *next;

	g->first = calloc(f->n_switches + 2, sizeof(*g->first));
	g->out = calloc(2 * f->n_links + 1, sizeof(*g->out));
	g->queue = calloc(f->n_switches + 1, sizeof(*g->queue));
	g->distance = calloc(f->n_switches + 1, sizeof(*g->distance));
	g->amount = calloc(f->n_switches + 1, sizeof(*g->amount));
	g->matrix = calloc((size_t)f->n_switches * f->n_switches + 1, sizeof(*g->matrix));
	if (!g->first || !g->out || !g->queue || !g->distance || !g->amount || !g->matrix)
		return -ENOMEM;
	next = g->first + 1;
	for (i = 0; i < 2 * f->n_links; i++)
		if (!g->failed[f->links[i / 2].a] && !g->failed[f->links[i / 2].b])
			next[end_of(f, i ^ 1) + 1]++;
	for (i = 1; i < f->n_switches; i++)
		next[i] += next[i - 1];
	for (i = 0; i < 2 * f->n_links; i++)
		if (!g->failed[f->links[i / 2].a] && !g->failed[f->links[i / 2].b])
			g->out[next[end_of(f, i ^ 1)]++] = i;
	return 0;
}

static void flow(struct graph *g, unsigned int from, unsigned int to, double mbps)
{
	g->matrix[(size_t)to * g->f->n_switches + from] += mbps;
}

/* rack_of_smux - they stand one to a rack, evenly over the fabric */
static unsigned int rack_of_smux(const struct fabric *f, unsigned int i, unsigned int n)
{
	return f->tor0 + (uint64_t)(i % f->racks) * f->racks / (n < f->racks ? n : f->racks) % f->racks;
}

struct through {
	double *in, *out;	/* of the SMuxes: from and to each switch */
};

/* vip_flows - of one VIP: its clients that are left, the DIPs that are left */
static void vip_flows(struct graph *g, const struct engine_vip *v, const struct engine_choice *c,
		      struct through *smux, double *lost)
{
	double in = 0, alive = 0;
	bool direct = c->mux >= 0 && !g->failed[c->mux];
	unsigned int i, k;

	for (i = 0; i < v->n_from; i++)
		if (!g->failed[v->from[i].node])
			in += v->mbps * v->from[i].share;
	for (i = 0; i < v->n_to; i++)
		if (!g->failed[v->to[i].node])
			alive += v->to[i].share;
	if (alive <= 0) {
		*lost += in;
		return;
	}
	for (i = 0; i < v->n_from; i++) {
		if (g->failed[v->from[i].node])
			continue;
		if (direct)
			flow(g, v->from[i].node, c->mux, v->mbps * v->from[i].share);
		else
			smux->in[v->from[i].node] += v->mbps * v->from[i].share;
	}
	if (!direct || !c->n_tips) {
		for (i = 0; i < v->n_to; i++) {
			double part = in * v->to[i].share / alive;

			if (g->failed[v->to[i].node])
				continue;
			if (direct)
				flow(g, c->mux, v->to[i].node, part);
			else
				smux->out[v->to[i].node] += part;
		}
		return;
	}
	/* by way of the TIPs; one whose mux failed is served by the SMuxes, as a VIP is */
	for (k = 0; k < c->n_tips; k++) {
		const struct engine_tip *t = &c->tips[k];
		bool up = !g->failed[t->mux];
		unsigned int left = 0;
		double part = in * t->n_dips / v->n_dips;

		for (i = 0; i < t->n_dips; i++)
			left += !g->failed[v->dip_node[t->dips[i]]];
		if (!left) {
			*lost += part;
			continue;
		}
		if (up)
			flow(g, c->mux, t->mux, part);
		else
			smux->in[c->mux] += part;
		for (i = 0; i < t->n_dips; i++) {
			unsigned int node = v->dip_node[t->dips[i]];

			if (g->failed[node])
				continue;
			if (up)
				flow(g, t->mux, node, part / left);
			else
				smux->out[node] += part / left;
		}
	}
}

static void smux_flows(struct graph *g, const struct through *smux, unsigned int smuxes)
{
	unsigned int i, k, alive = 0;

	for (k = 0; k < smuxes; k++)
		alive += !g->failed[rack_of_smux(g->f, k, smuxes)];
	for (k = 0; k < smuxes; k++) {
		unsigned int rack = rack_of_smux(g->f, k, smuxes);

		for (i = 0; !g->failed[rack] && i < g->f->n_switches; i++) {
			if (smux->in[i] > 0)
				flow(g, i, rack, smux->in[i] / alive);
			if (smux->out[i] > 0)
				flow(g, rack, i, smux->out[i] / alive);
		}
	}
}

static void to_one(struct graph *g, unsigned int to, struct loads *l)
{
	const struct fabric *f = g->f;
	const float *row = g->matrix + (size_t)to * f->n_switches;
	unsigned int head = 0, tail = 0, i, k;

	for (i = 0; i < f->n_switches; i++) {
		g->distance[i] = UINT16_MAX;
		g->amount[i] = row[i];
	}
	g->distance[to] = 0;
	g->queue[tail++] = to;
	while (head < tail) {
		unsigned int node = g->queue[head++];

		for (i = g->first[node]; i < g->first[node + 1]; i++) {
			unsigned int other = end_of(f, g->out[i]);

			if (g->distance[other] != UINT16_MAX)
				continue;
			g->distance[other] = g->distance[node] + 1;
			g->queue[tail++] = other;
		}
	}
	for (i = 0; i < f->n_switches; i++)
		if (g->distance[i] == UINT16_MAX)
			l->lost += g->amount[i];
	for (k = tail; k-- > 1;) {
		unsigned int node = g->queue[k], ways = 0;

		if (!(g->amount[node] > 0))
			continue;
		for (i = g->first[node]; i < g->first[node + 1]; i++)
			ways += g->distance[end_of(f, g->out[i])] + 1 == g->distance[node];
		for (i = g->first[node]; i < g->first[node + 1]; i++) {
			unsigned int other = end_of(f, g->out[i]);

			if (g->distance[other] + 1 != g->distance[node])
				continue;
			l->mbps[g->out[i]] += g->amount[node] / ways;
			g->amount[other] += g->amount[node] / ways;
		}
	}
}

int loads_find(const struct fabric *f, const struct engine_model *m, const struct engine_choice *c,
	       const bool *failed, unsigned int smuxes, struct loads *l)
{
	struct graph g = { .f = f, .failed = failed };
	struct through smux;
	unsigned int i;
	int ret = graph_make(&g);

	*l = (struct loads){ 0 };
	l->mbps = calloc(2 * f->n_links + 1, sizeof(*l->mbps));
	smux.in = calloc(f->n_switches, sizeof(double));
	smux.out = calloc(f->n_switches, sizeof(double));
	if (!l->mbps || !smux.in || !smux.out)
		ret = -ENOMEM;
	if (ret)
		goto out;
	for (i = 0; i < m->n_vips; i++)
		vip_flows(&g, &m->vips[i], &c[i], &smux, &l->lost);
	smux_flows(&g, &smux, smuxes ? smuxes : 1);
	for (i = 0; i < f->n_switches; i++)
		if (!failed[i])
			to_one(&g, i, l);
	for (i = 0; i < 2 * f->n_links; i++) {
		const struct engine_link *link = &f->links[i / 2];

		if (link->a != f->border && link->b != f->border &&
		    l->mbps[i] / link->mbps > l->worst)
			l->worst = l->mbps[i] / link->mbps;
	}
out:
	free(smux.in);
	free(smux.out);
	graph_free(&g);
	if (ret)
		loads_free(l);
	return ret;
}

void loads_free(struct loads *l)
{
	free(l->mbps);
	l->mbps = NULL;
}
