// SPDX-License-Identifier: GPL-2.0
/*
 * "delivery" of a definition: what the VIP's hosts do with its packets. Kinds, targets
 * and ports are read by lib/delivery, as in the host agent; here comes what only the
 * definition knows: its DIPs and rules.
 */
#include "api.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "delivery.h"
#include "fields.h"

/* check_ports - a change of a port that no rule takes would never happen */
static int check_ports(json_t *list, enum delivery how, const struct vip *vip, const char *where, struct err *e)
{
	struct delivery_port *ports = calloc(json_array_size(list) + 1, sizeof(*ports));
	unsigned int n, i;
	int ret;

	if (!ports)
		return err_set(e, -ENOMEM, "out of memory");
	ret = delivery_ports(list, how, where, ports, &n, e);
	for (i = 0; i < n && !ret; i++) {
		unsigned int last = ports[i].port;

		if (!vip_rule_at(vip, ports[i].proto, ports[i].port, &last))
			ret = err_set(e, -EINVAL, "%s: no rule of the VIP takes %s port %u", where,
				      ports[i].proto == IPPROTO_TCP ? "tcp" : "udp", ports[i].port);
	}
	free(ports);
	return ret;
}

/* check_targets - of one DIP (list: NULL, none are told) */
static int check_targets(const struct updater *u, json_t *list, enum delivery how, const struct vip *vip, const char *dip,
			 const char *where, struct err *e)
{
	struct delivery_target *targets = calloc(json_array_size(list) + 1, sizeof(*targets));
	struct addr address = {};
	char at[200], text[ADDR_STRLEN];
	unsigned int n = 0, i;
	int ret;

	if (!targets)
		return err_set(e, -ENOMEM, "out of memory");
	addr_parse(dip, &address);
	snprintf(at, sizeof(at), "%.120s, DIP %.45s", where, dip);
	ret = delivery_targets(list, how, &vip->addr, &address, at, targets, &n, e);
	for (i = 0; i < n && !ret; i++)
		if (prefix_holds(&u->ctl->conf.aggregate, &targets[i].address) ||
		    (u->ctl->conf.aggregate6_text && prefix_holds(&u->ctl->conf.aggregate6, &targets[i].address)))
			ret = err_set(e, -EINVAL, "%s: target %s is inside the aggregate, which is for VIPs", at,
				      addr_str(&targets[i].address, text));
	free(targets);
	return ret;
}

/* check_dips - targets are of DIPs that the VIP has, and every DIP has those it needs */
static int check_dips(const struct updater *u, json_t *targets, enum delivery how, const struct vip *vip, const char *where,
		      struct err *e)
{
	unsigned int r, i, named = 0;
	char text[ADDR_STRLEN];
	json_t *seen = json_object();
	const char *dip;
	json_t *list;
	int ret = 0;

	for (r = 0; r < vip->n_rules && !ret; r++)
		for (i = 0; i < vip->rules[r].n_dips && !ret; i++) {
			addr_str(&vip->rules[r].dips[i].addr, text);
			list = json_object_get(targets, text);
			if (json_object_get(seen, text))
				continue;
			json_object_set_new(seen, text, json_true());
			named += list != NULL;
			ret = check_targets(u, list, how, vip, text, where, e);
		}
	if (!ret && named != json_object_size(targets))
		json_object_foreach(targets, dip, list)
			if (!json_object_get(seen, dip))
				ret = err_set(e, -EINVAL, "%s: \"%.64s\" has targets and is no DIP of the VIP", where, dip);
	json_decref(seen);
	return ret;
}

/* normal - targets with their DIPs in their one form, so that they are found; NULL: a DIP twice, or out of memory */
static json_t *normal(json_t *targets)
{
	json_t *out = json_object(), *list;
	char text[ADDR_STRLEN];
	struct addr a;
	const char *dip;

	json_object_foreach(targets, dip, list)
		json_object_set(out, addr_parse(dip, &a) ? dip : addr_str(&a, text), list);
	if (out && json_object_size(out) == json_object_size(targets))
		return out;
	json_decref(out);
	return NULL;
}

int delivery_check(const struct updater *u, json_t *def, const struct vip *vip, const char *vip_where, struct err *e)
{
	static const char *const members[] = { "type", "targets", "ports", NULL };
	json_t *delivery = json_object_get(def, "delivery"), *targets = json_object_get(delivery, "targets"), *list = NULL;
	enum delivery how;
	char where[160];
	int ret;

	if (!delivery)
		return 0;
	snprintf(where, sizeof(where), "%.120s, delivery", vip_where);
	if (!json_is_object(delivery))
		return err_set(e, -EINVAL, "%s: it is an object with a \"type\"", where);
	if (fields_known(delivery, members, where, e))
		return -EINVAL;
	if (!json_object_get(delivery, "type"))
		return err_set(e, -EINVAL, "%s: it has no \"type\": lo, nat or virtual", where);
	if (delivery_parse(json_object_get(delivery, "type"), where, &how, e))
		return -EINVAL;
	if (targets && !json_is_object(targets))
		return err_set(e, -EINVAL, "%s: \"targets\" is an object: a DIP and the list of its targets", where);
	if (targets) {
		list = normal(targets);
		if (!list)
			return err_set(e, -EINVAL, "%s: a DIP is given twice", where);
		json_object_set(delivery, "targets", list);
	}
	ret = check_dips(u, list, how, vip, where, e);
	json_decref(list);
	return ret ? ret : check_ports(json_object_get(delivery, "ports"), how, vip, where, e);
}
