// SPDX-License-Identifier: GPL-2.0
/*
 * Where a flow goes: VIP, mux, DIP, server; computed with the code that the
 * muxes use (hash.h, table.h, packet.h), from what they have been told.
 */
#include <duet/packet.h>
#include <duet/table.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"

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

static const struct vip_rule *rule_of(const struct vip *vip, const struct duet_tuple *t)
{
	unsigned int i;

	for (i = 0; i < vip->n_rules; i++) {
		const struct vip_rule *r = &vip->rules[i];

		if ((!r->proto || r->proto == t->proto) &&
		    (!r->port || (t->dport >= r->port && t->dport <= r->port_last)))
			return r;
	}
	return NULL;
}

/* choose - the DIP's index, or -errno: -ENOENT when all are down */
static int choose(const struct vip_rule *rule, __u32 hash, __u32 *bucket)
{
	uint32_t n = rule->n_dips, buckets = duet_table_buckets(n), i;
	struct duet_dip *dips = calloc(n, sizeof(*dips));
	struct duet_walk *walk = calloc(n, sizeof(*walk));
	uint16_t *base = calloc(2 * (size_t)buckets, sizeof(*base));
	int ret = -ENOMEM;

	if (!dips || !walk || !base)
		goto out;
	for (i = 0; i < n; i++) {
		memcpy(dips[i].addr, rule->dips[i].addr.b, sizeof(dips[i].addr));
		dips[i].weight = rule->dips[i].weight;
		dips[i].down = rule->dips[i].state != DUET_DIP_UP;
	}
	ret = duet_table_fill(dips, n, walk, base, buckets);
	if (ret)
		goto out;
	*bucket = duet_bucket(hash, buckets);
	ret = duet_table_down(dips, n, base, base + buckets, buckets) ? base[buckets + *bucket] : -ENOENT;
out:
	free(base);
	free(walk);
	free(dips);
	return ret;
}

/* muxes_of - who takes packets of the VIP now */
static json_t *muxes_of(struct updater *u, const struct uvip *v)
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

void api_trace_get(struct http_request *req, json_t *body, void *ctx)
{
	struct updater *u = ((struct controller *)ctx)->updater;
	const struct vip_rule *rule;
	struct flow flow = {};
	struct vip *vip = NULL;
	char text[ADDR_STRLEN];
	json_t *desired, *o;
	const struct host *h;
	struct uvip *v;
	__u32 hash, bucket = 0;
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
	desired = desired_vip(u, v, HOLD_SILENT);
	if (vip_from_json(desired, &vip, &e)) {
		json_decref(desired);
		http_problem(req, 500, NULL, "%s", e.text);
		return;
	}
	json_decref(desired);
	o = json_pack("{s:s, s:s, s:s, s:o}", "vip", v->text, "name", get_str(v->def, "name", ""), "mux", v->mux,
		      "muxes", muxes_of(u, v));
	rule = rule_of(vip, &flow.tuple);
	if (rule) {
		hash = duet_tuple_hash(&flow.tuple, rule->fields, u->seed);
		dip = choose(rule, hash, &bucket);
		json_object_set_new(o, "rule", json_integer(rule - vip->rules));
		json_object_set_new(o, "hash", json_integer(hash));
		json_object_set_new(o, "bucket", json_integer(bucket));
		json_object_set_new(o, "verdict", json_string(dip >= 0 ? "encap" : "all-down"));
		if (dip >= 0) {
			h = host_at(u, addr_str(&rule->dips[dip].addr, text));
			json_object_set_new(o, "dip", json_string(text));
			json_object_set_new(o, "host", h ? json_string(h->name) : json_null());
			json_object_set_new(o, "switch", h ? json_string(h->rack) : json_null());
		}
	} else {
		json_object_set_new(o, "verdict", json_string("no-rule"));
	}
	vip_free(vip);
	http_reply(req, 200, o);
}
