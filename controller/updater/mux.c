// SPDX-License-Identifier: GPL-2.0
/*
 * Keeps every mux agent equal to the desired state: one request at a time and
 * mux, whole or per VIP, each with a later generation; looks at its status
 * every second. What fails is tried again, later and later, and shown.
 */
#include "priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../fault.h"
#include "../query/faults.h"
#include "log.h"

#define POLL_MS		1000
#define POLL_LOST_MS	250
#define POLLS_PER_S	1000  /* of more muxes each is looked at less often */
#define POLL_TIMEOUT_MS 3000
#define APART_ABOVE	1000  /* of so many VIPs an SMux's tables are asked for apart: they take longer than silence may */
#define TABLES_TIMEOUT_MS 60000
#define PUSH_TIMEOUT_MS 10000
#define FULL_TIMEOUT_MS 60000
#define FULL_MS_PER_MB	3000	/* and so much more, as it is taken by one that may be slow */
#define FULL_LARGE	(1u << 20) /* bytes: who takes so much answers nothing else meanwhile */
#define BACKOFF_MIN_MS	100
#define BACKOFF_MAX_MS	2000
#define REFUSED_POLLS	10 /* a refused VIP is offered again every so many polls */
#define OVERTAKEN_MAX	3
#define MANY		64
#define POLL_BAD_MS	10000 /* one that answered what can't be an answer is looked at so rarely */
/* bytes and JSON values of an answer: a few, and so many more for each VIP */
#define ANSWER_BYTES	(1u << 20)
#define ANSWER_VALUES	(64u << 10)
#define ANSWER_VIP_BYTES 4096
#define ANSWER_VIP_VALUES 512
#define FULL_ABOVE	64 /* so many VIPs to tell: tell everything at once */
#define FULL_BYTES	(64u << 20) /* of whole states under way, above which no more are sent: an SMux's has tens of MB */

static const char *const names[] = {
	[MUX_UNKNOWN] = "unknown", [MUX_UNREACHABLE] = "unreachable", [MUX_SYNCING] = "syncing",
	[MUX_IN_SYNC] = "in-sync", [MUX_REFUSING] = "refusing",	      [MUX_FENCED] = "fenced",
	[MUX_QUARANTINED] = "quarantined",
};

const char *mux_state_name(enum mux_state state)
{
	return names[state];
}

enum mux_state mux_state(const struct mux *m)
{
	if (m->fenced)
		return MUX_FENCED;
	if (m->quarantined)
		return MUX_QUARANTINED;
	if (m->lost_ms)
		return MUX_UNREACHABLE;
	if (!m->heard_ms)
		return MUX_UNKNOWN;
	if (m->full || m->push || m->rush || json_object_size(m->dirty) || json_object_size(m->urgent) ||
	    (m->smux && m->u->n_fresh))
		return MUX_SYNCING;
	return json_object_size(m->refused) ? MUX_REFUSING : MUX_IN_SYNC;
}

bool mux_clean(const struct mux *m, const struct uvip *v)
{
	if (m->full || json_object_get(m->dirty, v->text) || json_object_get(m->urgent, v->text))
		return false;
	if (m->rush && !strcmp(m->rush_vip, v->text))
		return false;
	return !m->push || !(m->push_full || !strcmp(m->push_vip, v->text));
}

const char *mux_refusal(const struct mux *m, const struct uvip *v)
{
	return json_string_value(json_object_get(m->refused, v->text));
}

bool mux_lost(const struct mux *m)
{
	return m->lost_ms && mono_ms() - m->lost_ms >= SILENT_MS;
}

/* release - others may be sent a whole state in its place */
static void release(struct mux *m)
{
	struct updater *u = m->u;
	bool many = u->push_bytes > FULL_BYTES;
	unsigned int i;

	u->push_bytes -= m->push_bytes;
	m->push_bytes = 0;
	for (i = 0; many && i < u->n_muxes && u->push_bytes <= FULL_BYTES; i++)
		if (u->muxes[i].full)
			mux_kick(&u->muxes[i]);
}

static void full_over(struct mux *m)
{
	m->push_full = false;
	release(m);
}

static int retry(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct mux *m = ctx;

	m->waiting = false;
	mux_kick(m);
	return 0;
}

/* failed - no answer, or none that makes sense: wait, twice as long each time */
static void failed(struct mux *m, bool answered, const char *why)
{
	if (!answered && !m->lost_ms) {
		m->lost_ms = mono_ms();
		m->u->n_lost++;
		if (!m->quarantined)
			store_event(m->u->store, "mux-lost", m->name, "%s", why);
		faults_soon(m->u);
		release(m);	/* what it may never take keeps nobody waiting */
	}
	snprintf(m->why, sizeof(m->why), "%s", why);
	m->backoff_ms = m->backoff_ms ? m->backoff_ms * 2 : BACKOFF_MIN_MS;
	if (m->backoff_ms > BACKOFF_MAX_MS)
		m->backoff_ms = BACKOFF_MAX_MS;
	m->waiting = true;
	once(m->u->ctl->loop, &m->retry, m->backoff_ms, retry, m);
}

/* budget - what a mux may answer, so that none holds the loop or fills the memory */
static struct http_call *budget(const struct mux *m, struct http_call *call)
{
	http_call_budget(call, ANSWER_BYTES + (size_t)m->u->n_vips * ANSWER_VIP_BYTES,
			 ANSWER_VALUES + (size_t)m->u->n_vips * ANSWER_VIP_VALUES);
	return call;
}

/* quarantine - it answered what can't be an answer; a good one ends that. DIPs' deaths are still sent. */
static void quarantine(struct mux *m, const char *why)
{
	if (!m->quarantined)
		store_event(m->u->store, "mux-quarantined", m->name, "%s", why);
	m->quarantined = true;
	failed(m, false, why);
}

static void heard(struct mux *m)
{
	if (m->quarantined)
		return;	/* until its status is one */
	if (m->lost_ms) {
		store_event(m->u->store, "mux-found", m->name, "it answers again");
		m->u->n_lost--;
	}
	m->lost_ms = 0;
	m->heard_ms = mono_ms();
}

static void succeeded(struct mux *m)
{
	if (!m->quarantined && !m->fenced)
		m->why[0] = 0;
	m->backoff_ms = 0;
}

/* fenced - it obeys this epoch, later than ours; unless ours can be made later it is left alone */
static void fenced(struct mux *m, uint64_t epoch)
{
	char why[sizeof(m->why)];

	if (fence_epoch(m->u, m->name, epoch, why, sizeof(why)))
		return;
	if (!m->fenced)
		store_event(m->u->store, "fenced", m->name, "%s", why);
	m->fenced = true;
	snprintf(m->why, sizeof(m->why), "%s", why);
}

/* outdated - 409: the agent holds something later than what it was sent */
static void outdated(struct mux *m, const struct http_result *r)
{
	uint64_t epoch = get_u64(r->body, "epoch", 0),
		 generation = get_u64(r->body, "generation", 0);

	if (epoch > m->u->epoch) {
		m->full = true;
		fenced(m, epoch);
		return;
	}
	/* of this epoch: an urgent one overtook it, and it is simply sent again;
	 * or the agent has met a controller with the same epoch and later numbers
	 */
	if (generation <= m->u->generation)
		return;
	m->full = true;
	failed(m, true, fence_generation(m->u, generation) ? (r->error ? r->error : "409") :
	       "it holds a generation that is no controller's: duetctl mux unfence");
}

static void refuse(struct mux *m, const char *vip, const char *why)
{
	const char *before = json_string_value(json_object_get(m->refused, vip));

	if (!before || strcmp(before, why))
		store_event(m->u->store, "refused", m->name, "VIP %s: %s", vip, why);
	json_object_set_new(m->refused, vip, json_string(why));
}

/* obeyed - it acknowledged a request of this epoch */
static void obeyed(struct mux *m, uint64_t epoch)
{
	if (m->obeys == epoch)
		return;
	m->obeys = epoch;
	fence_look(m->u);
}

static void pushed_full(const struct http_result *r, void *ctx)
{
	struct mux *m = ctx;
	json_t *list, *item;
	size_t i;

	m->push = NULL;
	full_over(m);
	if (r->status)
		heard(m);
	fault("full-acked");
	if (r->status == 409) {
		m->full = true;
		m->overtaken++;
		outdated(m, r);
	} else if (r->status / 100 != 2) {
		m->full = true;
		failed(m, r->status, r->error ? r->error : "no answer");
	} else {
		succeeded(m);
		obeyed(m, m->push_epoch);
		m->overtaken = 0;
		m->told_ms = 0;
		json_object_clear(m->refused);
		list = json_object_get(r->body, "refused");
		json_array_foreach(list, i, item)
			refuse(m, get_str(item, "vip", "?"), get_str(item, "reason", "refused"));
		mux_look(m);
	}
	mux_kick(m);
	moves_run(m->u);
}

/* took - what a mux answered to one VIP; false: it is to be sent again */
static bool took(struct mux *m, const char *vip, const struct http_result *r, uint64_t epoch)
{
	if (r->status)
		heard(m);
	m->told_ms = 0;
	if (r->status == 409) {
		outdated(m, r);
		return false;
	}
	if (r->status / 100 == 2 || r->status == 404) {
		succeeded(m);
		if (r->status != 404)
			obeyed(m, epoch);
		json_object_del(m->refused, vip);
		return true;
	}
	if (r->status == 507 || r->status / 100 == 4) {
		succeeded(m);
		refuse(m, vip, r->error ? r->error : "refused");
		return true;
	}
	failed(m, r->status, r->error ? r->error : "no answer");
	return false;
}

static void pushed_vip(const struct http_result *r, void *ctx)
{
	struct mux *m = ctx;
	char vip[ADDR_STRLEN];

	snprintf(vip, sizeof(vip), "%s", m->push_vip);
	m->push = NULL;
	m->push_vip[0] = 0;
	fault("vip-acked");
	if (!took(m, vip, r, m->push_epoch))
		json_object_set_new(m->dirty, vip, json_true());
	mux_kick(m);
	moves_run(m->u);
}

static void rushed(const struct http_result *r, void *ctx)
{
	struct mux *m = ctx;
	char vip[ADDR_STRLEN];

	snprintf(vip, sizeof(vip), "%s", m->rush_vip);
	m->rush = NULL;
	m->rush_vip[0] = 0;
	if (!took(m, vip, r, m->rush_epoch))
		json_object_set_new(m->urgent, vip, json_true());
	mux_kick(m);
	moves_run(m->u);
}

static void push_full(struct mux *m)
{
	char url[320], *state;

	m->acked = ++m->u->generation;
	state = desired_mux_text(m, m->acked);
	snprintf(url, sizeof(url), "%s/v1/state", m->url);
	fault("full-sent");
	m->full = false;
	json_object_clear(m->dirty);
	m->push_full = true;
	m->push_epoch = m->u->epoch;
	m->push_bytes = state && !m->lost_ms ? strlen(state) : 0;
	m->u->push_bytes += m->push_bytes;
	m->push = state ? http_call_text(m->u->ctl->client, "PUT", url, state, NULL,
					 FULL_TIMEOUT_MS + (m->push_bytes >> 20) * FULL_MS_PER_MB, pushed_full, m) : NULL;
	free(state);
	budget(m, m->push);
	if (!m->push) {
		m->full = true;
		full_over(m);
		failed(m, true, "out of memory");
	}
}

/* send_vip - one VIP as it should be; NULL: no memory */
static struct http_call *send_vip(struct mux *m, const char *text,
				  void (*done)(const struct http_result *r, void *ctx))
{
	struct uvip *v = vip_find(m->u, text);
	enum hold hold = v ? desired_hold(m, v) : HOLD_NOT;
	struct http_call *call;
	char url[400], *body;

	fault("vip-sent");
	m->acked = ++m->u->generation;
	if (hold == HOLD_NOT) {
		snprintf(url, sizeof(url), "%s/v1/vips/%s?epoch=%llu&generation=%llu", m->url, text,
			 (unsigned long long)m->u->epoch, (unsigned long long)m->acked);
		return budget(m, http_call(m->u->ctl->client, "DELETE", url, NULL, PUSH_TIMEOUT_MS, done, m));
	}
	body = desired_vip_text(m->u, v, hold, m->acked);
	snprintf(url, sizeof(url), "%s/v1/vips/%s", m->url, text);
	call = body ? http_call_text(m->u->ctl->client, "PUT", url, body, NULL, PUSH_TIMEOUT_MS, done, m) : NULL;
	free(body);
	return budget(m, call);
}

static void push_vip(struct mux *m, const char *text)
{
	snprintf(m->push_vip, sizeof(m->push_vip), "%s", text);
	json_object_del(m->dirty, m->push_vip);
	m->push_epoch = m->u->epoch;
	m->push = send_vip(m, m->push_vip, pushed_vip);
	if (!m->push) {
		json_object_set_new(m->dirty, m->push_vip, json_true());
		m->push_vip[0] = 0;
		failed(m, true, "out of memory");
	}
}

static void rush(struct mux *m)
{
	/* a full state that was overtaken again and again goes first at last */
	if (m->rush || (m->push_full && m->overtaken > OVERTAKEN_MAX))
		return;
	snprintf(m->rush_vip, sizeof(m->rush_vip), "%s", json_object_iter_key(json_object_iter(m->urgent)));
	json_object_del(m->urgent, m->rush_vip);
	json_object_del(m->dirty, m->rush_vip);
	m->pushes++;
	m->rush_epoch = m->u->epoch;
	m->rush = send_vip(m, m->rush_vip, rushed);
	if (!m->rush) {
		json_object_set_new(m->urgent, m->rush_vip, json_true());
		failed(m, true, "out of memory");
	}
}

void mux_kick(struct mux *m)
{
	if (!m->u->configured || m->waiting || m->fenced)
		return;
	if (!m->full && !json_object_size(m->dirty) && !json_object_size(m->urgent))
		return;
	/* what the store has not kept yet nobody is told; but health is no secret */
	if (json_object_size(m->urgent))
		rush(m);
	if (store_open_transaction(m->u->store)) {
		m->wanted = true;
		return;
	}
	m->wanted = false;
	if (m->push || m->rush || (!m->full && !json_object_size(m->dirty)))
		return;
	if (m->full || json_object_size(m->dirty) > FULL_ABOVE) {
		m->full = true;
		if (m->u->push_bytes > FULL_BYTES)
			return;	/* full_over() of another calls again */
		m->pushes++;
		push_full(m);
		return;
	}
	m->pushes++;
	push_vip(m, json_object_iter_key(json_object_iter(m->dirty)));
}

void mux_dirty(struct mux *m, const char *vip)
{
	json_object_set_new(m->dirty, vip, json_true());
	if (store_open_transaction(m->u->store))
		m->wanted = true;
	else
		mux_kick(m);
}

void mux_full(struct mux *m)
{
	m->full = true;
	mux_kick(m);
}

void mux_rush(struct mux *m, const struct uvip *v)
{
	json_object_set_new(m->urgent, v->text, json_true());
	mux_kick(m);
}

void mux_touch(struct mux *m, const struct uvip *v)
{
	json_object_set_new(m->dirty, v->text, json_true());
	mux_kick(m);
}

/* offer_again - VIPs it refused: the reason may be gone */
static void offer_again(struct mux *m)
{
	const char *vip;
	json_t *why;

	json_object_foreach(m->refused, vip, why)
		json_object_set_new(m->dirty, vip, json_true());
	mux_kick(m);
}

/* check_status - does it hold what it acknowledged, and is it the one that did */
static void check_status(struct mux *m, json_t *status)
{
	const char *instance = get_str(status, "instance", "");
	const char *was = m->instance;
	uint64_t epoch = get_u64(status, "epoch", 0);
	bool stale = strcmp(was, instance) || !json_is_true(json_object_get(status, "synced")) ||
		     epoch != m->u->epoch || get_u64(status, "generation", 0) < m->acked;

	if (*was && strcmp(was, instance))
		store_event(m->u->store, "mux-restarted", m->name,
			    "a new instance, it gets its state again");
	snprintf(m->instance, sizeof(m->instance), "%s", instance);
	if (json_is_true(json_object_get(status, "synced")))
		obeyed(m, epoch);
	if (epoch > m->u->epoch)
		fenced(m, epoch);
	else if (m->fenced) {	/* its fence was removed */
		m->fenced = false;
		m->why[0] = 0;
		m->full = true;
		mux_kick(m);
	}
	/* an answer that a push overtook says nothing about it */
	if (m->push || m->rush || m->poll_pushes != m->pushes || m->fenced || !stale)
		return;
	m->full = true;
	mux_kick(m);
}

static bool status_good(json_t *body)
{
	return json_is_object(body) && json_is_string(json_object_get(body, "instance")) &&
	       json_is_integer(json_object_get(body, "epoch")) && json_is_integer(json_object_get(body, "generation"));
}

static void polled(const struct http_result *r, void *ctx)
{
	struct mux *m = ctx;

	m->poll = NULL;
	if (r->broken || (r->status == 200 && !status_good(r->body))) {
		quarantine(m, r->broken ? r->broken : "its answer is not the status of a mux agent");
		moves_run(m->u);
		return;
	}
	if (m->quarantined && r->status == 200) {
		m->quarantined = false;
		store_event(m->u->store, "mux-released", m->name, "its answers are good again");
	}
	if (r->status != 200 || !json_is_object(r->body)) {
		if (!r->status && !m->lost_ms)
			failed(m, false, r->error ? r->error : "no answer");
		else if (r->error)
			snprintf(m->why, sizeof(m->why), "%s", r->error);
		moves_run(m->u);
		return;
	}
	if (m->lost_ms) { /* it is back: no reason to wait any longer */
		m->waiting = false;
		m->backoff_ms = 0;
	}
	if (!m->waiting && !m->fenced) /* what a failed push said stays until it succeeds */
		m->why[0] = 0;
	heard(m);
	mux_told(m, r->body);
	check_status(m, r->body);
	fence_look(m->u);
	if (json_object_size(m->refused) && !(++m->polls % REFUSED_POLLS))
		offer_again(m);
	mux_kick(m);
	moves_run(m->u);
}

/* pushes_seen - those begun that an answer asked for now is sure to know; one under way it may not */
static unsigned int pushes_seen(const struct mux *m)
{
	return m->push || m->rush ? m->pushes - 1 : m->pushes;
}

static void tables_told(const struct http_result *r, void *ctx)
{
	struct mux *m = ctx;

	m->ask = NULL;
	if (r->broken) {
		quarantine(m, r->broken);
	}
	if (r->status != 200 || !json_is_object(r->body))
		return;	/* asked for again with the next look */
	mux_told(m, r->body);
	if (m->ask_pushes != m->pushes)
		m->told_ms = 0;	/* it may have been told something since */
	moves_run(m->u);
}

/* apart - are its tables so many that they are asked for beside the question whether it lives */
static bool apart(const struct mux *m)
{
	return m->smux && m->u->n_vips > APART_ABOVE;
}

static void ask_tables(struct mux *m)
{
	char url[320];

	if (m->ask || m->told_ms || m->quarantined)
		return;
	snprintf(url, sizeof(url), "%s/v1/status?vips=digest", m->url);
	m->ask_pushes = pushes_seen(m);
	m->ask = budget(m, http_call(m->u->ctl->client, "GET", url, NULL, TABLES_TIMEOUT_MS, tables_told, m));
}

void mux_tables(struct mux *m)
{
	if (apart(m))
		ask_tables(m);
	else
		mux_look(m);
}

void mux_look(struct mux *m)
{
	char url[320];

	if (apart(m) && m->heard_ms)
		ask_tables(m);
	if (m->poll || (m->quarantined && mono_ms() - m->looked_ms < POLL_BAD_MS))
		return;
	m->looked_ms = mono_ms();
	/* all its VIPs only when they may have changed: on an SMux they are many */
	snprintf(url, sizeof(url), "%s/v1/status?vips=%s", m->url, m->told_ms || apart(m) ? "none" : "digest");
	m->poll_pushes = pushes_seen(m);
	m->poll = budget(m, http_call(m->u->ctl->client, "GET", url, NULL, POLL_TIMEOUT_MS, polled, m));
}

/* poll_ms - until the next look: soon where one is lost, but where many are, it may be that this controller
 * is behind, and asking them more often would keep it there
 */
static unsigned int poll_ms(const struct mux *m)
{
	unsigned int ms = m->u->n_muxes * 1000 / POLLS_PER_S;

	if (m->quarantined)
		return POLL_BAD_MS;
	if (m->lost_ms && m->u->n_lost < MANY)
		return POLL_LOST_MS;
	return ms > POLL_MS ? ms : POLL_MS;
}

static int poll_again(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct mux *m = ctx;

	/* taken for lost while it takes its state, it would be sent that again */
	if (!m->push_full || m->push_bytes < FULL_LARGE)
		mux_look(m);
	return once(m->u->ctl->loop, &m->poll_timer, poll_ms(m), poll_again, m);
}

void mux_start(struct mux *m)
{
	m->full = true;
	m->dirty = json_object();
	m->urgent = json_object();
	m->refused = json_object();
	/* spread over the interval, or all would answer at once */
	once(m->u->ctl->loop, &m->poll_timer, m->u->n_muxes > MANY ? rand() % POLL_MS : 0, poll_again, m);
	mux_kick(m);
}

void mux_stop(struct mux *m)
{
	sd_event_source_disable_unref(m->retry);
	sd_event_source_disable_unref(m->poll_timer);
	json_decref(m->dirty);
	json_decref(m->urgent);
	json_decref(m->digests);
	json_decref(m->exported);
	json_decref(m->refused);
	json_decref(m->status);
	json_decref(m->unrouted);
	json_decref(m->astray);
	free(m->url);
}
