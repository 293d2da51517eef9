// SPDX-License-Identifier: GPL-2.0
/* What is shown of VIPs, places, moves, muxes, hosts and events. */
#include "api.h"
#include "gate.h"
#include "../updater/snat.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct updater *updater_of(void *ctx)
{
	return ((struct controller *)ctx)->updater;
}

/* exporters - names of the HMuxes that export a VIP, those apart whose neighbours don't have it; new reference */
static json_t *exporters(const struct updater *u, const struct uvip *v)
{
	json_t *list = json_array();
	unsigned int i;

	for (i = 0; i < u->n_muxes; i++) {
		const struct mux *m = &u->muxes[i];

		if (!m->smux && !m->lost_ms && json_object_get(m->exported, v->text) && arrival_of(m, v) != ARRIVED_NO)
			json_array_append_new(list, json_string(m->name));
	}
	return list;
}

/* arrived_word - does a neighbour have the route of the switch that the VIP is placed on? "offered": none can be asked */
static const char *arrived_word(const struct updater *u, const struct uvip *v)
{
	static const char *const words[] = { [ARRIVED_UNKNOWN] = "offered", [ARRIVED_YES] = "yes", [ARRIVED_NO] = "no" };
	const struct mux *m = mux_find((struct updater *)u, v->mux);

	return m ? words[arrival_of(m, v)] : "on the SMuxes";
}

static json_t *place_of(const struct updater *u, const struct uvip *v)
{
	json_t *o = json_pack("{s:s, s:s, s:s, s:s}", "vip", v->text,
			      "name", get_str(v->def, "name", ""), "mux", v->mux, "wanted", vip_wanted(v));

	json_object_set_new(o, "mru", v->mru < 0 ? json_null() : json_real(v->mru));
	json_object_set_new(o, "reason", json_string(v->reason ? v->reason : ""));
	json_object_set_new(o, "exported-by", exporters(u, v));
	json_object_set_new(o, "arrived", json_string(arrived_word(u, v)));
	json_object_set_new(o, "mbps", json_real(vip_mbps(v)));
	json_object_set_new(o, "measured", v->measured < 0 ? json_null() :
			    json_pack("{s:f, s:f}", "ewma-mbps", v->measured, "peak-mbps", v->peak));
	json_object_set_new(o, "key", json_integer(v->key));
	json_object_set_new(o, "move", v->move ? json_integer(v->move->id) : json_null());
	json_object_set_new(o, "state", json_string(v->move ? move_state_name(v->move->state) : "settled"));
	return o;
}

static json_t *down_of(const struct uvip *v)
{
	json_t *down = json_array();
	unsigned int i;

	for (i = 0; i < v->dips.n; i++) {
		const struct dip *d = &v->dips.list[i];

		if (dip_is_down(d))
			json_array_append_new(down, json_pack("{s:s, s:i, s:s, s:s, s:I}", "dip", d->text, "rule", d->rule,
				"state", d->reported == REPORT_DOWN ? "down" : "damped", "reason", d->reason ? d->reason : "",
				"since-ms", (json_int_t)d->since_ms));
	}
	return down;
}

static json_t *vip_to_view(const struct updater *u, const struct uvip *v)
{
	json_t *o = json_deep_copy(v->def), *status = place_of(u, v);
	struct snat_conf snat;

	vip_judge(u, v);
	json_object_set_new(status, "health", json_string(policy_mode_text(v->mode)));
	json_object_set_new(status, "down", down_of(v));
	if (snat_conf(v->def, &snat))
		json_object_set_new(status, "snat", json_pack("{s:i, s:i, s:i, s:i}", "first", snat.first, "last", snat.last,
							      "block", snat.block, "max_blocks", snat.max));
	json_object_set_new(status, "generation", json_integer(v->generation));
	json_object_set_new(o, "status", status);
	return o;
}

/* wanted - by ?mux= (where it is or moves to), ?key= and ?find= (part of its name or address) */
static bool wanted(struct http_request *req, const struct uvip *v)
{
	const char *mux = http_query(req, "mux"), *find = http_query(req, "find");
	const char *key = http_query(req, "key");

	if (key && (key[0] != '0' + (int)v->key || key[1]))
		return false;
	if (mux && strcmp(v->mux, mux) && strcmp(vip_wanted(v), mux))
		return false;
	return !find || strstr(v->text, find) || strcasestr(get_str(v->def, "name", ""), find);
}

/* page_vips - those of a page, each as one() shows it; "next" if there are more */
static void page_vips(struct http_request *req, struct updater *u, const char *name,
		      json_t *(*one)(const struct updater *u, const struct uvip *v))
{
	json_t *list = json_array(), *answer;
	unsigned int i = 0;
	struct page page;
	struct addr a;
	bool found;

	if (api_page(req, &page, PAGE_MAX)) {
		json_decref(list);
		return;
	}
	if (page.after && addr_parse(page.after, &a)) {
		http_problem(req, 400, NULL, "after = \"%s\": must be a VIP", page.after);
		json_decref(list);
		return;
	}
	if (page.after) {
		i = vip_slot(u, &a, &found);
		i += found;
	}
	for (; i < u->n_vips && json_array_size(list) < page.limit; i++)
		if (wanted(req, u->vips[i]))
			json_array_append_new(list, one(u, u->vips[i]));
	answer = json_pack("{s:o}", name, list);
	if (i < u->n_vips && i)
		json_object_set_new(answer, "next", json_string(u->vips[i - 1]->text));
	api_etag(req, u->config_generation);
	http_reply(req, 200, answer);
}

void api_vips_get(struct http_request *req, json_t *body, void *ctx)
{
	page_vips(req, updater_of(ctx), "vips", vip_to_view);
}

void api_vip_get(struct http_request *req, json_t *body, void *ctx)
{
	struct updater *u = updater_of(ctx);
	struct uvip *v = vip_find(u, http_segment(req, 0));

	if (!v) {
		http_problem(req, 404, NULL, "there is no VIP %s", http_segment(req, 0));
		return;
	}
	api_etag(req, v->generation);
	http_reply(req, 200, vip_to_view(u, v));
}

void api_assignment_get(struct http_request *req, json_t *body, void *ctx)
{
	page_vips(req, updater_of(ctx), "assignment", place_of);
}

/* fresh_notes - what a move waits for is newer here than in the store */
static void fresh_notes(struct updater *u, json_t *list)
{
	struct uvip *v;
	json_t *o;
	size_t i;

	json_array_foreach(list, i, o) {
		v = vip_find(u, get_str(o, "vip", NULL));
		if (!v || !v->move || v->move->id != get_u64(o, "id", 0))
			continue;
		json_object_set_new(o, "note", json_string(v->move->note));
		json_object_set_new(o, "waiting", json_boolean(!v->move->active));
	}
}

void api_moves_get(struct http_request *req, json_t *body, void *ctx)
{
	struct updater *u = updater_of(ctx);
	const char *state = http_query(req, "running");
	json_t *list, *answer;
	struct page page;

	if (api_page(req, &page, 50))
		return;
	list = store_moves(u->store, state && strcmp(state, "0"), page.after_id, page.limit);
	if (!list) {
		http_problem(req, 500, NULL, "the store can't be read: see the log");
		return;
	}
	fresh_notes(u, list);
	answer = json_pack("{s:o}", "moves", list);
	if (json_array_size(list) == page.limit)
		json_object_set(answer, "next", json_object_get(json_array_get(list, page.limit - 1), "id"));
	http_reply(req, 200, answer);
}

void api_move_get(struct http_request *req, json_t *body, void *ctx)
{
	struct updater *u = updater_of(ctx);
	const char *text = http_segment(req, 0);
	unsigned long long id;
	json_t *list, *move;
	char *endp;

	id = strtoull(text, &endp, 10);
	move = *endp || !id ? NULL : store_move(u->store, id);
	if (!move) {
		http_problem(req, 404, NULL, "there is no move %s", text);
		return;
	}
	list = json_pack("[O]", move);
	fresh_notes(u, list);
	json_decref(list);
	http_reply(req, 200, move);
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
	json_object_set_new(o, "pending", json_integer(m->full ? m->u->n_vips : json_object_size(m->dirty) + json_object_size(m->urgent)));
	json_object_set(o, "refused", m->refused);
	json_object_set_new(o, "vips", json_integer(json_object_size(m->digests)));
	json_object_set_new(o, "exported", json_integer(json_object_size(m->exported)));
	json_object_set_new(o, "drained", json_boolean(m->drained));
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
	json_t *list = json_array(), *answer;
	struct page page;
	unsigned int i = 0;

	if (api_page(req, &page, PAGE_MAX)) {
		json_decref(list);
		return;
	}
	if (page.after && mux_find(u, page.after))
		i = mux_find(u, page.after) - u->muxes + 1;
	for (; i < u->n_muxes && json_array_size(list) < page.limit; i++)
		json_array_append_new(list, mux_to_view(&u->muxes[i]));
	answer = json_pack("{s:o}", "muxes", list);
	if (i && i < u->n_muxes)
		json_object_set_new(answer, "next", json_string(u->muxes[i - 1].name));
	http_reply(req, 200, answer);
}

/* What the monitor has is asked from it by REST, as everywhere. */
struct forward {
	struct controller *ctl;
	struct http_request *req;
	bool hosts;
};

static json_t *hosts_view(struct updater *u, json_t *model)
{
	json_t *list = json_array(), *o, *answer;
	size_t i;

	json_array_foreach(json_object_get(model, "hosts"), i, o) {
		struct host *h = host_find(u, get_str(o, "name", ""));

		o = json_copy(o);
		if (h) {
			json_object_set_new(o, "told", json_boolean(h->synced));
			json_object_set_new(o, "why", json_string(h->why));
			json_object_set_new(o, "drained", json_boolean(drained(u, "host", h->name) || drained(u, "rack", h->rack)));
		}
		json_array_append_new(list, o);
	}
	answer = json_pack("{s:o}", "hosts", list);
	if (json_object_get(model, "next"))
		json_object_set(answer, "next", json_object_get(model, "next"));
	return answer;
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

	if (f)
		*f = (struct forward){ ctl, req, hosts };
	if (f && !part_call(ctl, ROLE_MONITOR, "GET", path, NULL, 20000, forwarded, f))
		return;
	free(f);
	http_problem(req, 500, NULL, "out of memory");
}

void api_hosts_get(struct http_request *req, json_t *body, void *ctx)
{
	const char *after = http_query(req, "after");
	struct page page;
	char path[256];

	if (api_page(req, &page, PAGE_MAX))
		return;
	snprintf(path, sizeof(path), "/v1/monitor/model?only=hosts&limit=%u&after=%.80s", page.limit, after ? after : "");
	forward(ctx, req, path, true);
}

void api_topology_get(struct http_request *req, json_t *body, void *ctx)
{
	forward(ctx, req, "/v1/topology", false);
}


void api_traffic_get(struct http_request *req, json_t *body, void *ctx)
{
	forward(ctx, req, "/v1/traffic", false);
}
