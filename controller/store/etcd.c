// SPDX-License-Identifier: GPL-2.0
/*
 * The store in etcd, over its JSON gateway. Every write is a transaction that
 * holds only while the leader's key is the one this controller made: one that
 * was paused and has been succeeded changes nothing. What is too large for one
 * transaction is written beside first, then declared valid by one key (the
 * commit), then copied to its place; a leader that dies in between is
 * finished by the next.
 */
#include "etcd.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../fault.h"
#include <time.h>

#include "log.h"
#include "store_priv.h"

#define CONNECT_MS	500
#define REQUEST_MS	2000
#define GIVE_UP_MS	4000	/* no answer from any endpoint for so long */
#define TXN_OPS		100	/* etcd's own limit is 128 */
#define TXN_BYTES	(512u << 10)	/* and 1.5 MiB, in base64 */
#define SCAN_LIMIT	2000

struct etcd {
	CURL *curl;
	const struct tls *tls;
	const char *spec;
	char prefix[128], leader_key[160];
	uint64_t leader_rev;
	uint64_t seen_rev;	/* of etcd, at the last read: no leader so far has a later one */
	unsigned int endpoint;	/* the last that answered */
};

/* post_to - one request to one endpoint; 0 and the answer, or -errno */
static int post_to(struct etcd *c, const char *base, const char *path, const char *body, json_t **answer,
		   struct err *e)
{
	char url[400], error[CURL_ERROR_SIZE] = "";
	struct http_text reply = {};
	struct http_easy how;
	json_t *json = NULL;
	long status = 0;
	CURLcode code;
	int ret = 0;

	snprintf(url, sizeof(url), "%s/v3/%s", base, path);
	http_easy_url(c->curl, url, c->tls, &how);
	curl_easy_setopt(c->curl, CURLOPT_ERRORBUFFER, error);
	curl_easy_setopt(c->curl, CURLOPT_WRITEDATA, &reply);
	curl_easy_setopt(c->curl, CURLOPT_POSTFIELDS, body);
	code = curl_easy_perform(c->curl);
	curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &status);
	if (code == CURLE_OK)
		json = reply.len ? json_loads(reply.data, 0, NULL) : NULL;
	if (code != CURLE_OK)
		ret = err_set(e, -EIO, "%s: %s", base, http_easy_error(&how, code, error));
	else if (status != 200 || !json)
		ret = err_set(e, status / 100 == 4 ? -EINVAL : -EIO, "%s: %s", base,
			      get_str(json, "error", "no sensible answer"));
	else
		*answer = json_incref(json);
	json_decref(json);
	free(reply.data);
	http_easy_end(&how);
	return ret;
}

/* post - to whichever endpoint answers. Asking again is safe: what we write
 * has its key and value, and nobody else writes while we lead.
 */
static int post(struct etcd *c, const char *path, json_t *request, json_t **answer, struct err *e)
{
	char *body = json_dumps(request, JSON_COMPACT), url[256];
	uint64_t until = mono_ms() + GIVE_UP_MS;
	unsigned int failures = 0;
	int ret = -ENOMEM;

	json_decref(request);
	if (!body)
		return err_set(e, ret, "out of memory");
	do {
		if (!etcd_endpoint(c->spec, c->endpoint, url, sizeof(url)))
			c->endpoint = 0;
		if (etcd_endpoint(c->spec, c->endpoint, url, sizeof(url)))
			ret = post_to(c, url, path, body, answer, e);
		if (!ret || ret == -EINVAL)
			break;
		c->endpoint++;
		if (++failures % 3 == 0) {
			const struct timespec pause = { .tv_nsec = 100000000 };

			nanosleep(&pause, NULL);
		}
	} while (mono_ms() < until);
	free(body);
	return ret;
}

static char *key_of(const struct etcd *c, enum table table, const char *key, char buf[STORE_KEY_SIZE + 200])
{
	snprintf(buf, STORE_KEY_SIZE + 200, "%s%s/%s", c->prefix, store_tables[table], key);
	return buf;
}

/* fenced - a transaction of these operations (reference taken), if we lead */
static int fenced(struct etcd *c, json_t *ops, struct err *e)
{
	json_t *answer = NULL;
	int ret;

	if (!c->leader_rev) {
		json_decref(ops);
		return err_set(e, -ESTALE, "opened for reading only");
	}
	ret = post(c, "kv/txn", etcd_txn(etcd_compare(c->leader_key, c->leader_rev), ops, NULL), &answer, e);
	if (ret)
		return err_set(e, -ESTALE, "etcd can't be reached, and who leads is not known: %s", strdupa(e->text));
	if (!json_is_true(json_object_get(answer, "succeeded")))
		ret = err_set(e, -ESTALE, "another controller leads");
	json_decref(answer);
	return ret;
}

static json_t *delete_op(const char *key, const char *end)
{
	json_t *range = json_pack("{s:o}", "key", etcd_b64(key));

	if (end)
		json_object_set_new(range, "range_end", etcd_b64(end));
	return json_pack("{s:o}", "requestDeleteRange", range);
}

static void add_op(struct etcd *c, json_t *list, enum table table, const char *key, const char *value)
{
	char full[STORE_KEY_SIZE + 200];

	key_of(c, table, key, full);
	json_array_append_new(list, value ? etcd_put(full, value, 0) : delete_op(full, NULL));
}

static size_t op_bytes(const struct op *op)
{
	return strlen(op->key) + (op->value ? strlen(op->value) : 0) + 64;
}

/* part - how many of the operations fit into one transaction */
static size_t part(const struct op *ops, size_t n)
{
	size_t i, bytes = 0;

	for (i = 0; i < n && i < TXN_OPS; i++) {
		bytes += op_bytes(&ops[i]);
		if (i && bytes > TXN_BYTES)
			break;
	}
	return i;
}

static int apply(struct etcd *c, const struct op *ops, size_t n, struct err *e)
{
	json_t *list = json_array();
	size_t i;

	for (i = 0; i < n; i++)
		add_op(c, list, ops[i].table, ops[i].key, ops[i].value);
	return fenced(c, list, e);
}

/* stage - one part beside its place, as [[table, key, value], ...] */
static int stage(struct etcd *c, const struct op *ops, size_t n, unsigned int number, struct err *e)
{
	json_t *rows = json_array();
	char key[200], *text;
	size_t i;
	int ret;

	for (i = 0; i < n; i++)
		json_array_append_new(rows, json_pack("[i, s, s?]", ops[i].table, ops[i].key, ops[i].value));
	text = json_dumps(rows, JSON_COMPACT);
	json_decref(rows);
	if (!text)
		return err_set(e, -EIO, "out of memory");
	snprintf(key, sizeof(key), "%sredo/%06u", c->prefix, number);
	ret = fenced(c, json_pack("[o]", etcd_put(key, text, 0)), e);
	free(text);
	return ret;
}

static int clean(struct etcd *c, struct err *e)
{
	char from[200], to[200], commit[200];

	snprintf(from, sizeof(from), "%sredo/", c->prefix);
	snprintf(to, sizeof(to), "%sredo0", c->prefix);	/* the character after / */
	snprintf(commit, sizeof(commit), "%sredo-commit", c->prefix);
	return fenced(c, json_pack("[o, o]", delete_op(commit, NULL), delete_op(from, to)), e);
}

static int commit(struct store *s, const struct op *ops, size_t n, struct err *e)
{
	struct etcd *c = s->impl;
	unsigned int parts = 0;
	char key[200];
	size_t i, k;
	int ret = 0;

	if (part(ops, n) == n)
		return apply(c, ops, n, e);
	for (i = 0; i < n && !ret; i += k) {
		k = part(ops + i, n - i);
		ret = stage(c, ops + i, k, parts++, e);
		fault("etcd-stage");
	}
	snprintf(key, sizeof(key), "%sredo-commit", c->prefix);
	if (!ret)
		ret = fenced(c, json_pack("[o]", etcd_put(key, "1", 0)), e);
	for (i = 0; i < n && !ret; i += k) {
		k = part(ops + i, n - i);
		fault("etcd-apply");
		ret = apply(c, ops + i, k, e);
	}
	return ret ? ret : clean(c, e);
}

static int range(struct etcd *c, const char *key, const char *end, bool backwards, unsigned int limit,
		 json_t **answer, struct err *e)
{
	json_t *request = json_pack("{s:o, s:i}", "key", etcd_b64(key), "limit", limit);
	int ret;

	if (end)
		json_object_set_new(request, "range_end", etcd_b64(end));
	if (backwards) {
		json_object_set_new(request, "sort_order", json_string("DESCEND"));
		json_object_set_new(request, "sort_target", json_string("KEY"));
	}
	ret = post(c, "kv/range", request, answer, e);
	if (!ret)
		c->seen_rev = etcd_number(json_object_get(*answer, "header"), "revision");
	return ret;
}

/* walk - the records of [first, end), page by page; skip: the prefix that each key loses */
static int walk(struct etcd *c, char *first, char *end, bool backwards, size_t skip, scan_fn each, void *ctx,
		struct err *e)
{
	bool more = true;

	while (more) {
		json_t *answer = NULL, *kvs, *kv;
		char *key = NULL, *value;
		int ret = range(c, first, end, backwards, SCAN_LIMIT, &answer, e);
		size_t i;

		if (ret)
			return ret;
		kvs = json_object_get(answer, "kvs");
		json_array_foreach(kvs, i, kv) {
			free(key);
			key = etcd_unb64(json_object_get(kv, "key"));
			value = etcd_unb64(json_object_get(kv, "value"));
			more = key && value && strlen(key) >= skip && each(key + skip, value, ctx);
			free(value);
			if (!more)
				break;
		}
		more = more && json_is_true(json_object_get(answer, "more")) && key;
		if (more && backwards)	/* the end is not part of the range */
			snprintf(end, STORE_KEY_SIZE + 200, "%s", key);
		else if (more)
			snprintf(first, STORE_KEY_SIZE + 200, "%s!", key);	/* nothing of ours is in between */
		free(key);
		json_decref(answer);
	}
	return 0;
}

static int scan(struct store *s, enum table table, const char *from, bool backwards, scan_fn each, void *ctx,
		struct err *e)
{
	char first[STORE_KEY_SIZE + 200], end[STORE_KEY_SIZE + 200];
	struct etcd *c = s->impl;
	size_t skip;

	key_of(c, table, from && !backwards ? from : "", first);
	skip = strlen(c->prefix) + strlen(store_tables[table]) + 1;
	if (from && backwards)
		snprintf(end, sizeof(end), "%s%s/%s!", c->prefix, store_tables[table], from);
	else
		snprintf(end, sizeof(end), "%s%s0", c->prefix, store_tables[table]);	/* the character after / */
	return walk(c, first, end, backwards, skip, each, ctx, e);
}

static int get(struct store *s, enum table table, const char *key, char **value, struct err *e)
{
	char full[STORE_KEY_SIZE + 200];
	struct etcd *c = s->impl;
	json_t *answer = NULL, *kv;
	int ret = range(c, key_of(c, table, key, full), NULL, false, 1, &answer, e);

	if (ret)
		return ret;
	kv = json_array_get(json_object_get(answer, "kvs"), 0);
	*value = kv ? etcd_unb64(json_object_get(kv, "value")) : NULL;
	json_decref(answer);
	return *value ? 0 : -ENOENT;
}

static int backup(struct store *s, const char *file, struct err *e)
{
	return err_set(e, -EOPNOTSUPP, "etcd makes its own snapshots (etcdctl snapshot save); an export works here too");
}

static uint64_t revision(const struct store *s)
{
	const struct etcd *c = s->impl;

	return c->leader_rev ? c->leader_rev : c->seen_rev;
}

static void close_etcd(struct store *s)
{
	struct etcd *c = s->impl;

	curl_easy_cleanup(c->curl);
	free(c);
}

static const struct store_ops ops = {
	.commit = commit, .scan = scan, .get = get, .backup = backup, .revision = revision, .close = close_etcd,
};

struct redo {
	struct etcd *c;
	struct err *e;
	int ret;
};

static bool redo_one(const char *key, const char *value, void *ctx)
{
	struct redo *r = ctx;
	json_t *rows = json_loads(value, 0, NULL), *row, *list = json_array();
	size_t i;

	json_array_foreach(rows, i, row) {
		json_int_t t = json_integer_value(json_array_get(row, 0));

		if (t >= 0 && t < T_MAX)
			add_op(r->c, list, t, json_string_value(json_array_get(row, 1)),
			       json_string_value(json_array_get(row, 2)));
	}
	json_decref(rows);
	r->ret = fenced(r->c, list, r->e);
	return !r->ret;
}

/* redo - finish what the last leader had committed and not yet copied */
static int redo(struct etcd *c, struct err *e)
{
	char first[STORE_KEY_SIZE + 200], end[STORE_KEY_SIZE + 200], key[200];
	struct redo r = { c, e, 0 };
	json_t *answer = NULL;
	bool committed;
	int ret;

	snprintf(key, sizeof(key), "%sredo-commit", c->prefix);
	ret = range(c, key, NULL, false, 1, &answer, e);
	if (ret)
		return ret;
	committed = json_array_size(json_object_get(answer, "kvs"));
	json_decref(answer);
	if (committed) {
		log_notice("store etcd: a change that the last leader had begun is finished");
		snprintf(first, sizeof(first), "%sredo/", c->prefix);
		snprintf(end, sizeof(end), "%sredo0", c->prefix);
		ret = walk(c, first, end, false, 0, redo_one, &r, e);
	}
	if (!ret)
		ret = r.ret;
	return ret ? ret : clean(c, e);
}

static int connect_etcd(struct etcd *c, const struct store_conf *conf, struct err *e)
{
	static struct curl_slist json_type = { .data = (char *)"Content-Type: application/json" };

	c->spec = conf->spec;
	c->tls = conf->tls;
	snprintf(c->prefix, sizeof(c->prefix), "%s", conf->prefix);
	snprintf(c->leader_key, sizeof(c->leader_key), "%s", conf->leader_key);
	c->leader_rev = conf->leader_rev;
	c->curl = curl_easy_init();
	if (!c->curl)
		return err_set(e, -ENOMEM, "out of memory");
	curl_easy_setopt(c->curl, CURLOPT_HTTPHEADER, &json_type);
	curl_easy_setopt(c->curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
	curl_easy_setopt(c->curl, CURLOPT_TIMEOUT_MS, (long)REQUEST_MS);
	curl_easy_setopt(c->curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c->curl, CURLOPT_WRITEFUNCTION, http_easy_text);
	return 0;
}

int etcd_open(struct store *s, const struct store_conf *conf, struct err *e)
{
	struct etcd *c = calloc(1, sizeof(*c));
	int64_t version = 0;
	char text[24], key[STORE_KEY_SIZE + 200];
	struct err why;
	int ret;

	if (!c)
		return err_set(e, -ENOMEM, "store etcd: out of memory");
	s->impl = c;
	s->ops = &ops;
	ret = connect_etcd(c, conf, &why);
	if (!ret && c->leader_rev)
		ret = redo(c, &why);
	if (!ret) {
		ret = store_get(s, "version", &version);
		snprintf(why.text, sizeof(why.text), "it can't be read");
	}
	/* a new one, or of before there were SNAT blocks: an older program must not go on with it */
	if (c->leader_rev && (ret == -ENOENT || (!ret && version < STORE_VERSION))) {
		snprintf(text, sizeof(text), "%d", STORE_VERSION);
		ret = fenced(c, json_pack("[o]", etcd_put(key_of(c, T_META, "version", key), text, 0)), &why);
	} else if (ret == -ENOENT) {
		ret = err_set(&why, ret, "no controller has used it yet");
	}
	if (!ret && version > STORE_VERSION)
		ret = err_set(&why, -EINVAL, "it is of version %lld, newer than this program's %d",
			      (long long)version, STORE_VERSION);
	return ret ? err_set(e, ret, "store %s: %s", s->name, why.text) : 0;
}

int etcd_lead_now(const struct store_conf *conf, uint64_t *revision, uint64_t *lease, struct err *e)
{
	json_t *answer = NULL, *ops;
	struct etcd c = {};
	int ret = connect_etcd(&c, conf, e);

	if (!ret)
		ret = post(&c, "lease/grant", json_pack("{s:s}", "TTL", "60"), &answer, e);
	if (!ret) {
		*lease = etcd_number(answer, "ID");
		json_decref(answer);
		answer = NULL;
		ops = json_pack("[o]", etcd_put(c.leader_key, "{\"name\": \"a command\"}", *lease));
		ret = post(&c, "kv/txn", etcd_txn(etcd_compare(c.leader_key, 0), ops, NULL), &answer, e);
	}
	if (!ret && !json_is_true(json_object_get(answer, "succeeded")))
		ret = err_set(e, -EBUSY, "store %s: a controller leads; stop it first", conf->spec);
	if (!ret)
		*revision = etcd_number(json_object_get(answer, "header"), "revision");
	json_decref(answer);
	curl_easy_cleanup(c.curl);
	return ret;
}

void etcd_leave(const struct store_conf *conf, uint64_t lease)
{
	json_t *answer = NULL;
	struct etcd c = {};
	char text[24];
	struct err e;

	snprintf(text, sizeof(text), "%llu", (unsigned long long)lease);
	if (!connect_etcd(&c, conf, &e) && !post(&c, "lease/revoke", json_pack("{s:s}", "ID", text), &answer, &e))
		json_decref(answer);
	curl_easy_cleanup(c.curl);
}
