// SPDX-License-Identifier: GPL-2.0
/*
 * Assignments: the model is asked from the monitor, the plan from the engine,
 * and the updater is told to carry it out, each by REST. And moves by hand.
 */
#include "api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CALL_TIMEOUT_MS 60000

/* struct assign - one POST /v1/assign on its way */
struct assign {
	struct controller *ctl;
	struct http_request *req;
	bool dry_run;
	json_t *options;
	json_t *plan;
};

static void end(struct assign *a)
{
	json_decref(a->options);
	json_decref(a->plan);
	free(a);
}

static void give_up(struct assign *a, const char *who, const char *url, const struct http_result *r)
{
	http_problem(a->req, r && r->status >= 400 && r->status < 500 ? 422 : 502, NULL,
		     "%s (%s): %s", who, url, r && r->error ? r->error : "no answer");
	end(a);
}

static void updated(const struct http_result *r, void *ctx)
{
	struct assign *a = ctx;

	if (r->status / 100 != 2) {
		give_up(a, "updater", a->ctl->updater_url, r);
		return;
	}
	json_object_set(a->plan, "moves", json_object_get(r->body, "moves"));
	http_reply(a->req, 202, json_incref(a->plan));
	end(a);
}

static void planned(const struct http_result *r, void *ctx)
{
	struct assign *a = ctx;
	char url[320];

	if (r->status != 200 || !json_is_object(r->body)) {
		give_up(a, "engine", a->ctl->engine_url, r);
		return;
	}
	a->plan = json_incref(r->body);
	if (a->dry_run) {
		http_reply(a->req, 200, json_incref(a->plan));
		end(a);
		return;
	}
	snprintf(url, sizeof(url), "%s/v1/updater/assignment", a->ctl->updater_url);
	if (!http_call(a->ctl->client, "PUT", url,
		       json_pack("{s:O}", "assignment", json_object_get(a->plan, "assignment")),
		       CALL_TIMEOUT_MS, updated, a))
		give_up(a, "updater", a->ctl->updater_url, NULL);
}

static uint32_t smaller(uint32_t a, uint32_t b)
{
	return !a ? b : !b ? a : a < b ? a : b;
}

/* real_tables - where an agent tells smaller tables than the topology, those count */
static void real_tables(struct updater *u, json_t *model)
{
	static const char *const keys[][2] = { { "hosts", "vips" },
					       { "rules", "rules" },
					       { "members", "members" },
					       { "tunnels", "tunnels" } };
	json_t *s;
	size_t i, k;

	json_array_foreach(json_object_get(model, "switches"), i, s) {
		struct mux *m = mux_find(u, get_str(s, "name", ""));
		json_t *tables = json_object_get(s, "tables"), *limits;

		limits = m ? json_object_get(json_object_get(m->status, "device"), "limits") : NULL;
		for (k = 0; limits && k < 4; k++)
			json_object_set_new(tables, keys[k][0],
					    json_integer(smaller(get_u64(tables, keys[k][0], 0),
								 get_u64(limits, keys[k][1], 0))));
	}
}

/* options_of - the caller's, and switches that can't be reached left out */
static json_t *options_of(const struct assign *a)
{
	struct updater *u = a->ctl->updater;
	json_t *options = json_is_object(a->options) ? json_deep_copy(a->options) : json_object(),
	       *exclude;
	unsigned int i;

	exclude = json_object_get(options, "exclude");
	if (!json_is_array(exclude)) {
		exclude = json_array();
		json_object_set_new(options, "exclude", exclude);
	}
	for (i = 0; i < u->n_muxes; i++)
		if (!u->muxes[i].smux && (mux_lost(&u->muxes[i]) || u->muxes[i].fenced))
			json_array_append_new(exclude, json_string(u->muxes[i].name));
	return options;
}

static void modelled(const struct http_result *r, void *ctx)
{
	struct assign *a = ctx;
	struct updater *u = a->ctl->updater;
	json_t *vips, *current;
	unsigned int i;
	char url[320];

	if (r->status != 200 || !json_is_object(r->body)) {
		give_up(a, "monitor", a->ctl->monitor_url, r);
		return;
	}
	vips = json_array();
	current = json_object();
	for (i = 0; i < u->n_vips; i++) {
		struct uvip *v = u->vips[i];

		if (v->move && v->move->kind == MOVE_DELETE)
			continue;
		json_array_append(vips, v->move && v->move->def ? v->move->def : v->def);
		json_object_set_new(current, v->text, json_string(vip_wanted(v)));
	}
	real_tables(u, r->body);
	snprintf(url, sizeof(url), "%s/v1/engine/plan", a->ctl->engine_url);
	if (!http_call(a->ctl->client, "POST", url,
		       json_pack("{s:O, s:o, s:o, s:o}", "model", r->body, "vips", vips, "current",
				 current, "options", options_of(a)),
		       CALL_TIMEOUT_MS, planned, a))
		give_up(a, "engine", a->ctl->engine_url, NULL);
}

/* undecided - a switch that has not answered since start and is not yet taken
 * for dead: a plan without it would move its VIPs away for nothing
 */
static const struct mux *undecided(const struct updater *u)
{
	unsigned int i;

	for (i = 0; i < u->n_muxes; i++) {
		const struct mux *m = &u->muxes[i];

		if (!m->smux && !m->heard_ms && !mux_lost(m))
			return m;
	}
	return NULL;
}

void api_assign_post(struct http_request *req, json_t *body, void *ctx)
{
	struct controller *ctl = ctx;
	const char *dry = http_query(req, "dry_run");
	const struct mux *silent = undecided(ctl->updater);
	struct assign *a;
	char url[320];

	if (!ctl->updater->model || silent) {
		http_problem(req, 503, NULL, "%s%s", silent ? silent->name : "the topology",
			     silent ? " has not been heard of since start: try again in a moment" :
				      " is not known yet");
		return;
	}
	a = calloc(1, sizeof(*a));
	if (!a) {
		http_problem(req, 500, NULL, "out of memory");
		return;
	}
	a->ctl = ctl;
	a->req = req;
	a->dry_run = dry && strcmp(dry, "0");
	a->options = json_incref(json_object_get(body, "options"));
	snprintf(url, sizeof(url), "%s/v1/monitor/model", ctl->monitor_url);
	if (!http_call(ctl->client, "GET", url, NULL, CALL_TIMEOUT_MS, modelled, a))
		give_up(a, "monitor", ctl->monitor_url, NULL);
}

void api_moves_post(struct http_request *req, json_t *body, void *ctx)
{
	struct updater *u = ((struct controller *)ctx)->updater;
	const char *vip = get_str(body, "vip", NULL), *to = get_str(body, "to", NULL);
	struct mux *m = to ? mux_find(u, to) : NULL;
	struct uvip *v = vip_find(u, vip);
	struct move *mv;
	uint64_t id = 0;

	if (!vip || !to) {
		http_problem(req, 400, NULL,
			     "a move has a \"vip\" and a place \"to\" go: \"%s\" or a switch",
			     SMUX);
		return;
	}
	if (!u->model) {
		http_problem(req, 503, NULL, "the topology is not known yet");
		return;
	}
	if (!v) {
		http_problem(req, 404, NULL, "there is no VIP %s", vip);
		return;
	}
	if (strcmp(to, SMUX) && (!m || m->smux)) {
		http_problem(req, 422, NULL,
			     "there is no switch \"%s\" with a mux agent; \"%s\" is the SMuxes", to,
			     SMUX);
		return;
	}
	if (v->move && v->move->kind == MOVE_DELETE) {
		http_problem(req, 409, NULL, "VIP %s is being deleted", vip);
		return;
	}
	if (!v->move && !strcmp(v->mux, to)) {
		http_reply(req, 200,
			   json_pack("{s:n, s:s, s:s}", "id", "state", "done", "note",
				     "it is there already"));
		return;
	}
	if (v->move && !strcmp(v->move->to, to)) {
		http_reply(req, 202,
			   json_pack("{s:I, s:s}", "id", (json_int_t)v->move->id, "state",
				     move_state_name(v->move->state)));
		return;
	}
	store_begin(u->store);
	vip_place(u, v, v->mux, -1, "moved by hand");
	mv = move_new(u, v, MOVE_MOVE, to, NULL, store_wave(u->store));
	if (mv) {
		id = mv->id;
		store_event(u->store, "move", v->text, "%llu: %s to %s, by hand",
			    (unsigned long long)id, v->mux, to);
	}
	if (store_commit(u->store) || !mv) {
		http_problem(req, 500, NULL, "the store can't keep the move: see the log");
		return;
	}
	moves_run(u);
	http_reply(req, 202, json_pack("{s:I}", "id", (json_int_t)id));
}
