// SPDX-License-Identifier: GPL-2.0
/*
 * Hosts: each keeps the VIPs that it was told, as an agent does, and reports
 * them as agents/host/report.c does: at once when something changes, else after
 * the interval that the controller asks for, on connections that they share.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "daemon.h"
#include "fleet.h"

#define INTERVAL_MS 2000 /* these three as in agents/host/report.c */
#define TIMEOUT_MS  2000
#define RETRY_MS    100
#define UNDER_WAY   512	/* reports at once: hosts have a processor each, this is one */

struct served {
	char vip[ADDR_STRLEN];
	unsigned int rule;
};

struct fleet_host {
	struct fleet *fleet;
	char name[32], address[ADDR_STRLEN];
	struct served *served;
	unsigned int n, interval_ms, retry_ms;
	bool down;			/* all its DIPs are */
	uint64_t epoch, generation, seq, start_usec;
	struct http_call *call;
	bool waits;
	TAILQ_ENTRY(fleet_host) list;
	sd_event_source *timer;
};

static void arm(struct fleet_host *h, unsigned int ms)
{
	sd_event_source_set_time_relative(h->timer, ms * 1000ull);
	sd_event_source_set_enabled(h->timer, SD_EVENT_ONESHOT);
}

static void report(struct fleet_host *h);

static void next(struct fleet *f)
{
	struct fleet_host *h = TAILQ_FIRST(&f->waiting);

	if (!h)
		return;
	TAILQ_REMOVE(&f->waiting, h, list);
	h->waits = false;
	report(h);
}

static void reported(const struct http_result *r, void *ctx)
{
	struct fleet_host *h = ctx;
	struct fleet *f = h->fleet;
	json_t *interval = json_object_get(r->body, "interval-ms");

	h->call = NULL;
	f->under_way--;
	next(f);
	if (r->status / 100 == 2) {
		f->count.usec[f->count.sent++ % 65536] = r->usec;
		h->retry_ms = 0;
		if (json_integer_value(interval) > 0)
			h->interval_ms = json_integer_value(interval);
		arm(h, h->interval_ms);
		return;
	}
	f->count.failed++;
	snprintf(f->error, sizeof(f->error), "%s", r->error);
	h->retry_ms = h->retry_ms ? h->retry_ms * 2 : RETRY_MS;
	if (h->retry_ms > h->interval_ms)
		h->retry_ms = h->interval_ms;
	arm(h, h->retry_ms);
}

static json_t *traffic_of(const struct fleet_host *h)
{
	json_t *list = json_array(), *rack;
	unsigned int i;

	for (i = 0; i < h->n; i++) {
		json_int_t bytes = (mono_usec() - h->start_usec) / 1000 * (i + 1);

		if (i && !strcmp(h->served[i].vip, h->served[i - 1].vip))
			continue;
		rack = json_pack("{s:s, s:I, s:I, s:I, s:I}", "rack", "", "packets", bytes / 500, "bytes", bytes,
				 "out-packets", bytes / 500, "out-bytes", bytes);
		json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:[o]}", "vip", h->served[i].vip, "dip",
			h->address, "bytes", bytes, "packets", bytes / 500, "out-bytes", bytes, "out-packets", bytes / 500,
			"racks", rack));
	}
	return list;
}

static void report(struct fleet_host *h)
{
	json_t *dips = json_array(), *body;
	char url[256];
	unsigned int i;

	if (!h->fleet->controller)
		return;
	if (!h->call && h->fleet->under_way >= UNDER_WAY) {
		if (!h->waits)
			TAILQ_INSERT_TAIL(&h->fleet->waiting, h, list);
		h->waits = true;
		return;
	}
	http_cancel(h->call);
	h->fleet->under_way += !h->call;
	for (i = 0; i < h->n; i++)
		json_array_append_new(dips, json_pack("{s:s, s:s, s:i, s:s, s:s}", "vip", h->served[i].vip, "dip", h->address,
			"rule", h->served[i].rule, "state", h->down ? "down" : "up", "reason", h->down ? "told so" : ""));
	body = json_pack("{s:s, s:s, s:I, s:b, s:o, s:o, s:{s:b, s:b, s:[]}}", "host", h->name, "instance", daemon_instance(),
			 "seq", (json_int_t)++h->seq, "synced", h->epoch != 0, "dips", dips, "traffic", traffic_of(h),
			 "snat", "sockets", 1, "forwarded", 0, "vips");
	snprintf(url, sizeof(url), "%s/v1/reports", h->fleet->controller);
	h->call = http_call(h->fleet->client, "POST", url, body, TIMEOUT_MS, reported, h);
	if (h->call)
		return;
	h->fleet->under_way--;
	arm(h, h->interval_ms);
}

static int on_timer(sd_event_source *s, uint64_t usec, void *ctx)
{
	report(ctx);
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct fleet_host *)a)->name, ((const struct fleet_host *)b)->name);
}

static struct fleet_host *host_of(struct http_request *req, struct fleet *f)
{
	struct fleet_host key, *h;

	snprintf(key.name, sizeof(key.name), "%s", http_segment(req, 0));
	h = bsearch(&key, f->hosts, f->n_hosts, sizeof(*h), by_name);
	if (!h)
		http_problem(req, 404, NULL, "there is no host %s", key.name);
	return h;
}

/* served_of - the pairs of VIP and rule that a state has a check for */
static struct served *served_of(json_t *vips, unsigned int *n)
{
	struct served *list;
	json_t *vip, *check;
	size_t i, k, room = 0;

	json_array_foreach(vips, i, vip)
		room += json_array_size(json_object_get(vip, "checks"));
	list = calloc(room + 1, sizeof(*list));
	*n = 0;
	json_array_foreach(vips, i, vip)
		json_array_foreach(list ? json_object_get(vip, "checks") : NULL, k, check) {
			snprintf(list[*n].vip, sizeof(list->vip), "%s", json_string_value(json_object_get(vip, "vip")));
			list[(*n)++].rule = json_integer_value(json_object_get(check, "rule"));
		}
	return list;
}

void host_state_put(struct http_request *req, json_t *body, void *ctx)
{
	struct fleet *f = ctx;
	struct fleet_host *h = host_of(req, f);
	uint64_t epoch = json_integer_value(json_object_get(body, "epoch"));
	uint64_t generation = json_integer_value(json_object_get(body, "generation"));
	struct served *served;
	unsigned int n;
	bool news;

	if (!h)
		return;
	if (epoch < h->epoch || (epoch == h->epoch && generation < h->generation)) {
		http_problem(req, 409, json_pack("{s:I, s:I}", "epoch", (json_int_t)h->epoch, "generation",
			     (json_int_t)h->generation), "older than what is held");
		return;
	}
	served = served_of(json_object_get(body, "vips"), &n);
	if (!served) {
		http_problem(req, 500, NULL, "no memory");
		return;
	}
	news = n != h->n || (n && memcmp(served, h->served, n * sizeof(*served)));
	free(h->served);
	h->served = served;
	h->n = n;
	h->epoch = epoch;
	h->generation = generation;
	f->count.states++;
	http_reply(req, 200, json_pack("{s:i}", "vips", n));
	if (news)	/* the first checks have an outcome */
		report(h);
}

/* host_down_post - its services die, as far as it knows */
void host_down_post(struct http_request *req, json_t *body, void *ctx)
{
	struct fleet_host *h = host_of(req, ctx);

	if (!h)
		return;
	h->down = json_is_true(json_object_get(body, "down"));
	http_reply(req, 200, json_pack("{s:i}", "vips", h->n));
	report(h);
}

int host_add(struct fleet *f, const char *name, const char *address, struct err *e)
{
	struct fleet_host *more = f->hosts;
	struct addr a;

	if (addr_parse(address, &a) || strlen(name) >= sizeof(more->name))
		return err_set(e, -EINVAL, "host %s: %s is no address", name, address);
	if (!(f->n_hosts & (f->n_hosts - 1)))
		more = realloc(f->hosts, (f->n_hosts ? f->n_hosts * 2 : 1) * sizeof(*more));
	if (!more)
		return err_set(e, -ENOMEM, "no memory");
	f->hosts = more;
	more[f->n_hosts] = (struct fleet_host){ .fleet = f, .interval_ms = INTERVAL_MS, .start_usec = mono_usec() };
	strcpy(more[f->n_hosts].name, name);
	addr_str(&a, more[f->n_hosts++].address);
	return 0;
}

/* hosts_start - their first reports are spread, as those of hosts that have been there for long */
int hosts_start(struct fleet *f, struct err *e)
{
	unsigned int i;
	int ret = 0;

	if (f->n_hosts)
		qsort(f->hosts, f->n_hosts, sizeof(*f->hosts), by_name);
	for (i = 0; ret >= 0 && i < f->n_hosts; i++)
		ret = sd_event_add_time_relative(f->loop, &f->hosts[i].timer, CLOCK_MONOTONIC, i * 500ull, 1000, on_timer,
						 &f->hosts[i]);
	return ret < 0 ? err_set(e, ret, "no timer: %s", strerror(-ret)) : 0;
}
