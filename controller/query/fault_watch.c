// SPDX-License-Identifier: GPL-2.0
/*
 * Since when each fault is there, and the events of its coming and going. The
 * faults of now are compared with those known; both lists have the same order,
 * so one pass over the two finds what came, what stayed and what went.
 *
 * The store keeps 10,000 events of everything, so faults may not fill it: an
 * object that comes and goes has one pair of events a minute (HOLD_MS), many
 * objects of one code have one event for all, and all faults together have
 * EVENTS_MAX at once and one more every EVENT_MS. What has no event yet waits
 * for one, and has none if it is over by then.
 *
 * Gathering is repeated every WATCH_MS, and sooner after a change, but takes at
 * most one part in FAULT_SHARE of the processor's time.
 */
#include "faults.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "metrics.h"

#define WATCH_MS	1000
#define SOON_MS		50
#define RAISED_MS	1000	/* a fault that is over sooner has no event */
#define HOLD_MS		60000
#define EVENTS_MAX	40
#define EVENT_MS	2000
#define SINGLY		3	/* objects of one code that have an event each */

/* A fault that is there, or was within HOLD_MS. */
struct known {
	struct fault id;		/* without its sentence */
	bool there, reported;		/* reported: the last event said that it is there */
	unsigned int events;		/* since event_ms */
	uint64_t event_ms, came_ms;	/* mono_ms() */
};

struct fault_watch {
	struct fault_list now;
	struct table_check tables;
	struct known *known;
	unsigned int n_known;
	unsigned int counts[FAULT_CODES];
	uint64_t gathered_usec, cost_usec;	/* mono_usec(); of faults_gather() */
	uint64_t event_ms;			/* mono_ms() */
	unsigned int tokens;
	sd_event_source *timer;
};

/* take - one more known fault; before: what was known of it, or NULL */
static void take(struct known *k, struct fault *f, const struct known *before)
{
	if (before)
		*k = *before;
	else
		*k = (struct known){ .id = *f };
	k->id.sentence = NULL;
	if (!k->there) {
		k->there = true;
		k->id.since_ms = wall_ms();
		k->came_ms = mono_ms();
	}
	f->since_ms = k->id.since_ms;
}

/* merge - what is known, by what is there now */
static int merge(struct fault_watch *w)
{
	struct known *all = calloc(w->now.n + w->n_known + 1, sizeof(*all));
	unsigned int i = 0, k = 0, n = 0;

	if (!all)
		return -ENOMEM;
	while (i < w->now.n || k < w->n_known) {
		struct fault *f = i < w->now.n ? &w->now.all[i] : NULL;
		struct known *old = k < w->n_known ? &w->known[k] : NULL;
		int order = !f ? 1 : !old ? -1 : fault_compare(f, &old->id);

		if (f && n && !fault_compare(f, &all[n - 1].id)) {
			f->since_ms = all[n - 1].id.since_ms;	/* another sentence of the same fault */
			i++;
		} else if (order <= 0) {
			take(&all[n++], f, order ? NULL : old);
			i++;
			k += !order;
		} else {
			old->there = false;
			if (old->reported || mono_ms() - old->event_ms < HOLD_MS)
				all[n++] = *old;
			k++;
		}
	}
	free(w->known);
	w->known = all;
	w->n_known = n;
	return 0;
}

/* due - should an event say that it came, or went */
static bool due(struct known *k)
{
	uint64_t now = mono_ms();

	if (k->there == k->reported || (k->there && now - k->came_ms < RAISED_MS))
		return false;
	if (now - k->event_ms >= HOLD_MS)
		k->events = 0;
	return k->events < 2;
}

static void reported(struct known *k)
{
	k->reported = k->there;
	k->events++;
	k->event_ms = mono_ms();
}

static const char *sentence_of(const struct fault_watch *w, const struct known *k)
{
	unsigned int low = 0, high = w->now.n;

	while (low < high) {
		unsigned int mid = low + (high - low) / 2;

		if (fault_compare(&w->now.all[mid], &k->id) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return k->there && low < w->now.n ? w->now.all[low].sentence : "it is over";
}

static void event_of(struct updater *u, const struct known *k)
{
	const char *code = fault_infos[k->id.code].code;

	if (k->there)
		store_event(u->store, "fault-raised", k->id.name, "%s: %s", code, sentence_of(u->fault_watch, k));
	else
		store_event(u->store, "fault-cleared", k->id.name, "%s of %s %s is over after %llu s", code,
			    fault_object_name(k->id.object), k->id.name, (unsigned long long)(wall_ms() - k->id.since_ms) / 1000);
}

/* events_of - of those of one code, which stand together, that came (or went) */
static void events_of(struct updater *u, struct known *first, unsigned int n, bool there)
{
	struct fault_watch *w = u->fault_watch;
	struct known *any = NULL;
	unsigned int i, count = 0;
	bool singly;

	for (i = 0; i < n; i++) {
		if (first[i].there != there || !due(&first[i]))
			continue;
		any = any ? any : &first[i];
		count++;
	}
	if (!count || !w->tokens)
		return;
	singly = count <= SINGLY && count <= w->tokens;
	if (!singly)
		store_event(u->store, there ? "fault-raised" : "fault-cleared", fault_infos[any->id.code].code, "%u objects: %s%s", count,
			    there ? "the first is " : "", there ? sentence_of(w, any) : "it is over");
	w->tokens -= singly ? count : 1;
	for (i = 0; i < n; i++) {
		if (first[i].there != there || !due(&first[i]))
			continue;
		if (singly)
			event_of(u, &first[i]);
		reported(&first[i]);
	}
}

static void events(struct updater *u)
{
	struct fault_watch *w = u->fault_watch;
	uint64_t now = mono_ms(), more = (now - w->event_ms) / EVENT_MS;
	unsigned int i, end;

	w->event_ms += more * EVENT_MS;
	w->tokens = w->tokens + more > EVENTS_MAX ? EVENTS_MAX : w->tokens + more;
	for (i = 0; i < w->n_known; i = end) {
		for (end = i; end < w->n_known && w->known[end].id.code == w->known[i].id.code; end++)
			;
		events_of(u, &w->known[i], end - i, true);
		events_of(u, &w->known[i], end - i, false);
	}
}

static void gather(struct updater *u)
{
	struct fault_watch *w = u->fault_watch;
	uint64_t began = mono_usec();
	unsigned int i;

	limits_count(u);
	faults_free(&w->now);
	faults_gather(u, &w->now);
	w->cost_usec = mono_usec() - began;
	fault_tables(u, &w->tables, &w->now);
	faults_sort(&w->now);
	w->gathered_usec = mono_usec();
	if (merge(w))
		return;
	memset(w->counts, 0, sizeof(w->counts));
	for (i = 0; i < w->n_known; i++)
		w->counts[w->known[i].id.code] += w->known[i].there;
}

const struct fault_list *faults_now(struct updater *u)
{
	struct fault_watch *w = u->fault_watch;

	if (!w->gathered_usec || mono_usec() - w->gathered_usec >= w->cost_usec * FAULT_SHARE)
		gather(u);
	return &w->now;
}

const unsigned int *faults_counted(struct updater *u)
{
	faults_now(u);
	return u->fault_watch->counts;
}

static int watch(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct updater *u = ctx;
	uint64_t rest;

	faults_now(u);
	events(u);
	rest = u->fault_watch->cost_usec * FAULT_SHARE / 1000;
	return once(u->ctl->loop, &u->fault_watch->timer, rest > WATCH_MS ? rest : WATCH_MS, watch, u);
}

void faults_soon(struct updater *u)
{
	struct fault_watch *w = u->fault_watch;
	uint64_t at;

	if (!w || w->cost_usec * FAULT_SHARE > WATCH_MS * 1000 || sd_event_source_get_time(w->timer, &at) < 0)
		return;
	if (at > mono_usec() + SOON_MS * 1000)
		once(u->ctl->loop, &w->timer, SOON_MS, watch, u);
}

int fault_watch_start(struct updater *u)
{
	struct fault_watch *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	w->tokens = EVENTS_MAX;
	w->event_ms = mono_ms();
	u->fault_watch = w;
	return once(u->ctl->loop, &w->timer, WATCH_MS, watch, u);
}

void fault_watch_stop(struct updater *u)
{
	struct fault_watch *w = u->fault_watch;

	if (!w)
		return;
	sd_event_source_disable_unref(w->timer);
	faults_free(&w->now);
	faults_free(&w->tables.found);
	faults_free(&w->tables.round);
	free(w->known);
	free(w);
	u->fault_watch = NULL;
}

void fault_metrics(struct updater *u, struct metrics *m)
{
	const unsigned int *counts = faults_counted(u);
	enum fault_code c;

	metrics_family(m, "duet_fault", "gauge", "Objects with this fault now (duetctl explain)");
	for (c = 0; c < FAULT_CODES; c++)
		metrics_add(m, counts[c], "code", fault_infos[c].code, "severity", fault_severity_name(fault_infos[c].severity), NULL);
	metrics_family(m, "duet_controller_fault_gather_seconds", "gauge", "How long the last look for faults took; tables: at all muxes' tables, in many parts");
	metrics_add(m, u->fault_watch->cost_usec / 1e6, "what", "state", NULL);
	metrics_add(m, u->fault_watch->tables.cost_usec / 1e6, "what", "tables", NULL);
}
