// SPDX-License-Identifier: GPL-2.0
/*
 * Large bodies are parsed, and freed, in a thread: tens of megabytes of JSON take
 * a second, and nothing else in the loop would have its turn meanwhile. Who sent
 * one waits suspended. Jansson counts references atomically, so that parts of a
 * body may live on while the rest goes.
 */
#include "http_priv.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>

/* One piece of work: text into JSON for a request, or with no request JSON that goes. */
struct http_parse {
	struct http_request *req;
	json_t *body;
	json_error_t error;
};

/* Of all servers of a process one body at a time: several at once would all be late, where one can be done. */
static pthread_mutex_t parsing = PTHREAD_MUTEX_INITIALIZER;

static void parse(void *ctx)
{
	struct http_parse *p = ctx;

	pthread_mutex_lock(&parsing);
	p->body = json_loadb(p->req->data, p->req->len, JSON_REJECT_DUPLICATES, &p->error);
	pthread_mutex_unlock(&parsing);
}

static void parsed(void *ctx)
{
	struct http_parse *p = ctx;

	request_parsed(p->req, p->body, &p->error);
	free(p);
}

static void let_go(void *ctx)
{
	struct http_parse *p = ctx;

	json_decref(p->body);
	p->body = NULL;
	/* its values are small pieces, of which libc gives nothing back by itself */
	malloc_trim(0);
}

static int parse_do(struct http_server *s, const struct http_parse *what)
{
	struct http_parse *p = malloc(sizeof(*p));
	int ret = -ENOMEM;

	if (!p)
		return ret;
	*p = *what;
	ret = worker_do(s->worker, p->req ? parse : let_go, p->req ? parsed : free, p);
	if (ret)
		free(p);
	return ret;
}

int parse_apart(struct http_request *r)
{
	return parse_do(r->server, &(struct http_parse){ .req = r });
}

void parse_free(struct http_server *s, json_t *body)
{
	if (!s->worker || parse_do(s, &(struct http_parse){ .body = body }))
		json_decref(body);
}

void parse_drop(void *ctx)
{
	let_go(ctx);
	free(ctx);
}
