// SPDX-License-Identifier: GPL-2.0
/* The whole store as one JSON object, and back: between backends, and out of trouble. */
#include "store_priv.h"

#include <errno.h>
#include <string.h>

#include "log.h"

static bool add_row(const char *key, const char *value, void *ctx)
{
	json_t *json = json_loads(value, JSON_DECODE_ANY, NULL);

	if (json)
		json_object_set_new(ctx, key, json);
	return true;
}

json_t *store_export(struct store *s, bool keys)
{
	json_t *tables = json_object(), *rows;
	struct err e;
	enum table t;

	for (t = 0; t < T_MAX; t++) {
		rows = json_object();
		json_object_set_new(tables, store_tables[t], rows);
		if (s->ops->scan(s, t, NULL, false, add_row, rows, &e)) {
			log_err("store %s can't be exported: %s", s->name, e.text);
			json_decref(tables);
			return NULL;
		}
	}
	/* who goes on from this must not be older than what agents obey now */
	if (s->ops->revision && s->ops->revision(s)) {
		rows = json_object_get(tables, "meta");
		json_object_set_new(rows, "epoch", json_integer(get_u64(rows, "epoch", 0) + s->ops->revision(s)));
	}
	if (!keys)
		store_keys_hide(json_object_get(tables, "meta"));
	return json_pack("{s:i, s:o}", "duet-store", STORE_VERSION, "tables", tables);
}

static int table_of(const char *name)
{
	int t;

	for (t = 0; t < T_MAX; t++)
		if (!strcmp(store_tables[t], name))
			return t;
	return -1;
}

/* check - could every part of it have been exported */
static int check(json_t *dump, struct err *e)
{
	json_t *tables = json_object_get(dump, "tables"), *rows, *row;
	const char *name, *key;

	if (!json_is_integer(json_object_get(dump, "duet-store")) || !json_is_object(tables))
		return err_set(e, -EINVAL, "it is no export of a controller's store");
	/* version 2 had one table less */
	if (get_u64(dump, "duet-store", 0) != STORE_VERSION && get_u64(dump, "duet-store", 0) != 2)
		return err_set(e, -EINVAL, "it is an export of version %llu, this program has %d",
			       (unsigned long long)get_u64(dump, "duet-store", 0), STORE_VERSION);
	json_object_foreach(tables, name, rows) {
		int t = table_of(name);

		if (t < 0 || !json_is_object(rows))
			return err_set(e, -EINVAL, "\"%s\" is no table of the store", name);
		json_object_foreach(rows, key, row)
			if (!*key || strlen(key) >= STORE_KEY_SIZE ||
			    (t == T_META ? !json_is_integer(row) : !json_is_object(row)) ||
			    (t == T_VIP && !json_is_object(json_object_get(row, "def"))))
				return err_set(e, -EINVAL, "%s \"%.64s\" makes no sense", name, key);
	}
	return 0;
}

static bool any(const char *key, const char *value, void *ctx)
{
	*(bool *)ctx = true;
	return false;
}

int store_import(struct store *s, json_t *dump, struct err *e)
{
	json_t *tables = json_object_get(dump, "tables"), *rows, *row;
	const char *name, *key;
	bool full = false;
	int ret = check(dump, e);

	if (!ret)
		ret = s->ops->scan(s, T_VIP, NULL, false, any, &full, e);
	if (ret)
		return ret;
	if (full)
		return err_set(e, -EEXIST, "store %s holds VIPs already: an export goes into an empty one", s->name);
	store_begin(s);
	json_object_foreach(tables, name, rows)
		json_object_foreach(rows, key, row)
			store_write(s, table_of(name), key, json_incref(row));
	store_write(s, T_META, STORE_COPY, json_integer(1));
	ret = store_commit(s);
	return ret ? err_set(e, ret, "store %s: %s", s->name, s->trouble) : 0;
}
