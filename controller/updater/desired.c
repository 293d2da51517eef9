// SPDX-License-Identifier: GPL-2.0
/*
 * Keeps nothing: what every agent should hold follows from VIPs, their places
 * and the moves under way, by the functions here and nothing else.
 *
 * SMuxes hold every VIP and announce the aggregate only. A VIP's HMux holds it
 * and announces it. While a move withdraws it the HMux goes on serving, silent;
 * it lets go when the new HMux is told, and its agent serves on for a while
 * even then. So no table needs room for a VIP in two places for long, and two
 * switches that swap VIPs can't block each other.
 */
#include "priv.h"

#include <string.h>

enum hold desired_hold(const struct mux *m, const struct uvip *v)
{
	const struct move *mv = v->move;

	if (m->smux)
		return HOLD_SILENT;
	if (!strcmp(m->name, v->mux))
		return mv && mv->state == MOVE_WITHDRAWING ? HOLD_SILENT : HOLD_ANNOUNCED;
	if (mv && mv->state == MOVE_SWITCHING && !strcmp(m->name, mv->from))
		return HOLD_SILENT;
	return HOLD_NOT;
}

static json_t *desired_rule(const struct updater *u, const struct uvip *v, json_t *rule, unsigned int index)
{
	static const char *const keys[] = { "proto", "port", "fields" };
	json_t *out = json_object(), *dips = json_array(), *dip, *value;
	unsigned int k;
	size_t i;

	for (k = 0; k < sizeof(keys) / sizeof(*keys); k++) {
		value = json_object_get(rule, keys[k]);
		if (value)
			json_object_set(out, keys[k], value);
	}
	json_array_foreach(json_object_get(rule, "dips"), i, dip) {
		const char *address = get_str(dip, "address", "");
		const char *state = get_str(dip, "state", "up");

		if (vip_dip_down(v, address, index))
			state = "down";
		else if (!strcmp(state, "up") && drained_dip(u, v, address))
			state = "drain";
		json_array_append_new(dips, json_pack("{s:s, s:I, s:s}", "address", address,
			"weight", (json_int_t)get_u64(dip, "weight", 1), "state", state));
	}
	json_object_set_new(out, "dips", dips);
	return out;
}

json_t *desired_rules(const struct updater *u, const struct uvip *v)
{
	json_t *rules = json_array(), *rule;
	size_t i;

	json_array_foreach(json_object_get(v->def, "rules"), i, rule)
		json_array_append_new(rules, desired_rule(u, v, rule, i));
	return rules;
}

json_t *desired_vip(const struct updater *u, const struct uvip *v, enum hold hold)
{
	static const char *const policies[] = { "kind", "fragments", "oversize", "all_down" };
	json_t *out, *value;
	size_t i;

	out = json_pack("{s:s, s:s, s:o}", "vip", v->text, "announce", hold == HOLD_ANNOUNCED ? "yes" : "no",
			"rules", desired_rules(u, v));
	for (i = 0; i < sizeof(policies) / sizeof(*policies); i++) {
		value = json_object_get(v->def, policies[i]);
		if (value)
			json_object_set(out, policies[i], value);
	}
	return out;
}

json_t *desired_mux(const struct mux *m)
{
	const struct updater *u = m->u;
	json_t *vips = json_array(), *state;
	unsigned int i;

	for (i = 0; i < u->n_vips; i++) {
		enum hold hold = desired_hold(m, u->vips[i]);

		if (hold != HOLD_NOT)
			json_array_append_new(vips, desired_vip(u, u->vips[i], hold));
	}
	state = json_pack("{s:I, s:o}", "seed", (json_int_t)u->seed, "vips", vips);
	json_object_set_new(state, "aggregate",
			    m->smux && !m->drained ? json_string(u->ctl->conf.aggregate_text) : json_null());
	return state;
}

/* host_checks - of all rules of a definition that have this DIP; false if none has */
static bool host_checks(json_t *def, const char *address, json_t *checks)
{
	json_t *rule, *dip, *check;
	bool found = false;
	size_t r, i;

	json_array_foreach(json_object_get(def, "rules"), r, rule) {
		json_array_foreach(json_object_get(rule, "dips"), i, dip)
			if (!strcmp(get_str(dip, "address", ""), address))
				break;
		if (i == json_array_size(json_object_get(rule, "dips")))
			continue;
		found = true;
		check = json_object_get(rule, "check");
		if (check) {
			check = json_deep_copy(check);
			json_object_set_new(check, "rule", json_integer(r));
			if (!json_object_get(check, "port") && strcmp(get_str(check, "type", ""), "icmp") &&
			    json_is_integer(json_object_get(rule, "port")))
				json_object_set(check, "port", json_object_get(rule, "port"));
			json_array_append_new(checks, check);
		}
	}
	return found;
}

/* host_vip - what a host is told of a VIP by this definition; NULL: none of its rules has its DIP */
static json_t *host_vip(const struct host *h, const struct uvip *v, json_t *def)
{
	json_t *checks = json_array(), *delivery = json_object_get(def, "delivery"), *vip = NULL, *value;

	if (def && host_checks(def, h->address, checks))
		vip = json_pack("{s:s, s:s, s:O}", "vip", v->text, "dip", h->address, "checks", checks);
	json_decref(checks);
	if (!vip || !delivery)
		return vip;
	json_object_set(vip, "delivery", json_object_get(delivery, "type"));
	value = json_object_get(json_object_get(delivery, "targets"), h->address);
	if (value)
		json_object_set(vip, "targets", value);
	value = json_object_get(delivery, "ports");
	if (value)
		json_object_set(vip, "ports", value);
	return vip;
}

/* desired_host - a DIP of a definition still to come is served already, so that
 * the host is ready when the first packet comes
 */
json_t *desired_host(const struct host *h)
{
	const struct updater *u = h->u;
	json_t *vips = json_array(), *muxes = json_array(), *blocks = json_array(), *value, *vip;
	unsigned int i;
	const char *key;
	void *next;

	for (i = 0; i < u->n_muxes; i++)
		json_array_append_new(muxes, json_string(u->muxes[i].local));
	/* it has had DIPs of these; of some it may have none any more */
	json_object_foreach_safe(h->vips, next, key, value) {
		const struct uvip *v = vip_find((struct updater *)u, key);

		vip = v ? host_vip(h, v, v->def) : NULL;
		if (v && !vip && v->move)
			vip = host_vip(h, v, v->move->def);
		if (vip) {
			snat_desired(h, v, vip, blocks);
			json_array_append_new(vips, vip);
		} else {
			json_object_del(h->vips, key);
		}
	}
	value = json_pack("{s:I, s:o, s:o, s:o}", "seed", (json_int_t)u->seed, "muxes", muxes, "vips", vips, "snat", blocks);
	if (h->racks_due) {	/* many, and hardly ever others: only who has not got them is sent them */
		json_object_set(value, "racks", json_object_get(u->model, "racks"));
		json_object_set_new(value, "racks_id", json_string(u->racks));
	}
	return value;
}
