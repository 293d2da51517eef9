// SPDX-License-Identifier: GPL-2.0
/* Figures 19 and 20 of the paper: failures, and three hours of change. */
#include "sim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FAILURES 4	/* draws of three switches, and containers, looked at per load */

/* worst_of - highest link utilisation over some failures of one kind */
static int worst_of(const struct sim *s, const struct workload *w, const struct engine_choice *c,
		    bool container, unsigned int smuxes, double *worst)
{
	const struct fabric *f = &s->fabric;
	bool *failed = calloc(f->n_switches, sizeof(*failed));
	uint64_t seed = s->habits.seed;
	unsigned int draw, i, x;
	struct loads l;
	int ret = failed ? 0 : -ENOMEM;

	*worst = 0;
	for (draw = 0; !ret && draw < FAILURES; draw++) {
		memset(failed, 0, f->n_switches * sizeof(*failed));
		if (container) {
			x = sim_uniform(&seed) * f->containers;
			for (i = 0; i < f->aggs; i++)
				failed[f->agg0 + x * f->aggs + i] = true;
			for (i = 0; i < f->tors; i++)
				failed[f->tor0 + x * f->tors + i] = true;
		} else {
			for (i = 0; i < 3;) {
				x = sim_uniform(&seed) * f->n_switches;
				if (x == f->border || failed[x])
					continue;
				failed[x] = true;
				i++;
			}
		}
		ret = loads_find(f, &w->model, c, failed, smuxes, &l);
		if (!ret && l.worst > *worst)
			*worst = l.worst;
		if (!ret)
			loads_free(&l);
	}
	free(failed);
	return ret;
}

int fig19_rows(const struct sim *s, FILE *csv, struct err *e)
{
	static const double loads[] = LOADS;
	bool *none = calloc(s->fabric.n_switches, sizeof(*none));
	struct engine_choice *c;
	struct engine *engine;
	struct workload w;
	struct need n;
	struct loads l;
	double three, container;
	unsigned int i, smuxes;
	int ret = none ? 0 : -ENOMEM;

	fprintf(csv, "tbps,normal,three_switches,container,smuxes\n");
	for (i = 0; !ret && i < 4; i++) {
		ret = sim_workload(s, loads[i], &w, e);
		if (ret)
			break;
		ret = sim_assign(&w, &s->options, &engine, &c);
		if (!ret) {
			need_find(&s->fabric, &w.model, c, s->habits.seed, &n);
			smuxes = need_smuxes(&n, SMUX_MBPS);
			ret = loads_find(&s->fabric, &w.model, c, none, smuxes, &l);
			if (!ret)
				ret = worst_of(s, &w, c, false, smuxes, &three);
			if (!ret)
				ret = worst_of(s, &w, c, true, smuxes, &container);
			if (!ret)
				fprintf(csv, "%g,%.4f,%.4f,%.4f,%u\n", loads[i], l.worst, three,
					container, smuxes);
			loads_free(&l);
			engine_free(engine);
			free(c);
		}
		workload_free(&w);
		progress(s, "%g Tbps with failures", loads[i]);
	}
	free(none);
	return ret ? err_set(e, ret, "out of memory") : 0;
}

enum strategy { STICKY, NON_STICKY, ONE_TIME, STRATEGIES };
static const char *const names[] = { "sticky", "non-sticky", "one-time" };

/* shuffled - Mbps of VIPs that go from one mux to another, and of those that came on or off.
 * A VIP new in this interval begins on the SMuxes: that it comes on is no shuffle.
 */
static void shuffled(const struct workload *w, const struct engine_choice *c, double *moved,
		     double *fresh)
{
	unsigned int i, k;

	*moved = *fresh = 0;
	for (i = 0; i < w->model.n_vips; i++) {
		const struct engine_vip *v = &w->model.vips[i];
		double part = 0;

		if (v->current >= 0 && c[i].mux != v->current) {
			*moved += v->mbps;
			continue;
		}
		if (v->current < 0 && c[i].mux >= 0)
			*fresh += v->mbps;
		for (k = 0; v->current >= 0 && k < c[i].n_tips && k < v->n_current_tips; k++)
			if (c[i].tips[k].mux != v->current_tips[k])
				part += v->mbps * c[i].tips[k].n_dips / v->n_dips;
		*moved += part;
	}
}

static int interval(const struct sim *s, struct workload *w, enum strategy how, FILE *csv)
{
	struct engine_options o = s->options;
	struct engine_choice *c;
	struct engine *engine;
	double moved, fresh, share, began = cpu_s();
	struct need n;
	int ret;

	o.sticky = how != NON_STICKY;
	o.stay = how == ONE_TIME && w->interval;
	ret = sim_assign(w, &o, &engine, &c);
	if (ret)
		return ret;
	began = cpu_s() - began;
	share = on_switches(&w->model, c);
	shuffled(w, c, &moved, &fresh);
	need_find(&s->fabric, &w->model, c, s->habits.seed + w->interval, &n);
	n.transit = w->interval ? moved : 0;
	fprintf(csv, "%u,%s,%.5f,%.5f,%.5f,%u,%u,%.1f,%.1f,%.1f,%.1f,%.1f,%.3f\n", w->interval,
		names[how], share, w->interval ? moved / w->total : 0,
		w->interval ? fresh / w->total : 0, need_smuxes(&n, SMUX_MBPS),
		ananta_smuxes(w->total, SMUX_MBPS), w->total / 1000, n.unassigned / 1000,
		n.container / 1000, n.three / 1000, n.transit / 1000, began);
	ret = workload_settle(w, c);
	engine_free(engine);
	free(c);
	return ret;
}

int fig20_rows(const struct sim *s, FILE *csv, struct err *e)
{
	struct workload w;
	unsigned int how, i, n;
	int ret = 0;

	fprintf(csv, "interval,strategy,share_on_switches,shuffled,newly_on,smuxes,ananta,total_gbps,"
		     "unassigned_gbps,container_gbps,three_gbps,transit_gbps,cpu_s\n");
	for (how = 0; !ret && how < STRATEGIES; how++) {
		ret = sim_workload(s, CHANGE_TBPS, &w, e);
		if (ret)
			return ret;
		n = w.habits.intervals;
		for (i = 0; !ret && i < n; i++) {
			ret = i ? workload_next(&w, &s->fabric) : 0;
			if (!ret)
				ret = interval(s, &w, how, csv);
			progress(s, "%s: interval %u of %u", names[how], i + 1, n);
		}
		workload_free(&w);
	}
	return ret ? err_set(e, ret, "out of memory") : 0;
}
