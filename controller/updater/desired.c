// SPDX-License-Identifier: GPL-2.0
/*
 * Keeps nothing: what every agent should hold follows from VIPs, their places
 * and the moves under way, by the functions here and nothing else.
 *
 * SMuxes hold every VIP, a new one when its hosts know it, and announce the aggregate only. A VIP's HMux holds it
 * and announces it. While a move withdraws it the HMux goes on serving, silent;
 * it lets go when the new HMux is told, and its agent serves on for a while
 * even then. So no table needs room for a VIP in two places for long, and two
 * switches that swap VIPs can't block each other.
 *
 * What a mux is told of a VIP is the same on all of them but for "announce": the
 * text is kept with the VIP until it changes, for every SMux is told all of it.
 */
#include "priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>


enum hold desired_hold(const struct mux *m, const struct uvip *v)
{
	const struct move *mv = v->move;

	if (v->fresh_ms)
		return HOLD_NOT;
	if (m->smux)
		return HOLD_SILENT;
	if (!strcmp(m->name, v->mux))
		return (mv && mv->state == MOVE_WITHDRAWING) || json_object_get(m->astray, v->text) ? HOLD_SILENT : HOLD_ANNOUNCED;
	if (mv && mv->state == MOVE_SWITCHING && !strcmp(m->name, mv->from))
		return HOLD_SILENT;
	return HOLD_NOT;
}

static json_t *desired_rule(const struct uvip *v, json_t *rule, unsigned int index)
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
		const struct dip *d = &v->dips.list[v->dips.first[index] + i];

		json_array_append_new(dips, json_pack("{s:s, s:i, s:s}", "address", d->text,
			"weight", d->weight, "state", dip_state_name(d->table)));
	}
	json_object_set_new(out, "dips", dips);
	return out;
}

json_t *desired_rules(const struct updater *u, const struct uvip *v)
{
	json_t *rules = json_array(), *rule;
	size_t i;

	vip_judge(u, v);
	json_array_foreach(json_object_get(v->def, "rules"), i, rule)
		json_array_append_new(rules, desired_rule(v, rule, i));
	return rules;
}

json_t *desired_vip(const struct updater *u, const struct uvip *v)
{
	static const char *const policies[] = { "kind", "fragments", "oversize", "all_down" };
	json_t *out, *value;
	size_t i;

	out = json_pack("{s:s, s:o}", "vip", v->text, "rules", desired_rules(u, v));
	for (i = 0; i < sizeof(policies) / sizeof(*policies); i++) {
		value = json_object_get(v->def, policies[i]);
		if (value)
			json_object_set(out, policies[i], value);
	}
	if (v->key)
		json_object_set_new(out, "key", json_integer(v->key));
	return out;
}

/* write_vip - as it is for a mux; "fence" is more of the object's inside, or "" */
static void write_vip(struct updater *u, struct uvip *v, enum hold hold, const char *fence, FILE *out)
{
	json_t *json;

	if (!v->told) {
		json = desired_vip(u, v);
		v->told = json_dumps(json, JSON_COMPACT | JSON_PRESERVE_ORDER);
		json_decref(json);
	}
	if (v->told)
		fprintf(out, "{%s\"announce\":\"%s\",%s", fence, hold == HOLD_ANNOUNCED ? "yes" : "no", v->told + 1);
}

static char *written(FILE *out, char **text)
{
	bool bad = ferror(out);

	if (!fclose(out) && !bad)
		return *text;
	free(*text);
	return NULL;
}

char *desired_vip_text(struct updater *u, struct uvip *v, enum hold hold, uint64_t generation)
{
	char fence[96], *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return NULL;
	snprintf(fence, sizeof(fence), "\"epoch\":%llu,\"generation\":%llu,", (unsigned long long)u->epoch,
		 (unsigned long long)generation);
	write_vip(u, v, hold, fence, out);
	return written(out, &text);
}

char *desired_mux_text(const struct mux *m, uint64_t generation)
{
	struct updater *u = m->u;
	const char *comma = "";
	char *text = NULL, key[KEY_TEXT];
	unsigned int i;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return NULL;
	fprintf(out, "{\"epoch\":%llu,\"generation\":%llu,", (unsigned long long)u->epoch,
		(unsigned long long)generation);
	for (i = 0; i < DUET_KEYS; i++)
		if (!key_is_none(&u->keys[i]))
			fprintf(out, "\"%s\":\"%s\",", key_names[i], key_text(&u->keys[i], key));
	if (m->smux && !m->drained)
		fprintf(out, "\"aggregate\":\"%s\",\"vips\":[", u->ctl->conf.aggregate_text);
	else
		fputs("\"aggregate\":null,\"vips\":[", out);
	for (i = 0; i < u->n_vips; i++) {
		enum hold hold = desired_hold(m, u->vips[i]);

		if (hold == HOLD_NOT)
			continue;
		fputs(comma, out);
		comma = ",";
		write_vip(u, u->vips[i], hold, "", out);
	}
	fputs("]}", out);
	return written(out, &text);
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

/* host_accepts - the protocols and ports of a definition's rules: what a host takes out of tunnels */
static void host_accepts(json_t *vip, json_t *def)
{
	static const char *const keys[] = { "proto", "port" };
	json_t *list = json_object_get(vip, "accept"), *rule, *value, *one;
	size_t r, k;

	if (!list) {
		list = json_array();
		json_object_set_new(vip, "accept", list);
	}
	json_array_foreach(json_object_get(def, "rules"), r, rule) {
		one = json_object();
		for (k = 0; k < sizeof(keys) / sizeof(*keys); k++) {
			value = json_object_get(rule, keys[k]);
			if (value)
				json_object_set(one, keys[k], value);
		}
		for (k = 0; k < json_array_size(list) && !json_equal(json_array_get(list, k), one); k++)
			;
		if (k == json_array_size(list))
			json_array_append(list, one);
		json_decref(one);
	}
	value = json_object_get(def, "fragments");
	if (value && strcmp(get_str(vip, "fragments", ""), "hash"))
		json_object_set(vip, "fragments", value);
}

/* host_vip - what a host is told of a VIP by this definition; NULL: none of its rules has its DIP */
static json_t *host_vip(const struct host *h, const struct uvip *v, json_t *def)
{
	json_t *checks = json_array(), *delivery = json_object_get(def, "delivery"), *vip = NULL, *value;

	if (def && host_checks(def, h->address, checks))
		vip = json_pack("{s:s, s:s, s:O}", "vip", v->text, "dip", h->address, "checks", checks);
	json_decref(checks);
	if (vip && v->key)
		json_object_set_new(vip, "key", json_integer(v->key));
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
char *desired_host_text(const struct host *h, uint64_t generation)
{
	const struct updater *u = h->u;
	json_t *vips = json_array(), *blocks = json_array(), *value, *vip, *state;
	char *text, *whole = NULL, hex[KEY_TEXT];
	const char *key;
	unsigned int i;
	void *next;

	/* it has had DIPs of these; of some it may have none any more */
	json_object_foreach_safe(h->vips, next, key, value) {
		const struct uvip *v = vip_find((struct updater *)u, key);

		vip = v ? host_vip(h, v, v->def) : NULL;
		if (v && !vip && v->move)
			vip = host_vip(h, v, v->move->def);
		if (vip) {
			/* rules still to come, too: muxes have them before or after this host */
			host_accepts(vip, v->def);
			if (v->move)
				host_accepts(vip, v->move->def);
			snat_desired(h, v, vip, blocks);
			json_array_append_new(vips, vip);
		} else {
			json_object_del(h->vips, key);
		}
	}
	state = json_pack("{s:I, s:I, s:o, s:o}", "epoch", (json_int_t)u->epoch, "generation", (json_int_t)generation,
			  "vips", vips, "snat", blocks);
	for (i = 0; i < DUET_KEYS; i++)
		if (!key_is_none(&u->keys[i]))
			json_object_set_new(state, key_names[i], json_string(key_text(&u->keys[i], hex)));
	if (h->racks_due) {	/* many, and hardly ever others: only who has not got them is sent them */
		json_object_set(state, "racks", json_object_get(u->model, "racks"));
		json_object_set_new(state, "racks_id", json_string(u->racks));
	}
	text = json_dumps(state, JSON_COMPACT | JSON_PRESERVE_ORDER);
	json_decref(state);
	/* the muxes, thousands perhaps and the same for all, are text already */
	if (text && asprintf(&whole, "{\"muxes\":%s,%s", u->mux_locals, text + 1) < 0)
		whole = NULL;
	free(text);
	return whole;
}
