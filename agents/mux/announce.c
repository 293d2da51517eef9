// SPDX-License-Identifier: GPL-2.0
/*
 * Announcing is a trigger route in a kernel table of its own, which BIRD's
 * kernel protocol learns: no configuration of BIRD's changes when VIPs do, and
 * a trigger goes with the device.
 */
#include "agent.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "log.h"

static bool is_host(const struct prefix *p)
{
	return p->len == (addr_is_v4(&p->addr) ? 32u : 128u);
}

int announce_read(struct agent *a, struct err *e)
{
	struct rt_trigger *list;
	unsigned int n, i;
	int ret = rt_trigger_dump(a->rt, a->config.device, a->config.table, &list, &n, e);

	if (ret)
		return ret;
	for (i = 0; i < a->n_vips; i++)
		a->vips[i]->trigger = ANNOUNCE_NO;
	a->aggregate_trigger = false;
	for (i = 0; i < n; i++) {
		struct mux_vip *v;

		if (!is_host(&list[i].prefix)) {
			a->aggregate_trigger = true;
			a->aggregate_at = list[i].prefix;
			continue;
		}
		v = state_get(a, &list[i].prefix.addr);
		if (v)
			v->trigger = list[i].proto == DUET_PROTO_DRAIN ? ANNOUNCE_DRAIN : ANNOUNCE_YES;
	}
	free(list);
	return 0;
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

/* announce_aggregate - the covering prefix is announced while every VIP is
 * served, and by SMuxes only: on an HMux it would draw what others serve
 */
int announce_aggregate(struct agent *a, struct err *e)
{
	bool want = a->synced && a->aggregate.len && a->config.mode == DUET_MODE_SMUX && state_whole(a) &&
		    reach_aggregate(a);
	bool same = a->aggregate_trigger && a->aggregate_at.len == a->aggregate.len &&
		    !addr_cmp(&a->aggregate_at.addr, &a->aggregate.addr);
	char text[ADDR_STRLEN];
	int ret;

	if (!a->synced || want == (a->aggregate_trigger && same))
		if (!(a->synced && a->aggregate_trigger && !same))
			return 0;
	if (a->aggregate_trigger && !(want && same)) {
		ret = rt_trigger_del(a->rt, &a->aggregate_at, a->config.device, a->config.table, e);
		if (ret)
			return ret;
		log_info("withdraw %s/%u", addr_str(&a->aggregate_at.addr, text), a->aggregate_at.len);
		a->aggregate_trigger = false;
	}
	if (want && !a->aggregate_trigger) {
		ret = rt_trigger_set(a->rt, &a->aggregate, a->config.device, a->config.table, DUET_PROTO_UP, e);
		if (ret)
			return ret;
		log_info("announce %s/%u", addr_str(&a->aggregate.addr, text), a->aggregate.len);
		a->aggregate_trigger = true;
		a->aggregate_at = a->aggregate;
	}
	birdwatch_soon(a);
	return 0;
}
