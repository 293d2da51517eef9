// SPDX-License-Identifier: GPL-2.0
/* What the other parts ask of the updater: health from the monitor, assignments from whoever plans. */
#include "../query/faults.h"
#include "priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SETTLED_MS 3000	/* a host that has been sent nothing new for so long knows its VIPs */

/* sources_known - shares of switches that there are, or of the Internet; new reference, NULL: none */
static json_t *sources_known(const struct updater *u, json_t *sources)
{
	json_t *out = json_object(), *share;
	const char *name;

	json_object_foreach(sources, name, share)
		if (json_number_value(share) >= 0 && json_number_value(share) <= 1 &&
		    (!strcmp(name, "internet") || json_object_get(u->switch_index, name)))
			json_object_set(out, name, share);
	if (json_object_size(out))
		return out;
	json_decref(out);
	return NULL;
}

/* traffic_of - what the monitor measured; numbers that are none are left out */
static void traffic_of(struct updater *u, struct uvip *v, json_t *item)
{
	double mbps = get_num(item, "ewma-mbps", -1), peak = get_num(item, "peak-mbps", 0);

	if (!mbps_good(mbps) || !mbps_good(peak))
		return;
	v->measured = mbps;
	v->peak = peak;
	json_decref(v->sources);
	v->sources = sources_known(u, json_object_get(item, "sources"));
}

/* vips_of - the VIPs with a DIP at the host, and has it had time to know: for the monitor, which asks */
static json_t *vips_of(const struct host *h)
{
	return json_pack("{s:o, s:b}", "vips", json_copy(h->vips), "settled", mono_ms() - h->touched_ms >= SETTLED_MS);
}

static void health_of(struct updater *u, json_t *body, json_t *answers)
{
	const char *name = get_str(body, "host", "?"), *instance = get_str(body, "instance", "");
	bool silent = json_is_true(json_object_get(body, "silent"));
	struct host *h = host_find(u, name);
	bool late = silent || json_is_true(json_object_get(body, "late"));
	json_t *said;

	if (!h)
		return;
	if (json_is_true(json_object_get(body, "which-vips")))
		json_object_set_new(answers, h->name, vips_of(h));
	json_decref(h->silence.said);
	h->silence.said = json_incref(json_object_get(body, "dips"));
	silence_note(h, late, get_u64(body, "age-ms", 0));
	said = silence_said(json_object_get(body, "dips"), late || h->silence.out);
	vips_health(u, h, said);
	json_decref(said);
	snat_report(u, h, json_object_get(body, "snat"));
	host_racks(h, get_str(body, "racks", NULL));
	if (!silent)
		snat_heard(h);
	if (silent != h->silent)
		store_event(u->store, silent ? "host-silent" : "host-heard", h->name, "%s",
			    silent ? "no report for a while" : "it reports again");
	if (silent != h->silent)
		faults_soon(u);
	h->silent = silent;
	if (strcmp(h->instance, instance)) {
		snprintf(h->instance, sizeof(h->instance), "%s", instance);
		h->waiting = false;
		h->backoff_ms = 0;
		host_touch(h);
	}
}

void updater_health_put(struct http_request *req, json_t *body, void *ctx)
{
	struct updater *u = ((struct controller *)ctx)->updater;
	json_t *hosts = json_object_get(body, "hosts"), *offenders = json_object_get(body, "offenders"), *item, *answers;
	const char *vip;
	size_t i;

	if (!json_is_array(hosts)) {
		http_problem(req, 400, NULL, "health is a list \"hosts\"");
		return;
	}
	if (!u->model) {
		http_problem(req, 503, NULL, "the topology is not known yet, nor its hosts");
		return;
	}
	answers = json_object();
	json_array_foreach(hosts, i, item)
		health_of(u, item, answers);
	json_object_foreach(json_object_get(body, "traffic"), vip, item) {
		struct uvip *v = vip_find(u, vip);

		if (v)
			traffic_of(u, v, item);
	}
	if (json_is_array(offenders)) {
		json_decref(u->offenders);
		u->offenders = json_incref(offenders);
	}
	http_reply(req, 200,
		   json_pack("{s:I, s:I, s:o}", "epoch", (json_int_t)u->epoch, "generation",
			     (json_int_t)u->generation, "hosts", answers));
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
	updater_begin(u);
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
	ret = updater_commit(u);
	moves_run(u);
	if (ret) {
		json_decref(moves);
		http_problem(req, 500, NULL, "the store can't keep it: see the log");
		return;
	}
	http_reply(req, 202, json_pack("{s:o, s:I}", "moves", moves, "wave", (json_int_t)wave));
}
