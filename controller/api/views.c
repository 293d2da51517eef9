// SPDX-License-Identifier: GPL-2.0
/* What is shown of VIPs, places, moves, muxes, hosts and events. */
#include "api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIST_MAX	1000

static struct updater *updater_of(void *ctx)
{
	return ((struct controller *)ctx)->updater;
}

/* exporters - VIP: names of the HMuxes that told they export it; new reference */
static json_t *exporters(const struct updater *u)
{
	json_t *map = json_object(), *vip, *list;
	unsigned int i;
	size_t k;

	for (i = 0; i < u->n_muxes; i++) {
		const struct mux *m = &u->muxes[i];

		if (m->smux || m->lost_ms)
			continue;
		json_array_foreach(json_object_get(m->status, "vips"), k, vip) {
			const char *name = get_str(vip, "vip", "?");

			if (!json_is_true(json_object_get(vip, "exported")))
				continue;
			list = json_object_get(map, name);
			if (!list) {
				list = json_array();
				json_object_set_new(map, name, list);
			}
			json_array_append_new(list, json_string(m->name));
		}
	}
	return map;
}

static json_t *place_of(const struct uvip *v, json_t *exported)
{
	json_t *list = json_object_get(exported, v->text);
	json_t *o = json_pack("{s:s, s:s, s:s, s:s}", "vip", v->text,
			      "name", get_str(v->def, "name", ""), "mux", v->mux, "wanted", vip_wanted(v));

	json_object_set_new(o, "mru", v->mru < 0 ? json_null() : json_real(v->mru));
	json_object_set_new(o, "reason", json_string(v->reason ? v->reason : ""));
	json_object_set_new(o, "exported-by", list ? json_incref(list) : json_array());
	json_object_set_new(o, "move", v->move ? json_integer(v->move->id) : json_null());
	json_object_set_new(o, "state", json_string(v->move ? move_state_name(v->move->state) : "settled"));
	return o;
}

static json_t *vip_to_view(const struct uvip *v, json_t *exported)
{
	json_t *o = json_deep_copy(v->def), *status = place_of(v, exported), *down = json_array(), *why;
	const char *key;

	json_object_foreach(v->down, key, why) {
		char dip[ADDR_STRLEN] = "";
		unsigned int rule = 0;

		sscanf(key, "%45[^|]|%u", dip, &rule);
		json_array_append_new(down, json_pack("{s:s, s:i, s:s, s:I}", "dip", dip, "rule", rule,
			"reason", get_str(why, "reason", ""),
			"since-ms", (json_int_t)get_u64(why, "since-ms", 0)));
	}
	json_object_set_new(status, "down", down);
	json_object_set_new(o, "status", status);
	return o;
}

void api_vips_get(struct http_request *req, json_t *body, void *ctx)
{
	struct updater *u = updater_of(ctx);
	json_t *list = json_array(), *exported = exporters(u);
	unsigned int i;

	for (i = 0; i < u->n_vips; i++)
		json_array_append_new(list, vip_to_view(u->vips[i], exported));
	json_decref(exported);
	http_reply(req, 200, json_pack("{s:o}", "vips", list));
}

void api_vip_get(struct http_request *req, json_t *body, void *ctx)
{
	struct updater *u = updater_of(ctx);
	struct uvip *v = vip_find(u, http_segment(req, 0));
	json_t *exported;

	if (!v) {
		http_problem(req, 404, NULL, "there is no VIP %s", http_segment(req, 0));
		return;
	}
	exported = exporters(u);
	http_reply(req, 200, vip_to_view(v, exported));
	json_decref(exported);
}

void api_assignment_get(struct http_request *req, json_t *body, void *ctx)
{
	struct updater *u = updater_of(ctx);
	json_t *list = json_array(), *exported = exporters(u);
	unsigned int i;

	for (i = 0; i < u->n_vips; i++)
		json_array_append_new(list, place_of(u->vips[i], exported));
	json_decref(exported);
	http_reply(req, 200, json_pack("{s:o}", "assignment", list));
}

static void add_move(const struct store_move *m, void *ctx)
{
	json_array_append_new(ctx, move_to_json(m));
}

static struct move *running(struct updater *u, uint64_t id)
{
	struct move *mv;

	for (mv = u->moves; mv && mv->id != id; mv = mv->next)
		;
	return mv;
}

/* fresh_notes - what a move waits for is newer here than in the store */
static void fresh_notes(struct updater *u, json_t *list)
{
	struct move *mv;
	json_t *o;
	size_t i;

	json_array_foreach(list, i, o) {
		mv = running(u, get_u64(o, "id", 0));
		if (mv)
			json_object_set_new(o, "note", json_string(mv->note));
	}
}

void api_moves_get(struct http_request *req, json_t *body, void *ctx)
{
	struct updater *u = updater_of(ctx);
	const char *limit = http_query(req, "limit"), *state = http_query(req, "running");
	json_t *list = json_array();
	unsigned long n = limit ? strtoul(limit, NULL, 10) : 50;

	if (!n || n > LIST_MAX)
		n = LIST_MAX;
	if (store_move_each(u->store, state && strcmp(state, "0"), 0, n, add_move, list)) {
		json_decref(list);
		http_problem(req, 500, NULL, "the store can't be read: see the log");
		return;
	}
	fresh_notes(u, list);
	http_reply(req, 200, json_pack("{s:o}", "moves", list));
}

void api_move_get(struct http_request *req, json_t *body, void *ctx)
{
	struct updater *u = updater_of(ctx);
	const char *text = http_segment(req, 0);
	unsigned long long id;
	json_t *list;
	char *endp;

	id = strtoull(text, &endp, 10);
	list = json_array();
	if (*endp || !id || store_move_each(u->store, false, id, 0, add_move, list) || !json_array_size(list)) {
		json_decref(list);
		http_problem(req, 404, NULL, "there is no move %s", text);
		return;
	}
	fresh_notes(u, list);
	http_reply(req, 200, json_incref(json_array_get(list, 0)));
	json_decref(list);
}

static json_t *mux_to_view(const struct mux *m)
{
	json_t *device = json_object_get(m->status, "device"), *bird = json_object_get(m->status, "bird"), *v;
	json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s}",
			      "name", m->name, "mode", m->smux ? "smux" : "hmux", "local", m->local,
			      "agent", m->url, "state", mux_state_name(mux_state(m)),
			      "instance", m->instance, "why", m->why);

	if (m->heard_ms)
		json_object_set_new(o, "age-ms", json_integer(mono_ms() - m->heard_ms));
	json_object_set_new(o, "pending", json_integer(m->full ? m->u->n_vips : json_object_size(m->dirty)));
	json_object_set(o, "refused", m->refused);
	json_object_set_new(o, "vips", json_integer(json_array_size(json_object_get(m->status, "vips"))));
	v = json_object_get(device, "used");
	json_object_set_new(o, "used", v ? json_incref(v) : json_object());
	v = json_object_get(device, "limits");
	json_object_set_new(o, "limits", v ? json_incref(v) : json_object());
	json_object_set_new(o, "bird", bird ? json_incref(bird) : json_object());
	return o;
}

void api_muxes_get(struct http_request *req, json_t *body, void *ctx)
{
	struct updater *u = updater_of(ctx);
	json_t *list = json_array();
	unsigned int i;

	for (i = 0; i < u->n_muxes; i++)
		json_array_append_new(list, mux_to_view(&u->muxes[i]));
	http_reply(req, 200, json_pack("{s:o}", "muxes", list));
}

/* What the monitor has is asked from it by REST, as everywhere. */
struct forward {
	struct controller *ctl;
	struct http_request *req;
	bool hosts;
};

static json_t *hosts_view(struct updater *u, json_t *model)
{
	json_t *list = json_array(), *o;
	size_t i;

	json_array_foreach(json_object_get(model, "hosts"), i, o) {
		struct host *h = host_find(u, get_str(o, "name", ""));

		o = json_copy(o);
		if (h) {
			json_object_set_new(o, "told", json_boolean(h->synced));
			json_object_set_new(o, "why", json_string(h->why));
		}
		json_array_append_new(list, o);
	}
	return json_pack("{s:o}", "hosts", list);
}

static void forwarded(const struct http_result *r, void *ctx)
{
	struct forward *f = ctx;

	if (r->status != 200)
		http_problem(f->req, 502, NULL, "monitor (%s): %s", f->ctl->monitor_url,
			     r->error ? r->error : "no answer");
	else
		http_reply(f->req, 200, f->hosts ? hosts_view(f->ctl->updater, r->body) : json_incref(r->body));
	free(f);
}

static void forward(struct controller *ctl, struct http_request *req, const char *path, bool hosts)
{
	struct forward *f = calloc(1, sizeof(*f));
	char url[320];

	snprintf(url, sizeof(url), "%s%s", ctl->monitor_url, path);
	if (f)
		*f = (struct forward){ ctl, req, hosts };
	if (f && http_call(ctl->client, "GET", url, NULL, 5000, forwarded, f))
		return;
	free(f);
	http_problem(req, 500, NULL, "out of memory");
}

void api_hosts_get(struct http_request *req, json_t *body, void *ctx)
{
	forward(ctx, req, "/v1/monitor/model", true);
}

void api_topology_get(struct http_request *req, json_t *body, void *ctx)
{
	forward(ctx, req, "/v1/topology", false);
}

void api_events_get(struct http_request *req, json_t *body, void *ctx)
{
	const char *after = http_query(req, "after"), *limit = http_query(req, "limit");
	unsigned long n = limit ? strtoul(limit, NULL, 10) : 100;

	http_reply(req, 200, json_pack("{s:o}", "events",
		store_events(updater_of(ctx)->store, after ? strtoull(after, NULL, 10) : 0,
			     n && n < LIST_MAX ? n : LIST_MAX)));
}
