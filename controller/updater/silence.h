/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Hosts that have missed their reports, and what becomes of their DIPs.
 *
 *	silence.c	which hosts are to be judged, when, and what follows from a verdict
 *	routes.c	which hosts muxes have no route to, and which switches are alone with that
 *	witness.c	which muxes probe which DIPs, and what they answer
 *	../monitor/judge.c	the verdict itself
 */
#ifndef DUET_CONTROLLER_SILENCE_H
#define DUET_CONTROLLER_SILENCE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include "../common.h"
#include "../monitor/judge.h"
#include "fault_code.h"

struct host;
struct http_call;
struct http_result;
struct mux;
struct updater;
struct uvip;
struct witnesses;

/* struct silence - of one host */
struct silence {
	bool late;			/* it has missed its reports, or has never sent one */
	bool doubted;			/* some mux has no route to it, though it may report */
	bool asking;			/* witnesses are asked about it now */
	bool capped;			/* judged dead, and kept: too many would be out */
	bool out;			/* its DIPs were taken out of all muxes */
	unsigned int against;		/* rounds in a row that found it dead */
	enum verdict verdict;		/* the last one; of this silence only */
	uint64_t last_ms;		/* mono_ms() of its last report; 0: never */
	uint64_t next_ms;		/* mono_ms() when it is judged again */
	unsigned int next_target;	/* where its next targets begin, if they are more than fit */
	json_t *said;			/* DIPs as it reported last, for when a doubt ends */
	char says[256];			/* what the witnesses said */
	char fault[768];		/* what an operator should read; empty: nothing yet */
};

/* struct target - a DIP of a host that a witness probes */
struct target {
	char vip[ADDR_STRLEN];		/* empty: the server itself, without a tunnel */
	unsigned int rule, port;	/* port 0: an echo request */
	bool exact;			/* the port is the service's: a refusal says that it is dead */
};

/* struct inquiry - one host in a round of questions */
struct inquiry {
	struct host *host;
	struct target targets[JUDGE_TARGETS];
	struct evidence evidence;
};

/* silence_suspect - is it judged by witnesses now, and has none of them an answer from it */
bool silence_suspect(const struct silence *s);
/* silence_doubt - does some mux report that it has no route to the host */
void silence_doubt(struct host *h, bool doubted);

/* routes.c */
/* routes_told - a mux's new status: which DIPs it has no route to */
void routes_told(struct mux *m, json_t *unrouted);
/* routes_astray - VIPs that a switch must not announce, for it alone has no route to DIPs that answer others */
void routes_astray(struct updater *u);

int silence_start(struct updater *u);	/* muxes and hosts are known */
void silence_stop(struct updater *u);
/* silence_note - the monitor on a host: has it missed its reports, and how long ago was the last one */
void silence_note(struct host *h, bool late, uint64_t age_ms);
/* silence_said - of the DIPs that a host reported: all; of one that is late only deaths, for the rest may be outdated */
json_t *silence_said(json_t *dips, bool late);
/* silence_of - is this why a DIP is down? */
bool silence_of(const char *reason);
/* silence_fault - is its silence a fault: it is out, or silent for SILENT_MS, or capped? h->silence.fault is the sentence. */
bool silence_fault(const struct host *h, enum fault_code *code);
unsigned int silence_probe_ms(const struct updater *u);	/* how long a witness waits for answers */

/* witness_target - how a DIP of this rule is probed; false: it can't be */
bool witness_target(const struct uvip *v, json_t *rule, unsigned int index, struct target *t);
/* witness_target_json - as POST /v1/probes of a mux agent takes it; new reference */
json_t *witness_target_json(const char *dip, const struct target *t);
/* witness_call - has the mux probe targets (at most PROBE_TARGETS_MAX; they stay the caller's) for so many ms, and waits
 * for its answer within_ms; as http_call()
 */
#define PROBE_TARGETS_MAX 250	/* fewer than the mux agent takes */
struct http_call *witness_call(const struct mux *m, json_t *targets, unsigned int ms, unsigned int within_ms,
			       void (*done)(const struct http_result *result, void *ctx), void *ctx);
/* witness_can - is the mux there, and may it be asked */
bool witness_can(const struct mux *m);
/* witness_targets - DIPs of the host that can be probed, beginning with the `from`-th; how many */
unsigned int witness_targets(struct host *h, unsigned int from, struct target *list, unsigned int max);
/* witness_ask - about n hosts (their targets filled in): done(n, list, ctx) is called exactly once unless the updater
 * stops; the list is only there during that call. false: nobody can be asked, done isn't called
 */
bool witness_ask(struct updater *u, const struct inquiry *list, unsigned int n,
		 void (*done)(struct updater *u, struct inquiry *list, unsigned int n));
void witness_stop(struct updater *u);	/* the HTTP client has stopped */

#endif
