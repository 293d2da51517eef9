// SPDX-License-Identifier: GPL-2.0
/*
 * Changes of the configuration. A request is checked whole before any of it
 * is used, and what follows from it is one transaction. A change of a VIP's
 * provisioned DIPs becomes a move through the SMuxes; of anything else it is
 * in force at once.
 */
#include "api.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* struct change - what one request came to */
struct change {
	struct updater *u;
	json_t *added, *changed, *removed, *moves;
	unsigned int unchanged;
	uint64_t wave;
};

static void change_begin(struct change *c, struct updater *u)
{
	*c = (struct change){ .u = u,
			      .added = json_array(),
			      .changed = json_array(),
			      .removed = json_array(),
			      .moves = json_array() };
	updater_begin(u);
	u->config_generation++;
	store_set(u->store, "config", u->config_generation);
}

static void move(struct change *c, struct uvip *v, enum move_kind kind, const char *to, json_t *def)
{
	struct move *mv;

	if (!c->wave)
		c->wave = store_wave(c->u->store);
	mv = move_new(c->u, v, kind, to, def, c->wave);
	if (mv)
		json_array_append_new(c->moves, json_integer(mv->id));
}

/* latest - the definition that is or will be in force */
static json_t *latest(const struct uvip *v)
{
	return v->move && v->move->def && v->move->state < MOVE_SWITCHING ? v->move->def : v->def;
}

/* replace - def's reference is taken */
static void replace(struct change *c, struct uvip *v, json_t *def)
{
	struct vip *a = NULL, *b = NULL;
	enum vip_diff diff = VIP_CONFIG;
	struct err e;

	if (json_equal(latest(v), def) && !(v->move && v->move->kind == MOVE_DELETE)) {
		c->unchanged++;
		json_decref(def);
		return;
	}
	json_array_append_new(c->changed, json_string(v->text));
	if (!vip_from_json(v->def, &a, &e) && !vip_from_json(def, &b, &e))
		diff = vip_compare(a, b);
	vip_free(a);
	vip_free(b);
	if (diff == VIP_CONFIG || v->move) {
		move(c, v, MOVE_CHANGE, vip_wanted(v), def);
		return;
	}
	hosts_touch(c->u, v->def);
	vip_adopt(c->u, v, def);
	if (diff == VIP_STATES)
		vips_touch(c->u, v, false);
	hosts_touch(c->u, v->def);
}

static void add(struct change *c, json_t *def)
{
	struct uvip *v = vip_add(c->u, def);

	if (!v) {
		return;
	}
	json_array_append_new(c->added, json_string(v->text));
	store_event(c->u->store, "vip-added", v->text, "%s", get_str(def, "name", ""));
	hosts_touch(c->u, def);
	vips_touch(c->u, v, false);
}

static void put(struct change *c, json_t *def)
{
	struct uvip *v = vip_find(c->u, get_str(def, "vip", NULL));

	if (v)
		replace(c, v, def);
	else
		add(c, def);
}

static void drop(struct change *c, struct uvip *v)
{
	if (v->move && v->move->kind == MOVE_DELETE)
		return;
	json_array_append_new(c->removed, json_string(v->text));
	move(c, v, MOVE_DELETE, SMUX, NULL);
}

/* first_configuration - from now on agents are told, not only looked at */
static void first_configuration(struct updater *u)
{
	unsigned int i;

	if (u->configured)
		return;
	u->configured = true;
	for (i = 0; i < u->n_muxes; i++)
		mux_kick(&u->muxes[i]);
	for (i = 0; i < u->n_hosts; i++)
		host_touch(&u->hosts[i]);
}

static void change_end(struct change *c, struct http_request *req, unsigned int status)
{
	struct updater *u = c->u;
	char text[128];
	json_t *answer;
	bool news = json_array_size(c->added) || json_array_size(c->changed) || json_array_size(c->removed);

	snprintf(text, sizeof(text), "%zu VIPs added, %zu changed, %zu removed", json_array_size(c->added),
		 json_array_size(c->changed), json_array_size(c->removed));
	if (!u->configured)
		store_set(u->store, "configured", 1);
	if (news)
		api_audit(u, req, text);
	answer = json_pack("{s:o, s:o, s:o, s:i, s:o, s:I}", "added", c->added, "changed", c->changed,
			   "removed", c->removed, "unchanged", c->unchanged, "moves", c->moves, "generation",
			   (json_int_t)u->config_generation);
	if (updater_commit(u)) {
		json_decref(answer);
		api_not_kept(u, req);
		return;
	}
	first_configuration(u);
	moves_run(u);
	if (news && u->control.assign_on_change)
		assign_soon(u, "change");
	api_etag(req, u->config_generation);
	http_reply(req, status, answer);
}

static bool ready(struct updater *u, struct http_request *req)
{
	if (u->model)
		return true;
	http_problem(req, 503, NULL, "the topology is not known yet");
	return false;
}

/* check_all - list of normal definitions; a VIP twice is refused */
static json_t *check_all(struct updater *u, json_t *vips, json_t *seen, struct err *e)
{
	json_t *list = json_array(), *vip, *def;
	size_t i;

	json_array_foreach(vips, i, vip) {
		if (vip_check(u, vip, &def, e))
			goto err_list;
		json_array_append_new(list, def);
		if (json_object_get(seen, get_str(def, "vip", ""))) {
			err_set(e, -EINVAL, "VIP %s is given twice", get_str(def, "vip", ""));
			goto err_list;
		}
		json_object_set_new(seen, get_str(def, "vip", ""), json_true());
	}
	return list;

err_list:
	json_decref(list);
	return NULL;
}

/* the configuration as it was given: what PUT takes */
void api_config_get(struct http_request *req, json_t *body, void *ctx)
{
	struct updater *u = ((struct controller *)ctx)->updater;
	json_t *list = json_array();
	unsigned int i;

	for (i = 0; i < u->n_vips; i++)
		if (!(u->vips[i]->move && u->vips[i]->move->kind == MOVE_DELETE))
			json_array_append(list, latest(u->vips[i]));
	api_etag(req, u->config_generation);
	http_reply(req, 200, json_pack("{s:o}", "vips", list));
}

void api_config_put(struct http_request *req, json_t *body, void *ctx)
{
	struct updater *u = ((struct controller *)ctx)->updater;
	json_t *vips = json_object_get(body, "vips"), *seen, *list, *def;
	struct change c;
	struct err e;
	unsigned int n;
	size_t i;

	if (!ready(u, req))
		return;
	if (!json_is_array(vips)) {
		http_problem(req, 400, NULL, "a configuration is an object with a list \"vips\"");
		return;
	}
	seen = json_object();
	list = check_all(u, vips, seen, &e);
	if (!list) {
		http_problem(req, 422, NULL, "%s", e.text);
		json_decref(seen);
		return;
	}
	if (api_match(req, u->config_generation)) {
		json_decref(list);
		json_decref(seen);
		return;
	}
	change_begin(&c, u);
	json_array_foreach(list, i, def)
		put(&c, json_incref(def));
	for (n = 0; n < u->n_vips; n++)
		if (!json_object_get(seen, u->vips[n]->text))
			drop(&c, u->vips[n]);
	json_decref(list);
	json_decref(seen);
	change_end(&c, req, 200);
}

void api_vip_put(struct http_request *req, json_t *body, void *ctx)
{
	struct updater *u = ((struct controller *)ctx)->updater;
	const char *address = http_segment(req, 0);
	struct addr a, b;
	struct change c;
	struct err e;
	json_t *def;

	if (!ready(u, req))
		return;
	if (!json_is_object(body)) {
		http_problem(req, 400, NULL, "a VIP is an object");
		return;
	}
	if (!json_object_get(body, "vip"))
		json_object_set_new(body, "vip", json_string(address));
	if (vip_check(u, body, &def, &e)) {
		http_problem(req, 422, NULL, "%s", e.text);
		return;
	}
	addr_parse(get_str(def, "vip", ""), &b);
	if (addr_parse(address, &a) || addr_cmp(&a, &b)) {
		http_problem(req, 422, NULL,
			     "the definition is of VIP %s, the address in the URL is %s",
			     get_str(def, "vip", ""), address);
		json_decref(def);
		return;
	}
	if (api_match(req, vip_find(u, address) ? vip_find(u, address)->generation : 0)) {
		json_decref(def);
		return;
	}
	change_begin(&c, u);
	put(&c, def);
	change_end(&c, req, 200);
}

void api_vip_delete(struct http_request *req, json_t *body, void *ctx)
{
	struct updater *u = ((struct controller *)ctx)->updater;
	struct uvip *v = vip_find(u, http_segment(req, 0));
	struct change c;

	if (!ready(u, req))
		return;
	if (!v) {
		http_problem(req, 404, NULL, "there is no VIP %s", http_segment(req, 0));
		return;
	}
	if (api_match(req, v->generation))
		return;
	change_begin(&c, u);
	drop(&c, v);
	change_end(&c, req, 202);
}
