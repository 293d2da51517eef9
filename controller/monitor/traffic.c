// SPDX-License-Identifier: GPL-2.0
/*
 * What each VIP receives: the counters of all hosts, by difference to their
 * last report, summed up as they come; every interval an EWMA of the sum, and
 * the peak in it. By source where hosts tell it.
 */
#include "priv.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INTERVAL_MS 10000
#define WEIGHT	    0.3	/* of the newest interval */
#define NEWS	    0.02	/* the updater is told of changes by more than so much */

struct vtraffic {
	double now, ewma, peak, interval_peak, told;
	unsigned int intervals;
	json_t *sources;	/* name: bytes of this interval */
	json_t *shares;		/* name: share, of the last interval with traffic */
};

struct traffic {
	struct monitor *monitor;
	json_t *index;		/* VIP: place in vips */
	struct vtraffic *vips;
	unsigned int n, room;
	sd_event_source *timer;
};

static struct vtraffic *get(struct traffic *t, const char *vip)
{
	json_t *at = json_object_get(t->index, vip);
	struct vtraffic *more;

	if (at)
		return &t->vips[json_integer_value(at)];
	if (t->n == t->room) {
		more = realloc(t->vips, (t->room ? t->room * 2 : 64) * sizeof(*more));
		if (!more)
			return NULL;
		t->vips = more;
		t->room = t->room ? t->room * 2 : 64;
	}
	memset(&t->vips[t->n], 0, sizeof(*t->vips));
	json_object_set_new(t->index, vip, json_integer(t->n));
	return &t->vips[t->n++];
}

static void add(struct traffic *t, const char *vip, double mbps)
{
	struct vtraffic *v = get(t, vip);

	if (!v)
		return;
	v->now = fmax(v->now + mbps, 0);
	v->interval_peak = fmax(v->interval_peak, v->now);
}

static void add_sources(struct traffic *t, const char *vip, json_t *now, json_t *before)
{
	struct vtraffic *v = json_object_size(now) ? get(t, vip) : NULL;
	const char *name;
	json_t *bytes;

	if (!v)
		return;
	if (!v->sources)
		v->sources = json_object();
	json_object_foreach(now, name, bytes) {
		double new = json_number_value(bytes), old = get_num(before, name, new);

		if (new > old)
			json_object_set_new(v->sources, name, json_real(get_num(v->sources, name, 0) + new - old));
	}
}

void traffic_forget(struct monitor *m, struct mhost *h)
{
	const char *key;
	char vip[ADDR_STRLEN];
	json_t *c;

	json_object_foreach(h->counters, key, c)
		if (sscanf(key, "%45[^|]", vip) == 1)
			add(m->traffic, vip, -get_num(c, "mbps", 0));
	json_decref(h->counters);
	h->counters = NULL;
}

/* sources_of - a VIP's bytes at one host by where they come from; what is in no rack comes from outside */
static json_t *sources_of(json_t *item)
{
	json_t *racks = json_object_get(item, "racks"), *row, *out = racks ? json_object() : NULL;
	size_t i;

	json_array_foreach(racks, i, row) {
		const char *rack = get_str(row, "rack", "");

		rack = *rack ? rack : "internet";
		json_object_set_new(out, rack, json_real(get_num(out, rack, 0) + get_num(row, "bytes", 0)));
	}
	return out;
}

void traffic_add(struct monitor *m, struct mhost *h, json_t *list, bool same_instance)
{
	uint64_t now = mono_ms(), ms = now - h->counted_ms;
	json_t *counters, *before = h->counters, *item;
	char key[2 * ADDR_STRLEN];
	size_t i;

	if (h->counters && (!same_instance || h->silent))
		traffic_forget(m, h);
	before = h->counters;
	if (before && !ms)
		return;
	counters = json_object();
	json_array_foreach(list, i, item) {
		const char *vip = get_str(item, "vip", ""), *dip = get_str(item, "dip", "");
		double bytes = get_num(item, "bytes", 0), mbps = 0, old;
		json_t *c, *sources;

		snprintf(key, sizeof(key), "%.45s|%.45s", vip, dip);
		c = json_object_get(before, key);
		old = get_num(c, "bytes", bytes);
		if (c && bytes >= old)
			mbps = (bytes - old) * 8 / 1000 / ms;
		add(m->traffic, vip, mbps - get_num(c, "mbps", 0));
		sources = sources_of(item);
		if (c)
			add_sources(m->traffic, vip, sources, json_object_get(c, "sources"));
		c = json_pack("{s:f, s:f}", "bytes", bytes, "mbps", mbps);
		if (sources)
			json_object_set_new(c, "sources", sources);
		json_object_set_new(counters, key, c);
		json_object_del(before, key);
	}
	if (before)	/* what it serves no longer */
		traffic_forget(m, h);
	h->counters = counters;
	h->counted_ms = now;
}

json_t *traffic_host_json(const struct mhost *h)
{
	json_t *list = json_array(), *c;
	char vip[ADDR_STRLEN], dip[ADDR_STRLEN];
	const char *key;

	json_object_foreach(h->counters, key, c)
		if (sscanf(key, "%45[^|]|%45s", vip, dip) == 2)
			json_array_append_new(list, json_pack("{s:s, s:s, s:f, s:f}", "vip", vip, "dip", dip, "bytes",
							      get_num(c, "bytes", 0), "mbps", get_num(c, "mbps", 0)));
	return list;
}

static void shares(struct vtraffic *v)
{
	json_t *bytes;
	const char *name;
	double sum = 0;

	json_object_foreach(v->sources, name, bytes)
		sum += json_number_value(bytes);
	if (sum <= 0)
		return;
	json_decref(v->shares);
	v->shares = json_object();
	json_object_foreach(v->sources, name, bytes)
		json_object_set_new(v->shares, name, json_real(json_number_value(bytes) / sum));
	json_object_clear(v->sources);
}

static json_t *to_json(const struct vtraffic *v)
{
	json_t *o = json_pack("{s:f, s:f, s:f}", "mbps", v->now, "ewma-mbps", v->ewma, "peak-mbps", v->peak);

	if (v->shares)
		json_object_set(o, "sources", v->shares);
	return o;
}

static int interval(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct traffic *t = ctx;
	json_t *news = json_object(), *at;
	const char *vip;

	json_object_foreach(t->index, vip, at) {
		struct vtraffic *v = &t->vips[json_integer_value(at)];

		v->ewma = v->intervals++ ? v->ewma + WEIGHT * (v->now - v->ewma) : v->now;
		v->peak = v->interval_peak;
		v->interval_peak = v->now;
		shares(v);
		if (fabs(v->ewma - v->told) <= NEWS * v->told && v->told > 0)
			continue;
		v->told = v->ewma;
		if (v->ewma > 0)
			json_object_set_new(news, vip, to_json(v));
	}
	if (json_object_size(news))
		tell_traffic(t->monitor, json_incref(news));
	json_decref(news);
	return once(t->monitor->ctl->loop, &t->timer, INTERVAL_MS, interval, t);
}

void monitor_traffic_get(struct http_request *req, json_t *body, void *ctx)
{
	struct traffic *t = ((struct controller *)ctx)->monitor->traffic;
	json_t *list = json_array(), *at, *o;
	const char *vip;

	json_object_foreach(t->index, vip, at) {
		o = to_json(&t->vips[json_integer_value(at)]);
		json_object_set_new(o, "vip", json_string(vip));
		json_array_append_new(list, o);
	}
	http_reply(req, 200, json_pack("{s:o}", "traffic", list));
}

int traffic_start(struct monitor *m)
{
	struct traffic *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	m->traffic = t;
	t->monitor = m;
	t->index = json_object();
	return once(m->ctl->loop, &t->timer, INTERVAL_MS, interval, t);
}

void traffic_stop(struct monitor *m)
{
	struct traffic *t = m->traffic;

	if (!t)
		return;
	while (t->n) {
		json_decref(t->vips[--t->n].sources);
		json_decref(t->vips[t->n].shares);
	}
	sd_event_source_disable_unref(t->timer);
	json_decref(t->index);
	free(t->vips);
	free(t);
	m->traffic = NULL;
}
