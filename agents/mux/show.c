// SPDX-License-Identifier: GPL-2.0
/*
 * REST, what the agent answers: status, VIPs, health, metrics. Counters and
 * digests are the data plane's, read when asked.
 */
#include "agent.h"

#include <net/if.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon.h"
#include "metrics.h"

json_t *show_vip(struct agent *a, const struct mux_vip *v, const struct vip *counted)
{
	struct vip *own = v->have ? v->have : v->want;
	const struct vip *vip = counted ? counted : own;
	enum vip_state state = state_of(a, v);
	char text[ADDR_STRLEN], digest[17];
	json_t *json;

	/* what was read from JSON has no tables: made once, as the data plane makes them */
	if (own && vip == own && own->n_rules && !own->rules[0].buckets)
		vip_digests(own);
	json = vip ? vip_to_json(vip, true) : json_pack("{s:s}", "vip", addr_str(&v->addr, text));
	json_object_set_new(json, "state", json_string(state_name(state)));
	json_object_set_new(json, "reason", v->reason[0] ? json_string(v->reason) : json_null());
	if (vip && vip->n_rules) {
		snprintf(digest, sizeof(digest), "%016llx", (unsigned long long)vip->rules[0].digest);
		json_object_set_new(json, "digest", json_string(digest));
	}
	json_object_set_new(json, "announce", json_string(announce_name(v->announce)));
	json_object_set_new(json, "announced", json_boolean(v->trigger != ANNOUNCE_NO));
	json_object_set_new(json, "learned", json_boolean(v->learned));
	json_object_set_new(json, "exported", json_boolean(v->exported));
	json_object_set_new(json, "exported-to", json_integer(v->exported));
	json_object_set_new(json, "drift", json_boolean(v->drift));
	if (v->held_usec)
		json_object_set_new(json, "waits-for", json_string("routes to its DIPs"));
	return json;
}

static json_t *tables_json(const struct duet_tables *t)
{
	return json_pack("{s:I, s:I, s:I, s:I}", "vips", (json_int_t)t->vips, "rules", (json_int_t)t->rules,
			 "members", (json_int_t)t->members, "tunnels", (json_int_t)t->tunnels);
}

static json_t *device_json(const struct duet_dev *dev)
{
	json_t *ports = json_array(), *counters = json_object(), *json;
	char text[ADDR_STRLEN], print[KEY_FINGERPRINT], name[IF_NAMESIZE], tos[8];
	unsigned int i;

	for (i = 0; i < dev->n_ports; i++)
		json_array_append_new(ports, json_string(dev->ports[i].name));
	for (i = 0; i < __DUET_VERDICT_MAX; i++)
		json_object_set_new(counters, verdict_name(i),
				    json_pack("{s:I, s:I}", "packets", (json_int_t)dev->verdicts[i].packets,
					      "bytes", (json_int_t)dev->verdicts[i].bytes));
	json = json_pack("{s:s, s:s, s:s, s:I}", "name", dev->name, "local", addr_str(&dev->local4, text),
			 "key-fingerprint", key_fingerprint(&dev->keys[0], print), "generation", (json_int_t)dev->generation);
	if (!key_is_none(&dev->keys[1]))
		json_object_set_new(json, "key1-fingerprint", json_string(key_fingerprint(&dev->keys[1], print)));
	if (!addr_is_none(&dev->local6))
		json_object_set_new(json, "local6", json_string(addr_str(&dev->local6, text)));
	if (dev->link)
		json_object_set_new(json, "link", if_indextoname(dev->link, name) ? json_string(name) : json_integer(dev->link));
	if (dev->mark)
		json_object_set_new(json, "fwmark", json_integer(dev->mark));
	json_object_set_new(json, "tos", json_string(duet_tos_text(dev->tos, tos)));
	json_object_set_new(json, "spread", json_integer(dev->spread4));
	json_object_set_new(json, "ports", ports);
	json_object_set_new(json, "limits", tables_json(&dev->limits));
	json_object_set_new(json, "used", tables_json(&dev->used));
	json_object_set_new(json, "counters", counters);
	return json;
}

/* each_vip - every VIP, and as the data plane has it (NULL: it hasn't) */
static int each_vip(struct agent *a, void (*each)(struct agent *a, const struct mux_vip *v, const struct vip *counted, json_t *out),
		    json_t *out, struct err *e)
{
	struct vip **list;
	unsigned int n, i, k = 0;
	int ret = a->backend->ops->dump(a->backend, &list, &n, e);

	if (ret)
		return ret;
	for (i = 0; i < a->n_vips; i++) {
		const struct vip *counted = NULL;

		while (k < n && addr_cmp(&list[k]->addr, &a->vips[i]->addr) < 0)
			k++;
		if (k < n && !addr_cmp(&list[k]->addr, &a->vips[i]->addr))
			counted = list[k];
		each(a, a->vips[i], counted, out);
	}
	while (n)
		vip_free(list[--n]);
	free(list);
	return 0;
}

static void add_whole(struct agent *a, const struct mux_vip *v, const struct vip *counted, json_t *out)
{
	json_array_append_new(out, show_vip(a, v, counted));
}

/* vips_json - every VIP, with the data plane's counters where it has them */
static json_t *vips_json(struct agent *a, struct err *e)
{
	json_t *vips = json_array();

	if (!each_vip(a, add_whole, vips, e))
		return vips;
	json_decref(vips);
	return NULL;
}

/* add_digests - of one VIP that is served, its rules' in one string */
static void add_digests(struct agent *a, const struct mux_vip *v, const struct vip *counted, json_t *out)
{
	char vip[ADDR_STRLEN], text[DUET_VIP_RULES_MAX * 17 + 1] = "";
	unsigned int r, n = 0;

	addr_str(&v->addr, vip);
	for (r = 0; counted && r < counted->n_rules; r++)
		n += snprintf(text + n, sizeof(text) - n, "%s%016llx", n ? "," : "", (unsigned long long)counted->rules[r].digest);
	if (counted)
		json_object_set_new(json_object_get(out, "digests"), vip, json_string(text));
	if (v->exported)
		json_array_append_new(json_object_get(out, "exported"), json_string(vip));
}

/* add_vips - to a status: all of every VIP, or with ?vips=digest what shows whether two muxes have the same
 * tables, or with ?vips=none nothing, for who knows by "changes" that it has all this
 */
static int add_vips(struct agent *a, const char *how, json_t *status, struct err *e)
{
	json_t *vips;

	if (how && !strcmp(how, "none"))
		return 0;
	if (how && !strcmp(how, "digest")) {
		json_object_set_new(status, "digests", json_object());
		json_object_set_new(status, "exported", json_array());
		return each_vip(a, add_digests, status, e);
	}
	vips = vips_json(a, e);
	return vips ? json_object_set_new(status, "vips", vips) : -ENOMEM;
}

static json_t *bird_json(struct agent *a)
{
	return json_pack("{s:s, s:s, s:i, s:i, s:i, s:o}", "state", birdwatch_state_name(a),
			 "detail", a->bird_wrong[0] ? a->bird_wrong : a->bird_detail, "exported",
			 a->bird_sessions ? a->bird_exported : 0, "sessions", a->bird_sessions, "reloads", a->reloads,
			 "neighbours", neighbours_json(a));
}

static const char *prefix_str(const struct prefix *p, char text[ADDR_STRLEN + 5])
{
	addr_str(&p->addr, text);
	snprintf(text + strlen(text), 5, "/%u", p->len);
	return text;
}

/* aggregates_json - "announced" and "exported" of the first, and all of them */
static json_t *aggregates_json(const struct agent *a)
{
	json_t *list = json_array(), *first = NULL;
	char text[ADDR_STRLEN + 5];
	bool exported = false;

	for (unsigned int i = 0; i < a->n_aggregates; i++) {
		const struct aggregate *g = &a->aggregates[i];

		json_array_append_new(list, json_pack("{s:s, s:b, s:b, s:i}", "prefix", prefix_str(&g->prefix, text),
						      "announced", g->trigger, "learned", g->learned, "exported-to", g->exported));
		if (g->trigger && !first) {
			first = json_string(text);
			exported = g->exported;
		}
	}
	return json_pack("{s:o, s:b, s:o}", "announced", first ?: json_null(), "exported", exported, "all", list);
}

static json_t *progress_json(const struct agent *a)
{
	return a->left ? json_pack("{s:i, s:i}", "left", a->left, "of", a->total) : json_null();
}

struct trouble {
	char text[2048];
	size_t len;
};

static void trouble_add(struct trouble *t, const char *sentence)
{
	if (t->len < sizeof(t->text))
		t->len += snprintf(t->text + t->len, sizeof(t->text) - t->len, "%s%s", t->len ? "; " : "", sentence);
}

static void daemon_trouble(enum fault_code code, const char *what, const char *sentence, void *ctx)
{
	trouble_add(ctx, sentence);
}

/* trouble_json - all that is wrong, in one string; null: nothing */
static json_t *trouble_json(struct agent *a)
{
	const char *const all[] = { state_trouble(a), links_port_trouble(a), links_local_trouble(a), guard_trouble(a) };
	struct trouble t = {};

	for (unsigned int i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (all[i])
			trouble_add(&t, all[i]);
	daemon_each_trouble(a->tls, daemon_trouble, &t);
	return t.len ? json_string(t.text) : json_null();
}

void show_status(struct http_request *req, json_t *body, void *ctx)
{
	struct agent *a = ctx;
	struct duet_dev dev;
	struct err e;
	json_t *json;

	if (a->backend->ops->device(a->backend, &dev, &e)) {
		http_problem(req, 503, NULL, "%s", e.text);
		return;
	}
	json = json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:b, s:b, s:s}", "name", a->config.name, "mode", mode_name(a->config.mode),
			 "instance", daemon_instance(), "version", DUET_VERSION, "epoch", (json_int_t)a->fence.epoch,
			 "generation", (json_int_t)a->fence.generation, "synced", a->synced, "drain", a->drained,
			 "drift", a->config.drift_report ? "report" : "repair");
	json_object_set_new(json, "drifts", json_integer(a->count.drifts));
	json_object_set_new(json, "keepalive-ms", json_integer(a->backend->ops->keepalive ? a->config.keepalive_ms : 0));
	json_object_set_new(json, "progress", progress_json(a));
	json_object_set_new(json, "trouble", trouble_json(a));
	json_object_set_new(json, "links", links_json(a));
	json_object_set_new(json, "device", device_json(&dev));
	json_object_set_new(json, "bird", bird_json(a));
	json_object_set_new(json, "aggregate", aggregates_json(a));
	json_object_set_new(json, "unrouted", reach_unrouted(a));
	json_object_set_new(json, "changes", json_integer(a->changes));
	daemon_status(&a->config.http, a->tls, json);
	if (add_vips(a, http_query(req, "vips"), json, &e)) {
		http_problem(req, 503, NULL, "%s", e.text);
		json_decref(json);
	} else {
		http_reply(req, 200, json);
	}
	duet_dev_release(&dev);
}

void show_vips(struct http_request *req, json_t *body, void *ctx)
{
	json_t *vips;
	struct err e;

	vips = vips_json(ctx, &e);
	if (vips)
		http_reply(req, 200, json_pack("{s:o}", "vips", vips));
	else
		http_problem(req, 503, NULL, "%s", e.text);
}

void show_one(struct http_request *req, json_t *body, void *ctx)
{
	const char *segment = http_segment(req, 0);
	const struct mux_vip *v;
	struct addr addr;

	if (!api_address(req, &addr))
		return;
	v = state_find(ctx, &addr);
	if (v)
		http_reply(req, 200, show_vip(ctx, v, NULL));
	else
		http_problem(req, 404, NULL, "this mux has no VIP %s", segment);
}

void show_health(struct http_request *req, json_t *body, void *ctx)
{
	struct agent *a = ctx;
	const char *trouble = state_trouble(a);

	if (trouble)
		http_problem(req, 503, NULL, "%s", trouble);
	else
		http_reply(req, 200, json_pack("{s:s}", "status", "ok"));
}

static void metrics_vips(struct metrics *m, struct agent *a)
{
	unsigned int n[VIP_REFUSED + 1] = {}, i;

	for (i = 0; i < a->n_vips; i++)
		n[state_of(a, a->vips[i])]++;
	metrics_family(m, "duet_mux_vips", "gauge", "VIPs by state");
	for (i = VIP_PROGRAMMING; i <= VIP_REFUSED; i++)
		metrics_add(m, n[i], "state", state_name(i), NULL);
}

static void metrics_tables(struct metrics *m, const struct duet_dev *dev)
{
	const struct duet_tables *const tables[] = { &dev->used, &dev->limits };
	static const char *const names[] = { "duet_mux_table_used", "duet_mux_table_limit" };
	static const char *const help[] = { "Entries in use", "Entries there is room for, 0: no limit" };

	for (int i = 0; i < 2; i++) {
		metrics_family(m, names[i], "gauge", help[i]);
		metrics_add(m, tables[i]->vips, "table", "vips", NULL);
		metrics_add(m, tables[i]->rules, "table", "rules", NULL);
		metrics_add(m, tables[i]->members, "table", "members", NULL);
		metrics_add(m, tables[i]->tunnels, "table", "tunnels", NULL);
	}
}

void show_metrics(struct http_request *req, json_t *body, void *ctx)
{
	struct metrics *m = metrics_new();
	struct agent *a = ctx;
	struct duet_dev dev;
	unsigned int v;

	metrics_vips(m, a);
	if (!a->backend->ops->device(a->backend, &dev, NULL)) {
		metrics_tables(m, &dev);
		metrics_family(m, "duet_mux_packets_total", "counter", "Packets by what became of them");
		for (v = 0; v < __DUET_VERDICT_MAX; v++)
			metrics_add(m, dev.verdicts[v].packets, "verdict", verdict_name(v), NULL);
		duet_dev_release(&dev);
	}
	http_server_metrics(a->http, m);
	daemon_metrics(&a->config.http, a->tls, m);
	metrics_family(m, "duet_mux_bird_up", "gauge", "BIRD answers");
	metrics_add(m, a->bird_state == BIRD_UP && !a->bird_wrong[0], NULL);
	metrics_family(m, "duet_mux_bgp_sessions", "gauge", "BGP sessions established");
	metrics_add(m, a->bird_sessions, NULL);
	metrics_family(m, "duet_mux_requests_total", "counter", "Changing requests of the controller");
	metrics_add(m, a->count.puts, "result", "all", NULL);
	metrics_add(m, a->count.stale, "result", "stale", NULL);
	metrics_family(m, "duet_mux_changes_total", "counter", "Changes made");
	metrics_add(m, a->count.programmed, "change", "programmed", NULL);
	metrics_add(m, a->count.removed, "change", "removed", NULL);
	metrics_add(m, a->count.announced, "change", "announced", NULL);
	metrics_add(m, a->count.withdrawn, "change", "withdrawn", NULL);
	metrics_add(m, a->count.refused, "change", "refused", NULL);
	metrics_add(m, a->count.drifts, "change", "drift", NULL);
	http_reply_text(req, 200, "text/plain; version=0.0.4", metrics_text(m));
	metrics_free(m);
}
