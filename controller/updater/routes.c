// SPDX-License-Identifier: GPL-2.0
/*
 * Hosts that muxes have no route to. One mux without a route says little: its own routing may be broken. So witnesses
 * judge the host (silence.c). If it is dead for them, its DIPs leave all muxes together, and tables stay equal; if it
 * answers, the switch without a route announces no VIP of that host until it has one again.
 */
#include "priv.h"

#include <string.h>

/* unrouted_at - does this mux report that it has no route to the address */
static bool unrouted_at(const struct mux *m, const char *address)
{
	json_t *dip;
	size_t i;

	json_array_foreach(m->unrouted, i, dip)
		if (!strcmp(json_string_value(dip) ? json_string_value(dip) : "", address))
			return true;
	return false;
}

static bool unrouted_somewhere(const struct updater *u, const char *address)
{
	unsigned int i;

	for (i = 0; i < u->n_muxes; i++)
		if (!u->muxes[i].lost_ms && unrouted_at(&u->muxes[i], address))
			return true;
	return false;
}

/* doubt_each - hosts of a list of addresses are doubted as long as some mux has no route to them */
static void doubt_each(struct updater *u, json_t *list)
{
	json_t *dip;
	size_t i;

	json_array_foreach(list, i, dip) {
		struct host *h = host_at(u, json_string_value(dip) ? json_string_value(dip) : "");

		if (h)
			silence_doubt(h, unrouted_somewhere(u, h->address));
	}
}

void routes_told(struct mux *m, json_t *unrouted)
{
	json_t *before = m->unrouted;

	if (before ? json_equal(before, unrouted) : !json_array_size(unrouted))
		return;
	m->unrouted = json_is_array(unrouted) ? json_incref(unrouted) : NULL;
	doubt_each(m->u, before);
	doubt_each(m->u, m->unrouted);
	json_decref(before);
	routes_astray(m->u);
}

/* astray_of - VIPs of hosts that this switch has no route to, and that answer others; NULL: none */
static json_t *astray_of(const struct mux *m)
{
	json_t *out = NULL, *dip, *yes;
	const char *vip;
	size_t i;

	json_array_foreach(m->smux ? NULL : m->unrouted, i, dip) {
		struct host *h = host_at(m->u, json_string_value(dip) ? json_string_value(dip) : "");

		if (!h || !h->silence.doubted || h->silence.verdict != VERDICT_ALIVE)
			continue;
		json_object_foreach(h->vips, vip, yes) {
			out = out ? out : json_object();
			json_object_set(out, vip, yes);
		}
	}
	return out;
}

/* touch_others - VIPs that are in one of the lists alone */
static void touch_others(struct mux *m, json_t *list, json_t *other)
{
	const char *vip;
	json_t *yes;

	json_object_foreach(list, vip, yes) {
		struct uvip *v = json_object_get(other, vip) ? NULL : vip_find(m->u, vip);

		if (v && !strcmp(v->mux, m->name)) {
			store_event(m->u->store, list == m->astray ? "vip-withdrawn" : "vip-announced", m->name,
				    list == m->astray ? "VIP %s: it has no route to a DIP that answers other muxes" :
							"VIP %s: it has routes to its DIPs again", vip);
			mux_touch(m, v);
		}
	}
}

void routes_astray(struct updater *u)
{
	unsigned int i;

	for (i = 0; i < u->n_muxes; i++) {
		struct mux *m = &u->muxes[i];
		json_t *before = m->astray;

		m->astray = astray_of(m);
		touch_others(m, m->astray, before);
		touch_others(m, before, m->astray);
		json_decref(before);
	}
}
