// SPDX-License-Identifier: GPL-2.0
/*
 * The paper's greedy. VIPs by falling traffic; each goes to the switch where
 * the maximum resource utilisation (MRU) over all links and switch tables is
 * lowest; when even that is over 100 %, this VIP and all later ones stay on
 * the SMuxes. Sticky: a VIP leaves its switch only if its MRU falls by more
 * than delta. And the same for a few VIPs among others that stay.
 */
#include "priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FITS (1 + ENGINE_EPSILON)

double greedy_score(const struct engine *e, int s)
{
	return e->search.rank[s] > e->worst ? e->search.rank[s] : e->worst;
}

int greedy_sticky(const struct engine *e, int current, int best)
{
	if (current < 0 || current == best || e->search.local[current] > FITS ||
	    greedy_score(e, current) - greedy_score(e, best) > e->options.delta + ENGINE_EPSILON)
		return best;
	return current;
}

/* fits_empty - could any switch's tables take it, were it alone there */
static bool fits_empty(const struct engine *e, const struct job *j)
{
	unsigned int s;

	for (s = 0; s < e->model->n_switches; s++) {
		const struct engine_switch *sw = &e->model->switches[s];

		if (sw->candidate && (!sw->tunnels || j->tunnels <= sw->tunnels) &&
		    (!sw->members || j->members <= sw->members) &&
		    (!sw->rules || j->rules <= sw->rules))
			return true;
	}
	return false;
}

/* choose - the switch for a job that was searched for; ENGINE_SMUX: none, c->why says why not */
static int choose(struct engine *e, unsigned int vip, const struct job *j, struct engine_choice *c)
{
	bool random = e->options.random;
	int best, mux;

	if (e->options.stay) {
		mux = e->model->vips[vip].current;
		if (mux >= 0 && e->search.local[mux] <= FITS) {
			c->why = ENGINE_KEPT;
			c->mru = greedy_score(e, mux);
			return mux;
		}
		c->why = ENGINE_STOPPED;
		return ENGINE_SMUX;
	}
	best = random ? pick_random(e, j, vip) : pick_best(e, j, -1);
	if (best < 0) {
		c->why = ENGINE_NO_SWITCH;
		return ENGINE_SMUX;
	}
	c->mru = greedy_score(e, best);
	if (!fits_empty(e, j)) {
		c->why = ENGINE_TOO_BIG;
		return ENGINE_SMUX;
	}
	if (e->search.local[best] > FITS) {
		c->why = ENGINE_FULL;
		c->other = best;
		return ENGINE_SMUX;
	}
	mux = e->options.sticky ? greedy_sticky(e, e->model->vips[vip].current, best) : best;
	c->why = mux == best ? ENGINE_BEST : ENGINE_KEPT;
	c->mru = greedy_score(e, mux);
	c->other = mux == best && e->options.explain ? pick_best(e, j, best) : best;
	if (mux == best && !e->options.explain)
		c->other = -1;
	if (c->other >= 0)
		c->other_mru = greedy_score(e, c->other);
	return mux;
}

static int commit(struct engine *e, unsigned int vip, const struct job *j, int mux, bool two)
{
	double local = e->search.local[mux];
	int ret;

	if (two)
		ret = tips_place(e, vip, mux);
	else
		ret = state_commit(e, j, mux, 1);
	if (ret)
		return ret;
	e->at[vip] = mux;
	if (two)
		e->worst = state_worst(e);
	else if (local > e->worst)
		e->worst = local;
	return 0;
}

/* place - the place of one VIP */
static int place(struct engine *e, unsigned int vip, struct engine_choice *c)
{
	const struct job *j = &e->jobs[vip];
	bool two = tips_wanted(e, vip);
	struct job top;
	int ret = 0, mux, seen;

	*c = (struct engine_choice){ .mux = ENGINE_SMUX, .other = -1 };
	if (e->model->vips[vip].unplaceable) {
		c->why = ENGINE_UNPLACEABLE;
		return 0;
	}
	if (two) {
		ret = tips_make(e, vip, &top);
		j = &top;
	}
	if (!ret)
		ret = pick_search(e, j);
	if (ret)
		return ret;
	mux = choose(e, vip, j, c);
	seen = mux >= 0 ? mux : c->other;
	if (e->options.explain && seen >= 0) {
		ret = any_explain(e, j, seen, c);
		if (ret)
			return ret;
	}
	if (mux < 0)
		return 0;
	ret = commit(e, vip, j, mux, two);
	if (ret == 1) {
		c->why = ENGINE_NO_TIPS;
		return 0;
	}
	if (ret)
		return ret;
	c->mux = mux;
	if (two) {
		c->tips = e->tips[vip].tip;
		c->n_tips = e->tips[vip].n;
	}
	return 0;
}

static int off(struct engine *e, unsigned int vip)
{
	int mux = e->at[vip], ret;

	if (mux < 0)
		return 0;
	ret = e->tips[vip].n ? tips_off(e, vip) : state_commit(e, &e->jobs[vip], mux, -1);
	e->at[vip] = ENGINE_SMUX;
	return ret;
}

int engine_run(struct engine *e, struct engine_choice *choices)
{
	bool stop = false;
	unsigned int i;
	int ret;

	for (i = 0; i < e->model->n_vips; i++) {
		ret = off(e, i);
		if (ret)
			return ret;
	}
	e->worst = 0;
	for (i = 0; i < e->model->n_vips; i++) {
		struct engine_choice *c = &choices[e->order[i]];

		if (stop) {
			*c = (struct engine_choice){ .mux = ENGINE_SMUX,
						     .why = ENGINE_STOPPED,
						     .other = -1 };
			continue;
		}
		ret = place(e, e->order[i], c);
		if (ret)
			return ret;
		/* with the host tables full nothing fits any more, whatever the rule */
		stop = c->why == ENGINE_FULL &&
		       ((!e->options.go_on && !e->options.random) ||
			(e->min_hosts && e->placed >= e->min_hosts));
	}
	ret = e->options.rounds ? engine_improve(e, e->options.rounds, choices) : 0;
	return ret < 0 ? ret : 0;
}

int engine_hold(struct engine *e, unsigned int vip, int mux)
{
	int ret = off(e, vip);

	if (!ret && mux >= 0) {
		ret = tips_wanted(e, vip) ? tips_hold(e, vip, mux) :
					    state_commit(e, &e->jobs[vip], mux, 1);
		if (!ret)
			e->at[vip] = mux;
	}
	e->worst = -1; /* not known: found out when needed */
	return ret;
}

static int by_place(const void *a, const void *b, void *ctx)
{
	const unsigned int *rank = ctx;
	unsigned int x = rank[*(const unsigned int *)a], y = rank[*(const unsigned int *)b];

	return x < y ? -1 : x > y;
}

int engine_change(struct engine *e, const unsigned int *vips, unsigned int n,
		  struct engine_choice *choices)
{
	unsigned int *list = malloc((n + 1) * sizeof(*list));
	unsigned int *rank = malloc((e->model->n_vips + 1) * sizeof(*rank)), i;
	int ret = list && rank ? 0 : -ENOMEM;

	for (i = 0; !ret && i < n; i++) {
		list[i] = vips[i];
		ret = off(e, vips[i]);
	}
	if (!ret) {
		for (i = 0; i < e->model->n_vips; i++)
			rank[e->order[i]] = i;
		if (n)
			qsort_r(list, n, sizeof(*list), by_place, rank);
		e->worst = state_worst(e);
	}
	for (i = 0; !ret && i < n; i++)
		ret = place(e, list[i], &choices[list[i]]);
	free(list);
	free(rank);
	return ret;
}

/* alike - same reason, MRU and places; tips: the places of a's TIPs, which are gone by now */
static bool alike(const struct engine_choice *a, const int *tips, const struct engine_choice *b)
{
	bool same = a->mux == b->mux && a->why == b->why && a->mru == b->mru && a->n_tips == b->n_tips;
	unsigned int i;

	for (i = 0; same && i < b->n_tips; i++)
		same = tips[i] == b->tips[i].mux;
	return same;
}

int engine_check(struct engine *e, unsigned int vip, struct engine_choice *choices)
{
	struct engine_choice *c = &choices[vip], first;
	bool plain = e->options.plain;
	int *tips = NULL, ret;
	unsigned int i;

	e->options.plain = true;
	ret = engine_change(e, &vip, 1, choices);
	if (!ret) {
		tips = calloc(c->n_tips + 1, sizeof(*tips));
		ret = tips ? 0 : -ENOMEM;
	}
	for (i = 0; !ret && i < c->n_tips; i++)
		tips[i] = c->tips[i].mux;
	first = *c;
	e->options.plain = false;
	if (!ret)
		ret = engine_change(e, &vip, 1, choices);
	e->options.plain = plain;
	if (!ret)
		ret = !alike(&first, tips, c);
	free(tips);
	return ret;
}

/* again - one VIP taken off and put where it is best now; 1: elsewhere, and better there */
static int again(struct engine *e, unsigned int vip, struct engine_choice *c)
{
	const struct job *j = &e->jobs[vip];
	int from = e->at[vip], best, ret;

	if (from < 0) {
		if (c->why == ENGINE_UNPLACEABLE || c->why == ENGINE_TOO_BIG)
			return 0;
		ret = place(e, vip, c);
		return ret ? ret : c->mux >= 0;
	}
	if (e->tips[vip].n)
		return 0;
	ret = off(e, vip);
	if (!ret)
		ret = pick_search(e, j);
	if (ret)
		return ret;
	best = pick_best(e, j, -1);
	if (best < 0 || e->search.rank[best] >= e->search.rank[from] - ENGINE_EPSILON)
		best = from;
	ret = state_commit(e, j, best, 1);
	e->at[vip] = best;
	c->mux = best;
	return ret ? ret : best != from;
}

int engine_improve(struct engine *e, unsigned int rounds, struct engine_choice *choices)
{
	unsigned int round, i, moved = 1, all = 0;
	int ret;

	for (round = 0; round < rounds && moved; round++) {
		moved = 0;
		for (i = 0; i < e->model->n_vips; i++) {
			if (e->at[e->order[i]] < 0 && e->min_hosts && e->placed >= e->min_hosts)
				continue;
			ret = again(e, e->order[i], &choices[e->order[i]]);
			if (ret < 0)
				return ret;
			moved += ret;
		}
		all += moved;
	}
	e->worst = state_worst(e);
	return all;
}

int engine_assign(const struct engine_model *m, const struct engine_options *options,
		  struct engine_choice *choices, struct engine_load *load)
{
	struct engine *e = engine_new(m, options);
	unsigned int i;
	int ret = e ? engine_run(e, choices) : -ENOMEM;

	if (!ret)
		ret = engine_load_get(e, load);
	for (i = 0; !ret && i < m->n_vips; i++) {
		choices[i].tips = NULL;
		choices[i].n_tips = 0;
	}
	engine_free(e);
	return ret;
}
