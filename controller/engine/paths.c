// SPDX-License-Identifier: GPL-2.0
/*
 * Keeps, for pairs of switches, how ECMP spreads one unit of traffic over the
 * links between them. Computed when first asked for: distances to the
 * destination by breadth-first search, then the unit flows downhill, split
 * evenly over all links that lead one hop closer.
 */
#include "engine.h"

#include <stdlib.h>

#define FAR UINT32_MAX

struct edge {
	unsigned int node, link, dir;
};

struct engine_paths {
	unsigned int n_nodes, n_links;
	struct edge *edges; /* out-edges of node i: first[i] .. first[i + 1] */
	unsigned int *first;
	uint32_t **distance;  /* by destination; NULL until needed */
	unsigned int **order; /* nodes that reach it, nearest first */
	unsigned int *n_order;
	struct engine_flow **flows; /* from * n_nodes + to */
	double *amount;		    /* scratch, per node */
};

void engine_paths_free(struct engine_paths *p)
{
	size_t i;

	if (!p)
		return;
	for (i = 0; p->flows && i < (size_t)p->n_nodes * p->n_nodes; i++) {
		if (p->flows[i])
			free(p->flows[i]->hops);
		free(p->flows[i]);
	}
	for (i = 0; i < p->n_nodes; i++) {
		if (p->distance)
			free(p->distance[i]);
		if (p->order)
			free(p->order[i]);
	}
	free(p->flows);
	free(p->distance);
	free(p->order);
	free(p->n_order);
	free(p->edges);
	free(p->first);
	free(p->amount);
	free(p);
}

struct engine_paths *engine_paths_new(const struct engine_model *m)
{
	struct engine_paths *p = calloc(1, sizeof(*p));
	unsigned int i, *next;

	if (!p)
		return NULL;
	p->n_nodes = m->n_switches;
	p->n_links = m->n_links;
	p->first = calloc(p->n_nodes + 2, sizeof(*p->first));
	p->edges = calloc(2 * (size_t)m->n_links + 1, sizeof(*p->edges));
	p->distance = calloc(p->n_nodes + 1, sizeof(*p->distance));
	p->order = calloc(p->n_nodes + 1, sizeof(*p->order));
	p->n_order = calloc(p->n_nodes + 1, sizeof(*p->n_order));
	p->flows = calloc((size_t)p->n_nodes * p->n_nodes + 1, sizeof(*p->flows));
	p->amount = calloc(p->n_nodes + 1, sizeof(*p->amount));
	if (!p->first || !p->edges || !p->distance || !p->order || !p->n_order || !p->flows ||
	    !p->amount)
		goto err_free;

	/* first[i + 1] is where the edges of i go next while they are filled in */
	next = p->first + 1;
	for (i = 0; i < m->n_links; i++) {
		next[m->links[i].a + 1]++;
		next[m->links[i].b + 1]++;
	}
	for (i = 1; i < p->n_nodes; i++)
		next[i] += next[i - 1];
	for (i = 0; i < m->n_links; i++) {
		const struct engine_link *l = &m->links[i];

		p->edges[next[l->a]++] = (struct edge){ l->b, i, 0 };
		p->edges[next[l->b]++] = (struct edge){ l->a, i, 1 };
	}
	return p;

err_free:
	engine_paths_free(p);
	return NULL;
}

/* distances - hops of every node to `to`, and the nodes in that order */
static int distances(struct engine_paths *p, unsigned int to)
{
	uint32_t *distance = malloc(p->n_nodes * sizeof(*distance));
	unsigned int *queue = malloc(p->n_nodes * sizeof(*queue));
	unsigned int head = 0, tail = 0, i;

	if (!distance || !queue) {
		free(distance);
		free(queue);
		return -1;
	}
	for (i = 0; i < p->n_nodes; i++)
		distance[i] = FAR;
	distance[to] = 0;
	queue[tail++] = to;
	while (head < tail) {
		unsigned int node = queue[head++];

		for (i = p->first[node]; i < p->first[node + 1]; i++) {
			unsigned int other = p->edges[i].node;

			if (distance[other] != FAR)
				continue;
			distance[other] = distance[node] + 1;
			queue[tail++] = other;
		}
	}
	p->distance[to] = distance;
	p->order[to] = queue;
	p->n_order[to] = tail;
	return 0;
}

/* spread - one unit at `from` flows to `to`; hops needs room for n_links */
static unsigned int spread(struct engine_paths *p, unsigned int from, unsigned int to,
			   struct engine_hop *hops)
{
	const uint32_t *distance = p->distance[to];
	unsigned int i, k, n = 0;

	for (i = 0; i < p->n_nodes; i++)
		p->amount[i] = 0;
	p->amount[from] = 1;
	/* farthest first: whatever reaches a node has reached it before it is split */
	for (k = p->n_order[to]; k-- > 0;) {
		unsigned int node = p->order[to][k], ways = 0;
		double part;

		if (!p->amount[node] || node == to)
			continue;
		for (i = p->first[node]; i < p->first[node + 1]; i++)
			ways += distance[p->edges[i].node] + 1 == distance[node];
		part = p->amount[node] / ways;
		for (i = p->first[node]; i < p->first[node + 1]; i++) {
			const struct edge *e = &p->edges[i];

			if (distance[e->node] + 1 != distance[node])
				continue;
			hops[n++] = (struct engine_hop){ e->link, e->dir, part };
			p->amount[e->node] += part;
		}
	}
	return n;
}

const struct engine_flow *engine_paths_get(struct engine_paths *p, unsigned int from,
					   unsigned int to)
{
	struct engine_flow **slot = &p->flows[(size_t)from * p->n_nodes + to];
	struct engine_flow *flow;
	struct engine_hop *hops;

	if (*slot)
		return *slot;
	if (!p->distance[to] && distances(p, to))
		return NULL;
	flow = calloc(1, sizeof(*flow));
	hops = calloc(p->n_links + 1, sizeof(*hops));
	if (!flow || !hops)
		goto err_free;
	flow->reachable = p->distance[to][from] != FAR;
	if (flow->reachable)
		flow->n = spread(p, from, to, hops);
	flow->hops = realloc(hops, (flow->n + 1) * sizeof(*hops));
	if (!flow->hops)
		goto err_free;
	*slot = flow;
	return flow;

err_free:
	free(hops);
	free(flow);
	return NULL;
}
