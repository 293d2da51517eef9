// SPDX-License-Identifier: GPL-2.0
/*
 * Keeps, for pairs of switches, how ECMP spreads one unit of traffic over the
 * links between them. Computed when first asked for: distances to the
 * destination by breadth-first search, then the unit flows downhill, split
 * evenly over all links that lead one hop closer. Failed switches and links
 * are not there.
 */
#include "engine.h"

#include <stdlib.h>
#include <string.h>

#define FAR UINT16_MAX
#define SLOTS_MIN 1024

struct edge {
	unsigned int node, link, dir;
};

/* struct pair - an entry of the hash table of flows */
struct pair {
	uint64_t key;
	struct engine_flow flow;
};

struct engine_paths {
	unsigned int n_nodes;
	struct edge *edges; /* out-edges of node i: first[i] .. first[i + 1] */
	unsigned int *first;
	uint16_t **distance; /* by destination; NULL until needed */
	struct pair **slots;
	size_t n_slots, used;
	/* scratch */
	double *amount;	     /* per node */
	unsigned int *queue; /* nodes */
	struct engine_hop *hops;
};

void engine_paths_free(struct engine_paths *p)
{
	size_t i;

	if (!p)
		return;
	for (i = 0; p->slots && i < p->n_slots; i++) {
		if (p->slots[i])
			free(p->slots[i]->flow.hops);
		free(p->slots[i]);
	}
	for (i = 0; p->distance && i < p->n_nodes; i++)
		free(p->distance[i]);
	free(p->slots);
	free(p->distance);
	free(p->edges);
	free(p->first);
	free(p->amount);
	free(p->queue);
	free(p->hops);
	free(p);
}

static bool dead(const struct engine_model *m, const struct engine_link *l)
{
	return l->failed || m->switches[l->a].failed || m->switches[l->b].failed;
}

struct engine_paths *engine_paths_new(const struct engine_model *m)
{
	struct engine_paths *p = calloc(1, sizeof(*p));
	unsigned int i, *next;

	if (!p)
		return NULL;
	p->n_nodes = m->n_switches;
	p->n_slots = SLOTS_MIN;
	p->first = calloc(p->n_nodes + 2, sizeof(*p->first));
	p->edges = calloc(2 * (size_t)m->n_links + 1, sizeof(*p->edges));
	p->distance = calloc(p->n_nodes + 1, sizeof(*p->distance));
	p->slots = calloc(p->n_slots, sizeof(*p->slots));
	p->amount = calloc(p->n_nodes + 1, sizeof(*p->amount));
	p->queue = calloc(p->n_nodes + 1, sizeof(*p->queue));
	p->hops = calloc(m->n_links + 1, sizeof(*p->hops));
	if (!p->first || !p->edges || !p->distance || !p->slots || !p->amount || !p->queue ||
	    !p->hops)
		goto err_free;

	/* first[i + 1] is where the edges of i go next while they are filled in */
	next = p->first + 1;
	for (i = 0; i < m->n_links; i++) {
		if (dead(m, &m->links[i]))
			continue;
		next[m->links[i].a + 1]++;
		next[m->links[i].b + 1]++;
	}
	for (i = 1; i < p->n_nodes; i++)
		next[i] += next[i - 1];
	for (i = 0; i < m->n_links; i++) {
		const struct engine_link *l = &m->links[i];

		if (dead(m, l))
			continue;
		p->edges[next[l->a]++] = (struct edge){ l->b, i, 0 };
		p->edges[next[l->b]++] = (struct edge){ l->a, i, 1 };
	}
	return p;

err_free:
	engine_paths_free(p);
	return NULL;
}

/* distances - hops of every node to `to` */
static int distances(struct engine_paths *p, unsigned int to)
{
	uint16_t *distance = malloc((p->n_nodes + 1) * sizeof(*distance));
	unsigned int head = 0, tail = 0, i;

	if (!distance)
		return -1;
	for (i = 0; i < p->n_nodes; i++)
		distance[i] = FAR;
	distance[to] = 0;
	p->queue[tail++] = to;
	while (head < tail) {
		unsigned int node = p->queue[head++];

		for (i = p->first[node]; i < p->first[node + 1]; i++) {
			unsigned int other = p->edges[i].node;

			if (distance[other] != FAR || distance[node] == FAR - 1)
				continue;
			distance[other] = distance[node] + 1;
			p->queue[tail++] = other;
		}
	}
	p->distance[to] = distance;
	return 0;
}

/* spread - one unit at `from` flows to `to`, nodes in the order in which it comes by: all nodes of
 * one distance before any that is nearer, so whatever reaches a node has before it is split
 */
static unsigned int spread(struct engine_paths *p, unsigned int from, unsigned int to)
{
	const uint16_t *distance = p->distance[to];
	unsigned int head = 0, tail = 0, i, n = 0;

	p->queue[tail++] = from;
	p->amount[from] = 1;
	while (head < tail) {
		unsigned int node = p->queue[head++], ways = 0;
		double part;

		if (node == to)
			continue;
		for (i = p->first[node]; i < p->first[node + 1]; i++)
			ways += distance[p->edges[i].node] + 1 == distance[node];
		part = p->amount[node] / ways;
		for (i = p->first[node]; i < p->first[node + 1]; i++) {
			const struct edge *e = &p->edges[i];

			if (distance[e->node] + 1 != distance[node])
				continue;
			p->hops[n++] = (struct engine_hop){ e->link, e->dir, part };
			if (!p->amount[e->node])
				p->queue[tail++] = e->node;
			p->amount[e->node] += part;
		}
	}
	while (tail--)
		p->amount[p->queue[tail]] = 0;
	return n;
}

static size_t slot_of(const struct engine_paths *p, uint64_t key)
{
	size_t i = (key * 0x9e3779b97f4a7c15ull >> 20) & (p->n_slots - 1);

	while (p->slots[i] && p->slots[i]->key != key)
		i = (i + 1) & (p->n_slots - 1);
	return i;
}

static int grow(struct engine_paths *p)
{
	struct pair **old = p->slots;
	size_t n = p->n_slots, i;

	p->slots = calloc(2 * n, sizeof(*p->slots));
	if (!p->slots) {
		p->slots = old;
		return -1;
	}
	p->n_slots = 2 * n;
	for (i = 0; i < n; i++)
		if (old[i])
			p->slots[slot_of(p, old[i]->key)] = old[i];
	free(old);
	return 0;
}

const struct engine_flow *engine_paths_get(struct engine_paths *p, unsigned int from,
					   unsigned int to)
{
	uint64_t key = (uint64_t)from << 32 | to;
	size_t i = slot_of(p, key);
	struct pair *pair;
	size_t size;

	if (p->slots[i])
		return &p->slots[i]->flow;
	if (p->used * 2 >= p->n_slots) {
		if (grow(p))
			return NULL;
		i = slot_of(p, key);
	}
	if (!p->distance[to] && distances(p, to))
		return NULL;
	pair = calloc(1, sizeof(*pair));
	if (!pair)
		return NULL;
	pair->key = key;
	pair->flow.reachable = p->distance[to][from] != FAR;
	if (pair->flow.reachable)
		pair->flow.n = spread(p, from, to);
	size = pair->flow.n * sizeof(*pair->flow.hops);
	pair->flow.hops = malloc(size + 1);
	if (!pair->flow.hops) {
		free(pair);
		return NULL;
	}
	if (size)
		memcpy(pair->flow.hops, p->hops, size);
	p->slots[i] = pair;
	p->used++;
	return &pair->flow;
}
