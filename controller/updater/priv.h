/* SPDX-License-Identifier: GPL-2.0 */
/* Inside updater and API: VIPs, muxes, hosts, moves as the updater holds them. */
#ifndef DUET_CONTROLLER_UPDATER_PRIV_H
#define DUET_CONTROLLER_UPDATER_PRIV_H

#include <sys/queue.h>
#include "../controller.h"
#include "../state/policy.h"
#include "../store/store.h"
#include "arrival.h"
#include "silence.h"
#include "updater.h"
#include "vip.h"

struct updater;
struct move;
struct snat_pool;

#define VIP_MBPS_MAX	1e9	/* as the engine's (engine.h): more than a data centre has */
static inline bool mbps_good(double mbps)
{
	return mbps >= 0 && mbps <= VIP_MBPS_MAX;	/* which no NaN is */
}

#define VIP_NEW	"new: VIPs start on the SMuxes"	/* reason of a VIP that nobody has assigned yet */

/* DIPs of a VIP, of the rule with the smallest share of them up; dips: those that the definition doesn't take out */
struct vip_census {
	bool counted;
	unsigned int rule, up, dips;
	unsigned int homeless;		/* of all rules: on no host of the topology */
	char stray[ADDR_STRLEN];	/* the first of these */
};

#define FRESH_MAX	256	/* new VIPs that wait for their hosts at a time */
#define HOSTS_MS	3000	/* how long hosts are waited for */

/* One VIP. mux is the one HMux that may announce it, or SMUX: never two. */
struct uvip {
	char text[ADDR_STRLEN];
	struct addr addr;
	json_t *def;		/* as the operator wrote it, in force now; vip_define() sets it */
	double def_mbps;	/* its traffic as configured */
	char mux[NAME_SIZE];
	double mru;		/* < 0: none */
	unsigned int key;	/* which of the updater's keys its muxes choose by */
	uint64_t smux_ms;	/* mono_ms() when it came to where it is, or the controller started */
	char *reason;		/* why it is there */
	struct vip_census census;	/* vip_census() */
	char *told;		/* desired_vip() as text; NULL: to be made, vip_changed() */
	struct move *move;	/* under way, or NULL */
	struct dips dips;	/* of all its rules */
	struct vip_health policy;
	bool judged;		/* dips have the states that follow from health, operators and policy: vip_judge() */
	bool held;		/* some DIP is held by damping, or was until a moment ago */
	enum policy_mode mode;	/* the worst of its rules */
	uint64_t generation;	/* of the definition: the configuration's when it was last changed */
	json_t *sources;		/* switch: share, as measured; or NULL */
	double measured, peak;	/* Mbps as the monitor told; < 0: not known */
	uint64_t tables_ms;	/* mono_ms() when its DIPs, weights, ports or key were changed; 0: not since this controller started */
	struct snat_pool *snat;	/* its blocks of ports; NULL: there have been none */
	uint64_t fresh_ms;	/* mono_ms() when it was added; 0: its hosts know it, or have had time to: see vip_fresh() */
};

enum mux_state { MUX_UNKNOWN, MUX_UNREACHABLE, MUX_SYNCING, MUX_IN_SYNC, MUX_REFUSING, MUX_FENCED,
		 MUX_QUARANTINED };

struct mux {
	struct updater *u;
	char name[NAME_SIZE], local[ADDR_STRLEN], instance[NAME_SIZE];
	char rack[NAME_SIZE];		/* the ToR that it is, or hangs on; else empty */
	json_t *unrouted;		/* DIPs that it has no route to, as it reported last: a list, or NULL */
	struct arrival arrival;		/* of a switch */
	json_t *astray;			/* VIP: true, those that it must not announce for that; or NULL */
	char no_probes[NAME_SIZE];	/* the instance that answered that it can't probe */
	char *url;
	bool smux;
	json_t *status;			/* its last GET /v1/status, or NULL; without the members below */
	json_t *digests;		/* VIP: its tables' digests, as it told last; NULL: never */
	json_t *exported;		/* VIP: true, those it exports */
	uint64_t told_ms;		/* mono_ms() when it told these two; compared when they may have changed */
	uint64_t changes;		/* its own count of changes, then */
	uint64_t heard_ms;		/* mono_ms() of its last answer */
	uint64_t lost_ms;		/* mono_ms() since when it doesn't answer; 0: it does */
	char why[256];			/* what went wrong last; "" if nothing */
	bool fenced;			/* it obeys a controller with a later epoch: why says which */
	bool quarantined;		/* it answered what can't be an answer: looked at rarely, until that is good */
	uint64_t looked_ms;		/* mono_ms() of the last poll */
	/* pushing: one request at a time, so that generations arrive in order */
	bool full;			/* it needs the whole state */
	bool wanted;			/* something is to be pushed when the store has kept it */
	json_t *dirty;			/* VIPs it must be told about */
	json_t *urgent;			/* VIPs it must be told about before anything else */
	struct http_call *rush;		/* an urgent one, not waiting for a push under way */
	char rush_vip[ADDR_STRLEN];
	unsigned int overtaken;		/* full pushes that an urgent one overtook, in a row */
	json_t *refused;		/* VIP: why it can't hold it */
	struct http_call *push;
	bool push_full;
	size_t push_bytes;		/* of a whole state under way */
	char push_vip[ADDR_STRLEN];
	unsigned int pushes;
	uint64_t acked;			/* generation it has */
	uint64_t push_epoch, rush_epoch;	/* of the requests under way */
	uint64_t obeys;			/* epoch of the last request that it acknowledged, or told in a status */
	unsigned int backoff_ms;
	sd_event_source *retry;		/* pushes wait for this while waiting */
	bool waiting;
	/* looking */
	struct http_call *poll;
	struct http_call *ask;			/* for its tables, where that takes long */
	unsigned int ask_pushes;		/* pushes begun when it was asked */
	unsigned int poll_pushes, polls;
	sd_event_source *poll_timer;
	unsigned int leaving;		/* VIPs under way from here, in this pass */
	bool drained;			/* by the operator: no VIP, no aggregate */
};

struct host {
	struct updater *u;
	char name[NAME_SIZE], address[ADDR_STRLEN], instance[NAME_SIZE];
	char *url;
	bool dirty, synced, silent, waiting;
	bool wanted;			/* as a mux's */
	bool drained;			/* its rack is */
	struct silence silence;
	char rack[NAME_SIZE];		/* the switch it hangs on */
	json_t *vips;			/* VIP: true; those that have or had a DIP of it */
	struct http_call *push;
	char why[256];
	unsigned int backoff_ms;
	sd_event_source *retry;
	uint64_t sent, acked;		/* generations: of the push under way, of the last it took */
	uint64_t lost_ms;		/* mono_ms() since when it can't be told; 0: it can */
	uint64_t snat_refused;		/* connections it had no port for, as it told last */
	bool racks_due, racks_sent;	/* it counts by another list of racks; the push under way has ours */
	uint64_t touched_ms;		/* mono_ms() when there was last something new for it */
	bool heard;			/* it has reported since this controller started */
	unsigned int snat_conflicts;	/* blocks it holds that are another's, as it told last */
	unsigned int snat_foreign;	/* and ranges that it can't have been given */
	bool snat_heard, snat_leaving;	/* leaving: a block is taken from it */
};

enum move_kind { MOVE_MOVE, MOVE_CHANGE, MOVE_DELETE, MOVE_REKEY };
enum move_state {
	MOVE_PREPARING,		/* SMuxes and hosts get ready to take it */
	MOVE_WITHDRAWING,	/* its HMux withdraws the route and goes on serving */
	MOVE_SWITCHING,		/* on the SMuxes; a new definition goes to all of them */
	MOVE_ANNOUNCING,	/* the new HMux programs, then announces */
	MOVE_DONE, MOVE_FAILED, MOVE_SUPERSEDED,
};

struct move {
	struct updater *u;
	TAILQ_ENTRY(move) list;
	bool active;			/* in updater.moves, else waiting in updater.queue */
	bool back;			/* aborted: it goes back to where it came from */
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
	unsigned int asked, lacking;	/* neighbours of the new switch that were asked, and lack the route */
	bool unconfirmed;		/* it could not, and that was told */
	uint64_t met_ms;		/* mono_ms() since when the SMuxes meet its connections */
	bool rehash;			/* it gets other tables, or another key */
	bool drains;			/* a drain of DIPs, or its end, comes into force on the way */
	struct http_call *call;
	sd_event_source *timer;
	bool armed, rest;		/* timer runs; the agent isn't asked before it ends */
	unsigned int delay_ms;
};

TAILQ_HEAD(moves, move);
TAILQ_HEAD(snat_pools, snat_pool);
STAILQ_HEAD(health_changes, health_change);
TAILQ_HEAD(rounds, round);

/* What the operator sets, PUT /v1/control. */
struct control {
	bool stop;			/* nothing moves; health goes on */
	unsigned int max_moves;		/* VIPs under way at once */
	unsigned int moves_per_s;	/* begun; 0: as many as there are */
	unsigned int smux_percent;	/* of the SMuxes' capacity that may be in use */
	unsigned int assign_every_s;	/* 0: only on demand */
	bool assign_on_change;
	/* A VIP whose DIPs change: how long the SMuxes meet its connections before, and how long they go on there after */
	unsigned int change_learn_s, change_hold_s;
	unsigned int key_moves;		/* VIPs that change their key at once */
	/* SNAT blocks: how long nobody has one that was given back; how long a host that can't be
	 * reached keeps one; how long it may have more than it uses
	 */
	unsigned int snat_quarantine_s, snat_hold_s, snat_idle_s;
	unsigned int fault_grace_s;	/* how long new VIPs may take to be assigned */
};

/* A new key for the old one: rotation.c. What of it is durable is in the store. */
enum rotation_phase {
	ROTATION_NONE,
	ROTATION_SPREADING,		/* all muxes and hosts get the second key */
	ROTATION_CHANGING,		/* VIPs go to it, each by a move */
	ROTATION_REMOVING,		/* all muxes and hosts forget the key that no VIP chooses by */
};

struct rotation {
	enum rotation_phase phase;
	bool back;			/* aborted: VIPs go back to the old key, the new one is removed */
	uint64_t begun_ms;		/* wall_ms() */
	uint64_t entered_ms;		/* mono_ms() when it came into this phase, or the controller started */
	uint64_t wave;			/* of its moves */
	unsigned int next;		/* VIP to look at next */
	sd_event_source *timer;
};

struct updater {
	struct controller *ctl;
	struct store *store;
	uint64_t epoch, generation;
	bool behind;			/* the store is known to be older than what agents obey, perhaps: fence.c */
	uint64_t raised_from;		/* the epoch before it was raised, or 0 */
	struct secret keys[DUET_KEYS];	/* of the deployment's hash */
	unsigned int key;		/* which of them new VIPs choose by; amid a rotation the others follow */
	struct rotation rotation;
	bool configured;		/* there has been a configuration: agents may be told */
	json_t *model;			/* the monitor's, NULL until known */
	char racks[17];			/* the id of its list of racks */
	sd_event_source *model_timer;
	struct uvip **vips;		/* by address */
	unsigned int n_vips;
	struct mux *muxes;		/* switches in the topology's order, then SMuxes */
	unsigned int n_muxes;
	size_t push_bytes;		/* of all whole states under way */
	struct host *hosts;
	unsigned int n_hosts, pushing_hosts, next_host;
	bool hosts_wanted;		/* some wait to be told */
	json_t *mux_index, *host_index, *address_index;	/* name or address: place in the list */
	json_t *switch_index;		/* name: true; also of those without an agent */
	json_t *local_index;		/* address of a switch or SMux, also without an agent: its name */
	char *mux_locals;		/* the muxes' own addresses, as hosts are told them: a list in JSON */
	struct moves moves, queue;	/* under way, and waiting to be; oldest first */
	unsigned int n_active, n_queued;
	sd_event_source *pass_timer;
	bool pass_armed, again;
	uint64_t passed_ms, begun_ms;		/* mono_ms() */
	double begin_tokens;
	struct control control;
	json_t *drains;			/* "switch/tor3": {"by", "at-ms"} */
	uint64_t config_generation;
	unsigned int n_lost;		/* muxes that don't answer */
	double resting_mbps, transit_mbps, smux_mbps;	/* on the SMuxes for good, in transit, what they carry */
	uint64_t resting_ms;
	struct fault_watch *fault_watch;	/* query/fault_watch.c */
	struct parts *parts;		/* parts.c */
	uint64_t started_ms;		/* mono_ms() */
	struct streams *streams;	/* of events, api/events.c */
	struct load *load;		/* of links, api/fabric.c; NULL: nobody has asked */
	sd_event_source *assign_timer, *reload_timer;
	sd_event_source *tick_timer;
	uint64_t stalled_ms;		/* no pass before: the store can't be written */
	struct uvip *fresh[FRESH_MAX];	/* no mux has these yet */
	unsigned int n_fresh;
	sd_event_source *fresh_timer;
	json_t *offenders;		/* peers whose reports were refused, as the monitor told last */
	json_t *tokens;			/* name: {"sha256", "role"} */
	bool stopping;			/* the client is gone, and its calls with it */
	bool assigning;			/* one that nobody asked for is under way */
	struct snat_pools pools;	/* SNAT blocks by VIP; of some VIPs that are gone, too */
	uint64_t snat_number;		/* of the last block given */
	sd_event_source *snat_timer, *learn_timer;
	bool snat_learning;		/* the store may not know all blocks that hosts hold */
	unsigned int n_heard;		/* hosts that have reported since this controller started */
	uint64_t snat_due_ms;		/* mono_ms() that it is set for; 0: not set */
	struct rounds rounds;		/* of questions about silent hosts, witness.c */
	unsigned int n_rounds, next_witness, next_control, next_silent;
	sd_event_source *silence_timer, *arrival_timer;
	unsigned int n_arrivals;	/* switches whose neighbours are being asked */
	uint64_t hosts_ms;		/* mono_ms() when hosts were known */
	bool hosts_judged;		/* those never heard of since then are judged as silent ones */
	struct health_changes unkept;	/* not yet in the store */
	sd_event_source *keep_timer, *expire_timer;
	bool expire_armed;
};

/* updater.c */
/* What changes together is between these. Agents are told when it is kept; if
 * it can't be, memory is read back from the store: nothing has happened.
 */
void updater_begin(struct updater *u);
int updater_commit(struct updater *u);
struct mux *mux_find(struct updater *u, const char *name);
struct host *host_find(struct updater *u, const char *name);
struct host *host_at(struct updater *u, const char *address);

/* vips.c */
struct uvip *vip_find(struct updater *u, const char *text);
/* vip_at - place of the first VIP not below this address */
unsigned int vip_slot(const struct updater *u, const struct addr *a, bool *found);
int vips_load(struct updater *u, struct err *e);
void vips_free(struct updater *u);
/* vip_add - a new VIP, on the SMuxes; def's reference is taken */
struct uvip *vip_add(struct updater *u, json_t *def);
void vip_remove(struct updater *u, struct uvip *v);
/* vip_differs - how muxes tell this definition from the one in force, with or without its policies */
enum vip_diff vip_differs(const struct uvip *v, json_t *def, bool policy);
/* vip_other_tables - would this definition select other DIPs for what is there */
bool vip_other_tables(const struct uvip *v, json_t *def);
/* vip_adopt - def is in force from now on; takes the reference; the caller tells muxes */
void vip_adopt(struct updater *u, struct uvip *v, json_t *def);
/* vip_place - it lives there now, for that reason (NULL: as before) */
void vip_place(struct updater *u, struct uvip *v, const char *mux, double mru, const char *reason);
/* vip_rekey - it chooses by this key from now on; the caller pushes it to its muxes and hosts */
void vip_rekey(struct updater *u, struct uvip *v, unsigned int key);
/* vip_census - once the model is known */
const struct vip_census *vip_census(const struct updater *u, struct uvip *v);
void vip_changed(struct uvip *v);	/* its definition, DIPs that are down or drained: call it whenever one does */
void vips_touch(struct updater *u, struct uvip *v, bool urgent);	/* all muxes that hold it are told */
/* vip_fresh - it was just added: if hosts of its DIPs are being told of it no mux holds it before they
 * know it, for HOSTS_MS at most. FRESH_MAX at a time; a fabric's whole configuration isn't held back.
 */
void vip_fresh(struct updater *u, struct uvip *v);
void vips_fresh_look(struct updater *u);	/* after a host has been told, or can't be: those that wait for nobody any more */
json_t *vip_latest(const struct uvip *v);	/* the definition that is or will be in force; borrowed */
const char *vip_wanted(const struct uvip *v);	/* where it is or moves to */
double vip_mbps(const struct uvip *v);		/* measured, else as configured */
bool def_has_dip(json_t *def, const char *address);

/* health.c */
bool vip_dip_down(const struct uvip *v, const char *dip, unsigned int rule);
/* vip_target_down - one behind a DIP's host, as that told last */
bool vip_target_down(const struct uvip *v, const char *dip, const char *target);
/* vips_health - what a host says of its DIPs */
void vips_health(struct updater *u, struct host *h, json_t *dips);
void vips_keep_health(struct updater *u);	/* what the store is still to be told */
/* health_forget - the store forgets DIPs that def does not have */
void health_forget(struct updater *u, struct uvip *v, json_t *def);
/* health_ease - lets damped DIPs in where too few others are up; true: the table changes. After each change of a DIP */
bool health_ease(struct updater *u, struct uvip *v);
/* health_release - ends the damping of a DIP; returns in how many rules it was held. The caller pushes the VIP */
unsigned int health_release(struct updater *u, struct uvip *v, const char *dip);
json_t *health_damped(const struct updater *u);	/* the DIPs that are kept out, for the status */
/* health_set_aside, health_put_back - around a reload: health is in memory first, the store may lag behind */
struct dips *health_set_aside(struct updater *u, struct addr **vips, unsigned int *n);
void health_put_back(struct updater *u, struct dips *list, struct addr *vips, unsigned int n);
void health_stop(struct updater *u);

/* desired.c: what follows for agents from VIPs and moves */
enum hold { HOLD_NOT, HOLD_SILENT, HOLD_ANNOUNCED };
enum hold desired_hold(const struct mux *m, const struct uvip *v);
json_t *desired_vip(const struct updater *u, const struct uvip *v);	/* without "announce" */
/* what a mux is sent, as JSON: to be freed; NULL: no memory */
char *desired_vip_text(struct updater *u, struct uvip *v, enum hold hold, uint64_t generation);
char *desired_mux_text(const struct mux *m, uint64_t generation);
char *desired_host_text(const struct host *h, uint64_t generation);	/* likewise */
json_t *desired_rules(const struct updater *u, const struct uvip *v);	/* of its muxes */

/* mux.c */
void mux_start(struct mux *m);
void mux_stop(struct mux *m);
void mux_touch(struct mux *m, const struct uvip *v);
void mux_rush(struct mux *m, const struct uvip *v);	/* as mux_touch(), before everything else */
void mux_dirty(struct mux *m, const char *vip);		/* without pushing yet */
void mux_kick(struct mux *m);		/* push what there is to push */
void mux_full(struct mux *m);		/* its whole state again */
void mux_look(struct mux *m);		/* ask for its status now */
void mux_tables(struct mux *m);		/* and for its VIPs, which have changed */
enum mux_state mux_state(const struct mux *m);
const char *mux_state_name(enum mux_state state);
/* mux_clean - it acknowledged the present desired state of this VIP (or refused it) */
bool mux_clean(const struct mux *m, const struct uvip *v);
const char *mux_refusal(const struct mux *m, const struct uvip *v);	/* or NULL */
bool mux_lost(const struct mux *m);	/* doesn't answer for SILENT_MS */

/* fence.c */
/* fence_epoch - an agent obeys this epoch: true if ours is, or now was made, at least as late; else why not */
bool fence_epoch(struct updater *u, const char *agent, uint64_t epoch, char *why, size_t size);
/* fence_generation - an agent holds this generation of our epoch: ours is as late now; false: it can't be one */
bool fence_generation(struct updater *u, uint64_t generation);
bool fence_obeyed(const struct updater *u);	/* do all muxes obey this controller's epoch */
void fence_look(struct updater *u);	/* after a status, or an acknowledged request: ends "behind" when they do */
/* fence_remove - the agent forgets whom it obeyed, and is sent its state; answers the request */
void fence_remove(struct updater *u, struct http_request *req, const char *name, const char *url, bool host);

/* muxstate.c: what muxes say of themselves */
void mux_told(struct mux *m, json_t *status);	/* a GET /v1/status, any form */

/* host.c */
void host_start(struct host *h);
void host_stop(struct host *h);
void host_touch(struct host *h);
void host_kick(struct host *h);
void hosts_next(struct updater *u);
void host_racks(struct host *h, const char *id);	/* the list of racks it has; NULL: it says nothing of it */
void hosts_touch(struct updater *u, json_t *def);	/* those that have DIPs of a definition */
void hosts_note(struct updater *u, const struct uvip *v, json_t *def);	/* they will have DIPs of it */
bool hosts_ready(struct updater *u, json_t *def, const char **waits_for);

/* snat.c (snat.h has what is inside) */
int snat_load(struct updater *u, struct err *e);	/* after the VIPs */
void snat_free(struct updater *u);
void snat_start(struct updater *u);		/* hosts are known */
/* snat_changed - its definition, or what is known of its DIPs; also one that is new or about to go */
void snat_changed(struct updater *u, struct uvip *v);
void snat_forget(struct updater *u, struct uvip *v);	/* it goes; its blocks are known on */
/* snat_follow - its hosts must have the tables that its muxes have */
void snat_follow(struct updater *u, struct uvip *v);
void snat_report(struct updater *u, struct host *h, json_t *report);
void snat_acked(struct updater *u, struct host *h);	/* it took a state, or can be reached no more */
/* snatlearn.c: a store that is older than what hosts hold */
void snat_learn_load(struct updater *u);
void snat_learn_start(struct updater *u);
void snat_heard(struct host *h);		/* after what it reported has been taken in */
/* snat_desired - adds blocks and rules of a VIP to what a host is told of it */
void snat_desired(const struct host *h, const struct uvip *v, json_t *vip, json_t *blocks);
void snat_settings(struct updater *u);		/* they have changed */

/* move.c */
int moves_load(struct updater *u, struct err *e);
void moves_free(struct updater *u);
/* move_new - supersedes a move of the same VIP under way; def's reference is
 * taken; returns it or NULL (no memory). Between updater_begin() and
 * updater_commit(); call moves_run() after.
 */
struct move *move_new(struct updater *u, struct uvip *v, enum move_kind kind, const char *to,
		      json_t *def, uint64_t wave);
/* move_abort - back to where it came from; 0, or -errno and why not */
int move_abort(struct move *mv, struct err *e);
void moves_run(struct updater *u);	/* soon, all that are under way */
const char *move_state_name(enum move_state state);
const char *move_kind_name(enum move_kind kind);
/* inside the moves (move.c, step.c) */
bool move_keep(struct move *mv);
void move_enter(struct move *mv, enum move_state state);
void move_forget(struct move *mv);
enum step { STEP_WAIT, STEP_AGAIN, STEP_OVER };
enum step move_step(struct move *mv);
void move_ask_again(struct move *mv);

/* rotation.c: a new key of the hash */
/* keys_load - the store's keys; a new store gets the configured one, or a new one. Another
 * key than the stored one would move every connection, so the configured one counts only then.
 */
int keys_load(struct updater *u, struct err *e);
/* rotation_load - keys and rotation as the store has them; after the VIPs, at the start and after a reload */
int rotation_load(struct updater *u, struct err *e);
void rotation_start(struct updater *u);		/* muxes and hosts are known */
void rotation_stop(struct updater *u);
/* rotation_begin, rotation_abort - inside a transaction; 0, or -errno and why not: nothing was changed */
int rotation_begin(struct updater *u, const char *by, struct err *e);
int rotation_abort(struct updater *u, const char *by, struct err *e);
const char *rotation_phase_name(enum rotation_phase phase);
/* rotation_mux_waits, rotation_host_waits - why this agent isn't known to have the deployment's present keys; NULL: it has them */
const char *rotation_mux_waits(const struct mux *m);
const char *rotation_host_waits(const struct host *h);
/* rotation_vip_waits - which mux or host must confirm the keys before this VIP's may change, and why; false: none */
bool rotation_vip_waits(const struct updater *u, const struct uvip *v, char *why, size_t size);

/* limit.c: how many VIPs may be under way, and how much traffic with them */
void limits_count(struct updater *u);		/* before a pass */
/* limit_admits - may it begin; if not, why */
bool limit_admits(struct updater *u, struct move *mv, char *why, size_t size);

/* smux_capacity - Mbps that the SMuxes may carry, those apart for which without(name) is
 * true (may be NULL); 0: not known
 */
double smux_capacity(const struct updater *u, bool (*without)(const char *name, void *ctx), void *ctx);

/* drain.c */
int drains_load(struct updater *u, struct err *e);
void drains_apply(struct updater *u);		/* after the model, and after every change */
/* drained - is a "switch", "rack", "smux" or "host" of this name */
bool drained(const struct updater *u, const char *kind, const char *name);
/* vip_judge - states of its DIPs, from all inputs; only if one has changed since */
void vip_judge(const struct updater *u, const struct uvip *v);

/* maintenance.c: DIPs and hosts that operators take out. Changes are made inside a transaction; moves: the numbers of those
 * that follow are added to this list
 */
struct maintenance {
	struct updater *u;
	const char *by;
	bool force;		/* also the last DIPs of a VIP */
	uint64_t wave;		/* 0: none yet */
	json_t *moves;
};
/* maintenance_inputs - sets what operators have taken out in a VIP's DIPs */
void maintenance_inputs(const struct updater *u, struct uvip *v);
/* maintenance_waits - does a drain of a DIP, or its end, wait for the VIP's move to the SMuxes */
bool maintenance_waits(const struct updater *u, const struct uvip *v);
/* dip_last, host_last - -EBUSY and a sentence if no other DIP of a rule would be in use without it */
int dip_last(const struct updater *u, const struct uvip *v, const char *dip, struct err *e);
int host_last(const struct updater *u, const struct host *h, struct err *e);
enum dip_operator dip_operator(const struct updater *u, const struct uvip *v, const char *dip);
void dip_operate(struct maintenance *m, struct uvip *v, const char *dip, enum dip_operator state);
void host_operate(struct maintenance *m, struct host *h, bool drain);
/* maintenance_forget - of DIPs that def does not have (NULL: of all) */
void maintenance_forget(struct updater *u, struct uvip *v, json_t *def);

/* ../api/events.c: event streams; ../api/assign.c: assignments by themselves */
void streams_start(struct updater *u);
void streams_stop(struct updater *u);
void load_stop(struct updater *u);	/* api/fabric.c */
void tokens_expire(struct updater *u);	/* api/operate.c */
void assign_schedule(struct updater *u);
void assign_soon(struct updater *u, const char *why);

/* control.c */
int control_load(struct updater *u);
json_t *control_json(const struct updater *u);
int control_check(json_t *body, struct err *e);
void control_set(struct updater *u, json_t *body);	/* checked before; inside a transaction */

#endif
