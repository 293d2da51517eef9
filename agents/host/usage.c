// SPDX-License-Identifier: GPL-2.0
/*
 * How many of its SNAT ports this host uses: so that the controller gives it more
 * in time, and takes back what it doesn't need. One port serves many destinations;
 * what runs out are the ports for one of them. So what counts is the destination
 * with most connections, against the ports whose return packets come here.
 *
 * Counted for a report, and between reports when so many ports have been picked
 * that few may be left: then the report goes at once, and so it does when a
 * connection was refused. Counting never takes more than a twentieth of the time.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include "bpf/snat.h"
#include "clock.h"
#include "helper.h"
#include "log.h"
#include "snat.h"

#define LOOK_MS		200	/* two counters are read */
#define REST		20	/* times what counting took */

/* What is known of one range. */
struct used_range {
	const struct snat_def *def;
	uint8_t *ports;		/* a bit each: in use */
	unsigned int used;
	bool behind;		/* some of its clients are targets behind the host: conntrack has their connections */
	bool known;		/* all that use it could be asked for */
};

/* What one destination has of one VIP. */
struct remote {
	struct addr vip, addr;
	uint16_t port;
	uint8_t proto;
};

struct usage {
	struct host *host;
	sd_event_source *timer;
	struct used_range *ranges;	/* as host->held.snat */
	unsigned int n_ranges;
	struct remote *remotes;
	unsigned int n_remotes, room;
	int refused_behind;		/* why conntrack can't be asked; 0: it can */
	uint64_t picked, refused;	/* at the last count; at the last report */
	uint64_t counted_ms, next_ms;	/* 0: not counted yet */
	bool news;			/* there are others than the last report had */
	uint64_t headroom;		/* ports that can be picked before some VIP may be low */
};

static struct helper_status counts(const struct usage *u)
{
	struct helper_status status;

	helper_status(u->host->helper, &status);
	return status;
}

static const struct pair_def *pair_of(const struct desired *d, const struct addr *vip)
{
	unsigned int i;

	for (i = 0; i < d->n_pairs; i++) {
		struct addr a = to_addr(&d->pairs[i].key.vip);

		if (!addr_cmp(&a, vip))
			return &d->pairs[i];
	}
	return NULL;
}

static void ranges_free(struct usage *u)
{
	while (u->n_ranges)
		free(u->ranges[--u->n_ranges].ports);
	free(u->ranges);
	u->ranges = NULL;
}

static bool all_local(const struct pair_def *p)
{
	unsigned int i;

	for (i = 0; p && i < p->n_locals; i++)
		if (!host_has(&p->locals[i].address))
			return false;
	return true;
}

void usage_state(struct usage *u)
{
	const struct desired *d = &u->host->held;
	unsigned int i;

	ranges_free(u);
	u->counted_ms = u->next_ms = 0;
	u->news = true;
	sd_event_source_set_enabled(u->timer, d->n_snat ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
	u->ranges = calloc(d->n_snat + 1, sizeof(*u->ranges));
	for (i = 0; u->ranges && i < d->n_snat; i++) {
		struct used_range *r = &u->ranges[u->n_ranges++];

		r->def = &d->snat[i];
		r->behind = !all_local(pair_of(d, &r->def->vip));
		r->ports = calloc((r->def->last - r->def->first) / 8 + 1, 1);
	}
}

static void on_flow(const struct flow *f, void *ctx)
{
	struct usage *u = ctx;
	struct used_range *r = u->ranges, *end = r + u->n_ranges;
	struct remote *more;
	unsigned int at;

	while (r < end && (f->port < r->def->first || f->port > r->def->last || addr_cmp(&f->local, &r->def->vip)))
		r++;
	if (r == end)
		return;
	at = f->port - r->def->first;
	if (r->ports && !(r->ports[at / 8] & 1 << at % 8)) {
		r->ports[at / 8] |= 1 << at % 8;
		r->used++;
	}
	if (u->n_remotes == u->room) {
		more = realloc(u->remotes, (u->room * 2 + 256) * sizeof(*more));
		if (!more)
			return;
		u->remotes = more;
		u->room = u->room * 2 + 256;
	}
	u->remotes[u->n_remotes++] = (struct remote){ f->local, f->remote, f->remote_port, f->proto };
}

static int by_remote(const void *a, const void *b)
{
	const struct remote *x = a, *y = b;
	int c = addr_cmp(&x->vip, &y->vip);

	c = c ? c : addr_cmp(&x->addr, &y->addr);
	c = c ? c : x->port - y->port;
	return c ? c : x->proto - y->proto;
}

/* busiest - connections of a VIP to the destination that has most; remotes are sorted */
static unsigned int busiest(const struct usage *u, const struct addr *vip)
{
	unsigned int i, n = 0, most = 0;

	for (i = 0; i < u->n_remotes; i++) {
		n = i && !by_remote(&u->remotes[i - 1], &u->remotes[i]) ? n + 1 : 1;
		if (n > most && !addr_cmp(&u->remotes[i].vip, vip))
			most = n;
	}
	return most;
}

/* fitting - of so many ports, about how many a destination's return packets come here to: a DIP's share of the table */
static unsigned int fitting(const struct pair_def *p, const struct snat_def *def, unsigned int ports)
{
	unsigned int last = def->last, i, mine = 0, all = 0;
	struct addr dip = to_addr(&p->key.dip);
	const struct vip_rule *rule = vip_rule_at(p->rules, IPPROTO_TCP, def->first, &last);

	rule = rule ? rule : vip_rule_at(p->rules, IPPROTO_UDP, def->first, &last);
	for (i = 0; rule && i < rule->n_dips; i++) {
		const struct vip_dip *other = &rule->dips[i];

		if (other->state != DUET_DIP_UP)
			continue;
		all += other->weight;
		if (!addr_cmp(&other->addr, &dip))
			mine = other->weight;
	}
	return all ? (uint64_t)ports * mine / all : 0;
}

/* first_of - is this the first range of its VIP? Then its ports in all, and what is in use */
static bool first_of(const struct usage *u, unsigned int at, unsigned int *ports, unsigned int *used)
{
	const struct addr *vip = &u->ranges[at].def->vip;
	unsigned int i;

	*ports = *used = 0;
	for (i = 0; i < u->n_ranges; i++) {
		if (addr_cmp(&u->ranges[i].def->vip, vip))
			continue;
		if (i < at)
			return false;
		*ports += u->ranges[i].def->last - u->ranges[i].def->first + 1;
		*used += u->ranges[i].used;
	}
	return true;
}

/* count_behind - what targets behind the host use of one VIP's ports */
static void count_behind(struct usage *u, const struct addr *vip)
{
	int ret = helper_forwards(u->host->helper, vip, on_flow, u);
	unsigned int i;

	if (ret && ret != u->refused_behind)
		log_warn("SNAT ports in use by targets behind this host are not known: %s", strerror(-ret));
	u->refused_behind = ret;
	for (i = 0; ret && i < u->n_ranges; i++)
		if (!addr_cmp(&u->ranges[i].def->vip, vip))
			u->ranges[i].known = false;
}

static void count(struct usage *u)
{
	unsigned int i, low = 65535, high = 0, ports, used, fit, most;
	uint64_t started = mono_ms();
	int ret;

	u->n_remotes = 0;
	for (i = 0; i < u->n_ranges; i++) {
		struct used_range *r = &u->ranges[i];

		low = r->def->first < low ? r->def->first : low;
		high = r->def->last > high ? r->def->last : high;
		r->used = 0;
		r->known = true;
		if (r->ports)
			memset(r->ports, 0, (r->def->last - r->def->first) / 8 + 1);
	}
	u->picked = counts(u).snat[SNAT_PICKED];
	ret = flows_each(low, high, on_flow, u);
	if (ret)
		log_warn("SNAT ports in use are not known: %s", strerror(-ret));
	for (i = 0; i < u->n_ranges; i++) {
		u->ranges[i].known &= !ret;
		if (u->ranges[i].behind && first_of(u, i, &ports, &used))
			count_behind(u, &u->ranges[i].def->vip);
	}
	if (u->n_remotes)
		qsort(u->remotes, u->n_remotes, sizeof(*u->remotes), by_remote);
	u->headroom = UINT64_MAX;
	for (i = 0; i < u->n_ranges; i++) {
		if (!first_of(u, i, &ports, &used))
			continue;
		fit = fitting(pair_of(&u->host->held, &u->ranges[i].def->vip), u->ranges[i].def, ports);
		most = busiest(u, &u->ranges[i].def->vip) + fit / 4;
		/* one that is low already is told with the next report as it is */
		if (most < fit && fit - most < u->headroom)
			u->headroom = fit - most;
	}
	u->counted_ms = mono_ms();
	u->next_ms = u->counted_ms + (u->counted_ms - started) * REST;
}

/* recount - unless it can't have changed, or has been done just now */
static void recount(struct usage *u)
{
	uint64_t picked;

	if (!u->n_ranges || (u->counted_ms && mono_ms() < u->next_ms))
		return;
	picked = counts(u).snat[SNAT_PICKED];
	if (!u->counted_ms || picked != u->picked || u->n_remotes)
		count(u);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *ctx)
{
	struct usage *u = ctx;
	struct helper_status status = counts(u);
	uint64_t picked = status.snat[SNAT_PICKED], refused = status.snat[SNAT_EXHAUSTED];

	sd_event_source_set_time_relative(source, LOOK_MS * 1000);
	sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
	if (u->news || refused != u->refused || (u->counted_ms && picked - u->picked >= u->headroom && mono_ms() >= u->next_ms))
		report_now(u->host->report);
	return 0;
}

json_t *usage_json(struct usage *u)
{
	json_t *list = json_array(), *ranges, *o;
	unsigned int i, k, ports, used;
	char text[ADDR_STRLEN];

	recount(u);
	u->news = false;
	u->refused = counts(u).snat[SNAT_EXHAUSTED];
	for (i = 0; i < u->n_ranges; i++) {
		const struct snat_def *def = u->ranges[i].def;

		if (!first_of(u, i, &ports, &used))
			continue;
		ranges = json_array();
		for (k = i; k < u->n_ranges; k++) {
			const struct used_range *r = &u->ranges[k];

			if (addr_cmp(&r->def->vip, &def->vip))
				continue;
			o = json_pack("{s:i, s:i}", "first", r->def->first, "last", r->def->last);
			if (r->known)
				json_object_set_new(o, "used", json_integer(r->used));
			json_array_append_new(ranges, o);
		}
		json_array_append_new(list, json_pack("{s:s, s:i, s:i, s:i, s:i, s:o}", "vip", addr_str(&def->vip, text), "ports", ports,
			"used", used, "fit", fitting(pair_of(&u->host->held, &def->vip), def, ports), "busiest",
			busiest(u, &def->vip), "ranges", ranges));
	}
	return list;
}

/* vip_row - of the list, made if it isn't there */
static json_t *vip_row(json_t *list, const char *vip)
{
	json_t *row;
	size_t i;

	json_array_foreach(list, i, row)
		if (!strcmp(json_string_value(json_object_get(row, "vip")), vip))
			return row;
	row = json_pack("{s:s, s:[]}", "vip", vip, "ranges");
	json_array_append_new(list, row);
	return row;
}

json_t *held_json(struct host *host)
{
	json_t *list = json_array();
	char text[ADDR_STRLEN];
	unsigned int n, i;
	struct message_range *held = helper_held(host->helper, &n);

	for (i = 0; i < n; i++)
		json_array_append_new(json_object_get(vip_row(list, addr_str(&held[i].vip, text)), "ranges"),
				      json_pack("{s:i, s:i}", "first", held[i].first, "last", held[i].last));
	free(held);
	return list;
}

int usage_start(struct host *host, struct usage **out)
{
	struct usage *u = calloc(1, sizeof(*u));
	int ret;

	if (!u)
		return -ENOMEM;
	u->host = host;
	ret = sd_event_add_time_relative(host->loop, &u->timer, CLOCK_MONOTONIC, 0, 1000, on_timer, u);
	if (ret < 0) {
		free(u);
		return ret;
	}
	sd_event_source_set_enabled(u->timer, SD_EVENT_OFF);
	*out = u;
	return 0;
}

void usage_stop(struct usage *u)
{
	if (!u)
		return;
	ranges_free(u);
	sd_event_source_disable_unref(u->timer);
	free(u->remotes);
	free(u);
}
