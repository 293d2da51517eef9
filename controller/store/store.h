/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What must survive the controller: VIPs, where they live, moves under way,
 * which DIPs are down, events, epoch and seed. SQLite, one file, one writer.
 */
#ifndef DUET_CONTROLLER_STORE_H
#define DUET_CONTROLLER_STORE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include "../common.h"

struct store;

/* store_open - makes the file if it isn't there; refuses one that another
 * controller has open, one of a newer version, and one that is damaged.
 */
int store_open(const char *file, struct store **store, struct err *e);
void store_close(struct store *store);

/* store_begin, store_commit - what is between is kept whole or not at all.
 * Both may be nested; only the outermost pair acts. A write that fails is told
 * by store_commit() (and the sentence logged): 0 or -EIO.
 */
void store_begin(struct store *store);
int store_commit(struct store *store);

/* store_epoch - the next incarnation's number, kept before it is returned */
int store_epoch(struct store *store, uint64_t *epoch);
/* store_seed - the deployment's hash seed; `wanted` (0: random) is taken only
 * the first time, ever after the kept one is returned.
 */
int store_seed(struct store *store, uint32_t wanted, uint32_t *seed);
/* store_configured - has there ever been a configuration: an empty store must
 * not be taken for "serve nothing"
 */
bool store_configured(struct store *store);
void store_set_configured(struct store *store);

struct store_vip {
	const char *vip, *mux, *reason;
	json_t *def;		/* as the operator wrote it; borrowed */
	double mru;		/* < 0: none */
};
void store_vip_put(struct store *store, const struct store_vip *v);
void store_vip_del(struct store *store, const char *vip);
int store_vip_each(struct store *store, void (*each)(const struct store_vip *v, void *ctx), void *ctx);

struct store_move {
	uint64_t id, wave;
	const char *vip, *kind, *from, *to, *state, *note;
	json_t *def;		/* new definition, or NULL */
	uint64_t created_ms, changed_ms;
	bool over;
};
/* store_move_put - id 0: a new one, its id is returned; 0 on error */
uint64_t store_move_put(struct store *store, const struct store_move *m);
/* store_move_each - those not over, oldest first; or the newest `limit`, newest first; or one */
int store_move_each(struct store *store, bool running, uint64_t id, unsigned int limit,
		    void (*each)(const struct store_move *m, void *ctx), void *ctx);
uint64_t store_wave(struct store *store);	/* a new wave's number */

void store_dip_put(struct store *store, const char *vip, const char *dip, unsigned int rule, bool down,
		   const char *reason, uint64_t since_ms);
int store_dip_each(struct store *store,
		   void (*each)(const char *vip, const char *dip, unsigned int rule, const char *reason,
				uint64_t since_ms, void *ctx), void *ctx);

/* store_event - also logged */
void store_event(struct store *store, const char *kind, const char *subject, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* store_events - newest last, those after `after`, at most limit; new reference */
json_t *store_events(struct store *store, uint64_t after, unsigned int limit);

#endif
