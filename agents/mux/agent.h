/* SPDX-License-Identifier: GPL-2.0 */
/*
 * duet-mux-agent: keeps one mux equal to what the controller wants, and BIRD
 * told of what it may announce (design section 6).
 *
 *	main.c		configuration, start
 *	api.c		REST: what is asked; show.c: what is answered
 *	state.c		what is wanted, what is there, and the steps between
 *	reach.c		which DIPs the kernel has a route to
 *	announce.c	trigger routes
 *	birdwatch.c	what BIRD really exports
 *	backend_*.c	the data plane
 */
#ifndef DUET_MUX_AGENT_H
#define DUET_MUX_AGENT_H

#include <systemd/sd-event.h>

#include "backend.h"
#include "bird.h"
#include "http.h"
#include "route.h"

struct config {
	char *name, *run_dir;
	struct http_conf http;
	char *device, *mode_name, *backend_name, *ports;
	enum duet_mode mode;
	struct addr local;
	unsigned int max_vips, max_rules, max_members, max_tunnels;	/* 0: the mode's preset */
	char *bird_socket, *bird_table, *bird_protocol;
	unsigned int table, hold_ms;
};

/* config_read - file into *config; also what no single key shows */
int config_read(const char *file, struct config *config, struct err *e);
void config_free(struct config *config);

enum announce { ANNOUNCE_NO, ANNOUNCE_YES, ANNOUNCE_DRAIN };

/* The life of a VIP on a mux. Announced only after the data plane acknowledged
 * the table; withdrawn first, served on for hold_ms, removed last.
 */
enum vip_state {
	VIP_ABSENT,
	VIP_PROGRAMMING,	/* wanted, not yet acknowledged */
	VIP_PROGRAMMED,		/* served, not announced */
	VIP_ANNOUNCED,
	VIP_DRAINING,		/* announced with graceful shutdown */
	VIP_WITHDRAWING,	/* withdrawn, served on until the hold time is over */
	VIP_REFUSED,		/* the data plane said no: reason */
};

enum routes { ROUTES_NONE, ROUTES_SOME, ROUTES_ALL };

struct mux_vip {
	struct addr addr;
	struct vip *want;		/* NULL: not wanted (or, before the first full state, not known) */
	struct vip *have;		/* as the data plane acknowledged it; NULL: not there */
	enum announce announce;		/* wanted */
	enum announce trigger;		/* there: a trigger route, and which */
	bool invalid;			/* refused for what it is, not for want of room */
	bool keep;			/* found at start, not spoken of yet: leave as it is */
	bool exported;			/* BIRD has it in its table */
	enum routes routes;		/* to its DIPs that are up */
	uint64_t held_usec;		/* since when it waits for routes; 0: it doesn't */
	uint64_t withdrawn_usec;	/* when the trigger went; 0: never was there */
	char reason[160];		/* why refused */
};

struct agent {
	struct config config;
	sd_event *loop;
	struct backend *backend;
	struct rt *rt;
	struct bird *bird;
	struct http_server *http;

	/* what the controller said last */
	uint64_t epoch, generation;
	bool synced;			/* a whole state has come since start */
	struct prefix aggregate;	/* len 0: none */
	uint32_t seed;

	struct mux_vip **vips;		/* sorted by address */
	unsigned int n_vips;
	bool aggregate_trigger;
	struct prefix aggregate_at;	/* of the trigger that is there */
	char trouble[512];		/* why the last run ended early; empty: it didn't */

	sd_event_source *routes_io, *routes_timer;
	bool routes_stale;		/* look at the routes before announcing */
	uint64_t aggregate_held_usec;

	sd_event_source *hold_timer, *look_timer, *bird_timer, *events;
	uint64_t seen;			/* generation of the device at the last look */

	enum bird_state bird_state;
	char bird_detail[160];
	unsigned int bird_exported, bird_sessions;
	bool bird_asked;
	bool aggregate_exported;
	unsigned int reloads;		/* `reload in` sent because routes were lost */

	struct {
		unsigned long puts, stale, refused, drifts, programmed, removed, announced, withdrawn;
	} count;
};

struct changes {
	unsigned int added, replaced, removed, announced, withdrawn, dips;
};

/* state.c */
int state_start(struct agent *a, struct err *e);	/* reads data plane and triggers */
void state_free(struct agent *a);
struct mux_vip *state_find(struct agent *a, const struct addr *addr);
/* state_get - find or make; NULL: no memory */
struct mux_vip *state_get(struct agent *a, const struct addr *addr);
/* state_want - what the VIP shall be from now on (takes vip; NULL: gone) */
void state_want(struct mux_vip *v, struct vip *vip, enum announce announce);
/* state_run - take every step that can be taken now, in the sacred order.
 * 0, or -errno if the data plane or rtnetlink can't be talked to.
 */
int state_run(struct agent *a, struct changes *changes, struct err *e);
enum vip_state state_of(const struct agent *a, const struct mux_vip *v);
const char *state_name(enum vip_state state);
const char *announce_name(enum announce announce);
int announce_parse(const char *s, enum announce *announce);
/* state_whole - every wanted VIP is served as wanted */
bool state_whole(const struct agent *a);

/* state_trouble - what state_run() last failed with, or NULL */
const char *state_trouble(const struct agent *a);

/* reach.c */
int reach_start(struct agent *a, struct err *e);
void reach_stop(struct agent *a);
/* reach_update - each VIP's routes, if anything changed since the last time */
int reach_update(struct agent *a, struct err *e);
/* reach_vip, reach_aggregate - may it be announced, as far as routes go? */
bool reach_vip(struct agent *a, struct mux_vip *v);
bool reach_aggregate(struct agent *a);

/* announce.c */
int announce_read(struct agent *a, struct err *e);	/* triggers into the VIPs */
/* announce_set - make the trigger what it is to be; counts into changes */
int announce_set(struct agent *a, struct mux_vip *v, enum announce to, struct changes *changes, struct err *e);
int announce_aggregate(struct agent *a, struct err *e);

/* birdwatch.c */
int birdwatch_start(struct agent *a, struct err *e);
void birdwatch_stop(struct agent *a);
/* birdwatch_soon - triggers changed: look at BIRD's table now */
void birdwatch_soon(struct agent *a);
const char *birdwatch_state_name(enum bird_state state);

/* api.c, show.c */
bool api_fence(struct agent *a, struct http_request *req, uint64_t epoch, uint64_t generation);
extern const struct http_route api_routes[];
json_t *show_vip(struct agent *a, const struct mux_vip *v, const struct vip *counted);
void show_status(struct http_request *req, json_t *body, void *ctx);
void show_vips(struct http_request *req, json_t *body, void *ctx);
void show_one(struct http_request *req, json_t *body, void *ctx);
void show_health(struct http_request *req, json_t *body, void *ctx);
void show_metrics(struct http_request *req, json_t *body, void *ctx);

#endif
