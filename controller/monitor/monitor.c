// SPDX-License-Identifier: GPL-2.0
/*
 * Keeps what is known of the data centre: the fabric, and for each host its
 * last report. A host that falls silent keeps the DIP states it reported last:
 * silence says nothing about its DIPs, and is shown as what it is.
 */
#include "monitor.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "topology.h"

#define WATCH_MS	1000 /* how often silence is looked for, and the updater tried again */
#define TELL_TIMEOUT_MS 2000

struct mhost {
	struct monitor *monitor;
	const struct topo_node *node;
	char instance[NAME_SIZE];
	uint64_t seq, heard_ms; /* mono_ms() of the last report; 0: never */
	json_t *dips;		/* array as reported; NULL: never */
	json_t *traffic;	/* as reported */
	bool silent, dirty;	/* dirty: the updater must be told */
	struct http_call *call;
};

struct monitor {
	struct controller *ctl;
	struct topology topo;
	struct mhost *hosts;
	unsigned int n_hosts;
	json_t *by_name; /* host name: index */
	sd_event_source *watch;
	uint64_t epoch, generation; /* as the updater told last */
};

static void tell(struct mhost *h);

static void told(const struct http_result *r, void *ctx)
{
	struct mhost *h = ctx;

	h->call = NULL;
	if (r->status != 200) {
		log_debug("updater not told of host %s: %s", h->node->name, r->error);
		h->dirty = true; /* the watch tries again */
		return;
	}
	h->monitor->epoch = get_u64(r->body, "epoch", h->monitor->epoch);
	h->monitor->generation = get_u64(r->body, "generation", h->monitor->generation);
	if (h->dirty)
		tell(h);
}

/* tell - the whole state of one host to the updater; what changes meanwhile follows */
static void tell(struct mhost *h)
{
	char url[320];
	json_t *body;

	h->dirty = true;
	if (h->call)
		return;
	snprintf(url, sizeof(url), "%s/v1/updater/health", h->monitor->ctl->updater_url);
	body = json_pack("{s:s, s:s, s:b, s:O}", "host", h->node->name, "instance", h->instance,
			 "silent", h->silent, "dips", h->dips);
	h->call = http_call(h->monitor->ctl->client, "PUT", url, body, TELL_TIMEOUT_MS, told, h);
	h->dirty = !h->call;
}

static int watch(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct monitor *m = ctx;
	uint64_t now = mono_ms();
	unsigned int i;

	for (i = 0; i < m->n_hosts; i++) {
		struct mhost *h = &m->hosts[i];

		if (!h->heard_ms)
			continue;
		if (!h->silent && now - h->heard_ms > SILENT_MS) {
			h->silent = true;
			h->dirty = true;
		}
		if (h->dirty)
			tell(h);
	}
	return once(m->ctl->loop, &m->watch, WATCH_MS, watch, m);
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
	json_array_foreach(dips, i, dip) {
		const char *state = get_str(dip, "state", "");

		if (!get_str(dip, "vip", NULL) || !get_str(dip, "dip", NULL))
			return err_set(e, -EINVAL,
				       "DIP %zu of the report has no \"vip\" or no \"dip\"", i + 1);
		if (strcmp(state, "up") && strcmp(state, "down") && strcmp(state, "unknown"))
			return err_set(e, -EINVAL,
				       "DIP %s: a state is up, down or unknown, not \"%s\"",
				       get_str(dip, "dip", ""), state);
	}
	return 0;
}

/* states_equal - same DIPs in the same states; reasons and times may differ */
static bool states_equal(json_t *a, json_t *b)
{
	static const char *const keys[] = { "vip", "dip", "rule", "state" };
	unsigned int k;
	json_t *dip;
	size_t i;

	if (!a || json_array_size(a) != json_array_size(b))
		return false;
	json_array_foreach(a, i, dip)
		for (k = 0; k < sizeof(keys) / sizeof(*keys); k++) {
			json_t *x = json_object_get(dip, keys[k]),
			       *y = json_object_get(json_array_get(b, i), keys[k]);

			if (x != y && !json_equal(x, y))
				return false;
		}
	return true;
}

void monitor_report_post(struct http_request *req, json_t *body, void *ctx)
{
	struct monitor *m = ((struct controller *)ctx)->monitor;
	const char *name = get_str(body, "host", "?"), *instance = get_str(body, "instance", "");
	uint64_t seq = get_u64(body, "seq", 0);
	json_t *index, *dips;
	struct mhost *h;
	bool news;
	struct err e;

	if (report_check(body, &e)) {
		http_problem(req, 400, NULL, "%s", e.text);
		return;
	}
	index = json_object_get(m->by_name, name);
	if (!index) {
		http_problem(req, 404, NULL, "the topology has no server \"%s\"", name);
		return;
	}
	h = &m->hosts[json_integer_value(index)];
	if (!strcmp(h->instance, instance) && seq && seq < h->seq) { /* overtaken by a later one */
		http_reply(req, 200,
			   json_pack("{s:I, s:I}", "epoch", (json_int_t)m->epoch, "generation",
				     (json_int_t)m->generation));
		return;
	}
	dips = json_object_get(body, "dips");
	dips = dips ? json_incref(dips) : json_array();
	news = !h->heard_ms || h->silent || strcmp(h->instance, instance) ||
	       !states_equal(h->dips, dips);
	snprintf(h->instance, sizeof(h->instance), "%s", instance);
	h->seq = seq;
	h->heard_ms = mono_ms();
	h->silent = false;
	json_decref(h->dips);
	h->dips = dips;
	json_decref(h->traffic);
	h->traffic = json_incref(json_object_get(body, "traffic"));
	if (news)
		tell(h);
	http_reply(req, 200,
		   json_pack("{s:I, s:I}", "epoch", (json_int_t)m->epoch, "generation",
			     (json_int_t)m->generation));
}

static json_t *hosts_to_json(const struct monitor *m)
{
	json_t *list = json_array();
	uint64_t now = mono_ms();
	unsigned int i;

	for (i = 0; i < m->n_hosts; i++) {
		const struct mhost *h = &m->hosts[i];
		const char *state = !h->heard_ms		    ? "never-heard"
				    : now - h->heard_ms > SILENT_MS ? "silent"
								    : "reporting";
		char text[ADDR_STRLEN];
		json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s*}", "name", h->node->name,
				      "address", addr_str(&h->node->address, text), "switch",
				      m->topo.nodes[h->node->tor].name, "instance", h->instance,
				      "state", state, "agent", h->node->agent);

		if (h->heard_ms)
			json_object_set_new(o, "age-ms", json_integer(now - h->heard_ms));
		json_object_set_new(o, "dips", h->dips ? json_incref(h->dips) : json_array());
		json_object_set_new(o, "traffic",
				    h->traffic ? json_incref(h->traffic) : json_array());
		json_array_append_new(list, o);
	}
	return list;
}

void monitor_model_get(struct http_request *req, json_t *body, void *ctx)
{
	struct monitor *m = ((struct controller *)ctx)->monitor;
	json_t *model = topology_to_json(&m->topo);

	json_object_set_new(model, "aggregate", json_string(m->ctl->conf.aggregate_text));
	json_object_set_new(model, "hosts", hosts_to_json(m));
	http_reply(req, 200, model);
}

void monitor_topology_get(struct http_request *req, json_t *body, void *ctx)
{
	struct monitor *m = ((struct controller *)ctx)->monitor;

	http_reply(req, 200, topology_to_json(&m->topo));
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
	ret = topology_read(ctl->conf.topology, &m->topo, e);
	if (ret)
		goto err_stop;
	m->by_name = json_object();
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
		m->hosts[m->n_hosts++] = (struct mhost){ .monitor = m, .node = n };
	}
	ret = once(ctl->loop, &m->watch, WATCH_MS, watch, m);
	if (ret) {
		err_set(e, ret, "event loop: %s", strerror(-ret));
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
		json_decref(m->hosts[i].traffic);
	}
	sd_event_source_disable_unref(m->watch);
	json_decref(m->by_name);
	free(m->hosts);
	topology_free(&m->topo);
	free(m);
	ctl->monitor = NULL;
}
