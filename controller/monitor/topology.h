/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The fabric as topology.dot describes it: a Graphviz file in the form that
 * Cumulus PTM reads, with roles, capacities and agents as attributes.
 */
#ifndef DUET_CONTROLLER_TOPOLOGY_H
#define DUET_CONTROLLER_TOPOLOGY_H

#include <jansson.h>
#include "../common.h"
#include "addr.h"

enum topo_role { TOPO_BORDER, TOPO_CORE, TOPO_AGG, TOPO_TOR, TOPO_SMUX, TOPO_SERVER };

/* struct topo_tables - 0: unbounded */
struct topo_tables {
	uint32_t hosts, rules, members, tunnels;
};

struct topo_node {
	char name[NAME_SIZE];
	enum topo_role role;
	unsigned int container;	   /* agg and tor */
	char *agent;		   /* URL, NULL: none */
	struct addr address;	   /* mux address (local) or server address; may be none */
	double mbps;		   /* smux: its capacity, 0 if not told */
	struct topo_tables tables; /* switches */
	unsigned int tor;	   /* server and smux: node it hangs on */
	struct prefix *prefixes;   /* tor: where its clients are; none: follows from its servers */
	unsigned int n_prefixes;
};

struct topo_link {
	unsigned int a, b; /* nodes */
	char port_a[NAME_SIZE], port_b[NAME_SIZE];
	double mbps;
};

struct topology {
	struct topo_node *nodes; /* switches first, each kind in the file's order */
	unsigned int n_nodes;
	struct topo_link *links;
	unsigned int n_links;
};

/* topology_read - refuses with a sentence naming file, node or link: what is no
 * graph, a link to nowhere, a port used twice, a missing or unknown attribute
 * value, a bad address, one given twice, a server on no ToR.
 */
int topology_read(const char *file, struct topology *topo, struct err *e);
void topology_free(struct topology *topo);

const char *topo_role_name(enum topo_role role);
bool topo_is_switch(const struct topo_node *node);
/* topology_to_json - what of the monitor's model comes from the file */
json_t *topology_to_json(const struct topology *topo);

#endif
