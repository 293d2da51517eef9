// SPDX-License-Identifier: GPL-2.0
/*
 * VIPs with more DIPs than a tunnel table has entries (paper, section 5; the
 * paper leaves their placement out). The VIP's mux tunnels to TIPs, each TIP's
 * mux to its share of the DIPs:
 *
 * 1. in a Clos fabric the DIPs of each container are cut into the fewest equal
 *    TIPs that fit a table; elsewhere all DIPs are, sorted by rack. A TIP that
 *    served several containers would pull all their traffic through one: a core
 *    has one link to each, and the largest VIPs need them all;
 * 2. the VIP's place is chosen as for any VIP, for traffic that goes on to the
 *    DIPs' racks (it will, by way of the TIPs), with one tunnel a TIP;
 * 3. each TIP, by falling traffic, is a job of its own that enters at the VIP's
 *    mux. In a Clos fabric it goes to a ToR or Agg of the container that gets
 *    most of it: there it lies on the way, anywhere else it is a detour;
 * 4. a TIP takes a host entry on every switch as a VIP does, never shares the
 *    VIP's mux (a packet can't be encapsulated twice in one pass), and keeps
 *    its place by the sticky rule;
 * 5. all or nothing: if one TIP doesn't fit, the VIP stays on the SMuxes, and
 *    the greedy goes on, for that doesn't mean the fabric is full.
 */
#include "priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "duet/limits.h"

/* table - DIPs that one table may lead to; 0: no bound */
static uint32_t table(const struct engine *e)
{
	uint32_t most = 0;
	unsigned int i;

	for (i = 0; i < e->model->n_switches; i++) {
		const struct engine_switch *s = &e->model->switches[i];

		if (!s->candidate || s->failed)
			continue;
		if (!s->tunnels || s->tunnels > DUET_SET_DIPS_MAX)
			return DUET_SET_DIPS_MAX;
		if (s->tunnels > most)
			most = s->tunnels;
	}
	return most;
}

bool tips_wanted(const struct engine *e, unsigned int vip)
{
	const struct engine_vip *v = &e->model->vips[vip];
	uint32_t size;

	if (!e->options.tips || !v->dip_node || v->unplaceable)
		return false;
	/* most VIPs are far below any table: don't look at all switches for them */
	if (v->n_dips <= e->smallest_table)
		return false;
	size = table(e);
	return size && v->n_dips > size && v->n_dips <= (uint64_t)size * size;
}

void tips_free(struct tips *t)
{
	unsigned int i;

	for (i = 0; t->jobs && i < t->n; i++) {
		free(t->jobs[i].from);
		free(t->jobs[i].to);
	}
	free(t->jobs);
	free(t->tip);
	free(t->order);
	memset(t, 0, sizeof(*t));
}

struct near {
	const struct engine *e;
	const uint32_t *node;
};

static int by_rack(const void *a, const void *b, void *ctx)
{
	const struct near *near = ctx;
	uint32_t i = *(const uint32_t *)a, k = *(const uint32_t *)b;
	uint32_t x = near->node[i], y = near->node[k];

	if (near->e->clos && near->e->clos->container[x] != near->e->clos->container[y])
		return near->e->clos->container[x] < near->e->clos->container[y] ? -1 : 1;
	if (x != y)
		return x < y ? -1 : 1;
	return i < k ? -1 : i > k;
}

/* home - the container that gets most of a TIP's traffic */
static uint32_t home(const struct engine *e, const struct job *j)
{
	uint32_t best = UINT32_MAX;
	int64_t most = -1, sum;
	unsigned int i, k;

	for (i = 0; e->clos && i < j->n_to; i = k) {
		uint32_t x = e->clos->container[j->to[i].node];

		for (k = i, sum = 0; k < j->n_to && e->clos->container[j->to[k].node] == x; k++)
			sum += j->to[k].units;
		if (sum > most) {
			most = sum;
			best = x;
		}
	}
	return best;
}

static int job_of(struct engine *e, struct job *j, const struct engine_vip *v,
		  const struct engine_tip *tip, int64_t each, int64_t rest)
{
	unsigned int i;

	j->to = malloc((tip->n_dips + 1) * sizeof(*j->to));
	j->from = malloc(sizeof(*j->from));
	if (!j->to || !j->from)
		return -ENOMEM;
	for (i = 0; i < tip->n_dips; i++) {
		uint32_t node = v->dip_node[tip->dips[i]];

		if (e->model->switches[node].failed)
			continue;
		j->to[j->n_to++] = (struct part){ node, each + rest };
		rest = 0;
	}
	parts_merge(j->to, &j->n_to, &j->out);
	j->tunnels = j->members = tip->n_dips;
	j->second = true;
	j->home = home(e, j);
	return 0;
}

/* group_end - where the DIPs that may share TIPs with the one at `at` end */
static unsigned int group_end(const struct engine *e, const struct engine_vip *v,
			      const uint32_t *order, unsigned int at)
{
	const struct clos *c = e->clos;
	unsigned int i = at;

	while (i < v->n_dips && (!c || c->container[v->dip_node[order[i]]] ==
					c->container[v->dip_node[order[at]]]))
		i++;
	return i;
}

/* cut - TIPs of equal size out of every group; their number, with none written if t is NULL */
static unsigned int cut(const struct engine *e, const struct engine_vip *v, const uint32_t *order,
			unsigned int size, struct engine_tip *t)
{
	unsigned int at, end, n = 0, i, parts;

	for (at = 0; at < v->n_dips; at = end) {
		end = group_end(e, v, order, at);
		parts = (end - at + size - 1) / size;
		for (i = 0; t && i < parts; i++) {
			unsigned int first = at + (uint64_t)(end - at) * i / parts;
			unsigned int last = at + (uint64_t)(end - at) * (i + 1) / parts;

			t[n + i] = (struct engine_tip){ ENGINE_SMUX, order + first, last - first };
		}
		n += parts;
	}
	return n;
}

int tips_make(struct engine *e, unsigned int vip, struct job *top)
{
	const struct engine_vip *v = &e->model->vips[vip];
	struct near near = { e, v->dip_node };
	unsigned int i, size = table(e), alive = 0;
	struct tips *t = &e->tips[vip];
	int64_t step = e->clos ? e->clos->L : 1, each, rest;

	tips_free(t);
	t->order = malloc((v->n_dips + 1) * sizeof(*t->order));
	if (!t->order)
		return -ENOMEM;
	for (i = 0; i < v->n_dips; i++) {
		t->order[i] = i;
		alive += !e->model->switches[v->dip_node[i]].failed;
	}
	qsort_r(t->order, v->n_dips, sizeof(*t->order), by_rack, &near);
	t->n = cut(e, v, t->order, size, NULL);
	t->tip = calloc(t->n, sizeof(*t->tip));
	t->jobs = calloc(t->n, sizeof(*t->jobs));
	if (!t->tip || !t->jobs)
		return -ENOMEM;
	cut(e, v, t->order, size, t->tip);
	each = alive ? e->jobs[vip].out / step / alive * step : 0;
	rest = e->jobs[vip].out - each * alive;
	for (i = 0; i < t->n; i++) {
		if (job_of(e, &t->jobs[i], v, &t->tip[i], each, rest))
			return -ENOMEM;
		if (t->jobs[i].n_to)
			rest = 0;
	}
	*top = e->jobs[vip];
	top->tunnels = top->members = t->n;
	top->n_shared = 0;
	return 0;
}

/* first - what the VIP's own mux holds: traffic up to it, a tunnel to every TIP */
static struct job first(const struct engine *e, unsigned int vip)
{
	struct job j = e->jobs[vip];

	j.to = NULL;
	j.n_to = 0;
	j.out = 0;
	j.tunnels = j.members = e->tips[vip].n;
	j.n_shared = 0;
	return j;
}

static int tip_at(struct engine *e, struct tips *t, unsigned int i, int mux)
{
	int ret = state_commit(e, &t->jobs[i], mux, 1);

	if (!ret)
		t->tip[i].mux = mux;
	return ret;
}

static void enters_at(struct job *j, int mux)
{
	j->from[0] = (struct part){ mux, j->out };
	j->n_from = j->out > 0;
	j->in = j->out;
}

int tips_off(struct engine *e, unsigned int vip)
{
	struct tips *t = &e->tips[vip];
	struct job top = first(e, vip);
	unsigned int i;
	int ret = state_commit(e, &top, e->first_at[vip], -1);

	for (i = 0; !ret && i < t->n; i++)
		if (t->tip[i].mux >= 0)
			ret = state_commit(e, &t->jobs[i], t->tip[i].mux, -1);
	tips_free(t);
	return ret;
}

static int place_one(struct engine *e, unsigned int vip, unsigned int i, int mux)
{
	const struct engine_vip *v = &e->model->vips[vip];
	struct tips *t = &e->tips[vip];
	int best, current = i < v->n_current_tips ? v->current_tips[i] : ENGINE_SMUX;
	int ret = pick_search(e, &t->jobs[i]);

	if (ret)
		return ret;
	best = pick_best(e, &t->jobs[i], mux);
	if (best < 0 || e->search.local[best] > 1 + ENGINE_EPSILON)
		return 1;
	if (e->options.sticky && current != mux)
		best = greedy_sticky(e, current, best);
	return tip_at(e, t, i, best);
}

int tips_place(struct engine *e, unsigned int vip, int mux)
{
	struct tips *t = &e->tips[vip];
	struct job top = first(e, vip);
	unsigned int i, k, best;
	int ret = state_commit(e, &top, mux, 1);

	e->first_at[vip] = mux;
	for (i = 0; i < t->n; i++)
		enters_at(&t->jobs[i], mux);
	for (i = 0; !ret && i < t->n; i++) {
		/* the one of most traffic that has no place yet; of equals the first */
		for (best = t->n, k = 0; k < t->n; k++)
			if (t->tip[k].mux < 0 &&
			    (best == t->n || t->jobs[k].out > t->jobs[best].out))
				best = k;
		ret = place_one(e, vip, best, mux);
	}
	if (ret == 1)
		return tips_off(e, vip) ? -ENOMEM : 1;
	return ret;
}

int tips_hold(struct engine *e, unsigned int vip, int mux)
{
	const struct engine_vip *v = &e->model->vips[vip];
	struct tips *t = &e->tips[vip];
	struct job top;
	unsigned int i;
	int ret = tips_make(e, vip, &top);

	if (ret)
		return ret;
	top = first(e, vip);
	ret = state_commit(e, &top, mux, 1);
	e->first_at[vip] = mux;
	for (i = 0; !ret && i < t->n; i++) {
		enters_at(&t->jobs[i], mux);
		if (i < v->n_current_tips && v->current_tips[i] >= 0)
			ret = tip_at(e, t, i, v->current_tips[i]);
	}
	return ret;
}
