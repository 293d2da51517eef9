// SPDX-License-Identifier: GPL-2.0
/*
 * The engine's JSON: a model as the monitor tells it and VIPs as the operator
 * wrote them become a struct engine_model; the engine's choices become an
 * assignment with a reason in words for every VIP.
 */
#include "plan.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "addr.h"
#include "../common.h"
#include "engine.h"

#define SHARE_MAX 1000 /* a share is of 1; a factor of this size is a slip, not a workload */
#define ROUNDS_MAX 20
#define MBPS_MIN 0.001 /* of a link: below, shares of it are no numbers any more */

/* struct input - the model being built and the names it is built by */
struct input {
	struct engine_model model;
	struct engine_options options;
	json_t *switches;    /* name: index; owned */
	json_t *racks;	     /* server address: switch index; owned */
	json_t *dips;	     /* DIP address: number; owned */
	json_t *seen;	     /* VIPs read so far; owned */
	unsigned int *cores; /* where the Internet enters */
	unsigned int n_cores;
	char (*why)[160]; /* per VIP: room for engine_vip.unplaceable */
};

static void input_free(struct input *in)
{
	unsigned int i;

	for (i = 0; in->model.vips && i < in->model.n_vips; i++) {
		free(in->model.vips[i].from);
		free(in->model.vips[i].to);
		free(in->model.vips[i].dips);
		free(in->model.vips[i].dip_node);
	}
	free(in->model.vips);
	free(in->model.links);
	free(in->model.switches);
	free(in->cores);
	free(in->why);
	json_decref(in->switches);
	json_decref(in->racks);
	json_decref(in->dips);
	json_decref(in->seen);
}

/* switch_index - of a name; -1 if there is none */
static int switch_index(const struct input *in, const char *name)
{
	json_t *i = name ? json_object_get(in->switches, name) : NULL;

	return i ? (int)json_integer_value(i) : -1;
}

static bool excluded(json_t *options, const char *name)
{
	json_t *list = json_object_get(options, "exclude"), *item;
	size_t i;

	json_array_foreach(list, i, item)
		if (json_is_string(item) && !strcmp(json_string_value(item), name))
			return true;
	return false;
}

static enum engine_tier tier_of(const char *role)
{
	if (!strcmp(role, "tor"))
		return ENGINE_TOR;
	if (!strcmp(role, "agg"))
		return ENGINE_AGG;
	if (!strcmp(role, "border"))
		return ENGINE_BORDER;
	return strcmp(role, "core") ? ENGINE_OTHER : ENGINE_CORE;
}

static int read_switches(struct input *in, json_t *model, json_t *options, struct err *e)
{
	json_t *list = json_object_get(model, "switches"), *item, *tables;
	size_t i, n = json_array_size(list);
	int border = -1;

	in->model.switches = calloc(n + 1, sizeof(*in->model.switches));
	in->cores = calloc(n + 1, sizeof(*in->cores));
	if (!in->model.switches || !in->cores)
		return err_set(e, -ENOMEM, "out of memory");
	json_array_foreach(list, i, item) {
		struct engine_switch *s = &in->model.switches[i];

		s->name = get_str(item, "name", NULL);
		if (!s->name)
			return err_set(e, -EINVAL, "model: switch %zu has no name", i + 1);
		if (switch_index(in, s->name) >= 0)
			return err_set(e, -EINVAL, "model: switch %s is there twice", s->name);
		tables = json_object_get(item, "tables");
		s->candidate = json_is_true(json_object_get(item, "candidate")) &&
			       !excluded(options, s->name);
		s->failed = json_is_true(json_object_get(item, "failed"));
		s->hosts = get_u64(tables, "hosts", 0);
		s->rules = get_u64(tables, "rules", 0);
		s->members = get_u64(tables, "members", 0);
		s->tunnels = get_u64(tables, "tunnels", 0);
		s->tier = tier_of(get_str(item, "role", ""));
		if (s->tier == ENGINE_CORE && !s->failed)
			in->cores[in->n_cores++] = i;
		if (s->tier == ENGINE_BORDER)
			border = i;
		json_object_set_new(in->switches, s->name, json_integer(i));
	}
	in->model.n_switches = n;
	/* a border router is where the Internet enters; without one, at the cores that are there */
	if (border >= 0) {
		in->cores[0] = border;
		in->n_cores = 1;
	}
	return 0;
}

static int read_links(struct input *in, json_t *model, struct err *e)
{
	json_t *list = json_object_get(model, "links"), *item;
	size_t i, n = json_array_size(list);

	in->model.links = calloc(n + 1, sizeof(*in->model.links));
	if (!in->model.links)
		return err_set(e, -ENOMEM, "out of memory");
	json_array_foreach(list, i, item) {
		const char *a = get_str(item, "a", NULL), *b = get_str(item, "b", NULL);
		int ia = switch_index(in, a), ib = switch_index(in, b);
		double mbps = get_num(item, "mbps", 0);

		if (ia < 0 || ib < 0)
			return err_set(e, -EINVAL, "model: link %zu: no switch %s", i + 1,
				       ia < 0 ? (a ? a : "at a") : (b ? b : "at b"));
		if (!(mbps >= MBPS_MIN) || mbps > ENGINE_MBPS_MAX)
			return err_set(
				e, -EINVAL,
				"model: link %s - %s: its \"mbps\" must be above 0, at most %.0f", a,
				b, ENGINE_MBPS_MAX);
		in->model.links[i] = (struct engine_link){
			.a = ia,
			.b = ib,
			.mbps = mbps,
			.failed = json_is_true(json_object_get(item, "failed")),
		};
	}
	in->model.n_links = n;
	return 0;
}

static int read_servers(struct input *in, json_t *model, struct err *e)
{
	char key[ADDR_STRLEN];
	struct addr a;
	json_t *item;
	size_t i;

	json_array_foreach(json_object_get(model, "servers"), i, item) {
		const char *address = get_str(item, "address", NULL);
		int s = switch_index(in, get_str(item, "switch", NULL));

		if (!address || addr_parse(address, &a) || s < 0)
			return err_set(e, -EINVAL,
				       "model: server %s: no address, or no switch of its own",
				       get_str(item, "name", "?"));
		json_object_set_new(in->racks, addr_str(&a, key), json_integer(s));
	}
	return 0;
}

/* share_add - more traffic at a node; nodes are few, so a list will do */
static void share_add(struct engine_share *list, unsigned int *n, unsigned int node, double share)
{
	unsigned int i;

	for (i = 0; i < *n; i++)
		if (list[i].node == node)
			break;
	if (i == *n)
		list[(*n)++] = (struct engine_share){ .node = node };
	list[i].share += share;
}

static void internet_add(const struct input *in, struct engine_vip *v, double share)
{
	unsigned int i;

	for (i = 0; i < in->n_cores; i++)
		share_add(v->from, &v->n_from, in->cores[i], share / in->n_cores);
}

/* read_sources - a source is a switch's name or "internet"; none told: all Internet */
static int read_sources(struct input *in, json_t *vip, struct engine_vip *v, struct err *e)
{
	json_t *traffic = json_object_get(vip, "traffic"),
	       *sources = json_object_get(traffic, "sources");
	const char *name;
	json_t *value;

	v->mbps = get_num(traffic, "mbps", 0);
	if (!(v->mbps >= 0) || v->mbps > ENGINE_MBPS_MAX)
		return err_set(e, -EINVAL, "VIP %s: its traffic is from 0 to %.0f Mbps", v->vip,
			       ENGINE_MBPS_MAX);
	v->from = calloc(json_object_size(sources) + in->n_cores + 1, sizeof(*v->from));
	if (!v->from)
		return err_set(e, -ENOMEM, "out of memory");
	if (!json_object_size(sources))
		internet_add(in, v, 1);
	json_object_foreach(sources, name, value) {
		int s = switch_index(in, name);

		if (!(json_number_value(value) >= 0) || json_number_value(value) > SHARE_MAX)
			return err_set(e, -EINVAL,
				       "VIP %s: the share of traffic source \"%.60s\" is from 0 to %d",
				       v->vip, name, SHARE_MAX);
		if (!strcmp(name, "internet"))
			internet_add(in, v, json_number_value(value));
		else if (s < 0)
			return err_set(
				e, -EINVAL,
				"VIP %s: traffic source \"%s\" is neither a switch nor \"internet\"",
				v->vip, name);
		else
			share_add(v->from, &v->n_from, s, json_number_value(value));
	}
	return 0;
}

/* dip_number - the same number for the same address, however it is written */
static uint32_t dip_number(struct input *in, const char *key)
{
	json_t *known = json_object_get(in->dips, key);

	if (!known) {
		known = json_integer(in->model.n_dips++);
		json_object_set_new(in->dips, key, known);
	}
	return json_integer_value(known);
}

/* read_rule - its DIPs take their weight's part of the rule's part of the traffic */
static int read_rule(struct input *in, json_t *rule, double part, struct engine_vip *v, char *why,
		     size_t size, struct err *e)
{
	json_t *dips = json_object_get(rule, "dips"), *dip;
	double weights = 0;
	uint32_t number;
	size_t i;
	unsigned int k;

	json_array_foreach(dips, i, dip) {
		double weight = get_num(dip, "weight", 1);

		if (!(weight >= 0) || weight > DUET_WEIGHT_MAX)
			return err_set(e, -EINVAL, "VIP %s: the weight of a DIP is from 0 to %d",
				       v->vip, DUET_WEIGHT_MAX);
		weights += weight;
	}
	json_array_foreach(dips, i, dip) {
		const char *text = get_str(dip, "address", "?");
		char key[ADDR_STRLEN];
		struct addr a;
		json_t *rack;

		snprintf(key, sizeof(key), "%.45s", text);
		if (!addr_parse(text, &a))
			addr_str(&a, key);
		number = dip_number(in, key);
		for (k = 0; k < v->n_dips && v->dips[k] != number; k++)
			;
		rack = json_object_get(in->racks, key);
		if (k == v->n_dips) {
			v->dip_node[v->n_dips] = rack ? json_integer_value(rack) : 0;
			v->dips[v->n_dips++] = number;
		}
		if (rack && weights > 0)
			share_add(v->to, &v->n_to, json_integer_value(rack),
				  part * get_num(dip, "weight", 1) / weights);
		else if (!rack && !v->unplaceable) {
			snprintf(
				why, size,
				"its DIP %s is no server of the topology: where its traffic goes is not known",
				key);
			v->unplaceable = why;
		}
	}
	v->members += json_array_size(dips);
	v->rules += strcmp(get_str(rule, "proto", "any"), "any") || json_object_get(rule, "port");
	return 0;
}

static int read_vip(struct input *in, json_t *vip, json_t *current, unsigned int index,
		    struct err *e)
{
	struct engine_vip *v = &in->model.vips[index];
	json_t *rules = json_object_get(vip, "rules"), *rule;
	size_t i, n = 0;
	int ret;

	v->vip = get_str(vip, "vip", NULL);
	if (!v->vip)
		return err_set(e, -EINVAL, "VIP %u has no \"vip\", its address", index + 1);
	if (json_object_get(in->seen, v->vip))
		return err_set(e, -EINVAL, "VIP %s is there twice", v->vip);
	json_object_set_new(in->seen, v->vip, json_true());
	v->current = switch_index(in, get_str(current, v->vip, NULL));
	ret = read_sources(in, vip, v, e);
	if (ret)
		return ret;
	json_array_foreach(rules, i, rule)
		n += json_array_size(json_object_get(rule, "dips"));
	v->to = calloc(n + 1, sizeof(*v->to));
	v->dips = calloc(n + 1, sizeof(*v->dips));
	v->dip_node = calloc(n + 1, sizeof(*v->dip_node));
	if (!v->to || !v->dips || !v->dip_node)
		return err_set(e, -ENOMEM, "out of memory");
	json_array_foreach(rules, i, rule) {
		ret = read_rule(in, rule, 1.0 / json_array_size(rules), v, in->why[index],
				sizeof(in->why[index]), e);
		if (ret)
			return ret;
	}
	return 0;
}

static int read_request(struct input *in, json_t *request, struct err *e)
{
	json_t *model = json_object_get(request, "model"),
	       *options = json_object_get(request, "options");
	json_t *vips = json_object_get(request, "vips"), *vip,
	       *sticky = json_object_get(options, "sticky");
	size_t i;
	int ret;

	if (!json_is_object(model) || !json_is_array(vips))
		return err_set(e, -EINVAL, "a plan needs a \"model\" and \"vips\"");
	in->options = (struct engine_options){
		.link_share = get_num(options, "link-share", 0.8),
		.delta = get_num(options, "delta", 0.05),
		.sticky = !json_is_false(sticky),
		.explain = true,
		.tips = json_is_true(json_object_get(options, "tips")),
		.go_on = json_is_true(json_object_get(options, "go-on")),
		.rounds = get_u64(options, "local-search", 0) > ROUNDS_MAX ?
				  ROUNDS_MAX :
				  get_u64(options, "local-search", 0),
	};
	if (!(in->options.link_share > 0) || in->options.link_share > 1 ||
	    !(in->options.delta >= 0))
		return err_set(
			e, -EINVAL,
			"options: \"link-share\" is above 0 and at most 1, \"delta\" at least 0");
	ret = read_switches(in, model, options, e);
	if (!ret)
		ret = read_links(in, model, e);
	if (!ret)
		ret = read_servers(in, model, e);
	if (ret)
		return ret;
	in->model.vips = calloc(json_array_size(vips) + 1, sizeof(*in->model.vips));
	in->why = calloc(json_array_size(vips) + 1, sizeof(*in->why));
	if (!in->model.vips || !in->why)
		return err_set(e, -ENOMEM, "out of memory");
	in->model.n_vips = json_array_size(vips);
	json_array_foreach(vips, i, vip) {
		ret = read_vip(in, vip, json_object_get(request, "current"), i, e);
		if (ret)
			return ret;
	}
	return 0;
}

/* bottleneck - what is used most among what the VIP touches, in words */
static void bottleneck(const struct input *in, const struct engine_choice *c, int mux, char *buf,
		       size_t size)
{
	static const char *const tables[] = {
		[ENGINE_TUNNELS] = "tunnelling",
		[ENGINE_MEMBERS] = "ECMP",
		[ENGINE_RULES] = "ACL",
		[ENGINE_HOSTS] = "host",
	};
	const struct engine_model *m = &in->model;

	if (c->resource == ENGINE_LINK)
		snprintf(buf, size, "link %s - %s", m->switches[m->links[c->link].a].name,
			 m->switches[m->links[c->link].b].name);
	else
		snprintf(buf, size, "%s table of %s", tables[c->resource], m->switches[mux].name);
}

static void reason(const struct input *in, unsigned int i, const struct engine_choice *c, char *buf,
		   size_t size)
{
	const struct engine_switch *s = in->model.switches;
	char what[160];

	switch (c->why) {
	case ENGINE_BEST:
		bottleneck(in, c, c->mux, what, sizeof(what));
		if (c->other < 0)
			snprintf(buf, size, "the only switch; most used: %s", what);
		else
			snprintf(buf, size,
				 "lowest MRU; most used on its way: %s; next best %s with %.3f",
				 what, s[c->other].name, c->other_mru);
		return;
	case ENGINE_KEPT:
		snprintf(buf, size, "kept: %s would have %.3f, not better by more than %.3f",
			 s[c->other].name, c->other_mru, in->options.delta);
		return;
	case ENGINE_UNPLACEABLE:
		snprintf(buf, size, "%s", in->model.vips[i].unplaceable);
		return;
	case ENGINE_TOO_BIG:
		snprintf(buf, size,
			 "larger than the tables of any switch (%u DIPs, %u ECMP members)",
			 in->model.vips[i].n_dips, in->model.vips[i].members);
		return;
	case ENGINE_FULL:
		bottleneck(in, c, c->other, what, sizeof(what));
		snprintf(buf, size,
			 "no switch can take it: on the best, %s, the MRU would be %.3f (%s)",
			 s[c->other].name, c->mru, what);
		return;
	case ENGINE_STOPPED:
		snprintf(buf, size, "the switches were full with VIPs of more traffic");
		return;
	case ENGINE_NO_SWITCH:
		snprintf(buf, size, "no switch can be reached that takes VIPs");
		return;
	case ENGINE_NO_TIPS:
		snprintf(buf, size, "it would fit on a switch, but not all of its TIPs on others");
		return;
	case ENGINE_HELD:
		snprintf(buf, size, "left where it is");
		return;
	}
}

static json_t *write_load(const struct input *in, const struct engine_load *load, json_t *plan)
{
	json_t *links = json_array(), *switches = json_array();
	const struct engine_model *m = &in->model;
	unsigned int i;

	for (i = 0; i < m->n_links; i++) {
		double cap = m->links[i].mbps * in->options.link_share;
		double most = load->link[0][i] > load->link[1][i] ? load->link[0][i]
								  : load->link[1][i];

		json_array_append_new(
			links, json_pack("{s:s, s:s, s:f, s:f, s:f, s:f}", "a",
					 m->switches[m->links[i].a].name, "b",
					 m->switches[m->links[i].b].name, "mbps", m->links[i].mbps,
					 "mbps-ab", load->link[0][i], "mbps-ba", load->link[1][i],
					 "utilisation", most / cap));
	}
	for (i = 0; i < m->n_switches; i++)
		json_array_append_new(switches,
				      json_pack("{s:s, s:i, s:i, s:i, s:i}", "name",
						m->switches[i].name, "vips", load->vips[i],
						"tunnels", load->tunnels[i], "members",
						load->members[i], "rules", load->rules[i]));
	json_object_set_new(plan, "links", links);
	json_object_set_new(plan, "switches", switches);
	return plan;
}

/* write_tips - second-level tables: the mux of each, and its DIPs as positions among the VIP's
 * distinct ones in the order of its rules
 */
static json_t *write_tips(const struct input *in, const struct engine_choice *c)
{
	json_t *list = json_array();
	unsigned int i, k;

	for (i = 0; i < c->n_tips; i++) {
		json_t *dips = json_array();

		for (k = 0; k < c->tips[i].n_dips; k++)
			json_array_append_new(dips, json_integer(c->tips[i].dips[k]));
		json_array_append_new(list, json_pack("{s:s, s:o}", "mux",
						      in->model.switches[c->tips[i].mux].name,
						      "dips", dips));
	}
	return list;
}

/* only - "only": [VIP]: all others stay where they are, these are placed anew */
static int run(struct engine *engine, const struct input *in, json_t *only,
	       struct engine_choice *choices)
{
	unsigned int *list, n = 0, i;
	size_t k;
	json_t *name;
	int ret = 0;

	if (!json_is_array(only))
		return engine_run(engine, choices);
	list = malloc((in->model.n_vips + 1) * sizeof(*list));
	if (!list)
		return -ENOMEM;
	for (i = 0; !ret && i < in->model.n_vips; i++) {
		const struct engine_vip *v = &in->model.vips[i];

		json_array_foreach(only, k, name)
			if (json_is_string(name) && !strcmp(json_string_value(name), v->vip))
				break;
		if (k < json_array_size(only)) {
			list[n++] = i;
			continue;
		}
		choices[i] = (struct engine_choice){ .mux = v->current, .why = ENGINE_HELD, .other = -1 };
		ret = engine_hold(engine, i, v->current);
		/* it stands where its traffic can't pass now: nothing that a plan for others may count */
		if (ret == -EHOSTUNREACH)
			ret = 0;
	}
	if (!ret)
		ret = engine_change(engine, list, n, choices);
	free(list);
	return ret;
}

static json_t *write_plan(const struct input *in, json_t *vips, const struct engine_choice *choices,
			  const struct engine_load *load)
{
	json_t *plan = json_object(), *list = json_array();
	char text[320];
	unsigned int i;

	for (i = 0; i < in->model.n_vips; i++) {
		const struct engine_choice *c = &choices[i];
		json_t *item;

		reason(in, i, c, text, sizeof(text));
		item = json_pack("{s:s, s:s, s:s, s:s}", "vip", in->model.vips[i].vip, "name",
				 get_str(json_array_get(vips, i), "name", ""), "mux",
				 c->mux < 0 ? SMUX : in->model.switches[c->mux].name, "reason",
				 text);
		if (c->mux >= 0 && c->n_tips)
			json_object_set_new(item, "tips", write_tips(in, c));
		json_object_set_new(item, "mru", c->mux < 0 ? json_null() : json_real(c->mru));
		json_array_append_new(list, item);
	}
	json_object_set_new(plan, "mru", json_real(load->mru));
	json_object_set_new(plan, "assignment", list);
	return write_load(in, load, plan);
}

int plan_make(json_t *request, json_t **plan, struct err *e)
{
	struct input in = { .switches = json_object(),
			    .racks = json_object(),
			    .dips = json_object(),
			    .seen = json_object() };
	struct engine_choice *choices = NULL;
	struct engine *engine = NULL;
	struct engine_load load;
	int ret;

	ret = read_request(&in, request, e);
	if (ret)
		goto out;
	choices = calloc(in.model.n_vips + 1, sizeof(*choices));
	engine = choices ? engine_new(&in.model, &in.options) : NULL;
	ret = engine ? run(engine, &in, json_object_get(json_object_get(request, "options"), "only"),
			   choices) :
		       -ENOMEM;
	if (!ret)
		ret = engine_load_get(engine, &load);
	if (ret) {
		err_set(e, ret, "out of memory");
		goto out;
	}
	*plan = write_plan(&in, json_object_get(request, "vips"), choices, &load);
	engine_load_free(&load);
out:
	engine_free(engine);
	free(choices);
	input_free(&in);
	return ret;
}
