// SPDX-License-Identifier: GPL-2.0
/*
 * libFuzzer: what a host is told of a VIP: its delivery, targets, ports and
 * checks. What is refused is refused with a sentence; what is taken keeps the
 * promises of its header, and is the same after it was written and read again.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <duet/limits.h>
#include "delivery.h"
#include "probe.h"

static void must(bool holds)
{
	if (!holds)
		__builtin_trap();
}

static json_t *targets_json(const struct delivery_target *t, unsigned int n)
{
	json_t *list = json_array();
	char text[ADDR_STRLEN];

	while (n--)	/* the other way round: they are put in order */
		json_array_append_new(list, json_pack("{s:s, s:i}", "address", addr_str(&t[n].address, text), "weight", t[n].weight));
	return list;
}

static json_t *ports_json(const struct delivery_port *p, unsigned int n)
{
	json_t *list = json_array();
	unsigned int i;

	for (i = 0; i < n; i++)
		json_array_append_new(list, json_pack("{s:s, s:i, s:i}", "proto", p[i].proto == 6 ? "tcp" : "udp", "port", p[i].port,
						      "to", p[i].to));
	return list;
}

static void targets(json_t *list, enum delivery how, const struct addr *vip, const struct addr *dip)
{
	size_t room = json_array_size(list) + 1, left;
	struct delivery_target *t = calloc(room, sizeof(*t)), *again = calloc(room, sizeof(*t));
	unsigned int n, k, i, weights = 0;
	struct err e = { "" };
	json_t *json;

	must(t && again);
	if (delivery_targets(list, how, vip, dip, "fuzz", t, &n, &e)) {
		must(e.text[0]);
		goto out;
	}
	left = how == DELIVERY_LO ? 0 : how == DELIVERY_NAT ? 1 : json_array_size(list);
	must(n == left && n <= DUET_SET_DIPS_MAX);
	for (i = 0; i < n; i++) {
		weights += t[i].weight;
		must(addr_is_v4(&t[i].address) == addr_is_v4(vip) && (!i || addr_cmp(&t[i - 1].address, &t[i].address) < 0));
	}
	must(how != DELIVERY_VIRTUAL || weights);
	/* the DIP that stands for a target may be what a target may not: the VIP itself */
	if (how == DELIVERY_NAT && !json_array_size(list))
		goto out;
	json = targets_json(t, n);
	must(!delivery_targets(json, how, vip, dip, "fuzz", again, &k, &e) && k == n && !memcmp(t, again, n * sizeof(*t)));
	json_decref(json);
out:
	free(t);
	free(again);
}

static void ports(json_t *list, enum delivery how)
{
	size_t room = json_array_size(list) + 1;
	struct delivery_port *p = calloc(room, sizeof(*p)), *again = calloc(room, sizeof(*p));
	struct err e = { "" };
	unsigned int n, k, i;
	json_t *json;

	must(p && again);
	if (delivery_ports(list, how, "fuzz", p, &n, &e)) {
		must(e.text[0]);
		goto out;
	}
	must(n == json_array_size(list));
	for (i = 0; i < n; i++)
		must(p[i].port && p[i].to);
	json = ports_json(p, n);
	must(!delivery_ports(json, how, "fuzz", again, &k, &e) && k == n && !memcmp(p, again, n * sizeof(*p)));
	json_decref(json);
out:
	free(p);
	free(again);
}

static void check(json_t *json, unsigned int port)
{
	struct probe_conf conf, again;
	struct err e = { "" };
	json_t *copy;

	if (probe_parse(json, port, "fuzz", &conf, &e)) {
		must(e.text[0]);
		return;
	}
	must(conf.interval_ms >= 10 && conf.timeout_ms && conf.rise && conf.fall && conf.path[0] == '/');
	copy = json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:s, s:s, s:s*, s:s*, s:s*}", "type", check_type_names[conf.type], "expect", conf.expect,
			 "interval_ms", conf.interval_ms, "timeout_ms", conf.timeout_ms, "rise", conf.rise, "fall", conf.fall, "path",
			 conf.path, "initial", check_state_names[conf.initial], "body", conf.body[0] ? conf.body : NULL, "host",
			 conf.host[0] ? conf.host : NULL, "command", conf.command[0] ? conf.command : NULL);
	must(copy && !probe_parse(copy, conf.port, "fuzz", &again, &e) && !memcmp(&conf, &again, sizeof(conf)));
	json_decref(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_t *json = json_loadb((const char *)data, size, 0, NULL), *c;
	struct addr vip, dip;
	struct err e = { "" };
	enum delivery how;
	size_t i;

	if (!json)
		return 0;
	if (delivery_parse(json_object_get(json, "delivery"), "fuzz", &how, &e) ||
	    host_address(json_object_get(json, "vip"), "fuzz", &vip, &e) || host_address(json_object_get(json, "dip"), "fuzz", &dip, &e)) {
		must(e.text[0]);
		json_decref(json);
		return 0;
	}
	targets(json_object_get(json, "targets"), how, &vip, &dip);
	ports(json_object_get(json, "ports"), how);
	json_array_foreach(json_object_get(json, "checks"), i, c)
		check(c, i % 2 ? 80 : 0);
	json_decref(json);
	return 0;
}
