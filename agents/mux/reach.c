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
#define LOOK_DIPS	1000			/* asked for again at each look, or ... */
#define UNROUTED_MAX	1000			/* shown in a status */
#define LOOK_SHARE	12			/* ... this part of all, whichever is more */

/* A DIP, and what the kernel said when it was asked. */
struct dip_route {
	struct addr addr;
	bool yes;
	bool stale;	/* a route to it came, went or changed since */
};

static int dip_cmp(const void *a, const void *b)
{
	return addr_cmp(&((const struct dip_route *)a)->addr, &((const struct dip_route *)b)->addr);
}

static bool is_up(const struct vip_dip *d)
{
	return d->weight && d->state == DUET_DIP_UP;
}

/* known - what is known of it, or NULL */
static struct dip_route *known(const struct agent *a, const struct addr *addr)
{
	struct dip_route key = { .addr = *addr };

	return a->n_dips ? bsearch(&key, a->dips, a->n_dips, sizeof(key), dip_cmp) : NULL;
}

/* vips_unknown - which of them have routes is to be found out anew */
static void vips_unknown(struct agent *a)
{
	unsigned int i;

	for (i = 0; i < a->n_vips; i++)
		a->vips[i]->routes = ROUTES_UNKNOWN;
	a->vips_stale = true;
}

/* merge - the first `sorted` DIPs and the n behind them, each once, in one order: a VIP more
 * brings few, and all of them may be tens of thousands. -ENOMEM
 */
static int merge(struct agent *a, unsigned int sorted, unsigned int n)
{
	struct dip_route *rest = malloc(n * sizeof(*rest));
	unsigned int i, k = 0, at;

	if (!rest)
		return -ENOMEM;
	memcpy(rest, a->dips + sorted, n * sizeof(*rest));
	qsort(rest, n, sizeof(*rest), dip_cmp);
	for (i = 1; i < n; i++)
		if (dip_cmp(&rest[i], &rest[k]))
			rest[++k] = rest[i];
	n = k + 1;
	a->n_dips = at = sorted + n;
	while (n)
		a->dips[--at] = sorted && dip_cmp(&a->dips[sorted - 1], &rest[n - 1]) > 0 ?
				a->dips[--sorted] : rest[--n];
	free(rest);
	return 0;
}

/* learn - DIPs of which nothing is known, of VIPs whose routes are to be found out, join those known, still to be
 * asked for. Also those that are down: the controller wants to know when a route to them is back. -ENOMEM
 */
static int learn(struct agent *a)
{
	unsigned int v, r, d, room = 0, n = a->n_dips;
	struct dip_route *more;

	for (v = 0; v < a->n_vips; v++)
		for (r = 0; a->vips[v]->have && a->vips[v]->routes == ROUTES_UNKNOWN && r < a->vips[v]->have->n_rules; r++)
			room += a->vips[v]->have->rules[r].n_dips;
	if (!room)
		return 0;
	more = realloc(a->dips, (a->n_dips + room) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	a->dips = more;
	for (v = 0; v < a->n_vips; v++) {
		const struct vip *vip = a->vips[v]->have;

		for (r = 0; vip && a->vips[v]->routes == ROUTES_UNKNOWN && r < vip->n_rules; r++) {
			for (d = 0; d < vip->rules[r].n_dips; d++) {
				const struct addr *addr = &vip->rules[r].dips[d].addr;

				if (!known(a, addr))
					more[n++] = (struct dip_route){ .addr = *addr, .stale = true };
			}
		}
	}
	if (n == a->n_dips)
		return 0;
	a->dips_stale = true;
	return merge(a, a->n_dips, n - a->n_dips);
}

static enum routes routes_of(const struct agent *a, const struct vip *vip)
{
	unsigned int r, d, up = 0, yes = 0;

	for (r = 0; r < vip->n_rules; r++) {
		for (d = 0; d < vip->rules[r].n_dips; d++) {
			if (!is_up(&vip->rules[r].dips[d]))
				continue;
			up++;
			yes += known(a, &vip->rules[r].dips[d].addr)->yes;
		}
	}
	/* none is up: no route will mend that, and the SMuxes know no better */
	return yes == up ? ROUTES_ALL : yes ? ROUTES_SOME : ROUTES_NONE;
}

/* changed - DIPs behind that prefix are to be asked for again, and whose they are isn't known */
static void changed(const struct prefix *p, unsigned int table, void *ctx)
{
	struct agent *a = ctx;
	unsigned int low = 0, high = a->n_dips;

	guard_changed(a, p, table);
	if (p && table == a->config.table)
		return;		/* a trigger: nothing is routed by it */
	if (!p) {
		a->routes_stale = true;
		birdwatch_wake(a);
		state_look_event(a);	/* a port may have come or gone, or the mux */
		return;
	}
	while (low < high) {
		unsigned int mid = (low + high) / 2;

		if (addr_cmp(&a->dips[mid].addr, &p->addr) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	for (; low < a->n_dips && prefix_holds(p, &a->dips[low].addr); low++)
		a->dips_stale = a->dips[low].stale = true;
}

void reach_look(struct agent *a)
{
	unsigned int n = a->n_dips / LOOK_SHARE;

	/* those of VIPs that are gone */
	if (a->n_dips > 2 * a->n_dips_fresh + LOOK_DIPS)
		a->routes_stale = true;
	n = n > LOOK_DIPS ? n : LOOK_DIPS;
	for (n = n < a->n_dips ? n : a->n_dips; n; n--) {
		if (a->look_dip >= a->n_dips)
			a->look_dip = 0;
		a->dips_stale = a->dips[a->look_dip++].stale = true;
	}
}

/* ask - what the kernel says of those that are stale, and whether it says otherwise than before */
static int ask(struct agent *a, bool *differs, struct err *e)
{
	unsigned int i;
	bool was;
	int ret;

	for (i = 0; a->dips_stale && i < a->n_dips; i++) {
		if (!a->dips[i].stale)
			continue;
		was = a->dips[i].yes;
		ret = rt_reachable(a->rt, &a->dips[i].addr, &a->dips[i].yes, e);
		if (ret)
			return ret;
		a->dips[i].stale = false;
		*differs |= a->dips[i].yes != was;
	}
	a->dips_stale = false;
	return 0;
}

int reach_update(struct agent *a, struct err *e)
{
	bool differs = false, all = false;
	unsigned int i;
	int ret;

	/* what is told of later is known before anything is announced by what is known now */
	rt_watch_read(a->rt, changed, a);
	if (a->routes_stale) {
		all = true;
		a->n_dips = 0;
		vips_unknown(a);
		a->routes_stale = false;
	}
	ret = ask(a, &differs, e);
	if (differs)
		vips_unknown(a);
	if (ret || !a->vips_stale)
		return ret;
	if (learn(a))
		return err_set(e, -ENOMEM, "no memory");
	if (all)
		a->n_dips_fresh = a->n_dips;
	/* what is learned now is of VIPs that are unknown anyway */
	ret = ask(a, &differs, e);
	if (ret)
		return ret;
	for (i = 0; i < a->n_vips; i++)
		if (a->vips[i]->have && a->vips[i]->routes == ROUTES_UNKNOWN)
			a->vips[i]->routes = routes_of(a, a->vips[i]->have);
	a->vips_stale = false;
	return 0;
}

json_t *reach_unrouted(const struct agent *a)
{
	json_t *list = json_array();
	char text[ADDR_STRLEN];
	unsigned int i;

	for (i = 0; i < a->n_dips && json_array_size(list) < UNROUTED_MAX; i++)
		if (!a->dips[i].yes && !a->dips[i].stale)
			json_array_append_new(list, json_string(addr_str(&a->dips[i].addr, text)));
	return list;
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

	rt_watch_read(a->rt, changed, a);
	if (a->routes_stale || a->dips_stale)
		again(a, SETTLE_USEC);
	return 0;
}

int reach_start(struct agent *a, struct err *e)
{
	int fd = rt_watch_fd(a->rt, e), ret;

	if (fd < 0)
		return fd;
	a->routes_stale = true;
	a->addresses_stale = true;
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
	free(a->dips);
	free(a->taken);
}
