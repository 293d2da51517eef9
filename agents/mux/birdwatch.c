// SPDX-License-Identifier: GPL-2.0
/*
 * What BIRD really has and tells: its table of triggers, and how many BGP
 * sessions are up to tell it to. A burst of netlink messages that BIRD lost is
 * seen here (triggers that its table lacks) and repaired by `reload in`.
 */
#include "agent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

#define IDLE_USEC	(1000 * 1000)	/* between looks, all being as it should be */
#define SOON_USEC	(2 * 1000)	/* first look after a change, then twice as long */
#define LOST_USEC	(2 * 1000 * 1000)	/* so long after a change, a missing trigger was lost */

struct watch {
	uint64_t wait;		/* until the next look */
	uint64_t changed;	/* when triggers changed last */
	unsigned int matched;	/* triggers that BIRD's table has, of this look */
	unsigned int sessions;
	bool aggregate;
};

static struct watch *watch_of(struct agent *a)
{
	static struct watch w;	/* one agent a process */

	return &w;
}

const char *birdwatch_state_name(enum bird_state state)
{
	static const char *const names[] = {
		[BIRD_DOWN] = "down", [BIRD_CONNECTING] = "connecting", [BIRD_UP] = "up", [BIRD_WEDGED] = "wedged",
	};

	return names[state];
}

static int on_timer(sd_event_source *s, uint64_t usec, void *ctx);

static void again(struct agent *a, uint64_t wait)
{
	if (!a->bird_timer)
		return;
	sd_event_source_set_time_relative(a->bird_timer, wait);
	sd_event_source_set_enabled(a->bird_timer, SD_EVENT_ONESHOT);
}

/* row - "203.0.113.1/32 unicast [kduet ...] ...": one route of the table */
static void row(struct agent *a, const char *line, size_t len)
{
	struct watch *w = watch_of(a);
	char text[ADDR_STRLEN + 5];
	size_t n = strcspn(line, " \t");
	struct prefix p;
	struct mux_vip *v;

	if (!n || n > len || n >= sizeof(text))
		return;
	memcpy(text, line, n);
	text[n] = '\0';
	if (prefix_parse(text, &p))
		return;
	if (a->aggregate_trigger && p.len == a->aggregate_at.len && !addr_cmp(&p.addr, &a->aggregate_at.addr)) {
		w->aggregate = true;
		return;
	}
	v = state_find(a, &p.addr);
	if (v && p.len == host_prefix(&p.addr).len)
		v->exported = true;
	w->matched++;
}

static void on_reload(int code, const char *text, void *ctx)
{
	if (code < 0 || code >= 8000)
		log_warn("BIRD refuses to reload: %s", text);
}

/* judge - is BIRD's table what the triggers say */
static void judge(struct agent *a, bool failed)
{
	struct watch *w = watch_of(a);
	unsigned int i, missing = 0, extra = 0;
	char command[96];
	uint64_t now;

	sd_event_now(a->loop, CLOCK_MONOTONIC, &now);
	for (i = 0; i < a->n_vips; i++) {
		const struct mux_vip *v = a->vips[i];

		missing += v->trigger != ANNOUNCE_NO && !v->exported;
		extra += v->trigger == ANNOUNCE_NO && v->exported;
	}
	missing += a->aggregate_trigger && !w->aggregate;
	a->aggregate_exported = w->aggregate;
	a->bird_exported = w->matched + w->aggregate;
	if (failed || (!missing && !extra && a->bird_sessions)) {
		w->wait = IDLE_USEC;
	} else if (now - w->changed > LOST_USEC && (missing || extra)) {
		log_warn("BIRD lacks %u triggers and has %u too many: it is told to read them again", missing, extra);
		snprintf(command, sizeof(command), "reload in %s", a->config.bird_protocol);
		bird_command(a->bird, command, on_reload, a);
		a->reloads++;
		w->changed = now;
		w->wait = SOON_USEC;
	} else {
		w->wait = w->wait < IDLE_USEC / 4 ? w->wait * 2 : IDLE_USEC;
	}
	again(a, w->wait);
}

static void on_routes(int code, const char *text, void *ctx)
{
	struct agent *a = ctx;
	const char *line, *end;
	unsigned int i;

	a->bird_asked = false;
	/* 8001: no route in the table, which is an answer too */
	if (code < 0 || (code >= 8000 && code != 8001)) {
		if (code > 0 && strcmp(a->bird_detail, text)) {
			snprintf(a->bird_detail, sizeof(a->bird_detail), "%.*s", (int)strcspn(text, "\n"), text);
			log_warn("BIRD can't show table %s: %s", a->config.bird_table, a->bird_detail);
		}
		judge(a, true);
		return;
	}
	for (i = 0; i < a->n_vips; i++)
		a->vips[i]->exported = false;
	watch_of(a)->matched = 0;
	watch_of(a)->aggregate = false;
	for (line = text; *line; line = end + 1) {
		end = strchrnul(line, '\n');
		row(a, line, end - line);
		if (!*end)
			break;
	}
	judge(a, false);
}

/* "tor1_agg1 BGP --- up 12:00:00 Established" */
static void on_protocols(int code, const char *text, void *ctx)
{
	struct agent *a = ctx;
	char command[96], name[64], proto[16], state[256];
	const char *line, *end;
	unsigned int up = 0;

	if (code < 0) {
		a->bird_asked = false;
		return;
	}
	for (line = text; *line; line = end + 1) {
		end = strchrnul(line, '\n');
		snprintf(state, sizeof(state), "%.*s", (int)(end - line), line);
		if (sscanf(state, "%63s %15s", name, proto) == 2 && !strcmp(proto, "BGP") && strstr(state, "Established"))
			up++;
		if (!*end)
			break;
	}
	if (up != a->bird_sessions)
		log_info("BIRD: %u BGP sessions are up", up);
	a->bird_sessions = up;
	snprintf(command, sizeof(command), "show route table %s", a->config.bird_table);
	if (bird_command(a->bird, command, on_routes, a))
		a->bird_asked = false;
}

static int on_timer(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct agent *a = ctx;

	if (a->bird_asked || bird_state(a->bird) != BIRD_UP)
		return 0;
	a->bird_asked = !bird_command(a->bird, "show protocols", on_protocols, a);
	return 0;
}

void birdwatch_soon(struct agent *a)
{
	struct watch *w = watch_of(a);

	sd_event_now(a->loop, CLOCK_MONOTONIC, &w->changed);
	w->wait = SOON_USEC;
	again(a, SOON_USEC);
}

static void on_state(enum bird_state state, const char *detail, void *ctx)
{
	struct agent *a = ctx;
	unsigned int i;

	if (state != a->bird_state)
		log_notice("BIRD is %s: %s", birdwatch_state_name(state), detail);
	a->bird_state = state;
	snprintf(a->bird_detail, sizeof(a->bird_detail), "%s", detail);
	if (state == BIRD_UP) {
		birdwatch_soon(a);
		return;
	}
	/* a router that is gone tells nobody anything */
	for (i = 0; i < a->n_vips; i++)
		a->vips[i]->exported = false;
	a->aggregate_exported = false;
	a->bird_exported = 0;
	a->bird_sessions = 0;
	a->bird_asked = false;
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
	sd_event_source_disable_unref(a->bird_timer);
	a->bird_timer = NULL;
}
