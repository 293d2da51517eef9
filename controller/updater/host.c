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

#define PUSH_TIMEOUT_MS 10000
#define BACKOFF_MIN_MS	100
#define BACKOFF_MAX_MS	5000

struct host *host_find(struct updater *u, const char *name)
{
	unsigned int i;

	for (i = 0; i < u->n_hosts; i++)
		if (!strcmp(u->hosts[i].name, name))
			return &u->hosts[i];
	return NULL;
}

static void kick(struct host *h);

static int retry(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct host *h = ctx;

	h->waiting = false;
	kick(h);
	return 0;
}

static void pushed(const struct http_result *r, void *ctx)
{
	struct host *h = ctx;

	h->push = NULL;
	if (r->status / 100 == 2) {
		h->synced = !h->dirty;
		h->why[0] = 0;
		h->backoff_ms = 0;
		kick(h);
		moves_run(h->u);
		return;
	}
	if (r->status == 409 && get_u64(r->body, "epoch", 0) == h->u->epoch &&
	    get_u64(r->body, "generation", 0) >= h->u->generation)
		h->u->generation = get_u64(r->body, "generation", 0);
	if (!h->why[0])
		store_event(h->u->store, "host-not-told", h->name, "%s",
			    r->error ? r->error : "no answer");
	snprintf(h->why, sizeof(h->why), "%s", r->error ? r->error : "no answer");
	h->dirty = true;
	h->backoff_ms = h->backoff_ms ? h->backoff_ms * 2 : BACKOFF_MIN_MS;
	if (h->backoff_ms > BACKOFF_MAX_MS)
		h->backoff_ms = BACKOFF_MAX_MS;
	h->waiting = true;
	once(h->u->ctl->loop, &h->retry, h->backoff_ms, retry, h);
	moves_run(h->u);
}

static void kick(struct host *h)
{
	char url[320];
	json_t *state;

	if (!h->u->configured || !h->dirty || h->push || h->waiting)
		return;
	state = desired_host(h);
	json_object_set_new(state, "epoch", json_integer(h->u->epoch));
	json_object_set_new(state, "generation", json_integer(++h->u->generation));
	snprintf(url, sizeof(url), "%s/v1/state", h->url);
	h->dirty = false;
	h->push = http_call(h->u->ctl->client, "PUT", url, state, PUSH_TIMEOUT_MS, pushed, h);
	if (!h->push)
		h->dirty = true;
}

void host_touch(struct host *h)
{
	h->dirty = true;
	h->synced = false;
	kick(h);
}

void host_start(struct host *h)
{
	host_touch(h);
}

void host_stop(struct host *h)
{
	sd_event_source_disable_unref(h->retry);
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

void hosts_touch(struct updater *u, json_t *def)
{
	unsigned int i;

	for (i = 0; i < u->n_hosts; i++)
		if (def_has_dip(def, u->hosts[i].address))
			host_touch(&u->hosts[i]);
}

/* hosts_ready - a host that can't be reached is not waited for */
bool hosts_ready(struct updater *u, json_t *def, const char **waits_for)
{
	unsigned int i;

	for (i = 0; i < u->n_hosts; i++) {
		struct host *h = &u->hosts[i];

		if (h->synced || h->why[0] || !def_has_dip(def, h->address))
			continue;
		*waits_for = h->name;
		return false;
	}
	return true;
}
