// SPDX-License-Identifier: GPL-2.0
/*
 * Assignments: the model is asked from the monitor, the plan from the engine,
 * and the updater is told to carry it out, each by REST. And moves by hand.
 */
#include "../query/links.h"
#include "api.h"
#include "gate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

#define CALL_TIMEOUT_MS 60000
#define SOON_MS		100	/* what changes together is planned together */

/* struct assign - one POST /v1/assign on its way */
struct assign {
	struct controller *ctl;
	struct http_request *req;
	bool dry_run;
	json_t *options;
	json_t *without;	/* what-if: muxes that are gone */
	json_t *vips;		/* what-if: VIP: {"mbps"}, {"factor"} or null: gone */
	bool what_if;
	json_t *model;		/* what-if: for the second plan, while the first is made */
	struct what_if told;	/* what-if: what is to be compared */
	json_t *plan;
	void (*done)(json_t *plan, void *ctx);	/* as it is, for somebody in here */
	void *done_ctx;
};

static void end(struct assign *a)
{
	if (!a->req && !a->done && a->ctl->updater)
		a->ctl->updater->assigning = false;
	json_decref(a->without);
	json_decref(a->vips);
	json_decref(a->options);
	json_decref(a->model);
	json_decref(a->told.before);
	json_decref(a->told.current);
	json_decref(a->told.vips);
	json_decref(a->plan);
	free(a);
}

static void give_up(struct assign *a, const char *who, const char *url, const struct http_result *r)
{
	if (a->done)
		a->done(NULL, a->done_ctx);
	if (!a->req)
		log_warn("assignment: %s (%s): %s", who, url, r && r->error ? r->error : "no answer");
	else
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
	json_object_set(a->plan, "wave", json_object_get(r->body, "wave"));
	if (a->req)
		http_reply(a->req, 202, json_incref(a->plan));
	end(a);
}

/* drop_gone - VIPs that were removed while the plan was made */
static void drop_gone(struct updater *u, json_t *list)
{
	size_t i = 0;

	while (i < json_array_size(list))
		if (vip_find(u, get_str(json_array_get(list, i), "vip", "")))
			i++;
		else
			json_array_remove(list, i);
}

static void planned(const struct http_result *r, void *ctx)
{
	struct assign *a = ctx;

	if (r->status != 200 || !json_is_object(r->body)) {
		give_up(a, "engine", a->ctl->engine_url, r);
		return;
	}
	a->plan = json_incref(r->body);
	if (a->what_if)
		what_if_tell(a->ctl->updater, &a->told, a->without, a->plan);
	if (a->dry_run) {
		http_reply(a->req, 200, json_incref(a->plan));
		end(a);
		return;
	}
	drop_gone(a->ctl->updater, json_object_get(a->plan, "assignment"));
	if (part_call(a->ctl, ROLE_UPDATER, "PUT", "/v1/updater/assignment",
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

/* mark_failed - links that are down, and switches that nothing leads to or that are supposed
 * to be gone: their clients are silent, their DIPs' traffic is the other DIPs'
 */
static void mark_failed(const struct assign *a, json_t *model, bool as_is)
{
	static const char *const ends[] = { "a", "b" };
	json_t *linked = json_object(), *reached = json_object(), *o;
	json_t *without = as_is ? NULL : a->without;
	size_t i, k;

	json_array_foreach(json_object_get(model, "links"), i, o) {
		bool down = !strcmp(link_state(a->ctl->updater, o, NULL), "down");

		if (down)
			json_object_set_new(o, "failed", json_true());
		for (k = 0; k < 2; k++)
			json_object_set_new(down ? linked : reached, get_str(o, ends[k], ""), json_true());
	}
	json_array_foreach(json_object_get(model, "switches"), i, o) {
		const char *name = get_str(o, "name", "");

		if (is_without(name, without) || (json_object_get(linked, name) && !json_object_get(reached, name)))
			json_object_set_new(o, "failed", json_true());
	}
	json_decref(linked);
	json_decref(reached);
}

/* supposed - a definition with the traffic that is measured, or what-if's */
static json_t *supposed(json_t *vips, const struct uvip *v, json_t *def)
{
	json_t *what = json_object_get(vips, v->text), *traffic;
	double mbps = v->measured, given = get_num(json_object_get(def, "traffic"), "mbps", 0);

	if (mbps < 0 && !mbps_good(given))
		mbps = VIP_MBPS_MAX;
	if (json_is_object(what))
		mbps = get_num(what, "mbps", vip_mbps(v) * get_num(what, "factor", 1));
	if (mbps < 0)
		return json_incref(def);
	mbps = mbps > VIP_MBPS_MAX ? VIP_MBPS_MAX : mbps;
	def = json_copy(def);
	traffic = json_object_get(def, "traffic");
	traffic = traffic ? json_copy(traffic) : json_object();
	json_object_set_new(traffic, "mbps", json_real(mbps));
	if (v->sources && !json_object_get(traffic, "sources"))
		json_object_set(traffic, "sources", v->sources);
	json_object_set_new(def, "traffic", traffic);
	return def;
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
		if (!u->muxes[i].smux && (mux_lost(&u->muxes[i]) || u->muxes[i].fenced || u->muxes[i].drained ||
					  is_without(u->muxes[i].name, a->without)))
			json_array_append_new(exclude, json_string(u->muxes[i].name));
	return options;
}

/* ask - the engine, for a plan (as_is: how full things are with all VIPs where they are); model's reference is taken */
static void ask(struct assign *a, json_t *model, bool as_is, void (*done)(const struct http_result *r, void *ctx))
{
	json_t *vips = json_array(), *current = json_object(), *options;
	struct updater *u = a->ctl->updater;
	unsigned int i;

	for (i = 0; i < u->n_vips; i++) {
		struct uvip *v = u->vips[i];

		if (v->move && v->move->kind == MOVE_DELETE)
			continue;
		if (!as_is && json_is_null(json_object_get(a->vips, v->text)))
			continue;
		json_array_append_new(vips, supposed(as_is ? NULL : a->vips, v, v->move && v->move->def ? v->move->def : v->def));
		json_object_set_new(current, v->text, json_string(vip_wanted(v)));
	}
	mark_failed(a, model, as_is);
	options = as_is ? json_pack("{s:[]}", "only") : options_of(a);
	if (a->what_if && !as_is) {
		a->told.vips = json_incref(vips);
		a->told.current = json_incref(current);
	}
	if (part_call(a->ctl, ROLE_ENGINE, "POST", "/v1/engine/plan",
		      json_pack("{s:o, s:o, s:o, s:o}", "model", model, "vips", vips, "current", current, "options", options),
		      CALL_TIMEOUT_MS, done, a))
		give_up(a, "engine", a->ctl->engine_url, NULL);
}

static void planned_as_is(const struct http_result *r, void *ctx)
{
	struct assign *a = ctx;
	json_t *model = a->model;

	if (r->status != 200 || !json_is_object(r->body)) {
		give_up(a, "engine", a->ctl->engine_url, r);
		return;
	}
	a->told.before = json_incref(r->body);
	a->model = NULL;
	ask(a, model, false, planned);
}

static void told_as_is(const struct http_result *r, void *ctx)
{
	struct assign *a = ctx;

	if (r->status != 200 || !json_is_object(r->body)) {
		give_up(a, "engine", a->ctl->engine_url, r);
		return;
	}
	a->done(r->body, a->done_ctx);
	end(a);
}

static void modelled(const struct http_result *r, void *ctx)
{
	struct assign *a = ctx;

	if (r->status != 200 || !json_is_object(r->body)) {
		give_up(a, "monitor", a->ctl->monitor_url, r);
		return;
	}
	real_tables(a->ctl->updater, r->body);
	if (a->what_if)
		a->model = json_deep_copy(r->body);
	if (a->done)
		ask(a, json_incref(r->body), true, told_as_is);
	else if (a->model)
		ask(a, json_incref(r->body), true, planned_as_is);
	else
		ask(a, json_incref(r->body), false, planned);
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

/* start - with the monitor's model; false: no memory */
static bool start(struct assign *a)
{
	return !part_call(a->ctl, ROLE_MONITOR, "GET", "/v1/monitor/model?only=topology", NULL, CALL_TIMEOUT_MS, modelled, a);
}

/* begin - req NULL: nobody waits for it */
static void begin(struct controller *ctl, struct http_request *req, json_t *body, bool dry_run, bool what_if)
{
	struct assign *a = calloc(1, sizeof(*a));

	if (!a) {
		if (req)
			http_problem(req, 500, NULL, "out of memory");
		return;
	}
	a->ctl = ctl;
	a->req = req;
	a->dry_run = dry_run;
	a->what_if = what_if;
	a->options = json_incref(json_object_get(body, "options"));
	a->without = json_incref(json_object_get(body, "without"));
	a->vips = json_incref(json_object_get(body, "vips"));
	if (!req)
		ctl->updater->assigning = true;
	if (!start(a))
		give_up(a, "monitor", ctl->monitor_url, NULL);
}

int assign_as_is(struct controller *ctl, void (*done)(json_t *plan, void *ctx), void *ctx)
{
	struct assign *a = calloc(1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	a->ctl = ctl;
	a->done = done;
	a->done_ctx = ctx;
	if (start(a))
		return 0;
	end(a);
	return -ENOMEM;
}

static bool ready(struct controller *ctl, struct http_request *req)
{
	const struct mux *silent = undecided(ctl->updater);

	if (ctl->updater->model && !silent)
		return true;
	http_problem(req, 503, NULL, "%s%s", silent ? silent->name : "the topology",
		     silent ? " has not been heard of since start: try again in a moment" : " is not known yet");
	return false;
}

void api_assign_post(struct http_request *req, json_t *body, void *ctx)
{
	const char *dry = http_query(req, "dry_run");
	json_t *options = json_object_get(body, "options");
	bool dry_run = dry && strcmp(dry, "0");
	json_t *only = NULL;

	if (!ready(ctx, req))
		return;
	if (options && !json_is_object(options)) {
		http_problem(req, 400, NULL, "\"options\" is an object");
		return;
	}
	if (options)
		only = json_pack("{s:O}", "options", options);
	begin(ctx, req, only, dry_run, false);
	json_decref(only);
}

void api_what_if_post(struct http_request *req, json_t *body, void *ctx)
{
	struct updater *u = ((struct controller *)ctx)->updater;
	json_t *normal;
	struct err e;
	int ret;

	if (!ready(ctx, req))
		return;
	ret = what_if_check(u, body, &normal, &e);
	if (ret) {
		http_problem(req, ret == -ENOENT ? 422 : 400, NULL, "%s", e.text);
		return;
	}
	begin(ctx, req, normal, true, true);
	json_decref(normal);
}

static int assign_now(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct updater *u = ctx;

	if (u->model && !undecided(u) && !u->assigning && u->configured) {
		begin(u->ctl, NULL, NULL, false, false);
		assign_schedule(u);
	} else {
		once(u->ctl->loop, &u->assign_timer, SOON_MS, assign_now, u);
	}
	return 0;
}

void assign_schedule(struct updater *u)
{
	if (u->control.assign_every_s)
		once(u->ctl->loop, &u->assign_timer, u->control.assign_every_s * 1000ull, assign_now, u);
	else if (u->assign_timer)
		sd_event_source_set_enabled(u->assign_timer, SD_EVENT_OFF);
}

void assign_soon(struct updater *u, const char *why)
{
	log_info("an assignment is computed: %s", why);
	once(u->ctl->loop, &u->assign_timer, SOON_MS, assign_now, u);
}
