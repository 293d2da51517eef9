// SPDX-License-Identifier: GPL-2.0
/*
 * Checks a VIP definition before anything is done with it. Rules and DIPs are
 * checked by lib/vip, its health policy by lib/vip_health, health checks by lib/probe, as everywhere; here comes what
 * only the controller knows: aggregate, traffic sources.
 */
#include "api.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fields.h"
#include "text.h"
#include "probe.h"

static const char *const members[] = { "vip", "name", "traffic", "rules", "status", "fragments", "oversize",
					   "all_down", "snat", "delivery", "health", NULL };
static const char *const rule_members[] = { "proto", "port", "fields", "dips", "check", NULL };
static const char *const dip_members[] = { "address", "weight", "state", NULL };

int api_number(json_t *object, const char *key, json_int_t low, json_int_t high, const char *where, struct err *e)
{
	json_t *v = json_object_get(object, key);

	if (!v ||
	    (json_is_integer(v) && json_integer_value(v) >= low && json_integer_value(v) <= high))
		return 0;
	return err_set(e, -EINVAL, "%s: \"%s\" is a number from %lld to %lld", where, key,
		       (long long)low, (long long)high);
}

/* check_health_check - as the host agent reads it; what names no port takes the rule's */
static int check_health_check(json_t *check, json_t *rule, const char *where, struct err *e)
{
	json_t *port = json_object_get(rule, "port");
	struct probe_conf conf;

	if (json_object_get(check, "rule"))
		return err_set(e, -EINVAL, "%s: there is no such member as \"rule\"", where);
	if (probe_parse(check, json_is_integer(port) ? json_integer_value(port) : 0, where, &conf, e))
		return -EINVAL;
	return 0;
}

static bool is_switch(const struct updater *u, const char *name)
{
	return json_object_get(u->switch_index, name);
}

static int check_traffic(const struct updater *u, json_t *traffic, const char *where, struct err *e)
{
	json_t *mbps = json_object_get(traffic, "mbps"),
	       *sources = json_object_get(traffic, "sources"), *share;
	double sum = 0;
	const char *name;

	if (!traffic)
		return 0;
	if (!json_is_object(traffic) || !json_is_number(mbps) || !mbps_good(json_number_value(mbps)))
		return err_set(e, -EINVAL, "%s: \"traffic\" has \"mbps\", a number from 0 to %.0f", where, VIP_MBPS_MAX);
	if (!sources)
		return 0;
	if (!json_is_object(sources))
		return err_set(e, -EINVAL,
			       "%s: the \"sources\" of traffic are an object: name and share",
			       where);
	json_object_foreach(sources, name, share) {
		if (strcmp(name, "internet") && !is_switch(u, name))
			return err_set(
				e, -EINVAL,
				"%s: traffic source \"%s\" is neither a switch of the topology nor \"internet\"",
				where, name);
		if (!json_is_number(share) || json_number_value(share) < 0)
			return err_set(e, -EINVAL,
				       "%s: the share of traffic source \"%s\" is no number", where,
				       name);
		sum += json_number_value(share);
	}
	if (sum < 0.99 || sum > 1.01)
		return err_set(e, -EINVAL,
			       "%s: the shares of the traffic sources add up to %.3g, not to 1",
			       where, sum);
	return 0;
}

/* mux_at - name of the switch or SMux that has the address; NULL: none has */
static const char *mux_at(const struct updater *u, const char *address)
{
	return json_string_value(json_object_get(u->local_index, address));
}

/* check_taken - a VIP that is the address of a node would take what is for the node */
static int check_taken(const struct updater *u, const char *vip, const char *where, struct err *e)
{
	json_t *host = json_object_get(u->address_index, vip);
	const char *name = mux_at(u, vip);

	if (!name && host)
		name = u->hosts[json_integer_value(host)].name;
	return name ? err_set(e, -EINVAL, "%s is the address of %s", where, name) : 0;
}

/* normal_rule - addresses in their one form; what lib/vip doesn't look at is checked */
static int normal_rule(const struct updater *u, json_t *rule, const char *where, struct err *e)
{
	json_t *dip, *check = json_object_get(rule, "check");
	char text[ADDR_STRLEN];
	struct addr a;
	size_t i;
	int ret;

	ret = fields_known(rule, rule_members, where, e);
	if (ret)
		return ret;
	json_array_foreach(json_object_get(rule, "dips"), i, dip) {
		ret = fields_known(dip, dip_members, where, e);
		if (ret)
			return ret;
		addr_parse(get_str(dip, "address", ""), &a);
		addr_str(&a, text);
		if (prefix_holds(&u->ctl->conf.aggregate, &a))
			return err_set(e, -EINVAL,
				       "%s: DIP %s is inside the aggregate %s, which is for VIPs",
				       where, text, u->ctl->conf.aggregate_text);
		/* a server may be a DIP by its own address, a mux gets nothing out of its tunnels */
		if (mux_at(u, text))
			return err_set(e, -EINVAL, "%s: DIP %s is the address of the mux %s, the source of its tunnels",
				       where, text, mux_at(u, text));
		json_object_set_new(dip, "address", json_string(text));
	}
	return check ? check_health_check(check, rule, where, e) : 0;
}

/* check_whole - what is neither a rule's nor a DIP's */
static int check_whole(const struct updater *u, json_t *json, const struct addr *a, const char *where, struct err *e)
{
	bool v4 = addr_is_v4(a);
	char text[ADDR_STRLEN];

	if (check_taken(u, addr_str(a, text), where, e))
		return -EINVAL;
	if (!v4 && !u->ctl->conf.aggregate6_text)
		return err_set(e, -EINVAL, "%s is IPv6, and [controller] aggregate6 is not set", where);
	if (!prefix_holds(v4 ? &u->ctl->conf.aggregate : &u->ctl->conf.aggregate6, a))
		return err_set(e, -EINVAL,
			       "%s is outside the aggregate %s, which the SMuxes announce", where,
			       v4 ? u->ctl->conf.aggregate_text : u->ctl->conf.aggregate6_text);
	if (json_object_get(json, "name") && !name_good(get_str(json, "name", "")))
		return err_set(e, -EINVAL, "%s: its \"name\" is no name: " NAME_RULE, where);
	if (fields_known(json, members, where, e))
		return -EINVAL;
	return check_traffic(u, json_object_get(json, "traffic"), where, e);
}

int vip_check(const struct updater *u, json_t *json, json_t **out, struct err *e)
{
	char text[ADDR_STRLEN], where[ADDR_STRLEN + 32];
	struct vip_health health;
	json_t *def, *rule;
	struct vip *vip;
	struct addr a;
	size_t i;
	int ret;

	ret = vip_from_json(json, &vip, e);
	if (ret)
		return ret;
	a = vip->addr;
	addr_str(&a, text);
	snprintf(where, sizeof(where), "VIP %s", text);
	ret = snat_check(json_object_get(json, "snat"), json, vip, where, e);
	if (!ret)
		ret = vip_health_from_json(json, vip, where, &health, e);
	def = ret ? NULL : json_deep_copy(json);
	if (!ret)
		ret = def ? delivery_check(u, def, vip, where, e) : err_set(e, -ENOMEM, "out of memory");
	vip_free(vip);
	if (!ret)
		ret = check_whole(u, def, &a, where, e);
	if (ret)
		goto err_def;
	json_object_del(def, "status");
	json_object_set_new(def, "vip", json_string(text));
	json_array_foreach(json_object_get(def, "rules"), i, rule) {
		snprintf(where, sizeof(where), "VIP %s, rule %zu", text, i + 1);
		ret = normal_rule(u, rule, where, e);
		if (ret)
			goto err_def;
	}
	*out = def;
	return 0;

err_def:
	json_decref(def);
	return ret;
}
