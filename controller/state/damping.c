// SPDX-License-Identifier: GPL-2.0
/* When a DIP that comes and goes may be in the table: see damping.h. */
#include "damping.h"

#include <math.h>

#define PENALTY		1000.0
#define HOLD_ABOVE	2500.0	/* the third failure in quick succession */
#define FREE_BELOW	750.0
#define PENALTY_MAX	12000.0
#define HALF_LIFE_MS	15000.0
#define EASE_EVERY_MS	1000	/* so that a host that reports anything does not keep all muxes busy */

double penalty_at(const struct penalty *p, uint64_t now)
{
	return p->value * exp2(-(double)(now - p->at_ms) / HALF_LIFE_MS);
}

static void add(struct penalty *p, double points, uint64_t now)
{
	p->value = fmin(penalty_at(p, now) + points, PENALTY_MAX);
	p->at_ms = now;
}

static unsigned int went_down(struct dips *dips, struct dip *d, uint64_t now)
{
	bool was = d->in;

	d->reported = REPORT_DOWN;
	d->in = false;
	add(&d->penalty, PENALTY, now);
	add(&dips->penalty, PENALTY / dips->n, now);
	if (!was)
		return 0;
	return d->hold ? DAMPING_TABLE : DAMPING_TABLE | DAMPING_EVENT;
}

unsigned int damping_report(struct dips *dips, struct dip *d, enum dip_report report, bool on, uint64_t now)
{
	if (report == REPORT_NONE || report == d->reported)
		return 0;
	if (report == REPORT_DOWN)
		return went_down(dips, d, now);
	d->reported = REPORT_UP;
	if (d->in)
		return 0;
	if (!on || (!d->hold && penalty_at(&d->penalty, now) <= HOLD_ABOVE && penalty_at(&dips->penalty, now) <= HOLD_ABOVE)) {
		d->hold = d->eased = false;
		d->in = true;
		return DAMPING_TABLE | DAMPING_EVENT;
	}
	if (d->hold)
		return 0;
	d->hold = true;
	return DAMPING_HOLD | DAMPING_EVENT;
}

static unsigned int end(struct dip *d)
{
	bool in = d->in;

	d->hold = d->eased = false;
	d->in = d->reported != REPORT_DOWN;
	return d->in == in && in ? 0 : DAMPING_EVENT | (d->in != in ? DAMPING_TABLE : 0);
}

unsigned int damping_expire(struct dips *dips, struct dip *d, uint64_t now)
{
	if (!d->hold || penalty_at(&d->penalty, now) >= FREE_BELOW || penalty_at(&dips->penalty, now) >= HOLD_ABOVE)
		return 0;
	return end(d);
}

unsigned int damping_release(struct dip *d, uint64_t now)
{
	d->penalty = (struct penalty){ 0, now };
	return d->hold ? end(d) : 0;
}

/* counts - may this DIP carry traffic of its rule, health apart */
static bool counts(const struct dip *d)
{
	return d->defined == DUET_DIP_UP && d->admin == OPERATOR_NONE && !d->drained;
}

static bool waits(const struct dip *d, uint64_t now)
{
	return d->hold && !d->in && d->reported == REPORT_UP && counts(d) &&
	       (!d->eased_ms || now - d->eased_ms >= EASE_EVERY_MS);
}

/* best - of those that wait, the one with the least penalty; ordinary ones before those of last resort */
static struct dip *best(struct dips *dips, unsigned int rule, bool last_resort, uint64_t now)
{
	struct dip *found = NULL;
	unsigned int i;

	for (i = dips->first[rule]; i < dips->first[rule + 1]; i++) {
		struct dip *d = &dips->list[i];

		if (d->last_resort == last_resort && waits(d, now) &&
		    (!found || penalty_at(&d->penalty, now) < penalty_at(&found->penalty, now)))
			found = d;
	}
	return found;
}

struct dip *damping_ease(struct dips *dips, unsigned int rule, unsigned int least, uint64_t now)
{
	uint64_t all = 0, up = 0;
	bool any = false;
	struct dip *d;
	unsigned int i;

	for (i = dips->first[rule]; i < dips->first[rule + 1]; i++) {
		d = &dips->list[i];
		if (!counts(d))
			continue;
		any |= d->in;
		all += d->last_resort ? 0 : d->weight;
		up += d->in && !d->last_resort ? d->weight : 0;
	}
	d = any && up && up * 100 >= all * least ? NULL : best(dips, rule, false, now);
	if (!d && !any)
		d = best(dips, rule, true, now);
	if (!d)
		return NULL;
	d->in = true;
	d->eased_ms = now;
	return d;
}
