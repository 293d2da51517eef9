// SPDX-License-Identifier: GPL-2.0
/*
 * Which DIPs the kernel has a route to. A switch that comes back hears its
 * neighbours' routes one after the other; announced before it can reach the
 * DIPs, a VIP would draw packets that are then dropped. So a VIP is announced
 * only when all its DIPs that are up can be reached (or some, for a rack may be
 * gone for good, after GRACE), and withdrawn when none can.
 */
#include "agent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "log.h"

#define SETTLE_USEC	(3 * 1000)		/* from a change of routes to the look: one for a burst */
#define GRACE_USEC	(5 * 1000 * 1000)	/* so long it waits for the last DIPs */

struct dip_route {
	struct addr addr;
	bool yes;
};

static int dip_cmp(const void *a, const void *b)
{
	return addr_cmp(&((const struct dip_route *)a)->addr, &((const struct dip_route *)b)->addr);
}

static bool is_up(const struct vip_dip *d)
{
	return d->weight && d->state == DUET_DIP_UP;
}

/* dips_of - every DIP that is up, of all VIPs served, once; NULL: no memory */
static struct dip_route *dips_of(const struct agent *a, size_t *n)
{
	struct dip_route *list = NULL;
	size_t room = 0, count = 0, i;
	unsigned int v, r, d;

	for (v = 0; v < a->n_vips; v++)
		for (r = 0; a->vips[v]->have && r < a->vips[v]->have->n_rules; r++)
			room += a->vips[v]->have->rules[r].n_dips;
	list = calloc(room + 1, sizeof(*list));
	if (!list)
		return NULL;
	for (v = 0; v < a->n_vips; v++) {
		const struct vip *vip = a->vips[v]->have;

		for (r = 0; vip && r < vip->n_rules; r++)
			for (d = 0; d < vip->rules[r].n_dips; d++)
				if (is_up(&vip->rules[r].dips[d]))
					list[count++].addr = vip->rules[r].dips[d].addr;
	}
	qsort(list, count, sizeof(*list), dip_cmp);
	for (i = *n = 0; i < count; i++)
		if (!i || dip_cmp(&list[i], &list[*n - 1]))
			list[(*n)++] = list[i];
	return list;
}

static enum routes routes_of(const struct vip *vip, const struct dip_route *list, size_t n)
{
	unsigned int r, d, up = 0, yes = 0;

	for (r = 0; r < vip->n_rules; r++) {
		for (d = 0; d < vip->rules[r].n_dips; d++) {
			struct dip_route key = { .addr = vip->rules[r].dips[d].addr };
			const struct dip_route *found;

			if (!is_up(&vip->rules[r].dips[d]))
				continue;
			found = bsearch(&key, list, n, sizeof(*list), dip_cmp);
			up++;
			yes += found && found->yes;
		}
	}
	/* none is up: no route will mend that, and the SMuxes know no better */
	return yes == up ? ROUTES_ALL : yes ? ROUTES_SOME : ROUTES_NONE;
}

int reach_update(struct agent *a, struct err *e)
{
	struct dip_route *list;
	size_t n, i;
	int ret = 0;

	if (!a->routes_stale)
		return 0;
	list = dips_of(a, &n);
	if (!list)
		return err_set(e, -ENOMEM, "no memory");
	for (i = 0; !ret && i < n; i++)
		ret = rt_reachable(a->rt, &list[i].addr, &list[i].yes, e);
	for (i = 0; !ret && i < a->n_vips; i++)
		if (a->vips[i]->have)
			a->vips[i]->routes = routes_of(a->vips[i]->have, list, n);
	free(list);
	if (!ret)
		a->routes_stale = false;
	return ret;
}

int reach_one(struct agent *a, struct mux_vip *v, struct err *e)
{
	unsigned int r, d, up = 0, yes = 0;
	bool reachable;
	int ret;

	for (r = 0; r < v->have->n_rules; r++) {
		for (d = 0; d < v->have->rules[r].n_dips; d++) {
			if (!is_up(&v->have->rules[r].dips[d]))
				continue;
			ret = rt_reachable(a->rt, &v->have->rules[r].dips[d].addr, &reachable, e);
			if (ret)
				return ret;
			up++;
			yes += reachable;
		}
	}
	v->routes = yes == up ? ROUTES_ALL : yes ? ROUTES_SOME : ROUTES_NONE;
	return 0;
}

static int on_timer(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct agent *a = ctx;
	struct changes c = {};
	struct err e;

	state_run(a, &c, &e);
	return 0;
}

/* again - run the steps in usec, if they don't run earlier anyway */
static void again(struct agent *a, uint64_t usec)
{
	uint64_t now, at = 0;
	int enabled = SD_EVENT_OFF;

	sd_event_now(a->loop, CLOCK_MONOTONIC, &now);
	sd_event_source_get_enabled(a->routes_timer, &enabled);
	sd_event_source_get_time(a->routes_timer, &at);
	if (enabled != SD_EVENT_OFF && at <= now + usec)
		return;
	sd_event_source_set_time(a->routes_timer, now + usec);
	sd_event_source_set_enabled(a->routes_timer, SD_EVENT_ONESHOT);
}

static bool may(struct agent *a, enum routes routes, bool announced, uint64_t *held)
{
	uint64_t now;

	if (routes == ROUTES_ALL || (announced && routes != ROUTES_NONE)) {
		*held = 0;
		return true;
	}
	sd_event_now(a->loop, CLOCK_MONOTONIC, &now);
	if (!*held)
		*held = now;
	if (routes == ROUTES_NONE)
		return false;
	if (now - *held >= GRACE_USEC)
		return true;
	again(a, *held + GRACE_USEC - now);
	return false;
}

bool reach_vip(struct agent *a, struct mux_vip *v)
{
	bool was = v->held_usec;
	char text[ADDR_STRLEN];
	bool yes = may(a, v->routes, v->trigger != ANNOUNCE_NO, &v->held_usec);

	if (!yes && !was)
		log_info("VIP %s waits for routes to its DIPs", addr_str(&v->addr, text));
	return yes;
}

bool reach_aggregate(struct agent *a)
{
	unsigned int i, all = 0, none = 0, n = 0;
	bool announced = false;

	for (i = 0; i < a->n_vips; i++) {
		n += !!a->vips[i]->have;
		all += a->vips[i]->have && a->vips[i]->routes == ROUTES_ALL;
		none += a->vips[i]->have && a->vips[i]->routes == ROUTES_NONE;
	}
	for (i = 0; i < a->n_aggregates; i++)
		announced |= a->aggregates[i].trigger;
	return may(a, all == n ? ROUTES_ALL : none == n ? ROUTES_NONE : ROUTES_SOME, announced, &a->aggregate_held_usec);
}

static int on_routes(sd_event_source *s, int fd, uint32_t revents, void *ctx)
{
	struct agent *a = ctx;

	rt_watch_read(a->rt);
	a->routes_stale = true;
	again(a, SETTLE_USEC);
	return 0;
}

int reach_start(struct agent *a, struct err *e)
{
	int fd = rt_watch_fd(a->rt, e), ret;

	if (fd < 0)
		return fd;
	a->routes_stale = true;
	ret = sd_event_add_io(a->loop, &a->routes_io, fd, EPOLLIN, on_routes, a);
	if (ret >= 0)
		ret = sd_event_add_time_relative(a->loop, &a->routes_timer, CLOCK_MONOTONIC, 0, 1000, on_timer, a);
	if (ret < 0)
		return err_set(e, ret, "no event source: %s", strerror(-ret));
	sd_event_source_set_enabled(a->routes_timer, SD_EVENT_OFF);
	return 0;
}

void reach_stop(struct agent *a)
{
	sd_event_source_disable_unref(a->routes_io);
	sd_event_source_disable_unref(a->routes_timer);
}
