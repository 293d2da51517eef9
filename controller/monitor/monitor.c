// SPDX-License-Identifier: GPL-2.0
/*
 * Keeps what is known of the data centre: the fabric, and for each host its
 * last report. A host that misses its reports is late: silence alone says
 * nothing about its DIPs, so the updater asks witnesses (updater/silence.c).
 */
#include "priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../api/gate.h"
#include "log.h"

#define OFFENDERS_MS   1000 /* how often offenders are shown to the updater */
#define REPORT_MAX_MS  2000 /* hosts report at least so often when nothing changes, if they are not too many */
#define REPORT_MIN_MS  100
#define MISSED	       3    /* reports in a row: then a host is late */
#define STALLED_MS     300  /* a look so much too late says that this process slept, not the hosts */
#define REPORTS_PER_S  2000 /* and how many of them in all: many hosts report less often each */

unsigned int monitor_interval(const struct monitor *m)
{
	unsigned int ms = (uint64_t)m->n_heard * 1000 / REPORTS_PER_S, least = m->ctl->conf.silent_after_ms / MISSED;

	least = least < REPORT_MIN_MS ? REPORT_MIN_MS : least > REPORT_MAX_MS ? REPORT_MAX_MS : least;

	return ms > least ? ms : least;
}

static uint64_t silent_after(const struct monitor *m)
{
	uint64_t ms = 3ull * monitor_interval(m);

	return ms > SILENT_MS ? ms : SILENT_MS;
}

static uint64_t late_after(const struct monitor *m)
{
	uint64_t ms = (uint64_t)MISSED * monitor_interval(m);

	return ms > m->ctl->conf.silent_after_ms ? ms : m->ctl->conf.silent_after_ms;
}

static unsigned int watch_ms(const struct monitor *m)
{
	unsigned int ms = m->ctl->conf.silent_after_ms / 15;

	return ms < 20 ? 20 : ms > 500 ? 500 : ms;
}

/* watch_host - late, then silent: each is news once */
static void watch_host(struct mhost *h, uint64_t age, uint64_t late, uint64_t silent)
{
	bool was_late = h->late, was_silent = h->silent;

	h->late |= age > late;
	h->silent |= age > silent;
	if (h->silent && !was_silent)
		traffic_forget(h->monitor, h);
	if (h->late != was_late || h->silent != was_silent)
		tell_host(h, h->late != was_late);
}

static int watch(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct monitor *m = ctx;
	uint64_t now = mono_ms(), late = late_after(m), silent = silent_after(m);
	bool stalled = m->watched_ms && now - m->watched_ms > watch_ms(m) + STALLED_MS;
	unsigned int i;

	m->watched_ms = now;
	for (i = 0; !stalled && i < m->n_hosts; i++)	/* after a sleep reports that came meanwhile are read first */
		if (m->hosts[i].heard_ms)
			watch_host(&m->hosts[i], now - m->hosts[i].heard_ms, late, silent);
	if (now - m->offended_ms >= OFFENDERS_MS) {
		m->offended_ms = now;
		offenders_tell(m);
	}
	return once(m->ctl->loop, &m->watch, watch_ms(m), watch, m);
}

/* report_check - a sentence for what can't be a report */
static int report_check(json_t *body, struct err *e)
{
	json_t *dips = json_object_get(body, "dips"), *dip;
	size_t i;

	if (!json_is_object(body) || !json_is_string(json_object_get(body, "host")))
		return err_set(e, -EINVAL, "a report is an object with a \"host\"");
	if (dips && !json_is_array(dips))
		return err_set(e, -EINVAL, "\"dips\" is a list");
	if (strlen(get_str(body, "instance", "")) >= NAME_SIZE)
		return err_set(e, -EINVAL, "\"instance\" has %d characters at most", NAME_SIZE - 1);
	json_array_foreach(dips, i, dip) {
		const char *state = get_str(dip, "state", "");

		if (!get_str(dip, "vip", NULL) || !get_str(dip, "dip", NULL))
			return err_set(e, -EINVAL,
				       "DIP %zu of the report has no \"vip\" or no \"dip\"", i + 1);
		if (strcmp(state, "up") && strcmp(state, "down") && strcmp(state, "unknown"))
			return err_set(e, -EINVAL,
				       "DIP %.45s: a state is up, down or unknown, not \"%.16s\"",
				       get_str(dip, "dip", ""), state);
	}
	return 0;
}

/* states_equal - same DIPs, or targets, in the same states; reasons and times may differ */
static bool states_equal(json_t *a, json_t *b)
{
	static const char *const keys[] = { "vip", "dip", "rule", "target", "state" };
	unsigned int k;
	json_t *one;
	size_t i;

	if (json_array_size(a) != json_array_size(b))
		return false;
	json_array_foreach(a, i, one) {
		json_t *other = json_array_get(b, i);

		for (k = 0; k < sizeof(keys) / sizeof(*keys); k++) {
			json_t *x = json_object_get(one, keys[k]), *y = json_object_get(other, keys[k]);

			if (x != y && !json_equal(x, y))
				return false;
		}
		if (!states_equal(json_object_get(one, "targets"), json_object_get(other, "targets")))
			return false;
	}
	return true;
}

/* take_snat - what of a report is about ports; true: it is news. A host that holds none says nothing of it. */
static bool take_snat(struct mhost *h, json_t *snat)
{
	json_t *now = report_snat(h, snat);
	bool news = now ? !h->snat || !json_equal(now, h->snat) : h->snat != NULL;

	json_decref(h->snat);
	h->snat = now;
	return news;
}

/* take_racks - by which list of racks it counts; true: it is news */
static bool take_racks(struct mhost *h, const char *racks)
{
	bool news = !racks != !h->tells_racks || strcmp(racks ? racks : "", h->racks);

	h->tells_racks = racks;
	snprintf(h->racks, sizeof(h->racks), "%s", racks ? racks : "");
	return news;
}

bool report_take(struct mhost *h, json_t *body, bool *others)
{
	json_t *dips = report_dips(h, json_object_get(body, "dips"));
	bool news = !h->dips || !states_equal(h->dips, dips);

	json_decref(h->dips);
	h->dips = dips;
	*others |= take_snat(h, json_object_get(body, "snat"));
	return news;
}

static json_t *report_answer(const struct monitor *m)
{
	return json_pack("{s:I, s:I, s:i, s:b}", "epoch", (json_int_t)m->epoch, "generation", (json_int_t)m->generation,
			 "interval-ms", monitor_interval(m), "leads", !monitor_stands_by(m));
}

void monitor_report_post(struct http_request *req, json_t *body, void *ctx)
{
	struct monitor *m = ((struct controller *)ctx)->monitor;
	const char *name = get_str(body, "host", "?"), *instance = get_str(body, "instance", "");
	uint64_t seq = get_u64(body, "seq", 0);
	json_t *index, *dips, *traffic;
	bool same, first, news, others, strange;
	struct mhost *h;
	struct err e;

	if (report_check(body, &e)) {
		http_problem(req, 400, NULL, "%s", e.text);
		return;
	}
	index = json_object_get(m->by_name, name);
	if (!index) {
		http_problem(req, 404, NULL, "the topology has no server \"%.63s\" with an agent", name);
		return;
	}
	h = &m->hosts[json_integer_value(index)];
	if (!report_sender(m, req, h->node)) {
		offend(m, gate_who(req, m->ctl), OFFEND_SENDER, "it reports as host %s and is not: refused", name);
		http_problem(req, 403, NULL, "a host reports for itself only: this request is of %s, and the report of host %s",
			     gate_who(req, m->ctl), name);
		return;
	}
	dips = json_object_get(body, "dips");
	traffic = json_object_get(body, "traffic");
	if (!report_afford(h, json_array_size(dips) + json_array_size(traffic))) {
		offend(m, name, OFFEND_RATE, "more reports, or larger ones, than a host has reason for: refused");
		http_problem(req, 429, NULL, "host %s: more reports, or larger ones, than a host has reason for", name);
		return;
	}
	if (report_overtaken(h, instance, seq)) {
		http_reply(req, 200, report_answer(m));
		return;
	}
	same = !strcmp(h->instance, instance);
	first = !h->heard_ms || !same;
	others = take_racks(h, get_str(body, "racks", NULL));
	strange = report_strange(h, body);
	news = report_take(h, body, &others) || first || h->silent || h->late;
	m->n_heard += !h->heard_ms;
	json_decref(h->unsorted);
	h->unsorted = strange ? json_incref(body) : NULL;	/* report_settle() goes on with it */
	h->unsorted_same = same;
	if (!strange)
		traffic_add(m, h, traffic, same);
	snprintf(h->instance, sizeof(h->instance), "%s", instance);
	h->seq = seq;
	h->heard_ms = mono_ms();
	h->silent = h->late = false;
	if (news || others || strange)
		tell_host(h, news && !first);
	http_reply(req, 200, report_answer(m));
}

static json_t *host_to_json(const struct monitor *m, const struct mhost *h)
{
	uint64_t now = mono_ms();
	const char *state = !h->heard_ms ? "never-heard" : now - h->heard_ms > silent_after(m) ? "silent" : "reporting";
	char text[ADDR_STRLEN];
	json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s*}", "name", h->node->name, "address",
			      addr_str(&h->node->address, text), "switch", m->topo.nodes[h->node->tor].name,
			      "instance", h->instance, "state", state, "agent", h->node->agent);

	if (h->heard_ms)
		json_object_set_new(o, "age-ms", json_integer(now - h->heard_ms));
	json_object_set_new(o, "dips", h->dips ? json_incref(h->dips) : json_array());
	json_object_set_new(o, "traffic", traffic_host_json(h));
	if (h->snat)
		json_object_set(o, "snat", h->snat);
	if (h->tells_racks)
		json_object_set_new(o, "racks", json_string(h->racks));
	return o;
}

/* add_hosts - all, or with ?limit= those after ?after= */
static void add_hosts(struct http_request *req, const struct monitor *m, json_t *model)
{
	const char *limit = http_query(req, "limit"), *after = http_query(req, "after");
	unsigned long n = limit ? strtoul(limit, NULL, 10) : m->n_hosts;
	json_t *list = json_array(), *at = after ? json_object_get(m->by_name, after) : NULL;
	unsigned int i = at ? json_integer_value(at) + 1 : 0;

	for (; i < m->n_hosts && json_array_size(list) < n; i++)
		json_array_append_new(list, host_to_json(m, &m->hosts[i]));
	json_object_set_new(model, "hosts", list);
	if (i && i < m->n_hosts)
		json_object_set_new(model, "next", json_string(m->hosts[i - 1].node->name));
}

/* ?only=topology or hosts: the half of it */
void monitor_model_get(struct http_request *req, json_t *body, void *ctx)
{
	struct monitor *m = ((struct controller *)ctx)->monitor;
	const char *only = http_query(req, "only");
	json_t *model = only && !strcmp(only, "hosts") ? json_object() : topology_to_json(&m->topo);

	json_object_set_new(model, "aggregate", json_string(m->ctl->conf.aggregate_text));
	if (!only || !strcmp(only, "hosts"))
		add_hosts(req, m, model);
	if (!only)
		json_object_set_new(model, "racks", racks_to_json(&m->topo));
	http_reply(req, 200, model);
}

void monitor_topology_get(struct http_request *req, json_t *body, void *ctx)
{
	struct monitor *m = ((struct controller *)ctx)->monitor;

	http_reply(req, 200, topology_to_json(&m->topo));
}

/* host_mbps - what the links of a node carry; 0: the topology doesn't say */
static double host_mbps(const struct topology *t, unsigned int node)
{
	double sum = 0;
	unsigned int i;

	for (i = 0; i < t->n_links; i++)
		if (t->links[i].a == node || t->links[i].b == node)
			sum += t->links[i].mbps;
	return sum;
}

/* racks_known - the names that hosts may count by */
static void racks_known(struct monitor *m)
{
	json_t *racks = racks_to_json(&m->topo);
	unsigned int i;

	racks_id(racks, m->racks_id);
	json_decref(racks);
	m->rack_names = json_object();
	for (i = 0; i < m->topo.n_nodes; i++)
		if (m->topo.nodes[i].role == TOPO_TOR)
			json_object_set_new(m->rack_names, m->topo.nodes[i].name, json_true());
}

/* no_address_in - VIPs come from the aggregates, so no node has an address there */
static int no_address_in(const char *file, const struct topology *t, const struct prefix *p, struct err *e)
{
	char text[ADDR_STRLEN], prefix[ADDR_STRLEN];
	unsigned int i;

	for (i = 0; i < t->n_nodes; i++)
		if (!addr_is_none(&t->nodes[i].address) && prefix_holds(p, &t->nodes[i].address))
			return err_set(e, -EINVAL, "%s: \"%s\" has the address %s, inside the aggregate %s/%u, which is for VIPs",
				       file, t->nodes[i].name, addr_str(&t->nodes[i].address, text),
				       addr_str(&p->addr, prefix), p->len);
	return 0;
}

int topology_load(const struct controller *ctl, struct topology *t, struct err *e)
{
	const struct config *conf = &ctl->conf;
	int ret = topology_read(conf->topology, t, e);
	unsigned int i;

	if (ret)
		return ret;
	for (i = 0; !ret && !conf->http.tls.ca && i < t->n_nodes; i++)
		if (t->nodes[i].agent && http_url_is_tls(t->nodes[i].agent))
			ret = err_set(e, -EINVAL, "%s: \"%s\": agent=\"%s\": https:// needs tls-cert, tls-key and tls-ca: no other CA is trusted",
				      conf->topology, t->nodes[i].name, t->nodes[i].agent);
	if (!ret && conf->aggregate_text)
		ret = no_address_in(conf->topology, t, &conf->aggregate, e);
	if (!ret && conf->aggregate6_text)
		ret = no_address_in(conf->topology, t, &conf->aggregate6, e);
	if (ret)
		topology_free(t);
	return ret;
}

int monitor_start(struct controller *ctl, struct err *e)
{
	struct monitor *m = calloc(1, sizeof(*m));
	unsigned int i;
	int ret;

	if (!m)
		return err_set(e, -ENOMEM, "out of memory");
	ctl->monitor = m;
	m->ctl = ctl;
	ret = topology_load(ctl, &m->topo, e);
	if (ret)
		goto err_stop;
	m->by_name = json_object();
	TAILQ_INIT(&m->to_tell);
	m->hosts = calloc(m->topo.n_nodes + 1, sizeof(*m->hosts));
	if (!m->by_name || !m->hosts) {
		ret = err_set(e, -ENOMEM, "out of memory");
		goto err_stop;
	}
	for (i = 0; i < m->topo.n_nodes; i++) {
		const struct topo_node *n = &m->topo.nodes[i];

		if (n->role != TOPO_SERVER || !n->agent)
			continue;
		json_object_set_new(m->by_name, n->name, json_integer(m->n_hosts));
		m->hosts[m->n_hosts++] = (struct mhost){ .monitor = m, .node = n, .mbps_max = host_mbps(&m->topo, i) };
	}
	racks_known(m);
	ret = once(ctl->loop, &m->watch, watch_ms(m), watch, m);
	if (ret) {
		err_set(e, ret, "event loop: %s", strerror(-ret));
		goto err_stop;
	}
	ret = traffic_start(m);
	if (ret) {
		err_set(e, ret, "out of memory");
		goto err_stop;
	}
	log_info("topology %s: %u nodes, %u links, %u hosts with agents", ctl->conf.topology,
		 m->topo.n_nodes, m->topo.n_links, m->n_hosts);
	return 0;

err_stop:
	monitor_stop(ctl);
	return ret;
}

void monitor_stop(struct controller *ctl)
{
	struct monitor *m = ctl->monitor;
	unsigned int i;

	if (!m)
		return;
	for (i = 0; i < m->n_hosts; i++) {
		json_decref(m->hosts[i].dips);
		json_decref(m->hosts[i].snat);
		json_decref(m->hosts[i].counters);
		json_decref(m->hosts[i].vips);
		json_decref(m->hosts[i].unsorted);
	}
	traffic_stop(m);
	sd_event_source_disable_unref(m->watch);
	sd_event_source_disable_unref(m->tell_timer);
	json_decref(m->by_name);
	json_decref(m->rack_names);
	free(m->hosts);
	topology_free(&m->topo);
	free(m);
	ctl->monitor = NULL;
}
