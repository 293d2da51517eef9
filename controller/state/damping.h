/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Damping, as BGP's: each time a DIP goes down it earns a penalty that halves with time. Above a
 * threshold it is kept out of the table until the penalty has decayed. The VIP earns each DIP's
 * share of the same penalty: all its DIPs failing together count as one DIP failing once.
 *
 * Pure: nothing here reads a clock, allocates or logs.
 */
#ifndef DUET_CONTROLLER_DAMPING_H
#define DUET_CONTROLLER_DAMPING_H

#include "dips.h"

double penalty_at(const struct penalty *p, uint64_t now);

/* What a report or the time came to: bits */
enum damping_news {
	DAMPING_TABLE = 1,	/* dip->in has changed */
	DAMPING_EVENT = 2,	/* worth an event: it went down, came up, or a hold began or ended */
	DAMPING_HOLD = 4,	/* a hold began */
};

/* damping_report - a host's report of a DIP; on: the VIP's DIPs are damped */
unsigned int damping_report(struct dips *dips, struct dip *d, enum dip_report report, bool on, uint64_t now);
/* damping_expire - ends a hold whose penalty has decayed */
unsigned int damping_expire(struct dips *dips, struct dip *d, uint64_t now);
/* damping_release - ends a hold, and forgets the penalty */
unsigned int damping_release(struct dip *d, uint64_t now);
/* damping_ease - lets in the damped DIP of a rule with the least penalty if less than `least` percent of the
 * rule's weight is up, or none of its DIPs. Returns it, or NULL; call it until it returns NULL.
 */
struct dip *damping_ease(struct dips *dips, unsigned int rule, unsigned int least, uint64_t now);
/* Damping alone never takes more than the rest of a rule's weight out */
#define DAMPING_LEAST	50	/* percent */

#endif
