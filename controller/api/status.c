// SPDX-License-Identifier: GPL-2.0
/*
 * Is all well, and if not what is it: counts and faults in sentences. A fault
 * is what somebody should look at: an agent lost, a VIP refused, two muxes
 * with different tables for one VIP, a route not where it should be.
 */
#include "../monitor/monitor.h"
#include "api.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "daemon.h"
#include "metrics.h"

void api_fault(json_t *list, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	json_array_append_new(list, json_string(text));
}

static bool settled(const struct uvip *v, const struct mux *m)
{
	return !v->move && mux_clean(m, v) && !m->lost_ms && m->poll_pushes == m->pushes &&
	       (m->changes ? m->told_ms != 0 : !m->poll);
}

/* compare_tables - all muxes that hold a VIP must have one and the same table */
static void compare_tables(struct updater *u, json_t *faults)
{
	json_t *first = json_object();	/* VIP: [mux, digests] */
	unsigned int i;

	for (i = 0; i < u->n_muxes; i++) {
		const struct mux *m = &u->muxes[i];
		const char *vip;
		json_t *digest;

		json_object_foreach(m->digests, vip, digest) {
			struct uvip *v = vip_find(u, vip);
			json_t *known;

			if (!v || !settled(v, m) || desired_hold(m, v) == HOLD_NOT)
				continue;
			known = json_object_get(first, v->text);
			if (!known)
				json_object_set_new(first, v->text, json_pack("[s, O]", m->name, digest));
			else if (!json_equal(json_array_get(known, 1), digest))
				api_fault(faults, "VIP %s: %s and %s have different tables for it", v->text,
				      json_string_value(json_array_get(known, 0)), m->name);
		}
	}
	json_decref(first);
}

/* mux_key_faults - a mux in sync has the keys that it was pushed */
static void mux_key_faults(const struct mux *m, json_t *faults)
{
	static const char *const names[DUET_KEYS] = { "key-fingerprint", "key1-fingerprint" };
	char print[KEY_FINGERPRINT];
	unsigned int i;

	for (i = 0; i < DUET_KEYS; i++) {
		const char *has = get_str(json_object_get(m->status, "device"), names[i], NULL);

		if (has && mux_state(m) == MUX_IN_SYNC && !key_is_none(&m->u->keys[i]) &&
		    strcmp(has, key_fingerprint(&m->u->keys[i], print)))
			api_fault(faults, "mux %s: key %u has fingerprint %s, the deployment's has %s: it chooses other DIPs than the other muxes",
				  m->name, i, has, print);
	}
}

/* told_faults - what a mux itself says is not as it should be */
static void told_faults(const struct mux *m, json_t *faults)
{
	json_t *aggregate = json_object_get(m->status, "aggregate"), *vip;
	json_t *bird = json_object_get(m->status, "bird");
	const char *trouble = get_str(m->status, "trouble", NULL), *text;

	if (trouble)
		api_fault(faults, "mux %s: %s", m->name, trouble);
	mux_key_faults(m, faults);
	if (strcmp(get_str(bird, "state", "up"), "up"))
		api_fault(faults, "mux %s: BIRD is %s%s%s", m->name, get_str(bird, "state", ""),
		      *get_str(bird, "detail", "") ? ": " : "", get_str(bird, "detail", ""));
	if (m->smux && !m->drained && m->u->n_vips && mux_state(m) == MUX_IN_SYNC &&
	    json_is_false(json_object_get(aggregate, "exported")))
		api_fault(faults, "SMux %s does not export the aggregate", m->name);
	json_object_foreach(m->smux ? NULL : m->exported, text, vip) {
		struct uvip *v = vip_find(m->u, text);

		if (v && settled(v, m) && desired_hold(m, v) != HOLD_ANNOUNCED)
			api_fault(faults, "VIP %s: %s exports it and should not", v->text, m->name);
	}
}

static void mux_faults(struct updater *u, json_t *faults)
{
	unsigned int i;

	for (i = 0; i < u->n_muxes; i++) {
		const struct mux *m = &u->muxes[i];
		enum mux_state state = mux_state(m);
		const char *vip;
		json_t *why;

		if (state == MUX_UNREACHABLE || state >= MUX_FENCED || m->why[0])
			api_fault(faults, "mux %s is %s: %s", m->name, mux_state_name(state), m->why);
		json_object_foreach(m->refused, vip, why)
			api_fault(faults, "mux %s refuses VIP %s: %s", m->name, vip, json_string_value(why));
		if (!m->lost_ms && m->status)
			told_faults(m, faults);
	}
}

static void host_faults(struct updater *u, json_t *faults)
{
	unsigned int i;

	for (i = 0; i < u->n_hosts; i++) {
		if (u->hosts[i].silent)
			api_fault(faults, "host %s is silent; its DIPs are taken to be as it last said",
			      u->hosts[i].name);
		else if (u->hosts[i].why[0])
			api_fault(faults, "host %s can't be told its VIPs: %s", u->hosts[i].name, u->hosts[i].why);
	}
}

/* offender_faults - peers whose reports were refused, or left out in part */
static void offender_faults(struct updater *u, json_t *faults)
{
	json_t *o;
	size_t i;

	json_array_foreach(u->offenders, i, o)
		api_fault(faults, "report of %s: %s (%llu times)", get_str(o, "peer", "?"), get_str(o, "text", "refused"),
			  (unsigned long long)get_u64(o, "count", 0));
}

static bool exports(const struct mux *m, const struct uvip *v)
{
	return json_object_get(m->exported, v->text);
}

static void place_faults(struct updater *u, json_t *faults)
{
	unsigned int i;

	for (i = 0; i < u->n_vips; i++) {
		struct uvip *v = u->vips[i];
		struct mux *m = mux_find(u, v->mux);

		if (v->move && v->move->note[0])
			api_fault(faults, "VIP %s: move %llu waits: %s", v->text,
			      (unsigned long long)v->move->id, v->move->note);
		if (!m || !settled(v, m) || mux_refusal(m, v))
			continue;
		if (!exports(m, v))
			api_fault(faults, "VIP %s: %s does not export it; the SMuxes serve it", v->text, m->name);
	}
}

struct counts {
	unsigned int on_hmux, moving, muxes[MUX_QUARANTINED + 1], told, silent, dips, down;
};

static struct counts count(const struct updater *u)
{
	struct counts c = {};
	unsigned int i;

	for (i = 0; i < u->n_vips; i++) {
		c.on_hmux += strcmp(u->vips[i]->mux, SMUX) != 0;
		c.moving += u->vips[i]->move != NULL;
		c.down += json_object_size(u->vips[i]->down);
		c.dips += u->vips[i]->n_dips;
	}
	for (i = 0; i < u->n_muxes; i++)
		c.muxes[mux_state(&u->muxes[i])]++;
	for (i = 0; i < u->n_hosts; i++) {
		c.told += u->hosts[i].synced;
		c.silent += u->hosts[i].silent;
	}
	return c;
}

static void add_trouble(const char *sentence, void *ctx)
{
	api_fault(ctx, "%s", sentence);
}

void api_status_get(struct http_request *req, json_t *body, void *ctx)
{
	struct controller *ctl = ctx;
	struct updater *u = ctl->updater;
	struct counts c = count(u);
	json_t *faults = json_array(), *o;
	char print[KEY_FINGERPRINT];

	if (!u->model)
		api_fault(faults, "the topology is not known yet");
	else if (!u->configured)
		api_fault(faults, "there has been no configuration yet: agents are looked at, not told anything");
	if (*store_trouble(u->store))
		api_fault(faults, "the store can't be written: %s", store_trouble(u->store));
	if (u->control.stop)
		api_fault(faults, "moves are stopped by the operator");
	mux_faults(u, faults);
	link_faults(u, faults);
	host_faults(u, faults);
	offender_faults(u, faults);
	place_faults(u, faults);
	compare_tables(u, faults);
	snat_faults(u, faults);
	key_faults(u, faults);
	daemon_each_trouble(ctl->tls, add_trouble, faults);
	tls_each_trouble(ctl->etcd_tls, add_trouble, faults);
	o = json_pack("{s:s, s:s, s:I, s:I, s:s, s:s, s:b}",
		"name", ctl->conf.name, "version", DUET_VERSION, "epoch", (json_int_t)u->epoch,
		"generation", (json_int_t)u->generation, "key-fingerprint", key_fingerprint(&u->keys[u->key], print),
		"aggregate", ctl->conf.aggregate_text, "configured", u->configured);
	json_object_set_new(o, "behind", json_boolean(u->behind));
	if (u->raised_from)
		json_object_set_new(o, "epoch-raised-from", json_integer(u->raised_from));
	json_object_set_new(o, "vips", json_pack("{s:i, s:i, s:i, s:i}",
		"total", u->n_vips, "on-hmux", c.on_hmux, "on-smux", u->n_vips - c.on_hmux, "moving", c.moving));
	json_object_set_new(o, "moves", json_pack("{s:i, s:i, s:f, s:f, s:f}", "under-way", u->n_active,
		"waiting", u->n_queued, "transit-mbps", u->transit_mbps, "resting-mbps", u->resting_mbps,
		"smux-mbps", u->smux_mbps));
	json_object_set_new(o, "key-rotation", json_string(rotation_phase_name(u->rotation.phase)));
	json_object_set_new(o, "held-dips", flap_json(u));
	json_object_set_new(o, "muxes", json_pack("{s:i, s:i, s:i, s:i, s:i}", "total", u->n_muxes,
		"in-sync", c.muxes[MUX_IN_SYNC],
		"syncing", c.muxes[MUX_SYNCING] + c.muxes[MUX_UNKNOWN],
		"unreachable", c.muxes[MUX_UNREACHABLE] + c.muxes[MUX_QUARANTINED],
		"refusing", c.muxes[MUX_REFUSING] + c.muxes[MUX_FENCED]));
	json_object_set_new(o, "hosts", json_pack("{s:i, s:i, s:i}",
		"total", u->n_hosts, "told", c.told, "silent", c.silent));
	json_object_set_new(o, "dips", json_pack("{s:i, s:i}", "total", c.dips, "down", c.down));
	daemon_status(&ctl->conf.http, ctl->tls, o);
	json_object_set_new(o, "ok", json_boolean(!json_array_size(faults)));
	json_object_set_new(o, "faults", faults);
	http_reply(req, 200, o);
}

void api_healthz_get(struct http_request *req, json_t *body, void *ctx)
{
	struct controller *ctl = ctx;
	bool standby = (ctl->roles & ROLE_UPDATER) && !ctl->updater;

	http_reply_text(req, 200, "text/plain", standby ? "standby\n" : "ok\n");
}

void api_metrics_get(struct http_request *req, json_t *body, void *ctx)
{
	struct controller *ctl = ctx;
	struct updater *u = ctl->updater;
	struct metrics *m = metrics_new();
	struct counts c = u ? count(u) : (struct counts){};
	enum mux_state state;

	if (!m) {
		http_problem(req, 500, NULL, "out of memory");
		return;
	}
	metrics_family(m, "duet_controller_up", "gauge", "1 while the controller answers");
	metrics_add(m, 1, NULL);
	monitor_metrics(ctl, m);
	http_server_metrics(ctl->server, m);
	daemon_metrics(&ctl->conf.http, ctl->tls, m);
	if (u) {
		metrics_family(m, "duet_controller_epoch", "gauge", "Incarnation that agents fence by");
		metrics_add(m, u->epoch, NULL);
		metrics_family(m, "duet_controller_vips", "gauge", "VIPs by where they live");
		metrics_add(m, c.on_hmux, "on", "hmux", NULL);
		metrics_add(m, u->n_vips - c.on_hmux, "on", "smux", NULL);
		metrics_family(m, "duet_controller_moves", "gauge", "Moves by state");
		metrics_add(m, u->n_active, "state", "under-way", NULL);
		metrics_add(m, u->n_queued, "state", "waiting", NULL);
		metrics_family(m, "duet_controller_smux_mbps", "gauge", "Traffic of the SMuxes as planned");
		metrics_add(m, u->resting_mbps, "what", "resting", NULL);
		metrics_add(m, u->transit_mbps, "what", "transit", NULL);
		metrics_add(m, u->smux_mbps, "what", "capacity", NULL);
		metrics_family(m, "duet_controller_muxes", "gauge", "Mux agents by state");
		for (state = MUX_UNKNOWN; state <= MUX_QUARANTINED; state++)
			metrics_add(m, c.muxes[state], "state", mux_state_name(state), NULL);
		metrics_family(m, "duet_controller_hosts", "gauge", "Host agents by state");
		metrics_add(m, c.told, "state", "told", NULL);
		metrics_add(m, c.silent, "state", "silent", NULL);
		metrics_family(m, "duet_controller_dips_down", "gauge", "DIPs of rules that are down");
		metrics_add(m, c.down, NULL);
		snat_metrics(u, m);
		key_metrics(u, m);
	}
	http_reply_text(req, 200, "text/plain; version=0.0.4", metrics_text(m));
	metrics_free(m);
}
