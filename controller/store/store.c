// SPDX-License-Identifier: GPL-2.0
/*
 * Transactions: records are gathered and handed to the backend at the end, so
 * an agent is never told what the store could forget, and many changes cost
 * one write to the disk. Epoch, keys, counters.
 */
#include "store_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "../fault.h"
#include "log.h"

const char *const store_tables[T_MAX] = {
	[T_META] = "meta",   [T_VIP] = "vip",	  [T_MOVE] = "move",   [T_DONE] = "done",   [T_DIP] = "dip",
	[T_EVENT] = "event", [T_AUDIT] = "audit", [T_DRAIN] = "drain", [T_TOKEN] = "token",
	[T_SNAT] = "snat",
};

bool store_is_etcd(const char *spec)
{
	return spec && !strncmp(spec, "etcd:", 5);
}

const char *store_name(const struct store *s)
{
	return s->name;
}

const char *store_trouble(const struct store *s)
{
	return s->trouble;
}

bool store_open_transaction(const struct store *s)
{
	return s->depth;
}

const char *store_number_key(uint64_t id, char buf[24])
{
	snprintf(buf, 24, "%020llu", (unsigned long long)id);
	return buf;
}

void store_begin(struct store *s)
{
	s->depth++;
}

void store_write(struct store *s, enum table table, const char *key, json_t *value)
{
	char *text = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_PRESERVE_ORDER) : NULL;
	bool lost = value && !text;
	struct op *more = s->batch;
	char place[STORE_KEY_SIZE + 16];
	json_t *at;

	json_decref(value);
	snprintf(place, sizeof(place), "%s/%s", store_tables[table], key);
	at = json_object_get(s->places, place);
	if (at && !lost) {
		free(s->batch[json_integer_value(at)].value);
		s->batch[json_integer_value(at)].value = text;
		return;
	}
	if (s->n == s->room) {
		more = realloc(s->batch, (s->room ? s->room * 2 : 64) * sizeof(*more));
		if (more) {
			s->batch = more;
			s->room = s->room ? s->room * 2 : 64;
		}
	}
	if (!more || lost) {
		free(text);
		s->failed = true;
		return;
	}
	s->batch[s->n] = (struct op){ .table = table, .key = strdup(key), .value = text };
	if (!s->batch[s->n].key)
		s->failed = true;
	json_object_set_new(s->places, place, json_integer(s->n));
	s->n++;
}

static void tell(struct store *s, bool kept)
{
	json_t *list = s->told, *event;
	size_t i;

	s->told = json_array();
	json_array_foreach(list, i, event)
		if (kept && s->event)
			s->event(event, s->event_ctx);
	json_decref(list);
}

int store_commit(struct store *s)
{
	struct err e = {};
	int ret = 0;
	size_t i;

	if (--s->depth)
		return s->failed ? -EIO : 0;
	if (s->failed)
		ret = err_set(&e, -EIO, "out of memory");
	else if (s->n) {
		fault("before-commit");
		ret = s->ops->commit(s, s->batch, s->n, &e);
		fault("after-commit");
	}
	for (i = 0; i < s->n; i++) {
		free(s->batch[i].key);
		free(s->batch[i].value);
	}
	s->n = 0;
	json_object_clear(s->places);
	s->failed = false;
	s->dead |= ret == -ESTALE;
	if (ret && strcmp(s->trouble, e.text))
		log_err("store %s: nothing of this change was kept: %s", s->name, e.text);
	snprintf(s->trouble, sizeof(s->trouble), "%s", ret ? e.text : "");
	tell(s, !ret);
	return ret;
}

void store_flush(struct store *s)
{
	if (s->depth || !s->n)
		return;
	store_begin(s);
	store_commit(s);
}

int store_get(struct store *s, const char *key, int64_t *value)
{
	char *text = NULL;
	struct err e;
	int ret = s->ops->get(s, T_META, key, &text, &e);

	if (!ret)
		*value = strtoll(text, NULL, 10);
	else if (ret != -ENOENT)
		log_err("store %s: %s", s->name, e.text);
	free(text);
	return ret;
}

void store_set(struct store *s, const char *key, int64_t value)
{
	store_begin(s);
	store_write(s, T_META, key, json_integer(value));
	store_commit(s);
}

static int set_now(struct store *s, const char *key, int64_t value)
{
	store_begin(s);
	store_write(s, T_META, key, json_integer(value));
	return store_commit(s);
}

/* moved - is the file another than the one that was written last: a copy of that */
static bool moved(struct store *s)
{
	int64_t was = 0;

	if (!s->ops->file)
		return false;
	return !store_get(s, STORE_FILE, &was) && was != s->ops->file(s);
}

int store_epoch(struct store *s, uint64_t *epoch, bool *behind)
{
	bool by_revision = s->ops->revision;
	int64_t value = 0, copy = 0, was = 0;
	int ret = store_get(s, "epoch", &value);

	if (ret && ret != -ENOENT)
		return ret;
	store_get(s, STORE_COPY, &copy);
	store_get(s, STORE_BEHIND, &was);
	if (!copy && moved(s)) {
		log_notice("store %s: it is a copy of another file", s->name);
		copy = 1;
	}
	*behind = ret == -ENOENT || copy || was;
	/* A new store begins with the time: agents that served an earlier store's
	 * controller must not refuse this one as older. In etcd that is the base
	 * on which the revision of the leader's key counts.
	 */
	if (ret)
		value = time(NULL);
	else if (!by_revision)
		value++;
	*epoch = value + (by_revision ? s->ops->revision(s) : 0);
	store_begin(s);
	store_set(s, STORE_BEHIND, *behind);
	store_set(s, STORE_COPY, copy);
	if (s->ops->file)
		store_set(s, STORE_FILE, s->ops->file(s));
	if (store_commit(s))
		return -EIO;
	return !ret && by_revision ? 0 : set_now(s, "epoch", value);
}

void store_epoch_raise(struct store *s, uint64_t by)
{
	int64_t value = 0;

	store_get(s, "epoch", &value);
	store_set(s, "epoch", value + by);
}

/* Meta holds numbers: a key is two of them. */
static const char *const key_halves[DUET_KEYS][2] = { { "key0-a", "key0-b" }, { "key1-a", "key1-b" } };

int store_keys(struct store *s, struct secret keys[DUET_KEYS])
{
	int64_t value[2];
	unsigned int i;
	int ret;

	memset(keys, 0, DUET_KEYS * sizeof(*keys));
	for (i = 0; i < DUET_KEYS; i++) {
		ret = store_get(s, key_halves[i][0], &value[0]);
		if (!ret)
			ret = store_get(s, key_halves[i][1], &value[1]);
		if (ret && ret != -ENOENT)
			return ret;
		if (!ret)
			memcpy(&keys[i], value, sizeof(keys[i]));
	}
	return 0;
}

void store_keys_hide(json_t *meta)
{
	unsigned int i;

	for (i = 0; i < DUET_KEYS; i++) {
		json_object_del(meta, key_halves[i][0]);
		json_object_del(meta, key_halves[i][1]);
	}
}

int store_key_set(struct store *s, unsigned int i, const struct secret *key)
{
	int64_t value[2];

	memcpy(value, key, sizeof(value));
	store_begin(s);
	store_write(s, T_META, key_halves[i][0], json_integer(value[0]));
	store_write(s, T_META, key_halves[i][1], json_integer(value[1]));
	return store_commit(s);
}

static bool first_key(const char *key, const char *value, void *ctx)
{
	uint64_t id = strtoull(key, NULL, 10), *last = ctx;

	if (id > *last)
		*last = id;
	return false;
}

static int counters(struct store *s, struct err *e)
{
	int64_t wave = 0;

	if (s->ops->scan(s, T_MOVE, NULL, true, first_key, &s->last_move, e) ||
	    s->ops->scan(s, T_DONE, NULL, true, first_key, &s->last_move, e) ||
	    s->ops->scan(s, T_EVENT, NULL, true, first_key, &s->last_event, e) ||
	    s->ops->scan(s, T_AUDIT, NULL, true, first_key, &s->last_audit, e))
		return -EIO;
	store_get(s, "wave", &wave);
	s->wave = wave;
	return 0;
}

int store_open(const struct store_conf *conf, struct store **out, struct err *e)
{
	struct store *s = calloc(1, sizeof(*s));
	int ret;

	if (!s)
		return err_set(e, -ENOMEM, "store %s: out of memory", conf->spec);
	s->told = json_array();
	s->places = json_object();
	snprintf(s->name, sizeof(s->name), "%s", conf->spec);
	ret = store_is_etcd(conf->spec) ? etcd_open(s, conf, e) : sqlite_open(s, conf, e);
	if (!ret)
		ret = counters(s, e);
	if (ret) {
		store_close(s);
		return ret;
	}
	*out = s;
	return 0;
}

void store_close(struct store *s)
{
	if (!s)
		return;
	if (s->ops && s->impl) {
		if (!s->dead)
			store_flush(s);
		s->ops->close(s);
	}
	while (s->n) {
		free(s->batch[--s->n].key);
		free(s->batch[s->n].value);
	}
	free(s->batch);
	json_decref(s->told);
	json_decref(s->places);
	free(s);
}

uint64_t store_wave(struct store *s)
{
	store_begin(s);
	store_write(s, T_META, "wave", json_integer(++s->wave));
	store_commit(s);
	return s->wave;
}

int store_backup(struct store *s, const char *file, struct err *e)
{
	return s->ops->backup(s, file, e);
}
