// SPDX-License-Identifier: GPL-2.0
/*
 * Where a flow goes: fabric, VIP, mux, DIP, server; computed with the code that
 * the muxes use (hash.h, table.h, packet.h), from what they have been told.
 */
#include <duet/packet.h>
#include <duet/table.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "delivery.h"

struct flow {
	struct addr src, dst;
	struct duet_tuple tuple;
};

static void words(const struct addr *a, bool v4, __u32 out[4])
{
	unsigned int i, from = v4 ? 12 : 0;

	memset(out, 0, 4 * sizeof(*out));
	for (i = 0; from + 4 * i < 16; i++)
		out[i] = (__u32)a->b[from + 4 * i] << 24 | a->b[from + 4 * i + 1] << 16 | a->b[from + 4 * i + 2] << 8 |
			 a->b[from + 4 * i + 3];
}

static int flow_read(struct http_request *req, struct flow *f, struct err *e)
{
	const char *src = http_query(req, "src"), *dst = http_query(req, "dst"), *proto = http_query(req, "proto");
	const char *sport = http_query(req, "sport"), *dport = http_query(req, "dport");
	unsigned long s = sport ? strtoul(sport, NULL, 10) : 0, d = dport ? strtoul(dport, NULL, 10) : 0;
	bool v4;

	if (!src || !dst || addr_parse(src, &f->src) || addr_parse(dst, &f->dst))
		return err_set(e, -EINVAL, "a flow has addresses src and dst, proto, sport and dport");
	if (s > 65535 || d > 65535 || (proto && proto_parse(proto, &f->tuple.proto)))
		return err_set(e, -EINVAL, "a protocol is tcp, udp, ... or a number; ports are up to 65535");
	v4 = addr_is_v4(&f->dst);
	if (v4 != addr_is_v4(&f->src))
		return err_set(e, -EINVAL, "src and dst are of different families");
	if (!proto)
		f->tuple.proto = 6;
	f->tuple.family = v4 ? 4 : 6;
	f->tuple.sport = s;
	f->tuple.dport = d;
	words(&f->src, v4, f->tuple.src);
	words(&f->dst, v4, f->tuple.dst);
	return 0;
}

/* choose - the index of one of n that are sorted, or -errno: -ENOENT when all are down */
static int choose(const struct duet_dip *dips, uint32_t n, __u32 hash, __u32 *bucket)
{
	uint32_t buckets = duet_table_buckets(n);
	struct duet_walk *walk = calloc(n, sizeof(*walk));
	uint16_t *base = calloc(2 * (size_t)buckets, sizeof(*base));
	int ret = -ENOMEM;

	if (!walk || !base)
		goto out;
	ret = duet_table_fill(dips, n, walk, base, buckets);
	if (ret)
		goto out;
	*bucket = duet_bucket(hash, buckets);
	ret = duet_table_down(dips, n, base, base + buckets, buckets) ? base[buckets + *bucket] : -ENOENT;
out:
	free(base);
	free(walk);
	return ret;
}

/* choose_dip - by a mux */
static int choose_dip(const struct vip_rule *rule, __u32 hash, __u32 *bucket)
{
	struct duet_dip *dips = calloc(rule->n_dips, sizeof(*dips));
	unsigned int i;
	int ret;

	if (!dips)
		return -ENOMEM;
	for (i = 0; i < rule->n_dips; i++) {
		memcpy(dips[i].addr, rule->dips[i].addr.b, sizeof(dips[i].addr));
		dips[i].weight = rule->dips[i].weight;
		dips[i].down = rule->dips[i].state != DUET_DIP_UP;
	}
	ret = choose(dips, rule->n_dips, hash, bucket);
	free(dips);
	return ret;
}

/* choose_target - the second level, by a DIP's host: among those that it said are up */
static int choose_target(const struct uvip *v, const char *dip, const struct delivery_target *targets, unsigned int n, __u32 hash)
{
	struct duet_dip *dips = calloc(n, sizeof(*dips));
	char text[ADDR_STRLEN];
	unsigned int i;
	__u32 bucket;
	int ret;

	if (!dips)
		return -ENOMEM;
	for (i = 0; i < n; i++) {
		memcpy(dips[i].addr, targets[i].address.b, sizeof(dips[i].addr));
		dips[i].weight = targets[i].weight;
		dips[i].down = vip_target_down(v, dip, addr_str(&targets[i].address, text));
	}
	ret = choose(dips, n, hash, &bucket);
	free(dips);
	return ret;
}

/* tell_port - what the host makes of the destination port */
static void tell_port(json_t *o, const struct flow *f, json_t *list, enum delivery how)
{
	struct delivery_port *ports = calloc(json_array_size(list) + 1, sizeof(*ports));
	unsigned int n = 0, i, to = f->tuple.dport;
	struct err e;

	if (ports && !delivery_ports(list, how, "", ports, &n, &e))
		for (i = 0; i < n; i++)
			if (ports[i].proto == f->tuple.proto && ports[i].port == f->tuple.dport)
				to = ports[i].to;
	free(ports);
	json_object_set_new(o, "target-port", json_integer(to));
}

/* tell_delivery - what the DIP's host does with it */
static void tell_delivery(const struct uvip *v, json_t *o, const struct flow *f, const struct addr *dip, const struct duet_key *key)
{
	json_t *delivery = json_object_get(v->def, "delivery"), *list;
	struct delivery_target *targets;
	struct duet_key level2;
	char text[ADDR_STRLEN];
	enum delivery how;
	unsigned int n;
	struct err e;
	int i = 0;

	if (delivery_parse(json_object_get(delivery, "type"), "", &how, &e))
		return;
	json_object_set_new(o, "delivery", json_string(delivery_names[how]));
	if (how == DELIVERY_LO)
		return;
	list = json_object_get(json_object_get(delivery, "targets"), addr_str(dip, text));
	targets = calloc(json_array_size(list) + 1, sizeof(*targets));
	if (!targets || delivery_targets(list, how, &v->addr, dip, "", targets, &n, &e))
		goto out;
	duet_key_level2(&level2, key);
	if (how == DELIVERY_VIRTUAL)
		i = choose_target(v, text, targets, n, duet_tuple_hash(&f->tuple, DUET_FIELDS_5TUPLE, &level2));
	json_object_set_new(o, "target", i >= 0 ? json_string(addr_str(&targets[i].address, text)) : json_null());
	if (i >= 0)
		tell_port(o, f, json_object_get(delivery, "ports"), how);
out:
	free(targets);
}

json_t *muxes_of(struct updater *u, const struct uvip *v)
{
	bool on_hmux = strcmp(v->mux, SMUX) && !(v->move && v->move->state == MOVE_WITHDRAWING);
	json_t *list = json_array();
	unsigned int i;

	for (i = 0; i < u->n_muxes; i++) {
		const struct mux *m = &u->muxes[i];
		bool serves = on_hmux ? !strcmp(m->name, v->mux) : m->smux && !m->drained;

		if (serves)
			json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s}", "name", m->name, "mode",
							      m->smux ? "smux" : "hmux", "local", m->local, "state",
							      mux_state_name(mux_state(m))));
	}
	return list;
}

/* server_at - the server of a server's address, with an agent or not; NULL: no server of ours */
static json_t *server_at(struct updater *u, const struct addr *a)
{
	json_t *o;
	struct addr b;
	size_t i;

	json_array_foreach(json_object_get(u->model, "servers"), i, o)
		if (!addr_parse(get_str(o, "address", ""), &b) && !addr_cmp(a, &b))
			return o;
	return NULL;
}

json_t *racks_of(struct updater *u, json_t *muxes)
{
	json_t *list = json_array(), *m;
	size_t i;

	json_array_foreach(muxes, i, m) {
		const char *name = get_str(m, "name", "");

		json_array_append_new(list, json_string(strcmp(get_str(m, "mode", ""), "smux") ? name : api_rack_of(u, name)));
	}
	return list;
}

json_t *enters(struct updater *u, const struct addr *src, json_t **server)
{
	json_t *list = json_array(), *s;
	size_t i;

	*server = src ? server_at(u, src) : NULL;
	if (*server)
		json_array_append(list, json_object_get(*server, "switch"));
	else
		json_array_foreach(json_object_get(u->model, "switches"), i, s)
			if (!strcmp(get_str(s, "role", ""), "core"))
				json_array_append(list, json_object_get(s, "name"));
	return list;
}

void tell_server(json_t *o, json_t *server, const struct host *h)
{
	json_object_set_new(o, "host", server ? json_incref(json_object_get(server, "name")) : json_null());
	json_object_set_new(o, "switch", server ? json_incref(json_object_get(server, "switch")) : json_null());
	json_object_set_new(o, "host-state", h ? json_string(h->silent ? "silent" : h->synced ? "told" : "not told") : json_null());
}

/* tell_dip - whose it is, and the way there from the muxes */
static void tell_dip(struct updater *u, json_t *o, const struct addr *dip)
{
	char text[ADDR_STRLEN];
	const struct host *h = host_at(u, addr_str(dip, text));
	json_t *server = server_at(u, dip), *from, *to;

	json_object_set_new(o, "dip", json_string(text));
	tell_server(o, server, h);
	if (!server)
		return;
	from = racks_of(u, json_object_get(o, "muxes"));
	to = json_pack("[O]", json_object_get(server, "switch"));
	json_object_set_new(o, "way-out", way_of(u, from, to));
	json_decref(from);
	json_decref(to);
}

void api_trace_get(struct http_request *req, json_t *body, void *ctx)
{
	struct updater *u = ((struct controller *)ctx)->updater;
	const struct vip_rule *rule;
	struct flow flow = {};
	struct vip *vip = NULL;
	char text[ADDR_STRLEN];
	json_t *desired, *o, *from, *to, *server;
	unsigned int last = 65535;
	struct uvip *v;
	__u32 hash, bucket = 0;
	struct duet_key key;
	struct err e;
	int dip;

	if (flow_read(req, &flow, &e)) {
		http_problem(req, 400, NULL, "%s", e.text);
		return;
	}
	v = vip_find(u, addr_str(&flow.dst, text));
	if (!v) {
		http_problem(req, 404, NULL, "%s is no VIP: packets to it pass every mux untouched", text);
		return;
	}
	desired = desired_vip(u, v);
	if (vip_from_json(desired, &vip, &e)) {
		json_decref(desired);
		http_problem(req, 500, NULL, "%s", e.text);
		return;
	}
	json_decref(desired);
	o = json_pack("{s:s, s:s, s:s, s:o}", "vip", v->text, "name", get_str(v->def, "name", ""), "mux", v->mux,
		      "muxes", muxes_of(u, v));
	from = enters(u, &flow.src, &server);
	to = racks_of(u, json_object_get(o, "muxes"));
	json_object_set_new(o, "source", server ? json_incref(json_object_get(server, "name")) : json_null());
	json_object_set_new(o, "way-in", way_of(u, from, to));
	json_decref(from);
	json_decref(to);
	rule = vip_rule_at(vip, flow.tuple.proto, flow.tuple.dport, &last);
	if (rule) {
		key_ready(&u->keys[v->key], &key);
		hash = duet_tuple_hash(&flow.tuple, rule->fields, &key);
		dip = choose_dip(rule, hash, &bucket);
		json_object_set_new(o, "rule", json_integer(rule - vip->rules));
		json_object_set_new(o, "key", json_integer(v->key));
		json_object_set_new(o, "hash", json_integer(hash));
		json_object_set_new(o, "bucket", json_integer(bucket));
		json_object_set_new(o, "verdict", json_string(dip >= 0 ? "encap" : "all-down"));
		if (dip >= 0) {
			tell_dip(u, o, &rule->dips[dip].addr);
			tell_delivery(v, o, &flow, &rule->dips[dip].addr, &key);
		}
	} else {
		json_object_set_new(o, "verdict", json_string("no-rule"));
	}
	vip_free(vip);
	http_reply(req, 200, o);
}
