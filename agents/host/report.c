// SPDX-License-Identifier: GPL-2.0
/*
 * Reports to the controllers how the DIPs of this host are and what they received: at once when a
 * state changes, else as often as the leader asks, which is the heartbeat too. Every report is whole,
 * so a lost one costs nothing. Counters only grow.
 *
 * Each report goes to every controller of the configuration: the leader acts on it, a standby keeps
 * it, so that it has the present state of all hosts when it becomes the leader.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon.h"
#include "helper.h"
#include "log.h"

#define INTERVAL_MS	2000	/* if the controller says nothing of it */
#define INTERVAL_MIN_MS	100
#define INTERVAL_MAX_MS	600000
#define TIMEOUT_MS	2000
#define RETRY_MS	100	/* doubled each time, up to the interval */

/* A controller that reports go to */
struct target {
	struct report *report;
	struct http_call *call;
	char *url;
	uint64_t sent, failed;
	bool reached;
	bool leads;			/* it said so in its last answer */
	bool logged;			/* the present reached is in the log */
	char error[256];
};

struct report {
	struct host *host;
	struct http_client *client;
	sd_event_source *timer;
	struct target targets[HOST_CONTROLLERS];
	unsigned int n;
	unsigned int waiting;		/* answers to the present report that are still to come */
	bool led;			/* the leader has it */
	uint64_t seq;
	unsigned int interval_ms, retry_ms;
};

static void arm(struct report *r, unsigned int ms)
{
	sd_event_source_set_time_relative(r->timer, ms * 1000ull);
	sd_event_source_set_enabled(r->timer, SD_EVENT_ONESHOT);
}

/* heed - how long the controller wants to hear nothing, if nothing happens */
static void heed(struct report *r, json_t *answer)
{
	json_t *wanted = json_object_get(answer, "interval-ms");
	json_int_t ms = json_is_integer(wanted) ? json_integer_value(wanted) : INTERVAL_MS;

	r->interval_ms = ms < INTERVAL_MIN_MS ? INTERVAL_MIN_MS : ms > INTERVAL_MAX_MS ? INTERVAL_MAX_MS : ms;
}

static void note(struct target *t, bool reached, const char *error)
{
	snprintf(t->error, sizeof(t->error), "%s", reached ? "" : error ?: "no answer");
	if (!t->logged || reached != t->reached) {
		if (reached)
			log_info("reports reach the controller %s", t->url);
		else
			log_warn("report to %s: %s", t->url, t->error);
	}
	t->logged = true;
	t->reached = reached;
	t->sent += reached;
	t->failed += !reached;
}

/* all_answered - without a leader it is tried again soon: one may be elected */
static void all_answered(struct report *r)
{
	if (r->led)
		return;
	r->retry_ms = r->retry_ms ? r->retry_ms * 2 : RETRY_MS;
	if (r->retry_ms > r->interval_ms)
		r->retry_ms = r->interval_ms;
	arm(r, r->retry_ms);
}

static void on_done(const struct http_result *result, void *ctx)
{
	struct target *t = ctx;
	struct report *r = t->report;
	bool reached = result->status >= 200 && result->status < 300;

	t->call = NULL;
	note(t, reached, result->error);
	t->leads = reached && !json_is_false(json_object_get(result->body, "leads"));
	if (t->leads) {
		r->led = true;
		r->retry_ms = 0;
		heed(r, result->body);
		arm(r, r->interval_ms);
	}
	if (!--r->waiting)
		all_answered(r);
}

/* rack_name - names are in the order of their numbers */
static const char *rack_name(const struct rack_row *names, unsigned int n, uint32_t number)
{
	unsigned int low = 0, mid;

	while (low < n) {
		mid = low + (n - low) / 2;
		if (names[mid].number == number)
			return names[mid].name;
		if (names[mid].number < number)
			low = mid + 1;
		else
			n = mid;
	}
	return "";
}

/* rack_rows - the rows of the traffic matrix of one pair */
static json_t *rack_rows(const struct meter_row *rows, unsigned int n, uint16_t index, const struct rack_row *names,
			 unsigned int n_names)
{
	json_t *list = json_array();
	unsigned int i;

	for (i = 0; i < n; i++) {
		const struct decap_meter *m = &rows[i].sum;

		if (rows[i].index == index)
			json_array_append_new(list, json_pack("{s:s, s:I, s:I, s:I, s:I}", "rack",
				rack_name(names, n_names, rows[i].rack), "packets",
				(json_int_t)m->in_packets, "bytes", (json_int_t)m->in_bytes, "out-packets",
				(json_int_t)m->out_packets, "out-bytes", (json_int_t)m->out_bytes));
	}
	return list;
}

static json_t *traffic(struct helper *helper)
{
	json_t *list = json_array();
	char vip[ADDR_STRLEN], dip[ADDR_STRLEN];
	unsigned int n, n_rows, n_names, i;
	struct served_row *pairs = helper_served(helper, &n);
	struct meter_row *rows = helper_meters(helper, &n_rows);
	struct rack_row *names = helper_racks(helper, &n_names);
	struct decap_meter sum;

	for (i = 0; i < n; i++) {
		totals(rows, n_rows, pairs[i].value.index, &sum);
		json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:o}", "vip", str_addr(&pairs[i].key.vip, vip),
			"dip", str_addr(&pairs[i].key.dip, dip), "bytes", (json_int_t)sum.in_bytes, "packets",
			(json_int_t)sum.in_packets, "out-bytes", (json_int_t)sum.out_bytes, "out-packets",
			(json_int_t)sum.out_packets, "racks", rack_rows(rows, n_rows, pairs[i].value.index, names, n_names)));
	}
	free(names);
	free(rows);
	free(pairs);
	return list;
}

void report_now(struct report *r)
{
	struct host *host = r->host;
	json_t *body, *snat;
	unsigned int i;
	char *text;

	/* one under way is older than this one: whole reports need no order but the last */
	for (i = 0; i < r->n; i++) {
		http_cancel(r->targets[i].call);
		r->targets[i].call = NULL;
	}
	snat = snat_json(host->helper);
	json_object_set_new(snat, "vips", host->synced ? usage_json(host->usage) : held_json(host));
	body = json_pack("{s:s, s:s, s:I, s:b, s:o, s:o, s:o, s:s}", "host", host->conf.name, "instance", daemon_instance(),
			 "seq", (json_int_t)++r->seq, "synced", host->synced,
			 "dips", checks_json(host->checks, NULL, true), "traffic", traffic(host->helper), "snat", snat,
			 "racks", host->racks_id);
	text = json_dumps(body, JSON_COMPACT);
	json_decref(body);
	r->waiting = 0;
	r->led = false;
	arm(r, r->interval_ms);		/* also if a controller answers late, or never */
	for (i = 0; text && i < r->n; i++) {
		struct target *t = &r->targets[i];

		t->call = http_call_text(r->client, "POST", t->url, text, NULL, TIMEOUT_MS, on_done, t);
		r->waiting += t->call != NULL;
	}
	free(text);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *ctx)
{
	report_now(ctx);
	return 0;
}

static void free_all(struct report *r)
{
	unsigned int i;

	for (i = 0; i < r->n; i++)
		free(r->targets[i].url);
	free(r);
}

int report_start(struct host *host, struct report **out)
{
	struct report *r = calloc(1, sizeof(*r));
	int ret = -ENOMEM;

	if (!r)
		return -ENOMEM;
	r->host = host;
	r->interval_ms = INTERVAL_MS;
	for (; r->n < host->conf.n_controllers; r->n++) {
		struct target *t = &r->targets[r->n];

		t->report = r;
		if (asprintf(&t->url, "%s/v1/reports", host->conf.controllers[r->n]) < 0)
			goto err_free;
	}
	ret = http_client_start(host->loop, &r->client);
	if (ret)
		goto err_free;
	http_client_tls(r->client, host->tls);
	ret = sd_event_add_time_relative(host->loop, &r->timer, CLOCK_MONOTONIC, 0, 1000, on_timer, r);
	if (ret < 0)
		goto err_client;
	*out = r;
	return 0;

err_client:
	http_client_stop(r->client);
err_free:
	free_all(r);
	return ret;
}

void report_stop(struct report *r)
{
	if (!r)
		return;
	http_client_stop(r->client);
	sd_event_source_disable_unref(r->timer);
	free_all(r);
}

json_t *report_json(const struct report *r)
{
	const struct target *t, *first = &r->targets[0];
	json_t *list = json_array();
	unsigned int i;

	for (i = 0; i < r->n; i++) {
		t = &r->targets[i];
		first = t->leads && !first->leads ? t : first;
		json_array_append_new(list, json_pack("{s:s, s:b, s:b, s:I, s:I, s:s}", "controller", t->url, "reached", t->reached,
			"leads", t->leads, "sent", (json_int_t)t->sent, "failed", (json_int_t)t->failed, "error", t->error));
	}
	return json_pack("{s:s, s:b, s:I, s:I, s:I, s:s, s:o}", "controller", first->url, "reached", first->reached, "seq",
			 (json_int_t)r->seq, "sent", (json_int_t)first->sent, "failed", (json_int_t)first->failed, "error",
			 first->error, "controllers", list);
}
