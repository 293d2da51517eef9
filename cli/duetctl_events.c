// SPDX-License-Identifier: GPL-2.0
/*
 * Events: the last ones, and with --watch those to come, as the controller
 * streams them (server-sent events). A stream that breaks is taken up again
 * after the last event seen, for as long as it takes.
 */
#include "duetctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "out.h"

#define RETRY_MS     1000 /* until the stream says another */
#define RETRY_MAX_MS 30000

/* struct watch - a stream as it comes in, line by line */
struct watch {
	const struct ctl *c;
	struct http_text line;
	unsigned long long last;	/* id of the last event; 0: none yet */
	unsigned int retry_ms;
	bool lost, connected;		/* the stream broke, and is there again */
};

static int print_event(const struct ctl *c, json_t *e)
{
	char when[48], *text;

	if (c->json) {
		text = json_dumps(e, JSON_COMPACT | JSON_PRESERVE_ORDER);
		puts(text ? text : "");
		free(text);
	} else {
		clock_text(number_of(e, "at-ms"), when, sizeof(when));
		printf("%s  %-14s  %-15s  %s\n", when, text_of(e, "kind"), text_of(e, "subject"), text_of(e, "text"));
	}
	return fflush(stdout);
}

/* on_line - false: who reads has gone */
static bool on_line(struct watch *w, const char *line)
{
	unsigned long long id;
	json_t *event;
	bool on;

	if (!strncmp(line, "retry:", 6)) {
		w->retry_ms = strtoul(line + 6, NULL, 10);
		if (!w->retry_ms || w->retry_ms > RETRY_MAX_MS)
			w->retry_ms = RETRY_MAX_MS;
	}
	if (strncmp(line, "data:", 5))
		return true;
	event = json_loads(line + 5, 0, NULL);
	if (!event)
		return true;
	id = number_of(event, "id");
	/* what is kept is not for ever, and a backlog has its bounds */
	if (w->last && id > w->last + 1)
		fprintf(stderr, "duetctl: %llu events before this one are not to be had any more\n", id - w->last - 1);
	w->last = id;
	on = !print_event(w->c, event);
	json_decref(event);
	return on;
}

static bool on_data(const char *data, size_t len, void *ctx)
{
	struct watch *w = ctx;
	char *end;

	if (w->lost && !w->connected)
		fprintf(stderr, "duetctl: the events of %s are followed again\n", w->c->url);
	w->connected = true;
	w->lost = false;
	if (http_easy_text((char *)data, 1, len, &w->line) != len)
		return false;
	while (w->line.data && (end = memchr(w->line.data, '\n', w->line.len))) {
		*end = 0;
		if (!on_line(w, w->line.data))
			return false;
		w->line.len -= end + 1 - w->line.data;
		memmove(w->line.data, end + 1, w->line.len);
	}
	return true;
}

static int follow(const struct ctl *c, unsigned long long last)
{
	struct watch w = { .c = c, .last = last, .retry_ms = RETRY_MS };
	int ret;

	for (;;) {
		const char *why = NULL;
		struct timespec pause;
		char id[24];

		snprintf(id, sizeof(id), "%llu", w.last);
		w.connected = false;
		w.line.len = 0;
		ret = ctl_stream(c, "/v1/events", id, on_data, &w, &why);
		if (ret || !why)
			break;
		if (!w.lost)
			fprintf(stderr, "duetctl: controller %s: %s; trying until it is there again\n", c->url, why);
		w.lost = true;
		pause = (struct timespec){ w.retry_ms / 1000, w.retry_ms % 1000 * 1000000L };
		nanosleep(&pause, NULL);
	}
	free(w.line.data);
	return ret;
}

CTL_COMMAND(show_events)
{
	static const struct ctl_column columns[] = {
		{ "TIME", "at-ms", COLUMN_CLOCK }, { "EVENT", "kind" }, { "OF", "subject" }, { "WHAT", "text" }, {}
	};
	unsigned long long last = 0;
	json_t *s, *list, *e;
	char path[64];
	size_t i;
	int ret;

	snprintf(path, sizeof(path), "/v1/events?limit=%u", c->limit ? c->limit : 1);
	ret = ctl_call(c, "GET", path, NULL, &s);
	if (ret)
		return ret;
	list = json_object_get(s, "events");
	json_array_foreach(list, i, e) {
		last = number_of(e, "id");
		if ((c->json || c->wait) && c->limit)
			print_event(c, e);
	}
	if (!c->json && !c->wait)
		print_list(list, columns);
	json_decref(s);
	return c->wait ? follow(c, last) : CTL_OK;
}

CTL_COMMAND(show_audit)
{
	static const struct ctl_column columns[] = {
		{ "TIME", "at-ms", COLUMN_CLOCK }, { "WHO", "who" }, { "DID", "what" }, { "WHAT", "subject" },
		{ "BY WAY OF", "by-way-of" }, {}
	};

	return show_list(c, "/v1/audit", "audit", c->limit, columns);
}
