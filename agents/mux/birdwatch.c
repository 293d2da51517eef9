// SPDX-License-Identifier: GPL-2.0
/*
 * What BIRD really has and tells: its tables of triggers, its BGP sessions,
 * and which trigger it exports to how many of them. A burst of netlink
 * messages that BIRD lost is seen here (triggers that its table lacks) and
 * repaired by `reload in`.
 *
 * One look is a chain of questions: protocols; the table of each family that
 * has triggers; and, if anything changed since the last time, what is exported
 * to each neighbour whose session is up.
 */
#include "agent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

#define IDLE_USEC	(1000 * 1000)	/* between looks, all being as it should be */
#define SOON_USEC	(2 * 1000)	/* first look after a change, then twice as long */
#define LOST_USEC	(2 * 1000 * 1000)	/* so long after a change, a missing trigger was lost */
#define EXPORTS_EVERY	30		/* idle looks between looks at what is exported */

struct watch {
	uint64_t wait;		/* until the next look */
	uint64_t changed;	/* when triggers changed last */
	unsigned int family;	/* whose table is asked for, 0: IPv4, 1: IPv6 */
	unsigned int at;	/* neighbour whose exports are asked for */
	unsigned int matched;	/* routes in the tables, of this look */
	unsigned int sessions;	/* of the last look */
	unsigned int idle;	/* looks since exports were looked at */
	bool asked, failed, dirty;	/* dirty: exports have to be looked at */
};

static struct watch *watch_of(struct agent *a)
{
	static struct watch w;	/* one agent a process */

	return &w;
}

const char *birdwatch_state_name(const struct agent *a)
{
	static const char *const names[] = {
		[BIRD_DOWN] = "down", [BIRD_CONNECTING] = "connecting", [BIRD_UP] = "up", [BIRD_WEDGED] = "wedged",
	};

	return a->bird_state == BIRD_UP && a->bird_wrong[0] ? "misconfigured" : names[a->bird_state];
}

static void again(struct agent *a, uint64_t wait)
{
	if (!a->bird_timer)
		return;
	sd_event_source_set_time_relative(a->bird_timer, wait);
	sd_event_source_set_enabled(a->bird_timer, SD_EVENT_ONESHOT);
}

static void wrong(struct agent *a, const char *what)
{
	if (strcmp(a->bird_wrong, what)) {
		snprintf(a->bird_wrong, sizeof(a->bird_wrong), "%.*s", (int)strcspn(what, "\n"), what);
		if (*what)
			log_warn("BIRD is misconfigured: %s", a->bird_wrong);
		else
			log_notice("BIRD's configuration serves again");
	}
}

static void on_reload(int code, const char *text, void *ctx)
{
	if (code < 0 || code >= 8000)
		log_warn("BIRD refuses to reload: %s", text);
}

static void reload(struct agent *a, unsigned int family)
{
	char command[96];

	snprintf(command, sizeof(command), "reload in %s", a->config.bird_protocol[family]);
	bird_command(a->bird, command, on_reload, a);
}

/* judge - are BIRD's tables what the triggers say */
static void judge(struct agent *a)
{
	struct watch *w = watch_of(a);
	unsigned int i, missing = 0, extra = 0;
	uint64_t now;

	w->asked = false;
	sd_event_now(a->loop, CLOCK_MONOTONIC, &now);
	for (i = 0; i < a->n_vips; i++) {
		const struct mux_vip *v = a->vips[i];

		missing += v->trigger != ANNOUNCE_NO && !v->learned;
		extra += v->trigger == ANNOUNCE_NO && v->learned;
	}
	for (i = 0; i < a->n_aggregates; i++)
		missing += a->aggregates[i].trigger && !a->aggregates[i].learned;
	a->bird_exported = w->matched;
	if (w->failed || (!missing && !extra && a->bird_sessions)) {
		w->wait = IDLE_USEC;
	} else if (now - w->changed > LOST_USEC && (missing || extra)) {
		log_warn("BIRD lacks %u triggers and has %u too many: it is told to read them again", missing, extra);
		reload(a, 0);
		if (w->family)
			reload(a, 1);
		a->reloads++;
		w->changed = now;
		w->wait = SOON_USEC;
	} else {
		w->wait = w->wait < IDLE_USEC / 4 ? w->wait * 2 : IDLE_USEC;
	}
	again(a, w->wait);
}

static struct aggregate *aggregate_at(struct agent *a, const struct prefix *p)
{
	unsigned int i;

	for (i = 0; i < a->n_aggregates; i++)
		if (a->aggregates[i].prefix.len == p->len && !addr_cmp(&a->aggregates[i].prefix.addr, &p->addr))
			return &a->aggregates[i];
	return NULL;
}

static struct mux_vip *vip_at(struct agent *a, const struct prefix *p)
{
	return p->len == host_prefix(&p->addr).len ? state_find(a, &p->addr) : NULL;
}

static void exported(const struct prefix *p, void *ctx)
{
	struct agent *a = ctx;
	struct neighbour *n = &a->neighbours[watch_of(a)->at];
	struct aggregate *g = aggregate_at(a, p);
	struct mux_vip *v = vip_at(a, p);

	if (v)
		v->exported++;
	if (g)
		g->exported++;
	n->exported += v || g;
}

static void ask_exports(struct agent *a);

static void on_exports(int code, const char *text, void *ctx)
{
	struct agent *a = ctx;
	struct watch *w = watch_of(a);

	if (code < 0) {
		w->asked = false;
		return;
	}
	/* 8001: nothing, which is an answer too */
	if (w->at < a->n_neighbours && (code < 8000 || code == 8001))
		bird_routes(text, exported, a);
	w->at++;
	ask_exports(a);
}

static bool is_up(const struct neighbour *n)
{
	return !strcmp(n->state, "Established");
}

/* ask_exports - the next neighbour; after the last one the look is over */
static void ask_exports(struct agent *a)
{
	struct watch *w = watch_of(a);
	char command[160];

	while (w->at < a->n_neighbours && !is_up(&a->neighbours[w->at]))
		w->at++;
	if (w->at >= a->n_neighbours) {
		w->idle = 0;
		a->changes++;
		judge(a);
		return;
	}
	/* only what the kernel protocol learned: triggers */
	snprintf(command, sizeof(command), "show route export %s where defined(krt_source)", a->neighbours[w->at].name);
	if (bird_command(a->bird, command, on_exports, a))
		w->asked = false;
}

static void exports_begin(struct agent *a)
{
	struct watch *w = watch_of(a);
	unsigned int i;

	if (w->failed || (!w->dirty && ++w->idle < EXPORTS_EVERY)) {
		judge(a);
		return;
	}
	w->dirty = false;
	w->at = 0;
	for (i = 0; i < a->n_vips; i++)
		a->vips[i]->exported = 0;
	for (i = 0; i < a->n_aggregates; i++)
		a->aggregates[i].exported = 0;
	for (i = 0; i < a->n_neighbours; i++)
		a->neighbours[i].exported = 0;
	ask_exports(a);
}

static void learned(const struct prefix *p, void *ctx)
{
	struct agent *a = ctx;
	struct aggregate *g = aggregate_at(a, p);
	struct mux_vip *v = vip_at(a, p);

	if (v)
		v->learned = true;
	if (g)
		g->learned = true;
	watch_of(a)->matched++;
}

static bool has_ipv6(const struct agent *a)
{
	unsigned int i;

	for (i = 0; i < a->n_vips; i++)
		if (!addr_is_v4(&a->vips[i]->addr) && (a->vips[i]->trigger != ANNOUNCE_NO || a->vips[i]->learned))
			return true;
	for (i = 0; i < a->n_aggregates; i++)
		if (!addr_is_v4(&a->aggregates[i].prefix.addr))
			return true;
	return false;
}

static void ask_table(struct agent *a);

static void on_table(int code, const char *text, void *ctx)
{
	struct agent *a = ctx;
	struct watch *w = watch_of(a);
	char why[160];

	if (code < 0) {
		w->asked = false;
		return;
	}
	if (code >= 8000 && code != 8001) {
		snprintf(why, sizeof(why), "can't show table %.40s: %.*s", a->config.bird_table[w->family],
			 (int)strcspn(text, "\n"), text);
		wrong(a, why);
		w->failed = true;
		judge(a);
		return;
	}
	bird_routes(text, learned, a);
	if (!w->family && has_ipv6(a)) {
		w->family = 1;
		ask_table(a);
		return;
	}
	wrong(a, "");
	exports_begin(a);
}

static void ask_table(struct agent *a)
{
	char command[96];

	snprintf(command, sizeof(command), "show route table %s", a->config.bird_table[watch_of(a)->family]);
	if (bird_command(a->bird, command, on_table, a))
		watch_of(a)->asked = false;
}

static void on_protocols(int code, const char *text, void *ctx)
{
	struct agent *a = ctx;
	struct watch *w = watch_of(a);
	unsigned int i, up = 0;
	char state[32], why[160];

	free(a->neighbours);
	a->neighbours = NULL;
	a->n_neighbours = 0;
	if (code < 0 || bird_protocols(text, a->config.bird_protocol[0], state, sizeof(state), &a->neighbours, &a->n_neighbours)) {
		w->asked = false;
		return;
	}
	for (i = 0; i < a->n_neighbours; i++)
		up += is_up(&a->neighbours[i]);
	if (up != a->bird_sessions)
		log_info("BIRD: %u BGP sessions are up", up);
	w->dirty |= up != a->bird_sessions;
	a->bird_sessions = up;
	w->failed = false;
	if (strcmp(state, "up")) {
		snprintf(why, sizeof(why), "%s%s: protocol %.40s learns the triggers", *state ? "not up, but " : "missing",
			 state, a->config.bird_protocol[0]);
		wrong(a, why);
		w->failed = true;
		judge(a);
		return;
	}
	for (i = 0; i < a->n_vips; i++)
		a->vips[i]->learned = false;
	for (i = 0; i < a->n_aggregates; i++)
		a->aggregates[i].learned = false;
	w->matched = 0;
	w->family = 0;
	ask_table(a);
}

static int on_timer(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct agent *a = ctx;
	struct watch *w = watch_of(a);

	if (w->asked || bird_state(a->bird) != BIRD_UP)
		return 0;
	w->asked = !bird_command(a->bird, "show protocols all", on_protocols, a);
	return 0;
}

void birdwatch_wake(struct agent *a)
{
	watch_of(a)->wait = SOON_USEC;
	again(a, SOON_USEC);
}

void birdwatch_soon(struct agent *a)
{
	struct watch *w = watch_of(a);

	sd_event_now(a->loop, CLOCK_MONOTONIC, &w->changed);
	w->dirty = true;
	birdwatch_wake(a);
}

static void on_state(enum bird_state state, const char *text, void *ctx)
{
	struct agent *a = ctx;
	unsigned int i;

	if (state != a->bird_state)
		log_notice("BIRD is %s: %s", state == BIRD_UP ? "up" : state == BIRD_WEDGED ? "wedged" :
			   state == BIRD_DOWN ? "down" : "connecting", text);
	a->bird_state = state;
	snprintf(a->bird_detail, sizeof(a->bird_detail), "%s", text);
	a->bird_wrong[0] = '\0';
	watch_of(a)->asked = false;
	if (state == BIRD_UP) {
		birdwatch_soon(a);
		return;
	}
	/* a router that is gone tells nobody anything */
	a->changes++;
	for (i = 0; i < a->n_vips; i++) {
		a->vips[i]->learned = false;
		a->vips[i]->exported = 0;
	}
	for (i = 0; i < a->n_aggregates; i++) {
		a->aggregates[i].learned = false;
		a->aggregates[i].exported = 0;
	}
	free(a->neighbours);
	a->neighbours = NULL;
	a->n_neighbours = 0;
	a->bird_exported = 0;
	a->bird_sessions = 0;
}

int birdwatch_start(struct agent *a, struct err *e)
{
	int ret = sd_event_add_time_relative(a->loop, &a->bird_timer, CLOCK_MONOTONIC, IDLE_USEC, 1000, on_timer, a);

	if (ret < 0)
		return err_set(e, ret, "no timer: %s", strerror(-ret));
	ret = bird_start(a->loop, a->config.bird_socket, on_state, a, &a->bird);
	if (ret)
		return err_set(e, ret, "BIRD's control socket %s: %s", a->config.bird_socket, strerror(-ret));
	return 0;
}

void birdwatch_stop(struct agent *a)
{
	bird_stop(a->bird);
	a->bird = NULL;
	free(a->neighbours);
	a->neighbours = NULL;
	a->n_neighbours = 0;
	sd_event_source_disable_unref(a->bird_timer);
	a->bird_timer = NULL;
}
