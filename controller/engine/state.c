// SPDX-License-Identifier: GPL-2.0
/* What is used: loads of links and entries of tables, put on and taken off. */
#include "priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int hold(struct engine *e, uint32_t dip, unsigned int s, int sign)
{
	struct hold *h = &e->holds[dip];
	unsigned int i;

	for (i = 0; i < h->n && h->at[i].node != s; i++)
		;
	if (i == h->n) {
		if (h->n == h->room) {
			unsigned int room = h->room ? 2 * h->room : 2;
			struct holder *at = realloc(h->at, room * sizeof(*at));

			if (!at)
				return -ENOMEM;
			h->at = at;
			h->room = room;
		}
		h->at[h->n++] = (struct holder){ s, 0 };
	}
	h->at[i].count += sign;
	/* the VIP's own entries are counted whole; what another holds already is taken off again */
	if (sign > 0 ? h->at[i].count > 1 : h->at[i].count > 0)
		e->tunnels[s] -= sign;
	if (!h->at[i].count)
		h->at[i] = h->at[--h->n];
	return 0;
}

static void most(double *worst, double use)
{
	if (use > *worst)
		*worst = use;
}

/* table_worst - the most used table of a switch, hosts left out */
static double table_worst(const struct engine *e, unsigned int s)
{
	double worst = e->tunnels[s] * e->inv_tunnels[s];

	most(&worst, e->members[s] * e->inv_members[s]);
	most(&worst, e->rules[s] * e->inv_rules[s]);
	return worst;
}

int state_commit(struct engine *e, const struct job *j, int mux, int sign)
{
	unsigned int i;
	int ret;

	if (e->clos && !e->options.plain && j->symmetric && j->n_to) {
		scan_commit(e, j, mux, sign);
	} else {
		ret = any_add(e, j, mux);
		if (ret) {
			any_clear(e);
			return ret;
		}
		for (i = 0; i < e->n_touched; i++)
			e->load[e->touched[i]] += sign * e->add[e->touched[i]];
		if (e->scan)
			scan_refresh_links(e, e->touched, e->n_touched);
		any_clear(e);
	}
	e->tunnels[mux] += sign * (int)j->tunnels;
	e->members[mux] += sign * (int)j->members;
	e->rules[mux] += sign * (int)j->rules;
	e->vips[mux] += sign;
	e->placed += sign;
	e->traffic[mux] += sign * j->in;
	if (e->clos && e->clos->container[mux] != UINT32_MAX)
		e->container_traffic[e->clos->container[mux]] += sign * j->in;
	for (i = 0; i < j->n_shared; i++)
		if (hold(e, j->shared[i], mux, sign))
			return -ENOMEM;
	e->table[mux] = table_worst(e, mux);
	return 0;
}

double state_worst(const struct engine *e)
{
	double worst = e->placed * e->inv_hosts;
	unsigned int i;

	for (i = 0; i < 2 * e->model->n_links; i++)
		most(&worst, e->load[i] * e->inv[i]);
	for (i = 0; i < e->model->n_switches; i++)
		most(&worst, e->table[i]);
	return worst;
}

/* state_overlap - e->overlap: of the job's shared DIPs, how many each switch has already */
void state_overlap(struct engine *e, const struct job *j)
{
	unsigned int i, k;

	for (i = 0; i < e->n_overlapped; i++)
		e->overlap[e->overlapped[i]] = 0;
	e->n_overlapped = 0;
	for (i = 0; i < j->n_shared; i++) {
		const struct hold *h = &e->holds[j->shared[i]];

		for (k = 0; k < h->n; k++)
			if (!e->overlap[h->at[k].node]++)
				e->overlapped[e->n_overlapped++] = h->at[k].node;
	}
}

bool engine_is_clos(const struct engine *e)
{
	return e->clos;
}

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

static uint32_t *copy(const uint32_t *list, size_t n)
{
	uint32_t *c = malloc((n + 1) * sizeof(*c));

	if (c && n)
		memcpy(c, list, n * sizeof(*c));
	return c;
}

int engine_load_get(const struct engine *e, struct engine_load *load)
{
	unsigned int i, n = e->model->n_switches;

	memset(load, 0, sizeof(*load));
	for (i = 0; i < 2; i++)
		load->link[i] = calloc(e->model->n_links + 1, sizeof(double));
	load->tunnels = copy(e->tunnels, n);
	load->members = copy(e->members, n);
	load->rules = copy(e->rules, n);
	load->vips = copy(e->vips, n);
	if (!load->link[0] || !load->link[1] || !load->tunnels || !load->members || !load->rules ||
	    !load->vips) {
		engine_load_free(load);
		return -ENOMEM;
	}
	for (i = 0; i < 2 * e->model->n_links; i++)
		load->link[i % 2][i / 2] = e->load[i] / ENGINE_UNIT;
	load->mru = state_worst(e);
	return 0;
}
