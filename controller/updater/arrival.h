/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Whether what a switch exports has arrived: its neighbours' agents say what their BIRD has accepted from it. A
 * neighbour without an agent, or with an older one, says nothing, and "exported" then means offered.
 */
#ifndef DUET_CONTROLLER_ARRIVAL_H
#define DUET_CONTROLLER_ARRIVAL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct http_result;
struct mux;
struct updater;
struct uvip;

#define ARRIVAL_NEIGHBOURS 4	/* asked about one switch */

/* struct arrival_at - what one neighbour has of a switch */
struct arrival_at {
	struct mux *of;			/* the switch */
	json_t *vips;			/* {VIP: true}; NULL: no answer */
	char name[64];
};

/* struct arrival - of one switch */
struct arrival {
	struct arrival_at at[ARRIVAL_NEIGHBOURS];
	struct mux **linked;		/* the muxes that the topology links with it */
	unsigned int n_linked;
	unsigned int pending, rounds;	/* rounds: of questions since what it exports has changed */
	uint64_t next_ms, asked_ms;	/* mono_ms() */
};

enum arrived {
	ARRIVED_UNKNOWN,	/* nobody to ask, or not asked often enough yet: what is offered counts */
	ARRIVED_YES,
	ARRIVED_NO,		/* each neighbour that answers lacks it */
};

int arrival_start(struct updater *u);
void arrival_stop(struct updater *u);
void arrival_changed(struct mux *m);	/* it exports other VIPs than before, perhaps */
enum arrived arrival_of(const struct mux *m, const struct uvip *v);
/* arrival_lacking - names of the neighbours that lack it, for a sentence */
const char *arrival_lacking(const struct mux *m, const struct uvip *v, char *text, size_t size);
/* arrival_neighbour - the k-th neighbour that can be asked about m; NULL: there are no more */
struct mux *arrival_neighbour(const struct mux *m, unsigned int k);
/* arrival_has - has the neighbour that gave this answer the VIP? ARRIVED_UNKNOWN: it can't say */
enum arrived arrival_has(const struct http_result *r, const char *vip);

#endif
