// SPDX-License-Identifier: GPL-2.0
/*
 * Starts the updater: store, epoch, seed, VIPs and moves from before; then the
 * model from the monitor, and with it the agents. Receives health from the
 * monitor and assignments.
 */
#include "priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

#define MODEL_AGAIN_MS	 500
#define MODEL_TIMEOUT_MS 10000

static void get_model(struct updater *u);

static int model_again(sd_event_source *s, uint64_t usec, void *ctx)
{
	get_model(ctx);
	return 0;
}

static char *agent_of(json_t *node)
{
	const char *url = get_str(node, "agent", NULL);

	return url ? strdup(url) : NULL;
}

static void add_muxes(struct updater *u, json_t *list, bool smux)
{
	json_t *node;
	size_t i;

	json_array_foreach(list, i, node) {
		struct mux *m = &u->muxes[u->n_muxes];

		m->url = agent_of(node);
		if (!m->url)
			continue;
		m->u = u;
		m->smux = smux;
		snprintf(m->name, sizeof(m->name), "%s", get_str(node, "name", "?"));
		snprintf(m->local, sizeof(m->local), "%s", get_str(node, "local", ""));
		u->n_muxes++;
	}
}

/* use_model - once: agents are made, and told what the store says */
static int use_model(struct updater *u, json_t *model)
{
	json_t *switches = json_object_get(model, "switches"),
	       *smuxes = json_object_get(model, "smuxes");
	json_t *hosts = json_object_get(model, "hosts"), *node;
	size_t i;

	u->muxes =
		calloc(json_array_size(switches) + json_array_size(smuxes) + 1, sizeof(*u->muxes));
	u->hosts = calloc(json_array_size(hosts) + 1, sizeof(*u->hosts));
	if (!u->muxes || !u->hosts)
		return -ENOMEM;
	u->model = json_incref(model);
	add_muxes(u, switches, false);
	add_muxes(u, smuxes, true);
	json_array_foreach(hosts, i, node) {
		struct host *h = &u->hosts[u->n_hosts++];

		h->u = u;
		h->url = agent_of(node);
		snprintf(h->name, sizeof(h->name), "%s", get_str(node, "name", "?"));
		snprintf(h->address, sizeof(h->address), "%s", get_str(node, "address", ""));
		snprintf(h->instance, sizeof(h->instance), "%s", get_str(node, "instance", ""));
	}
	/* what hosts reported while nobody listened comes before anything is sent */
	for (i = 0; i < u->n_hosts; i++)
		vips_health(u, &u->hosts[i], json_object_get(json_array_get(hosts, i), "dips"));
	for (i = 0; i < u->n_muxes; i++)
		mux_start(&u->muxes[i]);
	for (i = 0; i < u->n_hosts; i++)
		host_start(&u->hosts[i]);
	log_info("%u muxes, %u hosts, %u VIPs%s", u->n_muxes, u->n_hosts, u->n_vips,
		 u->configured ? "" : "; no configuration yet, so agents are only looked at");
	moves_run(u);
	return 0;
}

static void got_model(const struct http_result *r, void *ctx)
{
	struct updater *u = ctx;

	u->model_call = NULL;
	if (r->status == 200 && json_is_object(r->body) && !use_model(u, r->body))
		return;
	log_warn("monitor %s: %s", u->ctl->monitor_url, r->error ? r->error : "no model");
	once(u->ctl->loop, &u->model_timer, MODEL_AGAIN_MS, model_again, u);
}

static void get_model(struct updater *u)
{
	char url[320];

	snprintf(url, sizeof(url), "%s/v1/monitor/model", u->ctl->monitor_url);
	u->model_call = http_call(u->ctl->client, "GET", url, NULL, MODEL_TIMEOUT_MS, got_model, u);
	if (!u->model_call)
		once(u->ctl->loop, &u->model_timer, MODEL_AGAIN_MS, model_again, u);
}

int updater_start(struct controller *ctl, struct err *e)
{
	struct updater *u = calloc(1, sizeof(*u));
	unsigned long wanted = 0;
	char *end;
	int ret;

	if (!u)
		return err_set(e, -ENOMEM, "out of memory");
	u->ctl = ctl;
	ctl->updater = u;
	u->unkept = json_array();
	if (ctl->conf.seed) {
		wanted = strtoul(ctl->conf.seed, &end, 0);
		if (*end || !*ctl->conf.seed || !wanted || wanted > UINT32_MAX) {
			ret = err_set(e, -EINVAL,
				      "[controller] seed = %s: must be a number from 1 to %u",
				      ctl->conf.seed, UINT32_MAX);
			goto err_stop;
		}
	}
	ret = store_open(ctl->conf.store, &u->store, e);
	if (ret)
		goto err_stop;
	ret = store_epoch(u->store, &u->epoch);
	if (!ret)
		ret = store_seed(u->store, wanted, &u->seed);
	if (ret) {
		err_set(e, ret, "store %s: epoch and seed can't be kept", ctl->conf.store);
		goto err_stop;
	}
	if (wanted && wanted != u->seed)
		log_warn(
			"seed %lu of the configuration is not used: the deployment has %u, and another "
			"would move every connection",
			wanted, u->seed);
	u->configured = store_configured(u->store);
	ret = vips_load(u, e);
	if (!ret)
		ret = moves_load(u, e);
	if (ret)
		goto err_stop;
	store_event(u->store, "started", ctl->conf.name, "epoch %llu, %u VIPs",
		    (unsigned long long)u->epoch, u->n_vips);
	once(ctl->loop, &u->model_timer, 1, model_again, u);
	return 0;

err_stop:
	updater_stop(ctl);
	return ret;
}

void updater_stop(struct controller *ctl)
{
	struct updater *u = ctl->updater;
	unsigned int i;

	if (!u)
		return;
	vips_keep_health(u);
	moves_free(u);
	for (i = 0; i < u->n_muxes; i++)
		mux_stop(&u->muxes[i]);
	for (i = 0; i < u->n_hosts; i++)
		host_stop(&u->hosts[i]);
	free(u->muxes);
	free(u->hosts);
	vips_free(u);
	json_decref(u->model);
	json_decref(u->unkept);
	sd_event_source_disable_unref(u->model_timer);
	sd_event_source_disable_unref(u->keep_timer);
	store_close(u->store);
	free(u);
	ctl->updater = NULL;
}

void updater_health_put(struct http_request *req, json_t *body, void *ctx)
{
	struct updater *u = ((struct controller *)ctx)->updater;
	const char *name = get_str(body, "host", "?"), *instance = get_str(body, "instance", "");
	bool silent = json_is_true(json_object_get(body, "silent"));
	struct host *h = host_find(u, name);

	if (!h) {
		http_problem(req, u->model ? 404 : 503, NULL,
			     u->model ? "no host \"%s\" with an agent"
				      : "the topology is not known yet, nor host \"%s\"",
			     name);
		return;
	}
	vips_health(u, h, json_object_get(body, "dips"));
	if (silent != h->silent)
		store_event(u->store, silent ? "host-silent" : "host-heard", h->name, "%s",
			    silent ? "no report for 6 s; its DIPs stay as they were"
				   : "it reports again");
	h->silent = silent;
	if (strcmp(h->instance, instance)) {
		snprintf(h->instance, sizeof(h->instance), "%s", instance);
		h->waiting = false;
		h->backoff_ms = 0;
		host_touch(h);
	}
	http_reply(req, 200,
		   json_pack("{s:I, s:I}", "epoch", (json_int_t)u->epoch, "generation",
			     (json_int_t)u->generation));
}

/* check_assignment - all of it, before any of it is used */
static int check_assignment(struct updater *u, json_t *list, struct err *e)
{
	json_t *item;
	size_t i;

	if (!json_is_array(list))
		return err_set(e, -EINVAL, "an assignment is a list \"assignment\"");
	json_array_foreach(list, i, item) {
		const char *vip = get_str(item, "vip", "?"), *mux = get_str(item, "mux", "?");
		struct mux *m = mux_find(u, mux);

		if (!vip_find(u, vip))
			return err_set(e, -ENOENT, "there is no VIP %s", vip);
		if (strcmp(mux, SMUX) && (!m || m->smux))
			return err_set(e, -ENOENT,
				       "VIP %s: there is no switch \"%s\" with a mux agent", vip,
				       mux);
	}
	return 0;
}

void updater_assignment_put(struct http_request *req, json_t *body, void *ctx)
{
	struct updater *u = ((struct controller *)ctx)->updater;
	json_t *list = json_object_get(body, "assignment"), *item, *moves;
	uint64_t wave = 0;
	struct err e;
	size_t i;
	int ret;

	ret = u->model ? check_assignment(u, list, &e)
		       : err_set(&e, -EAGAIN, "the topology is not known yet");
	if (ret) {
		http_problem(req,
			     ret == -ENOENT   ? 422
			     : ret == -EINVAL ? 400
					      : 503,
			     NULL, "%s", e.text);
		return;
	}
	moves = json_array();
	store_begin(u->store);
	json_array_foreach(list, i, item) {
		struct uvip *v = vip_find(u, get_str(item, "vip", ""));
		const char *mux = get_str(item, "mux", SMUX);
		struct move *mv;

		if (v->move && v->move->kind == MOVE_DELETE)
			continue;
		vip_place(u, v, v->mux, get_num(item, "mru", -1), get_str(item, "reason", NULL));
		if (!strcmp(vip_wanted(v), mux))
			continue;
		if (!wave)
			wave = store_wave(u->store);
		mv = move_new(u, v, MOVE_MOVE, mux, NULL, wave);
		if (mv)
			json_array_append_new(moves, json_integer(mv->id));
	}
	if (wave)
		store_event(u->store, "assignment", "wave", "%llu: %zu VIPs move",
			    (unsigned long long)wave, json_array_size(moves));
	ret = store_commit(u->store);
	moves_run(u);
	if (ret) {
		json_decref(moves);
		http_problem(req, 500, NULL, "the store can't keep it: see the log");
		return;
	}
	http_reply(req, 202, json_pack("{s:o, s:I}", "moves", moves, "wave", (json_int_t)wave));
}
