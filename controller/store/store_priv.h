/* SPDX-License-Identifier: GPL-2.0 */
/* Inside the store only: tables of records, and what a backend does with them. */
#ifndef DUET_CONTROLLER_STORE_PRIV_H
#define DUET_CONTROLLER_STORE_PRIV_H

#include "store.h"

enum table { T_META, T_VIP, T_MOVE, T_DONE, T_DIP, T_EVENT, T_AUDIT, T_DRAIN, T_TOKEN, T_SNAT, T_MAX };
extern const char *const store_tables[T_MAX];

#define STORE_KEY_SIZE 128
#define STORE_VERSION  3	/* of tables and records, in both backends and exports */

struct op {
	enum table table;
	char *key, *value;	/* value NULL: delete */
};

/* each record of a scan; false ends it */
typedef bool (*scan_fn)(const char *key, const char *value, void *ctx);

struct store_ops {
	/* all or nothing, durable: 0, -EIO or -ESTALE with a sentence */
	int (*commit)(struct store *s, const struct op *ops, size_t n, struct err *e);
	/* in the order of keys, or backwards; from: the first key (or NULL) */
	int (*scan)(struct store *s, enum table table, const char *from, bool backwards, scan_fn each, void *ctx,
		    struct err *e);
	int (*get)(struct store *s, enum table table, const char *key, char **value, struct err *e);	/* -ENOENT */
	int (*backup)(struct store *s, const char *file, struct err *e);
	/* etcd: the revision that makes this incarnation's epoch; NULL: counted in meta */
	uint64_t (*revision)(const struct store *s);
	int64_t (*file)(const struct store *s);	/* which file it is; NULL: it is in none */
	void (*close)(struct store *s);
};

struct store {
	const struct store_ops *ops;
	void *impl;		/* the backend's */
	char name[256];		/* for people */
	unsigned int depth;	/* of store_begin() */
	struct op *batch;
	size_t n, room;
	json_t *places;		/* "table/key": place in batch; a key is written once */
	bool dead;		/* another controller leads: nothing is written any more */
	bool failed;		/* a record of this transaction could not be made */
	char trouble[512];
	uint64_t last_move, last_event, last_audit, wave;
	json_t *told;		/* events of this transaction */
	void (*event)(json_t *event, void *ctx);
	void *event_ctx;
};

int sqlite_open(struct store *s, const struct store_conf *conf, struct err *e);
int etcd_open(struct store *s, const struct store_conf *conf, struct err *e);

/* store_keys_hide - take the keys out of an export's meta */
void store_keys_hide(json_t *meta);
/* store_write - one record of the transaction; value's reference is taken, NULL: delete */
void store_write(struct store *s, enum table table, const char *key, json_t *value);
const char *store_number_key(uint64_t id, char buf[24]);

#endif
