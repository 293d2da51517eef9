// SPDX-License-Identifier: GPL-2.0
/* What the agent tells who asks: status, metrics. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon.h"
#include "bpf/snat.h"
#include "helper.h"
#include "metrics.h"
#include "snat.h"

static const char *const snat_counts[__SNAT_COUNTS] = { "picked", "taken", "exhausted" };

json_t *snat_json(struct helper *helper)
{
	struct helper_status status;
	unsigned int i;
	json_t *j;

	helper_status(helper, &status);
	j = json_pack("{s:b, s:b}", "sockets", status.snat_sockets, "forwarded", status.snat_forwarded);
	for (i = 0; i < __SNAT_COUNTS; i++)
		json_object_set_new(j, snat_counts[i], json_integer(status.snat[i]));
	return j;
}

void totals(const struct meter_row *rows, unsigned int n, uint16_t index, struct decap_meter *sum)
{
	unsigned int i;

	memset(sum, 0, sizeof(*sum));
	for (i = 0; i < n; i++) {
		if (rows[i].index != index)
			continue;
		sum->in_packets += rows[i].sum.in_packets;
		sum->in_bytes += rows[i].sum.in_bytes;
		sum->out_packets += rows[i].sum.out_packets;
		sum->out_bytes += rows[i].sum.out_bytes;
	}
}

/* targets - numbers and addresses of what a pair is delivered to, as this process was told */
static json_t *targets(const struct host *host, const struct decap_key *key)
{
	json_t *list = json_array();
	char text[ADDR_STRLEN];
	unsigned int i, t;

	for (i = 0; i < host->held.n_pairs; i++) {
		const struct pair_def *p = &host->held.pairs[i];

		for (t = 0; t < p->n_locals && !memcmp(&p->key, key, sizeof(*key)); t++)
			json_array_append_new(list, json_pack("{s:s, s:i, s:s}", "address", addr_str(&p->locals[t].address, text),
							      "weight", p->locals[t].weight, "state",
							      checks_down(host->checks, key, &p->locals[t].address) ? "down" : "up"));
	}
	return list;
}

/* accepts_json - the rules of a pair, as this process received them; null: all is accepted */
static json_t *accepts_json(const struct host *host, const struct decap_key *key)
{
	const struct decap_rules *r = NULL;
	char proto[8], port[16];
	unsigned int i;
	json_t *list;

	for (i = 0; i < host->held.n_pairs && !r; i++)
		if (!memcmp(&host->held.pairs[i].key, key, sizeof(*key)))
			r = host->held.pairs[i].accepts;
	if (!r)
		return json_null();
	list = json_array();
	for (i = 0; i < r->n; i++) {
		const struct duet_match *m = &r->match[i];
		char name[40];

		snprintf(port, sizeof(port), m->port == m->port_last ? "/%u" : "/%u-%u", m->port, m->port_last);
		snprintf(name, sizeof(name), "%s%s", proto_name(m->proto, proto), m->port ? port : "");
		json_array_append_new(list, json_string(name));
	}
	return list;
}

static json_t *pairs_json(struct host *host)
{
	json_t *list = json_array();
	char vip[ADDR_STRLEN], dip[ADDR_STRLEN];
	unsigned int i, n, n_rows;
	struct served_row *pairs = helper_served(host->helper, &n);
	struct meter_row *rows = helper_meters(host->helper, &n_rows);
	struct decap_meter sum;

	for (i = 0; i < n; i++) {
		const struct decap_served *value = &pairs[i].value;
		const struct decap_key *key = &pairs[i].key;

		totals(rows, n_rows, value->index, &sum);
		json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:i, s:i, s:o, s:o, s:o}", "vip",
			str_addr(&key->vip, vip), "dip", str_addr(&key->dip, dip), "delivery", delivery_names[value->delivery % 3],
			"packets", (json_int_t)sum.in_packets, "bytes", (json_int_t)sum.in_bytes, "out-packets",
			(json_int_t)sum.out_packets, "out-bytes", (json_int_t)sum.out_bytes, "mss4", value->mss4, "mss6", value->mss6,
			"accept", accepts_json(host, key), "targets", targets(host, key), "checks", checks_json(host->checks, key, false)));
	}
	free(rows);
	free(pairs);
	return list;
}

static void trouble_add(enum fault_code code, const char *what, const char *sentence, void *ctx)
{
	json_array_append_new(ctx, json_string(sentence));
}

/* facts_json - what is attached */
static json_t *facts_json(const struct host *host, const struct dp_facts *f)
{
	json_t *j = json_pack("{s:s, s:s, s:I, s:b, s:b, s:i}", "interface", host->conf.interface, "hook", f->xdp ? "XDP, clsact" : "clsact",
			      "program", (json_int_t)f->program, "taken-over", f->taken_over, "replaced", f->replaced, "mtu", f->mtu);

	if (!f->xdp)
		json_object_set_new(j, "no-xdp", json_string(f->xdp_why));
	if (f->pin[0])
		json_object_set_new(j, "pinned", json_string(f->pin));
	else
		json_object_set_new(j, "not-pinned", json_string(f->pin_why));
	return j;
}

/* mux_json - an address, or the prefix that its tunnels' sources are in */
static json_t *mux_json(const struct message_prefix *m)
{
	char text[ADDR_STRLEN];

	addr_str(&m->address, text);
	return m->len == (addr_is_v4(&m->address) ? 32 : 128) ? json_string(text) : json_sprintf("%s/%u", text, m->len);
}

static void get_status(struct http_request *req, json_t *body, void *ctx)
{
	json_t *muxes = json_array(), *counters = json_object(), *trouble = json_array(), *answer;
	struct helper_status status;
	struct host *host = ctx;
	unsigned int i, n_muxes;
	struct message_prefix *list = helper_muxes(host->helper, &n_muxes);
	char text[ADDR_STRLEN];

	helper_status(host->helper, &status);
	for (i = 0; i < n_muxes; i++)
		json_array_append_new(muxes, mux_json(&list[i]));
	free(list);
	for (i = 0; i < __DECAP_MAX; i++)
		json_object_set_new(counters, dp_reason_name(i), json_integer(status.reasons[i]));
	answer = json_pack("{s:s, s:s, s:s, s:I, s:I, s:b, s:s, s:o, s:o, s:i, s:o, s:o, s:o, s:o, s:o, s:o}", "name", host->conf.name,
		"address", addr_str(&host->conf.address, text), "instance", daemon_instance(), "epoch",
		(json_int_t)status.fence.epoch, "generation", (json_int_t)status.fence.generation, "synced", host->synced, "racks",
		host->racks_id, "decapsulator",
		facts_json(host, &status.facts), "muxes", muxes, "muxes-left-out", host->muxes_left_out, "counters", counters, "reports", report_json(host->report), "snat",
		snat_json(host->helper), "snat-ports", usage_json(host->usage), "command-checks", commands_json(host->commands), "vips", pairs_json(host));
	daemon_each_trouble(host->tls, trouble_add, trouble);
	json_object_set_new(answer, "trouble", trouble);
	daemon_status(&host->conf.http, host->tls, answer);
	http_reply(req, 200, answer);
}

static void get_health(struct http_request *req, json_t *body, void *ctx)
{
	http_reply_text(req, 200, "text/plain", "ok\n");
}

/* vip_family - one counter of all pairs */
static void vip_family(struct metrics *m, json_t *pairs, const char *name, const char *help, const char *key)
{
	json_t *p;
	size_t i;

	metrics_family(m, name, "counter", help);
	json_array_foreach(pairs, i, p)
		metrics_add(m, json_integer_value(json_object_get(p, key)), "vip", json_string_value(json_object_get(p, "vip")),
			    "dip", json_string_value(json_object_get(p, "dip")), NULL);
}

static void check_family(struct metrics *m, json_t *checks)
{
	json_t *check;
	char rule[24];
	size_t k;

	metrics_family(m, "duet_host_dip_up", "gauge", "health check of a DIP: 1 up, 0 down; absent while unknown");
	json_array_foreach(checks, k, check) {
		const char *state = json_string_value(json_object_get(check, "state"));

		if (!strcmp(state, "unknown"))
			continue;
		snprintf(rule, sizeof(rule), "%lld", json_integer_value(json_object_get(check, "rule")));
		metrics_add(m, !strcmp(state, "up"), "vip", json_string_value(json_object_get(check, "vip")), "dip",
			    json_string_value(json_object_get(check, "dip")), "rule", rule, NULL);
	}
}

static void get_metrics(struct http_request *req, json_t *body, void *ctx)
{
	struct metrics *m = metrics_new();
	struct host *host = ctx;
	json_t *pairs, *checks;
	struct helper_status status;
	unsigned int i;

	if (!m) {
		http_problem(req, 500, NULL, "no memory");
		return;
	}
	http_server_metrics(host->server, m);
	daemon_metrics(&host->conf.http, host->tls, m);
	helper_status(host->helper, &status);
	metrics_family(m, "duet_host_synced", "gauge", "1 once this process was told its state");
	metrics_add(m, host->synced, NULL);
	metrics_family(m, "duet_host_tunnel_packets_total", "counter",
		       "IP-in-IP packets to a DIP of this host, by what became of them; SYNs with their MSS clamped");
	for (i = 0; i < __DECAP_MAX; i++) {
		metrics_add(m, status.reasons[i], "result", dp_reason_name(i), NULL);
	}
	metrics_family(m, "duet_host_snat_total", "counter",
		       "outgoing connections with a VIP as source: ports picked, ports that were taken, connections without a port");
	for (i = 0; i < __SNAT_COUNTS; i++) {
		metrics_add(m, status.snat[i], "result", snat_counts[i], NULL);
	}
	pairs = pairs_json(host);
	vip_family(m, pairs, "duet_host_vip_packets_total", "packets decapsulated", "packets");
	vip_family(m, pairs, "duet_host_vip_bytes_total", "bytes of the inner packets decapsulated", "bytes");
	vip_family(m, pairs, "duet_host_vip_out_packets_total", "packets that left with the VIP as source", "out-packets");
	vip_family(m, pairs, "duet_host_vip_out_bytes_total", "bytes that left with the VIP as source", "out-bytes");
	json_decref(pairs);
	checks = checks_json(host->checks, NULL, true);
	check_family(m, checks);
	json_decref(checks);
	http_reply_text(req, 200, "text/plain; version=0.0.4", metrics_text(m));
	metrics_free(m);
}

const struct http_route host_routes[] = {
	{ "PUT", "/v1/state", put_state, RIGHT_COMMAND, DUET_HTTP_BODY_MAX },
	{ "DELETE", "/v1/fence", delete_fence, RIGHT_ADMIN },
	{ "GET", "/v1/status", get_status, RIGHT_READ },
	{ "GET", "/healthz", get_health, RIGHT_ANY },
	{ "GET", "/metrics", get_metrics, RIGHT_METRICS },
	{}
};
