// SPDX-License-Identifier: GPL-2.0
/*
 * Keeps the VIPs: definition, place, which DIPs are down. In memory sorted by
 * address, in the store one row each, written in the same breath.
 */
#include "priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

#define KEEP_MS 5 /* health reaches the muxes first, the disk then */

/* slot - where a VIP of this address is or would be */
static unsigned int slot(const struct updater *u, const struct addr *a, bool *found)
{
	unsigned int low = 0, high = u->n_vips;

	*found = false;
	while (low < high) {
		unsigned int mid = (low + high) / 2;
		int c = addr_cmp(&u->vips[mid]->addr, a);

		if (!c) {
			*found = true;
			return mid;
		}
		if (c < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

struct uvip *vip_find(struct updater *u, const char *text)
{
	struct addr a;
	unsigned int i;
	bool found;

	if (!text || addr_parse(text, &a))
		return NULL;
	i = slot(u, &a, &found);
	return found ? u->vips[i] : NULL;
}

static void keep(struct updater *u, const struct uvip *v)
{
	store_vip_put(u->store, &(struct store_vip){ .vip = v->text,
						     .def = v->def,
						     .mux = v->mux,
						     .mru = v->mru,
						     .reason = v->reason });
}

static struct uvip *insert(struct updater *u, json_t *def)
{
	struct uvip *v = calloc(1, sizeof(*v)), **list;
	unsigned int i;
	bool found;

	if (!v || addr_parse(get_str(def, "vip", ""), &v->addr))
		goto err_free;
	i = slot(u, &v->addr, &found);
	list = found ? NULL : realloc(u->vips, (u->n_vips + 1) * sizeof(*list));
	if (!list)
		goto err_free;
	u->vips = list;
	memmove(list + i + 1, list + i, (u->n_vips - i) * sizeof(*list));
	list[i] = v;
	u->n_vips++;
	addr_str(&v->addr, v->text);
	v->def = def;
	v->down = json_object();
	v->mru = -1;
	snprintf(v->mux, sizeof(v->mux), "%s", SMUX);
	return v;

err_free:
	free(v);
	json_decref(def);
	return NULL;
}

struct uvip *vip_add(struct updater *u, json_t *def)
{
	struct uvip *v = insert(u, def);

	if (!v)
		return NULL;
	v->reason = strdup("new: VIPs start on the SMuxes");
	keep(u, v);
	return v;
}

static void vip_free_one(struct uvip *v)
{
	json_decref(v->def);
	json_decref(v->down);
	free(v->reason);
	free(v);
}

void vip_remove(struct updater *u, struct uvip *v)
{
	unsigned int i;
	bool found;

	i = slot(u, &v->addr, &found);
	memmove(u->vips + i, u->vips + i + 1, (u->n_vips - i - 1) * sizeof(*u->vips));
	u->n_vips--;
	store_vip_del(u->store, v->text);
	vip_free_one(v);
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

void vip_adopt(struct updater *u, struct uvip *v, json_t *def)
{
	const char *key;
	json_t *value;
	void *next;

	json_decref(v->def);
	v->def = def;
	/* what is known of DIPs that are no longer there is of no use, and could
	 * hit one that comes back
	 */
	json_object_foreach_safe(v->down, next, key, value) {
		char dip[ADDR_STRLEN];
		unsigned int rule;

		if (sscanf(key, "%45[^|]|%u", dip, &rule) == 2 && rule_has_dip(def, rule, dip))
			continue;
		store_dip_put(u->store, v->text, dip, rule, false, NULL, 0);
		json_object_del(v->down, key);
	}
	keep(u, v);
}

void vip_place(struct updater *u, struct uvip *v, const char *mux, double mru, const char *reason)
{
	if (v->mux != mux)
		snprintf(v->mux, sizeof(v->mux), "%s", mux);
	v->mru = mru;
	if (reason && reason != v->reason) {
		free(v->reason);
		v->reason = strdup(reason);
	}
	keep(u, v);
}

bool vip_dip_down(const struct uvip *v, const char *dip, unsigned int rule)
{
	char key[80];

	snprintf(key, sizeof(key), "%s|%u", dip, rule);
	return json_object_get(v->down, key);
}

const char *vip_wanted(const struct uvip *v)
{
	return v->move && v->move->kind != MOVE_DELETE ? v->move->to : v->mux;
}

void vips_touch(struct updater *u, struct uvip *v)
{
	unsigned int i;

	for (i = 0; i < u->n_muxes; i++)
		if (desired_hold(&u->muxes[i], v) != HOLD_NOT)
			mux_touch(&u->muxes[i], v);
}

void vips_keep_health(struct updater *u)
{
	json_t *c, *list = u->unkept;
	size_t i;

	if (!json_array_size(list))
		return;
	u->unkept = json_array();
	store_begin(u->store);
	json_array_foreach(list, i, c) {
		bool down = !strcmp(get_str(c, "state", ""), "down");
		const char *vip = get_str(c, "vip", ""), *dip = get_str(c, "dip", ""),
			   *why = get_str(c, "reason", "");

		store_dip_put(u->store, vip, dip, get_u64(c, "rule", 0), down, why,
			      get_u64(c, "at-ms", 0));
		store_event(u->store, down ? "dip-down" : "dip-up", dip, "of VIP %s, rule %u%s%s",
			    vip, (unsigned int)get_u64(c, "rule", 0), *why ? ": " : "", why);
	}
	store_commit(u->store);
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
	char key[80];

	snprintf(key, sizeof(key), "%s|%u", dip, rule);
	if (!rule_has_dip(v->def, rule, dip) || down == !!json_object_get(v->down, key))
		return false;
	if (down)
		json_object_set_new(v->down, key,
				    json_pack("{s:s, s:I}", "reason", reason, "since-ms",
					      (json_int_t)wall_ms()));
	else
		json_object_del(v->down, key);
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
		if (!v || strcmp(get_str(d, "dip", ""), h->address) || !strcmp(state, "unknown"))
			continue;
		n = json_array_size(json_object_get(v->def, "rules"));
		for (r = 0; r < n; r++)
			if (!json_is_integer(rule) || json_integer_value(rule) == r)
				news |= set_health(u, v, h->address, r, !strcmp(state, "down"),
						   reason);
		if (news)
			vips_touch(u, v);
	}
}

static void load_vip(const struct store_vip *row, void *ctx)
{
	struct updater *u = ctx;
	struct uvip *v = row->def ? insert(u, json_incref(row->def)) : NULL;

	if (!v) {
		log_err("store: VIP %s can't be read; it is left alone", row->vip);
		return;
	}
	snprintf(v->mux, sizeof(v->mux), "%s", row->mux);
	v->mru = row->mru;
	v->reason = row->reason ? strdup(row->reason) : NULL;
}

static void load_dip(const char *vip, const char *dip, unsigned int rule, const char *reason,
		     uint64_t since_ms, void *ctx)
{
	struct uvip *v = vip_find(ctx, vip);
	char key[80];

	if (!v)
		return;
	snprintf(key, sizeof(key), "%s|%u", dip, rule);
	json_object_set_new(v->down, key,
			    json_pack("{s:s, s:I}", "reason", reason ? reason : "", "since-ms",
				      (json_int_t)since_ms));
}

int vips_load(struct updater *u, struct err *e)
{
	if (store_vip_each(u->store, load_vip, u) || store_dip_each(u->store, load_dip, u))
		return err_set(e, -EIO, "store %s: VIPs can't be read", u->ctl->conf.store);
	return 0;
}

void vips_free(struct updater *u)
{
	while (u->n_vips)
		vip_free_one(u->vips[--u->n_vips]);
	free(u->vips);
	u->vips = NULL;
}
