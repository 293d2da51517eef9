/* SPDX-License-Identifier: GPL-2.0 */
/*
 * duet-fleet: the agents of a whole fabric in one process, to try a controller
 * at its size. A mux is the mux agent's own REST, state machine, announcing and
 * reachability (agents/mux) over its `sim` backend; only what there is one of in
 * a machine is played: rtnetlink (rt.c), where every DIP can be reached, and
 * BIRD (birdwatch.c), which exports what it is told after some milliseconds.
 * A host (host.c) takes its state and reports as agents/host/report.c does, and
 * every DIP of it is up.
 */
#ifndef DUET_FLEET_H
#define DUET_FLEET_H

#include <sys/queue.h>

#include "conf.h"
#include "http.h"

struct fleet;
struct fleet_host;

struct fleet {
	sd_event *loop;
	const char *controller;		/* where hosts report; NULL: they don't */
	struct http_client *client;	/* of all hosts */
	struct http_server *server;	/* of all hosts, and of the fleet itself */
	struct fleet_host *hosts;	/* by name */
	unsigned int n_hosts, n_muxes;
	TAILQ_HEAD(, fleet_host) waiting;	/* those that report when others have an answer */
	unsigned int under_way;			/* reports */
	char error[256];		/* why the last report failed */
	struct {
		uint64_t sent, failed, states;
		unsigned int usec[65536];	/* how long the last reports took, a ring */
	} count;
};

/* mux.c: an agent of its own address */
int mux_add(struct fleet *f, bool smux, const char *name, const char *local, const char *listen, struct err *e);

/* host.c */
int host_add(struct fleet *f, const char *name, const char *address, struct err *e);
int hosts_start(struct fleet *f, struct err *e);	/* all are there */
/* handlers; ctx is the fleet */
void host_state_put(struct http_request *req, json_t *body, void *ctx);
void host_down_post(struct http_request *req, json_t *body, void *ctx);

#endif
