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

#include "gate.h"

/* struct change - what one request came to */
struct change {
	struct updater *u;
	json_t *added, *changed, *removed, *moves;
	unsigned int unchanged;
	uint64_t wave;
	bool settings;		/* they have changed */
	bool many;		/* more new VIPs than are held back for their hosts: none is */
};

static void change_begin(struct change *c, struct updater *u)
{
	*c = (struct change){ .u = u,
			      .added = json_array(),
			      .changed = json_array(),
			      .removed = json_array(),
			      .moves = json_array() };
	updater_begin(u);
	u->config_generation++;	/* taken back if nothing has changed */
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

static bool other_policy(json_t *a, json_t *b)
{
	json_t *x = json_object_get(a, "health"), *y = json_object_get(b, "health");

	return (x || y) && !json_equal(x, y);
}

/* replace - def's reference is taken */
static void replace(struct change *c, struct uvip *v, json_t *def)
{
	enum vip_diff diff;
	bool policy;

	if (json_equal(vip_latest(v), def) && !(v->move && v->move->kind == MOVE_DELETE)) {
		c->unchanged++;
		json_decref(def);
		return;
	}
	json_array_append_new(c->changed, json_string(v->text));
	diff = vip_differs(v, def, true);
	if (diff == VIP_CONFIG || v->move) {
		move(c, v, MOVE_CHANGE, vip_wanted(v), def);
		return;
	}
	policy = other_policy(v->def, def);
	hosts_touch(c->u, v->def);
	vip_adopt(c->u, v, def);
	if (health_ease(c->u, v) || diff == VIP_STATES || policy)
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
	if (!c->many)
		vip_fresh(c->u, v);
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
	bool news = json_array_size(c->added) || json_array_size(c->changed) || json_array_size(c->removed) || c->settings;

	snprintf(text, sizeof(text), "%zu VIPs added, %zu changed, %zu removed%s", json_array_size(c->added),
		 json_array_size(c->changed), json_array_size(c->removed), c->settings ? ", settings" : "");
	if (news)
		store_set(u->store, "config", u->config_generation);
	else
		u->config_generation--;
	if (!u->configured)
		store_set(u->store, "configured", 1);
	if (news)
		api_audit(u, req, text);
	answer = json_pack("{s:o, s:o, s:o, s:i, s:o, s:b, s:I}", "added", c->added, "changed", c->changed,
			   "removed", c->removed, "unchanged", c->unchanged, "moves", c->moves, "settings-changed",
			   c->settings, "generation", (json_int_t)u->config_generation);
	if (updater_commit(u)) {
		json_decref(answer);
		api_not_kept(u, req);
		return;
	}
	first_configuration(u);
	if (c->settings) {
		assign_schedule(u);
		snat_settings(u);
	}
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

static const char *command_of(json_t *rule)
{
	json_t *check = json_object_get(rule, "check");

	return strcmp(get_str(check, "type", ""), "command") ? NULL : get_str(check, "command", "");
}

/* is_command - is there such a check in a definition */
static bool is_command(json_t *def, const char *command)
{
	json_t *rule;
	size_t r;

	json_array_foreach(json_object_get(def, "rules"), r, rule)
		if (command_of(rule) && !strcmp(command_of(rule), command))
			return true;
	return false;
}

/* may_command - hosts run commands of checks: who brings in a new one must be admin; false: answered */
static bool may_command(struct http_request *req, struct updater *u, json_t *def)
{
	struct uvip *v = vip_find(u, get_str(def, "vip", NULL));
	json_t *rule;
	size_t r;

	json_array_foreach(json_object_get(def, "rules"), r, rule) {
		const char *command = command_of(rule);

		if (!command || (v && is_command(vip_latest(v), command)) ||
		    http_may(req, RIGHT_ADMIN))
			continue;
		http_problem(req, 403, NULL, "VIP %s, rule %zu: hosts run the command of a check: a new one needs the role "
			     "admin, which %s has not", get_str(def, "vip", ""), r + 1, http_peer_name(req));
		return false;
	}
	return true;
}

/* unchanged - the definition that is there already, if this is it to the letter: whoever applies a whole configuration
 * changes little of it
 */
static json_t *unchanged(struct updater *u, json_t *vip)
{
	struct uvip *v = vip_find(u, get_str(vip, "vip", NULL));

	return v && json_equal(vip_latest(v), vip) ? json_incref(vip_latest(v)) : NULL;
}

/* check_all - list of normal definitions; a VIP twice is refused */
static json_t *check_all(struct updater *u, json_t *vips, json_t *seen, struct err *e)
{
	json_t *list = json_array(), *vip, *def;
	size_t i;

	json_array_foreach(vips, i, vip) {
		def = unchanged(u, vip);
		if (!def && vip_check(u, vip, &def, e))
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

/* config_settings - all but the stop switch, which is for emergencies and not for files */
json_t *config_settings(const struct updater *u)
{
	json_t *settings = control_json(u);

	json_object_del(settings, "stop");
	return settings;
}

int config_check(struct updater *u, json_t *body, json_t **list, json_t *seen, struct err *e)
{
	json_t *vips = json_object_get(body, "vips"), *settings = json_object_get(body, "settings"), *v;
	const char *name;
	int ret;

	json_object_foreach(body, name, v)
		if (strcmp(name, "vips") && strcmp(name, "settings"))
			return err_set(e, -EINVAL, "a configuration has \"vips\" and \"settings\", and no \"%.64s\"", name);
	if (!json_is_array(vips))
		return err_set(e, -EBADMSG, "a configuration is an object with a list \"vips\"");
	ret = settings ? control_check(settings, e) : 0;
	if (ret)
		return ret;
	if (json_object_get(settings, "stop"))
		return err_set(e, -EINVAL, "\"stop\" is no configuration: duetctl stop, duetctl resume");
	*list = check_all(u, vips, seen, e);
	return *list ? 0 : -EINVAL;
}

/* the configuration as it was given: what PUT takes */
void api_config_get(struct http_request *req, json_t *body, void *ctx)
{
	struct updater *u = ((struct controller *)ctx)->updater;
	json_t *list = json_array();
	unsigned int i;

	for (i = 0; i < u->n_vips; i++)
		if (!(u->vips[i]->move && u->vips[i]->move->kind == MOVE_DELETE))
			json_array_append(list, vip_latest(u->vips[i]));
	api_etag(req, u->config_generation);
	http_reply(req, 200, json_pack("{s:o, s:o}", "settings", config_settings(u), "vips", list));
}

/* checked - the request's VIPs in normal form, or NULL and it is answered */
static json_t *checked(struct http_request *req, struct updater *u, json_t *body, json_t *seen)
{
	json_t *list, *def;
	struct err e;
	size_t i;
	int ret;

	if (!ready(u, req))
		return NULL;
	ret = config_check(u, body, &list, seen, &e);
	if (!ret) {
		json_array_foreach(list, i, def)
			if (!may_command(req, u, def)) {
				json_decref(list);
				return NULL;
			}
		return list;
	}
	http_problem(req, ret == -EBADMSG ? 400 : 422, NULL, "%s", e.text);
	return NULL;
}

static void put_settings(struct change *c, json_t *settings)
{
	json_t *now = control_json(c->u), *v;
	const char *name;

	json_object_foreach(settings, name, v)
		c->settings |= !json_equal(v, json_object_get(now, name));
	json_decref(now);
	if (c->settings)
		control_set(c->u, settings);
}

void api_config_put(struct http_request *req, json_t *body, void *ctx)
{
	struct updater *u = ((struct controller *)ctx)->updater;
	json_t *seen = json_object(), *list = checked(req, u, body, seen), *def;
	unsigned int n, new = 0;
	struct change c;
	size_t i;

	if (!list || api_match(req, u->config_generation))
		goto out;
	json_array_foreach(list, i, def)
		new += !vip_find(u, get_str(def, "vip", NULL));
	change_begin(&c, u);
	c.many = new > FRESH_MAX;
	put_settings(&c, json_object_get(body, "settings"));
	json_array_foreach(list, i, def)
		put(&c, json_incref(def));
	for (n = 0; n < u->n_vips; n++)
		if (!json_object_get(seen, u->vips[n]->text))
			drop(&c, u->vips[n]);
	change_end(&c, req, 200);
out:
	json_decref(list);
	json_decref(seen);
}

/* old, new: what is there and what would be; NULL: nothing */
static void differ(json_t *changes, const char *vip, json_t *old, json_t *new)
{
	json_t *o = vip ? json_pack("{s:s}", "vip", vip) : json_object();

	json_object_set_new(o, "old", old ? json_incref(old) : json_null());
	json_object_set_new(o, "new", new ? json_incref(new) : json_null());
	json_array_append_new(changes, o);
}

/* differ_settings - of those that the request has */
static void differ_settings(json_t *changes, struct updater *u, json_t *settings)
{
	json_t *now = config_settings(u), *old = json_object(), *new = json_object(), *v;
	const char *name;

	json_object_foreach(settings, name, v)
		if (!json_equal(v, json_object_get(now, name))) {
			json_object_set(old, name, json_object_get(now, name));
			json_object_set(new, name, v);
		}
	if (json_object_size(new))
		differ(changes, NULL, old, new);
	json_decref(now);
	json_decref(old);
	json_decref(new);
}

/* what a PUT of the same would change */
void api_config_diff(struct http_request *req, json_t *body, void *ctx)
{
	struct updater *u = ((struct controller *)ctx)->updater;
	json_t *seen = json_object(), *list = checked(req, u, body, seen), *changes, *def;
	unsigned int n;
	size_t i;

	if (!list)
		goto out;
	changes = json_array();
	differ_settings(changes, u, json_object_get(body, "settings"));
	json_array_foreach(list, i, def) {
		struct uvip *v = vip_find(u, get_str(def, "vip", NULL));
		bool there = v && !(v->move && v->move->kind == MOVE_DELETE);

		if (!there || !json_equal(vip_latest(v), def))
			differ(changes, get_str(def, "vip", ""), there ? vip_latest(v) : NULL, def);
	}
	for (n = 0; n < u->n_vips; n++) {
		struct uvip *v = u->vips[n];

		if (!json_object_get(seen, v->text) && !(v->move && v->move->kind == MOVE_DELETE))
			differ(changes, v->text, vip_latest(v), NULL);
	}
	http_reply(req, 200, json_pack("{s:o, s:I}", "changes", changes, "generation", (json_int_t)u->config_generation));
out:
	json_decref(list);
	json_decref(seen);
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
	if (!may_command(req, u, def) || api_match(req, vip_find(u, address) ? vip_find(u, address)->generation : 0)) {
		json_decref(def);
		return;
	}
	change_begin(&c, u);
	put(&c, def);
	change_end(&c, req, 200);
}

void api_dip_weight(struct http_request *req, struct updater *u, const struct uvip *v, const char *dip, json_int_t weight)
{
	json_t *def = json_deep_copy(vip_latest(v)), *checked_def, *rule, *one;
	struct change c;
	struct err e;
	size_t r, i;
	int ret;

	json_array_foreach(json_object_get(def, "rules"), r, rule)
		json_array_foreach(json_object_get(rule, "dips"), i, one)
			if (!strcmp(get_str(one, "address", ""), dip))
				json_object_set_new(one, "weight", json_integer(weight));
	ret = vip_check(u, def, &checked_def, &e);
	json_decref(def);
	if (ret) {
		http_problem(req, 422, NULL, "%s", e.text);
		return;
	}
	change_begin(&c, u);
	put(&c, checked_def);
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
