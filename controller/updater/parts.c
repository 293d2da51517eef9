// SPDX-License-Identifier: GPL-2.0
/* Do the controller's parts in other processes live: they are polled, for nothing else may be asked of them for hours. */
#include "parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "../api/gate.h"

#define POLL_MS	   2000
#define TIMEOUT_MS 3000
#define MISSES	   2	/* polls without an answer, one after the other */

struct part {
	struct parts *parts;
	const char *name;
	enum role role;
	unsigned int missed;
	bool asked;
	char why[256];
};

struct parts {
	struct updater *u;
	struct part all[2];
	sd_event_source *timer;
};

static void answered(const struct http_result *r, void *ctx)
{
	struct part *p = ctx;

	p->asked = false;
	if (p->parts->u->stopping)
		return;
	if (r->status == 200 || r->broken) {	/* the answer to /healthz is a word, not JSON */
		p->missed = 0;
		return;
	}
	p->missed++;
	snprintf(p->why, sizeof(p->why), "%s", r->error ? r->error : "no answer");
}

static int poll_parts(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct parts *parts = ctx;
	struct controller *ctl = parts->u->ctl;
	unsigned int i;

	for (i = 0; i < 2; i++) {
		struct part *p = &parts->all[i];

		if (!(ctl->own_parts & p->role) && !p->asked)
			p->asked = !part_call(ctl, p->role, "GET", "/healthz", NULL, TIMEOUT_MS, answered, p);
	}
	return once(ctl->loop, &parts->timer, POLL_MS, poll_parts, parts);
}

int parts_start(struct updater *u)
{
	struct parts *parts = calloc(1, sizeof(*parts));

	if (!parts)
		return -ENOMEM;
	*parts = (struct parts){ .u = u, .all = { { parts, "engine", ROLE_ENGINE }, { parts, "monitor", ROLE_MONITOR } } };
	u->parts = parts;
	return once(u->ctl->loop, &parts->timer, POLL_MS, poll_parts, parts);
}

void parts_stop(struct updater *u)
{
	if (u->parts)
		sd_event_source_disable_unref(u->parts->timer);
	free(u->parts);
	u->parts = NULL;
}

void parts_each_lost(const struct updater *u, void (*each)(const char *name, const char *url, const char *why, void *ctx), void *ctx)
{
	unsigned int i;

	for (i = 0; u->parts && i < 2; i++) {
		const struct part *p = &u->parts->all[i];

		if (p->missed >= MISSES)
			each(p->name, p->role == ROLE_ENGINE ? u->ctl->engine_url : u->ctl->monitor_url, p->why, ctx);
	}
}
