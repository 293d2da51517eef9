// SPDX-License-Identifier: GPL-2.0
/* States of a rule's DIPs by the VIP's health policy: see policy.h. */
#include "policy.h"

#include "damping.h"

static const char *const modes[] = {
	[POLICY_NORMAL] = "normal",	    [POLICY_LOW] = "low",
	[POLICY_LAST_RESORT] = "last-resort", [POLICY_PANIC_ALL] = "panic-all",
	[POLICY_PANIC_NONE] = "panic-none",
};

const char *policy_mode_text(enum policy_mode mode)
{
	return modes[mode];
}

unsigned int policy_least(const struct vip_health *policy)
{
	return policy->min_share > DAMPING_LEAST ? policy->min_share : DAMPING_LEAST;
}

/* own_state - of a DIP without regard to the others */
static void own_state(struct dip *d)
{
	if (d->defined == DUET_DIP_DOWN || d->admin == OPERATOR_DOWN)
		d->state = DIP_OFF;
	else if (!d->in)
		d->state = d->reported == REPORT_DOWN ? DIP_DOWN : DIP_DAMPED;
	else if (d->defined == DUET_DIP_DRAIN || d->admin == OPERATOR_DRAIN || d->drained)
		d->state = DIP_DRAINED;
	else
		d->state = d->reported == REPORT_UP ? DIP_UP : DIP_UNKNOWN;
	d->table = d->state == DIP_DRAINED ? DUET_DIP_DRAIN : d->state <= DIP_UP ? DUET_DIP_UP : DUET_DIP_DOWN;
}

/* What the policy goes by: weights of the ordinary DIPs of a rule */
struct tally {
	uint64_t all, up;
	bool any_up, spare_up;	/* any DIP, any of last resort */
};

static struct tally count(const struct dip *d, const struct dip *end)
{
	struct tally t = {};

	for (; d < end; d++) {
		bool out = d->state == DIP_OFF || d->state == DIP_DRAINED, up = d->table == DUET_DIP_UP;

		if (d->last_resort) {
			t.spare_up |= up;
			continue;
		}
		t.any_up |= up && d->weight;
		t.all += out ? 0 : d->weight;
		t.up += up ? d->weight : 0;
	}
	return t;
}

/* stand_by - DIPs of last resort wait while others are up */
static void stand_by(struct dip *d, struct dip *end)
{
	for (; d < end; d++)
		if (d->last_resort && d->table == DUET_DIP_UP) {
			d->state = DIP_STANDBY;
			d->table = DUET_DIP_DOWN;
		}
}

/* keep_drained - without any other DIP those that are drained and healthy serve on; false: there is none */
static bool keep_drained(struct dip *d, struct dip *end)
{
	bool any = false;

	for (; d < end; d++) {
		if (d->state != DIP_DRAINED || d->forced || d->defined == DUET_DIP_DRAIN)
			continue;
		d->table = DUET_DIP_UP;
		any = true;
	}
	return any;
}

static enum policy_mode panic(const struct vip_health *policy, struct dip *d, struct dip *end)
{
	if (policy->panic == PANIC_KEEP)
		return POLICY_LOW;
	for (; d < end; d++) {
		if (d->last_resort)
			continue;
		if (policy->panic == PANIC_NONE)
			d->table = d->table == DUET_DIP_UP ? DUET_DIP_DOWN : d->table;
		else if (d->state == DIP_DOWN || d->state == DIP_DAMPED)
			d->table = DUET_DIP_UP;
	}
	return policy->panic == PANIC_NONE ? POLICY_PANIC_NONE : POLICY_PANIC_ALL;
}

enum policy_mode policy_rule(const struct vip_health *policy, struct dips *dips, unsigned int rule)
{
	struct dip *first = dips->list + dips->first[rule], *end = dips->list + dips->first[rule + 1], *d;
	struct tally t;

	for (d = first; d < end; d++)
		own_state(d);
	t = count(first, end);
	if (!t.any_up && t.spare_up)
		return POLICY_LAST_RESORT;
	stand_by(first, end);
	if (!t.any_up && keep_drained(first, end))
		return POLICY_NORMAL;
	if (t.any_up && t.up * 100 >= t.all * policy->min_share)
		return POLICY_NORMAL;
	return panic(policy, first, end);
}
