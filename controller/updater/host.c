// SPDX-License-Identifier: GPL-2.0
/*
 * Keeps every host agent told which VIPs its server stands behind, from which
 * muxes they come and how to check them. A host is always sent its whole
 * state: it is small. Its reports say when it is a new instance.
 */
#include "priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../fault.h"

#define PUSH_TIMEOUT_MS 10000
#define BACKOFF_MIN_MS	100
#define BACKOFF_MAX_MS	5000
#define PUSHES_MAX	256 /* hosts told at once */

static int retry(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct host *h = ctx;

	h->waiting = false;
	host_kick(h);
	return 0;
}

/* hosts_next - some of those that wait for others to be told */
void hosts_next(struct updater *u)
{
	unsigned int i, n = u->n_hosts;

	if (!u->hosts_wanted || store_open_transaction(u->store))
		return;
	for (i = 0; i < n && u->pushing_hosts < PUSHES_MAX; i++) {
		struct host *h = &u->hosts[u->next_host++ % n];

		if (h->wanted)
			host_kick(h);
	}
	u->next_host %= n;
	u->hosts_wanted = i < n;
}

static void pushed(const struct http_result *r, void *ctx)
{
	struct host *h = ctx;
	char why[sizeof(h->why)];

	h->push = NULL;
	h->u->pushing_hosts--;
	fault("host-acked");
	hosts_next(h->u);
	if (r->status / 100 == 2) {
		h->acked = h->sent;
		h->lost_ms = 0;
		snat_acked(h->u, h);
		h->racks_due &= !h->racks_sent;
		h->synced = !h->dirty;
		h->why[0] = 0;
		h->backoff_ms = 0;
		fence_look(h->u);
		host_kick(h);
		vips_fresh_look(h->u);
		moves_run(h->u);
		return;
	}
	snprintf(why, sizeof(why), "%s", r->error ? r->error : "no answer");
	if (r->status == 409 && get_u64(r->body, "epoch", 0) == h->u->epoch &&
	    get_u64(r->body, "generation", 0) >= h->u->generation &&
	    !fence_generation(h->u, get_u64(r->body, "generation", 0)))
		snprintf(why, sizeof(why), "it holds a generation that is no controller's: duetctl host unfence");
	if (r->status == 409 && get_u64(r->body, "epoch", 0) > h->u->epoch)
		fence_epoch(h->u, h->name, get_u64(r->body, "epoch", 0), why, sizeof(why));
	if (!h->why[0])
		store_event(h->u->store, "host-not-told", h->name, "%s", why);
	snprintf(h->why, sizeof(h->why), "%s", why);
	if (!h->lost_ms) {
		h->lost_ms = mono_ms();
		snat_acked(h->u, h);
	}
	h->dirty = true;
	h->backoff_ms = h->backoff_ms ? h->backoff_ms * 2 : BACKOFF_MIN_MS;
	if (h->backoff_ms > BACKOFF_MAX_MS)
		h->backoff_ms = BACKOFF_MAX_MS;
	h->waiting = true;
	once(h->u->ctl->loop, &h->retry, h->backoff_ms, retry, h);
	vips_fresh_look(h->u);
	moves_run(h->u);
}

void host_kick(struct host *h)
{
	char url[320], *state;

	if (!h->u->configured || !h->dirty || h->push || h->waiting || (h->u->snat_learning && !h->heard))
		return;
	if (store_open_transaction(h->u->store) || h->u->pushing_hosts >= PUSHES_MAX) {
		h->wanted = true;
		h->u->hosts_wanted = true;
		return;
	}
	h->wanted = false;
	h->racks_sent = h->racks_due;
	h->sent = ++h->u->generation;
	state = desired_host_text(h, h->sent);
	snprintf(url, sizeof(url), "%s/v1/state", h->url);
	h->dirty = false;
	fault("host-sent");
	h->push = state ? http_call_text(h->u->ctl->client, "PUT", url, state, NULL, PUSH_TIMEOUT_MS, pushed, h) : NULL;
	free(state);
	http_call_budget(h->push, 1u << 20, 64u << 10);
	if (!h->push)
		h->dirty = true;
	else
		h->u->pushing_hosts++;
}

void host_touch(struct host *h)
{
	h->dirty = true;
	h->synced = false;
	h->touched_ms = mono_ms();
	host_kick(h);
}

void host_racks(struct host *h, const char *id)
{
	bool was = h->racks_due;

	h->racks_due = id && strcmp(id, h->u->racks);
	if (h->racks_due && !was)
		host_touch(h);
}

void host_start(struct host *h)
{
	host_touch(h);
}

void host_stop(struct host *h)
{
	sd_event_source_disable_unref(h->retry);
	json_decref(h->vips);
	free(h->url);
}

bool def_has_dip(json_t *def, const char *address)
{
	json_t *rule, *dip;
	size_t r, i;

	json_array_foreach(json_object_get(def, "rules"), r, rule)
		json_array_foreach(json_object_get(rule, "dips"), i, dip)
			if (!strcmp(get_str(dip, "address", ""), address))
				return true;
	return false;
}

/* each_host - those with an agent that have DIPs of a definition */
static void each_host(struct updater *u, json_t *def, void (*each)(struct host *h, void *ctx), void *ctx)
{
	json_t *rule, *dip;
	size_t r, i;

	json_array_foreach(json_object_get(def, "rules"), r, rule)
		json_array_foreach(json_object_get(rule, "dips"), i, dip) {
			struct host *h = host_at(u, get_str(dip, "address", ""));

			if (h)
				each(h, ctx);
		}
}

static void touch_one(struct host *h, void *ctx)
{
	host_touch(h);
}

void hosts_touch(struct updater *u, json_t *def)
{
	each_host(u, def, touch_one, NULL);
}

static void note_one(struct host *h, void *ctx)
{
	json_object_set_new(h->vips, ctx, json_true());
}

void hosts_note(struct updater *u, const struct uvip *v, json_t *def)
{
	each_host(u, def, note_one, (void *)v->text);
}

static void check_ready(struct host *h, void *ctx)
{
	const char **waits_for = ctx;

	/* a host that can't be reached is not waited for */
	if (!h->synced && !h->why[0])
		*waits_for = h->name;
}

bool hosts_ready(struct updater *u, json_t *def, const char **waits_for)
{
	*waits_for = NULL;
	each_host(u, def, check_ready, waits_for);
	return !*waits_for;
}
