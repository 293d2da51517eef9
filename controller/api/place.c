// SPDX-License-Identifier: GPL-2.0
/*
 * One VIP's way through the fabric: from where the Internet enters to the muxes
 * that take its packets, and on to the racks of its DIPs; each DIP with its
 * server and its health.
 */
#include "api.h"

#include <string.h>

#define RACKS_MAX 16	/* whose ways are told: each is a search of the whole fabric */

/* servers_of - address in normal form: the server, of all that have one of these addresses */
static json_t *servers_of(struct updater *u, json_t *wanted)
{
	json_t *found = json_object(), *s;
	char text[ADDR_STRLEN];
	struct addr a;
	size_t i;

	json_array_foreach(json_object_get(u->model, "servers"), i, s)
		if (!addr_parse(get_str(s, "address", ""), &a) && json_object_get(wanted, addr_str(&a, text)))
			json_object_set(found, text, s);
	return found;
}

static json_t *addresses_of(const struct uvip *v)
{
	json_t *all = json_object(), *rule, *dip;
	char text[ADDR_STRLEN];
	struct addr a;
	size_t r, d;

	json_array_foreach(json_object_get(v->def, "rules"), r, rule)
		json_array_foreach(json_object_get(rule, "dips"), d, dip)
			if (!addr_parse(get_str(dip, "address", ""), &a))
				json_object_set_new(all, addr_str(&a, text), json_true());
	return all;
}

/* tell_dip - what is known of a DIP of a rule; its rack joins racks */
static json_t *tell_dip(struct updater *u, const struct uvip *v, json_t *dip, unsigned int rule, json_t *servers, json_t *racks)
{
	const char *address = get_str(dip, "address", ""), *state = "up";
	char text[ADDR_STRLEN] = "";
	const struct host *h;
	const struct dip *d;
	json_t *server, *o;
	struct addr a;

	if (!addr_parse(address, &a))
		addr_str(&a, text);
	d = dips_find(&v->dips, text, rule);
	h = host_at(u, text);
	server = json_object_get(servers, text);
	if (!strcmp(get_str(dip, "state", "up"), "down"))
		state = "disabled";
	else if (d && dip_is_down(d))
		state = "down";
	else
		d = NULL;
	o = json_pack("{s:s, s:i, s:I, s:s, s:s}", "address", address, "rule", rule, "weight", (json_int_t)get_u64(dip, "weight", 1),
		      "state", state, "reason", d && d->reason ? d->reason : "");
	json_object_set_new(o, "since-ms", d && d->since_ms ? json_integer(d->since_ms) : json_null());
	tell_server(o, server, h);
	if (server)
		json_object_set_new(racks, get_str(server, "switch", ""), json_true());
	return o;
}

/* ways_out - from the muxes to each of the racks, as many as are told */
static json_t *ways_out(struct updater *u, json_t *from, json_t *racks)
{
	json_t *ways = json_array(), *rack;
	unsigned int n = 0;
	const char *name;

	json_object_foreach(racks, name, rack) {
		json_t *to, *way;

		if (n++ == RACKS_MAX)
			break;
		to = json_pack("[s]", name);
		way = way_of(u, from, to);
		json_array_extend(ways, way);
		json_decref(way);
		json_decref(to);
	}
	return ways;
}

void api_vip_way_get(struct http_request *req, json_t *body, void *ctx)
{
	struct updater *u = ((struct controller *)ctx)->updater;
	struct uvip *v = vip_find(u, http_segment(req, 0));
	json_t *o, *dips, *racks, *wanted, *servers, *muxes, *from, *to, *rule, *dip, *s;
	size_t r, d, n;

	if (!v) {
		http_problem(req, 404, NULL, "there is no VIP %s", http_segment(req, 0));
		return;
	}
	wanted = addresses_of(v);
	servers = servers_of(u, wanted);
	racks = json_object();
	dips = json_array();
	json_array_foreach(json_object_get(v->def, "rules"), r, rule)
		json_array_foreach(json_object_get(rule, "dips"), d, dip)
			json_array_append_new(dips, tell_dip(u, v, dip, r, servers, racks));
	muxes = muxes_of(u, v);
	to = racks_of(u, muxes);
	from = enters(u, NULL, &s);
	n = json_object_size(racks);
	o = json_pack("{s:s, s:s, s:s, s:o, s:o}", "vip", v->text, "name", get_str(v->def, "name", ""), "mux", v->mux,
		      "muxes", muxes, "dips", dips);
	json_object_set_new(o, "way-in", way_of(u, from, to));
	json_object_set_new(o, "way-out", ways_out(u, to, racks));
	json_object_set_new(o, "racks", json_integer(n));
	json_object_set_new(o, "racks-told", json_integer(n < RACKS_MAX ? n : RACKS_MAX));
	http_reply(req, 200, o);
	json_decref(from);
	json_decref(to);
	json_decref(racks);
	json_decref(servers);
	json_decref(wanted);
}
