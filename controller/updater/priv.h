/* SPDX-License-Identifier: GPL-2.0 */
/* Inside updater and API: VIPs, muxes, hosts, moves as the updater holds them. */
#ifndef DUET_CONTROLLER_UPDATER_PRIV_H
#define DUET_CONTROLLER_UPDATER_PRIV_H

#include "../controller.h"
#include "../store/store.h"
#include "updater.h"
#include "vip.h"

struct updater;
struct move;

/* One VIP. mux is the one HMux that may announce it, or SMUX: never two. */
struct uvip {
	char text[ADDR_STRLEN];
	struct addr addr;
	json_t *def;		/* as the operator wrote it, in force now */
	char mux[NAME_SIZE];
	double mru;		/* < 0: none */
	char *reason;		/* why it is there */
	struct move *move;	/* under way, or NULL */
	json_t *down;		/* "DIP|rule": {"reason", "since-ms"} */
};

enum mux_state { MUX_UNKNOWN, MUX_UNREACHABLE, MUX_SYNCING, MUX_IN_SYNC, MUX_REFUSING, MUX_FENCED };

struct mux {
	struct updater *u;
	char name[NAME_SIZE], local[ADDR_STRLEN], instance[NAME_SIZE];
	char *url;
	bool smux;
	json_t *status;			/* its last GET /v1/status, or NULL */
	uint64_t heard_ms;		/* mono_ms() of its last answer */
	uint64_t lost_ms;		/* mono_ms() since when it doesn't answer; 0: it does */
	char why[256];			/* what went wrong last; "" if nothing */
	bool fenced;			/* it obeys a controller with a later epoch */
	/* pushing: one request at a time, so that generations arrive in order */
	bool full;			/* it needs the whole state */
	json_t *dirty;			/* VIPs it must be told about */
	json_t *refused;		/* VIP: why it can't hold it */
	struct http_call *push;
	bool push_full;
	char push_vip[ADDR_STRLEN];
	unsigned int pushes;
	uint64_t acked;			/* generation it has */
	unsigned int backoff_ms;
	sd_event_source *retry;		/* pushes wait for this while waiting */
	bool waiting;
	/* looking */
	struct http_call *poll;
	unsigned int poll_pushes, polls;
	sd_event_source *poll_timer;
};

struct host {
	struct updater *u;
	char name[NAME_SIZE], address[ADDR_STRLEN], instance[NAME_SIZE];
	char *url;
	bool dirty, synced, silent, waiting;
	struct http_call *push;
	char why[256];
	unsigned int backoff_ms;
	sd_event_source *retry;
};

enum move_kind { MOVE_MOVE, MOVE_CHANGE, MOVE_DELETE };
enum move_state {
	MOVE_PREPARING,		/* SMuxes and hosts get ready to take it */
	MOVE_WITHDRAWING,	/* its HMux withdraws the route and goes on serving */
	MOVE_SWITCHING,		/* on the SMuxes; a new definition goes to all of them */
	MOVE_ANNOUNCING,	/* the new HMux programs, then announces */
	MOVE_DONE, MOVE_FAILED, MOVE_SUPERSEDED,
};

struct move {
	struct updater *u;
	struct move *next;
	uint64_t id, wave;
	struct uvip *vip;
	enum move_kind kind;
	enum move_state state;
	char from[NAME_SIZE], to[NAME_SIZE];
	json_t *def;			/* what it switches to, or NULL */
	char note[256];			/* what it waits for */
	uint64_t created_ms, changed_ms;	/* wall_ms() */
	uint64_t entered_ms;		/* mono_ms() when it came into this state */
	bool confirmed;			/* the agent said so */
	struct http_call *call;
	sd_event_source *timer;
	bool armed, rest;		/* timer runs; the agent isn't asked before it ends */
	unsigned int delay_ms;
};

struct updater {
	struct controller *ctl;
	struct store *store;
	uint64_t epoch, generation;
	uint32_t seed;
	bool configured;		/* there has been a configuration: agents may be told */
	json_t *model;			/* the monitor's, NULL until known */
	struct http_call *model_call;
	sd_event_source *model_timer;
	struct uvip **vips;		/* by address */
	unsigned int n_vips;
	struct mux *muxes;		/* switches in the topology's order, then SMuxes */
	unsigned int n_muxes;
	struct host *hosts;
	unsigned int n_hosts;
	struct move *moves;		/* under way, oldest first */
	json_t *unkept;			/* health changes not yet in the store */
	sd_event_source *keep_timer;
};

/* vips.c */
struct uvip *vip_find(struct updater *u, const char *text);
int vips_load(struct updater *u, struct err *e);
void vips_free(struct updater *u);
/* vip_add - a new VIP, on the SMuxes; def's reference is taken */
struct uvip *vip_add(struct updater *u, json_t *def);
void vip_remove(struct updater *u, struct uvip *v);
/* vip_adopt - def is in force from now on; takes the reference; the caller tells muxes */
void vip_adopt(struct updater *u, struct uvip *v, json_t *def);
/* vip_place - it lives there now, for that reason (NULL: as before) */
void vip_place(struct updater *u, struct uvip *v, const char *mux, double mru, const char *reason);
bool vip_dip_down(const struct uvip *v, const char *dip, unsigned int rule);
void vips_touch(struct updater *u, struct uvip *v);	/* all muxes that hold it are told */
const char *vip_wanted(const struct uvip *v);	/* where it is or moves to */
void vips_health(struct updater *u, struct host *h, json_t *dips);
void vips_keep_health(struct updater *u);	/* what the store is still to be told */

/* desired.c: what follows for agents from VIPs and moves */
enum hold { HOLD_NOT, HOLD_SILENT, HOLD_ANNOUNCED };
enum hold desired_hold(const struct mux *m, const struct uvip *v);
json_t *desired_vip(const struct uvip *v, enum hold hold);
json_t *desired_mux(const struct mux *m);
json_t *desired_host(const struct host *h);

/* mux.c */
struct mux *mux_find(struct updater *u, const char *name);
void mux_start(struct mux *m);
void mux_stop(struct mux *m);
void mux_touch(struct mux *m, const struct uvip *v);
void mux_kick(struct mux *m);		/* push what there is to push */
void mux_look(struct mux *m);		/* ask for its status now */
enum mux_state mux_state(const struct mux *m);
const char *mux_state_name(enum mux_state state);
/* mux_clean - it acknowledged the present desired state of this VIP (or refused it) */
bool mux_clean(const struct mux *m, const struct uvip *v);
const char *mux_refusal(const struct mux *m, const struct uvip *v);	/* or NULL */
bool mux_lost(const struct mux *m);	/* doesn't answer for SILENT_MS */

/* host.c */
struct host *host_find(struct updater *u, const char *name);
void host_start(struct host *h);
void host_stop(struct host *h);
void host_touch(struct host *h);
void hosts_touch(struct updater *u, json_t *def);	/* those that have DIPs of a definition */
bool hosts_ready(struct updater *u, json_t *def, const char **waits_for);
bool def_has_dip(json_t *def, const char *address);

/* move.c */
int moves_load(struct updater *u, struct err *e);
void moves_free(struct updater *u);
/* move_new - supersedes a move of the same VIP under way; def's reference is
 * taken; returns it or NULL (not kept by the store). Call moves_run() after.
 */
struct move *move_new(struct updater *u, struct uvip *v, enum move_kind kind, const char *to,
		      json_t *def, uint64_t wave);
void moves_run(struct updater *u);
const char *move_state_name(enum move_state state);
json_t *move_to_json(const struct store_move *m);

#endif
