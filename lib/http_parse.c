// SPDX-License-Identifier: GPL-2.0
/*
 * Large bodies are parsed, and freed, in a thread: tens of megabytes of JSON take
 * a second, and nothing else in the loop would have its turn meanwhile. One at a
 * time; who sent one waits suspended. Jansson counts references atomically, so
 * that parts of a body may live on while the rest goes.
 */
#include "http_priv.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* One piece of work: text into JSON for a request, or with no request JSON that goes. */
struct http_parse {
	TAILQ_ENTRY(http_parse) list;
	struct http_request *req;
	json_t *body;
	json_error_t error;
};

static void *work(void *ctx)
{
	struct http_server *s = ctx;
	struct http_parse *p = TAILQ_FIRST(&s->parses);
	uint64_t one = 1;

	if (p->req)
		p->body = json_loadb(p->req->data, p->req->len, JSON_REJECT_DUPLICATES, &p->error);
	else
		json_decref(p->body);
	while (write(s->parsed, &one, sizeof(one)) < 0 && errno == EINTR)
		;
	return NULL;
}

/* next - the first of them is the thread's */
static void next(struct http_server *s)
{
	struct http_parse *p;

	while (!s->parsing && (p = TAILQ_FIRST(&s->parses))) {
		s->parsing = !pthread_create(&s->parser, NULL, work, s);
		if (s->parsing)
			return;
		TAILQ_REMOVE(&s->parses, p, list);
		if (p->req)
			http_problem(p->req, 500, NULL, "no thread to read the body in");
		else
			json_decref(p->body);
		free(p);
	}
}

static int on_parsed(sd_event_source *source, int fd, uint32_t revents, void *ctx)
{
	struct http_server *s = ctx;
	struct http_parse *p = TAILQ_FIRST(&s->parses);
	uint64_t n;

	if (read(fd, &n, sizeof(n)) < 0)
		return 0;
	pthread_join(s->parser, NULL);
	s->parsing = false;
	TAILQ_REMOVE(&s->parses, p, list);
	next(s);
	if (p->req)
		request_parsed(p->req, p->body, &p->error);
	free(p);
	return 0;
}

int parse_apart(struct http_request *r)
{
	struct http_parse *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->req = r;
	TAILQ_INSERT_TAIL(&r->server->parses, p, list);
	next(r->server);
	return 0;
}

void parse_free(struct http_server *s, json_t *body)
{
	struct http_parse *p = s->stopping ? NULL : calloc(1, sizeof(*p));

	if (!p) {
		json_decref(body);
		return;
	}
	p->body = body;
	TAILQ_INSERT_TAIL(&s->parses, p, list);
	next(s);
}

int parses_start(struct http_server *s)
{
	s->parsed = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return s->parsed < 0 ? -errno : sd_event_add_io(s->loop, &s->parse_io, s->parsed, EPOLLIN, on_parsed, s);
}

void parses_end(struct http_server *s)
{
	struct http_parse *p;

	if (s->parsing) {
		pthread_join(s->parser, NULL);
		if (!TAILQ_FIRST(&s->parses)->req)
			TAILQ_FIRST(&s->parses)->body = NULL;	/* it is gone */
	}
	while ((p = TAILQ_FIRST(&s->parses))) {
		TAILQ_REMOVE(&s->parses, p, list);
		json_decref(p->body);
		free(p);
	}
	sd_event_source_disable_unref(s->parse_io);
	if (s->parsed >= 0)
		close(s->parsed);
}
