// SPDX-License-Identifier: GPL-2.0
/*
 * Which switch is best for a job. Far from full, many switches tie, for one
 * busy link that the VIP touches wherever it is put is the maximum for all of
 * them. Of those within rounding of the lowest MRU, the ones with the least
 * traffic added to links (no detour) count; of those, the ones where links and
 * tables on the way are least used in sum (so VIPs spread); of those, the
 * first. That depends on the set of switches only, not on the order in which
 * they are looked at.
 *
 * What is used elsewhere is left out: as the maximum with a constant it
 * changes nothing in the comparison.
 */
#include "priv.h"

#define ADDED_EPSILON 128 /* units: what rounding may add up to */

static bool by_classes(const struct engine *e, const struct job *j)
{
	return e->scan && j->symmetric && !j->second && !e->options.plain;
}

/* soften - what the options want besides: no switch, no container with too many eggs in it */
static double soften(const struct engine *e, const struct job *j, unsigned int s)
{
	double rank = e->search.local[s], use;
	uint32_t x;

	if (rank > 1 + ENGINE_EPSILON)
		return rank == UNREACHABLE ? rank : rank + 1000; /* after all that fit */
	if (e->options.switch_blast > 0) {
		use = 3 * (e->traffic[s] + j->in) / (e->options.switch_blast * e->total);
		rank = use > rank ? use : rank;
	}
	x = e->clos ? e->clos->container[s] : UINT32_MAX;
	if (e->options.container_blast > 0 && x != UINT32_MAX) {
		use = (e->container_traffic[x] + j->in) / (e->options.container_blast * e->total);
		rank = use > rank ? use : rank;
	}
	return rank;
}

int pick_search(struct engine *e, const struct job *j)
{
	unsigned int s;
	int ret = 0;

	state_overlap(e, j);
	if (by_classes(e, j)) {
		scan_job(e, j);
		scan_search(e, j);
	} else if (e->options.plain) {
		ret = plain_search(e, j);
	} else {
		ret = any_search(e, j);
	}
	for (s = 0; e->search.soft && s < e->model->n_switches; s++)
		e->search.soft[s] = soften(e, j, s);
	return ret;
}

static double sum(struct engine *e, const struct job *j, unsigned int s)
{
	return by_classes(e, j) ? scan_sum(e, j, s) : e->search.sum[s];
}

int pick_best(struct engine *e, const struct job *j, int but)
{
	const double *rank = e->search.rank;
	int64_t *added = e->search.added;
	double low = UNREACHABLE, low_sum = UNREACHABLE;
	uint32_t *tied = e->tied;
	unsigned int n = 0, i, k;
	int64_t least = INT64_MAX;

	for (i = 0; i < e->model->n_switches; i++)
		if ((int)i != but && rank[i] < low)
			low = rank[i];
	if (low == UNREACHABLE)
		return -1;
	for (i = 0; i < e->model->n_switches; i++)
		if ((int)i != but && rank[i] <= low + ENGINE_EPSILON)
			tied[n++] = i;
	if (by_classes(e, j))
		scan_added(e, j, tied, n);
	for (i = 0; i < n; i++)
		if (added[tied[i]] < least)
			least = added[tied[i]];
	for (i = k = 0; i < n; i++)
		if (added[tied[i]] <= least + ADDED_EPSILON)
			tied[k++] = tied[i];
	for (i = 0; i < k; i++) {
		e->tied_sum[i] = sum(e, j, tied[i]);
		if (e->tied_sum[i] < low_sum)
			low_sum = e->tied_sum[i];
	}
	for (i = 0; i < k; i++)
		if (e->tied_sum[i] <= low_sum + ENGINE_EPSILON)
			break;
	return tied[i];
}

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

/* pick_random - in an order of the VIP's own, whatever place it has among the others */
int pick_random(struct engine *e, const struct job *j, unsigned int vip)
{
	uint64_t h = e->options.seed, n = e->model->n_switches, step, i;
	const char *name = e->model->vips[vip].vip;

	for (; *name; name++)
		h = mix(h + (unsigned char)*name + 0x9e3779b97f4a7c15ull);
	/* a step without common divisor with n visits every switch once */
	for (step = 1 + h % n;; step++) {
		uint64_t a = step, b = n, t;

		for (; b; a = t) {
			t = b;
			b = a % b;
		}
		if (a == 1)
			break;
	}
	h = mix(h) % n;
	for (i = 0; i < n; i++, h = (h + step) % n)
		if (e->search.local[h] <= 1 + ENGINE_EPSILON)
			return h;
	return pick_best(e, j, -1);
}
