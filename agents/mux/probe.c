// SPDX-License-Identifier: GPL-2.0
/*
 * Probes of DIPs, for the controller: does a server whose agent is silent still answer? POST /v1/probes names targets;
 * each gets a SYN (or an echo request) up to three times, the answer says what came back first. Everything is bounded:
 * targets of a request, requests at a time, probes at a time (one source port each), probes per second.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "agent.h"
#include "clock.h"
#include "log.h"
#include "probe_wire.h"

#define TARGETS_MAX	256	/* of one request */
#define CALLS_MAX	16	/* requests that wait for answers */
#define RATE		2000	/* probes per second */
#define ATTEMPTS	3
#define TIMEOUT_MS	500
#define TIMEOUT_MIN_MS	50
#define TIMEOUT_MAX_MS	5000

struct probe_target {
	struct probe_call *call;
	struct probe_flow flow;
	struct addr vip, dip;		/* vip none: an echo request to the DIP itself */
	const char *answered;		/* NULL: nothing yet */
	uint64_t sent_usec;
	unsigned int ms;
};

struct probe_call {
	struct probes *probes;
	struct http_request *req;
	sd_event_source *timer;
	unsigned int n, left, attempts, timeout_ms;
	struct probe_target targets[];
};

struct probes {
	struct agent *agent;
	struct probe_wire wire;
	char why[sizeof(((struct err *)0)->text)];	/* why there are no sockets */
	sd_event_source *tcp_io, *icmp_io;
	struct probe_target *slots[PROBE_PORTS];	/* by source port */
	unsigned int n_used, next;
	unsigned int n_calls;
	double tokens;
	uint64_t tokens_ms;
};

static const char *const words[] = {
	[PROBE_SYN_ACK] = "syn-ack", [PROBE_RST] = "rst", [PROBE_ECHO] = "echo", [PROBE_UNREACHABLE] = "unreachable",
};

static uint32_t address4(const struct addr *a)
{
	uint32_t out;

	memcpy(&out, a->b + 12, sizeof(out));
	return out;
}

/* slot_take - a source port for the target; the caller has counted that one is free */
static void slot_take(struct probes *p, struct probe_target *t)
{
	while (p->slots[p->next])
		p->next = (p->next + 1) % PROBE_PORTS;
	p->slots[p->next] = t;
	p->n_used++;
	t->flow.sport = PROBE_PORT_MIN + p->next;
	p->next = (p->next + 1) % PROBE_PORTS;
	if (getrandom(&t->flow.tcp_seq, sizeof(t->flow.tcp_seq), GRND_NONBLOCK) < 0)
		t->flow.tcp_seq = mono_usec() * 2654435761u;
	t->flow.seq = t->flow.tcp_seq;
}

static void slot_free(struct probes *p, struct probe_target *t)
{
	unsigned int slot = t->flow.sport - PROBE_PORT_MIN;

	if (!t->flow.sport || p->slots[slot] != t)
		return;
	p->slots[slot] = NULL;
	p->n_used--;
}

static json_t *target_json(const struct probe_target *t)
{
	char vip[ADDR_STRLEN], dip[ADDR_STRLEN];
	json_t *json = json_pack("{s:s, s:s}", "dip", addr_str(&t->dip, dip), "answered", t->answered);

	if (!addr_is_none(&t->vip)) {
		json_object_set_new(json, "vip", json_string(addr_str(&t->vip, vip)));
		json_object_set_new(json, "proto", json_string(t->flow.tcp ? "tcp" : "icmp"));
	}
	if (t->flow.tcp)
		json_object_set_new(json, "port", json_integer(t->flow.dport));
	if (t->ms)
		json_object_set_new(json, "ms", json_integer(t->ms));
	return json;
}

static void call_free(struct probe_call *c)
{
	unsigned int i;

	for (i = 0; i < c->n; i++)
		slot_free(c->probes, &c->targets[i]);
	sd_event_source_disable_unref(c->timer);
	c->probes->n_calls--;
	free(c);
}

static void call_finish(struct probe_call *c)
{
	json_t *list = json_array();
	unsigned int i;

	for (i = 0; i < c->n; i++) {
		if (!c->targets[i].answered)
			c->targets[i].answered = "no-answer";
		json_array_append_new(list, target_json(&c->targets[i]));
	}
	http_reply(c->req, 200, json_pack("{s:o}", "targets", list));
	call_free(c);
}

/* settle - this target has its answer; the last one of a request ends that */
static void settle(struct probe_target *t, const char *answered)
{
	t->answered = answered;
	t->ms = (mono_usec() - t->sent_usec + 999) / 1000;
	if (!--t->call->left)
		call_finish(t->call);
}

/* send_all - to those that haven't answered; no route is an answer */
static void send_all(struct probe_call *c)
{
	unsigned int i;
	int ret;

	for (i = 0; i < c->n; i++) {
		struct probe_target *t = &c->targets[i];

		if (t->answered)
			continue;
		if (!t->sent_usec)
			t->sent_usec = mono_usec();
		ret = probe_wire_send(&c->probes->wire, &t->flow);
		if (ret != -ENETUNREACH && ret != -EHOSTUNREACH)
			continue;
		t->answered = "no-route";
		c->left--;
	}
}

static int on_timer(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct probe_call *c = ctx;

	if (c->left && c->attempts < ATTEMPTS) {
		c->attempts++;
		send_all(c);
	} else {
		c->left = 0;
	}
	if (c->left) {
		sd_event_source_set_time_relative(c->timer, c->timeout_ms * 1000ull / ATTEMPTS);
		sd_event_source_set_enabled(c->timer, SD_EVENT_ONESHOT);
	} else {
		call_finish(c);
	}
	return 0;
}

/* belongs - is the answer of the place that the probe went to, and to this very probe? */
static bool belongs(const struct probe_target *t, const struct probe_heard *h)
{
	uint32_t to = t->flow.vip ?: t->flow.dip;

	if (h->answer == PROBE_UNREACHABLE)
		return h->sport ? h->from == to : h->from == t->flow.dip;
	if (t->flow.tcp)
		return h->from == to && h->dport == t->flow.dport && h->ack == t->flow.tcp_seq + 1 &&
		       (h->answer == PROBE_SYN_ACK || h->answer == PROBE_RST);
	return h->from == to && h->answer == PROBE_ECHO;
}

static void heard_one(struct probes *p, struct probe_target *t, const struct probe_heard *h)
{
	if (!t || !belongs(t, h))
		return;
	if (h->answer == PROBE_SYN_ACK)	/* ours too: the kernel's RST goes where the VIP's traffic goes, perhaps to another DIP */
		probe_wire_reset(&p->wire, &t->flow);
	if (!t->answered)
		settle(t, words[h->answer]);
}

static int on_answers(sd_event_source *s, int fd, uint32_t revents, void *ctx)
{
	struct probes *p = ctx;
	struct probe_heard h;
	unsigned int i;

	while (probe_wire_read(fd, &h)) {
		if (h.sport)
			heard_one(p, p->slots[h.sport - PROBE_PORT_MIN], &h);
		for (i = 0; !h.sport && i < PROBE_PORTS; i++)
			heard_one(p, p->slots[i], &h);
	}
	return 0;
}

static int address_read(json_t *json, const char *key, bool required, struct addr *out, struct err *e)
{
	json_t *value = json_object_get(json, key);

	if (!value && !required)
		return 0;
	if (!json_is_string(value) || addr_host_parse(json_string_value(value), out))
		return err_set(e, -EINVAL, "a target's \"%s\" is the address of a %s", key, key);
	return 0;
}

static int target_read(json_t *json, struct probe_target *t, struct err *e)
{
	const char *proto = json_string_value(json_object_get(json, "proto"));
	json_int_t port = json_integer_value(json_object_get(json, "port"));
	int ret = address_read(json, "dip", true, &t->dip, e);

	if (!ret)
		ret = address_read(json, "vip", false, &t->vip, e);
	if (ret)
		return ret;
	if (addr_is_none(&t->vip))
		proto = "icmp";
	if (!proto || (strcmp(proto, "tcp") && strcmp(proto, "icmp")))
		return err_set(e, -EINVAL, "a target's \"proto\" is tcp or icmp");
	t->flow.tcp = !strcmp(proto, "tcp");
	if (t->flow.tcp && (port < 1 || port > 65535))
		return err_set(e, -EINVAL, "a tcp target's \"port\" is from 1 to 65535");
	t->flow.dport = t->flow.tcp ? port : 0;
	if (!addr_is_v4(&t->dip) || (!addr_is_none(&t->vip) && !addr_is_v4(&t->vip))) {
		t->answered = "not-probed";
		return 0;
	}
	t->flow.dip = address4(&t->dip);
	t->flow.vip = addr_is_none(&t->vip) ? 0 : address4(&t->vip);
	return 0;
}

static struct probe_call *call_read(struct probes *p, struct http_request *req, json_t *body)
{
	json_t *list = json_object_get(body, "targets"), *timeout = json_object_get(body, "timeout-ms");
	json_int_t ms = timeout ? json_integer_value(timeout) : TIMEOUT_MS;
	size_t n = json_array_size(list), i;
	struct probe_call *c;
	struct err e;

	if (!n || n > TARGETS_MAX || ms < TIMEOUT_MIN_MS || ms > TIMEOUT_MAX_MS) {
		http_problem(req, 422, NULL, "\"targets\" is a list of 1 to %d; \"timeout-ms\" is from %d to %d", TARGETS_MAX,
			     TIMEOUT_MIN_MS, TIMEOUT_MAX_MS);
		return NULL;
	}
	c = calloc(1, sizeof(*c) + n * sizeof(c->targets[0]));
	if (!c) {
		http_problem(req, 500, NULL, "no memory");
		return NULL;
	}
	*c = (struct probe_call){ .probes = p, .req = req, .timeout_ms = ms };
	for (i = 0; i < n; i++) {
		c->targets[i].call = c;
		if (target_read(json_array_get(list, i), &c->targets[i], &e)) {
			http_problem(req, 422, NULL, "target %zu: %s", i + 1, e.text);
			free(c);
			return NULL;
		}
	}
	c->n = n;
	return c;
}

/* afford - are there tokens and ports for so many probes? */
static bool afford(struct probes *p, unsigned int n)
{
	uint64_t now = mono_ms();

	p->tokens += (now - p->tokens_ms) * (RATE / 1000.0);
	p->tokens = p->tokens > RATE ? RATE : p->tokens;
	p->tokens_ms = now;
	if (p->tokens < n || p->n_used + n > PROBE_PORTS || p->n_calls >= CALLS_MAX)
		return false;
	p->tokens -= n;
	return true;
}

void probes_post(struct http_request *req, json_t *body, void *ctx)
{
	struct probes *p = ((struct agent *)ctx)->probes;
	struct probe_call *c;
	unsigned int i;

	if (!p || p->why[0]) {
		http_problem(req, 503, NULL, "this mux can't probe: %s", p ? p->why : "no memory");
		return;
	}
	c = call_read(p, req, body);
	if (!c)
		return;
	if (!afford(p, c->n)) {
		http_problem(req, 429, NULL, "this mux has as many probes under way as it may: %u of %u; %u a second", p->n_used,
			     PROBE_PORTS, RATE);
		free(c);
		return;
	}
	p->n_calls++;
	for (i = 0; i < c->n; i++) {
		if (c->targets[i].answered)
			continue;
		slot_take(p, &c->targets[i]);
		c->left++;
	}
	if (sd_event_add_time_relative(p->agent->loop, &c->timer, CLOCK_MONOTONIC, 0, 1000, on_timer, c) >= 0)
		return;
	http_problem(req, 500, NULL, "no timer");
	call_free(c);
}

int probes_start(struct agent *a, struct err *e)
{
	struct probes *p = calloc(1, sizeof(*p));
	struct err why;
	int ret;

	if (!p)
		return err_set(e, -ENOMEM, "no memory");
	a->probes = p;
	p->agent = a;
	p->tokens = RATE;
	p->tokens_ms = mono_ms();
	if (probe_wire_open(&p->wire, &a->config, &why)) {	/* the mux works without */
		snprintf(p->why, sizeof(p->why), "%s", why.text);
		log_warn("no probes of DIPs: %s", p->why);
		return 0;
	}
	ret = sd_event_add_io(a->loop, &p->tcp_io, p->wire.tcp, EPOLLIN, on_answers, p);
	if (ret >= 0)
		ret = sd_event_add_io(a->loop, &p->icmp_io, p->wire.icmp, EPOLLIN, on_answers, p);
	return ret < 0 ? err_set(e, ret, "no event source: %s", strerror(-ret)) : 0;
}

void probes_stop(struct agent *a)
{
	struct probes *p = a->probes;
	unsigned int i;

	if (!p)
		return;
	/* the server has ended, and cut what waited */
	for (i = 0; i < PROBE_PORTS; i++)
		if (p->slots[i])
			call_free(p->slots[i]->call);
	sd_event_source_disable_unref(p->tcp_io);
	sd_event_source_disable_unref(p->icmp_io);
	if (!p->why[0])
		probe_wire_close(&p->wire);
	free(p);
	a->probes = NULL;
}
