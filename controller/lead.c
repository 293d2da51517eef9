// SPDX-License-Identifier: GPL-2.0
/* The election: a lease, kept alive every third of its time; a key, tried for until it is ours. */
#include "lead.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "store/etcd.h"

#define CALL_MS	 1000
#define AGAIN_MS 300

struct lead {
	struct controller *ctl;
	struct http_call *keep_call, *try_call;
	sd_event_source *keep_timer, *try_timer;
	uint64_t lease, revision;	/* 0: none */
	uint64_t sent_ms, sure_ms;	/* when the last renewal was asked for, and the last that was granted */
	unsigned int endpoint, ttl_ms;
	char url[256], name[NAME_SIZE];	/* of the leader */
	bool told;
};

static int try_again(sd_event_source *s, uint64_t usec, void *ctx);
static int keep(sd_event_source *s, uint64_t usec, void *ctx);

const char *lead_url(const struct lead *l)
{
	return l->url;
}

const char *lead_name(const struct lead *l)
{
	return l->name;
}

static struct http_call *ask(struct lead *l, const char *path, json_t *body,
			     void (*done)(const struct http_result *r, void *ctx))
{
	char base[256], url[320];

	if (!etcd_endpoint(l->ctl->conf.store, l->endpoint, base, sizeof(base))) {
		l->endpoint = 0;
		etcd_endpoint(l->ctl->conf.store, 0, base, sizeof(base));
	}
	snprintf(url, sizeof(url), "%s/v3/%s", base, path);
	return http_call(l->ctl->etcd_client, "POST", url, body, CALL_MS, done, l);
}

static void trouble(struct lead *l, const struct http_result *r)
{
	if (!l->told)
		log_warn("etcd: %s", r->error ? r->error : "no sensible answer");
	l->told = true;
	l->endpoint++;
}

static void lost(struct lead *l, const char *why)
{
	if (l->revision)
		ctl_step_down(l->ctl, why);
	l->lease = 0;
}

static void kept(const struct http_result *r, void *ctx)
{
	struct lead *l = ctx;
	json_t *result = json_object_get(r->body, "result");

	l->keep_call = NULL;
	if (r->status != 200 || !result) {
		trouble(l, r);
		once(l->ctl->loop, &l->keep_timer, 20, keep, l);	/* another member at once */
		return;
	}
	l->told = false;
	if (!etcd_number(result, "TTL"))
		lost(l, "its lease has run out");
	else
		l->sure_ms = l->sent_ms;
}

static int keep(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct lead *l = ctx;
	char id[24];

	if (l->lease && mono_ms() - l->sure_ms > l->ttl_ms)
		lost(l, "its lease could not be renewed in time");
	snprintf(id, sizeof(id), "%llu", (unsigned long long)l->lease);
	if (l->lease && !l->keep_call) {
		l->sent_ms = mono_ms();
		l->keep_call = ask(l, "lease/keepalive", json_pack("{s:s}", "ID", id), kept);
	}
	return once(l->ctl->loop, &l->keep_timer, l->ttl_ms / 4, keep, l);
}

static void elected(struct lead *l, uint64_t revision)
{
	l->revision = revision;
	snprintf(l->url, sizeof(l->url), "%s", l->ctl->updater_url);
	snprintf(l->name, sizeof(l->name), "%s", l->ctl->conf.name);
	ctl_elected(l->ctl, revision);
}

static void heard_of(struct lead *l, json_t *response)
{
	json_t *kv = json_array_get(json_object_get(json_object_get(response, "response_range"), "kvs"), 0);
	char *text = etcd_unb64(json_object_get(kv, "value"));
	json_t *who = text ? json_loads(text, 0, NULL) : NULL;

	if (strcmp(l->name, get_str(who, "name", "")))
		log_notice("standing by: \"%s\" leads", get_str(who, "name", "nobody"));
	snprintf(l->url, sizeof(l->url), "%s", get_str(who, "url", ""));
	snprintf(l->name, sizeof(l->name), "%s", get_str(who, "name", ""));
	json_decref(who);
	free(text);
}

static void tried(const struct http_result *r, void *ctx)
{
	struct lead *l = ctx;

	l->try_call = NULL;
	if (r->status != 200)
		trouble(l, r);
	else if (json_is_true(json_object_get(r->body, "succeeded")))
		return elected(l, etcd_number(json_object_get(r->body, "header"), "revision"));
	else
		heard_of(l, json_array_get(json_object_get(r->body, "responses"), 0));
	once(l->ctl->loop, &l->try_timer, AGAIN_MS, try_again, l);
}

static void granted(const struct http_result *r, void *ctx)
{
	struct lead *l = ctx;

	l->try_call = NULL;
	if (r->status == 200) {
		l->lease = etcd_number(r->body, "ID");
		l->sure_ms = l->sent_ms;
	} else {
		trouble(l, r);
	}
	once(l->ctl->loop, &l->try_timer, l->lease ? 1 : AGAIN_MS, try_again, l);
}

static int try_again(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct lead *l = ctx;
	json_t *who, *put, *get;
	char ttl[24], *text;

	if (!l->lease) {
		l->sent_ms = mono_ms();
		snprintf(ttl, sizeof(ttl), "%u", l->ttl_ms / 1000);
		l->try_call = ask(l, "lease/grant", json_pack("{s:s}", "TTL", ttl), granted);
		return 0;
	}
	who = json_pack("{s:s, s:s}", "name", l->ctl->conf.name, "url", l->ctl->updater_url);
	text = json_dumps(who, JSON_COMPACT);
	put = json_pack("[o]", etcd_put(l->ctl->leader_key, text, l->lease));
	get = json_pack("[{s:{s:o}}]", "requestRange", "key", etcd_b64(l->ctl->leader_key));
	json_decref(who);
	free(text);
	l->try_call = ask(l, "kv/txn", etcd_txn(etcd_compare(l->ctl->leader_key, 0), put, get), tried);
	return 0;
}

int lead_start(struct controller *ctl, struct err *e)
{
	struct lead *l = calloc(1, sizeof(*l));

	if (!l)
		return err_set(e, -ENOMEM, "out of memory");
	l->ctl = ctl;
	ctl->lead = l;
	l->ttl_ms = ctl->conf.lease_s * 1000;
	once(ctl->loop, &l->try_timer, 1, try_again, l);
	once(ctl->loop, &l->keep_timer, l->ttl_ms / 4, keep, l);
	return 0;
}

void lead_stop(struct controller *ctl)
{
	struct lead *l = ctl->lead;
	struct store_conf conf;

	if (!l)
		return;
	sd_event_source_disable_unref(l->keep_timer);
	sd_event_source_disable_unref(l->try_timer);
	ctl_store_conf(ctl, 0, &conf);
	if (l->lease)
		etcd_leave(&conf, l->lease);
	free(l);
	ctl->lead = NULL;
}
