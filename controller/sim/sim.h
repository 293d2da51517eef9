/* SPDX-License-Identifier: GPL-2.0 */
/* What the simulator's files share: SMuxes, failures, figures, output. */
#ifndef DUET_SIM_SIM_H
#define DUET_SIM_SIM_H

#include <jansson.h>
#include <stdio.h>

#include "workload.h"

#define SMUX_MBPS	3600	/* section 8.2: as observed on production SMuxes */
#define SMUX_KPPS	300	/* section 7.1 */
#define RTT_US		381	/* section 8.3: median round trip in a data centre */
#define LOADS		{ 1.25, 2.5, 5, 10 }
#define CHANGE_TBPS	6.6	/* Figure 20: between two of Figure 16's loads */
#define DRAWS		1000	/* of three random switches */

/* struct sim - one run of the program */
struct sim {
	struct fabric fabric;
	struct habits habits;
	const char *trace;
	struct engine_options options;	/* the paper's rule, unless told otherwise */
	bool quiet;
};

/* struct need - traffic in Mbps that SMuxes may have to carry */
struct need {
	double unassigned;	/* VIPs that are on no switch */
	double container;	/* of the worst container, all of it failed */
	double three;		/* of three random switches: highest of DRAWS draws */
	double three_mean, three_p99, three_worst;	/* mean, 99 of 100, the three busiest */
	double transit;		/* of VIPs on their way, by way of the SMuxes */
};

/* smux.c */
void need_find(const struct fabric *f, const struct engine_model *m, const struct engine_choice *c,
	       uint64_t seed, struct need *n);
/* need_smuxes - (unassigned + the highest of the other terms) / capacity, rounded up */
unsigned int need_smuxes(const struct need *n, double mbps);
unsigned int ananta_smuxes(double total, double mbps);
/* smux_delay_us - what an SMux adds at so many packets a second */
double smux_delay_us(double kpps);
double on_switches(const struct engine_model *m, const struct engine_choice *c);	/* share of traffic */

/* vips_on - how many are on switches: an assignment that stopped early is no measurement of anything */
unsigned int vips_on(const struct engine_model *m, const struct engine_choice *c);

/* linkload.c: loads of links with switches failed, VIPs of failed switches on n SMuxes */
struct loads {
	double *mbps;		/* 2 * link + dir */
	double worst;		/* share of a link's full capacity, the border's left out */
	double lost;		/* Mbps that had no way or no end left */
};
int loads_find(const struct fabric *f, const struct engine_model *m, const struct engine_choice *c,
	       const bool *failed, unsigned int smuxes, struct loads *l);
void loads_free(struct loads *l);

/* run.c */
int sim_workload(const struct sim *s, double tbps, struct workload *w, struct err *e);
/* sim_assign - engine and choices of the interval; the caller frees both */
int sim_assign(const struct workload *w, const struct engine_options *o, struct engine **e,
	       struct engine_choice **c);
/* sim_timed - one assignment; processor seconds with and without making the model ready */
int sim_timed(const struct workload *w, const struct engine_options *o, double *all,
	      double *run, struct engine **e, struct engine_choice **c);
void sim_done(struct engine **e, struct engine_choice **c);	/* frees both, NULL or not */
double cpu_s(void);		/* this process' processor time */
void progress(const struct sim *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* figures.c, figures_time.c: rows of a CSV */
struct figure {
	const char *name, *title;
	int (*rows)(const struct sim *s, FILE *csv, struct err *e);
	const char *plot;	/* gnuplot; DATA stands for the CSV's name */
};
const struct figure *figure_find(const char *name);
const struct figure *figure_next(const struct figure *f);	/* NULL: first; NULL after the last */
int figure_plot(const struct figure *f, const char *csv, const char *file, struct err *e);
int fig15_rows(const struct sim *s, FILE *csv, struct err *e);
int fig16_rows(const struct sim *s, FILE *csv, struct err *e);
int fig17_rows(const struct sim *s, FILE *csv, struct err *e);
int fig18_rows(const struct sim *s, FILE *csv, struct err *e);
int fig19_rows(const struct sim *s, FILE *csv, struct err *e);
int fig20_rows(const struct sim *s, FILE *csv, struct err *e);
int growth_rows(const struct sim *s, FILE *csv, struct err *e);
int beyond_rows(const struct sim *s, FILE *csv, struct err *e);

/* bound.c: the LP relaxation, solved by glpsol */
int bound_find(const struct workload *w, double link_share, double *share, struct err *e);
int bound_rows(const struct sim *s, FILE *csv, struct err *e);

/* assign.c */
int assign_json(const struct sim *s, FILE *out, struct err *e);

/* equal.c: the fast engine against the plain one */
/* equal_small - random small fabrics, assigned by both */
int equal_small(const struct sim *s, json_t *out, struct err *e);
/* equal_compared - one fabric assigned by both: times and differences; NULL: no memory */
json_t *equal_compared(const struct fabric *f, const struct habits *h,
		       const struct engine_options *o, struct err *e);
/* equal_steps - every so manieth VIP (0: none) where the ones before it have left the fabric, in
 * `jobs` processes; members of `out`. -ENOMEM, -ECHILD: a process ended early.
 */
int equal_steps(const struct sim *s, const struct workload *w, unsigned int step,
		unsigned int jobs, json_t *out);
/* equal_json - every VIP of the workload told */
int equal_json(const struct sim *s, unsigned int jobs, FILE *out, struct err *e);

/* bench.c */
int bench_json(const struct sim *s, unsigned int step, FILE *out, struct err *e);

#endif
