// SPDX-License-Identifier: GPL-2.0
/*
 * Decides when a move may begin. While a VIP moves, its traffic is on the
 * SMuxes: what rests there, what is in transit and the newcomer together must
 * not be more than the SMuxes that are there can carry. Besides, so many moves
 * at once and so many a second.
 */
#include "priv.h"

#include <stdio.h>
#include <string.h>

#define RESTING_MS 500 /* how old the sum of what rests on the SMuxes may be */

double smux_capacity(const struct updater *u, bool (*without)(const char *name, void *ctx), void *ctx)
{
	double sum = 0;
	json_t *node;
	size_t i;

	json_array_foreach(json_object_get(u->model, "smuxes"), i, node) {
		struct mux *m = mux_find((struct updater *)u, get_str(node, "name", ""));

		if (!m || m->lost_ms || m->drained || m->fenced || (without && without(m->name, ctx)))
			continue;
		if (get_num(node, "mbps", 0) <= 0)
			return 0;	/* one of no known capacity: no limit can be computed */
		sum += get_num(node, "mbps", 0);
	}
	return sum * u->control.smux_percent / 100;
}

void limits_count(struct updater *u)
{
	uint64_t now = mono_ms();
	struct move *mv;
	unsigned int i;

	for (i = 0; i < u->n_muxes; i++)
		u->muxes[i].leaving = 0;
	u->transit_mbps = 0;
	TAILQ_FOREACH(mv, &u->moves, list) {
		struct mux *m = strcmp(mv->from, SMUX) ? mux_find(u, mv->from) : NULL;

		if (m && mv->state == MOVE_WITHDRAWING)
			m->leaving++;
		if (m)
			u->transit_mbps += vip_mbps(mv->vip);
	}
	if (!u->resting_ms || now - u->resting_ms > RESTING_MS) {
		u->resting_mbps = 0;
		for (i = 0; i < u->n_vips; i++) {
			const struct uvip *v = u->vips[i];

			if (!strcmp(v->mux, SMUX) && !(v->move && strcmp(v->move->from, SMUX)))
				u->resting_mbps += vip_mbps(v);
		}
		u->resting_ms = now;
		u->smux_mbps = smux_capacity(u, NULL, NULL);
	}
	if (u->control.moves_per_s && u->begun_ms) {
		u->begin_tokens += (now - u->begun_ms) * u->control.moves_per_s / 1000.0;
		if (u->begin_tokens > u->control.moves_per_s)
			u->begin_tokens = u->control.moves_per_s;
	}
	u->begun_ms = now;
}

bool limit_admits(struct updater *u, struct move *mv, char *why, size_t size)
{
	double mbps = vip_mbps(mv->vip), sum = u->resting_mbps + u->transit_mbps + mbps;
	bool adds = strcmp(mv->from, SMUX) && mv->kind != MOVE_DELETE;

	if (u->control.stop) {
		snprintf(why, size, "stopped by the operator");
	} else if (u->n_active >= u->control.max_moves) {
		snprintf(why, size, "%u moves are under way, as many as may be", u->n_active);
	} else if (u->control.moves_per_s && u->begin_tokens < 1) {
		snprintf(why, size, "only %u moves a second may begin", u->control.moves_per_s);
	} else if (adds && u->smux_mbps > 0 && sum > u->smux_mbps) {
		snprintf(why, size, "the SMuxes can't take its %.0f Mbps now: %.0f rest there, %.0f are in transit, "
			 "they carry %.0f", mbps, u->resting_mbps, u->transit_mbps, u->smux_mbps);
	} else {
		if (adds)
			u->transit_mbps += mbps;
		if (u->control.moves_per_s)
			u->begin_tokens -= 1;
		return true;
	}
	return false;
}
