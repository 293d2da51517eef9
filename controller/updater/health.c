// SPDX-License-Identifier: GPL-2.0
/*
 * What hosts say of their DIPs: to every mux that has them at once, in front of
 * everything else; to the disk then. A DIP that keeps coming back is let in
 * later and later (flap.c); one that goes is never held up.
 */
#include "priv.h"

#include <stdio.h>
#include <string.h>

#include "log.h"

#define KEEP_MS	      5 /* health reaches the muxes first, the disk then */
#define KEEP_AGAIN_MS 1000

const char *vip_dip_key(char key[DIP_KEY_SIZE], const char *dip, unsigned int rule)
{
	snprintf(key, DIP_KEY_SIZE, "%s|%u", dip, rule);
	return key;
}

static bool rule_has_dip(json_t *def, unsigned int rule, const char *address)
{
	json_t *dips = json_object_get(json_array_get(json_object_get(def, "rules"), rule), "dips"),
	       *dip;
	size_t i;

	json_array_foreach(dips, i, dip)
		if (!strcmp(get_str(dip, "address", ""), address))
			return true;
	return false;
}

bool vip_dip_down(const struct uvip *v, const char *dip, unsigned int rule)
{
	char key[DIP_KEY_SIZE];

	return json_object_get(v->down, vip_dip_key(key, dip, rule));
}

bool vip_target_down(const struct uvip *v, const char *dip, const char *target)
{
	unsigned int r, n = json_array_size(json_object_get(v->def, "rules"));
	char key[DIP_KEY_SIZE];

	for (r = 0; r < n; r++)
		if (json_object_get(json_object_get(v->targets_down, vip_dip_key(key, dip, r)), target))
			return true;
	return false;
}

/* note_targets - of a DIP with several: its host chooses among them, so no mux is told; traces are */
static void note_targets(struct uvip *v, const char *dip, unsigned int rule, json_t *targets)
{
	json_t *down = json_object(), *t;
	char key[DIP_KEY_SIZE];
	size_t i;

	json_array_foreach(targets, i, t)
		if (!strcmp(get_str(t, "state", ""), "down"))
			json_object_set_new(down, get_str(t, "target", ""), json_true());
	vip_dip_key(key, dip, rule);
	if (json_object_size(down))
		json_object_set(v->targets_down, key, down);
	else
		json_object_del(v->targets_down, key);
	json_decref(down);
}

static int keep_health(sd_event_source *s, uint64_t usec, void *ctx);

void vips_keep_health(struct updater *u)
{
	json_t *c, *list = u->unkept;
	size_t i;

	if (!json_array_size(list))
		return;
	u->unkept = json_array();
	updater_begin(u);
	json_array_foreach(list, i, c) {
		bool down = !strcmp(get_str(c, "state", ""), "down");
		const char *vip = get_str(c, "vip", ""), *dip = get_str(c, "dip", ""),
			   *why = get_str(c, "reason", "");

		store_dip_put(u->store, vip, dip, get_u64(c, "rule", 0), down, why,
			      get_u64(c, "at-ms", 0));
		store_event(u->store, down ? "dip-down" : "dip-up", dip, "of VIP %s, rule %u%s%s",
			    vip, (unsigned int)get_u64(c, "rule", 0), *why ? ": " : "", why);
	}
	if (updater_commit(u)) {	/* it holds on the muxes; the disk is tried again */
		json_array_extend(list, u->unkept);
		json_decref(u->unkept);
		u->unkept = json_incref(list);
		once(u->ctl->loop, &u->keep_timer, KEEP_AGAIN_MS, keep_health, u);
	}
	json_decref(list);
}

static int keep_health(sd_event_source *s, uint64_t usec, void *ctx)
{
	vips_keep_health(ctx);
	return 0;
}

/* set_health - one DIP of one rule; true if that is news */
static bool set_health(struct updater *u, struct uvip *v, const char *dip, unsigned int rule,
		       bool down, const char *reason)
{
	char key[DIP_KEY_SIZE];

	vip_dip_key(key, dip, rule);
	if (!rule_has_dip(v->def, rule, dip))
		return false;
	if (down)
		flap_down(u, v, dip, rule);
	if (down == !!json_object_get(v->down, key) || (!down && !flap_up(u, v, dip, rule)))
		return false;
	if (down)
		json_object_set_new(v->down, key,
				    json_pack("{s:s, s:I}", "reason", reason, "since-ms",
					      (json_int_t)wall_ms()));
	else
		json_object_del(v->down, key);
	vip_changed(v);
	json_array_append_new(u->unkept,
			      json_pack("{s:s, s:s, s:i, s:s, s:s, s:I}", "vip", v->text, "dip",
					dip, "rule", rule, "state", down ? "down" : "up", "reason",
					reason, "at-ms", (json_int_t)wall_ms()));
	once(u->ctl->loop, &u->keep_timer, KEEP_MS, keep_health, u);
	return true;
}

void vips_health(struct updater *u, struct host *h, json_t *dips)
{
	json_t *d;
	size_t i;

	json_array_foreach(dips, i, d) {
		const char *state = get_str(d, "state", ""), *reason = get_str(d, "reason", "");
		json_t *rule = json_object_get(d, "rule");
		struct uvip *v = vip_find(u, get_str(d, "vip", NULL));
		unsigned int r, n;
		bool news = false;

		/* a host speaks for its own address only, and "unknown" says nothing */
		if (!v || strcmp(get_str(d, "dip", ""), h->address))
			continue;
		if (json_is_integer(rule) && rule_has_dip(v->def, json_integer_value(rule), h->address))
			note_targets(v, h->address, json_integer_value(rule), json_object_get(d, "targets"));
		if (!strcmp(state, "unknown"))
			continue;
		n = json_array_size(json_object_get(v->def, "rules"));
		for (r = 0; r < n; r++)
			if (!json_is_integer(rule) || json_integer_value(rule) == r)
				news |= set_health(u, v, h->address, r, !strcmp(state, "down"),
						   reason);
		if (news)
			vips_touch(u, v, true);
	}
}

void health_up_now(struct updater *u, const char *vip, const char *dip, unsigned int rule)
{
	struct uvip *v = vip_find(u, vip);

	if (v && set_health(u, v, dip, rule, false, "steady again"))
		vips_touch(u, v, true);
}

/* still_has - does the definition have the DIP of a key "DIP|rule"; dip has ADDR_STRLEN bytes */
static bool still_has(const struct uvip *v, const char *key, char *dip, unsigned int *rule)
{
	return sscanf(key, "%45[^|]|%u", dip, rule) == 2 && rule_has_dip(v->def, *rule, dip);
}

/* also of all, when the VIP goes */
void health_forget(struct updater *u, struct uvip *v)
{
	char dip[ADDR_STRLEN];
	unsigned int rule;
	const char *key;
	json_t *value;
	void *next;

	/* what is known of DIPs that are no longer there is of no use, and could
	 * hit one that comes back
	 */
	json_object_foreach_safe(v->down, next, key, value) {
		if (still_has(v, key, dip, &rule))
			continue;
		store_dip_put(u->store, v->text, dip, rule, false, NULL, 0);
		json_object_del(v->down, key);
		vip_changed(v);
	}
	json_object_foreach_safe(v->targets_down, next, key, value)
		if (!still_has(v, key, dip, &rule))
			json_object_del(v->targets_down, key);
}

void health_reapply(struct updater *u)
{
	json_t *c;
	size_t i;

	json_array_foreach(u->unkept, i, c) {
		struct uvip *v = vip_find(u, get_str(c, "vip", NULL));
		char key[DIP_KEY_SIZE];

		if (!v)
			continue;
		vip_dip_key(key, get_str(c, "dip", ""), (unsigned int)get_u64(c, "rule", 0));
		if (!strcmp(get_str(c, "state", ""), "down"))
			json_object_set_new(v->down, key, json_pack("{s:s, s:I}", "reason", get_str(c, "reason", ""),
								    "since-ms", (json_int_t)get_u64(c, "at-ms", 0)));
		else
			json_object_del(v->down, key);
		vip_changed(v);
	}
}
