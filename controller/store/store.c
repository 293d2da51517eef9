// SPDX-License-Identifier: GPL-2.0
/*
 * The database: opening, transactions, epoch, seed. The tables' rows are in
 * rows.c. Every write is on disk (synchronous=FULL) before its commit returns,
 * so an agent is never told what the store could forget.
 */
#include "store_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "log.h"

#define SCHEMA_VERSION 1

static const char schema[] =
	"CREATE TABLE meta(key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;"
	"CREATE TABLE vip(vip TEXT PRIMARY KEY, def TEXT NOT NULL, mux TEXT NOT NULL, mru REAL,"
	" reason TEXT) STRICT;"
	"CREATE TABLE move(id INTEGER PRIMARY KEY AUTOINCREMENT, wave INTEGER NOT NULL, vip TEXT NOT NULL,"
	" kind TEXT NOT NULL, mux_from TEXT NOT NULL, mux_to TEXT NOT NULL, def TEXT,"
	" state TEXT NOT NULL, note TEXT,"
	" created_ms INTEGER NOT NULL, changed_ms INTEGER NOT NULL, over INTEGER NOT NULL) STRICT;"
	"CREATE INDEX move_running ON move(over, id);"
	"CREATE TABLE dip_down(vip TEXT NOT NULL, dip TEXT NOT NULL, rule INTEGER NOT NULL, reason TEXT,"
	" since_ms INTEGER NOT NULL, PRIMARY KEY(vip, dip, rule)) STRICT, WITHOUT ROWID;"
	"CREATE TABLE event(id INTEGER PRIMARY KEY AUTOINCREMENT, at_ms INTEGER NOT NULL, kind TEXT NOT NULL,"
	" subject TEXT NOT NULL, text TEXT NOT NULL) STRICT;";

static void failed(struct store *s, const char *what)
{
	if (!s->failed) {
		s->code = sqlite3_errcode(s->db);
		snprintf(s->why, sizeof(s->why), "%s", sqlite3_errmsg(s->db));
		log_debug("store %s: %s: %s", s->file, what, s->why);
	}
	s->failed = true;
}

sqlite3_stmt *store_prepare(struct store *s, const char *sql)
{
	sqlite3_stmt *st;

	if (sqlite3_prepare_v2(s->db, sql, -1, &st, NULL) == SQLITE_OK)
		return st;
	failed(s, sql);
	return NULL;
}

void store_step(struct store *s, sqlite3_stmt *st)
{
	if (!st)
		return;
	if (sqlite3_step(st) != SQLITE_DONE)
		failed(s, sqlite3_sql(st));
	sqlite3_finalize(st);
}

int store_done(struct store *s, sqlite3_stmt *st, int step)
{
	if (st && step != SQLITE_DONE)
		failed(s, sqlite3_sql(st));
	sqlite3_finalize(st);
	if (!st || step != SQLITE_DONE) {
		log_err("store %s can't be read: %s", s->file, s->why);
		s->failed = false;	/* told here, not by a later commit */
		return -EIO;
	}
	return 0;
}

static void exec(struct store *s, const char *sql)
{
	if (sqlite3_exec(s->db, sql, NULL, NULL, NULL) != SQLITE_OK)
		failed(s, sql);
}

void store_begin(struct store *s)
{
	if (!s->depth++) {
		s->failed = false;
		exec(s, "BEGIN IMMEDIATE");
	}
}

int store_commit(struct store *s)
{
	if (--s->depth)
		return s->failed ? -EIO : 0;
	if (!s->failed)
		exec(s, "COMMIT");
	if (!s->failed)
		return 0;
	log_err("store %s: nothing of this change was kept: %s", s->file, s->why);
	if (!sqlite3_get_autocommit(s->db))
		sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
	s->failed = false;
	return -EIO;
}

static int one_number(struct store *s, const char *sql, int64_t *value)
{
	sqlite3_stmt *st = store_prepare(s, sql);
	int step = st ? sqlite3_step(st) : SQLITE_ERROR;

	if (step == SQLITE_ROW) {
		*value = sqlite3_column_int64(st, 0);
		sqlite3_finalize(st);
		return 0;
	}
	return store_done(s, st, step) ? -EIO : -ENOENT;
}

static int meta_get(struct store *s, const char *key, int64_t *value)
{
	char sql[96];

	snprintf(sql, sizeof(sql), "SELECT value FROM meta WHERE key = '%s'", key);
	return one_number(s, sql, value);
}

static int meta_set(struct store *s, const char *key, int64_t value)
{
	sqlite3_stmt *st;

	store_begin(s);
	st = store_prepare(s, "INSERT OR REPLACE INTO meta(key, value) VALUES(?1, ?2)");
	if (st) {
		sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
		sqlite3_bind_int64(st, 2, value);
	}
	store_step(s, st);
	return store_commit(s);
}

/* check - is it ours, whole, and of a version known here; makes the tables of a new one */
static int check(struct store *s, struct err *e)
{
	sqlite3_stmt *st = store_prepare(s, "PRAGMA quick_check(1)");
	const char *text = NULL;
	int64_t version = 0;
	int ret = 0;

	if (st && sqlite3_step(st) == SQLITE_ROW)
		text = (const char *)sqlite3_column_text(st, 0);
	if (!text || strcmp(text, "ok"))
		ret = err_set(e, -EIO, "store %s is damaged: %s", s->file, text ? text : sqlite3_errmsg(s->db));
	sqlite3_finalize(st);
	if (ret)
		return ret;
	if (one_number(s, "PRAGMA user_version", &version))
		return err_set(e, -EIO, "store %s: %s", s->file, sqlite3_errmsg(s->db));
	if (version > SCHEMA_VERSION)
		return err_set(e, -EINVAL, "store %s is of version %lld, newer than this program's %d", s->file,
			       (long long)version, SCHEMA_VERSION);
	if (version == SCHEMA_VERSION)
		return 0;
	store_begin(s);
	exec(s, schema);
	exec(s, "PRAGMA user_version = 1");
	if (store_commit(s))
		return err_set(e, -EIO, "store %s can't be made: %s", s->file, s->why);
	return 0;
}

int store_open(const char *file, struct store **out, struct err *e)
{
	struct store *s = calloc(1, sizeof(*s));
	int ret = -EIO;

	if (!s)
		return err_set(e, -ENOMEM, "store %s: out of memory", file);
	s->file = strdup(file);
	if (sqlite3_open(file, &s->db) != SQLITE_OK) {
		err_set(e, ret, "store %s: %s", file, s->db ? sqlite3_errmsg(s->db) : "out of memory");
		goto err_close;
	}
	/* Exclusive: two controllers on one store would each undo the other. */
	exec(s, "PRAGMA locking_mode = EXCLUSIVE");
	exec(s, "PRAGMA journal_mode = WAL");
	exec(s, "PRAGMA synchronous = FULL");
	if (!s->failed)
		exec(s, "BEGIN IMMEDIATE");
	if (!s->failed)
		exec(s, "COMMIT");
	if (s->failed) {
		err_set(e, ret, "store %s: %s%s", file, s->why,
			s->code == SQLITE_BUSY ? ": another controller has it open" : "");
		goto err_close;
	}
	ret = check(s, e);
	if (ret)
		goto err_close;
	*out = s;
	return 0;

err_close:
	store_close(s);
	return ret;
}

void store_close(struct store *s)
{
	if (!s)
		return;
	sqlite3_close(s->db);
	free(s->file);
	free(s);
}

int store_epoch(struct store *s, uint64_t *epoch)
{
	int64_t value = 0;
	int ret = meta_get(s, "epoch", &value);

	if (ret && ret != -ENOENT)
		return ret;
	/* A new store begins with the time: agents that served an earlier store's
	 * controller must not refuse this one as older.
	 */
	value = ret ? (int64_t)time(NULL) : value + 1;
	*epoch = value;
	return meta_set(s, "epoch", value);
}

int store_seed(struct store *s, uint32_t wanted, uint32_t *seed)
{
	int64_t value;
	int ret = meta_get(s, "seed", &value);

	if (ret == -ENOENT) {
		if (!wanted && getrandom(&wanted, sizeof(wanted), 0) != sizeof(wanted))
			return -errno;
		value = wanted;
		ret = meta_set(s, "seed", value);
	}
	if (!ret)
		*seed = value;
	return ret;
}

bool store_configured(struct store *s)
{
	int64_t value;

	return !meta_get(s, "configured", &value);
}

void store_set_configured(struct store *s)
{
	meta_set(s, "configured", 1);
}

uint64_t store_wave(struct store *s)
{
	int64_t value = 0;

	if (meta_get(s, "wave", &value))
		value = 0;
	meta_set(s, "wave", value + 1);
	return value + 1;
}
