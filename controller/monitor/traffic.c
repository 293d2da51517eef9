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
#define COUNTER_MAX 9.2e18	/* bytes: a counter has 63 bits */
#define UNKNOWN_MBPS 400e3	/* of a host's link whose speed the topology doesn't say */
#define BURST_S	    10
#define MARGIN	    1.25	/* headers, clocks */

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

/* counter - a member that only grows; -1: it is none */
static double counter(json_t *o, const char *key)
{
	double n = get_num(o, key, -1);

	return n >= 0 && n <= COUNTER_MAX ? n : -1;
}

/* sources_of - a VIP's bytes at one host by where they come from; what is in no rack comes from outside */
static json_t *sources_of(struct mhost *h, json_t *item, unsigned int *unknown)
{
	json_t *racks = json_object_get(item, "racks"), *row, *out = racks ? json_object() : NULL;
	size_t i;

	json_array_foreach(racks, i, row) {
		const char *rack = get_str(row, "rack", "");
		double bytes = counter(row, "bytes");

		if (*rack && !json_object_get(h->monitor->rack_names, rack)) {
			++*unknown;
			continue;
		}
		rack = *rack ? rack : "internet";
		if (bytes >= 0)
			json_object_set_new(out, rack, json_real(fmin(get_num(out, rack, 0) + bytes, COUNTER_MAX)));
	}
	return out;
}

/* read_counters - what of a report's traffic is believed, by "VIP|DIP": {"bytes", "sources"} */
static json_t *read_counters(struct mhost *h, json_t *list)
{
	unsigned int foreign = 0, wrong = 0, unknown = 0;
	char vip[ADDR_STRLEN], dip[ADDR_STRLEN], key[2 * ADDR_STRLEN];
	json_t *counters = json_object(), *item, *c, *sources;
	struct addr v, d;
	double bytes;
	size_t i;

	json_array_foreach(list, i, item) {
		if (addr_parse(get_str(item, "vip", ""), &v) || addr_parse(get_str(item, "dip", ""), &d) ||
		    addr_cmp(&d, &h->node->address) || !report_has_vip(h, addr_str(&v, vip))) {
			foreign++;
			continue;
		}
		bytes = counter(item, "bytes");
		if (bytes < 0) {
			wrong++;
			continue;
		}
		snprintf(key, sizeof(key), "%s|%s", vip, addr_str(&d, dip));
		c = json_pack("{s:f, s:f}", "bytes", bytes, "mbps", 0.0);
		sources = sources_of(h, item, &unknown);
		if (sources)
			json_object_set_new(c, "sources", sources);
		json_object_set_new(counters, key, c);
	}
	if (foreign)
		offend(h->monitor, h->node->name, OFFEND_VIP, "%u rows of its traffic are of VIPs or DIPs that aren't there: left out",
		       foreign);
	if (wrong)
		offend(h->monitor, h->node->name, OFFEND_NUMBER, "%u rows of its traffic have no number of bytes: left out", wrong);
	if (unknown && (!h->tells_racks || !strcmp(h->racks, h->monitor->racks_id)))
		offend(h->monitor, h->node->name, OFFEND_RACK, "%u rows of its traffic name racks that the topology has not: left out",
		       unknown);
	return counters;
}

/* since - bytes of a counter since the report before; one that is new or went back begins now */
static double since(json_t *now, json_t *before)
{
	double new = get_num(now, "bytes", 0);

	return fmax(new - get_num(before, "bytes", new), 0);
}

/*
 * believed - the part of all bytes of a report that is believed. A link carries what it carries: reports that come
 * late and close together are evened out, more than BURST_S of the link's rate at once is a broken or hostile host's,
 * and none of it counts.
 */
static double believed(struct mhost *h, double bytes, double ms, uint64_t now)
{
	double mbps = h->mbps_max > 0 ? h->mbps_max : UNKNOWN_MBPS, per_ms = mbps * 1000 / 8, most = per_ms * 1000 * BURST_S;

	h->credit = h->credit_usec ? fmin(most, h->credit + per_ms * MARGIN * (now - h->credit_usec) / 1000) : most;
	h->credit_usec = now;
	if (bytes > h->credit) {
		offend(h->monitor, h->node->name, OFFEND_OUTLIER,
		       "it reports %.4g bytes in %.0f ms, more than its link of %.0f Mbps can carry: its traffic is left out", bytes,
		       ms, mbps);
		return 0;
	}
	h->credit -= bytes;
	return bytes > per_ms * ms ? per_ms * ms / bytes : 1;
}

void traffic_add(struct monitor *m, struct mhost *h, json_t *list, bool same_instance)
{
	uint64_t now = mono_usec();
	double ms = (now - h->counted_usec) / 1000.0, bytes = 0, part = 1, mbps;
	json_t *counters, *before, *c, *old;
	char vip[ADDR_STRLEN];
	const char *key;

	if (h->counters && (!same_instance || h->silent))
		traffic_forget(m, h);
	before = h->counters;
	if (before && now == h->counted_usec)
		return;
	counters = read_counters(h, list);
	json_object_foreach(counters, key, c)
		bytes += since(c, json_object_get(before, key));
	if (before)
		part = believed(h, bytes, ms, now);
	json_object_foreach(counters, key, c) {
		if (sscanf(key, "%45[^|]", vip) != 1)
			continue;
		old = json_object_get(before, key);
		mbps = old ? since(c, old) * part * 8 / 1000 / ms : 0;
		add(m->traffic, vip, mbps - get_num(old, "mbps", 0));
		if (old && part > 0)
			add_sources(m->traffic, vip, json_object_get(c, "sources"), json_object_get(old, "sources"));
		json_object_set_new(c, "mbps", json_real(mbps));
		json_object_del(before, key);
	}
	if (before)	/* what it serves no longer */
		traffic_forget(m, h);
	h->counters = counters;
	h->counted_usec = now;
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
		if (monitor_stands_by(t->monitor) || (fabs(v->ewma - v->told) <= NEWS * v->told && v->told > 0))
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
