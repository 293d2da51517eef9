/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the fabric carries: VIPs, their clients and DIPs, and how both change
 * from one ten-minute interval to the next. Generated from a seed, or read
 * from a trace (docs/evaluation.md has its format).
 */
#ifndef DUET_SIM_WORKLOAD_H
#define DUET_SIM_WORKLOAD_H

#include <stdio.h>

#include "fabric.h"

/* struct habits - what the generator assumes; docs/evaluation.md says from where */
struct habits {
	unsigned int vips, intervals;
	unsigned int skip, of;	/* VIPs skip + 1 ... skip + vips of so many by size; of 0: of vips */
	uint64_t seed;
	double tbps;		/* of the first interval */
	double internet;	/* share of a VIP's traffic that comes from outside */
	double drift;		/* sigma of the log of a VIP's traffic around its mean */
	double memory;		/* correlation of that from interval to interval */
	double churn;		/* share of VIPs replaced by new ones an interval */
	double wave;		/* amplitude of the whole's rise and fall */
};

/* struct trace_rate - a VIP's traffic in one interval */
struct trace_rate {
	unsigned int interval, vip;
	double mbps;
};

struct workload {
	struct habits habits;
	struct engine_model model;	/* of the current interval; switches and links are the fabric's */
	unsigned int interval;
	double total;			/* Mbps now */
	double *base, *noise, *bytes;	/* by VIP: mean share, deviation, bytes a packet */
	char (*names)[24];
	int **tips;			/* by VIP: places of its TIPs */
	uint64_t random;
	unsigned int fresh;		/* VIPs made so far */
	struct trace_rate *rates;	/* of a trace file; NULL: generated */
	size_t n_rates, room_rates;
};

void habits_paper(struct habits *h);
int workload_new(struct workload *w, const struct fabric *f, const struct habits *h, struct err *e);
/* workload_next - the next interval; VIPs replaced are on the SMuxes again. -ENOMEM */
int workload_next(struct workload *w, const struct fabric *f);
/* workload_settle - current places become the choices */
int workload_settle(struct workload *w, const struct engine_choice *choices);
void workload_free(struct workload *w);
/* trace.c: a trace file instead of the generator */
int workload_read(struct workload *w, const struct fabric *f, const char *file, struct err *e);
int workload_parse(struct workload *w, const struct fabric *f, FILE *in, const char *name,
		   struct err *e);
int workload_write(const struct workload *w, const struct fabric *f, FILE *out);

void workload_rates(struct workload *w);	/* traffic of the current interval, from a trace */

double sim_uniform(uint64_t *state);	/* in [0, 1) */
double sim_normal(uint64_t *state);
/* workload_share - part of all bytes that the n largest of total VIPs carry */
double workload_share(double n, double total);

#endif
