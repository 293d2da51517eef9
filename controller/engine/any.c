// SPDX-License-Identifier: GPL-2.0
/* The search on any graph: only the links that a job touches are looked at. */
#include "priv.h"

#include <errno.h>

struct adding {
	struct engine *e;
	int64_t units;
};

static void add_one(struct engine *e, uint32_t link, int64_t units)
{
	if (!units)
		return;
	if (!e->add[link])
		e->touched[e->n_touched++] = link;
	e->add[link] += units;
}

static void add_hop(void *ctx, uint32_t link, uint32_t one_in)
{
	struct adding *a = ctx;

	add_one(a->e, link, a->units / one_in);
}

static int add_path(struct engine *e, unsigned int from, unsigned int to, int64_t units)
{
	struct adding a = { e, units };
	const struct engine_flow *flow;
	unsigned int i;

	if (e->clos && !e->options.plain && clos_flow(e->clos, from, to, add_hop, &a))
		return 0;
	if (!e->paths)
		e->paths = engine_paths_new(e->model);
	flow = e->paths ? engine_paths_get(e->paths, from, to) : NULL;
	if (!flow)
		return -ENOMEM;
	if (!flow->reachable)
		return -EHOSTUNREACH;
	for (i = 0; i < flow->n; i++)
		add_one(e, 2 * flow->hops[i].link + flow->hops[i].dir,
			units_part(units, flow->hops[i].share));
	return 0;
}

void any_clear(struct engine *e)
{
	while (e->n_touched)
		e->add[e->touched[--e->n_touched]] = 0;
}

int any_add(struct engine *e, const struct job *j, unsigned int s)
{
	unsigned int i;
	int ret = 0;

	any_clear(e);
	for (i = 0; !ret && i < j->n_from; i++)
		ret = add_path(e, j->from[i].node, s, j->from[i].units);
	for (i = 0; !ret && i < j->n_to; i++)
		ret = add_path(e, s, j->to[i].node, j->to[i].units);
	return ret;
}

static void offer(struct engine *e, const struct job *j, unsigned int s)
{
	struct search *r = &e->search;
	double sum, local = state_tables(e, j, s, &sum), links = 0;
	int64_t added = 0;
	unsigned int i;

	for (i = 0; i < e->n_touched; i++) {
		uint32_t l = e->touched[i];
		double use = (e->load[l] + e->add[l]) * e->inv[l];

		added += e->add[l];
		e->class_sum[e->class[l]] += e->load[l] + e->add[l];
		if (use > local)
			local = use;
	}
	for (i = 0; i < e->n_classes; i++) {
		links += e->class_sum[i] * e->class_inv[i];
		e->class_sum[i] = 0;
	}
	r->local[s] = local;
	r->added[s] = added;
	r->sum[s] = links + sum;
}

int any_search(struct engine *e, const struct job *j)
{
	unsigned int s;
	int ret;

	for (s = 0; s < e->model->n_switches; s++) {
		e->search.local[s] = UNREACHABLE;
		if (!e->model->switches[s].candidate || e->model->switches[s].failed)
			continue;
		if (j->second && e->clos && e->clos->container[s] != j->home)
			continue;
		ret = any_add(e, j, s);
		if (!ret)
			offer(e, j, s);
		any_clear(e);
		if (ret == -ENOMEM)
			return ret;
	}
	return 0;
}

int any_explain(struct engine *e, const struct job *j, int s, struct engine_choice *c)
{
	double worst = -1, use;
	unsigned int i;
	int ret = any_add(e, j, s);

	for (i = 0; !ret && i < e->n_touched; i++) {
		uint32_t l = e->touched[i];

		use = (e->load[l] + e->add[l]) * e->inv[l];
		/* of links used alike the first, in whatever order they were touched */
		if (use > worst || (use == worst && l / 2 < c->link)) {
			worst = use;
			c->resource = ENGINE_LINK;
			c->link = l / 2;
		}
	}
	any_clear(e);
	if (ret)
		return ret;
	state_overlap(e, j);
	use = state_tunnels(e, j, s) * e->inv_tunnels[s];
	if (use > worst) {
		worst = use;
		c->resource = ENGINE_TUNNELS;
	}
	use = (e->members[s] + j->members) * e->inv_members[s];
	if (use > worst) {
		worst = use;
		c->resource = ENGINE_MEMBERS;
	}
	use = (e->rules[s] + j->rules) * e->inv_rules[s];
	if (use > worst) {
		worst = use;
		c->resource = ENGINE_RULES;
	}
	if ((e->placed + 1) * e->inv_hosts > worst)
		c->resource = ENGINE_HOSTS;
	return 0;
}
