// SPDX-License-Identifier: GPL-2.0
/* GET /v1/status, /healthz, /metrics: counts, and the faults of query/faults.c as JSON. */
#include "../monitor/monitor.h"
#include "../query/faults.h"
#include "api.h"

#include <string.h>

#include "daemon.h"
#include "metrics.h"

#define FAULTS_SHOWN 100

struct counts {
	unsigned int on_hmux, moving, muxes[MUX_QUARANTINED + 1], told, silent, dips, down;
};

static struct counts count(const struct updater *u)
{
	struct counts c = {};
	unsigned int i, k;

	for (i = 0; i < u->n_vips; i++) {
		c.on_hmux += strcmp(u->vips[i]->mux, SMUX) != 0;
		c.moving += u->vips[i]->move != NULL;
		for (k = 0; k < u->vips[i]->dips.n; k++)
			c.down += dip_is_down(&u->vips[i]->dips.list[k]);
		c.dips += u->vips[i]->dips.n;
	}
	for (i = 0; i < u->n_muxes; i++)
		c.muxes[mux_state(&u->muxes[i])]++;
	for (i = 0; i < u->n_hosts; i++) {
		c.told += u->hosts[i].synced;
		c.silent += u->hosts[i].silent;
	}
	return c;
}

static json_t *fault_json(const struct fault *f)
{
	const struct fault_info *info = &fault_infos[f->code];

	return json_pack("{s:s, s:s, s:{s:s, s:s}, s:I, s:s, s:s}", "code", info->code, "severity", fault_severity_name(info->severity),
			 "object", "kind", fault_object_name(f->object), "name", f->name, "since-ms", (json_int_t)f->since_ms,
			 "sentence", f->sentence, "remedy", info->remedy);
}

/* add_faults - "ok", "faults", and how many there are: of one code the list has FAULTS_SHOWN at most */
static void add_faults(struct updater *u, json_t *status)
{
	const struct fault_list *list = faults_now(u);
	unsigned int i, shown = 0, total[FAULT_SEVERE + 1] = {};
	json_t *faults = json_array();

	for (i = 0; i < list->n; i++) {
		const struct fault *f = &list->all[i];

		total[fault_infos[f->code].severity]++;
		shown = i && list->all[i - 1].code == f->code ? shown + 1 : 1;
		if (shown <= FAULTS_SHOWN)
			json_array_append_new(faults, fault_json(f));
	}
	json_object_set_new(status, "ok", json_boolean(!total[FAULT_SEVERE]));
	json_object_set_new(status, "faults", faults);
	json_object_set_new(status, "fault-counts", json_pack("{s:i, s:i}", "fault", total[FAULT_SEVERE], "warning", total[FAULT_WARNING]));
}

void api_status_get(struct http_request *req, json_t *body, void *ctx)
{
	struct controller *ctl = ctx;
	struct updater *u = ctl->updater;
	struct counts c = count(u);
	char print[KEY_FINGERPRINT];
	json_t *o;

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
	json_object_set_new(o, "damped-dips", health_damped(u));
	json_object_set_new(o, "muxes", json_pack("{s:i, s:i, s:i, s:i, s:i}", "total", u->n_muxes,
		"in-sync", c.muxes[MUX_IN_SYNC],
		"syncing", c.muxes[MUX_SYNCING] + c.muxes[MUX_UNKNOWN],
		"unreachable", c.muxes[MUX_UNREACHABLE] + c.muxes[MUX_QUARANTINED],
		"refusing", c.muxes[MUX_REFUSING] + c.muxes[MUX_FENCED]));
	json_object_set_new(o, "hosts", json_pack("{s:i, s:i, s:i}",
		"total", u->n_hosts, "told", c.told, "silent", c.silent));
	json_object_set_new(o, "dips", json_pack("{s:i, s:i}", "total", c.dips, "down", c.down));
	daemon_status(&ctl->conf.http, ctl->tls, o);
	add_faults(u, o);
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
		fault_metrics(u, m);
	}
	http_reply_text(req, 200, "text/plain; version=0.0.4", metrics_text(m));
	metrics_free(m);
}
