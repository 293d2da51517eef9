/* SPDX-License-Identifier: GPL-2.0 */
/*
 * duet-mux-agent: keeps one mux equal to what the controller wants, and BIRD
 * told of what it may announce.
 *
 *	main.c		configuration, start
 *	api.c		REST: what is asked; show.c: what is answered
 *	state.c		what is wanted, what is there, and the steps between
 *	reach.c		which DIPs the kernel has a route to
 *	announce.c	trigger routes
 *	guard.c		addresses that can't be VIPs: this machine's own
 *	probe.c		probes of DIPs, asked for by the controller; probe_wire.c: their packets
 *	learned.c	what BIRD accepted from a neighbour
 *	birdwatch.c	what BIRD really exports; bird_show.c: its answers, read
 *	backend_*.c	the data plane
 */
#ifndef DUET_MUX_AGENT_H
#define DUET_MUX_AGENT_H

#include <systemd/sd-event.h>

#include "backend.h"
#include "bird.h"
#include "fence.h"
#include "http.h"
#include "route.h"

#define ALLOWED_MAX	32

struct config {
	char *name, *run_dir;
	char *state_dir;		/* of what outlives the machine */
	struct http_conf http;
	struct auth_conf lists;
	struct auth auth;		/* of the lists */
	char *device, *mode_name, *backend_name, *ports;
	enum duet_mode mode;
	char *drift_name, *user;
	bool drift_report;		/* what others changed is told, not repaired */
	unsigned int keepalive_ms;	/* UINT32_MAX: the mode's */
	struct addr local, local6;	/* none: no IPv6 tunnels */
	char *link, *tos_name;		/* a netdev, or NULL */
	uint8_t tos;			/* of tos_name */
	unsigned int fwmark, spread;
	unsigned int max_vips, max_rules, max_members, max_tunnels;	/* 0: the mode's preset */
	char *bird_socket, *bird_table[2], *bird_protocol[2];	/* IPv4, IPv6 */
	unsigned int table, hold_ms;
	char *allow;			/* prefixes that VIPs and aggregates must lie in; NULL: any */
	struct prefix allowed[ALLOWED_MAX];
	unsigned int n_allowed;
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

enum routes { ROUTES_UNKNOWN, ROUTES_NONE, ROUTES_SOME, ROUTES_ALL };

struct mux_vip {
	struct addr addr;
	struct vip *want;		/* NULL: not wanted (or, before the first full state, not known) */
	struct vip *have;		/* as the data plane acknowledged it; NULL: not there */
	enum announce announce;		/* wanted */
	enum announce trigger;		/* there: a trigger route, and which */
	bool invalid;			/* refused for what it is, not for want of room */
	bool same;			/* have is want */
	bool keep;			/* found at start, not spoken of yet: leave as it is */
	bool learned;			/* BIRD has it in its table */
	bool drift;			/* changed by somebody else, and left so */
	unsigned int exported;		/* neighbours that BIRD tells of it */
	enum routes routes;		/* to its DIPs that are up */
	uint64_t held_usec;		/* since when it waits for routes; 0: it doesn't */
	uint64_t withdrawn_usec;	/* when the trigger went; 0: never was there */
	char reason[160];		/* why refused */
};

#define AGGREGATES_MAX	8

struct aggregate {
	struct prefix prefix;
	bool want, trigger, learned;
	unsigned int exported;		/* neighbours */
};

/* A BGP session as BIRD shows it */
struct neighbour {
	char name[64], state[24], address[ADDR_STRLEN], id[ADDR_STRLEN], link[16];
	unsigned int asn, exported;
};

struct changes {
	unsigned int added, replaced, removed, announced, withdrawn, dips;
};

struct agent {
	struct config config;
	sd_event *loop;
	struct backend *backend;
	struct rt *rt;
	struct bird *bird;
	struct http_server *http;
	struct tls *tls;		/* NULL: no certificates */
	struct probes *probes;		/* probe.c's */

	struct fence fence;		/* the newest request obeyed */
	bool begun;			/* the data plane was there, and what it held has been read */
	bool synced;			/* a whole state has come since start */
	bool drained;			/* asked to announce no aggregate, every VIP on its way out */
	struct aggregate aggregates[AGGREGATES_MAX];	/* wanted, or there */
	unsigned int n_aggregates;
	struct secret keys[DUET_KEYS];
	bool keys_stale;		/* one is still there that is wanted no more */

	struct mux_vip **vips;		/* sorted by address */
	unsigned int n_vips;
	/* a change too long for one turn of the loop: who waits for its end */
	struct {
		struct http_request *req;
		struct changes *changes;
		void (*answer)(struct agent *a, struct http_request *req, const struct changes *c);
	} waiting[16];
	unsigned int n_waiting, left, total;	/* VIPs still to be programmed, of so many */
	const struct mux_vip *urgent;		/* goes first */
	bool retry;				/* what was refused may fit now */
	unsigned int retry_at;
	char trouble[512];		/* why the last run ended early; empty: it didn't */

	sd_event_source *routes_io, *routes_timer;
	struct dip_route *dips;		/* reach.c's: sorted, what the kernel said of each */
	unsigned int n_dips, look_dip;	/* look_dip: where the next look goes on */
	unsigned int n_dips_fresh;	/* when all were last found out anew */
	bool routes_stale, dips_stale;	/* ask for all, or for some, before announcing */
	bool vips_stale;		/* of some VIPs it isn't known which routes they have */
	uint64_t aggregate_held_usec;

	sd_event_source *hold_timer, *look_timer, *bird_timer, *events, *keepalive_timer;
	uint64_t seen;			/* generation of the device at the last look */
	uint64_t changes;		/* of tables, and of what is exported: whoever knows the number needs no list */

	enum bird_state bird_state;
	char bird_detail[160];
	char bird_wrong[160];		/* why it can't serve us though it answers; empty: it can */
	unsigned int bird_exported, bird_sessions;	/* triggers it has in its tables; sessions up */
	struct neighbour *neighbours;
	unsigned int n_neighbours;
	unsigned int n_learned_calls;	/* of learned.c, under way */
	char local_trouble[160], port_trouble[200];
	struct taken *taken;		/* guard.c's: sorted by address */
	unsigned int n_taken;
	bool addresses_stale;		/* an address of this machine came or went */
	char guard_trouble[160];
	unsigned int reloads;		/* `reload in` sent because routes were lost */

	struct {
		unsigned long puts, stale, refused, drifts, programmed, removed, announced, withdrawn;
	} count;
};

/* state.c */
/* state_start - reads data plane and triggers; where there is no data plane yet, it is waited for */
int state_start(struct agent *a, struct err *e);
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
/* state_finish - answer req, now if all is done, else when it is; false: too many wait */
bool state_finish(struct agent *a, struct http_request *req, const struct changes *changes,
		  void (*answer)(struct agent *a, struct http_request *req, const struct changes *c));
/* state_look - is all still as it was left? Soon; state_look_event: something changed, soon enough for a burst */
void state_look(struct agent *a);
void state_look_event(struct agent *a);
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
/* reach_update - the routes of VIPs that were programmed, and of those that may have lost or won some */
int reach_update(struct agent *a, struct err *e);
/* reach_look - should a change ever have gone unheard: a part of the DIPs will be asked for again */
void reach_look(struct agent *a);
/* reach_vip, reach_aggregate - may it be announced, as far as routes go? */
bool reach_vip(struct agent *a, struct mux_vip *v);
bool reach_aggregate(struct agent *a);
json_t *reach_unrouted(const struct agent *a);	/* DIPs that the kernel has no route to; some of them if they are many */

/* learned.c */
void learned_get(struct http_request *req, json_t *body, void *ctx);	/* GET /v1/learned/ID */

/* probe.c */
/* probes_start - before privileges are dropped: it opens raw sockets. Without them the mux works, and probes nothing. */
int probes_start(struct agent *a, struct err *e);
void probes_stop(struct agent *a);	/* after the HTTP server has stopped */
void probes_post(struct http_request *req, json_t *body, void *ctx);	/* POST /v1/probes */

/* guard.c */
/* guard_changed - of what rt_watch_read() calls back with */
void guard_changed(struct agent *a, const struct prefix *p, unsigned int table);
/* guard_refuses - is the VIP or one of its DIPs taken? Then why says by what. */
bool guard_refuses(struct agent *a, const struct vip *vip, char *why, size_t size);
/* guard_aggregate - 0, or -EINVAL with a sentence */
int guard_aggregate(struct agent *a, const struct prefix *p, struct err *e);
/* guard_trouble - a sentence if a VIP that is served is an address of this machine now, or NULL */
const char *guard_trouble(struct agent *a);

/* announce.c */
/* announce_read - triggers into the VIPs; what changed since the last time was somebody else */
int announce_read(struct agent *a, bool starting, struct err *e);
/* announce_set - make the trigger what it is to be; counts into changes */
int announce_set(struct agent *a, struct mux_vip *v, enum announce to, struct changes *changes, struct err *e);
int announce_aggregates(struct agent *a, struct err *e);
/* announce_aggregate_want - p shall be announced; false: too many */
bool announce_aggregate_want(struct agent *a, const struct prefix *p);

/* birdwatch.c */
int birdwatch_start(struct agent *a, struct err *e);
void birdwatch_stop(struct agent *a);
/* birdwatch_soon - triggers changed: look at BIRD's table now */
void birdwatch_soon(struct agent *a);
/* birdwatch_wake - a link changed. BIRD 2 reads the kernel's routes again when one went down, by a timer, and what
 * its timers found out it acts on when anything wakes it next, up to 3 s later: a few questions do.
 */
void birdwatch_wake(struct agent *a);
const char *birdwatch_state_name(const struct agent *a);
/* bird_show.c: what BIRD says, read; *list malloc'd; *kernel: state of protocol `kernel`, empty if there is none */
int bird_protocols(const char *text, const char *kernel, char *kernel_state, size_t size, struct neighbour **list, unsigned int *n);
/* bird_routes - calls back for each prefix of a table's listing */
void bird_routes(const char *text, void (*route)(const struct prefix *p, void *ctx), void *ctx);

/* api.c, show.c */
/* api_address - the VIP that the path names; false: answered, it is none */
bool api_address(struct http_request *req, struct addr *addr);
extern const struct http_route api_routes[];
json_t *show_vip(struct agent *a, const struct mux_vip *v, const struct vip *counted);
void show_status(struct http_request *req, json_t *body, void *ctx);
void show_vips(struct http_request *req, json_t *body, void *ctx);
void show_one(struct http_request *req, json_t *body, void *ctx);
void show_health(struct http_request *req, json_t *body, void *ctx);
void show_metrics(struct http_request *req, json_t *body, void *ctx);
/* links.c: of a status */
json_t *links_json(struct agent *a);
json_t *neighbours_json(struct agent *a);
/* links_local_trouble - a sentence if `local` or `local6` is no address of this machine now, or NULL */
const char *links_local_trouble(struct agent *a);
/* links_port_trouble - a sentence if the mux takes no packets from a port that is configured, or NULL */
const char *links_port_trouble(struct agent *a);
void show_links(struct http_request *req, json_t *body, void *ctx);

#endif
