// SPDX-License-Identifier: GPL-2.0
/*
 * Since when each fault is there. The faults of now are compared with those of
 * the last time; both lists have the same order, so one pass over the two finds
 * what came, what stayed and what went.
 */
#include "faults.h"

#include <errno.h>
#include <stdlib.h>

#define WATCH_MS 1000

struct fault_watch {
	struct fault_list now;
	sd_event_source *timer;
};

/* inherit_times - a fault that was there before keeps its time; two sentences of one fault have one time */
static void inherit_times(struct fault_list *now, const struct fault_list *before)
{
	unsigned int i, k = 0;
	uint64_t at = wall_ms();

	for (i = 0; i < now->n; i++) {
		struct fault *f = &now->all[i];

		while (k < before->n && fault_compare(&before->all[k], f) < 0)
			k++;
		f->since_ms = k < before->n && !fault_compare(&before->all[k], f) ? before->all[k].since_ms : at;
	}
}

const struct fault_list *faults_now(struct updater *u)
{
	struct fault_watch *w = u->fault_watch;
	struct fault_list list = {};

	faults_gather(u, &list);
	inherit_times(&list, &w->now);
	faults_free(&w->now);
	w->now = list;
	return &w->now;
}

static int watch(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct updater *u = ctx;

	faults_now(u);
	return once(u->ctl->loop, &u->fault_watch->timer, WATCH_MS, watch, u);
}

int fault_watch_start(struct updater *u)
{
	u->fault_watch = calloc(1, sizeof(*u->fault_watch));
	return u->fault_watch ? once(u->ctl->loop, &u->fault_watch->timer, WATCH_MS, watch, u) : -ENOMEM;
}

void fault_watch_stop(struct updater *u)
{
	if (!u->fault_watch)
		return;
	sd_event_source_disable_unref(u->fault_watch->timer);
	faults_free(&u->fault_watch->now);
	free(u->fault_watch);
	u->fault_watch = NULL;
}
