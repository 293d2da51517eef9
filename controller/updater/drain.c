// SPDX-License-Identifier: GPL-2.0
/*
 * What the operator has taken out for maintenance. A drained switch holds no
 * VIPs; a drained SMux serves on and withdraws the aggregate; a drained rack is
 * its switch, its SMuxes, and its DIPs, which get no new connections. The last
 * SMux, and the last DIPs of a VIP, are never taken.
 */
#include "priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

bool drained(const struct updater *u, const char *kind, const char *name)
{
	char key[NAME_SIZE + 8];

	snprintf(key, sizeof(key), "%s/%s", kind, name);
	return json_object_get(u->drains, key);
}

/* rack_of - the switch that a node of the model hangs on */
static const char *rack_of(json_t *node)
{
	return get_str(node, "switch", "");
}

static bool smux_drained(const struct updater *u, const char *name)
{
	json_t *node;
	size_t i;

	if (drained(u, "smux", name))
		return true;
	json_array_foreach(json_object_get(u->model, "smuxes"), i, node)
		if (!strcmp(get_str(node, "name", ""), name))
			return drained(u, "rack", rack_of(node));
	return false;
}

void vip_judge(const struct updater *u, const struct uvip *judged)
{
	struct uvip *v = (struct uvip *)judged;		/* what is set here follows from the rest of it */
	enum policy_mode mode;
	unsigned int r;

	if (v->judged)
		return;
	v->judged = true;
	v->mode = POLICY_NORMAL;
	maintenance_inputs(u, v);
	for (r = 0; r < v->dips.n_rules; r++) {
		mode = policy_rule(&v->policy, &v->dips, r);
		v->mode = mode > v->mode ? mode : v->mode;
	}
}

void drains_apply(struct updater *u)
{
	unsigned int i, k;

	for (i = 0; i < u->n_muxes; i++) {
		struct mux *m = &u->muxes[i];
		bool out = m->smux ? smux_drained(u, m->name) :
				     drained(u, "switch", m->name) || drained(u, "rack", m->name);

		if (out != m->drained && m->smux)
			mux_full(m);
		m->drained = out;
	}
	u->resting_ms = 0;
	/* DIPs of racks: muxes are told, without another table being built */
	for (i = 0; i < u->n_hosts; i++) {
		bool out = drained(u, "rack", u->hosts[i].rack);
		const char *key;
		json_t *value;

		if (out == u->hosts[i].drained)
			continue;
		u->hosts[i].drained = out;
		json_object_foreach(u->hosts[i].vips, key, value) {
			struct uvip *v = vip_find(u, key);

			if (v)
				vip_changed(v);
			for (k = 0; v && k < u->n_muxes; k++)
				if (desired_hold(&u->muxes[k], v) != HOLD_NOT)
					mux_touch(&u->muxes[k], v);
			if (v)
				snat_follow(u, v);
		}
	}
}

int drains_load(struct updater *u, struct err *e)
{
	json_decref(u->drains);
	u->drains = store_set_all(u->store, STORE_DRAINS);
	return u->drains ? 0 : err_set(e, -EIO, "store %s: drains can't be read", store_name(u->store));
}
