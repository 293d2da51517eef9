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

unsigned int vip_slot(const struct updater *u, const struct addr *a, bool *found)
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
	i = vip_slot(u, &a, &found);
	return found ? u->vips[i] : NULL;
}

static void keep(struct updater *u, const struct uvip *v)
{
	store_vip_put(u->store, &(struct store_vip){ .vip = v->text,
						     .def = v->def,
						     .mux = v->mux,
						     .mru = v->mru,
						     .generation = v->generation,
						     .key = v->key,
						     .reason = v->reason });
}

void vip_changed(struct uvip *v)
{
	free(v->told);
	v->told = NULL;
	v->judged = false;
	v->census.counted = false;
}

/* vip_define - def's reference is taken; what is asked of it often is kept beside it */
static int vip_define(struct uvip *v, json_t *def)
{
	struct err e;
	unsigned int i;

	if (dips_define(&v->dips, def)) {
		json_decref(def);
		return -ENOMEM;
	}
	for (i = 0; i < v->dips.n; i++)
		v->dips.list[i].last_resort = vip_last_resort(def, v->dips.list[i].text);
	if (vip_health_from_json(def, NULL, v->text, &v->policy, &e))
		log_err("store: %s: the defaults are used", e.text);
	vip_changed(v);
	json_decref(v->def);
	v->def = def;
	v->def_mbps = get_num(json_object_get(def, "traffic"), "mbps", 0);
	if (!mbps_good(v->def_mbps))	/* kept by an earlier version, which had no bound */
		v->def_mbps = VIP_MBPS_MAX;
	return 0;
}

static struct uvip *insert(struct updater *u, json_t *def)
{
	struct uvip *v = calloc(1, sizeof(*v)), **list;
	unsigned int i;
	bool found;

	if (!v || addr_parse(get_str(def, "vip", ""), &v->addr))
		goto err_free;
	i = vip_slot(u, &v->addr, &found);
	addr_str(&v->addr, v->text);
	list = found ? NULL : realloc(u->vips, (u->n_vips + 1) * sizeof(*list));
	if (!list)
		goto err_free;
	u->vips = list;
	if (vip_define(v, def)) {
		free(v);
		return NULL;
	}
	memmove(list + i + 1, list + i, (u->n_vips - i) * sizeof(*list));
	list[i] = v;
	u->n_vips++;
	v->mru = v->measured = -1;
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
	v->reason = strdup(VIP_NEW);
	v->generation = u->config_generation;
	v->key = u->key;
	v->smux_ms = mono_ms();
	hosts_note(u, v, v->def);
	keep(u, v);
	snat_changed(u, v);
	return v;
}

/* vip_census - how its rules are off; counted again only after a change of its DIPs */
const struct vip_census *vip_census(const struct updater *u, struct uvip *v)
{
	struct vip_census *c = &v->census;
	unsigned int r, i;

	if (c->counted)
		return c;
	*c = (struct vip_census){ .counted = true };
	for (r = 0; r < v->dips.n_rules; r++) {
		unsigned int up = 0, all = 0;

		for (i = v->dips.first[r]; i < v->dips.first[r + 1]; i++) {
			const struct dip *d = &v->dips.list[i];

			if (!host_at((struct updater *)u, d->text) && !c->homeless++)
				snprintf(c->stray, sizeof(c->stray), "%s", d->text);
			if (d->defined == DUET_DIP_DOWN || d->admin == OPERATOR_DOWN)
				continue;
			all++;
			up += d->in;
		}
		if (r && (uint64_t)up * (c->dips ? c->dips : 1) >= (uint64_t)c->up * (all ? all : 1))
			continue;
		c->rule = r;
		c->up = up;
		c->dips = all;
	}
	return c;
}

static void vip_free_one(struct uvip *v)
{
	free(v->told);
	json_decref(v->def);
	dips_free(&v->dips);
	json_decref(v->sources);
	free(v->reason);
	free(v);
}

static void fresh_forget(struct updater *u, struct uvip *v)
{
	unsigned int i;

	for (i = 0; v->fresh_ms && i < u->n_fresh; i++)
		if (u->fresh[i] == v)
			u->fresh[i] = u->fresh[--u->n_fresh];
	v->fresh_ms = 0;
}

void vip_remove(struct updater *u, struct uvip *v)
{
	unsigned int i;
	bool found;

	fresh_forget(u, v);
	i = vip_slot(u, &v->addr, &found);
	memmove(u->vips + i, u->vips + i + 1, (u->n_vips - i - 1) * sizeof(*u->vips));
	u->n_vips--;
	if (v->move)
		move_forget(v->move);
	health_forget(u, v, NULL);
	maintenance_forget(u, v, NULL);
	snat_forget(u, v);
	store_vip_del(u->store, v->text);
	vip_free_one(v);
}

enum vip_diff vip_differs(const struct uvip *v, json_t *def, bool policy)
{
	struct vip *a = NULL, *b = NULL;
	enum vip_diff diff = VIP_CONFIG;
	struct err e;

	if (!vip_from_json(v->def, &a, &e) && !vip_from_json(def, &b, &e)) {
		if (!policy)
			b->policy = a->policy;
		diff = vip_compare(a, b);
	}
	vip_free(a);
	vip_free(b);
	return diff;
}

bool vip_other_tables(const struct uvip *v, json_t *def)
{
	return vip_differs(v, def, false) == VIP_CONFIG;
}

void vip_adopt(struct updater *u, struct uvip *v, json_t *def)
{
	if (vip_other_tables(v, def))
		v->tables_ms = mono_ms();
	health_forget(u, v, def);
	maintenance_forget(u, v, def);
	if (vip_define(v, def)) {
		log_err("VIP %s: no memory for its new definition", v->text);
		return;
	}
	v->generation = u->config_generation;
	hosts_note(u, v, def);
	keep(u, v);
	snat_changed(u, v);
}

void vip_rekey(struct updater *u, struct uvip *v, unsigned int key)
{
	v->key = key;
	v->tables_ms = mono_ms();
	vip_changed(v);
	keep(u, v);
	snat_changed(u, v);
}

void vip_place(struct updater *u, struct uvip *v, const char *mux, double mru, const char *reason)
{
	if (strcmp(v->mux, mux))
		v->smux_ms = mono_ms();
	if (v->mux != mux)
		snprintf(v->mux, sizeof(v->mux), "%s", mux);
	v->mru = mru;
	if (reason && reason != v->reason) {
		free(v->reason);
		v->reason = strdup(reason);
	}
	keep(u, v);
}

json_t *vip_latest(const struct uvip *v)
{
	return v->move && v->move->def && v->move->state < MOVE_SWITCHING ? v->move->def : v->def;
}

const char *vip_wanted(const struct uvip *v)
{
	return v->move && v->move->kind != MOVE_DELETE ? v->move->to : v->mux;
}

void vips_touch(struct updater *u, struct uvip *v, bool urgent)
{
	unsigned int i;

	vip_judge(u, v);
	for (i = u->n_muxes; i; i--) {	/* the SMuxes, which have no other to stand in, come last in the list */
		struct mux *m = &u->muxes[i - 1];

		if (desired_hold(m, v) == HOLD_NOT)
			continue;
		if (urgent)
			mux_rush(m, v);
		else
			mux_touch(m, v);
	}
	snat_follow(u, v);
}

static int fresh_late(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct updater *u = ctx;

	vips_fresh_look(u);
	moves_run(u);
	return 0;
}

void vip_fresh(struct updater *u, struct uvip *v)
{
	const char *name;

	if (u->n_fresh == FRESH_MAX || hosts_ready(u, v->def, &name))
		return;
	v->fresh_ms = mono_ms();
	u->fresh[u->n_fresh++] = v;
	if (u->n_fresh == 1)
		once(u->ctl->loop, &u->fresh_timer, HOSTS_MS, fresh_late, u);
}

void vips_fresh_look(struct updater *u)
{
	uint64_t now = mono_ms(), oldest = now;
	bool any = false;
	const char *name;
	unsigned int i;

	for (i = 0; i < u->n_fresh;) {
		struct uvip *v = u->fresh[i];

		if (now - v->fresh_ms < HOSTS_MS && !hosts_ready(u, v->def, &name)) {
			oldest = v->fresh_ms < oldest ? v->fresh_ms : oldest;
			i++;
			continue;
		}
		if (!any)
			updater_begin(u);
		any = true;
		fresh_forget(u, v);
		vips_touch(u, v, false);
	}
	if (any)
		updater_commit(u);
	if (u->n_fresh)
		once(u->ctl->loop, &u->fresh_timer, oldest + HOSTS_MS - now, fresh_late, u);
}

double vip_mbps(const struct uvip *v)
{
	return v->measured >= 0 ? v->measured : v->def_mbps;
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
	v->generation = row->generation;
	v->key = row->key;
	v->smux_ms = mono_ms();
	hosts_note(u, v, v->def);
}

static void load_dip(const char *vip, const char *dip, unsigned int rule, const char *reason,
		     uint64_t since_ms, void *ctx)
{
	struct uvip *v = vip_find(ctx, vip);
	struct dip *d = v ? dips_find(&v->dips, dip, rule) : NULL;

	if (!d)
		return;
	d->reported = REPORT_DOWN;
	d->in = false;
	d->since_ms = since_ms;
	dip_reason(d, reason);
}

int vips_load(struct updater *u, struct err *e)
{
	if (store_vip_each(u->store, load_vip, u) || store_dip_each(u->store, load_dip, u))
		return err_set(e, -EIO, "store %s: VIPs can't be read", store_name(u->store));
	return snat_load(u, e);
}

void vips_free(struct updater *u)
{
	snat_free(u);
	u->n_fresh = 0;
	while (u->n_vips)
		vip_free_one(u->vips[--u->n_vips]);
	free(u->vips);
	u->vips = NULL;
}
