// SPDX-License-Identifier: GPL-2.0
/*
 * Makes a model ready: traffic in whole units, parts by node, capacities as
 * factors, DIPs that several VIPs share, the order of the greedy.
 */
#include "priv.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "duet/limits.h"

static int by_node(const void *a, const void *b)
{
	const struct part *x = a, *y = b;

	return x->node < y->node ? -1 : x->node > y->node;
}

/* sort - most lists are short, and there are two for every VIP: qsort() would be a tenth of all */
static void sort(struct part *parts, unsigned int n)
{
	unsigned int i, k;

	if (n > 32) {
		qsort(parts, n, sizeof(*parts), by_node);
		return;
	}
	for (i = 1; i < n; i++) {
		struct part p = parts[i];

		for (k = i; k && parts[k - 1].node > p.node; k--)
			parts[k] = parts[k - 1];
		parts[k] = p;
	}
}

/* parts_merge - each node once, by rising node, nothing empty; their sum */
int parts_merge(struct part *parts, unsigned int *n, int64_t *sum)
{
	unsigned int i, k = 0;

	sort(parts, *n);
	*sum = 0;
	for (i = 0; i < *n; i++) {
		if (!parts[i].units)
			continue;
		*sum += parts[i].units;
		if (k && parts[k - 1].node == parts[i].node)
			parts[k - 1].units += parts[i].units;
		else
			parts[k++] = parts[i];
	}
	*n = k;
	return 0;
}

/* units - rounded so that no split in a Clos fabric leaves a rest */
static int64_t units(const struct engine *e, double mbps)
{
	int64_t step = e->clos ? e->clos->L : 1;

	return llround(mbps * ENGINE_UNIT / step) * step;
}

static struct part *parts_new(const struct engine *e, double mbps, const struct engine_share *list,
			      unsigned int n, bool dips, unsigned int *n_parts, int64_t *sum)
{
	struct part *parts = malloc((n + 1) * sizeof(*parts));
	double alive = 0, all = 0;
	unsigned int i, k = 0;

	if (!parts)
		return NULL;
	for (i = 0; i < n; i++) {
		all += list[i].share;
		if (!e->model->switches[list[i].node].failed)
			alive += list[i].share;
	}
	/* clients of a failed rack are silent, what went to its DIPs goes to the others */
	if (dips && alive > 0)
		mbps *= all / alive;
	for (i = 0; i < n; i++)
		if (!e->model->switches[list[i].node].failed)
			parts[k++] = (struct part){ list[i].node, units(e, mbps * list[i].share) };
	*n_parts = k;
	parts_merge(parts, n_parts, sum);
	return parts;
}

static double share_alive(const struct engine *e, const struct engine_vip *v)
{
	double alive = 0, all = 0;
	unsigned int i;

	for (i = 0; i < v->n_from; i++) {
		all += v->from[i].share;
		if (!e->model->switches[v->from[i].node].failed)
			alive += v->from[i].share;
	}
	return all > 0 ? alive / all : 1;
}

static int job_make(struct engine *e, struct job *j, const struct engine_vip *v)
{
	unsigned int i;

	j->from = parts_new(e, v->mbps, v->from, v->n_from, false, &j->n_from, &j->in);
	j->to = parts_new(e, v->mbps * share_alive(e, v), v->to, v->n_to, true, &j->n_to, &j->out);
	if (!j->from || !j->to)
		return -ENOMEM;
	j->tunnels = v->n_dips;
	j->members = v->members;
	j->rules = v->rules;
	if (!e->clos)
		return 0;
	j->symmetric = true;
	for (i = 0; i < j->n_from; i++)
		j->symmetric &= e->clos->tier[j->from[i].node] == ENGINE_TOR ||
				(int)j->from[i].node == e->clos->border;
	for (i = 0; i < j->n_to; i++)
		j->symmetric &= e->clos->tier[j->to[i].node] == ENGINE_TOR;
	return 0;
}

/* shared_dips - numbers those that more than one VIP has, and lists them by VIP */
static int shared_dips(struct engine *e)
{
	const struct engine_model *m = e->model;
	uint32_t *seen = calloc((size_t)m->n_dips + 1, sizeof(*seen)), number = 0;
	size_t i, k, n = 0;

	if (!seen)
		return -ENOMEM;
	for (i = 0; i < m->n_vips; i++)
		for (k = 0; k < m->vips[i].n_dips; k++)
			n += ++seen[m->vips[i].dips[k]] > 1 ? 2 : 0;
	e->shared = malloc((n + 1) * sizeof(*e->shared));
	if (!e->shared) {
		free(seen);
		return -ENOMEM;
	}
	for (i = 0; i < m->n_dips; i++)
		seen[i] = seen[i] > 1 ? ++number : 0;
	n = 0;
	for (i = 0; i < m->n_vips; i++) {
		e->jobs[i].shared = e->shared + n;
		for (k = 0; k < m->vips[i].n_dips; k++)
			if (seen[m->vips[i].dips[k]])
				e->shared[n++] = seen[m->vips[i].dips[k]] - 1;
		e->jobs[i].n_shared = e->shared + n - e->jobs[i].shared;
	}
	free(seen);
	e->n_holds = number;
	e->holds = calloc(number + 1, sizeof(*e->holds));
	return e->holds ? 0 : -ENOMEM;
}

static double weight(const struct engine_vip *v)
{
	return v->mbps / (v->n_dips ? v->n_dips : 1);
}

static int by_order(const void *a, const void *b, void *ctx)
{
	const struct engine *e = ctx;
	const struct engine_vip *x = &e->model->vips[*(const unsigned int *)a];
	const struct engine_vip *y = &e->model->vips[*(const unsigned int *)b];

	if (e->options.order == ENGINE_BY_DENSITY && weight(x) != weight(y))
		return weight(x) > weight(y) ? -1 : 1;
	if (x->mbps != y->mbps)
		return x->mbps > y->mbps ? -1 : 1;
	return strcmp(x->vip, y->vip);
}

static int order_make(struct engine *e)
{
	unsigned int i;

	e->order = malloc((e->model->n_vips + 1) * sizeof(*e->order));
	if (!e->order)
		return -ENOMEM;
	for (i = 0; i < e->model->n_vips; i++)
		e->order[i] = i;
	qsort_r(e->order, e->model->n_vips, sizeof(*e->order), by_order, e);
	return 0;
}

static int by_mbps(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* capacities - factors per link, and links of equal capacity as classes */
static int capacities(struct engine *e)
{
	const struct engine_model *m = e->model;
	double *mbps = malloc((m->n_links + 1) * sizeof(*mbps));
	unsigned int i, n = 0;

	if (!mbps)
		return -ENOMEM;
	for (i = 0; i < m->n_links; i++)
		mbps[i] = m->links[i].mbps;
	qsort(mbps, m->n_links, sizeof(*mbps), by_mbps);
	for (i = 0; i < m->n_links; i++)
		if (!n || mbps[n - 1] != mbps[i])
			mbps[n++] = mbps[i];
	e->n_classes = n;
	e->class_inv = malloc((n + 1) * sizeof(*e->class_inv));
	e->class_sum = calloc(n + 1, sizeof(*e->class_sum));
	e->inv = malloc((2 * (size_t)m->n_links + 1) * sizeof(*e->inv));
	e->class = malloc((2 * (size_t)m->n_links + 1) * sizeof(*e->class));
	if (!e->class_inv || !e->class_sum || !e->inv || !e->class) {
		free(mbps);
		return -ENOMEM;
	}
	for (i = 0; i < n; i++)
		e->class_inv[i] = 1 / (mbps[i] * e->options.link_share * ENGINE_UNIT);
	for (i = 0; i < 2 * m->n_links; i++) {
		const double *at = bsearch(&m->links[i / 2].mbps, mbps, n, sizeof(*mbps), by_mbps);

		e->class[i] = at - mbps;
		e->inv[i] = e->class_inv[at - mbps];
	}
	free(mbps);
	return 0;
}

static double inverse(uint32_t size)
{
	return size ? 1.0 / size : 0;
}

static int tables(struct engine *e)
{
	const struct engine_model *m = e->model;
	unsigned int i;

	e->inv_tunnels = malloc((m->n_switches + 1) * sizeof(double));
	e->inv_members = malloc((m->n_switches + 1) * sizeof(double));
	e->inv_rules = malloc((m->n_switches + 1) * sizeof(double));
	if (!e->inv_tunnels || !e->inv_members || !e->inv_rules)
		return -ENOMEM;
	e->smallest_table = DUET_SET_DIPS_MAX;
	for (i = 0; i < m->n_switches; i++) {
		const struct engine_switch *s = &m->switches[i];

		if (s->candidate && s->tunnels && s->tunnels < e->smallest_table)
			e->smallest_table = s->tunnels;
		e->inv_tunnels[i] = inverse(s->tunnels);
		e->inv_members[i] = inverse(s->members);
		e->inv_rules[i] = inverse(s->rules);
		e->most_tunnels = fmax(e->most_tunnels, e->inv_tunnels[i]);
		e->most_members = fmax(e->most_members, e->inv_members[i]);
		e->most_rules = fmax(e->most_rules, e->inv_rules[i]);
		/* every switch holds every /32 */
		if (s->hosts && !s->failed && (!e->min_hosts || s->hosts < e->min_hosts))
			e->min_hosts = s->hosts;
	}
	e->inv_hosts = inverse(e->min_hosts);
	return 0;
}

static int state_new(struct engine *e)
{
	size_t s = e->model->n_switches + 1, l = 2 * (size_t)e->model->n_links + 1;
	unsigned int i;

	e->load = calloc(l, sizeof(*e->load));
	e->add = calloc(l, sizeof(*e->add));
	e->touched = calloc(l, sizeof(*e->touched));
	e->tunnels = calloc(s, sizeof(uint32_t));
	e->members = calloc(s, sizeof(uint32_t));
	e->rules = calloc(s, sizeof(uint32_t));
	e->vips = calloc(s, sizeof(uint32_t));
	e->table = calloc(s, sizeof(*e->table));
	e->traffic = calloc(s, sizeof(*e->traffic));
	e->container_traffic = calloc(s, sizeof(*e->container_traffic));
	e->overlap = calloc(s, sizeof(uint32_t));
	e->overlapped = calloc(s, sizeof(uint32_t));
	e->search.local = calloc(s, sizeof(double));
	if (e->options.switch_blast > 0 || e->options.container_blast > 0) {
		e->search.soft = calloc(s, sizeof(double));
		if (!e->search.soft)
			return -ENOMEM;
	}
	e->search.rank = e->search.soft ? e->search.soft : e->search.local;
	e->search.sum = calloc(s, sizeof(double));
	e->search.added = calloc(s, sizeof(int64_t));
	e->tied = calloc(s, sizeof(uint32_t));
	e->tied_sum = calloc(s, sizeof(double));
	e->at = malloc((e->model->n_vips + 1) * sizeof(*e->at));
	e->first_at = calloc(e->model->n_vips + 1, sizeof(*e->first_at));
	e->tips = calloc(e->model->n_vips + 1, sizeof(*e->tips));
	if (!e->load || !e->add || !e->touched || !e->tunnels || !e->members || !e->rules ||
	    !e->vips || !e->traffic || !e->container_traffic || !e->overlap || !e->overlapped ||
	    !e->search.local || !e->search.sum || !e->search.added || !e->at ||
	    !e->tips || !e->tied || !e->tied_sum || !e->first_at)
		return -ENOMEM;
	for (i = 0; i < e->model->n_vips; i++)
		e->at[i] = ENGINE_SMUX;
	return 0;
}

int model_prepare(struct engine *e)
{
	unsigned int i;
	int ret;

	e->clos = clos_detect(e->model);
	e->jobs = calloc(e->model->n_vips + 1, sizeof(*e->jobs));
	ret = e->jobs ? capacities(e) : -ENOMEM;
	if (!ret)
		ret = tables(e);
	for (i = 0; !ret && i < e->model->n_vips; i++) {
		ret = job_make(e, &e->jobs[i], &e->model->vips[i]);
		if (!ret)
			e->total += e->jobs[i].out;
	}
	if (!ret)
		ret = shared_dips(e);
	if (!ret)
		ret = order_make(e);
	if (!ret)
		ret = state_new(e);
	if (!ret && e->clos) {
		e->scan = scan_new(e);
		ret = e->scan ? 0 : -ENOMEM;
	}
	return ret;
}

struct engine *engine_new(const struct engine_model *model, const struct engine_options *options)
{
	struct engine *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	e->model = model;
	e->options = *options;
	if (!model_prepare(e))
		return e;
	engine_free(e);
	return NULL;
}

void engine_free(struct engine *e)
{
	unsigned int i;

	if (!e)
		return;
	for (i = 0; e->jobs && i < e->model->n_vips; i++) {
		free(e->jobs[i].from);
		free(e->jobs[i].to);
		if (e->tips)
			tips_free(&e->tips[i]);
	}
	for (i = 0; e->holds && i < e->n_holds; i++)
		free(e->holds[i].at);
	free(e->holds);
	free(e->jobs);
	free(e->tips);
	free(e->first_at);
	free(e->shared);
	free(e->order);
	free(e->at);
	free(e->load);
	free(e->add);
	free(e->touched);
	free(e->tunnels);
	free(e->members);
	free(e->rules);
	free(e->vips);
	free(e->table);
	free(e->traffic);
	free(e->container_traffic);
	free(e->overlap);
	free(e->overlapped);
	free(e->inv);
	free(e->class);
	free(e->class_inv);
	free(e->class_sum);
	free(e->inv_tunnels);
	free(e->inv_members);
	free(e->inv_rules);
	free(e->search.local);
	free(e->search.soft);
	free(e->search.sum);
	free(e->search.added);
	free(e->tied);
	free(e->tied_sum);
	scan_free(e->scan);
	clos_free(e->clos);
	engine_paths_free(e->paths);
	free(e);
}
