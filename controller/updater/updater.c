// SPDX-License-Identifier: GPL-2.0
/*
 * Starts the updater: store, epoch, keys, VIPs and moves from before; then the
 * model from the monitor, and with it the agents. Receives health from the
 * monitor and assignments.
 */
#include "priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../api/gate.h"
#include "../monitor/racks.h"
#include "../query/faults.h"
#include "log.h"
#include "parts.h"

#define MODEL_AGAIN_MS	 500
#define MODEL_TIMEOUT_MS 60000
#define TICK_MS		 50	/* until an event that goes with no change is kept */
#define RELOAD_MS	 1000	/* before what could not be kept is tried again */

static void get_model(struct updater *u);

static void *indexed(json_t *index, const char *key, void *list, size_t size)
{
	json_t *at = json_object_get(index, key);

	return at ? (char *)list + json_integer_value(at) * size : NULL;
}

struct mux *mux_find(struct updater *u, const char *name)
{
	return indexed(u->mux_index, name, u->muxes, sizeof(*u->muxes));
}

struct host *host_find(struct updater *u, const char *name)
{
	return indexed(u->host_index, name, u->hosts, sizeof(*u->hosts));
}

struct host *host_at(struct updater *u, const char *address)
{
	return indexed(u->address_index, address, u->hosts, sizeof(*u->hosts));
}

void updater_begin(struct updater *u)
{
	store_begin(u->store);
}

static int run_again(sd_event_source *s, uint64_t usec, void *ctx)
{
	moves_run(ctx);
	return 0;
}

/* reload - memory as the store has it: the change that could not be kept has never been */
static void reload(struct updater *u)
{
	struct dips *health;
	struct addr *vips;
	unsigned int n;
	struct err e;
	int ret;

	if (u->snat_learning) {	/* who said what of ports is not in the store: all of it is asked again */
		ctl_step_down(u->ctl, "the store can't be written while SNAT ports are learnt from hosts");
		return;
	}
	moves_free(u);
	health = health_set_aside(u, &vips, &n);
	vips_free(u);
	ret = vips_load(u, &e);
	health_put_back(u, health, vips, n);
	if (ret || rotation_load(u, &e) || moves_load(u, &e) || drains_load(u, &e) || control_load(u)) {
		ctl_step_down(u->ctl, e.text);
		return;
	}
	drains_apply(u);
	u->stalled_ms = mono_ms() + RELOAD_MS;
	once(u->ctl->loop, &u->reload_timer, RELOAD_MS + 1, run_again, u);
}

int updater_commit(struct updater *u)
{
	int ret = store_commit(u->store);
	unsigned int i;

	if (store_open_transaction(u->store))
		return ret;
	if (ret == -ESTALE)
		ctl_step_down(u->ctl, store_trouble(u->store));
	else if (ret)
		reload(u);
	if (ret)
		return ret;
	for (i = 0; i < u->n_muxes; i++)
		if (u->muxes[i].wanted)
			mux_kick(&u->muxes[i]);
	hosts_next(u);
	return 0;
}

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

static void add_muxes(struct updater *u, json_t *list, bool smux, json_t *locals)
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
		snprintf(m->rack, sizeof(m->rack), "%s", get_str(node, "switch", strcmp(get_str(node, "role", ""), "tor") ? "" :
			 get_str(node, "name", "")));
		snprintf(m->name, sizeof(m->name), "%s", get_str(node, "name", "?"));
		snprintf(m->local, sizeof(m->local), "%s", get_str(node, "local", ""));
		json_object_set_new(u->mux_index, m->name, json_integer(u->n_muxes));
		json_array_append_new(locals, json_string(m->local));
		u->n_muxes++;
	}
}

static void index_locals(struct updater *u, json_t *nodes)
{
	json_t *node;
	size_t i;

	json_array_foreach(nodes, i, node)
		json_object_set_new(u->local_index, get_str(node, "local", ""), json_string(get_str(node, "name", "?")));
}

/* first_health - what a host reported while nobody listened */
static void first_health(struct host *h, json_t *node)
{
	json_t *said = silence_said(json_object_get(node, "dips"), strcmp(get_str(node, "state", ""), "reporting"));

	vips_health(h->u, h, said);
	json_decref(said);
}

/* use_model - once: agents are made, and told what the store says */
static int use_model(struct updater *u, json_t *model)
{
	json_t *switches = json_object_get(model, "switches"),
	       *smuxes = json_object_get(model, "smuxes");
	json_t *hosts = json_object_get(model, "hosts"), *locals = json_array(), *node;
	struct move *mv;
	size_t i;

	u->muxes =
		calloc(json_array_size(switches) + json_array_size(smuxes) + 1, sizeof(*u->muxes));
	u->hosts = calloc(json_array_size(hosts) + 1, sizeof(*u->hosts));
	if (!u->muxes || !u->hosts)
		return -ENOMEM;
	u->model = json_copy(model);
	json_object_del(u->model, "hosts");	/* kept below, and there are many */
	racks_id(json_object_get(model, "racks"), u->racks);
	json_array_foreach(switches, i, node)
		json_object_set_new(u->switch_index, get_str(node, "name", ""), json_true());
	index_locals(u, switches);
	index_locals(u, smuxes);
	add_muxes(u, switches, false, locals);
	add_muxes(u, smuxes, true, locals);
	u->mux_locals = json_dumps(locals, JSON_COMPACT);
	json_decref(locals);
	if (!u->mux_locals)
		return -ENOMEM;
	json_array_foreach(hosts, i, node) {
		struct host *h = &u->hosts[u->n_hosts];

		h->u = u;
		h->vips = json_object();
		h->url = agent_of(node);
		snprintf(h->name, sizeof(h->name), "%s", get_str(node, "name", "?"));
		snprintf(h->address, sizeof(h->address), "%s", get_str(node, "address", ""));
		snprintf(h->rack, sizeof(h->rack), "%s", get_str(node, "switch", ""));
		snprintf(h->instance, sizeof(h->instance), "%s", get_str(node, "instance", ""));
		json_object_set_new(u->host_index, h->name, json_integer(u->n_hosts));
		json_object_set_new(u->address_index, h->address, json_integer(u->n_hosts));
		u->n_hosts++;
	}
	for (i = 0; i < u->n_vips; i++)
		hosts_note(u, u->vips[i], u->vips[i]->def);
	TAILQ_FOREACH(mv, &u->moves, list)
		hosts_note(u, mv->vip, mv->def);
	TAILQ_FOREACH(mv, &u->queue, list)
		hosts_note(u, mv->vip, mv->def);
	/* what hosts reported while nobody listened comes before anything is sent */
	for (i = 0; i < u->n_hosts; i++) {
		first_health(&u->hosts[i], json_array_get(hosts, i));
		snat_report(u, &u->hosts[i], json_object_get(json_array_get(hosts, i), "snat"));
		host_racks(&u->hosts[i], get_str(json_array_get(hosts, i), "racks", NULL));
		if (!strcmp(get_str(json_array_get(hosts, i), "state", ""), "reporting"))
			snat_heard(&u->hosts[i]);
	}
	drains_apply(u);
	snat_start(u);
	for (i = 0; i < u->n_muxes; i++)
		mux_start(&u->muxes[i]);
	for (i = 0; i < u->n_hosts; i++)
		host_start(&u->hosts[i]);
	rotation_start(u);
	silence_start(u);
	arrival_start(u);
	log_info("%u muxes, %u hosts, %u VIPs%s", u->n_muxes, u->n_hosts, u->n_vips,
		 u->configured ? "" : "; no configuration yet, so agents are only looked at");
	moves_run(u);
	return 0;
}

static void got_model(const struct http_result *r, void *ctx)
{
	struct updater *u = ctx;

	if (r->status == 200 && json_is_object(r->body) && !use_model(u, r->body))
		return;
	log_warn("monitor %s: %s", u->ctl->monitor_url, r->error ? r->error : "no model");
	once(u->ctl->loop, &u->model_timer, MODEL_AGAIN_MS, model_again, u);
}

static void get_model(struct updater *u)
{
	if (part_call(u->ctl, ROLE_MONITOR, "GET", "/v1/monitor/model", NULL, MODEL_TIMEOUT_MS, got_model, u))
		once(u->ctl->loop, &u->model_timer, MODEL_AGAIN_MS, model_again, u);
}

static int tick(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct updater *u = ctx;

	store_flush(u->store);
	tokens_expire(u);
	return once(u->ctl->loop, &u->tick_timer, TICK_MS, tick, u);
}

int updater_start(struct controller *ctl, struct err *e)
{
	struct updater *u = calloc(1, sizeof(*u));
	struct store_conf conf;
	int64_t number = 0;
	int ret;

	if (!u)
		return err_set(e, -ENOMEM, "out of memory");
	u->ctl = ctl;
	ctl->updater = u;
	STAILQ_INIT(&u->unkept);
	u->started_ms = mono_ms();
	u->mux_index = json_object();
	u->switch_index = json_object();
	u->local_index = json_object();
	u->host_index = json_object();
	u->address_index = json_object();
	TAILQ_INIT(&u->moves);
	TAILQ_INIT(&u->queue);
	TAILQ_INIT(&u->pools);
	TAILQ_INIT(&u->rounds);
	ctl_store_conf(ctl, ctl->revision, &conf);
	ret = store_open(&conf, &u->store, e);
	if (ret)
		goto err_stop;
	ret = store_epoch(u->store, &u->epoch, &u->behind);
	if (ret) {
		err_set(e, ret, "store %s: the epoch can't be stored%s%s", ctl->conf.store,
			*store_trouble(u->store) ? ": " : "", store_trouble(u->store));
		goto err_stop;
	}
	ret = keys_load(u, e);
	if (ret)
		goto err_stop;
	u->configured = !store_get(u->store, "configured", &number);
	if (!store_get(u->store, "config", &number))
		u->config_generation = number;
	ret = fault_watch_start(u);
	if (!ret)
		ret = parts_start(u);
	if (!ret)
		ret = vips_load(u, e);
	if (!ret)
		ret = rotation_load(u, e);
	if (!ret)
		ret = moves_load(u, e);
	if (!ret)
		ret = drains_load(u, e);
	if (!ret && control_load(u))
		ret = err_set(e, -EIO, "store %s: settings can't be read", ctl->conf.store);
	if (ret)
		goto err_stop;
	streams_start(u);
	u->tokens = store_set_all(u->store, STORE_TOKENS);
	tokens_expire(u);
	once(ctl->loop, &u->tick_timer, TICK_MS, tick, u);
	assign_schedule(u);
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
	u->stopping = true;
	if (u->store) {
		vips_keep_health(u);
		moves_free(u);
	}
	silence_stop(u);
	arrival_stop(u);
	rotation_stop(u);
	fault_watch_stop(u);
	health_stop(u);
	parts_stop(u);
	streams_stop(u);
	load_stop(u);
	for (i = 0; i < u->n_muxes; i++)
		mux_stop(&u->muxes[i]);
	for (i = 0; i < u->n_hosts; i++)
		host_stop(&u->hosts[i]);
	free(u->muxes);
	free(u->hosts);
	vips_free(u);
	json_decref(u->model);
	json_decref(u->mux_index);
	json_decref(u->switch_index);
	json_decref(u->local_index);
	free(u->mux_locals);
	json_decref(u->host_index);
	json_decref(u->address_index);
	json_decref(u->drains);
	json_decref(u->tokens);
	json_decref(u->offenders);
	sd_event_source_disable_unref(u->tick_timer);
	sd_event_source_disable_unref(u->pass_timer);
	sd_event_source_disable_unref(u->reload_timer);
	sd_event_source_disable_unref(u->assign_timer);
	sd_event_source_disable_unref(u->model_timer);
	sd_event_source_disable_unref(u->snat_timer);
	sd_event_source_disable_unref(u->learn_timer);
	sd_event_source_disable_unref(u->fresh_timer);
	store_close(u->store);
	free(u);
	ctl->updater = NULL;
}

