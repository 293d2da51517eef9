// SPDX-License-Identifier: GPL-2.0
/*
 * Events: a list, or with Accept: text/event-stream a stream of them as they
 * are kept. A stream begins after Last-Event-ID (or ?after=), so that one who
 * was away misses nothing that is still there.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"

#define BACKLOG_MAX 1000
#define BEAT_MS	    15000 /* a comment, so that a dead peer is noticed */

struct stream {
	struct streams *all;
	struct stream *next, **prev;
	struct http_stream *http;
};

struct streams {
	struct updater *u;
	struct stream *first;
	sd_event_source *beat;
};

static void closed(void *ctx)
{
	struct stream *st = ctx;

	if (st->next)
		st->next->prev = st->prev;
	*st->prev = st->next;
	free(st);
}

static void send_one(struct stream *st, json_t *event)
{
	char *data = json_dumps(event, JSON_COMPACT | JSON_PRESERVE_ORDER), *text;

	if (data && asprintf(&text, "id: %llu\nevent: %s\ndata: %s\n\n",
			     (unsigned long long)get_u64(event, "id", 0), get_str(event, "kind", "event"), data) > 0) {
		http_stream_send(st->http, text);
		free(text);
	}
	free(data);
}

static void kept(json_t *event, void *ctx)
{
	struct updater *u = ctx;
	struct stream *st;

	for (st = u->streams->first; st; st = st->next)
		send_one(st, event);
}

static int beat(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct streams *all = ctx;
	struct stream *st;

	for (st = all->first; st; st = st->next)
		http_stream_send(st->http, ":\n\n");
	return once(all->u->ctl->loop, &all->beat, BEAT_MS, beat, all);
}

void streams_start(struct updater *u)
{
	u->streams = calloc(1, sizeof(*u->streams));
	if (!u->streams)
		return;
	u->streams->u = u;
	store_listen(u->store, kept, u);
	once(u->ctl->loop, &u->streams->beat, BEAT_MS, beat, u->streams);
}

void streams_stop(struct updater *u)
{
	if (!u->streams)
		return;
	while (u->streams->first)	/* the server has gone already, and its streams with it */
		closed(u->streams->first);
	store_listen(u->store, NULL, NULL);
	sd_event_source_disable_unref(u->streams->beat);
	free(u->streams);
	u->streams = NULL;
}

static void stream(struct http_request *req, struct updater *u, uint64_t after, bool from_now)
{
	struct stream *st = calloc(1, sizeof(*st));
	json_t *list, *event;
	size_t i;

	if (!st || !u->streams) {
		free(st);
		http_problem(req, 500, NULL, "out of memory");
		return;
	}
	st->http = http_stream(req, "text/event-stream", closed, st);
	if (!st->http) {
		free(st);
		return;
	}
	st->all = u->streams;
	st->next = u->streams->first;
	st->prev = &u->streams->first;
	if (st->next)
		st->next->prev = &st->next;
	u->streams->first = st;
	http_stream_send(st->http, "retry: 1000\n\n");
	list = from_now ? NULL : store_events(u->store, after, BACKLOG_MAX);
	json_array_foreach(list, i, event)
		send_one(st, event);
	json_decref(list);
}

/* told - what was read from the store (takes the reference; NULL: it can't be read) */
static void told(struct http_request *req, const char *what, json_t *list)
{
	if (list)
		http_reply(req, 200, json_pack("{s:o}", what, list));
	else
		http_problem(req, 500, NULL, "the store can't be read: see the log");
}

void api_events_get(struct http_request *req, json_t *body, void *ctx)
{
	struct updater *u = ((struct controller *)ctx)->updater;
	const char *accept = http_header(req, "Accept"), *last = http_header(req, "Last-Event-ID");
	struct page page;

	if (api_page(req, &page, 100))
		return;
	if (accept && strstr(accept, "text/event-stream")) {
		stream(req, u, last ? strtoull(last, NULL, 10) : page.after_id, !last && !page.after);
		return;
	}
	told(req, "events", store_events(u->store, page.after_id, page.limit));
}

void api_audit_get(struct http_request *req, json_t *body, void *ctx)
{
	struct updater *u = ((struct controller *)ctx)->updater;
	struct page page;

	if (api_page(req, &page, 100))
		return;
	told(req, "audit", store_audits(u->store, page.after_id, page.limit));
}
