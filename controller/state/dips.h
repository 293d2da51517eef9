/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The DIPs of a VIP as the controller holds them: one entry for each DIP of each rule, in the
 * definition's order. Inputs are what hosts report, what operators set and what the definition
 * says; damping (damping.h) and policy (policy.h) are pure functions over them.
 */
#ifndef DUET_CONTROLLER_DIPS_H
#define DUET_CONTROLLER_DIPS_H

#include <jansson.h>
#include <linux/duet.h>
#include <stdbool.h>
#include <stdint.h>
#include "addr.h"

/* What the host of a DIP reported last */
enum dip_report { REPORT_NONE, REPORT_UP, REPORT_DOWN };

/* What an operator set, by duetctl dip */
enum dip_operator { OPERATOR_NONE, OPERATOR_DRAIN, OPERATOR_DOWN };

/* The one vocabulary for the state of a DIP */
enum dip_state {
	DIP_UNKNOWN,	/* no report since this controller started; in the table */
	DIP_UP,
	DIP_DOWN,	/* its host reports it down */
	DIP_DAMPED,	/* up again, kept out until it is steady */
	DIP_DRAINED,	/* no new connections: its rack, its host or the DIP is drained */
	DIP_OFF,	/* taken out by the definition or by an operator */
	DIP_STANDBY,	/* of last resort: other DIPs are up */
};

/* A number that halves every HALF_LIFE_MS (damping.c) */
struct penalty {
	double value;
	uint64_t at_ms;		/* mono_ms() */
};

struct dip {
	char text[ADDR_STRLEN];
	unsigned int rule, weight;
	/* health */
	enum dip_report reported;
	bool in;		/* health lets it into the table */
	bool hold;		/* it comes and goes: kept out until its penalty has decayed */
	bool eased;		/* an event said that it was let in during this hold */
	struct penalty penalty;
	uint64_t eased_ms;	/* mono_ms() */
	uint64_t since_ms;	/* wall_ms() of the last change of "in" or "hold"; 0: none since the start */
	char *reason;		/* of its host's last report; NULL: none */
	json_t *targets_down;	/* {target: true}, those behind the DIP's host that it reported down; NULL: none */
	/* other inputs of the policy */
	enum duet_dip_state defined;
	enum dip_operator admin;
	bool forced;		/* the operator takes it out even as the last one */
	bool host_drained;	/* its host is */
	bool drained;		/* its rack or its host is */
	bool last_resort;
	/* what the policy makes of these */
	enum dip_state state;
	enum duet_dip_state table;	/* as muxes are pushed */
};

struct dips {
	struct dip *list;
	unsigned int n, n_rules;
	unsigned int *first;	/* of each rule, and the end */
	struct penalty penalty;	/* of the whole VIP: each DIP adds its share */
};

/* dips_define - the DIPs of a definition; what is known of those that both have stays. -ENOMEM: as before */
int dips_define(struct dips *dips, json_t *def);
void dips_free(struct dips *dips);
struct dip *dips_find(const struct dips *dips, const char *address, unsigned int rule);
/* dips_carry - health of DIPs that both have goes from one table to another; from loses it */
void dips_carry(struct dips *to, struct dips *from);
void dip_reason(struct dip *d, const char *reason);
/* dip_is_down - out of the table by health: reported down, or damped */
static inline bool dip_is_down(const struct dip *d)
{
	return !d->in;
}

const char *dip_state_text(enum dip_state state);

#endif
