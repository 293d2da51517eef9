/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What must survive the controller: VIPs, where they live, moves under way,
 * which DIPs are down, drains, tokens, SNAT ports, events, audit, epoch and keys. Rows of
 * JSON in a few tables; SQLite or etcd below, one interface, one behaviour.
 */
#ifndef DUET_CONTROLLER_STORE_H
#define DUET_CONTROLLER_STORE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include "../common.h"
#include "key.h"

struct store;

/* Meta of a store that was made from another: what has happened since that one was read is not in it.
 * Who has learnt what there was to learn sets it to 0.
 */
#define STORE_COPY "copy"
/* Meta: agents may obey a later epoch than the store's, and ours goes above that (updater/fence.c); 0: all obey ours */
#define STORE_BEHIND "behind"
#define STORE_FILE "file"	/* which file it was in: in another it is a copy */

/* struct store_conf - spec: "FILE", or "etcd:URL,URL..." (then the leader's key
 * and its create revision are what every write is fenced by; revision 0: only
 * read). Borrowed.
 */
struct store_conf {
	const char *spec, *prefix;
	const struct tls *tls;	/* for etcd: whom to trust, who we are; NULL: no https:// */
	const char *leader_key;
	uint64_t leader_rev;
};

bool store_is_etcd(const char *spec);
/* store_open - makes what isn't there; refuses a file that another controller
 * has open, a version newer than this program's, and damage.
 */
int store_open(const struct store_conf *conf, struct store **store, struct err *e);
void store_close(struct store *store);
const char *store_name(const struct store *store);

/* store_begin, store_commit - what is between is kept whole or not at all.
 * Both may be nested; only the outermost pair acts, and on disk (or on a
 * majority) before it returns. 0, -EIO, or -ESTALE: another controller leads,
 * or it can't be known; nothing may be done any more. Reads don't see what is
 * not committed.
 */
void store_begin(struct store *store);
int store_commit(struct store *store);
bool store_open_transaction(const struct store *store);
/* store_trouble - why the last commit failed; "" if it didn't */
const char *store_trouble(const struct store *store);

/* store_epoch - the next incarnation's number, kept before it is returned. behind: the store is a copy, or new: agents
 * may obey a later one
 */
int store_epoch(struct store *store, uint64_t *epoch, bool *behind);
void store_epoch_raise(struct store *store, uint64_t by);	/* inside a transaction */
/* store_keys - the keys of the deployment's hash; none: not set yet */
int store_keys(struct store *store, struct secret keys[DUET_KEYS]);
/* store_key_set - on disk before it returns, outside of a transaction; zeros: none any more */
int store_key_set(struct store *store, unsigned int i, const struct secret *key);
/* Numbers by name: settings and the like */
int store_get(struct store *store, const char *key, int64_t *value);	/* 0, -ENOENT, -EIO */
void store_set(struct store *store, const char *key, int64_t value);

struct store_vip {
	const char *vip, *mux, *reason;
	json_t *def;		/* as the operator wrote it; borrowed */
	double mru;		/* < 0: none */
	uint64_t generation;	/* of the definition, for lost updates */
	unsigned int key;	/* which key of the deployment it chooses by */
};
void store_vip_put(struct store *store, const struct store_vip *v);
void store_vip_del(struct store *store, const char *vip);
int store_vip_each(struct store *store, void (*each)(const struct store_vip *v, void *ctx), void *ctx);

struct store_move {
	uint64_t id, wave;
	const char *vip, *kind, *from, *to, *state, *note;
	json_t *def;		/* new definition, or NULL */
	uint64_t created_ms, changed_ms;
	bool over, back;	/* back: it was aborted and goes back */
	bool drains;		/* a drain of DIPs waits for it */
};
/* store_move_put - id 0: a new one, its id is returned */
uint64_t store_move_put(struct store *store, const struct store_move *m);
/* store_move_each - those not over, oldest first */
int store_move_each(struct store *store, void (*each)(const struct store_move *m, void *ctx), void *ctx);
/* store_moves - the newest `limit` before id `before` (0: all), newest first; new reference or NULL */
json_t *store_moves(struct store *store, bool running, uint64_t before, unsigned int limit);
json_t *store_move(struct store *store, uint64_t id);
uint64_t store_wave(struct store *store);	/* a new wave's number */

void store_dip_put(struct store *store, const char *vip, const char *dip, unsigned int rule, bool down,
		   const char *reason, uint64_t since_ms);
int store_dip_each(struct store *store,
		   void (*each)(const char *vip, const char *dip, unsigned int rule, const char *reason,
				uint64_t since_ms, void *ctx), void *ctx);

/* Small tables of objects by name: drains, tokens, blocks of SNAT ports. value NULL: delete. */
enum store_set { STORE_DRAINS, STORE_TOKENS, STORE_SNAT };
void store_set_put(struct store *store, enum store_set set, const char *key, json_t *value);
json_t *store_set_all(struct store *store, enum store_set set);	/* {key: value}; new reference or NULL */

/* store_event - also logged; told to the listener (if any) when committed;
 * outside of a transaction it is kept with the next one, or by store_flush()
 */
void store_flush(struct store *store);
void store_event(struct store *store, const char *kind, const char *subject, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
void store_listen(struct store *store, void (*event)(json_t *event, void *ctx), void *ctx);
/* store_events - newest last, those after `after`, at most limit; new reference or NULL */
json_t *store_events(struct store *store, uint64_t after, unsigned int limit);
/* store_audit - who changed what; by_way_of: who carried the request, or NULL */
void store_audit(struct store *store, const char *who, const char *by_way_of, const char *what, const char *subject);
json_t *store_audits(struct store *store, uint64_t after, unsigned int limit);

/* store_export - everything, {"duet-store": version, "tables": {...}}, the keys only if asked for; new
 * reference or NULL
 */
json_t *store_export(struct store *store, bool keys);
/* store_import - into an empty store; checked whole before any of it is used */
int store_import(struct store *store, json_t *dump, struct err *e);
/* store_backup - a copy while running (SQLite only) */
int store_backup(struct store *store, const char *file, struct err *e);

#endif
