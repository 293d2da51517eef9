/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The assignment of VIPs to switches (paper, section 4): a model goes in, a
 * plan comes out. No clock, no input or output: the same model always gives
 * the same plan, whatever order its VIPs were told in.
 *
 * Traffic is counted in whole units of 2^-26 Mbps, so sums come out the same
 * in whatever order they are taken; that is what lets the fast search and the
 * plain one agree to the last bit. Not locked: one engine, one thread.
 */
#ifndef DUET_CONTROLLER_ENGINE_H
#define DUET_CONTROLLER_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ENGINE_SMUX	(-1)	/* "on the SMuxes" where a switch index stands */
/* Utilisations closer than this are equal: rounding must not decide. */
#define ENGINE_EPSILON	1e-9
#define ENGINE_UNIT	67108864.0	/* units of traffic in one Mbps */
#define ENGINE_MBPS_MAX	1e9	/* of one VIP or link: sums stay far below 2^63 units */

/* Where a switch stands in a Clos fabric; a graph whose tiers are not told is
 * handled as any graph. ENGINE_BORDER: the Internet, linked to the cores.
 */
enum engine_tier { ENGINE_OTHER, ENGINE_TOR, ENGINE_AGG, ENGINE_CORE, ENGINE_BORDER };

/* struct engine_switch - table sizes, 0: unbounded */
struct engine_switch {
	const char *name;
	bool candidate;		/* may hold VIPs */
	uint32_t hosts, rules, members, tunnels;
	enum engine_tier tier;
	bool failed;		/* carries nothing; its racks' clients and DIPs are gone */
};

/* struct engine_link - full duplex: each direction has mbps of its own */
struct engine_link {
	unsigned int a, b;
	double mbps;
	bool failed;
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
	uint32_t *dip_node;		/* rack of each DIP, for TIPs; or NULL: no TIPs */
	uint32_t members, rules;	/* of all its ports: they share its place */
	int current;			/* switch or ENGINE_SMUX */
	const int *current_tips;	/* places of its TIPs, n_current_tips; or NULL */
	unsigned int n_current_tips;
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

enum engine_order {
	ENGINE_BY_TRAFFIC,	/* the paper's */
	ENGINE_BY_DENSITY,	/* traffic per tunnel entry */
};

struct engine_options {
	double link_share;	/* of a link's capacity that may be planned: 0.8 */
	double delta;		/* a VIP moves only if its MRU falls by more: 0.05 */
	bool sticky;		/* false: as if no VIP had a place yet */
	bool explain;		/* fill in other, resource and link of choices */
	bool tips;		/* VIPs larger than a tunnel table get TIPs */
	bool plain;		/* every switch over every link: slow, the same plan */
	/* Random of the paper's section 8.4: the first switch that fits, tried in
	 * an order drawn from the seed; a VIP that fits nowhere stops nobody
	 */
	bool random;
	uint64_t seed;
	bool stay;		/* One-time of section 8.6: where it is, if it fits, or the SMuxes */
	/* beyond the paper */
	bool go_on;		/* a VIP that fits nowhere does not end the greedy */
	enum engine_order order;
	/* what three switches or one container may hold together, as shares of all
	 * traffic, before it counts as used up; 0: not looked at
	 */
	double switch_blast, container_blast;
	unsigned int rounds;	/* of local search after the greedy */
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
	ENGINE_NO_TIPS,		/* it would fit, but not all of its TIPs */
	ENGINE_HELD,		/* engine_hold() put it there */
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
	const struct engine_tip *tips;	/* of the engine; NULL: none */
	unsigned int n_tips;
};

/* struct engine_tip - one second-level table and the DIPs it leads to */
struct engine_tip {
	int mux;
	const uint32_t *dips;	/* positions in vip->dips */
	unsigned int n_dips;
};

/* struct engine_load - what is used in the end; freed by engine_load_free() */
struct engine_load {
	double *link[2];	/* Mbps from a to b, from b to a */
	uint32_t *tunnels, *members, *rules, *vips;	/* per switch */
	double mru;
};

/*
 * An engine holds a model made ready and what is placed so far. Model and
 * names stay the caller's and must outlive it. All return -ENOMEM or 0 where
 * nothing else is said.
 */
struct engine;

struct engine *engine_new(const struct engine_model *model, const struct engine_options *options);
void engine_free(struct engine *e);
/* engine_run - all VIPs from nothing; choices[model->n_vips] in the order of model->vips */
int engine_run(struct engine *e, struct engine_choice *choices);
/* engine_hold - a VIP is on this switch (or off all), whatever its MRU; tips as in current_tips */
int engine_hold(struct engine *e, unsigned int vip, int mux);
/* engine_change - these VIPs anew, all others stay; a VIP not placed stops nobody */
int engine_change(struct engine *e, const unsigned int *vips, unsigned int n,
		  struct engine_choice *choices);
/* engine_improve - local search: moves that lower the highest utilisation, or bring VIPs
 * of the SMuxes on; at most rounds of it. Returns how many VIPs it moved, or -ENOMEM.
 */
int engine_improve(struct engine *e, unsigned int rounds, struct engine_choice *choices);
/* engine_check - this VIP anew as in engine_change(), by the plain search and then by the fast one,
 * whose place it keeps: do they differ? 0: no, 1: yes, or -ENOMEM. For tests and measurements.
 */
int engine_check(struct engine *e, unsigned int vip, struct engine_choice *choices);
int engine_load_get(const struct engine *e, struct engine_load *load);
void engine_load_free(struct engine_load *load);
/* engine_is_clos - the fast search is used */
bool engine_is_clos(const struct engine *e);

/* engine_assign - all of the above at once; no choice has TIPs (they are the engine's) */
int engine_assign(const struct engine_model *model, const struct engine_options *options,
		  struct engine_choice *choices, struct engine_load *load);

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
