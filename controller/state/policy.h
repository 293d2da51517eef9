/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Which DIPs of a rule the muxes use: from health, what operators set, and the VIP's health policy.
 * Pure, and the only place that decides this: all muxes are pushed the same states.
 */
#ifndef DUET_CONTROLLER_POLICY_H
#define DUET_CONTROLLER_POLICY_H

#include "dips.h"
#include "vip_health.h"

enum policy_mode {
	POLICY_NORMAL,
	POLICY_LOW,		/* less weight is up than min-share, or none; the table is as health says */
	POLICY_LAST_RESORT,	/* only DIPs of last resort are up */
	POLICY_PANIC_ALL,	/* less than min-share is up: all DIPs are used as if up */
	POLICY_PANIC_NONE,	/* less than min-share is up: none is used */
};

const char *policy_mode_text(enum policy_mode mode);
/* policy_rule - sets state and table of each DIP of a rule */
enum policy_mode policy_rule(const struct vip_health *policy, struct dips *dips, unsigned int rule);
/* policy_least - percent of a rule's weight that damping leaves in the table */
unsigned int policy_least(const struct vip_health *policy);

#endif
