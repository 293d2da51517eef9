// SPDX-License-Identifier: GPL-2.0
/*
 * Announcing is a trigger route in a kernel table of its own, which BIRD's
 * kernel protocol learns: no configuration of BIRD's changes when VIPs do, and
 * a trigger goes with the device.
 */
#include "agent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "log.h"

static bool is_host(const struct prefix *p)
{
	return p->len == (addr_is_v4(&p->addr) ? 32u : 128u);
}

static struct aggregate *aggregate_get(struct agent *a, const struct prefix *p)
{
	struct aggregate *g;

	for (g = a->aggregates; g < a->aggregates + a->n_aggregates; g++)
		if (g->prefix.len == p->len && !addr_cmp(&g->prefix.addr, &p->addr))
			return g;
	if (a->n_aggregates == AGGREGATES_MAX)
		return NULL;
	a->n_aggregates++;
	*g = (struct aggregate){ .prefix = *p };
	return g;
}

bool announce_aggregate_want(struct agent *a, const struct prefix *p)
{
	struct aggregate *g = aggregate_get(a, p);

	if (g)
		g->want = true;
	return g;
}

/* read_one - a trigger that is there; one for which there is no room goes at once */
static int read_one(struct agent *a, const struct rt_trigger *t, struct err *e)
{
	struct aggregate *g;
	struct mux_vip *v;

	if (is_host(&t->prefix)) {
		v = state_get(a, &t->prefix.addr);
		if (v)
			v->trigger = t->proto == DUET_PROTO_DRAIN ? ANNOUNCE_DRAIN : ANNOUNCE_YES;
		return 0;
	}
	g = aggregate_get(a, &t->prefix);
	if (!g)
		return rt_trigger_del(a->rt, &t->prefix, a->config.device, a->config.table, e);
	g->trigger = true;
	return 0;
}

int announce_read(struct agent *a, bool starting, struct err *e)
{
	unsigned int n, i, known = a->n_vips;
	enum announce *was = calloc(known + 1, sizeof(*was));
	struct rt_trigger *list = NULL;
	char text[ADDR_STRLEN];
	int ret;

	if (!was)
		return err_set(e, -ENOMEM, "no memory");
	ret = rt_trigger_dump(a->rt, a->config.device, a->config.table, &list, &n, e);
	if (ret)
		goto out;
	for (i = 0; i < known; i++) {
		was[i] = a->vips[i]->trigger;
		a->vips[i]->trigger = ANNOUNCE_NO;
	}
	for (i = 0; i < a->n_aggregates; i++)
		a->aggregates[i].trigger = false;
	for (i = 0; !ret && i < n; i++)
		ret = read_one(a, &list[i], e);
	/* triggers of VIPs nobody knew are new entries, and go in the next run */
	for (i = 0; !starting && known == a->n_vips && i < known; i++) {
		if (a->vips[i]->trigger == was[i])
			continue;
		log_warn("VIP %s: its trigger route was %s by somebody else", addr_str(&a->vips[i]->addr, text),
			 a->vips[i]->trigger == ANNOUNCE_NO ? "deleted" : was[i] == ANNOUNCE_NO ? "added" : "changed");
		a->count.drifts++;
		a->vips[i]->drift |= a->config.drift_report;
	}
out:
	free(list);
	free(was);
	return ret;
}

static uint64_t now_usec(struct agent *a)
{
	uint64_t now;

	sd_event_now(a->loop, CLOCK_MONOTONIC, &now);
	return now;
}

int announce_set(struct agent *a, struct mux_vip *v, enum announce to, struct changes *changes, struct err *e)
{
	struct prefix p = host_prefix(&v->addr);
	char text[ADDR_STRLEN];
	int ret;

	if (v->trigger == to)
		return 0;
	if (to == ANNOUNCE_NO)
		ret = rt_trigger_del(a->rt, &p, a->config.device, a->config.table, e);
	else
		ret = rt_trigger_set(a->rt, &p, a->config.device, a->config.table,
				     to == ANNOUNCE_DRAIN ? DUET_PROTO_DRAIN : DUET_PROTO_UP, e);
	if (ret)
		return ret;
	if (to == ANNOUNCE_NO) {
		v->withdrawn_usec = now_usec(a);
		changes->withdrawn++;
		a->count.withdrawn++;
	} else {
		v->withdrawn_usec = 0;
		changes->announced++;
		a->count.announced++;
	}
	log_info("%s %s", to == ANNOUNCE_NO ? "withdraw" : to == ANNOUNCE_DRAIN ? "drain" : "announce", addr_str(&v->addr, text));
	v->trigger = to;
	birdwatch_soon(a);
	return 0;
}

/* announce_aggregates - a covering prefix is announced while every VIP is
 * served, and by SMuxes only: on an HMux it would draw what others serve
 */
int announce_aggregates(struct agent *a, struct err *e)
{
	bool may = a->config.mode == DUET_MODE_SMUX && !a->drained && state_whole(a) && reach_aggregate(a);
	char text[ADDR_STRLEN];
	unsigned int i, n = 0;
	int ret;

	if (!a->synced && !a->drained)
		return 0;
	for (i = 0; i < a->n_aggregates; i++) {
		struct aggregate *g = &a->aggregates[i];
		bool want = may && g->want;

		if (g->trigger != want) {
			ret = want ? rt_trigger_set(a->rt, &g->prefix, a->config.device, a->config.table, DUET_PROTO_UP, e) :
				     rt_trigger_del(a->rt, &g->prefix, a->config.device, a->config.table, e);
			if (ret)
				return ret;
			log_info("%s %s/%u", want ? "announce" : "withdraw", addr_str(&g->prefix.addr, text), g->prefix.len);
			g->trigger = want;
			birdwatch_soon(a);
		}
	}
	for (i = 0; i < a->n_aggregates; i++)
		if (a->aggregates[i].want || a->aggregates[i].trigger)
			a->aggregates[n++] = a->aggregates[i];
	a->n_aggregates = n;
	return 0;
}
