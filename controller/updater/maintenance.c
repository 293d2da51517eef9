// SPDX-License-Identifier: GPL-2.0
/*
 * DIPs and hosts that operators take out. What an operator sets is in the store beside the drains of
 * switches and racks: it outlives reports, restarts and changes of the definition, and holds for DIPs of
 * a drained host that come later.
 *
 * A DIP that is taken out with "down" is out at once. A drain breaks no connection: an HMux keeps no flows,
 * so a VIP that is on one goes through the SMuxes, as for a change of its DIPs, and the drain is in force
 * when it is there. Until then maintenance_inputs() leaves the DIP as it is, on all muxes.
 */
#include "priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define KEY_SIZE (2 * ADDR_STRLEN + 8)

static const char *dip_key(char key[KEY_SIZE], const struct uvip *v, const char *dip)
{
	snprintf(key, KEY_SIZE, "dip/%s/%s", v->text, dip);
	return key;
}

static enum dip_operator operator_of(json_t *row)
{
	const char *state = get_str(row, "state", "");

	return !strcmp(state, "down") ? OPERATOR_DOWN : !strcmp(state, "drain") ? OPERATOR_DRAIN : OPERATOR_NONE;
}

static json_t *dip_row(const struct updater *u, const struct uvip *v, const char *dip)
{
	char key[KEY_SIZE];

	return json_object_size(u->drains) ? json_object_get(u->drains, dip_key(key, v, dip)) : NULL;
}

static json_t *host_row(const struct updater *u, const struct host *h)
{
	char key[NAME_SIZE + 8];

	snprintf(key, sizeof(key), "host/%s", h->name);
	return json_object_get(u->drains, key);
}

enum dip_operator dip_operator(const struct updater *u, const struct uvip *v, const char *dip)
{
	return operator_of(dip_row(u, v, dip));
}

/* on_the_way - the VIP has not reached the SMuxes yet, where a drain comes into force */
static bool on_the_way(const struct uvip *v)
{
	return v->move && v->move->drains && v->move->state < MOVE_SWITCHING;
}

/* What an operator wants of a DIP */
struct wanted {
	enum dip_operator admin;
	bool host, forced;
	const struct host *at;
};

static struct wanted wanted(const struct updater *u, const struct uvip *v, const struct dip *d)
{
	json_t *row = dip_row(u, v, d->text), *host;
	struct wanted w = { .admin = operator_of(row), .forced = json_is_true(json_object_get(row, "force")) };

	w.at = json_object_size(u->drains) ? host_at((struct updater *)u, d->text) : NULL;
	host = w.at ? host_row(u, w.at) : NULL;
	w.host = host;
	w.forced |= json_is_true(json_object_get(host, "force"));
	return w;
}

void maintenance_inputs(const struct updater *u, struct uvip *v)
{
	bool waits = on_the_way(v);
	unsigned int i;

	for (i = 0; i < v->dips.n; i++) {
		struct dip *d = &v->dips.list[i];
		struct wanted w = wanted(u, v, d);

		if (!waits || w.admin == OPERATOR_DOWN || d->admin == OPERATOR_DOWN)
			d->admin = w.admin;
		if (!waits)
			d->host_drained = w.host;
		d->forced = w.forced;
		d->drained = d->host_drained || (w.at && drained(u, "rack", w.at->rack));
	}
}

/* differs - would the table change if what the operator wants were in force */
static bool differs(const struct updater *u, const struct uvip *v)
{
	unsigned int i;

	for (i = 0; i < v->dips.n; i++) {
		const struct dip *d = &v->dips.list[i];
		struct wanted w = wanted(u, v, d);
		bool is = d->admin == OPERATOR_DRAIN || d->host_drained, will = w.admin == OPERATOR_DRAIN || w.host;

		if (d->in && d->admin != OPERATOR_DOWN && w.admin != OPERATOR_DOWN && is != will)
			return true;
	}
	return false;
}

bool maintenance_waits(const struct updater *u, const struct uvip *v)
{
	return on_the_way(v) && differs(u, v);
}

/* carry_out - at once, or by way of the SMuxes */
static void carry_out(struct maintenance *m, struct uvip *v)
{
	struct updater *u = m->u;
	struct move *mv;

	if (v->move && v->move->kind == MOVE_DELETE)
		return;
	if ((strcmp(v->mux, SMUX) || v->move) && differs(u, v)) {
		if (!m->wave)
			m->wave = store_wave(u->store);
		mv = move_new(u, v, MOVE_CHANGE, vip_wanted(v), json_incref(vip_latest(v)), m->wave);
		if (mv) {
			mv->drains = true;
			move_keep(mv);
			json_array_append_new(m->moves, json_integer(mv->id));
		}
	}
	vip_changed(v);
	vip_judge(u, v);
	health_ease(u, v);
	vips_touch(u, v, false);
}

static void put_row(struct maintenance *m, const char *key, const char *state)
{
	struct updater *u = m->u;
	json_t *row = NULL;

	if (state)
		row = json_pack("{s:s, s:s, s:I, s:b}", "state", state, "by", m->by, "at-ms", (json_int_t)wall_ms(), "force", m->force);
	store_set_put(u->store, STORE_DRAINS, key, row ? json_incref(row) : NULL);
	if (row)
		json_object_set_new(u->drains, key, row);
	else
		json_object_del(u->drains, key);
}

void dip_operate(struct maintenance *m, struct uvip *v, const char *dip, enum dip_operator state)
{
	static const char *const names[] = { [OPERATOR_DRAIN] = "drain", [OPERATOR_DOWN] = "down" };
	static const char *const events[] = { "dip-enabled", "dip-drained", "dip-disabled" };
	char key[KEY_SIZE];

	put_row(m, dip_key(key, v, dip), names[state]);
	store_event(m->u->store, events[state], dip, "of VIP %s, by %s", v->text, m->by);
	carry_out(m, v);
}

void host_operate(struct maintenance *m, struct host *h, bool drain)
{
	char key[NAME_SIZE + 8];
	const char *text;
	struct uvip *v;
	json_t *value;

	snprintf(key, sizeof(key), "host/%s", h->name);
	put_row(m, key, drain ? "drain" : NULL);
	store_event(m->u->store, drain ? "drain" : "undrain", h->name, "host, by %s", m->by);
	json_object_foreach(h->vips, text, value) {
		v = vip_find(m->u, text);
		if (v)
			carry_out(m, v);
	}
}

/* serves - does a DIP take new connections now, or would it if no other did */
static bool serves(const struct dip *d)
{
	return d->state <= DIP_UP || d->state == DIP_STANDBY || (d->state == DIP_DRAINED && d->table == DUET_DIP_UP);
}

static bool last_of_rule(const struct uvip *v, unsigned int rule, const char *dip)
{
	bool mine = false, other = false;
	unsigned int i;

	for (i = v->dips.first[rule]; i < v->dips.first[rule + 1]; i++) {
		const struct dip *d = &v->dips.list[i];

		if (!strcmp(d->text, dip))
			mine |= serves(d);
		else
			other |= serves(d) && d->weight;
	}
	return mine && !other;
}

static bool last(const struct updater *u, const struct uvip *v, const char *dip)
{
	unsigned int r;

	vip_judge(u, v);
	for (r = 0; r < v->dips.n_rules; r++)
		if (last_of_rule(v, r, dip))
			return true;
	return false;
}

int dip_last(const struct updater *u, const struct uvip *v, const char *dip, struct err *e)
{
	if (!last(u, v, dip))
		return 0;
	return err_set(e, -EBUSY, "DIP %s is the last of VIP %s that is in use: without it the VIP serves nobody. --force takes it out",
		       dip, v->text);
}

int host_last(const struct updater *u, const struct host *h, struct err *e)
{
	const struct uvip *first = NULL, *v;
	unsigned int n = 0;
	const char *text;
	json_t *value;

	json_object_foreach(h->vips, text, value) {
		v = vip_find((struct updater *)u, text);
		if (!v || !last(u, v, h->address))
			continue;
		first = first ? first : v;
		n++;
	}
	if (!n)
		return 0;
	return err_set(e, -EBUSY, "host %s has the last DIP in use of %u VIPs, VIP %s first: without it they serve nobody. --force takes it out",
		       h->name, n, first->text);
}

void maintenance_forget(struct updater *u, struct uvip *v, json_t *def)
{
	char key[KEY_SIZE];
	unsigned int i;

	for (i = 0; json_object_size(u->drains) && i < v->dips.n; i++) {
		const char *dip = v->dips.list[i].text;

		if (!dip_row(u, v, dip) || (def && def_has_dip(def, dip)))
			continue;
		dip_key(key, v, dip);
		store_set_put(u->store, STORE_DRAINS, key, NULL);
		json_object_del(u->drains, key);
	}
}
