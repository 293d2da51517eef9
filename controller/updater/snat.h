/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Ports that connections opened by a VIP's hosts have as source: blocks of the
 * VIP's range, each with one host or with none. Inside updater and API.
 */
#ifndef DUET_CONTROLLER_SNAT_H
#define DUET_CONTROLLER_SNAT_H

#include "priv.h"

#define SNAT_BLOCKS_MAX 16 /* of one host: what an agent's table has room for (bpf/snat.h) */

/* struct snat_conf - "snat" of a VIP's definition, with what it leaves out */
struct snat_conf {
	unsigned int first, last, block, max;
};
bool snat_conf(json_t *def, struct snat_conf *c);	/* false: it has none */
unsigned int snat_conf_blocks(const struct snat_conf *c);

enum snat_state {
	SNAT_HELD,	/* a host is told it, or is about to be */
	SNAT_LEAVING,	/* it is told no more, and may have it yet */
	SNAT_RESTING,	/* nobody has it, and nobody gets it: connections may be in TIME_WAIT */
};

struct snat_block {
	uint16_t first, last;
	enum snat_state state;
	int used;		/* ports in use as its host told, -1: not told */
	uint64_t number;	/* later ones are given later */
	uint64_t generation;	/* leaving: what the host takes after this is without it */
	uint64_t since_ms;	/* mono_ms() of this state, here: a restarted controller counts anew */
	bool claimed;		/* its host has reported that it holds it, since this controller started */
	char host[NAME_SIZE];
};

/* What a host told of its ports of one VIP. */
struct snat_user {
	struct host *host;
	unsigned int ports, used, fit, busiest;
	bool low;		/* fewer than a quarter free, of just the ports it was given */
	uint64_t idle_ms;	/* mono_ms() since when it uses less than a quarter of its blocks; 0: it uses more */
};

struct snat_pool {
	TAILQ_ENTRY(snat_pool) list;	/* those of VIPs that are gone come first */
	char text[ADDR_STRLEN];
	struct uvip *vip;		/* NULL: gone */
	struct snat_block *blocks;	/* by first port; they never overlap */
	unsigned int n_blocks, n_users;
	struct snat_user *users;
	bool dirty;
	uint64_t due_ms;		/* mono_ms() when time alone changes something; 0: it doesn't */
	/* as of the last pass */
	unsigned int free;		/* blocks that could be given now */
	unsigned int without;		/* hosts that have none and should */
	unsigned int wanting;		/* hosts that need more than there is */
	unsigned int bound;		/* hosts that need more than one may have */
};

/* what it is when a pool is without or wanting: those two */
#define SNAT_SHORT "no block of SNAT ports is left: %u hosts have none, %u need more than they have"

/* snat.c */
const char *snat_state_name(enum snat_state state);
struct snat_user *snat_user(struct snat_pool *p, struct host *h);	/* NULL: none known */
/* inside the allocator (snat.c, snatgive.c), between updater_begin() and updater_commit() */
bool snat_give(struct updater *u, struct snat_pool *p, struct host *h, unsigned int first, unsigned int last);
void snat_leave(struct updater *u, struct snat_pool *p, struct snat_block *b);
void snat_due(struct snat_pool *p, uint64_t ms);
void snat_soon(struct updater *u, struct snat_pool *p);
struct snat_pool *snat_find(struct updater *u, const char *vip);	/* NULL: none; also of a VIP that is gone */
struct snat_pool *snat_make(struct updater *u, const char *vip);	/* the same, made if there is none */
struct snat_block *snat_insert(struct snat_pool *p, unsigned int first, unsigned int last);	/* NULL: no memory */
/* snat_hold - a block is with this host from now on, held or to be given back */
void snat_hold(struct updater *u, struct snat_pool *p, struct snat_block *b, struct host *h, enum snat_state state);
void snat_drop(struct updater *u, struct snat_pool *p, unsigned int at);

/* snatlearn.c: what hosts say they hold */
void snat_claims(struct updater *u, struct host *h, json_t *vips);

/* snatgive.c: who is to have how many */
struct snat_taker {
	struct host *host;
	struct snat_user *user;
	unsigned int held;
	bool up;		/* it may be given blocks; one that is down keeps what it has */
};
/* snat_takers - hosts with DIPs that return packets may go to, in the topology's order; calloc'd */
unsigned int snat_takers(struct updater *u, const struct uvip *v, const struct snat_conf *c, struct snat_taker **takers);
void snat_share(struct updater *u, struct snat_pool *p, const struct snat_conf *c, struct snat_taker *takers, unsigned int n);

#endif
