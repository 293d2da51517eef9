// SPDX-License-Identifier: GPL-2.0
/*
 * The search as the paper tells it: every switch, over every link and table.
 * O(VIPs x switches x links): kept to check the fast one by, and measured
 * against it.
 */
#include "priv.h"

#include <errno.h>
#include <string.h>

static int add_path(struct engine *e, unsigned int from, unsigned int to, int64_t units)
{
	const struct engine_flow *flow = engine_paths_get(e->paths, from, to);
	unsigned int i;

	if (!flow)
		return -ENOMEM;
	if (!flow->reachable)
		return -EHOSTUNREACH;
	for (i = 0; i < flow->n; i++)
		e->add[2 * flow->hops[i].link + flow->hops[i].dir] +=
			units_part(units, flow->hops[i].share);
	return 0;
}

static int add_all(struct engine *e, const struct job *j, unsigned int s)
{
	unsigned int i;
	int ret = 0;

	memset(e->add, 0, 2 * e->model->n_links * sizeof(*e->add));
	for (i = 0; !ret && i < j->n_from; i++)
		ret = add_path(e, j->from[i].node, s, j->from[i].units);
	for (i = 0; !ret && i < j->n_to; i++)
		ret = add_path(e, s, j->to[i].node, j->to[i].units);
	return ret;
}

int plain_search(struct engine *e, const struct job *j)
{
	struct search *r = &e->search;
	unsigned int s, i;
	int ret = 0;

	if (!e->paths)
		e->paths = engine_paths_new(e->model);
	if (!e->paths)
		return -ENOMEM;
	for (s = 0; s < e->model->n_switches; s++) {
		double sum, links = 0;

		r->local[s] = UNREACHABLE;
		if (!e->model->switches[s].candidate || e->model->switches[s].failed)
			continue;
		if (j->second && e->clos && e->clos->container[s] != j->home)
			continue;
		ret = add_all(e, j, s);
		if (ret == -ENOMEM)
			break;
		if (ret)
			continue;
		r->local[s] = state_tables(e, j, s, &sum);
		r->added[s] = 0;
		for (i = 0; i < 2 * e->model->n_links; i++) {
			double use = (e->load[i] + e->add[i]) * e->inv[i];

			if (!e->add[i])
				continue;
			r->added[s] += e->add[i];
			e->class_sum[e->class[i]] += e->load[i] + e->add[i];
			if (use > r->local[s])
				r->local[s] = use;
		}
		for (i = 0; i < e->n_classes; i++) {
			links += e->class_sum[i] * e->class_inv[i];
			e->class_sum[i] = 0;
		}
		r->sum[s] = links + sum;
	}
	memset(e->add, 0, 2 * e->model->n_links * sizeof(*e->add));
	return ret == -ENOMEM ? ret : 0;
}
