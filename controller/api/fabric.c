// SPDX-License-Identifier: GPL-2.0
/*
 * The fabric as somebody looks at it: containers in a few numbers each, and
 * switches, SMuxes and links of those that are asked for; so that 1,800 switches
 * are a small answer. Load of links is the engine's, for VIPs where they are.
 */
#include "../query/links.h"
#include "api.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_VIPS	4	/* of a switch, by name; the rest is a number */
#define LOAD_MIN_MS	2000
#define LOAD_MAX_MS	600000
#define LOAD_SHARE	50	/* it is computed for at most 1/50 of the time */

/* struct load - what links carry, as of some moment ago */
struct load {
	json_t *links;		/* the plan's, in the order of the model's; NULL: not known yet */
	uint64_t asked_ms, at_ms, wait_ms;
	bool asking;
};

/* struct group - a container, or what is in none ("core") */
struct group {
	char id[24];
	bool shown;		/* in detail */
	json_t *states, *smux_states;
	unsigned int switches, smuxes, vips, drained, links, down;
	double mbps, fill, load;
};

/* struct tally - VIPs of one mux */
struct tally {
	unsigned int vips;
	double mbps;
	json_t *first;
};

struct view {
	struct updater *u;
	struct group *groups;
	unsigned int n_groups;
	json_t *place;		/* switch or SMux: number of its group */
	struct tally *tally;	/* by mux */
	json_t *switches, *smuxes, *links;
};

void load_stop(struct updater *u)
{
	if (u->load)
		json_decref(u->load->links);
	free(u->load);
	u->load = NULL;
}

static void loaded(json_t *plan, void *ctx)
{
	struct updater *u = ctx;
	struct load *l = u->load;
	uint64_t took;

	if (!l)
		return;
	l->asking = false;
	l->at_ms = mono_ms();
	took = (l->at_ms - l->asked_ms) * LOAD_SHARE;
	l->wait_ms = took < LOAD_MIN_MS ? LOAD_MIN_MS : took > LOAD_MAX_MS ? LOAD_MAX_MS : took;
	if (!plan)
		return;		/* as it was known before; it is asked for again */
	json_decref(l->links);
	l->links = json_incref(json_object_get(plan, "links"));
}

/* load_of - what is known now, and see that something newer will be */
static const struct load *load_of(struct updater *u)
{
	struct load *l = u->load ? u->load : calloc(1, sizeof(*l));

	u->load = l;
	if (!l || l->asking || !u->model || (l->at_ms && mono_ms() - l->at_ms < l->wait_ms))
		return l;
	l->asked_ms = mono_ms();
	l->asking = !assign_as_is(u->ctl, loaded, u);
	return l;
}

/* is_listed - is a word in a list "core,1,2", or the list "*" */
static bool is_listed(const char *list, const char *word)
{
	size_t len = strlen(word), n;

	for (; list && *list; list += n + (list[n] == ',')) {
		n = strcspn(list, ",");
		if ((n == len && !strncmp(list, word, n)) || (n == 1 && *list == '*'))
			return true;
	}
	return false;
}

static struct group *group_of(struct view *v, const char *name)
{
	json_t *i = json_object_get(v->place, name);

	return i ? &v->groups[json_integer_value(i)] : NULL;
}

/* groups_make - one for each container, in the topology's order */
static int groups_make(struct view *v, const char *detail)
{
	json_t *switches = json_object_get(v->u->model, "switches"), *ids = json_object(), *s;
	size_t i;

	v->place = json_object();
	v->groups = calloc(json_array_size(switches) + 1, sizeof(*v->groups));
	v->tally = calloc(v->u->n_muxes + 1, sizeof(*v->tally));
	if (!ids || !v->place || !v->groups || !v->tally) {
		json_decref(ids);
		return -1;
	}
	json_array_foreach(switches, i, s) {
		json_t *container = json_object_get(s, "container"), *at;
		struct group *g;
		char id[24] = "core";

		if (container)
			snprintf(id, sizeof(id), "%llu", (unsigned long long)json_integer_value(container));
		at = json_object_get(ids, id);
		if (!at) {
			g = &v->groups[v->n_groups];
			memcpy(g->id, id, sizeof(id));
			g->states = json_object();
			g->smux_states = json_object();
			g->shown = is_listed(detail, id);
			json_object_set_new(ids, id, json_integer(v->n_groups++));
			at = json_object_get(ids, id);
		}
		json_object_set(v->place, get_str(s, "name", ""), at);
	}
	json_decref(ids);
	return 0;
}

static void tally_vips(struct view *v)
{
	unsigned int i;

	for (i = 0; i < v->u->n_vips; i++) {
		const struct uvip *vip = v->u->vips[i];
		struct mux *m = mux_find(v->u, vip->mux);
		struct group *g = m ? group_of(v, m->name) : NULL;
		struct tally *t;

		if (!g)
			continue;
		t = &v->tally[m - v->u->muxes];
		t->mbps += vip_mbps(vip);
		if (++t->vips > FIRST_VIPS || !g->shown)
			continue;
		if (!t->first)
			t->first = json_array();
		json_array_append_new(t->first, json_pack("{s:s, s:s}", "vip", vip->text, "name", get_str(vip->def, "name", "")));
	}
}

static void count_state(json_t *states, const char *state)
{
	json_object_set_new(states, state, json_integer(get_u64(states, state, 0) + 1));
}

/* tables - used and limits as {"vips", "rules", "members", "tunnels"}: the agent's, else the topology's; the fullest */
static double tables(json_t *o, json_t *node, const struct mux *m)
{
	static const char *const keys[][2] = {
		{ "vips", "hosts" }, { "rules", "rules" }, { "members", "members" }, { "tunnels", "tunnels" },
	};
	json_t *device = json_object_get(m ? m->status : NULL, "device"), *used = json_object(), *limits = json_object();
	double fullest = 0;
	unsigned int i;

	for (i = 0; i < 4; i++) {
		uint64_t of = get_u64(json_object_get(device, "limits"), keys[i][0], 0);
		uint64_t n = get_u64(json_object_get(device, "used"), keys[i][0], 0);

		if (!of)
			of = get_u64(json_object_get(node, "tables"), keys[i][1], 0);
		if (of && (double)n / of > fullest)
			fullest = (double)n / of;
		json_object_set_new(used, keys[i][0], json_integer(n));
		json_object_set_new(limits, keys[i][0], json_integer(of));
	}
	json_object_set_new(o, "used", used);
	json_object_set_new(o, "limits", limits);
	return fullest;
}

/* tell_mux - a switch or SMux: into its group's numbers, and the list if that is shown */
static void tell_mux(struct view *v, json_t *node, struct group *g, json_t *list)
{
	const char *name = get_str(node, "name", "");
	struct mux *m = mux_find(v->u, name);
	const char *state = m ? mux_state_name(mux_state(m)) : "no-agent";
	struct tally none = {}, *t = m ? &v->tally[m - v->u->muxes] : &none;
	json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:b, s:i, s:f, s:o}", "name", name, "role", get_str(node, "role", ""),
			      "container", g->id, "state", state, "why", m ? m->why : "", "drained", m && m->drained, "vips",
			      t->vips, "mbps", t->mbps, "first", t->first ? json_incref(t->first) : json_array());
	double fill = tables(o, node, m);

	if (list == v->smuxes) {
		g->smuxes++;
		json_object_set(o, "switch", json_object_get(node, "switch"));
		json_object_set(o, "capacity-mbps", json_object_get(node, "mbps"));
		count_state(g->smux_states, state);
	} else {
		g->switches++;
		g->vips += t->vips;
		g->mbps += t->mbps;
		g->fill = fill > g->fill ? fill : g->fill;
		count_state(g->states, state);
	}
	g->drained += m && m->drained;
	if (g->shown)
		json_array_append_new(list, o);
	else
		json_decref(o);
}

static void tell_links(struct view *v, const struct load *load)
{
	json_t *link;
	size_t i;

	json_array_foreach(json_object_get(v->u->model, "links"), i, link) {
		const char *a = get_str(link, "a", ""), *b = get_str(link, "b", ""), *by = NULL;
		const char *state = link_state(v->u, link, &by);
		json_t *l = json_array_get(load ? load->links : NULL, i), *o;
		struct group *g[2] = { group_of(v, a), group_of(v, b) };
		double ab, ba, mbps = get_num(link, "mbps", 0), share;
		bool known = !strcmp(get_str(l, "a", ""), a) && !strcmp(get_str(l, "b", ""), b);
		unsigned int k;

		ab = known ? get_num(l, "mbps-ab", 0) : 0;
		ba = known ? get_num(l, "mbps-ba", 0) : 0;
		share = mbps > 0 ? (ab > ba ? ab : ba) / mbps : 0;
		for (k = 0; k < 2; k++) {
			if (!g[k] || (k && g[1] == g[0]))
				continue;
			g[k]->links++;
			g[k]->down += strcmp(state, "up") && strcmp(state, "unknown");
			g[k]->load = share > g[k]->load ? share : g[k]->load;
		}
		/* the cores alone would bring along every container's */
		if (!(g[0] && g[0]->shown && g[1] && g[1]->shown))
			continue;
		o = json_copy(link);
		json_object_set_new(o, "state", json_string(state));
		json_object_set_new(o, "told-by", by ? json_string(by) : json_null());
		json_object_set_new(o, "mbps-ab", known ? json_real(ab) : json_null());
		json_object_set_new(o, "mbps-ba", known ? json_real(ba) : json_null());
		json_array_append_new(v->links, o);
	}
}

static json_t *tell_groups(struct view *v)
{
	json_t *list = json_array();
	unsigned int i;

	for (i = 0; i < v->n_groups; i++) {
		const struct group *g = &v->groups[i];

		json_array_append_new(list, json_pack("{s:s, s:b, s:i, s:i, s:i, s:i, s:i, s:i, s:f, s:f, s:f, s:O, s:O}", "id", g->id,
			"shown", g->shown, "switches", g->switches, "smuxes", g->smuxes, "vips", g->vips, "drained", g->drained,
			"links", g->links, "links-down", g->down, "mbps", g->mbps, "fill", g->fill, "load", g->load,
			"states", g->states, "smux-states", g->smux_states));
	}
	return list;
}

static void view_free(struct view *v)
{
	unsigned int i;

	for (i = 0; v->groups && i < v->n_groups; i++) {
		json_decref(v->groups[i].states);
		json_decref(v->groups[i].smux_states);
	}
	for (i = 0; v->tally && i < v->u->n_muxes; i++)
		json_decref(v->tally[i].first);
	free(v->groups);
	free(v->tally);
	json_decref(v->place);
	json_decref(v->switches);
	json_decref(v->smuxes);
	json_decref(v->links);
}

void api_fabric_get(struct http_request *req, json_t *body, void *ctx)
{
	struct updater *u = ((struct controller *)ctx)->updater;
	const struct load *load = load_of(u);
	struct view v = { .u = u };
	json_t *o, *node, *groups;
	size_t i;

	if (groups_make(&v, http_query(req, "detail"))) {
		http_problem(req, 500, NULL, "out of memory");
		goto out;
	}
	v.switches = json_array();
	v.smuxes = json_array();
	v.links = json_array();
	tally_vips(&v);
	json_array_foreach(json_object_get(u->model, "switches"), i, node)
		tell_mux(&v, node, group_of(&v, get_str(node, "name", "")), v.switches);
	json_array_foreach(json_object_get(u->model, "smuxes"), i, node) {
		struct group *g = group_of(&v, get_str(node, "switch", ""));

		if (g)
			tell_mux(&v, node, g, v.smuxes);
	}
	tell_links(&v, load);
	groups = tell_groups(&v);
	o = json_pack("{s:o, s:O, s:O, s:O}", "containers", groups, "switches", v.switches, "smuxes", v.smuxes, "links", v.links);
	json_object_set_new(o, "load-age-ms", load && load->links ? json_integer(mono_ms() - load->at_ms) : json_null());
	http_reply(req, 200, o);
out:
	view_free(&v);
}
