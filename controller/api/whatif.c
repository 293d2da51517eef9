// SPDX-License-Identifier: GPL-2.0
/*
 * What if: muxes go, VIPs get other traffic. The plan comes from the engine as
 * any other (assign.c), once for things as they are and once for what is
 * supposed; here stands what may be asked, and what the second says that the
 * first did not: which VIPs move, which have no switch, what the SMuxes carry.
 */
#include "api.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define FACTOR_MAX 1e6

static int check_vip(struct updater *u, const char *name, json_t *what, json_t *vips, struct err *e)
{
	struct uvip *v = vip_find(u, name);
	json_t *mbps = json_object_get(what, "mbps"), *factor = json_object_get(what, "factor");
	double f = json_number_value(factor);
	bool ok;

	if (!v)
		return err_set(e, -ENOENT, "VIP %.64s: there is none", name);
	ok = json_is_null(what) ||
	     (json_object_size(what) == 1 && ((json_is_number(mbps) && mbps_good(json_number_value(mbps))) ||
					      (json_is_number(factor) && f >= 0 && f <= FACTOR_MAX)));
	if (!ok)
		return err_set(e, -ENOENT, "VIP %s: what is supposed of it is {\"mbps\": N}, {\"factor\": N}, or null for gone",
			       v->text);
	json_object_set(vips, v->text, what);
	return 0;
}

bool is_without(const char *name, void *without)
{
	json_t *s;
	size_t i;

	json_array_foreach((json_t *)without, i, s)
		if (!strcmp(json_string_value(s), name))
			return true;
	return false;
}

/* with_racks - a switch that goes takes the SMuxes of its rack along; new reference */
static json_t *with_racks(struct updater *u, json_t *without)
{
	json_t *all = json_copy(without);
	unsigned int i;

	for (i = 0; i < u->n_muxes; i++) {
		const struct mux *m = &u->muxes[i];

		if (m->smux && !is_without(m->name, all) && is_without(api_rack_of(u, m->name), without))
			json_array_append_new(all, json_string(m->name));
	}
	return all;
}

int what_if_check(struct updater *u, json_t *body, json_t **normal, struct err *e)
{
	json_t *without = json_object_get(body, "without"), *vips = json_object_get(body, "vips"),
	       *options = json_object_get(body, "options"), *list = json_object(), *v;
	const char *name;
	int ret = 0;
	size_t i;

	if (!json_is_object(body) || (without && !json_is_array(without)) || (vips && !json_is_object(vips)) ||
	    (options && !json_is_object(options))) {
		ret = err_set(e, -EINVAL, "\"without\" is a list of switches and SMuxes, \"vips\" an object: VIP and {\"mbps\": N}, "
			      "{\"factor\": N} or null for one that is gone, \"options\" an object");
		goto err_list;
	}
	json_object_foreach(body, name, v)
		if (strcmp(name, "without") && strcmp(name, "vips") && strcmp(name, "options")) {
			ret = err_set(e, -EINVAL, "there is no such member as \"%.64s\"", name);
			goto err_list;
		}
	json_array_foreach(without, i, v)
		if (!json_is_string(v) || !mux_find(u, json_string_value(v))) {
			ret = err_set(e, -ENOENT, "there is no switch or SMux \"%.64s\" with a mux agent",
				      json_is_string(v) ? json_string_value(v) : "?");
			goto err_list;
		}
	json_object_foreach(vips, name, v) {
		ret = check_vip(u, name, v, list, e);
		if (ret)
			goto err_list;
	}
	*normal = json_pack("{s:o}", "vips", list);
	if (without)
		json_object_set_new(*normal, "without", with_racks(u, without));
	if (options)
		json_object_set(*normal, "options", options);
	return 0;

err_list:
	json_decref(list);
	return ret;
}

/* most_used - in words */
static void most_used(json_t *plan, char *buf, size_t size)
{
	double mru = get_num(plan, "mru", 0), most = -1;
	json_t *l, *link = NULL;
	size_t i;

	json_array_foreach(json_object_get(plan, "links"), i, l)
		if (get_num(l, "utilisation", 0) > most) {
			most = get_num(l, "utilisation", 0);
			link = l;
		}
	if (link && most > mru - 1e-6)
		snprintf(buf, size, "link %s - %s", get_str(link, "a", ""), get_str(link, "b", ""));
	else
		snprintf(buf, size, "a switch's tables");
}

static json_t *use_of(json_t *plan)
{
	char text[256];

	most_used(plan, text, sizeof(text));
	return json_pack("{s:f, s:s}", "mru", get_num(plan, "mru", 0), "most-used", text);
}

/* smuxes - how many would be left, what they may carry, what rests on them, what falls on them at first */
static json_t *smuxes(struct updater *u, json_t *without, double before, double after, double falls)
{
	unsigned int i, total = 0, left = 0;
	double mbps = smux_capacity(u, is_without, without);

	for (i = 0; i < u->n_muxes; i++) {
		const struct mux *m = &u->muxes[i];

		total += m->smux;
		left += m->smux && !mux_lost(m) && !m->drained && !m->fenced && !is_without(m->name, without);
	}
	return json_pack("{s:i, s:i, s:o, s:f, s:f, s:f, s:b}", "total", total, "left", left, "mbps",
			 mbps > 0 ? json_real(mbps) : json_null(), "before-mbps", before, "after-mbps", after, "falls-mbps", falls,
			 "enough", left && (mbps <= 0 || (after + falls <= mbps && after <= mbps)));
}

void what_if_tell(struct updater *u, const struct what_if *w, json_t *without, json_t *plan)
{
	json_t *moves = json_array(), *none = json_array(), *item, *one;
	double before = 0, after = 0, falls = 0;
	unsigned int k;
	size_t i;

	for (k = 0; k < u->n_vips; k++)
		before += strcmp(vip_wanted(u->vips[k]), SMUX) ? 0 : vip_mbps(u->vips[k]);
	json_array_foreach(json_object_get(plan, "assignment"), i, item) {
		const char *vip = get_str(item, "vip", ""), *to = get_str(item, "mux", SMUX);
		const char *from = get_str(w->current, vip, SMUX);
		double mbps = get_num(json_object_get(json_array_get(w->vips, i), "traffic"), "mbps", 0);

		after += !strcmp(to, SMUX) ? mbps : 0;
		/* until it is placed anew; what rests there in the end is counted already */
		falls += is_without(from, without) && strcmp(to, SMUX) ? mbps : 0;
		one = json_pack("{s:s, s:s, s:s, s:s, s:f, s:O, s:s}", "vip", vip, "name", get_str(item, "name", ""), "from", from,
				"to", to, "mbps", mbps, "mru", json_object_get(item, "mru"), "reason", get_str(item, "reason", ""));
		if (!strcmp(to, SMUX))
			json_array_append(none, one);
		if (strcmp(from, to))
			json_array_append(moves, one);
		json_decref(one);
	}
	json_object_set_new(plan, "before", use_of(w->before));
	json_object_set_new(plan, "after", use_of(plan));
	json_object_set_new(plan, "moves", moves);
	json_object_set_new(plan, "without-hmux", none);
	json_object_set_new(plan, "smuxes", smuxes(u, without, before, after, falls));
}
