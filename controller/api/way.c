// SPDX-License-Identifier: GPL-2.0
/*
 * The way of a flow through the fabric: shortest paths by hops over the links
 * that are not down, as routing has them. Which one of several equal switches a
 * flow takes is those switches' own hash and can't be known here: all are told.
 */
#include "../query/links.h"
#include "api.h"

#include <stdlib.h>
#include <string.h>

#define FAR (~0u)

/* struct graph - the switches by number, and who is beside whom */
struct graph {
	json_t *index;			/* name: number */
	const char **name;
	unsigned int n, (*edge)[2], n_edges;
	unsigned int *near;		/* hops to the nearest target */
};

static int number_of(const struct graph *g, const char *name)
{
	json_t *i = json_object_get(g->index, name);

	return i ? (int)json_integer_value(i) : -1;
}

static int graph_make(struct graph *g, struct updater *u)
{
	json_t *switches = json_object_get(u->model, "switches"), *links = json_object_get(u->model, "links"), *o;
	size_t i;

	g->index = json_object();
	g->name = calloc(json_array_size(switches) + 1, sizeof(*g->name));
	g->near = calloc(json_array_size(switches) + 1, sizeof(*g->near));
	g->edge = calloc(json_array_size(links) + 1, sizeof(*g->edge));
	if (!g->index || !g->name || !g->near || !g->edge)
		return -1;
	json_array_foreach(switches, i, o) {
		g->name[g->n] = get_str(o, "name", "");
		g->near[g->n] = FAR;
		json_object_set_new(g->index, g->name[g->n], json_integer(g->n));
		g->n++;
	}
	json_array_foreach(links, i, o) {
		int a = number_of(g, get_str(o, "a", "")), b = number_of(g, get_str(o, "b", ""));

		if (a < 0 || b < 0 || !strcmp(link_state(u, o, NULL), "down"))
			continue;
		g->edge[g->n_edges][0] = a;
		g->edge[g->n_edges++][1] = b;
	}
	return 0;
}

static void graph_free(struct graph *g)
{
	json_decref(g->index);
	free(g->name);
	free(g->near);
	free(g->edge);
}

/* spread - near of all switches; a fabric is a few hops wide, so a round each will do */
static void spread(struct graph *g, json_t *to)
{
	unsigned int hops, i, k;
	bool more = true;
	json_t *o;
	size_t t;

	json_array_foreach(to, t, o) {
		int at = number_of(g, json_string_value(o));

		if (at >= 0)
			g->near[at] = 0;
	}
	for (hops = 0; more; hops++) {
		more = false;
		for (i = 0; i < g->n_edges; i++)
			for (k = 0; k < 2; k++)
				if (g->near[g->edge[i][k]] == hops && g->near[g->edge[i][!k]] == FAR) {
					g->near[g->edge[i][!k]] = hops + 1;
					more = true;
				}
	}
}

/* hops_from - lists of the switches that a flow may pass, hop by hop, this one not among them; NULL: no way */
static json_t *hops_from(const struct graph *g, unsigned int from)
{
	bool *here = calloc(g->n + 1, sizeof(*here)), *next = calloc(g->n + 1, sizeof(*next)), *swap;
	json_t *hops = here && next && g->near[from] != FAR ? json_array() : NULL;
	unsigned int left, i, k;

	if (hops)
		here[from] = true;
	for (left = hops ? g->near[from] : 0; left; left--) {
		json_t *hop = json_array();

		memset(next, 0, g->n * sizeof(*next));
		for (i = 0; i < g->n_edges; i++)
			for (k = 0; k < 2; k++)
				if (here[g->edge[i][k]] && g->near[g->edge[i][!k]] == left - 1)
					next[g->edge[i][!k]] = true;
		for (i = 0; i < g->n; i++)
			if (next[i])
				json_array_append_new(hop, json_string(g->name[i]));
		json_array_append_new(hops, hop);
		swap = here;
		here = next;
		next = swap;
	}
	free(here);
	free(next);
	return hops;
}

json_t *way_of(struct updater *u, json_t *from, json_t *to)
{
	json_t *ways = json_array(), *o, *way = NULL;
	struct graph g = {};
	size_t i, k;

	if (graph_make(&g, u))
		goto out;
	spread(&g, to);
	json_array_foreach(from, i, o) {
		int at = number_of(&g, json_string_value(o));
		json_t *hops = at < 0 ? NULL : hops_from(&g, at);

		if (!hops)
			continue;
		json_array_foreach(ways, k, way)
			if (json_equal(json_object_get(way, "hops"), hops))
				break;
		if (k == json_array_size(ways))
			json_array_append_new(ways, json_pack("{s:[O], s:O}", "from", o, "hops", hops));
		else
			json_array_append(json_object_get(way, "from"), o);
		json_decref(hops);
	}
out:
	graph_free(&g);
	return ways;
}
