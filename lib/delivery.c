// SPDX-License-Identifier: GPL-2.0
#include "delivery.h"

#include <duet/limits.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fields.h"

const char *const delivery_names[] = { "lo", "nat", "virtual" };

int host_address(json_t *v, const char *what, struct addr *out, struct err *e)
{
	const char *text = json_string_value(v);
	const uint8_t *b;
	size_t len;

	if (!text || addr_parse(text, out))
		return err_set(e, -EINVAL, "%s: \"%.64s\" is no address", what, text ?: "");
	b = addr_raw(out, &len);
	if (len == 4 ? !b[0] || b[0] == 127 || b[0] >= 224 :
		       !b[0] || b[0] == 0xff || (b[0] == 0xfe && (b[1] & 0xc0) == 0x80))
		return err_set(e, -EINVAL, "%s: %s can't be the address of a host", what, text);
	return 0;
}

int delivery_parse(json_t *name, const char *where, enum delivery *how, struct err *e)
{
	const char *text = name ? json_string_value(name) : "lo";
	unsigned int i;

	for (i = 0; i < 3; i++)
		if (!strcmp(text ?: "", delivery_names[i])) {
			*how = i;
			return 0;
		}
	return err_set(e, -EINVAL, "%s: a delivery is lo, nat or virtual, not \"%.32s\"", where, text ?: "");
}

static int by_address(const void *a, const void *b)
{
	return addr_cmp(&((const struct delivery_target *)a)->address, &((const struct delivery_target *)b)->address);
}

static int read_target(json_t *json, const struct addr *vip, const char *where, struct delivery_target *t, struct err *e)
{
	static const char *const members[] = { "address", "weight", NULL };
	unsigned int weight;
	char at[200];

	snprintf(at, sizeof(at), "%.150s: \"address\" of a target", where);
	if (!json_is_object(json))
		return err_set(e, -EINVAL, "%s: a target is an object", where);
	if (fields_known(json, members, where, e) || host_address(json_object_get(json, "address"), at, &t->address, e))
		return -EINVAL;
	if (addr_is_v4(&t->address) != addr_is_v4(vip))
		return err_set(e, -EINVAL, "%s: a target and its VIP must be of one family", where);
	if (!addr_cmp(&t->address, vip))
		return err_set(e, -EINVAL, "%s: a VIP can't be its own target", where);
	if (field_uint(json, "weight", 0, DUET_WEIGHT_MAX, 1, where, &weight, e))
		return -EINVAL;
	t->weight = weight;
	return 0;
}

/* check_count - is that many right */
static int check_count(size_t n, enum delivery how, const char *where, struct err *e)
{
	if (how == DELIVERY_LO && n)
		return err_set(e, -EINVAL, "%s: delivery \"lo\" has no targets", where);
	if (how == DELIVERY_NAT && n > 1)
		return err_set(e, -EINVAL, "%s: delivery \"nat\" has one target; several are \"virtual\"", where);
	if (how == DELIVERY_VIRTUAL && (!n || n > DUET_SET_DIPS_MAX))
		return err_set(e, -EINVAL, "%s: delivery \"virtual\" needs 1 to %u \"targets\"", where, DUET_SET_DIPS_MAX);
	return 0;
}

int delivery_targets(json_t *list, enum delivery how, const struct addr *vip, const struct addr *dip, const char *where,
		     struct delivery_target *out, unsigned int *n, struct err *e)
{
	bool some = false;
	json_t *v;
	size_t i;

	*n = 0;
	if (list && !json_is_array(list))
		return err_set(e, -EINVAL, "%s: \"targets\" is no list", where);
	if (check_count(json_array_size(list), how, where, e))
		return -EINVAL;
	if (how == DELIVERY_NAT && !json_array_size(list)) {
		if (addr_is_v4(dip) != addr_is_v4(vip))
			return err_set(e, -EINVAL, "%s: a target and its VIP must be of one family", where);
		out[(*n)++] = (struct delivery_target){ .address = *dip, .weight = 1 };
	}
	json_array_foreach(list, i, v) {
		if (read_target(v, vip, where, &out[*n], e))
			return -EINVAL;
		some |= out[(*n)++].weight;
	}
	if (how == DELIVERY_VIRTUAL && !some)
		return err_set(e, -EINVAL, "%s: all targets have weight 0", where);
	qsort(out, *n, sizeof(*out), by_address);
	for (i = 1; i < *n; i++)
		if (!addr_cmp(&out[i - 1].address, &out[i].address))
			return err_set(e, -EINVAL, "%s: a target is given twice", where);
	return 0;
}

int delivery_ports(json_t *list, enum delivery how, const char *where, struct delivery_port *out, unsigned int *n,
		   struct err *e)
{
	static const char *const members[] = { "proto", "port", "to", NULL };
	unsigned int from, to, k;
	json_t *v;
	size_t i;

	*n = 0;
	if (list && !json_is_array(list))
		return err_set(e, -EINVAL, "%s: \"ports\" is no list", where);
	if (json_array_size(list) && how == DELIVERY_LO)
		return err_set(e, -EINVAL, "%s: delivery \"lo\" changes no ports", where);
	json_array_foreach(list, i, v) {
		const char *proto = json_string_value(json_object_get(v, "proto"));

		if (!proto || (strcmp(proto, "tcp") && strcmp(proto, "udp")))
			return err_set(e, -EINVAL, "%s: the \"proto\" of a port is tcp or udp", where);
		if (fields_known(v, members, where, e))
			return -EINVAL;
		if (!json_object_get(v, "port") || field_uint(v, "port", 1, 65535, 0, where, &from, e) ||
		    field_uint(v, "to", 1, 65535, from, where, &to, e))
			return err_set(e, -EINVAL, "%s: a port is {\"proto\", \"port\", \"to\"}, from 1 to 65535", where);
		out[*n] = (struct delivery_port){ .proto = proto[0] == 't' ? IPPROTO_TCP : IPPROTO_UDP, .port = from, .to = to };
		for (k = 0; k < *n; k++)
			if (out[k].proto == out[*n].proto && out[k].port == from)
				return err_set(e, -EINVAL, "%s: %s port %u is given twice", where, proto, from);
		++*n;
	}
	return 0;
}
