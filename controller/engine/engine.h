/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The assignment of VIPs to switches (paper, section 4): a model goes in, a
 * plan comes out. No clock, no randomness, no input or output: the same model
 * always gives the same plan, whatever order its VIPs were told in.
 */
#ifndef DUET_CONTROLLER_ENGINE_H
#define DUET_CONTROLLER_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ENGINE_SMUX	(-1)	/* "on the SMuxes" where a switch index stands */
/* Utilisations closer than this are equal: sums in another order must not decide. */
#define ENGINE_EPSILON	1e-9

/* struct engine_switch - table sizes, 0: unbounded */
struct engine_switch {
	const char *name;
	bool candidate;		/* may hold VIPs */
	uint32_t hosts, rules, members, tunnels;
};

/* struct engine_link - full duplex: each direction has mbps of its own */
struct engine_link {
	unsigned int a, b;
	double mbps;
};

struct engine_share {
	unsigned int node;
	double share;
};

struct engine_vip {
	const char *vip;		/* its address: name, and order among equals */
	double mbps;
	struct engine_share *from;	/* where its traffic enters */
	unsigned int n_from;
	struct engine_share *to;	/* racks of its DIPs */
	unsigned int n_to;
	uint32_t *dips;			/* distinct DIPs, by number */
	unsigned int n_dips;
	uint32_t members, rules;
	int current;			/* switch or ENGINE_SMUX */
	const char *unplaceable;	/* why no switch can take it, or NULL */
};

struct engine_model {
	struct engine_switch *switches;
	unsigned int n_switches;
	struct engine_link *links;
	unsigned int n_links;
	struct engine_vip *vips;
	unsigned int n_vips;
	uint32_t n_dips;		/* DIP numbers are below this */
};

struct engine_options {
	double link_share;	/* of a link's capacity that may be planned: 0.8 */
	double delta;		/* a VIP moves only if its MRU falls by more: 0.05 */
	bool sticky;		/* false: as if no VIP had a place yet */
};

enum engine_resource { ENGINE_LINK, ENGINE_TUNNELS, ENGINE_MEMBERS, ENGINE_RULES, ENGINE_HOSTS };

enum engine_why {
	ENGINE_BEST,		/* lowest MRU */
	ENGINE_KEPT,		/* sticky: the best is not better by more than delta */
	ENGINE_UNPLACEABLE,	/* vip->unplaceable says why */
	ENGINE_TOO_BIG,		/* larger than the tables of any switch, even an empty one */
	ENGINE_FULL,		/* the lowest MRU is over 100 %: the greedy stops here */
	ENGINE_STOPPED,		/* after the stop */
	ENGINE_NO_SWITCH,	/* no candidate at all */
};

/* struct engine_choice - one VIP's place and the reason for it */
struct engine_choice {
	int mux;		/* switch or ENGINE_SMUX */
	enum engine_why why;
	double mru;		/* with this choice; ENGINE_FULL: what it would have been */
	int other;		/* next best, or the best that was not better enough; -1: none */
	double other_mru;
	enum engine_resource resource;	/* the most used one that the VIP itself touches */
	unsigned int link;	/* ENGINE_LINK: its number */
};

/* struct engine_load - what is used in the end; freed by engine_load_free() */
struct engine_load {
	double *link[2];	/* Mbps from a to b, from b to a */
	uint32_t *tunnels, *members, *rules, *vips;	/* per switch */
	double mru;
};

/* engine_assign - choices[model->n_vips] in the order of model->vips; returns 0 or -ENOMEM */
int engine_assign(const struct engine_model *model, const struct engine_options *options,
		  struct engine_choice *choices, struct engine_load *load);
void engine_load_free(struct engine_load *load);

/*
 * Shares of ECMP over shortest paths (hops), parallel links counting singly.
 */
struct engine_paths;

/* A link direction and the share of the traffic that passes it. dir 0: a to b. */
struct engine_hop {
	unsigned int link, dir;
	double share;
};
struct engine_flow {
	struct engine_hop *hops;
	unsigned int n;
	bool reachable;
};

struct engine_paths *engine_paths_new(const struct engine_model *model);
void engine_paths_free(struct engine_paths *paths);
/* engine_paths_get - the shares of one unit from node to node; NULL: no memory. Kept until freed. */
const struct engine_flow *engine_paths_get(struct engine_paths *paths, unsigned int from, unsigned int to);

#endif
