// SPDX-License-Identifier: GPL-2.0
/*
 * Tells the updater what hosts say: the whole state of a host, of as many
 * hosts at once as there are, deaths before greetings. What changes while a
 * host is being told of follows.
 */
#include "priv.h"

#include <stdio.h>
#include <stdlib.h>

#include "../api/gate.h"
#include "log.h"

#define TIMEOUT_MS  5000
#define AGAIN_MS    300
#define HOSTS_MAX   64 /* of one call: small enough to be quick */
#define CALLS_MAX   4

bool monitor_stands_by(const struct monitor *m)
{
	return m->ctl->lead && !m->ctl->updater && (m->ctl->own_parts & ROLE_UPDATER);
}

struct tell {
	struct monitor *monitor;
	struct mhost *hosts[HOSTS_MAX];
	unsigned int n;
};

static void tell_more(struct monitor *m);

static int again(sd_event_source *s, uint64_t usec, void *ctx)
{
	tell_more(ctx);
	return 0;
}

static void queue(struct mhost *h, bool first)
{
	if (h->queued && !first)
		return;
	if (h->queued)
		TAILQ_REMOVE(&h->monitor->to_tell, h, list);
	h->queued = true;
	if (first)
		TAILQ_INSERT_HEAD(&h->monitor->to_tell, h, list);
	else
		TAILQ_INSERT_TAIL(&h->monitor->to_tell, h, list);
}

static void told(const struct http_result *r, void *ctx)
{
	struct tell *t = ctx;
	struct monitor *m = t->monitor;
	json_t *hosts = json_object_get(r->body, "hosts"), *its;
	unsigned int i;

	m->calls--;
	for (i = 0; i < t->n; i++) {
		t->hosts[i]->in_call = false;
		its = json_object_get(hosts, t->hosts[i]->node->name);
		if (r->status != 200)
			queue(t->hosts[i], false);
		else if (json_is_object(json_object_get(its, "vips")))
			report_settle(t->hosts[i], json_object_get(its, "vips"), json_is_true(json_object_get(its, "settled")));
	}
	free(t);
	if (r->status != 200) {
		log_debug("updater not told: %s", r->error);
		once(m->ctl->loop, &m->tell_timer, AGAIN_MS, again, m);
		return;
	}
	m->epoch = get_u64(r->body, "epoch", m->epoch);
	m->generation = get_u64(r->body, "generation", m->generation);
	tell_more(m);
}

static void call(struct monitor *m)
{
	struct tell *t = calloc(1, sizeof(*t));
	json_t *list = json_array();
	struct mhost *h, *next;

	if (!t)
		goto err_list;
	t->monitor = m;
	for (h = TAILQ_FIRST(&m->to_tell); h && t->n < HOSTS_MAX; h = next) {
		next = TAILQ_NEXT(h, list);
		if (h->in_call)
			continue;
		TAILQ_REMOVE(&m->to_tell, h, list);
		h->queued = false;
		h->in_call = true;
		t->hosts[t->n++] = h;
		json_array_append_new(list, json_pack("{s:s, s:s, s:b, s:b, s:I, s:b, s:O, s:O*, s:s*}", "host", h->node->name,
						      "instance", h->instance, "silent", h->silent, "late", h->late,
						      "age-ms", (json_int_t)(mono_ms() - h->heard_ms), "which-vips", h->unsorted != NULL, "dips", h->dips, "snat", h->snat, "racks",
						      h->tells_racks ? h->racks : NULL));
	}
	if (!t->n)
		goto err_list;
	m->calls++;
	if (!part_call(m->ctl, ROLE_UPDATER, "PUT", "/v1/updater/health", json_pack("{s:o}", "hosts", list), TIMEOUT_MS, told, t))
		return;
	told(&(struct http_result){ .error = "out of memory" }, t);
	return;

err_list:
	free(t);
	json_decref(list);
}

static void tell_more(struct monitor *m)
{
	unsigned int before;
	struct mhost *h;

	/* what is known is read as a whole when this controller becomes the leader */
	while (monitor_stands_by(m) && (h = TAILQ_FIRST(&m->to_tell))) {
		TAILQ_REMOVE(&m->to_tell, h, list);
		h->queued = false;
	}
	do {
		before = m->calls;
		if (!TAILQ_EMPTY(&m->to_tell) && m->calls < CALLS_MAX)
			call(m);
	} while (m->calls > before);
}

void tell_host(struct mhost *h, bool urgent)
{
	queue(h, urgent);
	tell_more(h->monitor);
}

static void told_traffic(const struct http_result *r, void *ctx)
{
	if (r->status != 200)
		log_debug("updater not told of traffic: %s", r->error);
}

void tell_offenders(struct monitor *m, json_t *list)
{
	if (monitor_stands_by(m)) {
		json_decref(list);
		return;
	}
	part_call(m->ctl, ROLE_UPDATER, "PUT", "/v1/updater/health", json_pack("{s:[], s:o}", "hosts", "offenders", list),
		  TIMEOUT_MS, told_traffic, m);
}

void tell_traffic(struct monitor *m, json_t *traffic)
{
	part_call(m->ctl, ROLE_UPDATER, "PUT", "/v1/updater/health", json_pack("{s:[], s:o}", "hosts", "traffic", traffic),
		  TIMEOUT_MS, told_traffic, m);
}
