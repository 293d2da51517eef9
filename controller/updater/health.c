// SPDX-License-Identifier: GPL-2.0
/*
 * Health that hosts report: pushed at once to each mux that has the DIP, before everything else,
 * and then written to the store. A DIP that comes and goes is let in later and later
 * (state/damping.h); a DIP that goes down is taken out at once.
 */
#include "../query/faults.h"
#include "priv.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../state/damping.h"
#include "log.h"

#define KEEP_MS	      5 /* health reaches the muxes first, the disk then */
#define KEEP_AGAIN_MS 1000
#define EXPIRE_MS     500 /* between two looks at holds */

/* A change that is not in the store yet */
struct health_change {
	STAILQ_ENTRY(health_change) list;
	char vip[ADDR_STRLEN], dip[ADDR_STRLEN], *reason;
	unsigned int rule;
	bool down;
	bool event;		/* worth an event; else a row only */
	uint64_t at_ms;		/* wall_ms() */
};

bool vip_dip_down(const struct uvip *v, const char *dip, unsigned int rule)
{
	const struct dip *d = dips_find(&v->dips, dip, rule);

	return d && dip_is_down(d);
}

bool vip_target_down(const struct uvip *v, const char *dip, const char *target)
{
	const struct dip *d;
	unsigned int r;

	for (r = 0; r < v->dips.n_rules; r++) {
		d = dips_find(&v->dips, dip, r);
		if (d && json_object_get(d->targets_down, target))
			return true;
	}
	return false;
}

/* note_targets - of a DIP with several: its host chooses among them, so no mux is told; traces are */
static void note_targets(struct dip *d, json_t *targets)
{
	json_t *down = json_object(), *t;
	size_t i;

	json_array_foreach(targets, i, t)
		if (!strcmp(get_str(t, "state", ""), "down"))
			json_object_set_new(down, get_str(t, "target", ""), json_true());
	json_decref(d->targets_down);
	d->targets_down = json_object_size(down) ? json_incref(down) : NULL;
	json_decref(down);
}

static int keep_health(sd_event_source *s, uint64_t usec, void *ctx);

static void change_free(struct health_change *c)
{
	free(c->reason);
	free(c);
}

static void write_change(struct updater *u, const struct health_change *c)
{
	const char *why = c->reason ? c->reason : "";

	store_dip_put(u->store, c->vip, c->dip, c->rule, c->down, why, c->at_ms);
	if (c->event)
		store_event(u->store, c->down ? "dip-down" : "dip-up", c->dip, "of VIP %s, rule %u%s%s", c->vip, c->rule,
			    *why ? ": " : "", why);
}

void vips_keep_health(struct updater *u)
{
	struct health_changes list = STAILQ_HEAD_INITIALIZER(list);
	struct health_change *c;

	if (STAILQ_EMPTY(&u->unkept))
		return;
	STAILQ_CONCAT(&list, &u->unkept);
	updater_begin(u);
	STAILQ_FOREACH(c, &list, list)
		write_change(u, c);
	if (updater_commit(u)) {	/* it holds on the muxes; the disk is tried again */
		STAILQ_CONCAT(&list, &u->unkept);
		STAILQ_CONCAT(&u->unkept, &list);
		once(u->ctl->loop, &u->keep_timer, KEEP_AGAIN_MS, keep_health, u);
		return;
	}
	while ((c = STAILQ_FIRST(&list))) {
		STAILQ_REMOVE_HEAD(&list, list);
		change_free(c);
	}
}

static int keep_health(sd_event_source *s, uint64_t usec, void *ctx)
{
	vips_keep_health(ctx);
	return 0;
}

/* changed - a DIP went into the table or out of it, or what the last event said of it is no longer so */
static void changed(struct updater *u, struct uvip *v, struct dip *d, unsigned int news, const char *reason)
{
	struct health_change *c = calloc(1, sizeof(*c));

	d->since_ms = wall_ms();
	if (news & DAMPING_TABLE)
		vip_changed(v);
	faults_soon(u);
	if (!c)
		return;		/* the muxes are right; the store has it with the next change */
	snprintf(c->vip, sizeof(c->vip), "%s", v->text);
	snprintf(c->dip, sizeof(c->dip), "%s", d->text);
	c->rule = d->rule;
	c->reason = reason && *reason ? strdup(reason) : NULL;
	c->down = !d->in;
	c->event = news & DAMPING_EVENT;
	c->at_ms = d->since_ms;
	STAILQ_INSERT_TAIL(&u->unkept, c, list);
	once(u->ctl->loop, &u->keep_timer, KEEP_MS, keep_health, u);
}

bool health_ease(struct updater *u, struct uvip *v)
{
	unsigned int r, least = policy_least(&v->policy);
	bool any = false;
	struct dip *d;

	for (r = 0; v->held && r < v->dips.n_rules; r++)
		while ((d = damping_ease(&v->dips, r, least, mono_ms()))) {
			changed(u, v, d, DAMPING_TABLE | (d->eased ? 0 : DAMPING_EVENT),
				"it comes and goes, and is let in: too few others are up");
			d->eased = any = true;
		}
	return any;
}

/* expire - ends what holds of a VIP have lasted long enough; true if that changes its table */
static bool expire(struct updater *u, struct uvip *v)
{
	unsigned int i, news;
	bool any = false;

	v->held = false;
	for (i = 0; i < v->dips.n; i++) {
		struct dip *d = &v->dips.list[i];

		news = damping_expire(&v->dips, d, mono_ms());
		if (news)
			changed(u, v, d, news, d->in ? "steady again" : d->reason);
		any |= news & DAMPING_TABLE;
		v->held |= d->hold;
	}
	v->judged = false;
	return health_ease(u, v) || any;
}

static int expire_all(sd_event_source *s, uint64_t usec, void *ctx);

static void arm(struct updater *u)
{
	if (!u->expire_armed)
		once(u->ctl->loop, &u->expire_timer, EXPIRE_MS, expire_all, u);
	u->expire_armed = true;
}

static int expire_all(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct updater *u = ctx;
	bool more = false;
	unsigned int i;

	u->expire_armed = false;
	for (i = 0; i < u->n_vips; i++) {
		struct uvip *v = u->vips[i];

		if (v->held && expire(u, v))
			vips_touch(u, v, true);
		more |= v->held;
	}
	if (more)
		arm(u);
	return 0;
}

/* hold - a DIP is kept out: the only event until that ends */
static void hold(struct updater *u, struct uvip *v, struct dip *d)
{
	d->since_ms = wall_ms();
	arm(u);
	v->held = true;
	store_event(u->store, "dip-damped", d->text, "of VIP %s, rule %u: it comes and goes, and is kept out until it is steady",
		    v->text, d->rule);
}

/* take_report - of one DIP of one rule; true if the table changes */
static bool take_report(struct updater *u, struct uvip *v, struct dip *d, enum dip_report report, const char *reason)
{
	unsigned int news;

	if (report == d->reported)
		return false;
	news = damping_report(&v->dips, d, report, v->policy.damping, mono_ms());
	v->judged = false;
	if (report == REPORT_DOWN || d->in)
		dip_reason(d, reason);
	if (news & DAMPING_HOLD)
		hold(u, v, d);
	else if (news)
		changed(u, v, d, news, reason);
	return news & DAMPING_TABLE;
}

/* take_row - what a host reports of one VIP, of one rule or of all */
static bool take_row(struct updater *u, struct uvip *v, const char *dip, json_t *row)
{
	const char *state = get_str(row, "state", ""), *reason = get_str(row, "reason", "");
	json_t *rule = json_object_get(row, "rule");
	bool news = false;
	struct dip *d;
	unsigned int r;

	for (r = 0; r < v->dips.n_rules; r++) {
		if (json_is_integer(rule) && json_integer_value(rule) != r)
			continue;
		d = dips_find(&v->dips, dip, r);
		if (!d)
			continue;
		if (json_is_integer(rule))
			note_targets(d, json_object_get(row, "targets"));
		if (strcmp(state, "unknown"))
			news |= take_report(u, v, d, !strcmp(state, "down") ? REPORT_DOWN : REPORT_UP, reason);
	}
	return news;
}

void vips_health(struct updater *u, struct host *h, json_t *dips)
{
	struct uvip *v;
	json_t *row;
	size_t i;

	json_array_foreach(dips, i, row) {
		bool news;

		/* a host speaks for its own address only */
		v = strcmp(get_str(row, "dip", ""), h->address) ? NULL : vip_find(u, get_str(row, "vip", NULL));
		if (!v)
			continue;
		news = take_row(u, v, h->address, row);
		if (health_ease(u, v) || news)
			vips_touch(u, v, true);
	}
}

unsigned int health_release(struct updater *u, struct uvip *v, const char *dip)
{
	unsigned int r, news, n = 0;
	struct dip *d;

	for (r = 0; r < v->dips.n_rules; r++) {
		d = dips_find(&v->dips, dip, r);
		if (!d || !d->hold)
			continue;
		news = damping_release(d, mono_ms());
		if (news)
			changed(u, v, d, news, d->in ? "released by an operator" : d->reason);
		n++;
	}
	v->judged = false;
	return n;
}

json_t *health_damped(const struct updater *u)
{
	json_t *list = json_array();
	unsigned int i, k;

	for (i = 0; i < u->n_vips; i++)
		for (k = 0; u->vips[i]->held && k < u->vips[i]->dips.n; k++) {
			const struct dip *d = &u->vips[i]->dips.list[k];

			if (d->hold && !d->in)
				json_array_append_new(list, json_pack("{s:s, s:s, s:i, s:I, s:f}", "vip", u->vips[i]->text, "dip",
					d->text, "rule", d->rule, "since-ms", (json_int_t)d->since_ms, "penalty",
					round(penalty_at(&d->penalty, mono_ms()))));
		}
	return list;
}

static bool rule_has_dip(json_t *def, unsigned int rule, const char *address)
{
	json_t *dips = json_object_get(json_array_get(json_object_get(def, "rules"), rule), "dips"), *dip;
	size_t i;

	json_array_foreach(dips, i, dip)
		if (!strcmp(get_str(dip, "address", ""), address))
			return true;
	return false;
}

/* what is known of DIPs that are no longer there is of no use, and could hit one that comes back */
void health_forget(struct updater *u, struct uvip *v, json_t *def)
{
	unsigned int i;

	for (i = 0; i < v->dips.n; i++) {
		const struct dip *d = &v->dips.list[i];

		if (dip_is_down(d) && !rule_has_dip(def, d->rule, d->text))
			store_dip_put(u->store, v->text, d->text, d->rule, false, NULL, 0);
	}
}

struct dips *health_set_aside(struct updater *u, struct addr **vips, unsigned int *n)
{
	struct dips *list = calloc(u->n_vips + 1, sizeof(*list));
	unsigned int i;

	*vips = calloc(u->n_vips + 1, sizeof(**vips));
	*n = 0;
	for (i = 0; list && *vips && i < u->n_vips; i++) {
		(*vips)[i] = u->vips[i]->addr;
		list[i] = u->vips[i]->dips;
		u->vips[i]->dips = (struct dips){};
		*n = i + 1;
	}
	return list;
}

void health_put_back(struct updater *u, struct dips *list, struct addr *vips, unsigned int n)
{
	unsigned int i, k;

	for (i = 0; i < n; i++) {
		bool found;
		unsigned int slot = vip_slot(u, &vips[i], &found);
		struct uvip *v = found ? u->vips[slot] : NULL;

		if (v)
			dips_carry(&v->dips, &list[i]);
		for (k = 0; v && k < v->dips.n; k++)
			v->held |= v->dips.list[k].hold;
		if (v && v->held)
			arm(u);
		dips_free(&list[i]);
	}
	free(list);
	free(vips);
}

void health_stop(struct updater *u)
{
	struct health_change *c;

	while ((c = STAILQ_FIRST(&u->unkept))) {
		STAILQ_REMOVE_HEAD(&u->unkept, list);
		change_free(c);
	}
	sd_event_source_disable_unref(u->keep_timer);
	sd_event_source_disable_unref(u->expire_timer);
}
