// SPDX-License-Identifier: GPL-2.0
/*
 * The store in one SQLite file: a STRICT table of JSON records each. Every
 * commit is on disk (WAL, synchronous=FULL) before it returns.
 */
#include "store_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"

struct sqlite {
	sqlite3 *db;
	sqlite3_stmt *put[T_MAX], *del[T_MAX];
};

/* What an earlier version's tables become: user_version 1 had columns, 2 no SNAT blocks. */
static const char from_1[] =
	"ALTER TABLE vip RENAME TO vip1; ALTER TABLE move RENAME TO move1; ALTER TABLE event RENAME TO event1;"
	"ALTER TABLE meta RENAME TO meta1; DROP INDEX move_running;";
static const char from_1_rows[] =
	"INSERT INTO meta SELECT key, CAST(value AS TEXT) FROM meta1;"
	"INSERT INTO vip SELECT vip, json_patch('{}', json_object('def', json(def), 'mux', mux, 'mru', mru,"
	" 'reason', reason)) FROM vip1;"
	"INSERT INTO move SELECT printf('%020d', id), json_patch('{}', json_object('id', id, 'wave', wave, 'vip', vip,"
	" 'kind', kind, 'from', mux_from, 'to', mux_to, 'def', json(def), 'state', state, 'note', ifnull(note, ''),"
	" 'created-ms', created_ms, 'changed-ms', changed_ms, 'over', json('false'))) FROM move1 WHERE over = 0;"
	"INSERT INTO done SELECT printf('%020d', id), json_object('id', id, 'wave', wave, 'vip', vip, 'kind', kind,"
	" 'from', mux_from, 'to', mux_to, 'state', state, 'note', ifnull(note, ''), 'created-ms', created_ms,"
	" 'changed-ms', changed_ms, 'over', json('true')) FROM move1 WHERE over = 1;"
	"INSERT INTO dip SELECT vip || '|' || dip || '|' || rule, json_object('vip', vip, 'dip', dip, 'rule', rule,"
	" 'reason', ifnull(reason, ''), 'since-ms', since_ms) FROM dip_down;"
	"INSERT INTO event SELECT printf('%020d', id), json_object('id', id, 'at-ms', at_ms, 'kind', kind,"
	" 'subject', subject, 'text', text) FROM event1;"
	"DROP TABLE vip1; DROP TABLE move1; DROP TABLE event1; DROP TABLE meta1; DROP TABLE dip_down;";

static struct sqlite *db_of(const struct store *s)
{
	return s->impl;
}

static int failed(const struct store *s, struct err *e)
{
	struct sqlite *q = db_of(s);

	return err_set(e, -EIO, "%s", q->db ? sqlite3_errmsg(q->db) : "out of memory");
}

static int exec(struct store *s, const char *sql, struct err *e)
{
	return sqlite3_exec(db_of(s)->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : failed(s, e);
}

static int write_one(struct store *s, const struct op *op)
{
	struct sqlite *q = db_of(s);
	sqlite3_stmt **st = op->value ? &q->put[op->table] : &q->del[op->table];
	char sql[96];
	int ret;

	if (!*st) {
		snprintf(sql, sizeof(sql), op->value ? "INSERT OR REPLACE INTO %s(key, value) VALUES(?1, ?2)" :
			 "DELETE FROM %s WHERE key = ?1", store_tables[op->table]);
		if (sqlite3_prepare_v3(q->db, sql, -1, SQLITE_PREPARE_PERSISTENT, st, NULL) != SQLITE_OK)
			return -EIO;
	}
	sqlite3_bind_text(*st, 1, op->key, -1, SQLITE_STATIC);
	if (op->value)
		sqlite3_bind_text(*st, 2, op->value, -1, SQLITE_STATIC);
	ret = sqlite3_step(*st) == SQLITE_DONE ? 0 : -EIO;
	sqlite3_reset(*st);
	sqlite3_clear_bindings(*st);
	return ret;
}

static int commit(struct store *s, const struct op *ops, size_t n, struct err *e)
{
	struct sqlite *q = db_of(s);
	size_t i;
	int ret = exec(s, "BEGIN IMMEDIATE", e);

	if (ret)
		return ret;
	for (i = 0; i < n && !ret; i++)
		if (write_one(s, &ops[i]))
			ret = failed(s, e);
	if (!ret)
		ret = exec(s, "COMMIT", e);
	if (ret && !sqlite3_get_autocommit(q->db))
		sqlite3_exec(q->db, "ROLLBACK", NULL, NULL, NULL);
	return ret;
}

static int scan(struct store *s, enum table table, const char *from, bool backwards, scan_fn each, void *ctx,
		struct err *e)
{
	sqlite3_stmt *st;
	char sql[128];
	int step;

	snprintf(sql, sizeof(sql), "SELECT key, value FROM %s %s ORDER BY key%s", store_tables[table],
		 !from ? "" : backwards ? "WHERE key <= ?1" : "WHERE key >= ?1", backwards ? " DESC" : "");
	if (sqlite3_prepare_v2(db_of(s)->db, sql, -1, &st, NULL) != SQLITE_OK)
		return failed(s, e);
	if (from)
		sqlite3_bind_text(st, 1, from, -1, SQLITE_STATIC);
	while ((step = sqlite3_step(st)) == SQLITE_ROW)
		if (!each((const char *)sqlite3_column_text(st, 0), (const char *)sqlite3_column_text(st, 1), ctx)) {
			step = SQLITE_DONE;
			break;
		}
	if (step != SQLITE_DONE)
		failed(s, e);
	sqlite3_finalize(st);
	return step == SQLITE_DONE ? 0 : -EIO;
}

static int get(struct store *s, enum table table, const char *key, char **value, struct err *e)
{
	sqlite3_stmt *st;
	char sql[96];
	int step, ret = -ENOENT;

	snprintf(sql, sizeof(sql), "SELECT value FROM %s WHERE key = ?1", store_tables[table]);
	if (sqlite3_prepare_v2(db_of(s)->db, sql, -1, &st, NULL) != SQLITE_OK)
		return failed(s, e);
	sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
	step = sqlite3_step(st);
	if (step == SQLITE_ROW) {
		*value = strdup((const char *)sqlite3_column_text(st, 0));
		ret = *value ? 0 : -ENOMEM;
	} else if (step != SQLITE_DONE) {
		ret = failed(s, e);
	}
	sqlite3_finalize(st);
	return ret;
}

/* private_file - make it for us alone, or take what others had of it: the deployment's key is in it */
static int private_file(const char *file, int flags, struct err *e)
{
	int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC | flags, 0600), ret = 0;
	struct stat st;

	if (fd < 0)
		return err_set(e, -errno, errno == EEXIST ? "%s: there is such a file already; it is left as it is" : "%s: %m", file);
	if (!fstat(fd, &st) && (st.st_mode & 07) && S_ISREG(st.st_mode) && fchmod(fd, st.st_mode & 0770))
		ret = err_set(e, -errno, "%s: others may read it, and that can't be changed: %m", file);
	close(fd);
	return ret;
}

static int backup(struct store *s, const char *file, struct err *e)
{
	sqlite3_backup *b;
	sqlite3 *to = NULL;
	int ret = private_file(file, O_EXCL, e);

	if (ret)
		return ret;
	ret = -EIO;
	if (sqlite3_open(file, &to) != SQLITE_OK) {
		err_set(e, ret, "%s: %s", file, to ? sqlite3_errmsg(to) : "out of memory");
		goto out;
	}
	b = sqlite3_backup_init(to, "main", db_of(s)->db, "main");
	if (b) {
		sqlite3_backup_step(b, -1);
		sqlite3_backup_finish(b);
	}
	if (sqlite3_errcode(to) == SQLITE_OK)	/* who goes on from it must know what it is */
		sqlite3_exec(to, "INSERT OR REPLACE INTO meta(key, value) VALUES('" STORE_COPY "', '1')", NULL, NULL, NULL);
	ret = sqlite3_errcode(to) == SQLITE_OK ? 0 : err_set(e, -EIO, "%s: %s", file, sqlite3_errmsg(to));
out:
	sqlite3_close(to);
	return ret;
}

static int64_t file_of(const struct store *s)
{
	struct stat st;

	return stat(s->name, &st) ? 0 : (int64_t)((st.st_ino ^ (uint64_t)st.st_dev << 40) & INT64_MAX);
}

static void close_db(struct store *s)
{
	struct sqlite *q = db_of(s);
	unsigned int i;

	for (i = 0; i < T_MAX; i++) {
		sqlite3_finalize(q->put[i]);
		sqlite3_finalize(q->del[i]);
	}
	sqlite3_close(q->db);
	free(q);
}

static const struct store_ops ops = {
	.commit = commit, .scan = scan, .get = get, .backup = backup, .file = file_of, .close = close_db,
};

static int version_of(struct store *s, int64_t *version, struct err *e)
{
	sqlite3_stmt *st;
	int ret = 0;

	if (sqlite3_prepare_v2(db_of(s)->db, "PRAGMA user_version", -1, &st, NULL) != SQLITE_OK)
		return failed(s, e);
	if (sqlite3_step(st) == SQLITE_ROW)
		*version = sqlite3_column_int64(st, 0);
	else
		ret = failed(s, e);
	sqlite3_finalize(st);
	return ret;
}

static int damage(struct store *s, struct err *e)
{
	const char *text = NULL;
	sqlite3_stmt *st = NULL;
	int ret = 0;

	if (sqlite3_prepare_v2(db_of(s)->db, "PRAGMA integrity_check(1)", -1, &st, NULL) == SQLITE_OK &&
	    sqlite3_step(st) == SQLITE_ROW)
		text = (const char *)sqlite3_column_text(st, 0);
	if (!text || strcmp(text, "ok"))
		ret = err_set(e, -EIO, "store %s is damaged: %s (move it away and duet-controller --import an export)",
			      s->name, text ? text : sqlite3_errmsg(db_of(s)->db));
	sqlite3_finalize(st);
	return ret;
}

static int make_tables(struct store *s, struct err *e)
{
	unsigned int i;
	char sql[160];
	int ret = 0;

	for (i = 0; i < T_MAX && !ret; i++) {
		snprintf(sql, sizeof(sql), "CREATE TABLE IF NOT EXISTS %s(key TEXT PRIMARY KEY, "
			 "value TEXT NOT NULL CHECK(json_valid(value))) STRICT, WITHOUT ROWID", store_tables[i]);
		ret = exec(s, sql, e);
	}
	return ret;
}

/* migrate - to the present version, in one transaction */
static int migrate(struct store *s, int64_t version, struct err *e)
{
	char sql[64];
	int ret = exec(s, "BEGIN IMMEDIATE", e);

	snprintf(sql, sizeof(sql), "PRAGMA user_version = %d", STORE_VERSION);
	if (!ret && version == 1)
		ret = exec(s, from_1, e);
	if (!ret)
		ret = make_tables(s, e);
	if (!ret && version == 1)
		ret = exec(s, from_1_rows, e);
	if (!ret)
		ret = exec(s, sql, e);
	if (!ret)
		ret = exec(s, "COMMIT", e);
	if (ret) {
		struct err why = *e;

		if (!sqlite3_get_autocommit(db_of(s)->db))
			sqlite3_exec(db_of(s)->db, "ROLLBACK", NULL, NULL, NULL);
		return err_set(e, ret, "store %s can't be %s: %s", s->name, version ? "brought to the present version" :
			       "made", why.text);
	}
	if (version)
		log_notice("store %s: brought from version %lld to %d", s->name, (long long)version, STORE_VERSION);
	return 0;
}

int sqlite_open(struct store *s, const struct store_conf *conf, struct err *e)
{
	struct sqlite *q = calloc(1, sizeof(*q));
	int64_t version = 0;
	struct err why;
	int ret;

	if (!q)
		return err_set(e, -ENOMEM, "store %s: out of memory", s->name);
	s->impl = q;
	s->ops = &ops;
	ret = private_file(conf->spec, 0, &why);
	if (ret)
		return err_set(e, ret, "store %s", why.text);
	if (sqlite3_open(conf->spec, &q->db) != SQLITE_OK) {
		failed(s, &why);
		return err_set(e, -EIO, "store %s: %s", s->name, why.text);
	}
	/* Exclusive: two controllers on one store would each undo the other. */
	ret = exec(s, "PRAGMA locking_mode = EXCLUSIVE", &why);
	if (!ret)
		ret = exec(s, "PRAGMA journal_mode = WAL", &why);
	if (!ret)
		ret = exec(s, "PRAGMA synchronous = FULL", &why);
	if (!ret)
		ret = exec(s, "BEGIN IMMEDIATE; COMMIT", &why);
	if (ret) {
		int code = sqlite3_errcode(q->db);

		return code == SQLITE_NOTADB || code == SQLITE_CORRUPT ? damage(s, e) :
			err_set(e, ret, "store %s: %s%s", s->name, why.text,
				code == SQLITE_BUSY ? ": another controller has it open" : "");
	}
	ret = damage(s, e);
	if (!ret && version_of(s, &version, &why))
		ret = err_set(e, -EIO, "store %s: %s", s->name, why.text);
	if (ret)
		return ret;
	if (version > STORE_VERSION)
		return err_set(e, -EINVAL, "store %s is of version %lld, newer than this program's %d", s->name,
			       (long long)version, STORE_VERSION);
	return version == STORE_VERSION ? 0 : migrate(s, version, e);
}
