/* SPDX-License-Identifier: GPL-2.0 */
/* What the engine's files share and nobody else sees. */
#ifndef DUET_ENGINE_PRIV_H
#define DUET_ENGINE_PRIV_H

#include "clos.h"
#include "engine.h"

#define UNREACHABLE	__builtin_inf()	/* as a utilisation: not for this VIP */

/* struct part - traffic of one VIP that enters or leaves at one node */
struct part {
	uint32_t node;
	int64_t units;
};

/* units_part - to the nearest unit; llround() would be a call for every hop */
static inline int64_t units_part(int64_t units, double share)
{
	return units * share + 0.5;
}

/* struct job - what is placed as one: a VIP, or one TIP of it */
struct job {
	struct part *from, *to;		/* each node once, by rising node, units > 0 */
	unsigned int n_from, n_to;
	int64_t in, out;		/* sums of the two */
	uint32_t tunnels, members, rules;
	const uint32_t *shared;		/* those of its DIPs that other VIPs have too */
	unsigned int n_shared;
	bool symmetric;			/* enters at racks and the border only, leaves at racks */
	bool second;			/* a TIP: near its DIPs only (see tips.c) */
	uint32_t home;			/* second: container, in a Clos fabric */
};

/* struct hold - which switches have the tunnel of a DIP shared by several VIPs */
struct hold {
	struct holder { uint32_t node, count; } *at;
	unsigned int n, room;
};

struct tips {
	struct engine_tip *tip;
	struct job *jobs;
	uint32_t *order;	/* DIPs by rack: the TIPs' dips point in here */
	unsigned int n;
};

/* struct search - what is found out about all switches for one job */
struct search {
	double *local;		/* most used resource that the job touches; UNREACHABLE */
	double *soft;		/* the same, with what the options add; NULL: they add nothing */
	double *rank;		/* the one of the two that counts */
	int64_t *added;		/* units put on links, all hops counted */
	double *sum;		/* of the utilisation of all that is touched */
};

struct engine {
	const struct engine_model *model;
	struct engine_options options;
	struct clos *clos;		/* NULL: any graph */
	struct engine_paths *paths;	/* made when first needed */
	struct job *jobs;		/* of the VIPs */
	uint32_t *shared;
	unsigned int *order;		/* VIPs in the order of the greedy */
	int *at;			/* VIP: switch or ENGINE_SMUX */
	struct tips *tips;		/* VIP: n = 0 where there are none */
	int *first_at;			/* VIP with TIPs: where its first level was put */
	uint32_t smallest_table;	/* no VIP of so many DIPs needs TIPs */

	/* what is used; link and direction: 2 * link + dir */
	int64_t *load;
	uint32_t *tunnels, *members, *rules, *vips;
	double *table;			/* by switch: the most used of these, hosts left out */
	int64_t *traffic;		/* of the VIPs at a switch */
	int64_t *container_traffic;
	int64_t total;			/* of all VIPs */
	uint32_t placed, min_hosts;
	double worst;

	/* constants of resources */
	double *inv;			/* link and direction: 1 / units that may be planned */
	uint32_t *class;		/* link and direction: links of one capacity */
	double *class_inv;
	unsigned int n_classes;
	double *inv_tunnels, *inv_members, *inv_rules, inv_hosts;
	double most_tunnels, most_members, most_rules;	/* the highest of them */
	struct hold *holds;		/* by number among shared DIPs */
	uint32_t n_holds;

	/* scratch */
	struct search search;
	uint32_t *tied;
	double *tied_sum;
	int64_t *add, *class_sum;
	uint32_t *touched, n_touched;
	uint32_t *overlap, *overlapped, n_overlapped;
	struct scan *scan;
};

/* model.c */
int model_prepare(struct engine *e);
int parts_merge(struct part *parts, unsigned int *n, int64_t *sum);

/* state.c: putting on (sign 1) and taking off (-1) */
int state_commit(struct engine *e, const struct job *j, int mux, int sign);
/* state_worst - the highest utilisation now, all resources looked at */
double state_worst(const struct engine *e);
void state_overlap(struct engine *e, const struct job *j);
static inline uint32_t state_tunnels(const struct engine *e, const struct job *j, unsigned int s)
{
	return e->tunnels[s] + j->tunnels - e->overlap[s];
}

/* state_tables - the most used table of switch s with the job there, and the sum of all four;
 * here, for it is asked for every switch and every VIP
 */
static inline double state_tables(const struct engine *e, const struct job *j, unsigned int s,
				  double *sum)
{
	double tunnels = state_tunnels(e, j, s) * e->inv_tunnels[s];
	double members = (e->members[s] + j->members) * e->inv_members[s];
	double rules = (e->rules[s] + j->rules) * e->inv_rules[s];
	double hosts = (e->placed + 1) * e->inv_hosts, worst = tunnels;

	worst = members > worst ? members : worst;
	worst = rules > worst ? rules : worst;
	worst = hosts > worst ? hosts : worst;
	*sum = tunnels + members + rules + hosts;
	return worst;
}

/* state_tables_most - no table but the host table is used by more than this beyond e->table, but
 * for rounding: a sum of products rounds otherwise than a product of sums
 */
static inline double state_tables_most(const struct engine *e, const struct job *j)
{
	double most = j->tunnels * e->most_tunnels;

	most = j->members * e->most_members > most ? j->members * e->most_members : most;
	most = j->rules * e->most_rules > most ? j->rules * e->most_rules : most;
	return most;
}

/* any.c: on any graph */
/* any_add - e->add and e->touched: what the job there adds to links; -EHOSTUNREACH */
int any_add(struct engine *e, const struct job *j, unsigned int s);
void any_clear(struct engine *e);
int any_search(struct engine *e, const struct job *j);
/* any_explain - the most used resource that the job touches */
int any_explain(struct engine *e, const struct job *j, int s, struct engine_choice *c);

/* plain.c: every candidate over every link */
int plain_search(struct engine *e, const struct job *j);

/* closscan.c: the same numbers in a Clos fabric, by classes of links */
struct scan *scan_new(const struct engine *e);
void scan_free(struct scan *scan);
void scan_job(struct engine *e, const struct job *j);	/* before the next three */
void scan_search(struct engine *e, const struct job *j);
/* scan_added - e->search.added of the n switches in the list */
void scan_added(const struct engine *e, const struct job *j, const uint32_t *list, unsigned int n);
double scan_sum(struct engine *e, const struct job *j, unsigned int s);
void scan_commit(struct engine *e, const struct job *j, unsigned int s, int sign);
void scan_refresh(struct engine *e);	/* its maxima, after loads changed elsewhere */
/* scan_refresh_links - the same for single links and directions */
void scan_refresh_links(struct engine *e, const uint32_t *links, unsigned int n);

/* pick.c */
/* pick_search - fills e->search for the job */
int pick_search(struct engine *e, const struct job *j);
/* pick_best - the switch to take, but for `but`; -1: none can be reached */
int pick_best(struct engine *e, const struct job *j, int but);
int pick_random(struct engine *e, const struct job *j, unsigned int vip);

/* greedy.c */
/* greedy_score - the MRU with the job just searched for at s */
double greedy_score(const struct engine *e, int s);
/* greedy_sticky - current, if best is not better by more than delta; else best */
int greedy_sticky(const struct engine *e, int current, int best);

/* tips.c: VIPs with more DIPs than a tunnel table has entries */
/* tips_wanted - the VIP's DIPs are too many for any one table, and it may have TIPs */
bool tips_wanted(const struct engine *e, unsigned int vip);
/* tips_make - its second level, not placed yet, and the job of its first */
int tips_make(struct engine *e, unsigned int vip, struct job *top);
/* tips_place - first level at mux, second where it fits best; 0, 1: it doesn't fit, or -ENOMEM */
int tips_place(struct engine *e, unsigned int vip, int mux);
/* tips_hold - first level at mux, second where vip->current_tips says */
int tips_hold(struct engine *e, unsigned int vip, int mux);
int tips_off(struct engine *e, unsigned int vip);
void tips_free(struct tips *t);

#endif
