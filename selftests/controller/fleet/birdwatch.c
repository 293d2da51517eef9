// SPDX-License-Identifier: GPL-2.0
/*
 * agents/mux/birdwatch.c for muxes without BIRD: as if BIRD had one session and
 * exported on it what has a trigger, a few milliseconds after it was set.
 */
#include <string.h>

#include "../../../agents/mux/agent.h"

#define EXPORT_USEC 2000 /* as measured with real BIRD (docs/performance.md): under 1 ms to the neighbour */

static int on_timer(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct agent *a = ctx;
	unsigned int i;

	a->bird_exported = 0;
	for (i = 0; i < a->n_vips; i++) {
		struct mux_vip *v = a->vips[i];

		v->learned = v->trigger != ANNOUNCE_NO;
		v->exported = v->learned;
		a->bird_exported += v->exported;
	}
	for (i = 0; i < a->n_aggregates; i++) {
		a->aggregates[i].learned = a->aggregates[i].trigger;
		a->aggregates[i].exported = a->aggregates[i].trigger;
	}
	a->changes++;
	return 0;
}

/* there is no BIRD to wake */
void birdwatch_wake(struct agent *a)
{
}

void birdwatch_soon(struct agent *a)
{
	if (!a->bird_timer)
		return;
	sd_event_source_set_time_relative(a->bird_timer, EXPORT_USEC);
	sd_event_source_set_enabled(a->bird_timer, SD_EVENT_ONESHOT);
}

const char *birdwatch_state_name(const struct agent *a)
{
	return "up";
}

int birdwatch_start(struct agent *a, struct err *e)
{
	int ret = sd_event_add_time_relative(a->loop, &a->bird_timer, CLOCK_MONOTONIC, EXPORT_USEC, 1000, on_timer, a);

	a->bird_state = BIRD_UP;
	a->bird_sessions = 1;
	return ret < 0 ? err_set(e, ret, "no timer: %s", strerror(-ret)) : 0;
}
