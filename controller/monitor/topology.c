// SPDX-License-Identifier: GPL-2.0
/*
 * Reads topology.dot by libcgraph and checks it: a file is taken whole or
 * refused with the first thing wrong in it. After that nobody needs to check
 * the fabric's description again.
 */
#include "racks.h"

#include <cgraph.h>
#include <duet/limits.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

static const char *const roles[] = {
	[TOPO_BORDER] = "border", [TOPO_CORE] = "core", [TOPO_AGG] = "agg", [TOPO_TOR] = "tor",
	[TOPO_SMUX] = "smux",	  [TOPO_SERVER] = "server",
};

const char *topo_role_name(enum topo_role role)
{
	return roles[role];
}

bool topo_is_switch(const struct topo_node *node)
{
	return node->role <= TOPO_TOR;
}

/* libcgraph tells syntax errors only through a callback without a context. */
static char syntax_error[256];

static int keep_error(char *text)
{
	if (!syntax_error[0] || !strcmp(syntax_error, "\n"))
		snprintf(syntax_error, sizeof(syntax_error), "%s", text);
	else
		strncat(syntax_error, text, sizeof(syntax_error) - strlen(syntax_error) - 1);
	return 0;
}

static const char *attr(void *object, const char *name)
{
	const char *s = agget(object, (char *)name);

	return s && *s ? s : NULL;
}

/* speed_parse - "10G", "100M", "40000" (Mbps); 0 if it is none */
static double speed_parse(const char *s)
{
	char *end;
	double v = strtod(s, &end);

	if (end == s || !(v > 0) || v > 1e9)
		return 0;
	if (!strcmp(end, "G"))
		return v * 1000;
	return !*end || !strcmp(end, "M") ? v : 0;
}

static int read_table(const char *file, Agnode_t *n, const char *name, uint32_t *size,
		      struct err *e)
{
	const char *s = attr(n, name);
	char *end;
	unsigned long v;

	if (!s)
		return 0;
	v = strtoul(s, &end, 10);
	if (*end || *s == '-' || v > UINT32_MAX)
		return err_set(e, -EINVAL, "%s: \"%s\": %s=%s is no table size", file, agnameof(n),
			       name, s);
	*size = v;
	return 0;
}

static int read_tables(const char *file, Agnode_t *n, struct topo_tables *t, struct err *e)
{
	const char *profile = attr(n, "profile");
	int ret;

	if (!profile || !strcmp(profile, "paper"))
		*t = (struct topo_tables){ DUET_PAPER_VIPS, DUET_PAPER_RULES, DUET_PAPER_MEMBERS,
					   DUET_PAPER_TUNNELS };
	else if (strcmp(profile, "unbounded"))
		return err_set(e, -EINVAL, "%s: \"%s\": profile=%s is none of paper, unbounded",
			       file, agnameof(n), profile);
	ret = read_table(file, n, "hosts", &t->hosts, e);
	if (!ret)
		ret = read_table(file, n, "rules", &t->rules, e);
	if (!ret)
		ret = read_table(file, n, "members", &t->members, e);
	if (!ret)
		ret = read_table(file, n, "tunnels", &t->tunnels, e);
	return ret;
}

static int read_role(const char *file, Agnode_t *n, enum topo_role *role, struct err *e)
{
	const char *s = attr(n, "role");
	Agedge_t *edge;
	unsigned int i;

	for (i = 0; s && i < sizeof(roles) / sizeof(*roles); i++) {
		if (!strcmp(roles[i], s)) {
			*role = i;
			return 0;
		}
	}
	if (s)
		return err_set(e, -EINVAL,
			       "%s: \"%s\": role=%s is none of border, core, agg, tor, smux, server", file,
			       agnameof(n), s);
	edge = agfstedge(agraphof(n), n);
	if (edge)
		return err_set(
			e, -EINVAL,
			"%s: the link of \"%s\" and \"%s\" leads nowhere: \"%s\" is no node with a role",
			file, agnameof(agtail(edge)), agnameof(aghead(edge)), agnameof(n));
	return err_set(e, -EINVAL, "%s: \"%s\" has no role", file, agnameof(n));
}

static int read_prefixes(const char *file, Agnode_t *n, struct topo_node *node, struct err *e)
{
	const char *s = attr(n, "prefixes");

	if (!s)
		return 0;
	if (node->role != TOPO_TOR)
		return err_set(e, -EINVAL, "%s: %s \"%s\" can't have prefixes: a tor's are its rack's", file, roles[node->role],
			       node->name);
	if (racks_parse(s, &node->prefixes, &node->n_prefixes))
		return err_set(e, -EINVAL, "%s: \"%s\": prefixes=\"%s\" are no prefixes such as 10.1.1.0/24", file, node->name, s);
	return 0;
}

static int read_node(const char *file, Agnode_t *n, struct topo_node *node, struct err *e)
{
	const char *name = agnameof(n), *container = attr(n, "container"),
		   *agent = attr(n, "agent");
	const char *key, *address, *capacity = attr(n, "capacity");
	char *end;

	if (!name_good(name) || !strcmp(name, SMUX) || !strcmp(name, "internet"))
		return err_set(e, -EINVAL, "%s: \"%.80s\" can't be the name of a node: " NAME_RULE, file, name);
	snprintf(node->name, sizeof(node->name), "%s", name);
	if (read_role(file, n, &node->role, e))
		return -EINVAL;
	if (node->role == TOPO_AGG || node->role == TOPO_TOR) {
		if (!container)
			return err_set(e, -EINVAL, "%s: %s \"%s\" has no container=NUMBER", file,
				       roles[node->role], name);
		node->container = strtoul(container, &end, 10);
		if (*end || *container < '0' || *container > '9')
			return err_set(e, -EINVAL, "%s: \"%s\": container=%s is no number", file,
				       name, container);
	} else if (container) {
		return err_set(e, -EINVAL, "%s: %s \"%s\" can't be in a container: agg and tor are",
			       file, roles[node->role], name);
	}
	if ((topo_is_switch(node) && read_tables(file, n, &node->tables, e)) || read_prefixes(file, n, node, e))
		return -EINVAL;
	if (agent && !http_url_is(agent))
		return err_set(e, -EINVAL, "%s: \"%s\": agent=\"%s\" is no http:// URL", file, name,
			       agent);
	if (agent && node->role == TOPO_BORDER)
		return err_set(e, -EINVAL, "%s: border \"%s\" has an agent: where the Internet enters there is no mux", file, name);
	if (!agent && node->role == TOPO_SMUX)
		return err_set(e, -EINVAL, "%s: smux \"%s\" has no agent=\"URL\"", file, name);
	key = node->role == TOPO_SERVER ? "address" : "local";
	address = attr(n, key);
	if (!address && (agent || node->role == TOPO_SERVER))
		return err_set(e, -EINVAL, "%s: %s \"%s\" has no %s=\"ADDRESS\"", file,
			       roles[node->role], name, key);
	if (address && addr_parse(address, &node->address))
		return err_set(e, -EINVAL, "%s: \"%s\": %s=\"%s\" is no address", file, name, key,
			       address);
	if (capacity) {
		node->mbps = speed_parse(capacity);
		if (!node->mbps)
			return err_set(e, -EINVAL,
				       "%s: \"%s\": capacity=%s is no speed such as 3.6G", file,
				       name, capacity);
	}
	if (agent) {
		node->agent = strdup(agent);
		if (!node->agent)
			return err_set(e, -ENOMEM, "%s: out of memory", file);
		while (node->agent[strlen(node->agent) - 1] == '/')
			node->agent[strlen(node->agent) - 1] = 0;
	}
	return 0;
}

/* check_prefixes - a prefix is one rack's */
static int check_prefixes(const char *file, const struct topo_node *n, json_t *seen, struct err *e)
{
	char key[ADDR_STRLEN + 8];
	unsigned int i;
	json_t *other;

	for (i = 0; i < n->n_prefixes; i++) {
		addr_str(&n->prefixes[i].addr, key);
		snprintf(key + strlen(key), 8, "/%u", n->prefixes[i].len);
		other = json_object_get(seen, key);
		if (other)
			return err_set(e, -EINVAL, "%s: \"%s\" and \"%s\" have the same prefix %s", file,
				       json_string_value(other), n->name, key);
		json_object_set_new(seen, key, json_string(n->name));
	}
	return 0;
}

/* Nothing may be given twice: addresses, agents, prefixes. Sorting would lose the order; n is small. */
static int check_twice(const char *file, const struct topology *t, struct err *e)
{
	json_t *seen = json_object();
	char key[ADDR_STRLEN];
	unsigned int i;
	int ret = 0;

	for (i = 0; !ret && i < t->n_nodes; i++) {
		const struct topo_node *n = &t->nodes[i];
		json_t *other;

		addr_str(&n->address, key);
		other = addr_is_none(&n->address) ? NULL : json_object_get(seen, key);
		if (other)
			ret = err_set(e, -EINVAL, "%s: \"%s\" and \"%s\" have the same address %s",
				      file, json_string_value(other), n->name, key);
		else
			json_object_set_new(seen, key, json_string(n->name));
		other = !ret && n->agent ? json_object_get(seen, n->agent) : NULL;
		if (other)
			ret = err_set(e, -EINVAL, "%s: \"%s\" and \"%s\" have the same agent %s",
				      file, json_string_value(other), n->name, n->agent);
		else if (n->agent)
			json_object_set_new(seen, n->agent, json_string(n->name));
		if (!ret)
			ret = check_prefixes(file, n, seen, e);
	}
	json_decref(seen);
	return ret;
}

static int read_nodes(const char *file, Agraph_t *g, struct topology *t, json_t *index,
		      struct err *e)
{
	struct topo_node *node;
	enum topo_role role;
	Agnode_t *n;
	int ret;

	t->nodes = calloc(agnnodes(g) + 1, sizeof(*t->nodes));
	if (!t->nodes)
		return err_set(e, -ENOMEM, "%s: out of memory", file);
	for (role = 0; role <= TOPO_SERVER; role++) {
		for (n = agfstnode(g); n; n = agnxtnode(g, n)) {
			enum topo_role its;

			ret = read_role(file, n, &its, e);
			if (ret)
				return ret;
			if (its != role)
				continue;
			node = &t->nodes[t->n_nodes++];
			ret = read_node(file, n, node, e);
			if (ret)
				return ret;
			json_object_set_new(index, node->name, json_integer(t->n_nodes - 1));
		}
	}
	return check_twice(file, t, e);
}

/* take_port - each port of each node has one link */
static int take_port(const char *file, json_t *ports, const char *node, const char *port,
		     struct err *e)
{
	char key[2 * NAME_SIZE];

	snprintf(key, sizeof(key), "%s:%s", node, port);
	if (json_object_get(ports, key))
		return err_set(e, -EINVAL, "%s: port \"%s\":\"%s\" has two links", file, node,
			       port);
	json_object_set_new(ports, key, json_true());
	return 0;
}

static int read_link(const char *file, Agedge_t *edge, struct topology *t, json_t *index,
		     json_t *ports, struct err *e)
{
	const char *a = agnameof(agtail(edge)), *b = agnameof(aghead(edge)),
		   *speed = attr(edge, "speed");
	const char *port_a = attr(edge, "tailport"), *port_b = attr(edge, "headport");
	struct topo_link *l = &t->links[t->n_links];
	struct topo_node *na, *nb;

	l->a = json_integer_value(json_object_get(index, a));
	l->b = json_integer_value(json_object_get(index, b));
	na = &t->nodes[l->a];
	nb = &t->nodes[l->b];
	if (l->a == l->b)
		return err_set(e, -EINVAL, "%s: a link leads from \"%s\" to itself", file, a);
	if (!port_a || !port_b)
		return err_set(e, -EINVAL,
			       "%s: the link of \"%s\" and \"%s\" names no port of \"%s\"", file, a,
			       b, port_a ? b : a);
	snprintf(l->port_a, sizeof(l->port_a), "%s", port_a);
	snprintf(l->port_b, sizeof(l->port_b), "%s", port_b);
	if (take_port(file, ports, a, port_a, e) || take_port(file, ports, b, port_b, e))
		return -EINVAL;
	if (speed) {
		l->mbps = speed_parse(speed);
		if (!l->mbps)
			return err_set(
				e, -EINVAL,
				"%s: the link of \"%s\" and \"%s\": speed=%s is no speed such as 10G",
				file, a, b, speed);
	}
	t->n_links++;
	if (topo_is_switch(na) && topo_is_switch(nb)) {
		if (!speed)
			return err_set(e, -EINVAL, "%s: the link of \"%s\" and \"%s\" has no speed",
				       file, a, b);
		return 0;
	}
	if (topo_is_switch(na)) {
		struct topo_node *swap = na;

		na = nb;
		nb = swap;
	}
	if (nb->role != TOPO_TOR)
		return err_set(
			e, -EINVAL,
			"%s: the link of \"%s\" and \"%s\": a %s hangs on a tor, not on a %s", file,
			a, b, roles[na->role], roles[nb->role]);
	if (na->tor != UINT32_MAX)
		return err_set(e, -EINVAL,
			       "%s: \"%s\" hangs on \"%s\" and on \"%s\": one is expected", file,
			       na->name, t->nodes[na->tor].name, nb->name);
	na->tor = nb - t->nodes;
	return 0;
}

static int read_links(const char *file, Agraph_t *g, struct topology *t, json_t *index,
		      struct err *e)
{
	json_t *ports = json_object();
	unsigned int i;
	Agedge_t *edge;
	Agnode_t *n;
	int ret = 0;

	t->links = calloc(agnedges(g) + 1, sizeof(*t->links));
	if (!t->links)
		ret = err_set(e, -ENOMEM, "%s: out of memory", file);
	for (i = 0; i < t->n_nodes; i++)
		t->nodes[i].tor = UINT32_MAX;
	for (n = agfstnode(g); n && !ret; n = agnxtnode(g, n))
		for (edge = agfstout(g, n); edge && !ret; edge = agnxtout(g, edge))
			ret = read_link(file, edge, t, index, ports, e);
	for (i = 0; !ret && i < t->n_nodes; i++)
		if (!topo_is_switch(&t->nodes[i]) && t->nodes[i].tor == UINT32_MAX)
			ret = err_set(e, -EINVAL, "%s: %s \"%s\" has no link to a tor", file,
				      roles[t->nodes[i].role], t->nodes[i].name);
	json_decref(ports);
	return ret;
}

int topology_read(const char *file, struct topology *t, struct err *e)
{
	json_t *index = json_object();
	Agraph_t *g;
	FILE *f;
	int ret;

	memset(t, 0, sizeof(*t));
	f = fopen(file, "re");
	if (!f) {
		ret = err_set(e, -errno, "%s: %s", file, strerror(errno));
		goto out_index;
	}
	syntax_error[0] = 0;
	agseterrf(keep_error);
	g = agread(f, NULL);
	fclose(f);
	if (!g || syntax_error[0]) {
		syntax_error[strcspn(syntax_error, "\n")] = 0;
		ret = err_set(e, -EINVAL, "%s: no graph: %s%s", file,
			      syntax_error[0] ? syntax_error : "the file is empty",
			      strstr(syntax_error, "badly delimited")
				      ? " (write it in quotes, as in \"10G\")"
				      : "");
		goto out_graph;
	}
	if (agisdirected(g)) {
		ret = err_set(e, -EINVAL,
			      "%s: a digraph; links have no direction: write \"graph\" and \"--\"",
			      file);
		goto out_graph;
	}
	ret = read_nodes(file, g, t, index, e);
	if (!ret)
		ret = read_links(file, g, t, index, e);
out_graph:
	if (g)
		agclose(g);
out_index:
	json_decref(index);
	if (ret)
		topology_free(t);
	return ret;
}

void topology_free(struct topology *t)
{
	unsigned int i;

	for (i = 0; i < t->n_nodes; i++) {
		free(t->nodes[i].agent);
		free(t->nodes[i].prefixes);
	}
	free(t->nodes);
	free(t->links);
	memset(t, 0, sizeof(*t));
}

static void set_node(json_t *o, const struct topology *t, const struct topo_node *n)
{
	char text[ADDR_STRLEN];

	if (n->agent)
		json_object_set_new(o, "agent", json_string(n->agent));
	if (!addr_is_none(&n->address))
		json_object_set_new(o,
				    topo_is_switch(n) || n->role == TOPO_SMUX ? "local" : "address",
				    json_string(addr_str(&n->address, text)));
	if (!topo_is_switch(n))
		json_object_set_new(o, "switch", json_string(t->nodes[n->tor].name));
	if (n->role == TOPO_AGG || n->role == TOPO_TOR)
		json_object_set_new(o, "container", json_integer(n->container));
	if (n->role == TOPO_SMUX)
		json_object_set_new(o, "mbps", json_real(n->mbps));
	if (topo_is_switch(n)) {
		json_object_set_new(o, "candidate", json_boolean(n->agent));
		json_object_set_new(o, "tables",
				    json_pack("{s:I, s:I, s:I, s:I}", "hosts",
					      (json_int_t)n->tables.hosts, "rules",
					      (json_int_t)n->tables.rules, "members",
					      (json_int_t)n->tables.members, "tunnels",
					      (json_int_t)n->tables.tunnels));
	}
}

json_t *topology_to_json(const struct topology *t)
{
	json_t *switches = json_array(), *smuxes = json_array(), *servers = json_array(),
	       *links = json_array();
	unsigned int i;

	for (i = 0; i < t->n_nodes; i++) {
		const struct topo_node *n = &t->nodes[i];
		json_t *o = json_pack("{s:s, s:s}", "name", n->name, "role", roles[n->role]);

		set_node(o, t, n);
		json_array_append_new(topo_is_switch(n)	     ? switches
				      : n->role == TOPO_SMUX ? smuxes
							     : servers,
				      o);
	}
	for (i = 0; i < t->n_links; i++) {
		const struct topo_link *l = &t->links[i];

		if (topo_is_switch(&t->nodes[l->a]) && topo_is_switch(&t->nodes[l->b]))
			json_array_append_new(links,
					      json_pack("{s:s, s:s, s:s, s:s, s:f}", "a",
							t->nodes[l->a].name, "port-a", l->port_a,
							"b", t->nodes[l->b].name, "port-b",
							l->port_b, "mbps", l->mbps));
	}
	return json_pack("{s:o, s:o, s:o, s:o}", "switches", switches, "smuxes", smuxes, "servers",
			 servers, "links", links);
}
