/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What is wrong now: every fault as a code of lib/faults.def, the object it is
 * about, and a sentence. Gathered from the updater's state, which it doesn't change.
 */
#ifndef DUET_CONTROLLER_QUERY_FAULTS_H
#define DUET_CONTROLLER_QUERY_FAULTS_H

#include "../updater/priv.h"
#include "fault_code.h"

enum fault_object {
	OBJECT_CONTROLLER, OBJECT_DEPLOYMENT, OBJECT_CERTIFICATE, OBJECT_MUX, OBJECT_HOST, OBJECT_VIP, OBJECT_DIP,
	OBJECT_LINK, OBJECT_PEER,
};

#define FAULT_NAME_SIZE 192	/* a link's: two nodes and two ports */

struct fault {
	enum fault_code code;
	enum fault_object object;
	char name[FAULT_NAME_SIZE];
	char *sentence;
	uint64_t since_ms;	/* wall_ms() when this controller saw it first; fault_watch.c */
};

struct fault_list {
	struct fault *all;
	unsigned int n, size;
};

/* fault_add - one more; two with the same code and object are one fault with two sentences */
void fault_add(struct fault_list *list, enum fault_code code, enum fault_object object, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
/* faults_gather - all there are, but for those of fault_tables() */
void faults_gather(const struct updater *u, struct fault_list *list);
/* faults_sort - into the order in which they are shown: severe ones first, then by code and object */
void faults_sort(struct fault_list *list);
void faults_free(struct fault_list *list);
const char *fault_object_name(enum fault_object object);
int fault_compare(const struct fault *a, const struct fault *b);	/* that order; 0: the same fault */

/* Parts of faults_gather(), each for its kind of objects */
void fault_muxes(const struct updater *u, struct fault_list *list);
void fault_links(const struct updater *u, struct fault_list *list);
void fault_hosts(const struct updater *u, struct fault_list *list);
void fault_vips(const struct updater *u, struct fault_list *list);
void fault_policies(const struct updater *u, struct fault_list *list);
void fault_smuxes(const struct updater *u, struct fault_list *list);
void fault_parts(const struct updater *u, struct fault_list *list);
void fault_snat(const struct updater *u, struct fault_list *list);
void fault_key(const struct updater *u, struct fault_list *list);

#define FAULT_SHARE 100	/* gathering takes at most one part in so many of the processor's time */

/* The comparison of all muxes' tables, a part of the VIPs each time */
struct table_check {
	struct fault_list found, round;	/* of the last whole round; of this one so far */
	unsigned int next;		/* VIP */
	uint64_t spent_usec, cost_usec;	/* in this round; in the last one */
};
/* fault_tables - goes on with it, and adds what the last round found */
void fault_tables(const struct updater *u, struct table_check *check, struct fault_list *list);

/* fault_settled - the mux has been pushed all there is of the VIP, and has been polled since */
bool fault_settled(const struct uvip *v, const struct mux *m);

/* fault_watch.c: since when, and events */
int fault_watch_start(struct updater *u);
void fault_watch_stop(struct updater *u);
/* faults_now - all there are at this moment, with their times; valid until the next call */
const struct fault_list *faults_now(struct updater *u);
/* faults_counted - objects by code */
const unsigned int *faults_counted(struct updater *u);
void faults_soon(struct updater *u);	/* something changed that may be a fault, or the end of one */
struct metrics;
void fault_metrics(struct updater *u, struct metrics *m);

#endif
